"""The server: connections to it, what they are told when they are opened, and transactions on them."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias
from weakref import WeakSet

import asyncpg

from codeweaver_backends.errors import BackendClosedError, BackendConnectionError, TransactionError, UnsupportedError
from codeweaver_backends.sdk.calls import retried
from codeweaver_pgvector.config import PgvectorConfig
from codeweaver_pgvector.errors import is_intact, is_lost, translate

if TYPE_CHECKING:
    from codeweaver_pgvector.graph import Touched

__all__ = ["Client", "Connection", "Pool", "Queries", "UnitOfWork"]

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_CLOSING: Final = 2.0
"""Seconds that a connection is given to say goodbye, or to roll back."""
_PARALLEL: Final = "64MB"
"""Smaller tables are scanned faster than workers are started; PostgreSQL overrates those it has not analysed yet."""
_COPY_HEAD: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_COPY_TAIL: Final = b"\xff\xff"


class Queries(Protocol):
    """Where a call's queries run: on any connection, or in its transaction."""

    async def fetch(self, sql: str, *values: Any) -> list[asyncpg.Record]:
        """The rows of a query."""


class Pool:
    """At most ``size`` connections at once, opened as they are needed.

    Not asyncpg's own: that one resets a connection with a query after each use, and opens lost ones in the background.
    """

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
        idle, self._idle = self._idle, []
        self.abandon()
        await asyncio.gather(*map(_close, idle))

    def abandon(self) -> None:
        """Cut every connection."""
        self._is_closed = True
        for connection in (*self._used, *self._idle):
            connection.terminate()


async def _close(connection: Connection) -> None:
    try:
        await connection.close(timeout=_CLOSING)
    except Exception:  # noqa: BLE001 - closed it is, one way or the other
        connection.terminate()


class UnitOfWork:
    """A transaction on a connection of its own: all that it writes becomes visible at once, or nothing does.

    Its time is that of the part that is being written. What beginning took, and the look-up, is the first part's, what
    the commit takes is the last one's: a write of one part ends within the timeout as a whole.
    """

    def __init__(
        self, connection: Connection, timeout: float, begin: str, *, spent: float = 0.0, is_repeatable: bool = False
    ) -> None:
        self.connection = connection
        self._begin = begin
        self.is_repeatable = is_repeatable
        """Whether it sees the data as of its first statement, and not as others leave it meanwhile."""
        self.has_removed = False
        """Whether a collection was deleted, whose table is to be dropped."""
        self.touched: dict[int, Touched] = {}
        """By its number: each table that was written to."""
        self._timeout = timeout
        self.begin_call(spent)

    # --- time ---

    def begin_call(self, spent: float = 0.0) -> None:
        """Give the configured time to a new call in it, of which some seconds may be spent already."""
        self._left = self._timeout - spent
        self._is_fresh = True

    @property
    def left(self) -> float:
        """Seconds that are left of the part."""
        return self._left

    @asynccontextmanager
    async def bounded(self) -> AsyncIterator[None]:
        """Do something in the time that is left."""
        clock = asyncio.get_running_loop().time
        end = clock() + self._left
        try:
            async with asyncio.timeout_at(end):
                yield
        finally:
            self._left = end - clock()

    @asynccontextmanager
    async def part(self) -> AsyncIterator[None]:
        """Write a part: each but the first has the configured time anew."""
        if not self._is_fresh:
            self._left = self._timeout
        self._is_fresh = False
        async with self.bounded():
            yield

    # --- statements ---

    async def fetch(self, sql: str, *values: Any) -> list[asyncpg.Record]:
        """The rows of a query."""
        rows: list[asyncpg.Record] = await self.connection.fetch(sql, *values)
        return rows

    async def execute(self, sql: str, *values: Any) -> int:
        """Run one statement, and tell how many rows it changed."""
        status = await self.connection.execute(sql, *values)
        count = status.rpartition(" ")[2]
        return int(count) if count.isdecimal() else 0

    async def copy(self, schema: str, table: str, columns: Sequence[str], rows: Iterable[bytes]) -> None:
        """Load rows that are in the binary format of COPY."""
        await self.connection.copy_to_table(
            table, schema_name=schema, columns=columns, source=_stream(rows), format="binary"
        )

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """Statements that are undone if one of them fails, so that others can follow."""
        async with self.bounded():
            await self.execute("savepoint undoable")
        try:
            yield
        except Exception as error:
            if is_intact(error):
                async with self.bounded():
                    await self.execute("rollback to savepoint undoable; release savepoint undoable")
            raise
        async with self.bounded():
            await self.execute("release savepoint undoable")

    async def renew(self) -> None:
        """Commit, let go of every lock, and begin anew."""
        await self.connection.execute(f"commit; {self._begin}")

    async def commit(self) -> None:
        """Commit in the time that is left."""
        async with self.bounded():
            status = await self.connection.execute("commit")
        if status != "COMMIT":
            raise TransactionError("the server rolled the transaction back")


async def _stream(rows: Iterable[bytes]) -> AsyncIterator[bytes]:
    yield _COPY_HEAD
    for piece in rows:
        yield piece
    yield _COPY_TAIL


class Client:
    """A PostgreSQL server, with connections for calls, and others for transactions."""

    def __init__(self, config: PgvectorConfig) -> None:
        self._config = config
        self.version: str | None = None
        """The versions of PostgreSQL and pgvector, once connected."""
        # Apart, so that open transactions leave connections to everything else.
        self._calls = Pool(self._connect, config.max_connections)
        self.transactions = Pool(self._connect, config.max_transactions)
        self._maintaining: set[Connection] = set()
        self._without_codec: WeakSet[Connection] = WeakSet()
        """Connections without the codec of vectors: they were opened before there was the extension."""

    async def open(self) -> None:
        """See whether the server is one that we can work with."""
        async with self._connection() as connection:
            self.version = await _checked(connection)

    async def aclose(self) -> None:
        """Close every connection; what is open is rolled back."""
        self._end_maintenance()
        await self.transactions.aclose()
        await self._calls.aclose()

    def abandon(self) -> None:
        """Cut every connection."""
        self._end_maintenance()
        self.transactions.abandon()
        self._calls.abandon()

    def _end_maintenance(self) -> None:
        for connection in list(self._maintaining):
            connection.terminate()

    # --- calls ---

    @asynccontextmanager
    async def maintenance(self) -> AsyncIterator[Connection]:
        """A connection of its own for what takes as long as it takes. Left early, it is cut; the server goes on."""
        async with asyncio.timeout(self._config.timeout):
            connection = await self._connect()
        self._maintaining.add(connection)
        try:
            if not self._config.transaction_pooling:
                await connection.execute("set statement_timeout = 0; set lock_timeout = 0")
            yield connection
            await _close(connection)
        finally:
            self._maintaining.discard(connection)
            connection.terminate()

    async def fetch(self, sql: str, *values: Any) -> list[asyncpg.Record]:
        """The rows of a query that stands alone."""
        if self._config.transaction_pooling:
            async with self.unit_of_work() as unit:
                return await unit.fetch(sql, *values)
        # ``_connection`` spelt out: its context managers would be felt in each search. Who reads bounds the time.
        connection, intact = await self._acquired(self._calls, None), False
        try:
            rows: list[asyncpg.Record] = await connection.fetch(sql, *values)
            intact = True
        except Exception as error:
            intact = is_intact(error)
            raise
        finally:
            self._calls.release(connection, intact=intact)
        return rows

    @asynccontextmanager
    async def unit_of_work(self) -> AsyncIterator[UnitOfWork]:
        """A transaction that is committed at the end of the block, and rolled back if the block raises.

        An error of the connection after the commit was sent leaves the outcome open: ``state_unknown``.
        """
        clock = asyncio.get_running_loop().time
        start = clock()
        begin = self._beginning("begin")
        async with self._connection(begin) as connection:
            unit = UnitOfWork(connection, self._config.timeout, begin, spent=clock() - start)
            try:
                yield unit
            except Exception as error:
                if is_intact(error):
                    with suppress(Exception):  # what went wrong first is what to tell
                        async with asyncio.timeout(_CLOSING):
                            await connection.execute("rollback")
                raise
            try:
                await unit.commit()
            except Exception as error:
                told = translate(error)
                if told is None or is_intact(error):
                    raise
                told.state_unknown = True
                raise told from error

    async def begin(self) -> UnitOfWork:
        """A transaction that outlives the call; its connection is of ``transactions``."""
        begin = self._beginning("begin isolation level repeatable read")
        connection = await self._acquired(self.transactions, begin)
        return UnitOfWork(connection, self._config.timeout, begin, is_repeatable=True)

    @asynccontextmanager
    async def _connection(self, begin: str | None = None) -> AsyncIterator[Connection]:
        """A connection; with ``begin``, in a transaction."""
        async with asyncio.timeout(self._config.timeout):
            connection, intact = await self._acquired(self._calls, begin), False
        try:
            yield connection
            intact = True
        except Exception as error:
            intact = is_intact(error)
            raise
        finally:
            self._calls.release(connection, intact=intact)

    async def _acquired(self, pool: Pool, begin: str | None) -> Connection:
        """A connection that is ready; another one where it turns out to be lost, since nothing was asked of it yet."""

        async def acquire() -> Connection:
            connection, ready = await pool.acquire(), False
            try:
                if connection in self._without_codec:
                    await self._teach(connection)
                if begin is not None:
                    await connection.execute(begin)
                ready = True
            finally:
                if not ready:
                    pool.release(connection, intact=False)
            return connection

        return await retried(acquire, self._config.retries, is_lost)

    def _beginning(self, begin: str) -> str:
        if not self._config.transaction_pooling:
            return begin
        return "; ".join([begin, *(f"set local {name} = '{value}'" for name, value in self._settings.items())])

    # --- connections ---

    @property
    def _settings(self) -> dict[str, str]:
        config = self._config
        return {
            "statement_timeout": _milliseconds(config.timeout),
            "lock_timeout": _milliseconds(min(config.lock_timeout, config.timeout)),
            "idle_in_transaction_session_timeout": _milliseconds(config.idle_timeout),
            "min_parallel_table_scan_size": _PARALLEL,
        }

    async def _connect(self) -> Connection:
        config = self._config
        connection: Connection = await asyncpg.connect(
            **config.address_arguments(),
            ssl=ssl.create_default_context(cafile=os.environ.get("PGSSLROOTCERT")) if config.tls else None,
            timeout=config.connect_timeout,
            statement_cache_size=0 if config.transaction_pooling else 100,
            server_settings={"application_name": "codeweaver-pgvector"},
        )
        try:
            if not config.transaction_pooling:
                # Not while connecting: poolers refuse settings there.
                named = ", ".join(f"set_config('{name}', '{value}', false)" for name, value in self._settings.items())
                await connection.execute(f"select {named}")
            self._without_codec.add(connection)
            await self._teach(connection)
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def _teach(self, connection: Connection) -> None:
        """Give a connection the codec of vectors, which are sent as bytes, if the extension is there by now."""
        async with connection.transaction():
            schema = await connection.fetchval(
                "select nspname from pg_extension join pg_namespace on pg_namespace.oid = extnamespace"
                " where extname = 'vector'"
            )
            if schema is not None:
                for name in ("vector", "sparsevec"):
                    await connection.set_type_codec(name, schema=schema, encoder=bytes, decoder=bytes, format="binary")
                self._without_codec.discard(connection)


async def _checked(connection: Connection) -> str:
    row = await connection.fetchrow(
        "select current_setting('server_version') as postgresql, current_setting('server_encoding') as encoding,"
        " coalesce((select extversion from pg_extension where extname = 'vector'),"
        " (select default_version from pg_available_extensions where name = 'vector')) as pgvector"
    )
    assert row is not None  # noqa: S101 - a select without a table has one row
    if row["encoding"] != "UTF8":
        raise UnsupportedError(f"the database must be encoded in UTF8, not {row['encoding']}", capability="encoding")
    if row["pgvector"] is None:
        raise BackendConnectionError("the server has no extension 'vector': install pgvector 0.8 or later")
    return f"PostgreSQL {row['postgresql']}, pgvector {row['pgvector']}"


def _milliseconds(seconds: float) -> str:
    return str(max(1, int(seconds * 1_000)))
