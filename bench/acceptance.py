"""``POST /virtual-machines``: accepted per second and latency, against a bare Flask endpoint on the same servers."""

import itertools
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from bench.measurement import Measurement, in_turns, measurement, percentile
from bench.servers import servers
from tests.lab.ports import free_port
from tests.lab.process import ServerProcess, answers
from tests.lab.vai import WORKERS, machine
from vai_app.cli.processes import BEAT, WATCHER

REQUESTS = 2000
CLIENTS = 8
_serial = itertools.count()


def requests_accepted(runs: int) -> Iterator[Measurement]:
    """Requests per second, p50 and p99. Workers, watcher and beat are stopped: what is measured is acceptance."""
    with servers() as own, TemporaryDirectory() as folder:
        vai = own.vai()
        vai.register("vc1", own.vcsim())
        for name in (*WORKERS, WATCHER, BEAT):
            vai.processes[name].stop()
        port = free_port()
        bare = ServerProcess(
            "bare-flask",
            [
                *(sys.executable, "-m", "gunicorn", "--worker-class", "gthread", "--threads", "8"),
                *("--keep-alive", "15", "--bind", f"127.0.0.1:{port}", "bench.bare_flask:app"),
            ],
            Path(folder),
            {"BENCH_MONGODB_URL": own.mongo.url, "BENCH_BROKER_URL": own.rabbitmq.url, "PYTHONPATH": os.getcwd()},  # noqa: PTH109
        )
        bare.start(lambda: answers(port))
        try:
            token = {"Authorization": f"Bearer {vai.token}"}
            ours_url = f"{vai.client.base_url}/api/v1/virtual-machines"
            bare_url = f"http://127.0.0.1:{port}/virtual-machines"
            for url in (ours_url, bare_url):
                _load(url, token, 200)
            found: dict[str, list[list[float]]] = {"ours": [], "reference": []}

            def side(name: str, url: str) -> Callable[[], float]:
                def run() -> float:
                    rate, latencies = _load(url, token, REQUESTS)
                    found[name].append(latencies)
                    return rate

                return run

            ours, reference = in_turns(runs, side("ours", ours_url), side("reference", bare_url))
        finally:
            bare.stop()
    sizes = f"{REQUESTS} requests, {CLIENTS} clients, one API process with 8 threads on each side"
    yield measurement("accepted_per_second", "requests/s", ours, reference, goal=">= 0.6", sizes=sizes)
    for percent in (50, 99):
        own_times, other = (
            [percentile(latencies, percent) * 1000 for latencies in found[name]] for name in ("ours", "reference")
        )
        yield measurement(f"accepted_p{percent}", "ms", own_times, other, goal="<= 1.67", sizes=sizes)


def _load(url: str, headers: dict[str, str], count: int) -> tuple[float, list[float]]:
    """Send requests from several clients. Returns requests per second and each one's seconds."""
    latencies: list[float] = []
    pending = iter([machine(f"load-{next(_serial)}", "vc1") for _ in range(count)])
    lock = threading.Lock()

    def client() -> None:
        with httpx.Client(headers=headers, trust_env=False, timeout=30) as http:
            while True:
                with lock:
                    body = next(pending, None)
                if body is None:
                    return
                began_at = time.perf_counter()
                response = http.post(url, json=body)
                latencies.append(time.perf_counter() - began_at)
                if response.status_code != 202:
                    message = f"{url} answered {response.status_code}: {response.text[:200]}"
                    raise RuntimeError(message)

    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    started_at = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(latencies) != count:
        message = f"only {len(latencies)} of {count} requests were answered"
        raise RuntimeError(message)
    return count / (time.perf_counter() - started_at), latencies
