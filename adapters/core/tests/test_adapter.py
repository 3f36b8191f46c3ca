"""What every adapter inherits: one connection, made once, and gone with the backend."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import pytest

from codeweaver_backends.config import BackendConfig
from codeweaver_backends.errors import BackendClosedError, BackendConnectionError
from codeweaver_backends.sdk.lifetime import BaseBackend, operation


class Slow(BaseBackend):
    """Connects when it is let."""

    name: ClassVar[str] = "slow"
    _holds_nothing = True

    def __init__(self) -> None:
        super().__init__(BackendConfig())
        self.asked = asyncio.Event()
        self.let = asyncio.Event()
        self.events: list[str] = []

    async def _connect(self) -> None:
        self.events.append("connecting")
        self.asked.set()
        await self.let.wait()
        self.events.append("connected")

    async def _disconnect(self) -> None:
        await asyncio.sleep(0)
        self.events.append("disconnected")

    async def _ping(self) -> None:
        self.events.append("asked")

    @operation
    async def call(self) -> None:
        self.events.append("called")


async def _started(backend: Slow, count: int = 1) -> list[asyncio.Task[None]]:
    tasks = [asyncio.create_task(backend.call()) for _ in range(count)]
    await backend.asked.wait()
    return tasks


def test_concurrent_first_calls_connect_once() -> None:
    async def main() -> None:
        backend = Slow()
        tasks = await _started(backend, 3)
        backend.let.set()
        await asyncio.gather(*tasks)
        await backend.aclose()
        assert backend.events == ["connecting", "connected", "called", "called", "called", "disconnected"]

    asyncio.run(main())


def test_closing_while_a_call_connects_leaves_nothing_open() -> None:
    async def main() -> None:
        backend = Slow()
        tasks = await _started(backend, 2)
        closing = asyncio.create_task(backend.aclose())
        await asyncio.sleep(0)
        backend.let.set()
        await closing
        assert backend.events == ["connecting", "connected", "disconnected"]
        for task in tasks:
            with pytest.raises(BackendClosedError):
                await task
        assert not await backend.health_check()

    asyncio.run(main())


def test_closing_a_backend_that_was_never_used_connects_to_nothing() -> None:
    async def main() -> None:
        backend = Slow()
        await backend.aclose()
        await backend.aclose()
        assert backend.events == []

    asyncio.run(main())


class Shared(BaseBackend):
    """Any event loop may use it; connecting to it takes a while, and fails at first if it is told so."""

    name: ClassVar[str] = "shared"
    _holds_nothing = True
    any_loop: ClassVar[bool] = True

    def __init__(self, failures: int = 0) -> None:
        super().__init__(BackendConfig())
        self.failures = failures
        self.connects = 0

    async def _connect(self) -> None:
        self.connects += 1
        await asyncio.sleep(0.05)
        if self.connects <= self.failures:
            raise OSError("not yet")

    @operation
    async def call(self) -> str:
        return "called"


def test_first_calls_from_several_event_loops_connect_once() -> None:
    backend, start = Shared(), threading.Barrier(4)

    def use() -> str:
        start.wait()
        return asyncio.run(backend.call())

    with ThreadPoolExecutor(4) as pool:
        assert [one.result() for one in [pool.submit(use) for _ in range(4)]] == ["called"] * 4
    assert backend.connects == 1


def test_who_waited_for_a_connection_that_failed_connects_anew() -> None:
    async def main() -> None:
        backend = Shared(failures=1)
        first, *others = await asyncio.gather(*(backend.call() for _ in range(3)), return_exceptions=True)
        assert isinstance(first, BackendConnectionError)
        assert others == ["called", "called"]
        assert backend.connects == 2

    asyncio.run(main())


def test_a_cancelled_wait_and_a_cancelled_connection_harm_nobody_else() -> None:
    async def main() -> None:
        for cancelled in (0, 1):
            backend = Shared()
            tasks = [asyncio.create_task(backend.call()) for _ in range(3)]
            await asyncio.sleep(0.01)
            tasks[cancelled].cancel()
            answers = await asyncio.gather(*tasks, return_exceptions=True)
            assert isinstance(answers.pop(cancelled), asyncio.CancelledError)
            assert answers == ["called", "called"]

    asyncio.run(main())


def test_a_backend_is_closed_from_another_event_loop_while_it_connects() -> None:
    backend = Shared()

    def use() -> None:
        with pytest.raises(BackendClosedError):
            asyncio.run(backend.call())

    with ThreadPoolExecutor(1) as pool:
        using = pool.submit(use)
        while not backend.connects:
            time.sleep(0.001)
        asyncio.run(backend.aclose())
        using.result()
    assert not backend._is_open
