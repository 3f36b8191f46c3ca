"""The server: connections to it, and what they are told when they are opened."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias
from weakref import WeakSet

import asyncpg

from codeweaver_backends.errors import BackendClosedError, BackendConnectionError
from codeweaver_pgvector.config import PgvectorConfig

__all__ = ["Connection", "Pool", "Server"]

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_CLOSING: Final = 2.0
"""Seconds that a connection is given to say goodbye."""
_PARALLEL: Final = "64MB"
"""Smaller tables are scanned faster than workers are started; PostgreSQL overrates those it has not analysed yet."""


class Pool:
    """At most ``size`` connections at once, opened as they are needed."""

    def __init__(self, connect: Callable[[], Awaitable[Connection]], size: int) -> None:
        self._connect = connect
        self._free = asyncio.Semaphore(size)
        self._idle: list[Connection] = []
        self._used: set[Connection] = set()
        self._is_closed = False

    @property
    def is_exhausted(self) -> bool:
        """Whether all connections are in use."""
        return self._free.locked()

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
        connection = await self._connect()
        if self._is_closed:
            connection.terminate()
            raise BackendClosedError("the backend is closed")
        return connection

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
        self._is_closed = True
        for connection in self._used:
            connection.terminate()
        idle, self._idle = self._idle, []
        await asyncio.gather(*map(_close, idle))


async def _close(connection: Connection) -> None:
    try:
        await connection.close(timeout=_CLOSING)
    except Exception:  # noqa: BLE001 - closed it is, one way or the other
        connection.terminate()


class Server:
    """A PostgreSQL server, with connections for calls, and others for transactions."""

    def __init__(self, config: PgvectorConfig) -> None:
        self._config = config
        self.version: str | None = None
        """The versions of PostgreSQL and pgvector, once connected."""
        # Apart, so that open transactions leave connections to everything else.
        self.calls = Pool(self._connect, config.max_connections)
        self.transactions = Pool(self._connect, config.max_transactions)
        self._unaware: WeakSet[Connection] = WeakSet()
        """Connections that were opened before there were vectors."""

    async def open(self) -> None:
        """See whether the server is one that we can work with."""
        connection, intact = await self.acquire(), False
        try:
            self.version = await _checked(connection)
            intact = True
        finally:
            self.calls.release(connection, intact=intact)

    async def acquire(self) -> Connection:
        """A connection for a call outside of transactions."""
        connection = await self.calls.acquire()
        if connection in self._unaware:
            try:
                await self._teach(connection)
            except BaseException:
                self.calls.release(connection, intact=False)
                raise
        return connection

    async def aclose(self) -> None:
        """Close every connection; what is open is rolled back."""
        await self.transactions.aclose()
        await self.calls.aclose()

    async def _connect(self) -> Connection:
        config = self._config
        address: dict[str, Any] = {"host": config.host, "port": config.port or 5432, "ssl": False}
        if config.url:
            address = {"dsn": config.url}
        if config.tls:
            address["ssl"] = ssl.create_default_context()
        connection: Connection = await asyncpg.connect(
            **address,
            user=config.user,
            password=config.secret,
            database=config.database,
            timeout=config.timeout,
            server_settings={
                "application_name": "codeweaver-pgvector",
                "statement_timeout": _milliseconds(config.timeout),
                "lock_timeout": _milliseconds(min(config.lock_timeout, config.timeout)),
                "idle_in_transaction_session_timeout": _milliseconds(config.idle_timeout),
                "min_parallel_table_scan_size": _PARALLEL,
            },
        )
        try:
            await self._teach(connection)
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def _teach(self, connection: Connection) -> None:
        """Have a connection send vectors as bytes. Where there is no extension yet, that is done later."""
        schema = await connection.fetchval(
            "select nspname from pg_extension join pg_namespace on pg_namespace.oid = extnamespace"
            " where extname = 'vector'"
        )
        if schema is None:
            self._unaware.add(connection)
        else:
            await connection.set_type_codec("vector", schema=schema, encoder=bytes, decoder=bytes, format="binary")
            self._unaware.discard(connection)


async def _checked(connection: Connection) -> str:
    row = await connection.fetchrow(
        "select current_setting('server_version') as postgresql, current_setting('server_encoding') as encoding,"
        " coalesce((select extversion from pg_extension where extname = 'vector'),"
        " (select default_version from pg_available_extensions where name = 'vector')) as pgvector"
    )
    assert row is not None  # noqa: S101 - a select without a table has one row
    if row["encoding"] != "UTF8":
        raise BackendConnectionError(f"the database must be encoded in UTF8, not {row['encoding']}")
    if row["pgvector"] is None:
        raise BackendConnectionError("the server has no extension 'vector': install pgvector 0.8 or later")
    return f"PostgreSQL {row['postgresql']}, pgvector {row['pgvector']}"


def _milliseconds(seconds: float) -> str:
    return str(max(1, int(seconds * 1_000)))
