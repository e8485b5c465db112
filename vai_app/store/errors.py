"""Translates what the database driver raises, in one place for all repositories."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from pymongo.errors import (
    BulkWriteError,
    ConfigurationError,
    ConnectionFailure,
    ExecutionTimeout,
    NotPrimaryError,
    OperationFailure,
    WaitQueueTimeoutError,
    WTimeoutError,
)

from vai_app.domain.errors import ServiceUnavailable

C = TypeVar("C", bound=type)

_AWAY = (
    ConnectionFailure,
    NotPrimaryError,
    ExecutionTimeout,
    WaitQueueTimeoutError,
    WTimeoutError,
    ConfigurationError,
)
_AUTHENTICATION_FAILED = 18
_UNAUTHORIZED = 13
DUPLICATE_KEY = 11000
# A primary that steps down or shuts down refuses with these: retryable by definition.
_STEPPING_DOWN = frozenset({91, 189, 10107, 11600, 11602, 13435, 13436})


def translated(repository: C) -> C:
    """Make every public method raise ServiceUnavailable instead of the driver's own connection trouble."""
    for name, method in list(vars(repository).items()):
        if callable(method) and not name.startswith("_"):
            setattr(repository, name, _translating(method))
    return repository


def _translating(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(*arguments: Any, **named: Any) -> Any:
        try:
            return method(*arguments, **named)
        except _AWAY as error:
            message = "The database cannot be reached. Check VAI_MONGODB_URL and that MongoDB runs."
            raise ServiceUnavailable(message) from error
        except BulkWriteError as error:
            if error.details["writeErrors"]:
                raise
            message = "The database took the writes and could not make them durable. They will be repeated."
            raise ServiceUnavailable(message) from error
        except OperationFailure as error:
            if error.code in (_AUTHENTICATION_FAILED, _UNAUTHORIZED):
                message = "The database refused the credentials. Check the user and password in VAI_MONGODB_URL."
                raise ServiceUnavailable(message) from error
            if error.code in _STEPPING_DOWN:
                message = "The database is changing its primary. It will be asked again."
                raise ServiceUnavailable(message) from error
            raise

    return call
