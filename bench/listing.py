"""A page of 100 out of 25,000 machines over REST, against the bare MongoDB query for the same documents."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO

from pymongo import MongoClient

from bench.measurement import Measurement, in_turns, measurement, percentile
from bench.servers import servers
from tests.lab.process import wait_until
from tests.lab.vai import Vai
from vai_app.domain.identifiers import new_id
from vai_app.domain.virtual_machines import MachineSpec, MachineState, Mark, Power, Size, VirtualMachine
from vai_app.store.codec import Codec

MACHINES = 25_000
PAGE = 100
PAGES = 200
TURNS = 4
"""How often each side has its turn in a run: what else the machine does for a second is to meet both."""


def page_of_machines(runs: int) -> Iterator[Measurement]:
    """p50 and p95 over pages all through the list."""
    with servers() as own:
        vai = own.vai(inventory_seconds=3600)
        datacenter = vai.register("vc1", own.vcsim())
        wait_until(
            lambda: bool(vai.client.get("/virtual-machines", managed="false")["items"]),
            seconds=60,
            what="the datacenter has been listed, and misses none of the machines to come",
        )
        collection = MongoClient[dict[str, Any]](own.mongo.url, tz_aware=True)[vai.settings.mongodb_database].machines
        collection.insert_many(_documents(datacenter["id"]))
        last = sorted(each["_id"] for each in collection.find({}, {"_id": 1}))
        starts = last[:: max(1, len(last) // PAGES)][:PAGES]
        found: dict[str, list[list[float]]] = {"ours": [], "reference": []}

        def timed(name: str, run: Callable[[], list[float]]) -> Callable[[], float]:
            def once() -> float:
                found[name].append(run())
                return percentile(found[name][-1], 50)

            return once

        query = {"tenant": "default", "state": {"$ne": "deleted"}}

        def bare() -> list[float]:
            times = []
            for start in starts:
                began_at = time.perf_counter()
                rows = list(collection.find({**query, "_id": {"$gt": start}}).sort("_id", 1).limit(PAGE))
                times.append(time.perf_counter() - began_at)
                assert rows
            return times

        _pages(vai)  # not counted: MongoDB is still writing down what was inserted
        in_turns(runs * TURNS, timed("ours", lambda: _pages(vai)), timed("reference", bare))
    for percent in (50, 95):
        ours, reference = (
            [percentile(times, percent) * 1000 for times in found[name]] for name in ("ours", "reference")
        )
        sizes = f"pages of {PAGE} out of {MACHINES} machines, {PAGES} pages a turn"
        yield measurement(f"list_page_p{percent}", "ms", ours, reference, goal="<= 3", sizes=sizes)


def _pages(vai: Vai) -> list[float]:
    times = []
    with socket.create_connection(("127.0.0.1", vai.settings.api_port)) as line, line.makefile("rb") as answers:
        token = None
        for _ in range(PAGES):
            beyond = f"&page_token={token}" if token else ""
            began_at = time.perf_counter()
            line.sendall(
                f"GET /api/v1/virtual-machines?page_size={PAGE}{beyond} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                f"Authorization: Bearer {vai.token}\r\n\r\n".encode()
            )
            body = _body_of(answers)
            times.append(time.perf_counter() - began_at)
            token = json.loads(body)["next_page_token"]
            assert token
    return times


def _body_of(answers: BinaryIO) -> bytes:
    """Read one answer to its last byte, and of its headers what that takes: the client is not what is measured."""
    assert answers.readline() == b"HTTP/1.1 200 OK\r\n"
    length = 0
    while (line := answers.readline()) != b"\r\n":
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return answers.read(length)


def _documents(datacenter_id: str) -> Iterator[dict[str, Any]]:
    codec = Codec(VirtualMachine)
    now = datetime.now(UTC)
    size = Size(cpus=2, memory_mib=2048, disk_gib=20)
    for number in range(MACHINES):
        at = now + timedelta(milliseconds=number)
        machine = VirtualMachine(
            id=new_id("vm", at),
            name=f"machine-{number}",
            tenant="default",
            datacenter_id=datacenter_id,
            state=MachineState.ACTIVE,
            spec=MachineSpec(name=f"machine-{number}", size=size, networks=("VM Network",)),
            created_at=at,
            provider_ref=f"ref-{number}",
            mark=Mark(machine_id="vm", token="op"),  # noqa: S106 - no secret
            observed_power=Power.ON,
        )
        yield codec.to_document(machine) | {"name_held": True, "recorded_at": at}
