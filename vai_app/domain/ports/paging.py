"""Pages of lists."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
PAGE_SIZE = 50
LARGEST_PAGE = 500


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list; ``next_token`` is ``None`` on the last."""

    items: Sequence[T]
    next_token: str | None


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Which page. ``token`` is opaque and comes from the page before."""

    size: int = PAGE_SIZE
    token: str | None = None
