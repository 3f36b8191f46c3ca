"""Chroma's errors, and those of the way to a server, as the contract's."""

from __future__ import annotations

from typing import Any, Final

import chromadb.errors as chroma
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

__all__ = ["NO_CHROMA", "answered", "is_existing", "is_missing", "is_vanished", "translate_error"]

_KINDS: Final[tuple[tuple[type[Exception], type[BackendError]], ...]] = (
    (chroma.NotFoundError, CollectionNotFoundError),
    (chroma.AuthorizationError, BackendAuthenticationError),
    (chroma.ChromaAuthError, BackendAuthenticationError),
    (chroma.RateLimitError, RateLimitError),
    (chroma.ChromaError, BackendConnectionError),
    (httpx.TimeoutException, BackendTimeoutError),
    (httpx.HTTPError, BackendConnectionError),
)
_STATUSES: Final[dict[int, type[BackendError]]] = {
    401: BackendAuthenticationError,
    403: BackendAuthenticationError,
    429: RateLimitError,
}
_LONGEST: Final = 300
NO_CHROMA: Final = "what answered is no Chroma server of version 1; look at url, or host and port"


def translate_error(error: BaseException) -> BackendError | None:
    """The contract's error, or ``None`` for what is not of Chroma or of the way to it."""
    told = str(error)[:_LONGEST]
    if isinstance(error, httpx.HTTPStatusError):
        status, text = error.response.status_code, error.response.text[:_LONGEST]
        return _STATUSES.get(status, BackendConnectionError)(f"the server answered HTTP {status}: {text}")
    if is_existing(error):
        return CollectionExistsError("the collection exists already")
    for kind, ours in _KINDS:
        if isinstance(error, kind):
            return ours(f"Chroma failed: {type(error).__name__}: {told}")
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
    told = body.get("error") if isinstance(body, dict) else None
    kind = chroma.error_types.get(told) if isinstance(told, str) else None
    if response.status_code == httpx.codes.NOT_FOUND and kind is None:
        raise BackendConnectionError(f"HTTP 404: {NO_CHROMA}")
    if response.status_code in _STATUSES or kind is None:
        return response.raise_for_status()
    raise kind(str(body.get("message", "")))


def is_missing(error: BaseException) -> bool:
    """Whether there is no such collection."""
    return isinstance(error, chroma.NotFoundError)


def is_existing(error: BaseException) -> bool:
    """Whether there is such a collection already."""
    if isinstance(error, chroma.UniqueConstraintError):
        return True
    return isinstance(error, chroma.ChromaError) and str(error).endswith("already exists")


def is_vanished(error: BaseException) -> bool:
    """Whether a point that was asked for by its id has been deleted meanwhile."""
    return isinstance(error, chroma.InternalError) and "Error finding id" in str(error)
