"""Milvus Lite in this process: opened once per file, closed with its last user, and kept from tripping over itself.

Lite is a server in threads of this process. It locks its folder against other processes, must not be written to by two
callers at once, and while it flushes a collection a reader misses the rows that are on their way to the disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar
from weakref import WeakValueDictionary

__all__ = ["Gate", "Lite"]

Result = TypeVar("Result")

_PAUSE = 0.005
"""Seconds between two looks at whether a flush has ended."""


@dataclass(frozen=True, slots=True, eq=False)
class _Turn:
    loop: asyncio.AbstractEventLoop
    event: asyncio.Event


@dataclass(slots=True, weakref_slot=True)
class Gate:
    """Order among the callers of one collection, who may be on several event loops."""

    unflushed_rows: int = 0
    unflushed_bytes: int = 0
    deletions: int = 0
    _turns: deque[_Turn] = field(default_factory=deque)
    """The writer and those who wait to write."""
    _flushes: int = 0
    """Odd while one is under way."""
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    _known: ClassVar[WeakValueDictionary[Hashable, Gate]] = WeakValueDictionary()
    _lock: ClassVar[threading.Lock] = threading.Lock()

    @classmethod
    def of(cls, key: Hashable, *, unflushed_rows: int = 0) -> Gate:
        """The gate that everybody in this process shares who has this collection open, or a new one."""
        with cls._lock:
            gate = cls._known.get(key)
            if gate is None:
                gate = cls._known[key] = cls(unflushed_rows)
        return gate

    @contextlib.asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """One writer at a time, in the order they came."""
        turn = _Turn(asyncio.get_running_loop(), asyncio.Event())
        with self._lock:
            self._turns.append(turn)
            if self._turns[0] is turn:
                turn.event.set()
        try:
            await turn.event.wait()
            yield
        finally:
            with self._lock, contextlib.suppress(ValueError):
                self._turns.remove(turn)
                self._call_next()

    def _call_next(self) -> None:
        while self._turns:
            try:
                self._turns[0].loop.call_soon_threadsafe(self._turns[0].event.set)
            except RuntimeError:
                # Its event loop was closed, and nobody waits there any more.
                self._turns.popleft()
            else:
                return

    async def flush(self, call: Callable[[], Awaitable[Any]]) -> None:
        """Flush what is unflushed. Once begun it goes on, even if its caller is cancelled: the engine would anyway."""
        task = asyncio.ensure_future(self._flush(call))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await asyncio.shield(task)

    async def _flush(self, call: Callable[[], Awaitable[Any]]) -> None:
        async with self.writing():
            if not self.unflushed_rows:
                return
            self._flushes += 1
            try:
                await call()
                self.unflushed_rows = self.unflushed_bytes = 0
            finally:
                self._flushes += 1

    async def reading(self, read: Callable[[], Awaitable[Result]]) -> Result:
        """Read, and again if a flush began meanwhile."""
        while True:
            while self._flushes % 2:  # noqa: ASYNC110 - no event of asyncio spans event loops
                await asyncio.sleep(_PAUSE)
            before = self._flushes
            result = await read()
            if before == self._flushes:
                return result


@dataclass(slots=True)
class Lite:
    """An open database."""

    path: Path
    address: str
    server: Any
    database: Any
    users: int = 0

    _open: ClassVar[dict[Path, Lite]] = {}
    _lock: ClassVar[threading.Lock] = threading.Lock()

    @classmethod
    def open(cls, path: Path) -> Lite:
        """Open the database, or share it where this process has it open. Blocks."""
        from milvus_lite.adapter.grpc.server import start_server_in_thread

        path = path.absolute()
        logging.getLogger("grpc._server").addFilter(_without_known_gap)
        with cls._lock:
            lite = cls._open.get(path)
            if lite is None:
                path.parent.mkdir(parents=True, exist_ok=True)
                server, database, port = start_server_in_thread(str(path), host="127.0.0.1", port=0)
                lite = cls._open[path] = cls(path, f"http://127.0.0.1:{port}", server, database)
            lite.users += 1
        return lite

    def close(self) -> None:
        """Give it up; its last user stops the server and frees the folder. Blocks."""
        with self._lock:
            self.users -= 1
            if self.users:
                return
            del self._open[self.path]
            self.server.stop(grace=2).wait()
            self.database.close()
            # The server's threads end when nobody holds it any more.
            self.server = self.database = None


def _without_known_gap(record: logging.LogRecord) -> bool:
    """Lite lacks the call by which a client begins to wait for an index, and its server logs each time it is made."""
    trace = record.exc_info[2] if record.exc_info else None
    while trace is not None:
        if trace.tb_frame.f_code.co_name == "AllocTimestamp":
            return False
        trace = trace.tb_next
    return True
