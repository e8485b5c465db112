"""The API keeps what its published specification promises, asked thousands of generated requests.

The tests that ask them stand in files of their own, which run side by side.
"""

import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from http import HTTPStatus

import schemathesis
from schemathesis import engine
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import Status, events
from schemathesis.hooks import GLOBAL_HOOK_DISPATCHER
from schemathesis.schemas import BaseSchema
from werkzeug.serving import WSGIRequestHandler, make_server

from tests.api.fuzzing import Traffic
from tests.api.installation import Installation

SEED = 20_261_124
PHASES = ("examples", "coverage", "fuzzing", "stateful")
MACHINES = r"^/api/v1/(virtual-machines|batches)"
EXAMPLES_PER_OPERATION = 120


def answers_of(
    vai: Installation, *phases: str, part: Callable[[BaseSchema], BaseSchema] = lambda schema: schema
) -> Traffic:
    """Ask a part of the specification in some of schemathesis' phases; every answer must be documented."""
    token = vai.token("root", "ops", "admin")
    failures: dict[str, str] = {}
    traffic = Traffic(vai, token, SEED)
    traffic.prepare()
    with _serving(vai) as address, _seeing(traffic):
        schema = part(schemathesis.openapi.from_url(f"{address}/swagger.json", config=_config(token, phases)))
        for event in engine.from_schema(schema).execute():
            assert not isinstance(event, events.NonFatalError | events.FatalError), event
            if isinstance(event, events.ScenarioFinished):
                for said in _failures(event):
                    failures.setdefault(said.partition("\n")[0], said)
    assert not failures, "\n\n".join(failures.values())
    assert not [status for _, _, status in traffic.answers if status >= HTTPStatus.INTERNAL_SERVER_ERROR]
    if "fuzzing" in phases:  # random requests are enough to have success everywhere
        missing = _documented(schema) - traffic.succeeded()
        assert not missing, f"{missing} never succeeded: {traffic.of(missing)}"
    return traffic


class _Quiet(WSGIRequestHandler):
    """Logs no request; a failure tells the one that matters."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing."""


@contextmanager
def _serving(vai: Installation) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, vai.app, threaded=True, request_handler=_Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def _seeing(traffic: Traffic) -> Iterator[None]:
    """Let a traffic see each request and each answer."""
    hooks: dict[str, Callable[..., None]] = {"before_call": traffic.before_call, "after_call": traffic.after_call}
    for name, hook in hooks.items():
        GLOBAL_HOOK_DISPATCHER.register_hook_with_name(hook, name)
    try:
        yield
    finally:
        for hook in hooks.values():
            GLOBAL_HOOK_DISPATCHER.unregister(hook)


def _config(token: str, phases: Collection[str]) -> SchemathesisConfig:
    """Return a run that is the same each time, as far as identifiers let it."""
    return SchemathesisConfig.from_dict(
        {
            "seed": SEED,
            "request-timeout": 120.0,  # not what is tested here
            "headers": {"Authorization": f"Bearer {token}"},
            "continue-on-failure": True,
            "phases": {phase: {"enabled": phase in phases} for phase in PHASES},
            "analysis": {"constants": {"enabled": False}},
            "generation": {
                "deterministic": True,
                "no-shrink": True,
                "database": "none",
                "max-examples": EXAMPLES_PER_OPERATION,
            },
            "checks": {
                # 412: what the change was based on is not the newest. The generator cannot know.
                "positive_data_acceptance": {"expected-statuses": ["2xx", "401", "403", "404", "409", "412"]},
                # 413: what is wrong may also be too large to be looked at.
                "negative_data_rejection": {
                    "expected-statuses": [
                        "400",
                        "401",
                        "403",
                        "404",
                        "405",
                        "406",
                        "409",
                        "412",
                        "413",
                        "415",
                        "422",
                        "428",
                    ]
                },
                # This test's hooks ask for another name than the one that was made.
                "ensure_resource_availability": {"enabled": False},
                # /policies/evaluate is a name to the router too, which tells the methods of both.
                "allow_header_conformance": {"enabled": False},
                # A removal is accepted and then done: 202, and the machine is there until it is gone.
                "use_after_free": {"enabled": False},
                # RFC 6585 made 428 for exactly this.
                "missing_required_header": {"expected-statuses": ["401", "428"]},
            },
        }
    )


def _failures(scenario: events.ScenarioFinished) -> Iterator[str]:
    """Yield each failed check as text: its first line says which, the others how to see it again."""
    for case_id, checks in scenario.recorder.checks.items():
        for check in checks:
            if check.status is Status.FAILURE:
                case = scenario.recorder.cases[case_id].value
                found, response = check.failure_info, scenario.recorder.interactions[case_id].response
                answered = f"{response.status_code} {response.content[:600]!r}" if response else "no answer"
                title = f"{scenario.phase}: {case.method} {case.path}: {check.name}: {found.failure.title}"
                yield f"{title}\n{found.failure.message}\n{found.code_sample}\n{answered}"


def _documented(schema: BaseSchema) -> set[tuple[str, str]]:
    operations = [found.ok() for found in schema.get_all_operations()]
    return {(operation.method.upper(), operation.path) for operation in operations}
