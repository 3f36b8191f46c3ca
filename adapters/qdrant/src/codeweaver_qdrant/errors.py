"""The engine's failures as the contract's errors: one table for REST, gRPC and the client's in-process imitation."""

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
    ConflictError,
    RateLimitError,
    UnsupportedError,
)

__all__ = ["RecreatedError", "translate_error"]


class RecreatedError(ConflictError):
    """The collection was deleted and created again, with other settings, while it was in use."""


_RECREATED: Final = ("Not existing vector name", "ector dimension error", "is not found in the collection")
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
    return BackendConnectionError(f"the server refused the request: {text}")


def _failed(text: str) -> BackendError:
    return BackendConnectionError(f"the server failed: {text}")


_Maker = Callable[[str], BackendError]
_DENIED: Final[_Maker] = lambda text: BackendAuthenticationError("the server refused the credentials")  # noqa: E731
_EXISTS: Final[_Maker] = lambda text: CollectionExistsError("the collection exists already")  # noqa: E731
_LATE: Final[_Maker] = lambda text: BackendTimeoutError("the server did not finish in time")  # noqa: E731
_BUSY: Final[_Maker] = lambda text: RateLimitError("the server asks to slow down")  # noqa: E731
_UNREACHABLE: Final[_Maker] = lambda text: BackendConnectionError(f"the server cannot be reached: {text}")  # noqa: E731

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
    if isinstance(error, ValueError):
        return _of_local(str(error))
    return None


def _of_status(status: Any, text: str) -> BackendError:
    return _BY_STATUS.get(status, _failed)(text[:500])


def _of_local(text: str) -> BackendError | None:
    """The imitation raises a ``ValueError`` for everything."""
    if text.startswith("Collection ") and text.endswith(" not found"):
        return _missing(text)
    translated = _refused(text)
    return None if type(translated) is BackendConnectionError else translated


def _content(error: Exception) -> str:
    content = getattr(error, "content", b"")
    return content.decode(errors="replace") if isinstance(content, bytes) else str(content)
