"""Turns: who may write to a collection.

Writers of one collection take turns, across processes too where the data is in a folder: then no merge meets another,
nor a delete, nor a compaction.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeVar
from weakref import WeakValueDictionary

from codeweaver_backends.sdk.folders import FileLock
from codeweaver_backends.sdk.names import encode_name

__all__ = ["Turns"]

T = TypeVar("T")

_LOCKS: Final = ".codeweaver"
"""The folder of the lock files, beside the tables."""
_PAUSE: Final = 0.005


class Turns:
    """The turns that are taken by one instance, in a folder or at an object store's address."""

    def __init__(self, uri: str, folder: Path | None) -> None:
        self._uri = uri
        self._folder = folder
        self._order: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._turns: set[asyncio.Task[Any]] = set()

    async def take(self, name: str, work: Callable[[], Awaitable[T]]) -> T:
        """Do the work as the only writer of the collection: in this process, and in a folder among all processes.

        The engine goes on with a call that is cancelled, and what it commits then must not meet another writer. So the
        work is a task of its own: a caller who is cancelled or out of time leaves at once, and the turn ends when the
        work is over.
        """
        has_begun = asyncio.Event()
        turn = self.begin(name, work, has_begun)
        try:
            return await asyncio.shield(turn)
        except asyncio.CancelledError:
            if not has_begun.is_set():
                turn.cancel()
            raise

    def begin(
        self, name: str, work: Callable[[], Awaitable[T]], has_begun: asyncio.Event | None = None
    ) -> asyncio.Task[T]:
        """Do the work in turn, for nobody who waits for it."""
        turn = asyncio.create_task(self._turn(name, work, has_begun))
        self._turns.add(turn)
        turn.add_done_callback(self._ended)
        return turn

    async def _turn(self, name: str, work: Callable[[], Awaitable[T]], has_begun: asyncio.Event | None) -> T:
        async with self.turn(name):
            if has_begun is not None:
                has_begun.set()
            return await work()

    def _ended(self, turn: asyncio.Task[Any]) -> None:
        self._turns.discard(turn)
        if not turn.cancelled():
            turn.exception()  # whoever waited for it may have left

    async def finish(self, seconds: float) -> None:
        """Wait for the turns that this instance still takes, for so many seconds at most."""
        loop = asyncio.get_running_loop()
        turns = [turn for turn in self._turns if turn.get_loop() is loop]
        if turns:
            await asyncio.wait(turns, timeout=seconds)

    @asynccontextmanager
    async def turn(self, name: str) -> AsyncIterator[None]:
        """Be the only writer of the collection. The locks are held until the block is left, for whatever reason."""
        async with self._order.setdefault(name, asyncio.Lock()):
            # Who waits for the lock holds the queue meanwhile: else a busy writer, who is at hand when it
            # becomes free, would take it time and again from those who look for it now and then.
            queue = await self._acquired(f"{encode_name(name)}.queue")
            try:
                lock = await self._acquired(f"{encode_name(name)}.lock")
            finally:
                queue.release()
            try:
                yield
            finally:
                lock.release()

    async def _acquired(self, lock_name: str) -> FileLock | _ProcessLock:
        lock = self._lock(lock_name)
        while not lock.acquire():  # noqa: ASYNC110 - other processes cannot wake us
            await asyncio.sleep(_PAUSE * (0.5 + secrets.randbelow(100) / 100))
        return lock

    def _lock(self, lock_name: str) -> FileLock | _ProcessLock:
        if self._folder is None:
            return _process_locks.setdefault(f"{self._uri}/{lock_name}", _ProcessLock())
        locks = self._folder / _LOCKS
        locks.mkdir(parents=True, exist_ok=True)
        return FileLock(locks / lock_name)


class _ProcessLock:
    """What a ``FileLock`` is in a folder, among the threads of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def acquire(self) -> bool:
        return self._lock.acquire(blocking=False)

    def release(self) -> None:
        self._lock.release()


_process_locks: Final[WeakValueDictionary[str, _ProcessLock]] = WeakValueDictionary()
