"""Milvus errors as the contract's. There are two kinds: answers with a code, and failures of the call itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import grpc

from codeweaver_backends.errors import (
    BackendAuthenticationError,
    BackendConnectionError,
    BackendError,
    BackendTimeoutError,
    CollectionNotFoundError,
    RateLimitError,
)
from codeweaver_milvus.library import MilvusException

__all__ = ["is_answer", "is_missing", "is_not_searchable", "is_unimplemented", "translate_error"]

_ANSWERS: Final[dict[int, type[BackendError]]] = {
    4: CollectionNotFoundError,
    8: RateLimitError,
    9: RateLimitError,
    100: CollectionNotFoundError,
    1400: BackendAuthenticationError,
    1401: BackendAuthenticationError,
}
"""By the code of a ``MilvusException``; what is not here failed on the engine's side."""

_FAILURES: Final[dict[grpc.StatusCode, type[BackendError]]] = {
    grpc.StatusCode.DEADLINE_EXCEEDED: BackendTimeoutError,
    grpc.StatusCode.PERMISSION_DENIED: BackendAuthenticationError,
    grpc.StatusCode.UNAUTHENTICATED: BackendAuthenticationError,
}
"""By the status of an ``RpcError``; what is not here is a failed connection."""

_NO_ANSWER: Final = frozenset((2, 8, 9, 1400, 1401))
"""Codes of a connection that failed, of limits on rates and memory, and of credentials."""

_NOT_SEARCHABLE: Final = frozenset((101, 106, 700))
"""Codes about a collection that is not loaded, or has no index yet."""


def translate_error(error: BaseException) -> BackendError | None:
    """The contract's error, or ``None`` for what is not of Milvus."""
    # The client wraps the failure of a call in an answer of its own: the status tells more than that answer's code.
    for one in _chain(error):
        if isinstance(one, grpc.RpcError):
            status = _status(one)
            return (_FAILURES.get(status, BackendConnectionError) if status else BackendConnectionError)(_told(one))
    if isinstance(error, MilvusException):
        kind = _ANSWERS.get(error.code, BackendConnectionError) if isinstance(error.code, int) else None
        return (kind or BackendConnectionError)(_told(error))
    return None


def is_missing(error: BaseException) -> bool:
    """Whether the answer is that there is no such collection."""
    return isinstance(error, MilvusException) and _ANSWERS.get(error.code) is CollectionNotFoundError


def is_not_searchable(error: BaseException) -> bool:
    """Whether the answer is that the collection is not loaded, or not yet indexed."""
    return any(isinstance(one, MilvusException) and one.code in _NOT_SEARCHABLE for one in _chain(error))


def is_answer(error: BaseException) -> bool:
    """Whether the engine understood the call and refused it, for a reason that may lie in an outdated handle."""
    answers = [one for one in _chain(error) if isinstance(one, MilvusException)]
    return bool(answers) and all(isinstance(one.code, int) and one.code not in _NO_ANSWER for one in answers)


def is_unimplemented(error: grpc.RpcError) -> bool:
    """Whether the engine lacks the call."""
    return _status(error) is grpc.StatusCode.UNIMPLEMENTED


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    # The client raises errors from themselves.
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _status(error: BaseException) -> grpc.StatusCode | None:
    if not isinstance(error, grpc.RpcError):
        return None
    code = getattr(error, "code", None)
    status = code() if callable(code) else None
    return status if isinstance(status, grpc.StatusCode) else None


def _told(error: BaseException) -> str:
    if isinstance(error, MilvusException):
        return f"Milvus answered: {error.message} (code {error.code})"
    details = getattr(error, "details", None)
    status = _status(error)
    told = details() if callable(details) else error
    return f"the call failed: {status.name if status else type(error).__name__}: {told}"
