"""Milvus Lite in this process: opened once per folder, closed with its last user, and kept from tripping over itself.

Lite is a server in threads of this process. It must not be written to by two callers at once, while it flushes a
collection a reader misses the rows that are on their way to the disk, and after a write that the disk refused it
acknowledges writes that it could not recover. A ``Gate`` keeps the order of one collection's callers.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import threading
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from typing import Any, Final, TypeVar

from codeweaver_backends.errors import BackendConnectionError
from codeweaver_backends.sdk.folders import SharedFolders

__all__ = ["FOLDERS", "Gate", "Lite"]

Result = TypeVar("Result")

_PAUSE: Final = 0.005
"""Seconds between two looks at whether a flush has ended."""
_LOCK_FILE: Final = "LOCK"
"""What Lite keeps in its folder as long as it has it open."""


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
    is_torn: bool = False
    """Whether a write failed and the collection could not be closed and opened again since."""
    _turns: deque[_Turn] = field(default_factory=deque)
    """The writer and those who wait to write."""
    _flushes: int = 0
    """Odd while rows move, by a flush or by a repair."""
    _shared: int = 0
    """Writes under way that may overlap."""
    _guard: threading.Lock = field(default_factory=threading.Lock)

    @contextlib.asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """One writer at a time, in the order they came."""
        turn = _Turn(asyncio.get_running_loop(), asyncio.Event())
        with self._guard:
            self._turns.append(turn)
            if self._turns[0] is turn:
                turn.event.set()
        try:
            await turn.event.wait()
            yield
        finally:
            with self._guard, contextlib.suppress(ValueError):
                self._turns.remove(turn)
                self._call_next()

    @contextlib.asynccontextmanager
    async def sharing(self) -> AsyncIterator[None]:
        """A write that may overlap with its like, but not with one that waits until all are ``drained``."""
        async with self.writing():
            self._share(1)
        try:
            yield
        finally:
            self._share(-1)

    def _share(self, change: int) -> None:
        with self._guard:
            self._shared += change

    async def drained(self) -> None:
        """Wait for those that are ``sharing``; asked by who is ``writing``, so that no more begin."""
        while self._shared:  # noqa: ASYNC110 - no event of asyncio spans event loops
            await asyncio.sleep(_PAUSE)

    def _call_next(self) -> None:
        while self._turns:
            try:
                self._turns[0].loop.call_soon_threadsafe(self._turns[0].event.set)
            except RuntimeError:
                # Its event loop was closed, and nobody waits there any more.
                self._turns.popleft()
            else:
                return

    @contextlib.contextmanager
    def moving(self) -> Any:
        """Rows move: what is read meanwhile is read again afterwards."""
        self._flushes += 1
        try:
            yield
        finally:
            self._flushes += 1

    async def reading(self, read: Callable[[], Awaitable[Result]]) -> Result:
        """Read, and again if rows began to move meanwhile."""
        while True:
            while self._flushes % 2:  # noqa: ASYNC110 - no event of asyncio spans event loops
                await asyncio.sleep(_PAUSE)
            before = self._flushes
            result = await read()
            if before == self._flushes:
                return result


class Unfinished:
    """Work that goes on after its caller was cancelled or ran out of time, since the engine goes on with it anyway."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    async def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Do the work, to its end whatever happens to the caller."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # who still waits is told; asyncio need not complain that nobody asked

    async def wait(self, seconds: float) -> None:
        """Wait for the end of all that is under way, for so long at most."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)


@dataclass(slots=True, eq=False)
class Lite:
    """An open folder."""

    path: Path
    address: str
    server: Any
    database: Any
    lock_file: BufferedReader
    gates: dict[tuple[str, str], Gate] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path) -> Lite:
        """Open the folder. Blocks."""
        from milvus_lite.adapter.grpc.server import start_server_in_thread
        from milvus_lite.exceptions import DataDirLockedError

        logging.getLogger("grpc._server").addFilter(_without_known_gap)
        try:
            server, database, port = start_server_in_thread(str(path), host="127.0.0.1", port=0)
        except DataDirLockedError as error:
            raise BackendConnectionError("the folder is open in another process") from error
        return cls(path, f"http://127.0.0.1:{port}", server, database, (path / _LOCK_FILE).open("rb"))

    def close(self) -> None:
        """Stop the server and let go of the folder. Blocks."""
        self.lock_file.close()
        self.server.stop(grace=2).wait()
        self.database.close()
        # The server's threads end when nobody holds it any more.
        self.server = self.database = None

    def gate(self, database: str, engine_name: str) -> Gate:
        """The gate that everybody in this process shares. At first it may have anything to flush."""
        return self.gates.setdefault((database, engine_name), Gate(unflushed_rows=1 << 30))

    def check(self) -> None:
        """Fail if the folder was deleted or replaced: what is written then is written nowhere."""
        try:
            here = os.path.samestat((self.path / _LOCK_FILE).stat(), os.fstat(self.lock_file.fileno()))
        except FileNotFoundError:
            here = False
        if not here:
            raise BackendConnectionError("the folder of the database was deleted or replaced while it was open")

    def repair(self, database: str, engine_name: str) -> None:
        """Close the collection, which makes durable what it holds, and let it be opened again. Blocks.

        A failed write leaves a torn end in the log, behind which nothing is recovered; a failed flush leaves rows in
        the log only. Raises ``OSError`` where the disk still refuses: then the collection is opened from its log.
        """
        name = database or "default"
        if self.database.has_collection(engine_name, database_name=name):
            collection = self.database.get_collection(engine_name, database_name=name)
            try:
                collection.close()
            finally:
                self.database._collections.pop((name, engine_name), None)


FOLDERS: Final[SharedFolders[Lite]] = SharedFolders(Lite.open, Lite.close, lock_name="codeweaver.lock")

if hasattr(os, "register_at_fork"):
    # Channels that a child inherits as garbage crash it when they are collected: their threads are not there.
    os.register_at_fork(after_in_child=gc.freeze)


def _without_known_gap(record: logging.LogRecord) -> bool:
    """Lite lacks the call by which a client begins to wait for an index, and its server logs each time it is made."""
    trace = record.exc_info[2] if record.exc_info else None
    while trace is not None:
        if trace.tb_frame.f_code.co_name == "AllocTimestamp":
            return False
        trace = trace.tb_next
    return True
