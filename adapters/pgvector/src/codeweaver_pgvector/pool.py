"""A pool of connections: the one used last is the next to be used, and giving back costs nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

import asyncpg

__all__ = ["Connection", "Pool"]

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_CLOSING: Final = 2.0
"""Seconds that a connection is given to say goodbye."""


class Pool:
    """At most ``size`` connections at once, opened as they are needed."""

    def __init__(self, connect: Callable[[], Awaitable[Connection]], size: int) -> None:
        self._connect = connect
        self._free = asyncio.Semaphore(size)
        self._idle: list[Connection] = []
        self._used: set[Connection] = set()

    async def acquire(self) -> Connection:
        """A connection, when one is free. It must be given back."""
        await self._free.acquire()
        try:
            connection = await self._opened()
        except BaseException:
            self._free.release()
            raise
        self._used.add(connection)
        return connection

    async def _opened(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        return await self._connect()

    def release(self, connection: Connection, *, intact: bool) -> None:
        """Give a connection back. One that was left in the middle of something is cut."""
        self._used.discard(connection)
        if intact and not connection.is_closed() and not connection.is_in_transaction():
            self._idle.append(connection)
        else:
            connection.terminate()
        self._free.release()

    async def aclose(self) -> None:
        """Close every connection; those in use are cut."""
        for connection in self._used:
            connection.terminate()
        idle, self._idle = self._idle, []
        await asyncio.gather(*map(_close, idle))


async def _close(connection: Connection) -> None:
    try:
        await connection.close(timeout=_CLOSING)
    except Exception:  # noqa: BLE001 - closed it is, one way or the other
        connection.terminate()
