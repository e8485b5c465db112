"""What 1,000 running machines use, read and kept once, against a bare program that does the same."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pymongo import ASCENDING, DESCENDING, MongoClient
from pymongo.collection import Collection
from pyVim.connect import Disconnect
from pyVmomi import vim

from bench.measurement import Measurement, in_turns, measurement
from bench.servers import Servers, servers
from tests.api.installation import Installation
from tests.lab.vcsim import Vcsim
from vai_app.bootstrap import utc_now
from vai_app.domain.principals import Principal
from vai_app.services.acceptance import RequestContext
from vai_app.services.datacenter_registry import Registration
from vai_app.store import open_store

MACHINES = 1000
BATCH = 100
DATABASE = "vai_bench"
_COUNTERS = {
    ("cpu", "usage"), ("mem", "consumed"), ("net", "received"), ("net", "transmitted"),
    ("disk", "read"), ("disk", "write"), ("power", "power"),
}  # fmt: skip
_Documents = Collection[dict[str, Any]]


def collection_of_statistics(runs: int) -> Iterator[Measurement]:
    """Seconds of one collection."""
    with servers() as own, TemporaryDirectory(prefix="vai-bench-") as folder:
        vcsim = own.vcsim(vms=MACHINES // 2, clusters=2, hosts=16)
        installation, datacenter = _installed(own, vcsim, Path(folder))
        client = MongoClient[dict[str, Any]](own.mongo.url, tz_aware=True)
        kept, plain = client[DATABASE].statistics, client.bare.statistics
        plain.create_index([("machine_id", ASCENDING), ("at", DESCENDING), ("_id", DESCENDING)])
        plain.create_index([("datacenter_id", ASCENDING), ("at", ASCENDING)])
        plain.create_index("forget_at", expireAfterSeconds=0)

        def collect() -> float:
            kept.delete_many({})
            began_at = time.perf_counter()
            installation.services.stats_collector.collect(datacenter)
            return _whole(kept, began_at)

        collect()  # not counted: the session is opened
        found = in_turns(runs, collect, lambda: _bare(vcsim, plain))
        installation.services.close()
    sizes = f"{MACHINES} machines that run, {len(_COUNTERS)} metrics, {BATCH} machines a call"
    yield measurement("statistics", "s", *found, goal="<= 1.5", sizes=sizes)


def _installed(own: Servers, vcsim: Vcsim, folder: Path) -> tuple[Installation, str]:
    """Return services in this process, and the id of the datacenter that they have listed."""
    installation = Installation(folder, own.mongo.url, DATABASE, broker_url=own.rabbitmq.url)
    services = installation.services
    open_store(own.mongo.url, DATABASE, services.settings.secret_key.get_secret_value(), utc_now).prepare()
    wanted = Registration(
        "vc1",
        "vmware",
        vcsim.endpoint,
        {"username": vcsim.username, "password": vcsim.password},
        verify_tls=False,
        call_timeout_seconds=120.0,
    )
    context = RequestContext(Principal("bench", "default", ("admin",)), "bench")
    datacenter = services.datacenter_registry.register(context, wanted, verify=False)
    services.reconciler.reconcile(datacenter.id)
    return installation, datacenter.id


def _bare(vcsim: Vcsim, documents: _Documents) -> float:
    instance = vcsim.log_in()
    content = instance.RetrieveContent()
    manager = content.perfManager
    names = {
        each.key: each.nameInfo.key
        for each in manager.perfCounter
        if (each.groupInfo.key, each.nameInfo.key) in _COUNTERS and each.rollupType == "average"
    }
    view = content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], recursive=True)
    machines = list(view.view)
    documents.delete_many({})
    began_at = time.perf_counter()
    metrics = [vim.PerformanceManager.MetricId(counterId=key, instance="") for key in names]
    for start in range(0, len(machines), BATCH):
        asked = [
            vim.PerformanceManager.QuerySpec(entity=each, maxSample=1, intervalId=20, metricId=metrics)
            for each in machines[start : start + BATCH]
        ]
        forget_at = datetime.now(UTC) + timedelta(hours=24)
        documents.insert_many(
            {
                "machine_id": found.entity._GetMoId(),  # noqa: SLF001
                "datacenter_id": "dc-1",
                "at": found.sampleInfo[-1].timestamp,
                "values": {names[each.id.counterId]: each.value[-1] for each in found.value},
                "totals": {},
                "forget_at": forget_at,
            }
            for found in manager.QueryPerf(asked)
        )
    seconds = _whole(documents, began_at)
    Disconnect(instance)
    return seconds


def _whole(documents: _Documents, began_at: float) -> float:
    """Return the seconds since then, if of each machine something was kept."""
    seconds = time.perf_counter() - began_at
    assert documents.count_documents({}) == MACHINES, documents.count_documents({})
    return seconds
