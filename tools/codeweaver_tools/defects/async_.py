"""Clients and event loops: closed too early, not at all, or tied to one loop."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from typing import Any

from codeweaver_backends.memory.config import MemoryConfig
from codeweaver_backends.sdk.requests import Query
from codeweaver_backends.types import SearchResult
from codeweaver_tools.defects.network import NetworkBackend, NetworkConfig
from codeweaver_tools.defects.registry import plant
from codeweaver_tools.defects.rig import Collection, Rig


@plant("asy-loop-bound", "On a second event loop a call dies with asyncio's own error.")
class _LoopBound(Rig):
    _first: Any = None

    async def search_vectors(self, *args: Any, **kwargs: Any) -> list[SearchResult]:
        loop = asyncio.get_running_loop()
        self._first = self._first or loop
        if self._first is not loop:
            raise RuntimeError("got Future attached to a different loop")
        return await super().search_vectors(*args, **kwargs)


@plant("asy-loop-steals", "A call on a second event loop takes the client away from the first.")
class _LoopSteals(Rig):
    _owner: Any = None
    _lost: Any = None

    async def search_vectors(self, *args: Any, **kwargs: Any) -> list[SearchResult]:
        loop = asyncio.get_running_loop()
        if loop is self._lost:
            raise RuntimeError("Event loop is closed")
        if self._owner not in (None, loop):
            self._lost = self._owner
        self._owner = loop
        return await super().search_vectors(*args, **kwargs)


@plant("asy-needs-loop", "A backend can be created inside a running event loop only.", side="above")
class _NeedsLoop(Rig):
    def __init__(self, config: MemoryConfig) -> None:
        asyncio.get_running_loop()
        super().__init__(config)


@plant("asy-closed-after-call", "A search closes the client it used.")
class _ClosedAfterCall(Rig):
    async def search_vectors(self, *args: Any, **kwargs: Any) -> list[SearchResult]:
        try:
            return await super().search_vectors(*args, **kwargs)
        finally:
            await self.aclose()


@plant("asy-one-at-a-time", "A call beside another fails: the connection is busy.")
class _OneAtATime(Rig):
    _busy = False

    async def search_vectors(self, *args: Any, **kwargs: Any) -> list[SearchResult]:
        if self._busy:
            raise RuntimeError("another operation is in progress")
        self._busy = True
        try:
            await asyncio.sleep(0)
            return await super().search_vectors(*args, **kwargs)
        finally:
            self._busy = False


@plant("asy-answers-crossed", "Concurrent calls get each other's answers.")
class _AnswersCrossed(Rig):
    _last: list[SearchResult] | None = None

    async def search_vectors(self, *args: Any, **kwargs: Any) -> list[SearchResult]:
        self._last = await super().search_vectors(*args, **kwargs)
        await asyncio.sleep(0)
        return self._last


@plant("asy-use-after-close", "After aclose calls go on working.")
class _UseAfterClose(Rig):
    async def aclose(self) -> None:
        return


@plant("asy-close-attribute-error", "After aclose calls die with an AttributeError.")
class _CloseAttributeError(Rig):
    # Not in ``_enter``: the template tells any error of a closed backend as that.
    async def search_vectors(self, *arguments: Any, **options: Any) -> Any:
        if self._is_closed:
            raise AttributeError("'NoneType' object has no attribute 'search'")
        return await super().search_vectors(*arguments, **options)


@plant("asy-double-close", "Closing a second time raises.")
class _DoubleClose(Rig):
    async def aclose(self) -> None:
        if self._is_closed:
            raise RuntimeError("the client is closed")
        await super().aclose()


@plant("asy-close-shared", "Closing one instance closes the client of all.")
class _CloseShared(Rig):
    _open_clients: set[Any] = set()  # noqa: RUF012 - shared: that is the defect

    def __init__(self, config: MemoryConfig) -> None:
        super().__init__(config)
        self._open_clients.add(self)

    async def aclose(self) -> None:
        await super().aclose()
        for other in self._open_clients:
            other._is_closed = True
        self._open_clients.clear()


@plant("asy-close-deletes", "aclose deletes what was written.")
class _CloseDeletes(Rig):
    async def _disconnect(self) -> None:
        for collection in self._collections.values():
            collection.points.clear()


@plant("asy-leak-task", "aclose leaves a background task behind.")
class _LeakTask(Rig):
    async def _connect(self) -> None:
        self._task = asyncio.create_task(asyncio.sleep(30))


@plant("asy-leak-thread", "aclose leaves a thread behind.")
class _LeakThread(Rig):
    async def _connect(self) -> None:
        threading.Thread(target=time.sleep, args=(20,), daemon=True).start()


@plant("asy-leak-descriptor", "aclose leaves a file open.")
class _LeakDescriptor(Rig):
    _files: list[Any] = []  # noqa: RUF012 - nobody closes them: that is the defect

    async def _connect(self) -> None:
        self._files.append(open(__file__, "rb"))  # noqa: ASYNC230, SIM115


@plant("asy-never-awaited", "Closing leaves a coroutine that nobody awaited.")
class _NeverAwaited(Rig):
    async def _disconnect(self) -> None:
        self._ping()  # type: ignore[unused-coroutine]


@plant("asy-blocks-loop", "A search of a thousand points holds the event loop for two seconds.")
class _BlocksLoop(Rig):
    def answer(self, collection: Collection, query: Query) -> list[SearchResult]:
        if len(collection.points) == 1_000 and collection.settings.dimension == 128:
            time.sleep(2)
        return super().answer(collection, query)


@plant("asy-connects-in-constructor", "The constructor opens a connection and waits for it.", side="above")
class _ConnectsInConstructor(NetworkBackend):
    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        socket.create_connection(self.address, config.timeout).close()
