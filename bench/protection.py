"""Honest clients beside floods, guessed tokens and slow clients: what they keep of the throughput they have alone.

Eight honest clients of their own addresses and tokens ask 40 times a second each; the limits are those of a site that
knows its users (100 requests a second for a token, 200 for an address). One API process on loopback.
"""

import time
from collections.abc import Callable, Iterator

from bench.measurement import Measurement, in_turns, measurement
from bench.servers import servers
from tests.lab.clients import FLOOD, FLOOD_ANEW, HONEST, SLOW, Clients, Group
from vai_app.bootstrap import build_services
from vai_app.cli.processes import API
from vai_app.domain.principals import Principal

SECONDS = 4.0
LIMITS = {"rate_per_token": "100/second", "rate_per_address": "200/second"}
_HEAD_START_SECONDS = 1.0
_HOSTILE = "127.0.0.66"


def honest_throughput(runs: int) -> Iterator[Measurement]:
    """Served per second beside others (ours) and alone (reference)."""
    with servers() as own:
        vai = own.vai(**LIMITS)
        for name in [name for name in vai.processes if name != API]:
            vai.processes[name].stop()
        services = build_services(vai.settings)
        tokens = [services.access.issue(Principal(f"user-{number}", "acme", ("operator",))) for number in range(9)]
        services.close()
        honest = [Group(f"127.0.0.{10 + number}", 1, token) for number, token in enumerate(tokens[1:])]
        port = vai.settings.api_port

        def alone() -> float:
            return Clients(HONEST, port, SECONDS, honest).answers().served_per_second

        def beside(kind: str, groups: list[Group]) -> Callable[[], float]:
            def run() -> float:
                others = Clients(kind, port, SECONDS + 2 * _HEAD_START_SECONDS, groups)
                time.sleep(_HEAD_START_SECONDS)
                served = alone()
                others.answers()
                return served

            return run

        for name, kind, groups in _hostile(tokens[0]):
            ours, reference = in_turns(runs, beside(kind, groups), alone)
            connections = sum(group.connections for group in groups)
            sizes = f"8 honest clients at 40 requests/s each; {len(groups)} groups with {connections} connections"
            yield measurement(f"honest_beside_{name}", "requests/s", ours, reference, goal=">= 0.8", sizes=sizes)


def _hostile(token: str) -> Iterator[tuple[str, str, list[Group]]]:
    many = [f"127.0.2.{number}" for number in range(1, 33)]
    yield "flood_of_one_address", FLOOD, [Group(_HOSTILE, 32, token)]
    yield "flood_of_new_connections", FLOOD_ANEW, [Group(_HOSTILE, 32, token)]
    yield "flood_of_one_token", FLOOD, [Group(address, 1, token) for address in many]
    yield "flood_of_one_token_anew", FLOOD_ANEW, [Group(address, 1, token) for address in many]
    yield "guessed_tokens", FLOOD, [Group(_HOSTILE, 1, f"vai_guess{number}") for number in range(32)]
    yield "slow_clients", SLOW, [Group(_HOSTILE, 200, token)]
    yield "slow_clients_of_many_addresses", SLOW, [Group(address, 6, token) for address in many]
