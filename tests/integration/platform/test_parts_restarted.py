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


def test_workers_outlive_a_rabbitmq_that_refuses_their_login_for_a_while(
    platform: Platform, in_flight: InFlight
) -> None:
    rabbitmq, workers = platform.rabbitmq, [platform.vai.processes[name] for name in WORKERS]
    rabbitmq.control("change_password", rabbitmq.user, "another")
    known = [worker.log.stat().st_size for worker in workers]
    rabbitmq.control("close_all_connections", "a test")
    for worker, size in zip(workers, known, strict=True):
        wait_until(partial(_was_refused, worker, size), seconds=30, what=f"{worker.name} was refused")
    site, operations = in_flight
    asked_meanwhile = platform.vai.create(f"{site.name}-{MACHINES}", site.name)
    rabbitmq.control("change_password", rabbitmq.user, rabbitmq.password)
    assert_each_is_made_once(platform, site, [*operations, asked_meanwhile])
    assert all(worker.running for worker in workers)


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
    # A beat that lost its lock with a restarted Valkey has ended; 'vai up' would have started it again.
    vai.kill(BEAT)
    vai.restart(BEAT)
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


def _was_refused(worker: ServerProcess, known: int) -> bool:
    return b"ACCESS_REFUSED" in worker.log.read_bytes()[known:]


def answered(platform: Platform, path: str) -> bool:
    try:
        platform.vai.client.get(path)
    except VaiError:
        return False
    return True
