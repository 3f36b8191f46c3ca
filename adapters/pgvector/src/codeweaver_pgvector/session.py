"""Connections and transactions: where a read or a write runs, and what becomes of it when it fails."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from codeweaver_backends.adapter import BaseBackend
from codeweaver_backends.errors import BackendConnectionError, BackendError, CollectionNotFoundError
from codeweaver_backends.types import PointId
from codeweaver_backends.validate import validate_name
from codeweaver_pgvector.config import PgvectorConfig
from codeweaver_pgvector.errors import LOST, is_retried, translate
from codeweaver_pgvector.tables import Collection, Schema

__all__ = ["Connection", "Session", "Write"]

T = TypeVar("T")
Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"

_CLOSING = 5.0
"""Seconds that connections are given to say goodbye."""


@dataclass(slots=True)
class Write:
    """A write under way: everything it does becomes visible at once, or nothing does."""

    timeout: float
    connection: Connection = field(init=False)
    ids: Sequence[PointId] = ()
    """What is being written, for the error."""
    is_sent: bool = False
    """Whether the commit was sent: from then on a lost connection leaves the outcome open."""

    async def execute(self, sql: str, *values: Any) -> int:
        """Run one statement within the timeout, and tell how many rows it changed."""
        async with asyncio.timeout(self.timeout):
            status = await self.connection.execute(sql, *values)
        count = status.rpartition(" ")[2]
        return int(count) if count.isdecimal() else 0

    async def execute_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run one statement once per row, within the timeout."""
        async with asyncio.timeout(self.timeout):
            await self.connection.executemany(sql, rows)

    async def fetchrow(self, sql: str, *values: Any) -> asyncpg.Record | None:
        """Run one statement within the timeout, and give its first row."""
        async with asyncio.timeout(self.timeout):
            return await self.connection.fetchrow(sql, *values)

    @asynccontextmanager
    async def undoable(self) -> AsyncIterator[None]:
        """Statements that are undone if one of them fails, so that others can follow."""
        await self.execute("savepoint undoable")
        try:
            yield
        except (asyncpg.PostgresError, BackendError):
            await self.execute("rollback to savepoint undoable")
            raise
        await self.execute("release savepoint undoable")

    async def copy(self, schema: str, table: str, columns: Sequence[str], data: bytes) -> None:
        """Load rows in the binary format of COPY, within the timeout."""
        async with asyncio.timeout(self.timeout):
            await self.connection.copy_to_table(
                table, schema_name=schema, columns=columns, source=_once(data), format="binary"
            )


class Session(BaseBackend):
    """What the backend's calls run in."""

    config: PgvectorConfig

    def __init__(self, config: PgvectorConfig) -> None:
        super().__init__(config)
        self._schema = Schema(config.db_schema)
        self._pool: asyncpg.Pool[asyncpg.Record]
        self._server_version: str | None = None

    @property
    def server_version(self) -> str | None:
        """The versions of PostgreSQL and pgvector, once connected."""
        return self._server_version

    # --- lifetime ---

    async def _connect(self) -> None:
        pool = self._new_pool(self.config.max_connections)
        try:
            async with asyncio.timeout(self.config.timeout):
                await pool
                async with pool.acquire() as connection:
                    self._server_version = await _checked_server(connection)
        except BaseException:
            pool.terminate()
            raise
        self._pool = pool

    def _new_pool(self, size: int) -> asyncpg.Pool[asyncpg.Record]:
        config = self.config
        by_url = {"dsn": config.url} if config.url else {"host": config.host, "port": config.port or 5432}
        encrypted: dict[str, Any] = {} if config.url and not config.tls else {"ssl": False}
        if config.tls:
            encrypted = {"ssl": ssl.create_default_context()}
        return asyncpg.create_pool(
            **by_url,
            **encrypted,
            user=config.user,
            password=config.password.get_secret_value() if config.password else None,
            database=config.database,
            min_size=0,
            max_size=size,
            timeout=config.timeout,
            reset=_keep,
            server_settings={
                "application_name": "codeweaver-pgvector",
                "statement_timeout": _milliseconds(config.timeout),
                "lock_timeout": _milliseconds(min(config.lock_timeout, config.timeout)),
                "idle_in_transaction_session_timeout": _milliseconds(config.idle_timeout),
            },
        )

    async def _disconnect(self) -> None:
        await _close(self._pool)

    async def _ping(self) -> None:
        async with self._connection() as connection:
            await connection.fetchval("select 1")

    def _translate_error(self, error: Exception) -> BackendError | None:
        return translate(error)

    # --- where calls run ---

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        """A connection of the pool. One that was left in the middle of something does not go back there."""
        async with asyncio.timeout(self.config.timeout):
            connection = await self._pool.acquire()
        try:
            yield connection
        except (asyncpg.PostgresError, BackendError):
            raise
        except BaseException:
            connection.terminate()
            raise
        finally:
            await self._pool.release(connection)

    async def _read(self, body: Callable[[Connection], Awaitable[T]]) -> T:
        """Run a read. It is tried again where the connection is lost, and where a table it looked up is gone."""
        tries = self.config.retries
        async with asyncio.timeout(self.config.timeout):
            while True:
                try:
                    async with self._connection() as connection:
                        return await body(connection)
                except (asyncpg.UndefinedTableError, *LOST):
                    if not tries:
                        raise
                    tries -= 1

    async def _read_collection(self, name: str, body: Callable[[Connection, Collection], Awaitable[T]]) -> T:
        """Run a read of a collection."""
        validate_name(name)

        async def read(connection: Connection) -> T:
            return await body(connection, await self._resolve(connection, name))

        return await self._read(read)

    async def _write(self, body: Callable[[Write], Awaitable[T]]) -> T:
        """Run a write as one transaction. It is tried again where that is known to have been rolled back."""
        tries = self.config.retries
        while True:
            write = Write(self.config.timeout)
            try:
                async with self._connection() as write.connection:
                    return await self._committed(write, body)
            except Exception as error:  # noqa: BLE001 - raised again, as the contract's
                if not tries or write.is_sent or not is_retried(error):
                    failure = self._failed(write, error)
                    raise failure from (None if failure is error else error)
                tries -= 1

    async def _committed(self, write: Write, body: Callable[[Write], Awaitable[T]]) -> T:
        await write.execute("begin")
        try:
            result = await body(write)
        except (asyncpg.PostgresError, BackendError):
            try:
                await write.execute("rollback")
            except Exception:  # noqa: BLE001 - what went wrong first is what to tell
                write.connection.terminate()
            raise
        write.is_sent = True
        await write.execute("commit")
        return result

    def _failed(self, write: Write, error: Exception) -> BackendError:
        """The error of a write: it names the points that are not written."""
        failure = error if isinstance(error, BackendError) else self._translated(error)
        if write.ids:
            failure.ids = tuple(write.ids)
            failure.state_unknown = write.is_sent and isinstance(failure, BackendConnectionError)
        return failure

    # --- the catalogue ---

    async def _is_prepared(self, connection: Connection) -> bool:
        return bool(await connection.fetchval("select to_regclass($1) is not null", self._schema.catalogue))

    async def _prepare(self) -> None:
        """Have a catalogue."""

        async def prepare(write: Write) -> None:
            for statement in self._schema.preparation:
                await write.execute(statement)

        if not await self._read(self._is_prepared):
            await self._write(prepare)

    async def _resolve(self, connection: Connection | Write, name: str, *, lock: bool = False) -> Collection:
        """Look a collection up. Nothing is remembered: another instance may have created it anew since."""
        try:
            row = await connection.fetchrow(self._schema.selection(lock=lock), name)
        except asyncpg.UndefinedTableError:
            row = None
        if row is None:
            raise CollectionNotFoundError("the collection does not exist")
        return self._schema.read(name, row)

    async def _dispose(self) -> None:
        """Drop the tables of deleted collections; one that is in use is left for the next time."""
        with suppress(*LOST, asyncpg.PostgresError):
            async with asyncio.timeout(self.config.timeout), self._connection() as connection:
                for row in await connection.fetch(self._schema.removed):
                    with suppress(asyncpg.LockNotAvailableError):
                        await connection.execute(self._schema.disposal(row["number"]))


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def _keep(connection: object) -> None:
    """Nothing to reset: what a call sets, it sets for its transaction only."""


async def _close(pool: asyncpg.Pool[asyncpg.Record]) -> None:
    try:
        async with asyncio.timeout(_CLOSING):
            await pool.close()
    except Exception:  # noqa: BLE001 - closed it is, one way or the other
        pool.terminate()


async def _checked_server(connection: Connection) -> str:
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
