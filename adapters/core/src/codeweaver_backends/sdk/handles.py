"""Handles: what is remembered of collections, and what is done when it turns out to be outdated.

A handle is a hint. Another client may have dropped the collection and created another of the same name. Work on a
cached handle that fails, or is refused by validation, is therefore not believed: the collection is looked up, and if it
is another one now, the work is done once more.
"""

from __future__ import annotations

import asyncio
from enum import Enum, auto
from types import TracebackType
from typing import Final, Generic, Protocol, TypeVar

from codeweaver_backends.errors import (
    BackendError,
    CollectionNotFoundError,
    ConflictError,
    InvalidDimensionError,
    InvalidVectorError,
)
from codeweaver_backends.sdk.calls import pause_before
from codeweaver_backends.sdk.requests import CollectionSettings

__all__ = ["CollectionUse", "Handle", "HandleCache", "HandleSource", "Intent", "RecreatedError"]


class RecreatedError(ConflictError):
    """The collection was deleted and created again, perhaps with other settings, while it was in use."""


class Handle(Protocol):
    """What an adapter knows of a collection."""

    @property
    def settings(self) -> CollectionSettings:
        """What the collection was created with."""

    @property
    def incarnation(self) -> str:
        """What tells this very collection from its predecessors and successors of the same name."""


H = TypeVar("H", bound=Handle)
H_co = TypeVar("H_co", bound=Handle, covariant=True)


class Intent(Enum):
    """What a call is about to do with a collection."""

    SEARCH = auto()
    READ = auto()
    WRITE = auto()


class HandleSource(Protocol[H_co]):
    """Where handles come from: the adapter."""

    async def _describe(self, name: str) -> H_co: ...

    def _is_stale(self, error: Exception) -> bool: ...

    def _is_passing(self, error: Exception) -> bool: ...

    def _translated(self, error: Exception) -> BackendError: ...


class HandleCache(dict[str, H]):
    """Handles by the names of their collections."""

    def __init__(self, *, remembers: bool = True) -> None:
        super().__init__()
        self._remembers = remembers

    def __setitem__(self, name: str, handle: H) -> None:
        if self._remembers:
            super().__setitem__(name, handle)

    def forget(self, handle: H) -> None:
        """Forget this handle, unless another one has taken its place."""
        if self.get(handle.settings.name) is handle:
            del self[handle.settings.name]


STALE: Final = (CollectionNotFoundError, InvalidDimensionError, InvalidVectorError, RecreatedError)
"""Errors that an outdated handle can be to blame for, whatever the engine."""


class CollectionUse(Generic[H]):
    """One call's use of a collection, by as many attempts as it takes::

        use = CollectionUse(...)
        while True:
            async with use as collection:
                return await work(collection)

    Leaving the block by ``return`` or by an error that counts ends the call. An error of an outdated handle, or one
    that a read may survive (the connection was lost; the engine asks to slow down), is swallowed, and the loop makes
    the next attempt. A read as a whole, its look-ups and pauses included, ends within ``timeout`` seconds; of a write
    only the look-up does, since each of its parts has its own time.
    """

    def __init__(
        self, source: HandleSource[H], cache: HandleCache[H], name: str, intent: Intent, *, timeout: float, retries: int
    ) -> None:
        self._source = source
        self._cache = cache
        self._name = name
        self._intent = intent
        self._timeout = timeout
        self._end = asyncio.get_running_loop().time() + timeout
        self._retries = 0 if intent is Intent.WRITE else retries
        self._attempt = 1
        self._clock: asyncio.Timeout | None = None
        self._doubtful = True
        """Whether the handle may be outdated: it is looked up once at most, in the first attempt or for the second."""
        self._handle: H | None = None

    async def __aenter__(self) -> H:
        clock = asyncio.timeout_at(self._end)
        await clock.__aenter__()
        try:
            self._handle = await self._acquired()
        except BaseException as error:
            await clock.__aexit__(type(error), error, error.__traceback__)
            raise
        if self._intent is Intent.WRITE:
            await clock.__aexit__(None, None, None)
        else:
            self._clock = clock
        return self._handle

    async def _acquired(self) -> H:
        known = self._cache.get(self._name)
        if known is not None:
            return known
        self._doubtful = False
        while True:
            try:
                found = await self._source._describe(self._name)
            except CollectionNotFoundError:
                raise
            except Exception as error:
                if not await self._survives(error):
                    raise
            else:
                self._cache[self._name] = found
                return found

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        clock, self._clock = self._clock, None
        again = False
        try:
            if isinstance(error, Exception) and not isinstance(error, TimeoutError):
                again = await self._is_outdated(error) or await self._survives(error)
        except BaseException as inner:
            if clock is not None:
                await clock.__aexit__(type(inner), inner, inner.__traceback__)
            raise
        if clock is not None:
            await clock.__aexit__(kind, error, trace)  # raises TimeoutError where the time was up
        return again

    async def _is_outdated(self, error: Exception) -> bool:
        """Whether the collection is another one than the handle says; then the cache holds that one."""
        handle = self._handle
        if handle is None or not self._is_suspect(error):
            return False
        self._cache.forget(handle)
        if not self._doubtful:
            return False
        self._doubtful = False
        async with asyncio.timeout(self._timeout):
            current = await self._source._describe(self._name)
        self._cache[self._name] = current
        return current.incarnation != handle.incarnation

    def _is_suspect(self, error: BaseException | None) -> bool:
        """Whether an outdated handle may be to blame for the error, or for the one it was made of."""
        seen: set[int] = set()  # an error can be its own cause: clients and adapters say ``raise error from error``
        while isinstance(error, Exception) and id(error) not in seen:
            if isinstance(error, STALE) or self._source._is_stale(error):
                return True
            seen.add(id(error))
            error = error.__cause__
        return False

    async def _survives(self, error: Exception) -> bool:
        """Whether the call may be made again after this error; waits for the moment to do so."""
        if not self._retries or not self._source._is_passing(error):
            return False
        self._retries -= 1
        self._attempt += 1
        await asyncio.sleep(pause_before(self._attempt, self._source._translated(error)))
        return True
