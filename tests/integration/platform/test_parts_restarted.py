"""Parts of VAI are killed and started again while machines are made: each is made once, by whoever is left."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Barrier

import httpx
import pytest
import redis
from celery import Celery
from kombu import Queue

from tests.integration.platform.conftest import Platform, Site
from tests.lab.process import ServerProcess, wait_until
from tests.lab.vai import WORKERS, machine
from vai_app.cli.client import Json
from vai_app.cli.processes import API, BEAT, PROVISION_WORKER, REQUEST_WORKER, WATCHER, command_lines
from vai_app.dispatch import CeleryDispatcher
from vai_app.domain.errors import VaiError
from vai_app.domain.operations import StepName

MACHINES = 6
LOCK = "vai:beat::lock"


InFlight = tuple[Site, list[Json]]


@pytest.fixture
def in_flight(platform: Platform, new_site: Callable[..., Site]) -> InFlight:
    """Return a vCenter whose tasks take a second, and the operations of machines that are being made there."""
    site = new_site("-task-delay", "1000ms")
    return site, [platform.vai.create(f"{site.name}-{number}", site.name) for number in range(MACHINES)]


def assert_each_is_made_once(platform: Platform, site: Site, operations: list[Json]) -> None:
    for operation in operations:
        assert platform.vai.end(operation, seconds=90)["state"] == "succeeded"
    assert site.names() == [f"{site.name}-{number}" for number in range(len(operations))]
    assert site.witness.doubled() == []


@pytest.mark.spec(21)
def test_rabbitmq_is_restarted_with_operations_in_flight(platform: Platform, in_flight: InFlight) -> None:
    platform.rabbitmq.kill()
    platform.rabbitmq.start()
    assert_each_is_made_once(platform, *in_flight)


def test_workers_and_beat_outlive_a_rabbitmq_that_refuses_their_login_for_a_while(
    platform: Platform, in_flight: InFlight
) -> None:
    rabbitmq, processes = platform.rabbitmq, [platform.vai.processes[name] for name in (*WORKERS, BEAT)]
    rabbitmq.control("change_password", rabbitmq.user, "another")
    known = [process.log.stat().st_size for process in processes]
    rabbitmq.control("close_all_connections", "a test")
    for process, size in zip(processes, known, strict=True):
        refused = partial(_has_logged, process, "ACCESS_REFUSED", since=size)
        wait_until(refused, seconds=30, what=f"{process.name} was refused")
    site, operations = in_flight
    asked_meanwhile = platform.vai.create(f"{site.name}-{MACHINES}", site.name)
    rabbitmq.control("change_password", rabbitmq.user, rabbitmq.password)
    assert_each_is_made_once(platform, site, [*operations, asked_meanwhile])
    assert all(process.running for process in processes)


@pytest.mark.spec(24)
def test_mongodb_is_restarted_with_operations_in_flight(platform: Platform, in_flight: InFlight) -> None:
    platform.mongo.kill()
    platform.mongo.start()
    wait_until(lambda: answered(platform, "/operations"), seconds=30, what="the API finds the database again")
    assert_each_is_made_once(platform, *in_flight)


def test_valkey_is_restarted_with_operations_in_flight(platform: Platform, in_flight: InFlight) -> None:
    platform.valkey.kill()
    platform.valkey.start()
    assert_each_is_made_once(platform, *in_flight)


@pytest.mark.parametrize("name", [API, REQUEST_WORKER, PROVISION_WORKER, WATCHER])
def test_a_process_is_killed_with_operations_in_flight(platform: Platform, in_flight: InFlight, name: str) -> None:
    platform.vai.kill(name)
    platform.vai.restart(name)
    assert_each_is_made_once(platform, *in_flight)


def test_a_second_beat_waits_for_the_first_and_takes_over_when_it_is_killed(
    platform: Platform, site: Site, tmp_path: Path
) -> None:
    vai = platform.vai
    schedule = redis.Redis.from_url(platform.valkey.url)
    wait_until(lambda: schedule.get(LOCK) is not None, seconds=60, what="the first beat holds the lock")
    first = schedule.get(LOCK)
    second = ServerProcess("second-beat", command_lines(vai.settings)[BEAT], tmp_path, vai.environment)
    second.start(lambda: True)
    try:
        vai.kill(BEAT)
        wait_until(lambda: schedule.get(LOCK) not in (None, first), seconds=60, what="the second beat holds the lock")
        # What is asked for while the broker is away is published by beat's sweep, and by nothing else.
        platform.rabbitmq.stop()
        operation = vai.create("web-swept", site.name)
        platform.rabbitmq.start()
        assert vai.end(operation, seconds=60)["state"] == "succeeded"
    finally:
        second.stop()
        vai.restart(BEAT)


def test_beat_starts_without_its_broker_and_outlives_a_valkey_that_forgets_its_lock(
    platform: Platform, site: Site
) -> None:
    vai, beat = platform.vai, platform.vai.processes[BEAT]
    schedule = redis.Redis.from_url(platform.valkey.url)
    vai.kill(BEAT)
    platform.rabbitmq.stop()
    known = beat.log.stat().st_size
    vai.restart(BEAT)
    wait_until(partial(_has_logged, beat, "Beat goes on", since=known), seconds=60, what="beat misses its broker")
    schedule.delete(LOCK)
    platform.valkey.kill()
    platform.valkey.start()
    operation = vai.create("web-late", site.name)
    platform.rabbitmq.start()
    assert vai.end(operation, seconds=60)["state"] == "succeeded"
    assert beat.running
    assert schedule.get(LOCK) is not None


def test_messages_that_come_many_times_make_one_machine(platform: Platform, in_flight: InFlight) -> None:
    app = Celery("vai", config_source="celeryconfig", set_as_current=False)
    app.conf.update(broker_url=platform.rabbitmq.url, broker_transport_options={"confirm_publish": True})
    app.conf.task_queues = tuple(
        Queue(each.name, each.exchange, each.routing_key, queue_arguments={"x-queue-type": "quorum"})
        for each in app.conf.task_queues
    )
    dispatcher = CeleryDispatcher(app)
    for operation in in_flight[1]:
        for step in operation["plan"] * 3:
            dispatcher.publish(StepName(step), operation["id"])
    assert_each_is_made_once(platform, *in_flight)
    dispatcher.close()


def test_clients_that_send_one_idempotency_key_at_once_get_one_operation(platform: Platform, site: Site) -> None:
    clients = 8
    together = Barrier(clients)

    def ask(_: int) -> str:
        with httpx.Client(trust_env=False, timeout=30) as http:
            together.wait()
            response = http.post(
                f"{platform.vai.client.base_url}/api/v1/virtual-machines",
                json=machine("web-once", site.name),
                headers={"Authorization": f"Bearer {platform.vai.token}", "Idempotency-Key": "once"},
            )
        assert response.status_code == 202, response.text
        return str(response.json()["id"])

    with ThreadPoolExecutor(clients) as threads:
        ids = set(threads.map(ask, range(clients)))
    assert len(ids) == 1
    assert platform.vai.end({"id": ids.pop()})["state"] == "succeeded"
    assert site.names() == ["web-once"]


def _has_logged(process: ServerProcess, words: str, *, since: int) -> bool:
    return words.encode() in process.log.read_bytes()[since:]


def answered(platform: Platform, path: str) -> bool:
    try:
        platform.vai.client.get(path)
    except VaiError:
        return False
    return True
