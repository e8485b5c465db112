"""Clients that make and remove machines, a killer that ends processes at random, and the count of what came of it."""

import random
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

from tests.chaos.patient_client import PatientClient, is_open
from tests.chaos.sites import Site
from tests.lab.mongo import Mongo
from tests.lab.process import wait_until
from tests.lab.rabbitmq import RabbitMQ
from tests.lab.vai import Vai
from tests.lab.valkey import Valkey
from vai_app.cli.client import Json

RABBITMQ = "rabbitmq"
CLIENTS = 16
PATIENCE_SECONDS = 120.0
LEASE_SECONDS = 10.0
_KEPT = 4  # every fourth machine stays until the end


@dataclass
class Report:
    """Counts of one run."""

    seed: int
    created: int = 0
    deleted: int = 0
    refused: list[str] = field(default_factory=list)
    kills: Counter[str] = field(default_factory=Counter)
    duplicates: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    endless: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    lost_answers: int = 0
    seconds: float = 0.0

    @property
    def clean(self) -> bool:
        """Whether no machine is lost, doubled or left, every request was granted, and VAI runs as it was started."""
        machines = self.refused or self.duplicates or self.lost or self.orphans or self.leftovers
        return not (machines or self.endless or self.ended)


@dataclass(frozen=True)
class Kept:
    """A machine that stays until the end."""

    site: Site
    machine_id: str
    name: str


class KillTest:
    """One run, repeatable by its seed as far as processes can be."""

    def __init__(self, folder: Path, sites: Mapping[Site, int], *, seed: int, seconds: float) -> None:
        """At each site so many machines are made and removed in ``seconds`` of killing; then the dust settles."""
        self._random = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self._sites = sites
        self._seconds = seconds
        self._report = Report(seed)
        self._mongo, self._valkey, self._rabbitmq = Mongo(folder), Valkey(folder), RabbitMQ(folder)
        self._vai = Vai(
            folder / "vai",
            mongo_url=self._mongo.url,
            broker_url=self._rabbitmq.url,
            redis_url=self._valkey.url,
            lease_seconds=LEASE_SECONDS,
            inventory_seconds=5.0,
        )
        self._client = PatientClient(self._vai, self._vai.token, patience_seconds=seconds + PATIENCE_SECONDS)

    def run(self) -> Report:
        """Start everything, let it be killed, look at the result and end everything."""
        with ExitStack() as stack:
            for server in (self._mongo, self._valkey, self._rabbitmq):
                stack.callback(server.stop)
                server.start()
            stack.enter_context(self._vai.running())
            for site in self._sites:
                site.start(self._vai)
                stack.callback(site.stop)
            self._run()
        self._report.lost_answers = sum(site.trouble.lost_answers for site in self._sites)
        return self._report

    def _run(self) -> None:
        started_at = time.monotonic()
        calm = Event()
        killer = Thread(target=self._kill_at_random, args=(calm,))
        watches = [Thread(target=self._watch_for_doubles, args=(site, calm)) for site in self._sites]
        plan = sorted(
            (self._random.uniform(0, self._seconds * 0.8), number, site)
            for site, machines in self._sites.items()
            for number in range(machines)
        )
        for thread in (killer, *watches):
            thread.start()
        with ThreadPoolExecutor(CLIENTS) as clients:
            lives = [
                clients.submit(self._live, site, number, started_at + after, keep=number % _KEPT == 0)
                for after, number, site in plan
            ]
            killer.join()
            ends = [life.result() for life in lives]
        calm.set()
        for watch in watches:
            watch.join()
        self._settle([end for end in ends if end is not None])
        self._report.seconds = time.monotonic() - started_at

    def _kill_at_random(self, calm: Event) -> None:
        victims = [*self._vai.processes, RABBITMQ]
        until = time.monotonic() + self._seconds
        while time.monotonic() < until:
            calm.wait(self._random.uniform(0.5, 3.0))
            for site in self._sites:
                site.disturb()
            victim = self._random.choice(victims)
            self._report.kills[victim] += 1
            if victim == RABBITMQ:
                self._rabbitmq.kill()
                calm.wait(self._random.uniform(0.0, 2.0))
                self._rabbitmq.start()
            else:
                self._vai.kill(victim)
                calm.wait(self._random.uniform(0.0, 2.0))
                self._vai.restart(victim)

    def _watch_for_doubles(self, site: Site, calm: Event) -> None:
        while not calm.wait(site.look_seconds):
            self._report.duplicates += site.doubled()

    def _live(self, site: Site, number: int, begin_at: float, *, keep: bool) -> Kept | None:
        """Make a machine and, unless it is kept, remove it."""
        time.sleep(max(0.0, begin_at - time.monotonic()))  # a client's pause between requests
        name = f"chaos-{site.datacenter}-{number:03}"
        made = self._ask("POST", "/virtual-machines", site.request(name))
        if made["state"] != "succeeded":
            self._report.refused.append(f"create {name}: {made['state']}: {made['problem']}")
            return None
        self._report.created += 1
        if keep:
            return Kept(site, made["machine_id"], name)
        self._remove(made["machine_id"], name)
        return None

    def _remove(self, machine_id: str, name: str) -> None:
        removed = self._ask("DELETE", f"/virtual-machines/{machine_id}", None)
        if removed["state"] == "succeeded":
            self._report.deleted += 1
        else:
            self._report.refused.append(f"delete {name}: {removed['state']}: {removed['problem']}")

    def _ask(self, method: str, path: str, body: Json | None) -> Json:
        """Ask until it is accepted, and follow the operation to its end."""
        operation = self._client.end_of(self._client.send(method, path, body))
        if is_open(operation):
            self._report.endless.append(f"{operation['id']} {operation['state']} at {operation['step']}")
        return operation

    def _settle(self, kept: list[Kept]) -> None:
        """Compare each site with what was promised: with the kept machines, and again without them."""
        self._note_endless()
        self._report.ended = [each.name for each in self._vai.processes.values() if not each.running]
        if self._report.endless or self._report.ended:
            print(self._vai.condition())
        self._compare(kept)
        for each in kept:
            self._remove(each.machine_id, each.name)
        self._compare([])

    def _note_endless(self) -> None:
        def ended() -> bool:
            return not any(True for _ in self._vai.client.items("/operations", open="true"))

        try:
            wait_until(ended, seconds=PATIENCE_SECONDS, what="every operation has ended")
        except TimeoutError:
            self._report.endless += [each["id"] for each in self._vai.client.items("/operations", open="true")]

    def _compare(self, kept: list[Kept]) -> None:
        for site in self._sites:
            promised = {each.machine_id: each.name for each in kept if each.site is site}
            seen = site.seen()
            present = {each.machine_id for each in seen}
            self._report.duplicates += site.doubled()
            self._report.lost += [name for machine_id, name in promised.items() if machine_id not in present]
            self._report.lost += [f"{each.name} is off" for each in seen if not each.powered_on]
            self._report.orphans += [each.name for each in seen if each.machine_id not in promised]
            self._report.leftovers += site.leftovers()
