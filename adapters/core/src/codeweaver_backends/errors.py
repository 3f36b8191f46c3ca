"""The one error tree. Everything a backend raises on purpose is below ``BackendError``.

::

    BackendError
    ├── BackendConnectionError          the engine cannot be reached, or answered with a failure of its own
    │   ├── BackendTimeoutError         (and TimeoutError) no answer within the configured time
    │   └── BackendClosedError          a call after ``aclose()``
    ├── BackendAuthenticationError      the engine refused the credentials
    ├── CollectionNotFoundError
    ├── CollectionExistsError
    ├── InvalidInputError               (and ValueError) raised before anything is sent
    │   ├── InvalidDimensionError       a vector's or a collection's dimension
    │   ├── InvalidVectorError          not numbers, not finite, zero under cosine
    │   ├── InvalidIdError
    │   ├── InvalidPayloadError
    │   ├── InvalidFilterError
    │   ├── InvalidNameError            a collection's name
    │   ├── InvalidOptionError          (and TypeError) an unknown or misused keyword or argument
    │   └── LimitExceededError          a declared limit; ``limit`` names it
    ├── UnsupportedError                a capability that is not claimed; ``capability`` names it
    ├── RateLimitError                  ``retry_after`` seconds, where the engine says so
    ├── ConflictError                   a concurrent writer won; ``retryable`` says whether to try again
    ├── EngineError                     nothing the contract foresees: a fault of the adapter, or of the engine
    ├── TransactionError                a transaction that is unknown, finished, nested or lost
    └── PluginError                     a plugin that is missing or broken, by name
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from codeweaver_backends.types import PointId

__all__ = [
    "BackendAuthenticationError",
    "BackendClosedError",
    "BackendConnectionError",
    "BackendError",
    "BackendTimeoutError",
    "CollectionExistsError",
    "CollectionNotFoundError",
    "ConflictError",
    "EngineError",
    "InvalidDimensionError",
    "InvalidFilterError",
    "InvalidIdError",
    "InvalidInputError",
    "InvalidNameError",
    "InvalidOptionError",
    "InvalidPayloadError",
    "InvalidVectorError",
    "LimitExceededError",
    "PluginError",
    "RateLimitError",
    "TransactionError",
    "UnsupportedError",
]


class BackendError(Exception):
    """Base of the tree.

    ``backend``, ``operation`` and ``collection`` say where it happened. After a failed write, ``ids`` names the points
    that are not known to be written, and ``state_unknown`` says that the engine may hold some of them all the same:
    writing them again, or deleting them, always heals. After a stream that failed, ``acknowledged`` is the number of
    its points that were written before, counted from its beginning; of any other call it is ``None``.
    """

    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str = "",
        *,
        backend: str | None = None,
        operation: str | None = None,
        collection: str | None = None,
        ids: Sequence[PointId] = (),
        state_unknown: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.backend = backend
        self.operation = operation
        self.collection = collection
        self.ids = tuple(ids)
        self.state_unknown = state_unknown
        self.acknowledged: int | None = None

    def __str__(self) -> str:
        where = " ".join(part for part in (self.backend, self.operation) if part)
        if self.collection is not None:
            where += f" on {self.collection!r}" if where else repr(self.collection)
        text = f"{where}: {self.message}" if where else self.message
        if self.ids:
            shown = ", ".join(repr(point_id) for point_id in self.ids[:5])
            more = f" and {len(self.ids) - 5} more" if len(self.ids) > 5 else ""
            fate = "state unknown of" if self.state_unknown else "not written:"
            text += f" ({fate} {shown}{more})"
        if self.acknowledged is not None:
            text += f" (acknowledged before: {self.acknowledged} points)"
        return text


class BackendConnectionError(BackendError):
    """The engine cannot be reached, or failed on its own side."""

    retryable = True


class BackendTimeoutError(BackendConnectionError, TimeoutError):
    """No answer within the configured time."""


class BackendClosedError(BackendConnectionError):
    """The backend was closed, or is used from an event loop that is not its own."""

    retryable = False


class BackendAuthenticationError(BackendError):
    """The engine refused the credentials, or what they may do."""


class CollectionNotFoundError(BackendError):
    """The named collection does not exist."""


class CollectionExistsError(BackendError):
    """The named collection exists already; nothing was changed."""


class InvalidInputError(BackendError, ValueError):
    """An argument that the contract does not allow. Nothing was sent to the engine."""


class InvalidDimensionError(InvalidInputError):
    """A dimension that is out of range or not the collection's."""


class InvalidVectorError(InvalidInputError):
    """A vector of something else than finite numbers, or the zero vector under cosine."""


class InvalidIdError(InvalidInputError):
    """An id that is neither a non-empty string nor an integer of 0 … 2^63−1."""


class InvalidPayloadError(InvalidInputError):
    """A payload that JSON cannot say."""


class InvalidFilterError(InvalidInputError):
    """A filter with an unknown operator, a malformed field or an operand of the wrong kind."""


class InvalidNameError(InvalidInputError):
    """A collection name outside the contract's rule."""


class InvalidOptionError(InvalidInputError, TypeError):
    """An unknown keyword, or an argument of the wrong type."""


class LimitExceededError(InvalidInputError):
    """A declared limit was passed; ``limit`` is its name in the capabilities."""

    def __init__(self, message: str = "", *, limit: str = "", **where: object) -> None:
        super().__init__(message, **where)  # type: ignore[arg-type]
        self.limit = limit


class UnsupportedError(BackendError):
    """Something that is not claimed; ``capability`` names it. Nothing was sent to the engine."""

    def __init__(self, message: str = "", *, capability: str = "", **where: object) -> None:
        super().__init__(message, **where)  # type: ignore[arg-type]
        self.capability = capability


class RateLimitError(BackendError):
    """The engine asks to slow down; ``retry_after`` is in seconds where it says how long."""

    retryable = True

    def __init__(self, message: str = "", *, retry_after: float | None = None, **where: object) -> None:
        super().__init__(message, **where)  # type: ignore[arg-type]
        self.retry_after = retry_after


class ConflictError(BackendError):
    """A concurrent writer won."""

    retryable = True


class EngineError(BackendError):
    """Something failed that the contract has no other name for: a fault of the adapter, or of the engine.

    Trying again does not help, and neither does another network. The exception itself is the cause.
    """


class TransactionError(BackendError):
    """A transaction that is unknown or finished, a second one inside of it, or one that was lost.

    Nothing of it was written, unless ``state_unknown`` is true: then the answer to its commit was lost, and only a look
    at the data can tell.
    """


class PluginError(BackendError):
    """A plugin is missing or broken."""
