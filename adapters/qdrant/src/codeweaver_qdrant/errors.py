"""The engine's failures as the contract's errors: one table for REST and gRPC, by status."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from codeweaver_backends.errors import (
    BackendAuthenticationError,
    BackendConnectionError,
    BackendError,
    BackendTimeoutError,
    CollectionExistsError,
    CollectionNotFoundError,
    EngineError,
    RateLimitError,
    UnsupportedError,
)
from codeweaver_backends.sdk import RecreatedError

__all__ = ["is_missing_point", "translate_error"]

_RECREATED: Final = ("Not existing vector name", "ector dimension error")
"""What the engine says to a request that was made for another vector than the collection's."""


def _missing(text: str) -> BackendError:
    if "ollection" in text:
        return CollectionNotFoundError("the collection does not exist")
    return BackendConnectionError(f"this is no Qdrant server, or not its address: {text}")


def _refused(text: str) -> BackendError:
    if any(words in text for words in _RECREATED):
        return RecreatedError("the collection was created again with other settings; try again")
    if "already exists" in text:
        return CollectionExistsError("the collection exists already")
    if "Index required" in text:
        return UnsupportedError(
            "the server's strict mode refuses filters on fields without an index; declare it in payload_indexes",
            capability="supports_filtering",
        )
    return EngineError(f"the server refused the request: {text}")


_Maker = Callable[[str], BackendError]


def _says(kind: type[BackendError], message: str) -> _Maker:
    return lambda text: kind(message.format(text))


_DENIED: Final = _says(BackendAuthenticationError, "the server refused the credentials")
_EXISTS: Final = _says(CollectionExistsError, "the collection exists already")
_LATE: Final = _says(BackendTimeoutError, "the server did not finish in time")
_BUSY: Final = _says(RateLimitError, "the server asks to slow down")
_FULL: Final = _says(BackendConnectionError, "the server has no room left: {}")
_UNREACHABLE: Final = _says(BackendConnectionError, "the server cannot be reached: {}")
_FAILED: Final = _says(BackendConnectionError, "the server failed: {}")

_BY_STATUS: Final[dict[int | str, _Maker]] = {
    400: _refused,
    401: _DENIED,
    403: _DENIED,
    404: _missing,
    408: _LATE,
    409: _EXISTS,
    422: _refused,
    429: _BUSY,
    504: _LATE,
    507: _FULL,
    "INVALID_ARGUMENT": _refused,
    "UNAUTHENTICATED": _DENIED,
    "PERMISSION_DENIED": _DENIED,
    "NOT_FOUND": _missing,
    "DEADLINE_EXCEEDED": _LATE,
    "ALREADY_EXISTS": _EXISTS,
    "RESOURCE_EXHAUSTED": _BUSY,
    "UNAVAILABLE": _UNREACHABLE,
}


def translate_error(error: Exception) -> BackendError | None:
    """The contract's error, or ``None`` for what is none of the client's. Nothing of the client is imported for it."""
    if isinstance(error, BackendError):
        return error
    kind = type(error).__name__
    if kind == "UnexpectedResponse":
        return _of_status(getattr(error, "status_code", None), _content(error))
    if kind == "AioRpcError":
        return _of_status(error.code().name, error.details() or "")  # type: ignore[attr-defined]
    if kind == "ResourceExhaustedResponse":
        return RateLimitError("the server asks to slow down", retry_after=getattr(error, "retry_after_s", None))
    if kind == "ResponseHandlingException":
        source = getattr(error, "source", error)
        late = "Timeout" in type(source).__name__
        return _LATE("") if late else _UNREACHABLE(f"{type(source).__name__}: {source}")
    return None


def is_missing_point(error: Exception) -> bool:
    """Whether vectors of a point were to be replaced that does not exist: every client says so in the same words."""
    return "No point with id" in str(error)


def _of_status(status: Any, text: str) -> BackendError:
    return _BY_STATUS.get(status, _FAILED)(text[:500])


def _content(error: Exception) -> str:
    content = getattr(error, "content", b"")
    return content.decode(errors="replace") if isinstance(content, bytes) else str(content)
