"""The engine's errors as the contract's: plain ``ValueError`` and ``RuntimeError``, told apart by their text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from codeweaver_backends.errors import (
    BackendAuthenticationError,
    BackendConnectionError,
    BackendError,
    BackendTimeoutError,
    CollectionExistsError,
    CollectionNotFoundError,
    ConflictError,
    RateLimitError,
)

__all__ = ["is_conflict", "is_vanished", "scrub", "translate"]

_VANISHED: Final = ("Not found", "was not found")
_CONFLICT: Final = ("commit conflict", "Too many concurrent writers", "preempted by concurrent transaction")

_TABLE: Final[tuple[tuple[tuple[str, ...], type[BackendError], str], ...]] = (
    (_CONFLICT, ConflictError, "a concurrent writer won"),
    (
        ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "Unauthorized", "Forbidden"),
        BackendAuthenticationError,
        "the object store refused the credentials",
    ),
    (("SlowDown", "TooManyRequests", "429"), RateLimitError, "the object store asks to slow down"),
    (("timed out", "Query timeout"), BackendTimeoutError, "the engine gave no answer in time"),
    (("already exists",), CollectionExistsError, "the collection exists already"),
    (_VANISHED, CollectionNotFoundError, "the collection does not exist"),
)


def translate(error: Exception) -> BackendError | None:
    """The contract's error, or ``None`` for what the engine did not raise."""
    if not isinstance(error, ValueError | RuntimeError | OSError) or isinstance(error, TimeoutError):
        return None
    text = str(error)
    for parts, kind, message in _TABLE:
        if any(part in text for part in parts):
            return kind(message)
    first_line = text.partition("\n")[0]
    return BackendConnectionError(f"the engine failed: {type(error).__name__}: {first_line[:300]}")


def is_vanished(error: BaseException) -> bool:
    """Whether files were gone that the engine counted on: of a dropped table, or of a version swept away."""
    return any(part in str(error) for part in _VANISHED)


def is_conflict(error: BaseException) -> bool:
    """Whether the write lost against another one, and may be tried again."""
    return any(part in str(error) for part in _CONFLICT)


def scrub(error: BaseException, secrets: Iterable[str]) -> None:
    """Take secrets out of what an error says. Object stores repeat some of what they were sent."""
    for secret in secrets:
        if len(secret) > 3:
            error.args = tuple(
                argument.replace(secret, "***") if isinstance(argument, str) else argument for argument in error.args
            )
