"""What every adapter inherits: one connection, made once, and gone with the backend."""

from __future__ import annotations

import asyncio
from typing import ClassVar

import pytest

from codeweaver_backends.adapter import BaseBackend, operation
from codeweaver_backends.config import BackendConfig
from codeweaver_backends.errors import BackendClosedError


class Slow(BaseBackend):
    """Connects when it is let."""

    name: ClassVar[str] = "slow"

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
