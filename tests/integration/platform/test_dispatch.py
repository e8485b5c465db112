"""Publishing on real brokers: a nudge arrives as the task it names, and a broker that forgot everything is taught."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery
from kombu import Message

from tests.lab.process import wait_until
from tests.lab.rabbitmq import RabbitMQ
from tests.lab.valkey import Valkey
from vai_app.dispatch import PROVISION, REQUESTS, CeleryDispatcher
from vai_app.domain.errors import ServiceUnavailable
from vai_app.domain.operations import StepName

pytestmark = pytest.mark.spec(21)


@pytest.fixture(params=[RabbitMQ, Valkey], ids=["rabbitmq", "valkey"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RabbitMQ | Valkey]:
    server = request.param(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def app(broker: RabbitMQ | Valkey) -> Iterator[Celery]:
    app = Celery("vai", config_source="celeryconfig", set_as_current=False)
    confirms = {"confirm_publish": True} if isinstance(broker, RabbitMQ) else {}
    app.conf.update(broker_url=broker.url, broker_transport_options=confirms)
    yield app
    app.close()


@pytest.fixture
def dispatcher(app: Celery) -> CeleryDispatcher:
    return CeleryDispatcher(app)


def taken(app: Celery, queue: str) -> Message | None:
    """Return the next message of a queue."""
    with app.connection_for_read() as connection, connection.channel() as channel:
        message = app.amqp.queues[queue](channel).get(no_ack=True)
    assert message is None or isinstance(message, Message)
    return message


def test_a_nudge_is_the_task_that_bears_the_steps_name_on_the_steps_queue(
    app: Celery, dispatcher: CeleryDispatcher
) -> None:
    dispatcher.publish(StepName.CREATE_VM, "op-1")
    dispatcher.publish(StepName.CREATE_VM, "op-2")
    message = taken(app, PROVISION)
    assert message is not None
    assert (message.headers["task"], message.headers["argsrepr"]) == (StepName.CREATE_VM.value, "('op-1',)")
    assert message.payload[0] == ["op-1"]
    assert message.properties["delivery_mode"] == 2
    following = taken(app, PROVISION)
    assert following is not None
    assert following.payload[0] == ["op-2"]
    assert following.properties["correlation_id"] != message.properties["correlation_id"]
    assert taken(app, PROVISION) is None


def test_a_broker_that_comes_back_with_nothing_is_given_the_queues_again(
    app: Celery, dispatcher: CeleryDispatcher, broker: RabbitMQ | Valkey, tmp_path: Path
) -> None:
    dispatcher.publish(StepName.VALIDATE, "op-1")
    broker.stop()
    with pytest.raises(ServiceUnavailable, match="VAI_BROKER_URL"):
        dispatcher.publish(StepName.VALIDATE, "op-2")
    for data in ("rabbitmq/mnesia", "valkey/appendonlydir"):
        shutil.rmtree(tmp_path / data, ignore_errors=True)
    broker.start()

    def published() -> bool:
        try:
            dispatcher.publish(StepName.VALIDATE, "op-3")
        except ServiceUnavailable:
            return False
        return True

    wait_until(published, seconds=30, what="the broker takes messages again")
    message = taken(app, REQUESTS)
    assert message is not None
    assert message.payload[0] == ["op-3"]
