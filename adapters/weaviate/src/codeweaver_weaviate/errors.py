"""The contract's errors for what Weaviate, its two protocols and their clients report."""

from __future__ import annotations

from typing import Final

import httpx
from grpc import StatusCode
from grpc.aio import AioRpcError, UsageError

from codeweaver_backends.errors import (
    BackendAuthenticationError,
    BackendConnectionError,
    BackendError,
    BackendTimeoutError,
    CollectionNotFoundError,
    LimitExceededError,
    RateLimitError,
)

__all__ = [
    "READ_ONLY",
    "SHARD_READ_ONLY",
    "is_absent",
    "is_forbidden",
    "is_missing",
    "is_read_only",
    "is_stale",
    "is_too_large",
    "is_write_refused",
    "translate",
]

READ_ONLY: Final = "read-only mode"
"""In the messages of a server that serves no writes at all."""
SHARD_READ_ONLY: Final = "store is read-only due to"
"""In the messages where the disk is too full, or somebody has a collection read-only."""
_MISSING: Final = (
    "could not find class",
    "does not have named vector",
    "does not have configuration for vector",
    "auto-schema: create collection",
    "not present in schema",
    "class not found",
    "find index for class",
)
"""Parts of the messages that say: there is no such collection, or it is not the one that was known under its name."""

_PERHAPS_MISSING: Final = ("non-existing index", "already shut or dropped")
"""Said of a collection that is just being deleted, but also by a server that is about to stop."""

_BY_STATUS: Final[dict[int, tuple[type[BackendError], str]]] = {
    401: (BackendAuthenticationError, "the server refused the credentials"),
    403: (BackendAuthenticationError, "the server does not allow this with these credentials"),
    429: (RateLimitError, "the server asks to slow down"),
}
_BY_CODE: Final[dict[StatusCode, tuple[type[BackendError], str]]] = {
    StatusCode.UNAUTHENTICATED: _BY_STATUS[401],
    StatusCode.PERMISSION_DENIED: _BY_STATUS[403],
    StatusCode.RESOURCE_EXHAUSTED: _BY_STATUS[429],
    StatusCode.DEADLINE_EXCEEDED: (BackendTimeoutError, "the server did not answer in time"),
}
_LONGEST: Final = 300


def is_missing(text: str) -> bool:
    """Whether the server's words mean that the collection is gone, or another one by now."""
    return any(part in text for part in _MISSING)


def is_absent(error: httpx.HTTPStatusError) -> bool:
    """Whether a class that was asked for does not exist: then the answer is empty. An unknown address has a body."""
    return error.response.status_code == httpx.codes.NOT_FOUND and not error.response.content


def is_stale(error: Exception) -> bool:
    """Whether the collection may be gone, which is then to be looked up."""
    text = ""
    if isinstance(error, AioRpcError):
        text = error.details() or ""
    elif isinstance(error, httpx.HTTPStatusError):
        text = error.response.text
    return any(part in text for part in (*_MISSING, *_PERHAPS_MISSING))


def is_too_large(error: AioRpcError) -> bool:
    """Whether an answer did not fit into one message."""
    return error.code() is StatusCode.RESOURCE_EXHAUSTED and "larger than max" in (error.details() or "")


def is_read_only(text: str) -> bool:
    """Whether the server's words mean that nobody can write now."""
    return any(part in text for part in (READ_ONLY, "store is read-only", "no space left on device"))


def is_forbidden(text: str) -> bool:
    """Whether the server's words mean that others may do this, but not we."""
    return "forbidden action" in text


def is_write_refused(error: AioRpcError | httpx.HTTPStatusError) -> bool:
    """Whether we, or all, may read but not write."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code == httpx.codes.FORBIDDEN or is_read_only(error.response.text)
    return error.code() is StatusCode.PERMISSION_DENIED or is_read_only(error.details() or "")


def translate(error: Exception) -> BackendError | None:
    """The contract's error, or ``None`` for what did not come from the server or the way to it."""
    if isinstance(error, AioRpcError):
        return _of_call(error.code(), error.details() or "")
    if isinstance(error, httpx.HTTPStatusError):
        if is_absent(error):
            return CollectionNotFoundError("the collection does not exist")
        cls, message = _BY_STATUS.get(error.response.status_code, (BackendConnectionError, "the server failed"))
        return cls(f"{message}: HTTP {error.response.status_code} {error.response.text.strip()[:_LONGEST]}")
    if isinstance(error, httpx.TimeoutException):
        return BackendTimeoutError("the server did not answer in time")
    if isinstance(error, httpx.HTTPError | UsageError):
        return BackendConnectionError(f"the server cannot be reached: {type(error).__name__}: {error}")
    return None


def _of_call(code: StatusCode, details: str) -> BackendError:
    if is_missing(details):
        return CollectionNotFoundError("the collection does not exist")
    if "query maximum results exceeded" in details:
        return LimitExceededError("the server is configured for smaller limits", limit="max_limit")
    cls, message = _BY_CODE.get(code, (BackendConnectionError, "the server failed"))
    if code is StatusCode.UNAVAILABLE:
        message = "the server is not available by gRPC"
    return cls(f"{message}: {details[:_LONGEST]}")
