"""Dispatch: the names on the wire, the queue of each, and publishing by name.

The names are a contract between releases: a message published by one version is run by the next. Whoever
publishes never imports a task.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from uuid import uuid4

import msgspec
from celery import Celery
from kombu.connection import Connection
from kombu.exceptions import OperationalError

from vai_app.domain.errors import ServiceUnavailable
from vai_app.domain.operations import StepName

SWEEP = "vai.sweep"
ARCHIVE_EVENTS = "vai.archive_events"
FOLLOW_LIFETIMES = "vai.follow_lifetimes"
BEGIN_COLLECTIONS = "vai.begin_collections"
COLLECT_STATISTICS = "vai.collect_statistics"

REQUESTS = "vai.requests"
PROVISION = "vai.provision"
CONTROL = "vai.control"
STATS = "vai.stats"

EXCHANGE = "vai"
QUEUES: tuple[str, ...] = (REQUESTS, PROVISION, CONTROL, STATS)

QUEUE_OF: Mapping[str, str] = {
    StepName.VALIDATE: REQUESTS,
    StepName.PLACE: REQUESTS,
    StepName.PLACE_BATCH: REQUESTS,
    StepName.AWAIT_BATCH: REQUESTS,
    StepName.CREATE_VM: PROVISION,
    StepName.START_VM: PROVISION,
    StepName.STOP_VM: PROVISION,
    StepName.DELETE_VM: PROVISION,
    StepName.CHANGE_POWER: PROVISION,
    StepName.RESIZE_VM: PROVISION,
    StepName.MIGRATE_VM: PROVISION,
    StepName.TAKE_SNAPSHOT: PROVISION,
    StepName.RESTORE_VM: PROVISION,
    StepName.REGAIN_POWER: PROVISION,
    StepName.DELETE_SNAPSHOTS: PROVISION,
    StepName.ADOPT_VM: PROVISION,
    SWEEP: CONTROL,
    ARCHIVE_EVENTS: CONTROL,
    FOLLOW_LIFETIMES: CONTROL,
    BEGIN_COLLECTIONS: CONTROL,
    COLLECT_STATISTICS: STATS,
}


class CeleryDispatcher:
    """Implements the ``Dispatcher`` port with Celery messages."""

    def __init__(self, app: Celery | None = None) -> None:
        """``app`` only needs the configuration; by default one that knows no task."""
        self._app = app or Celery("vai", config_source="celeryconfig", set_as_current=False)
        self._declared: set[str] = set()

    def publish(self, step: StepName, operation_id: str) -> None:
        """Publish and wait for the broker's confirmation. Raises ServiceUnavailable after a short time.

        It is what ``Celery.send_task`` sends, without what every call of that looks up anew: half of its CPU time.
        """
        queue = QUEUE_OF[step]
        message = self._app.amqp.create_task_message(
            str(uuid4()),
            step.value,
            args=(operation_id,),
            kwargs={},
            argsrepr=repr((operation_id,)),
            kwargsrepr="{}",
            ignore_result=True,
        )
        try:
            with (
                _broker_errors(),
                self._app.producer_pool.acquire(block=True) as producer,
                _broker_errors(producer.connection),
            ):
                producer.publish(
                    msgspec.json.encode(message.body),
                    content_type="application/json",
                    content_encoding="utf-8",
                    exchange=EXCHANGE,
                    routing_key=queue,
                    declare=() if queue in self._declared else (self._app.amqp.queues[queue],),
                    headers=message.headers,
                    retry=False,
                    **message.properties,
                )
        except ServiceUnavailable:
            self._declared.clear()  # whatever comes back may be a broker that knows nothing
            raise
        self._declared.add(queue)

    def ping(self) -> None:
        """Raise ServiceUnavailable when the broker does not answer."""
        with _broker_errors(), self._app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, timeout=4)

    def close(self) -> None:
        """Close the connections to the broker."""
        self._app.close()


@contextmanager
def _broker_errors(connection: Connection | None = None) -> Iterator[None]:
    """Translate what cannot reach the broker; on a given connection, also what its transport raises."""
    raised = (
        (*connection.connection_errors, *connection.recoverable_connection_errors, *connection.channel_errors)
        if connection
        else ()
    )
    try:
        yield
    except (OperationalError, OSError, *raised) as error:
        message = "The message broker cannot be reached. Check VAI_BROKER_URL and that the broker runs."
        raise ServiceUnavailable(message) from error
