"""The nudge: publishes an operation's step now, or leaves it to the sweeper's next look when the broker is away."""

import logging

from vai_app.domain.errors import ServiceUnavailable
from vai_app.domain.operations import StepName
from vai_app.domain.ports.operations import Dispatcher, OperationRepository

log = logging.getLogger(__name__)


class Nudge:
    """What everybody calls who wants an operation to go on."""

    def __init__(self, operations: OperationRepository, dispatcher: Dispatcher) -> None:
        """Collaborators."""
        self._operations = operations
        self._dispatcher = dispatcher

    def __call__(self, step: StepName, operation_id: str) -> None:
        """Publish; without a broker nothing is lost, for the operation is stored and becomes due."""
        try:
            self._dispatcher.publish(step, operation_id)
        except ServiceUnavailable as error:
            log.warning("%s of %s is left to the sweeper: %s", step, operation_id, error.detail)
            self._operations.make_due(operation_id)
