"""What generated requests need to meet real data: ids that exist, datacenters that may be hit, steps that run."""

import itertools
import random
from collections import Counter
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from schemathesis import Case, HookContext, Response
from schemathesis.core.parameters import ParameterLocation

from tests.api.installation import API, SMALL, Installation

_RUN_EVERY = 5
_FEWEST_MACHINES = 6
_LEFT_AS_GENERATED = 0.25
_NARROW = {"host_memory_mib": 2048, "task_delay_seconds": 0}

Json = dict[str, Any]

SPARE = "spare"
_CONFIGURED: dict[str, Json] = {
    "roles": {"permissions": ["*:read"]},
    "policies": {"roles": ["nobody"], "limits": {"machine_cpus": 1}},
    "tenants": {"description": "of nobody"},
    "tokens": {},
}


class Traffic:
    """The hooks of a run; ``answers`` counts requests by method, path and status."""

    def __init__(self, vai: Installation, token: str, seed: int) -> None:
        """``token`` is an administrator's."""
        self._vai = vai
        self._root = vai.client(token)
        self._random = random.Random(seed)  # noqa: S311 - chooses test data
        self._numbers = itertools.count(1)
        self._changes = 0
        self._pool: dict[str, list[str]] = {}
        self._snapshots: list[tuple[str, str]] = []  # each with its machine
        self._kept: tuple[str, ...] = ()
        self._rejected: list[str] = []
        self.answers: Counter[tuple[str, str, int]] = Counter()

    def prepare(self) -> None:
        """Make what requests will hit: a datacenter that is never changed, machines, operations, strangers."""
        body = self._vai.datacenter_body("berlin", options={"host_cpus": 4096, "host_memory_mib": 64_000_000})
        registered = self._root.post(f"{API}/datacenters", json=body)
        assert registered.status_code == 201, registered.text
        narrow = self._root.post(f"{API}/datacenters", json=self._vai.datacenter_body("narrow", options=_NARROW))
        assert narrow.status_code == 201, narrow.text
        self._kept = ("berlin", registered.json["id"], "narrow", narrow.json["id"])
        for name in ("berlin", "narrow"):
            self._vai.reconcile(name)
        for _ in range(_FEWEST_MACHINES):
            self._create(datacenter="narrow", memory_mib=4096)
        self._vai.run()
        self._rejected = self._ids("operations?state=rejected")
        self._refill()

    def before_call(self, _context: HookContext, case: Case, _kwargs: Json) -> None:
        """Let most requests name what exists; what was generated to be wrong stays wrong."""
        valid = {location: not (case.meta and case.meta.is_negative_at(location)) for location in ParameterLocation}
        if case.path_parameters and valid[ParameterLocation.PATH]:
            owner, snapshot = self._random.choice(self._snapshots)
            together = {"machine_id": owner, "snapshot_id": snapshot} if "snapshot_id" in case.path_parameters else {}
            case.path_parameters = {
                name: self._named(case, name, value, together) for name, value in case.path_parameters.items()
            }
        if case.query and valid[ParameterLocation.QUERY]:
            case.query = {name: self._asked(name, value) for name, value in case.query.items() if name != "page_token"}
        if case.headers and valid[ParameterLocation.HEADER]:
            self._set_headers(case)
        if isinstance(case.body, dict):
            case.body = self._harmless(case, case.body)
            if valid[ParameterLocation.BODY]:
                resource = case.path.removeprefix(API).split("/")[1]
                configured = resource in _CONFIGURED and not case.path.endswith("/evaluate")
                case.body = self._configured(resource, case.body) if configured else self._fitting(case, case.body)

    def after_call(self, _context: HookContext, case: Case, response: Response) -> None:
        """Count, and let the world go on from time to time."""
        self.answers[case.method, case.path, response.status_code] += 1
        # What is refused because a machine is busy would be refused for ever if nothing went on.
        if response.status_code in (200, 201, 202, 409) and case.method != "GET":
            self._changes += 1
            if self._changes % _RUN_EVERY == 0:
                self._vai.run()
                self._refill()

    @property
    def asked(self) -> int:
        """How many requests were answered."""
        return sum(self.answers.values())

    def of(self, operations: set[tuple[str, str]]) -> Json:
        """Return how often some methods and paths were answered with which status."""
        return {str(each): count for each, count in self.answers.items() if each[:2] in operations}

    def succeeded(self) -> set[tuple[str, str]]:
        """Return every method and path that answered at least one request with success."""
        return {(method, path) for method, path, status in self.answers if status < HTTPStatus.MULTIPLE_CHOICES}

    def _named(self, case: Case, name: str, value: Any, together: Json) -> Any:
        keep = self._random.random() < _LEFT_AS_GENERATED
        if name == "name":
            return value if keep else SPARE
        if name == "token_id":
            # An id that a list showed may be of the token which this test lives by.
            return value if keep and not str(value).startswith("tok-") else self._token()
        if name == "datacenter" and case.method in ("PATCH", "DELETE"):
            return value if keep and value not in self._kept else "spare"
        return value if keep else together.get(name) or self._existing(case.path, name)

    def _existing(self, path: str, name: str) -> str:
        if name in ("datacenter", "problem"):
            return self._random.choice({"datacenter": ("berlin", "spare"), "problem": ("not-found", "conflict")}[name])
        if name == "machine_id":
            return self._random.choice(self._pool["strangers" if path.endswith("/adopt") else "machines"])
        if path.endswith(("/cancel", "/resend")) and self._random.random() < _LEFT_AS_GENERATED:
            return str(self._create()["id"])
        if path.endswith(("/explanation", "/confirm")):
            return self._random.choice(self._rejected)
        return self._random.choice(self._pool["operations"])

    def _asked(self, name: str, value: Any) -> Any:
        known: dict[str, Callable[[], str]] = {
            "datacenter": lambda: "berlin",
            "machine": lambda: self._random.choice(self._pool["machines"]),
            "operation": lambda: self._random.choice(self._pool["operations"]),
        }
        return known[name]() if name in known and self._random.random() > _LEFT_AS_GENERATED else value

    def _set_headers(self, case: Case) -> None:
        if "Idempotency-Key" in case.headers:
            case.headers["Idempotency-Key"] = f"key-{next(self._numbers)}"
        if "If-Match" in case.headers and self._random.random() > _LEFT_AS_GENERATED:
            resource = case.path.removeprefix(API).split("/")[1]
            spare = self._root.get(f"{API}/{resource}/{SPARE}")
            case.headers["If-Match"] = spare.headers.get("ETag", '"1"')

    def _harmless(self, case: Case, body: Json) -> Json:
        """Keep every datacenter in this test's own folder, whatever was generated."""
        if "/datacenters" not in case.path or not isinstance(body.get("endpoint"), str):
            return body
        if "simulated:" not in body["endpoint"] and "://" not in body["endpoint"]:
            return body
        return body | {"endpoint": f"simulated://{self._vai.world(f'fuzzed-{next(self._numbers)}')}"}

    def _fitting(self, case: Case, body: Json) -> Json:
        changes = _renamed(body)
        if case.path == f"{API}/virtual-machines" and self._random.random() > _LEFT_AS_GENERATED:
            real = {"datacenter": "berlin", "image": "debian-12", "networks": [], "location": {}}
            return body | changes | real | {"name": f"fuzzed-{next(self._numbers)}"}
        if case.path == f"{API}/batches":
            return body | {"datacenters": ["berlin"], "machines": [self._member(each) for each in body["machines"][:2]]}
        if "/datacenters" not in case.path:
            return body | changes
        if "endpoint" in body:
            changes["endpoint"] = f"simulated://{self._vai.world(f'fuzzed-{next(self._numbers)}')}"
        if "options" in body:
            changes["options"] = {"hosts_per_cluster": 1, "task_delay_seconds": 0}
        if "kind" in body:
            changes["kind"] = "simulated"
        if case.method == "PATCH":
            changes["name"] = "spare"
        elif self._random.random() > _LEFT_AS_GENERATED:
            changes["name"] = f"fuzzed-{next(self._numbers)}"
        return body | changes

    def _member(self, machine: Json) -> Json:
        """Return a machine of a batch that can be made; its labels' names are those of no dialect."""
        return machine | {"name": f"member-{next(self._numbers)}", "image": "debian-12", "networks": [], "labels": {}}

    def _configured(self, resource: str, body: Json) -> Json:
        """Keep policies from limiting this test's own requests, and let them mean something."""
        changes: Json = {"name": f"fuzzed-{next(self._numbers)}"} if "name" in body else {}
        if resource == "roles":
            changes["permissions"] = ["virtual-machines:*", "*:read"]
        if resource == "policies":
            changes |= {"roles": ["nobody"], "limits": {**body.get("limits", {}), "machine_cpus": 4}}
        if resource == "tokens":
            changes["expires_at"] = self._random.choice([None, "2999-01-01T00:00:00Z"])
        return body | changes

    def _token(self) -> str:
        made = self._root.post(f"{API}/tokens", json={"name": "spare", "tenant": SPARE, "roles": []})
        assert made.status_code == 201, made.text
        return str(made.json["token"]["id"])

    def _refill(self) -> None:
        """Bring back what requests removed, and note which ids exist."""
        for resource, content in _CONFIGURED.items():
            if content and self._root.get(f"{API}/{resource}/{SPARE}").status_code == 404:
                made = self._root.post(f"{API}/{resource}", json={"name": SPARE, **content})
                assert made.status_code == 201, made.text
        if self._root.get(f"{API}/datacenters/spare").status_code == 404:
            body = self._vai.datacenter_body("spare")
            assert self._root.post(f"{API}/datacenters", json=body).status_code == 201
        machines = self._ids(f"virtual-machines?state=active&managed=true&page_size={_FEWEST_MACHINES}")
        machines += [self._create()["machine_id"] for _ in range(_FEWEST_MACHINES - len(machines))]
        strangers = self._ids("virtual-machines?state=active&managed=false")
        if len(strangers) < _FEWEST_MACHINES:
            for _ in range(_FEWEST_MACHINES):
                self._vai.control("berlin").add_stranger(f"stranger-{next(self._numbers)}")
            self._vai.reconcile("berlin")
            strangers = self._ids("virtual-machines?state=active&managed=false")
        for machine in machines[:3]:
            self._root.post(f"{API}/virtual-machines/{machine}/snapshots", json={})
        self._vai.run()
        self._snapshots = [
            (machine, each) for machine in machines for each in self._ids(f"virtual-machines/{machine}/snapshots")
        ]
        self._pool = {"machines": machines, "strangers": strangers, "operations": self._ids("operations?page_size=10")}

    def _create(self, **changes: Any) -> Json:
        body = {"name": f"machine-{next(self._numbers)}", "datacenter": "berlin", "image": "debian-12", **SMALL}
        created = self._root.post(f"{API}/virtual-machines", json=body | changes)
        assert created.status_code == 202, created.text
        operation: Json = created.json
        return operation

    def _ids(self, query: str) -> list[str]:
        listed = self._root.get(f"{API}/{query}")
        assert listed.status_code == 200, listed.text
        return [each["id"] for each in listed.json["items"]]


def _renamed(body: Json) -> Json:
    """Return the body's maps with names as they must look: the specification's dialect cannot tell it."""
    return {
        named: {f"name_{letter}": value for letter, value in zip("abcdefgh", body[named].values(), strict=False)}
        for named in ("labels", "credentials")
        if isinstance(body.get(named), dict)
    }
