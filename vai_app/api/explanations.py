"""The explanation of a placement as it is shown: every check with its numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from vai_app.api.views import SizeView
from vai_app.domain.placement.checks import CheckName


@dataclass(slots=True)
class CheckView:
    """One thing that was checked."""

    name: CheckName
    passed: bool
    detail: str
    asked: int | None
    free: int | None


@dataclass(slots=True)
class HostVerdictView:
    """All checks of one host."""

    ref: str
    name: str
    fits: bool
    checks: Sequence[CheckView]


@dataclass(slots=True)
class DatacenterVerdictView:
    """All checks of one datacenter; ``hosts`` shows some of ``hosts_total``, those that fit first."""

    datacenter_id: str
    name: str
    fits: bool
    checks: Sequence[CheckView]
    hosts: Sequence[HostVerdictView]
    hosts_total: int
    hosts_fitting: int


@dataclass(slots=True)
class ExplanationView:
    """Why a machine goes where it goes; ``smaller`` is the nearest size that would fit where it was asked for."""

    asked: str
    chosen: str | None
    chosen_host: str | None
    alternative: str | None
    smaller: SizeView | None
    datacenters: Sequence[DatacenterVerdictView]
    datacenters_total: int


_explanation = TypeAdapter(ExplanationView)


def explanation_view(document: Mapping[str, Any]) -> ExplanationView:
    """Return an explanation as it is shown, from the document that was stored."""
    return _explanation.validate_python(document)
