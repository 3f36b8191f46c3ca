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
    InvalidOptionError,
    RateLimitError,
    UnsupportedError,
)

__all__ = ["CONFLICTS", "is_intact", "is_lost", "translate"]

CONFLICTS: Final = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.LockNotAvailableError,
    asyncpg.UniqueViolationError,
)
"""Another transaction was first."""

_LOST: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    ConnectionError,
)

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
    (
        (asyncpg.UndefinedColumnError,),
        UnsupportedError,
        "the schema holds collections of an older version: export them with that version, and import them again",
    ),
    (
        (asyncpg.ClientConfigurationError, asyncpg.InvalidCatalogNameError),
        InvalidOptionError,
        "the settings name something that does not exist, or contradict each other",
    ),
)


def is_lost(error: BaseException) -> bool:
    """Whether the connection is gone, or never was."""
    return isinstance(error, _LOST) and not isinstance(error, ValueError)  # asyncpg's word against an argument


def is_intact(error: BaseException) -> bool:
    """Whether the connection on which this was raised can go on: nothing was cut short."""
    return isinstance(error, Exception) and not isinstance(error, OSError) and not is_lost(error)


def translate(error: Exception) -> BackendError | None:
    """The contract's error for one of the client's, ``None`` for what is none of its."""
    for kinds, translated, message in _TABLE:
        if isinstance(error, kinds):
            return translated(f"{message} ({type(error).__name__}: {error})")
    if is_lost(error) or isinstance(error, OSError):
        kind = type(error).__name__
        return BackendConnectionError(f"the server cannot be reached, or ended the connection ({kind}: {error})")
    return None
