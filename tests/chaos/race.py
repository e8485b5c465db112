"""Clients that race for the last room of a datacenter and the last quota of a tenant, and what came of it.

``python -m tests.chaos.race [--seed N] [--requests N]``. Every client asks for several machines at once, removes those
that it got, and asks again, while workers are killed. Meanwhile and at the end a simulated vCenter is asked what its
machines were given.
"""

import argparse
import itertools
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

from tests.chaos.patient_client import PatientClient, is_open
from tests.chaos.witness import Witness
from tests.lab.mongo import Mongo
from tests.lab.rabbitmq import RabbitMQ
from tests.lab.vai import WORKERS, Vai, machine
from tests.lab.valkey import Valkey
from tests.lab.vcsim import Vcsim
from vai_app.cli.client import Json

CLIENTS = 64
AT_ONCE = 8
QUOTA = 3
DATACENTER = "vc1"
WIDE, NARROW = "wide", "narrow"  # tenants: without a quota, and with one
_MEMORY_MIB = {WIDE: 60_000, NARROW: 64}  # eight wide ones fill a host
_PATIENCE_SECONDS = 300.0
_LOOK_SECONDS = 0.5


@dataclass
class Result:
    """Counts of one race."""

    seed: int
    requests: int = 0
    granted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    kills: int = 0
    looks: int = 0
    most_at_once: Counter[str] = field(default_factory=Counter)
    oversold: list[str] = field(default_factory=list)
    leaked: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def clean(self) -> bool:
        """Whether nothing was promised twice or kept, and every answer was yes or no."""
        return not (self.oversold or self.leaked or self.failed)


class Race:
    """One run on servers of its own."""

    def __init__(self, folder: Path, *, seed: int, requests: int, at_once: int = AT_ONCE) -> None:
        """``requests`` are creations and deletions together; each client asks for ``at_once`` machines in a row."""
        self._random = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self._requests = requests
        self._at_once = at_once
        self._result = Result(seed)
        self._numbers = itertools.count()
        self._mongo, self._valkey, self._rabbitmq = Mongo(folder), Valkey(folder), RabbitMQ(folder)
        self._datastores = folder / "vcsim"
        self._vcsim = Vcsim(self._datastores)
        self._vai = Vai(
            folder / "vai",
            mongo_url=self._mongo.url,
            broker_url=self._rabbitmq.url,
            redis_url=self._valkey.url,
            lease_seconds=10.0,
            inventory_seconds=2.0,
            rate_per_token="100000/second",
            rate_per_address="100000/second",
        )

    def run(self) -> Result:
        """Start everything, race, look, end everything."""
        with ExitStack() as stack:
            for server in (self._mongo, self._valkey, self._rabbitmq, self._vcsim):
                stack.callback(server.stop)
                server.start()
            stack.enter_context(self._vai.running())
            # Its hosts' memory is what is raced for.
            self._vai.register(DATACENTER, self._vcsim, placement={"cpu_ratio": 100, "disk_ratio": 100})
            limit = {"name": "narrow-is-narrow", "tenants": [NARROW], "limits": {"machines": QUOTA}}
            self._vai.client.post("/policies", limit)
            self._witness = Witness(self._vcsim, self._datastores)
            self._race()
            self._witness.close()
        return self._result

    def _race(self) -> None:
        started_at = time.monotonic()
        over = Event()
        threads = [Thread(target=self._watch, args=(over,)), Thread(target=self._kill, args=(over,))]
        for thread in threads:
            thread.start()
        try:
            with ThreadPoolExecutor(CLIENTS) as clients:
                kept = [pair for pairs in clients.map(self._client, range(CLIENTS)) for pair in pairs]
        finally:
            over.set()  # or a worker would be started when all has ended
            for thread in threads:
                thread.join()
        self._look()
        self._compare()
        for client, operation in kept:
            self._remove(client, [operation])
        self._compare(nothing_is_left=True)
        self._result.seconds = time.monotonic() - started_at

    def _client(self, number: int) -> list[tuple[PatientClient, Json]]:
        """Ask until enough was asked; what the last round got is kept."""
        tenant = (WIDE, WIDE, WIDE, NARROW)[number % 4]
        asked = {"name": f"racer-{number}", "tenant": tenant, "roles": ["developer"]}
        token = self._vai.client.post("/tokens", asked)["secret"]
        client = PatientClient(self._vai, token, patience_seconds=_PATIENCE_SECONDS)
        while True:
            made = self._create(client, tenant)
            if self._result.requests >= self._requests:
                return [(client, each) for each in made]
            self._remove(client, made)

    def _create(self, client: PatientClient, tenant: str) -> list[Json]:
        bodies = [
            {**machine(f"{tenant}-{next(self._numbers)}", DATACENTER), "memory_mib": _MEMORY_MIB[tenant]}
            for _ in range(self._at_once)
        ]
        accepted = [client.send("POST", "/virtual-machines", body) for body in bodies]
        self._result.requests += len(accepted)
        made = []
        for operation in accepted:
            ended = client.end_of(operation, look_seconds=_LOOK_SECONDS)
            if ended["state"] == "succeeded":
                self._result.granted += 1
                made.append(ended)
            elif ended["state"] == "rejected":
                self._result.refused[ended["problem"]["type"]] += 1
            else:
                self._result.failed.append(f"create {ended['id']}: {ended['state']}: {ended['problem']}")
        return made

    def _remove(self, client: PatientClient, made: list[Json]) -> None:
        accepted = [client.send("DELETE", f"/virtual-machines/{each['machine_id']}") for each in made]
        self._result.requests += len(accepted)
        for operation in accepted:
            ended = client.end_of(operation, look_seconds=_LOOK_SECONDS)
            if ended["state"] != "succeeded" or is_open(ended):
                self._result.failed.append(f"delete {ended['id']}: {ended['state']}: {ended['problem']}")

    def _kill(self, over: Event) -> None:
        while not over.wait(self._random.uniform(2.0, 6.0)):
            victim = self._random.choice(WORKERS)
            self._vai.kill(victim)
            self._vai.restart(victim)
            self._result.kills += 1

    def _watch(self, over: Event) -> None:
        while not over.wait(_LOOK_SECONDS):
            self._look()

    def _look(self) -> None:
        """Ask the vCenter whether it was given more than it has."""
        self._result.looks += 1
        for ref, (size, given) in self._witness.memory_of_hosts().items():
            if given > size:
                self._result.oversold.append(f"{ref} has {size} MiB and gave {given}")
        held = Counter(seen.name.partition("-")[0] for seen in self._witness.machines())
        self._result.most_at_once |= held
        if held[NARROW] > QUOTA:
            self._result.oversold.append(f"{NARROW} has {held[NARROW]} machines and may have {QUOTA}")

    def _compare(self, *, nothing_is_left: bool = False) -> None:
        """Compare what is reserved with what the vCenter's machines were given."""
        given = Counter[str]()
        for seen in self._witness.machines():
            given[seen.host or ""] += seen.memory_mib
        for host in self._vai.client.get(f"/datacenters/{DATACENTER}/capacity")["by_host"]:
            reserved, there = host["reserved"]["memory_mib"], 0 if nothing_is_left else given[host["ref"]]
            if reserved != there:
                self._result.leaked.append(f"{host['name']}: {reserved} MiB reserved, {there} MiB given")


def describe(result: Result) -> str:
    """Return the result for people."""
    most = ", ".join(f"{count} {tenant}" for tenant, count in sorted(result.most_at_once.items()))
    refused = ", ".join(f"{count} {problem}" for problem, count in sorted(result.refused.items()))
    lines = [
        f"seed {result.seed}, {CLIENTS} clients, {result.requests} creations and deletions in {result.seconds:.0f} s",
        f"{result.kills} workers killed, vCenter asked {result.looks} times",
        f"granted: {result.granted}; refused: {refused}; most machines at once: {most}",
    ]
    for name in ("oversold", "leaked", "failed"):
        found = getattr(result, name)
        lines += [f"{name:>10}: {len(found)}", *(f"{'':>12}{each}" for each in found[:10])]
    return "\n".join(lines)


def main() -> int:
    """Return 0 when nothing was oversold or leaked."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ended like by Ctrl-C: servers stop
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="repeat a run")
    parser.add_argument("--requests", type=int, default=10_000)
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(1 << 31)
    with tempfile.TemporaryDirectory(prefix="vai-race-") as folder:
        result = Race(Path(folder), seed=seed, requests=arguments.requests).run()
    print(describe(result))
    return 0 if result.clean else 1


if __name__ == "__main__":
    sys.exit(main())
