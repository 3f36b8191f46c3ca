"""Chroma's errors, and those of the way to a server, as the contract's.

Chroma's own classes are not imported: a server is used without its package. An error has a name all the same, which a
server sends and which the classes have.
"""

from __future__ import annotations

from typing import Any, Final

import httpx
import orjson

from codeweaver_backends.errors import (
    BackendAuthenticationError,
    BackendConnectionError,
    BackendError,
    BackendTimeoutError,
    CollectionExistsError,
    CollectionNotFoundError,
    RateLimitError,
)

__all__ = ["NO_CHROMA", "AnsweredError", "answered", "is_existing", "is_missing", "is_vanished", "translate_error"]

_KINDS: Final[dict[str, type[BackendError]]] = {
    "NotFoundError": CollectionNotFoundError,
    "AuthorizationError": BackendAuthenticationError,
    "AuthError": BackendAuthenticationError,  # as it is sent
    "ChromaAuthError": BackendAuthenticationError,  # its class
    "RateLimitError": RateLimitError,
}
_OTHERS: Final = {
    "BatchSizeExceededError",
    "ChromaError",
    "DuplicateID",
    "IDAlreadyExists",
    "InternalError",
    "InvalidArgumentError",
    "InvalidDimension",
    "InvalidHTTPVersion",
    "InvalidUUID",
    "QuotaError",
    "UniqueConstraintError",
    "VersionMismatchError",
}
"""The other names that a server sends."""
_MODULE: Final = "chromadb.errors"
_STATUSES: Final[dict[int, type[BackendError]]] = {
    401: BackendAuthenticationError,
    403: BackendAuthenticationError,
    429: RateLimitError,
}
_LONGEST: Final = 300
NO_CHROMA: Final = "what answered is no Chroma server of version 1; look at url, or host and port"


class AnsweredError(Exception):
    """A server's answer that it could not do it, and why, by the name of Chroma's error."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


def _name(error: BaseException) -> str | None:
    """What Chroma calls the error; ``None`` for what is not Chroma's."""
    if isinstance(error, AnsweredError):
        return error.name
    return next((kind.__name__ for kind in type(error).__mro__ if kind.__module__ == _MODULE), None)


def translate_error(error: BaseException) -> BackendError | None:
    """The contract's error, or ``None`` for what is not of Chroma or of the way to it."""
    if isinstance(error, httpx.HTTPStatusError):
        status, text = error.response.status_code, error.response.text[:_LONGEST]
        return _STATUSES.get(status, BackendConnectionError)(f"the server answered HTTP {status}: {text}")
    if is_existing(error):
        return CollectionExistsError("the collection exists already")
    name, told = _name(error), str(error)[:_LONGEST]
    if name is not None:
        return _KINDS.get(name, BackendConnectionError)(f"Chroma failed: {name}: {told}")
    if isinstance(error, httpx.HTTPError):
        kind = BackendTimeoutError if isinstance(error, httpx.TimeoutException) else BackendConnectionError
        return kind(f"Chroma failed: {type(error).__name__}: {told}")
    return None


def answered(response: httpx.Response) -> Any:
    """What the server answered, or the error that it tells of."""
    try:
        body = orjson.loads(response.content)
    except ValueError:
        if response.is_success or response.status_code == httpx.codes.NOT_FOUND:
            raise BackendConnectionError(f"HTTP {response.status_code}: {NO_CHROMA}") from None
        return response.raise_for_status()
    if response.is_success:
        return body
    name: Any = body.get("error") if isinstance(body, dict) else None
    is_known = isinstance(name, str) and (name in _KINDS or name in _OTHERS)
    if response.status_code == httpx.codes.NOT_FOUND and not is_known:
        raise BackendConnectionError(f"HTTP 404: {NO_CHROMA}")
    if response.status_code in _STATUSES or not is_known:
        return response.raise_for_status()
    raise AnsweredError(name, str(body.get("message", "")))


def is_missing(error: BaseException) -> bool:
    """Whether there is no such collection."""
    return _name(error) == "NotFoundError"


def is_existing(error: BaseException) -> bool:
    """Whether there is such a collection already."""
    name = _name(error)
    return name == "UniqueConstraintError" or (name is not None and str(error).endswith("already exists"))


def is_vanished(error: BaseException) -> bool:
    """Whether a point that was asked for by its id has been deleted meanwhile."""
    return _name(error) == "InternalError" and "Error finding id" in str(error)
