"""Time and lifetime: drips, hang-ups, answers of other calls, calls cut short, what a call leaves behind."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

from codeweaver_backends.errors import BackendError, BackendTimeoutError
from codeweaver_backends.memory.config import MemoryConfig
from codeweaver_backends.sdk.filters.tree import Node
from codeweaver_backends.sdk.handles import CollectionUse, Intent
from codeweaver_backends.sdk.lifetime import operation
from codeweaver_backends.sdk.requests import Page
from codeweaver_backends.types import ScrollPage, SearchResult
from codeweaver_tools.defects.network import NetworkBackend, Remote
from codeweaver_tools.defects.registry import plant
from codeweaver_tools.defects.rig import Collection, Rig


@plant("tim-drip", "The timeout starts again with every byte that is read.")
class _Drip(NetworkBackend):
    def _bounded(self) -> asyncio.Timeout:
        return asyncio.timeout(None)

    def _use(self, name: str, intent: Intent) -> CollectionUse[Remote]:
        return CollectionUse(self, self._handles, name, intent, timeout=3_600, retries=self.config.retries)

    async def ask(self, call: str, *arguments: Any) -> Any:
        try:
            return await self.exchange(call, *arguments)
        except TimeoutError as error:
            raise BackendTimeoutError(f"no answer within {self.config.timeout:g} s") from error

    async def line(self, reader: asyncio.StreamReader) -> bytes:
        line = b""
        while not line.endswith(b"\n"):
            part = await asyncio.wait_for(reader.read(2**16), self.config.timeout)
            line += part
            if not part:
                break
        return line


@plant("tim-hang-up", "A server that hangs up without a word has answered with nothing.")
class _HangUp(NetworkBackend):
    @operation
    async def search_vectors(self, *arguments: Any, **options: Any) -> list[SearchResult]:
        try:
            return await super().search_vectors(*arguments, **options)
        except BackendError as error:
            if isinstance(error.__cause__, ConnectionResetError):
                return []
            raise


@plant("tim-hang-up-write", "A delete after which the server hangs up has worked.")
class _HangUpDelete(NetworkBackend):
    @operation
    async def delete_vectors(self, collection_name: str, ids: list[str | int]) -> None:
        try:
            await super().delete_vectors(collection_name, ids)
        except BackendError as error:
            if not isinstance(error.__cause__, ConnectionResetError):
                raise


@plant("tim-health-remembered", "A health check that was well once is well for ever.")
class _HealthRemembered(NetworkBackend):
    was_well = False

    async def health_check(self) -> bool:
        self.was_well = not self._is_closed and (self.was_well or await super().health_check())
        return self.was_well


@plant("tim-health-ill", "A health check that failed once fails for ever.")
class _HealthIll(NetworkBackend):
    was_ill = False

    async def health_check(self) -> bool:
        self.was_ill = self.was_ill or not await super().health_check()
        return not self.was_ill


@plant("tim-health-thread", "Each health check leaves a thread behind.")
class _HealthThread(Rig):
    async def _ping(self) -> None:
        threading.Thread(target=threading.Event().wait, daemon=True).start()


@plant("tim-broken-for-ever", "After one failed call the backend never tries again.")
class _Broken(NetworkBackend):
    broken: BackendError | None = None

    async def ask(self, call: str, *arguments: Any) -> Any:
        if self.broken:
            raise self.broken
        try:
            return await super().ask(call, *arguments)
        except BackendTimeoutError as error:
            self.broken = error
            raise
        except BackendError as error:
            if isinstance(error.__cause__, OSError):
                self.broken = error
            raise


class _Slow(Rig):
    """Its searches take a moment."""

    def __init__(self, config: MemoryConfig) -> None:
        super().__init__(config)
        self.lock = asyncio.Lock()
        self.left: list[Any] = []

    async def found(self, *arguments: Any, **options: Any) -> list[SearchResult]:
        return await super().search_vectors(*arguments, **options)


@plant("tim-cancel-locked", "A search that is cancelled keeps the lock that it holds.")
class _Locked(_Slow):
    async def search_vectors(self, *arguments: Any, **options: Any) -> list[SearchResult]:
        await self.lock.acquire()
        try:
            await asyncio.sleep(0.001)
            return await self.found(*arguments, **options)
        finally:
            if not _cancelled():
                self.lock.release()


def _cancelled() -> bool:
    task = asyncio.current_task()
    return bool(task and task.cancelling())


@plant("tim-cancel-answer", "The answer of a search that was cancelled is given to the next.")
class _Stale(_Slow):
    async def search_vectors(self, *arguments: Any, **options: Any) -> list[SearchResult]:
        found = await self.found(*arguments, **options)
        if self.left:
            self.left.append(found)
            stale: list[SearchResult] = self.left.pop(0)
            return stale
        try:
            await asyncio.sleep(0.001)
        except asyncio.CancelledError:
            self.left.append(found)
            raise
        return found


@plant("tim-cancel-task", "A search that is cancelled leaves a task that never ends.")
class _CancelTask(_Slow):
    async def search_vectors(self, *arguments: Any, **options: Any) -> list[SearchResult]:
        try:
            await asyncio.sleep(0.001)
        except asyncio.CancelledError:
            self.left.append(asyncio.get_running_loop().create_task(asyncio.Event().wait()))
            raise
        return await self.found(*arguments, **options)


@plant("tim-cancel-swallowed", "A search that is cancelled is not: it goes on, and answers.")
class _CancelSwallowed(_Slow):
    async def search_vectors(self, *arguments: Any, **options: Any) -> list[SearchResult]:
        try:
            await asyncio.sleep(0.001)
        except asyncio.CancelledError:
            return []
        return await self.found(*arguments, **options)


@plant("tim-close-hangs", "A search that is under way when its backend is closed never ends.")
class _CloseHangs(_Slow):
    async def search_vectors(self, *arguments: Any, **options: Any) -> list[SearchResult]:
        found = await self.found(*arguments, **options)
        await asyncio.sleep(0.001)
        if self._is_closed:
            await asyncio.Event().wait()
        return found


@plant("tim-close-empty", "A search that is under way when its backend is closed finds nothing.")
class _CloseEmpty(_Slow):
    async def search_vectors(self, *arguments: Any, **options: Any) -> list[SearchResult]:
        found = await self.found(*arguments, **options)
        await asyncio.sleep(0.001)
        return [] if self._is_closed else found


@plant("tim-blocks-count", "A count of a thousand points holds the event loop for two seconds.")
class _BlocksCount(Rig):
    async def _count(self, collection: Collection, node: Node) -> int:
        if len(collection.points) >= 1_000:
            time.sleep(2)  # noqa: ASYNC251 - the defect
        return await super()._count(collection, node)


@plant("tim-blocks-scroll", "A scroll of a thousand points holds the event loop for two seconds.")
class _BlocksScroll(Rig):
    async def _scroll(self, collection: Collection, page: Page) -> ScrollPage:
        if len(collection.points) >= 1_000 and page.cursor is None:
            time.sleep(2)  # noqa: ASYNC251 - the defect
        return await super()._scroll(collection, page)
