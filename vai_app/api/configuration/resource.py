"""What roles, policies and tenants have in common: each change makes a revision, and none is lost."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from flask import Response
from pydantic import Field, StringConstraints

from vai_app.api.auth import context, correlation_id, services
from vai_app.api.conventions import API, answer, etag, expected_revision
from vai_app.domain.policies import ConfigurationKind
from vai_app.services.policy_manager import Configured

CHANGED = (404, 409, 412, 422, 428)
IF_MATCH = ("If-Match",)
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,62})$")]
Text = Annotated[str, StringConstraints(max_length=1024, pattern=r"^[^\x00-\x1f\x7f]*$")]
Names = Annotated[list[Name], Field(max_length=256)]


@dataclass(slots=True)
class RevisionView:
    """One revision; without content, it was deleted by it."""

    revision: int
    at: datetime
    by: str
    content: Mapping[str, Any] | None


@dataclass(slots=True)
class History:
    """Every stored revision, newest first."""

    items: list[RevisionView]


@dataclass(frozen=True, slots=True)
class Resource:
    """Answers for one kind of what is configured; ``view`` says how one of it is shown."""

    kind: ConfigurationKind
    path: str
    view: Callable[[Configured], Any]

    def all(self) -> list[Configured]:
        """Return every one, in order of name."""
        return list(services().policies.list(self.kind))

    def get(self, name: str) -> Configured:
        """Return one. Raises NotFound."""
        return services().policies.get(self.kind, name)

    def shown(self, found: Configured) -> Response:
        """Answer with one, and the ETag that a change of it has to bring."""
        return answer(self.view(found), 200, etag(found.revision))

    def created(self, value: Any) -> Response:
        """Create one. Raises NameTaken."""
        found = services().policies.create(context().principal, correlation_id(), self.kind, value)
        headers = {**etag(found.revision), "Location": f"{API}/{self.path}/{found.value.name}"}
        return answer(self.view(found), 201, headers)

    def changed(self, value: Any, revision: int) -> Response:
        """Put a value in the place of a revision. Raises NotFound, PreconditionFailed."""
        asking = context().principal
        return self.shown(services().policies.change(asking, correlation_id(), self.kind, value, revision))

    def deleted(self, name: str) -> Response:
        """Delete the revision that the request names. Raises NotFound, PreconditionFailed."""
        asking, revision = context().principal, expected_revision()
        return self.shown(services().policies.delete(asking, correlation_id(), self.kind, name, revision))

    def history(self, name: str) -> Response:
        """Answer with every revision. Raises NotFound."""
        documents = services().policies.history(self.kind, name)
        return answer(History([RevisionView(each.revision, each.at, each.by, each.content) for each in documents]))
