"""PostgreSQL's errors as the contract's."""

from __future__ import annotations

from typing import Final

import asyncpg

from codeweaver_backends.errors import (
    BackendAuthenticationError,
    BackendConnectionError,
    BackendError,
    BackendTimeoutError,
    CollectionNotFoundError,
    ConflictError,
    RateLimitError,
)

__all__ = ["CONFLICTS", "LOST", "is_intact", "is_retried", "translate"]

CONFLICTS: Final = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.LockNotAvailableError,
    asyncpg.UniqueViolationError,
)
"""Another transaction was first."""

LOST: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    ConnectionError,
)
"""The connection is gone, or never was."""

_TABLE: Final[tuple[tuple[tuple[type[Exception], ...], type[BackendError], str], ...]] = (
    (CONFLICTS, ConflictError, "another transaction was first"),
    ((asyncpg.QueryCanceledError, TimeoutError), BackendTimeoutError, "no answer within the configured time"),
    (
        (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InsufficientPrivilegeError),
        BackendAuthenticationError,
        "the server refused the credentials, or what they may do",
    ),
    ((asyncpg.TooManyConnectionsError,), RateLimitError, "the server has no connection left"),
    ((asyncpg.UndefinedTableError,), CollectionNotFoundError, "the collection does not exist any more"),
    ((*LOST, OSError), BackendConnectionError, "the server cannot be reached, or ended the connection"),
    ((asyncpg.PostgresError,), BackendConnectionError, "the server failed"),
)


def is_intact(error: BaseException) -> bool:
    """Whether the connection on which this was raised can go on: nothing was cut short."""
    return isinstance(error, Exception) and not isinstance(error, (*LOST, OSError))


def is_retried(error: Exception) -> bool:
    """Whether a write that failed so before its commit was sent, and so was rolled back, may do better at once."""
    return isinstance(error, (asyncpg.SerializationError, asyncpg.DeadlockDetectedError, *LOST))


def translate(error: Exception) -> BackendError | None:
    """The contract's error for one of the client's, ``None`` for what is none of its."""
    for kinds, translated, message in _TABLE:
        if isinstance(error, kinds):
            return translated(f"{message} ({type(error).__name__}: {error})")
    return None
