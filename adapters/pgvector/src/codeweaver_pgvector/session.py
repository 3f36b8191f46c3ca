"""Where calls run: on a connection of their own, or in a transaction; and what becomes of them when they fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import asyncpg

from codeweaver_backends.errors import (
    BackendConnectionError,
    BackendError,
    BackendTimeoutError,
    CollectionNotFoundError,
    TransactionError,
)
from codeweaver_backends.sdk.transactions import Transaction, TransactionalBase
from codeweaver_backends.sdk.validate import validate_name
from codeweaver_backends.types import PointId
from codeweaver_pgvector.config import PgvectorConfig
from codeweaver_pgvector.errors import CONFLICTS, LOST, is_intact, is_retried, translate
from codeweaver_pgvector.server import Connection, Server
from codeweaver_pgvector.tables import Collection, Schema

__all__ = ["Session", "Work"]

T = TypeVar("T")

_LOST: Final = "its connection was lost, and nothing was written"


@dataclass(slots=True)
class Work:
    """What a call does on a connection. All that it writes becomes visible at once, or nothing does."""

    connection: Connection
    timeout: float
    ids: Sequence[PointId] = ()
    """What is being written, for the error."""
    is_sent: bool = False
    """Whether the commit was sent: from then on a lost connection leaves the outcome open."""
    is_repeatable: bool = False
    """Whether it sees the data as of its first statement, and not as others leave it meanwhile."""
    removed: bool = False
    """Whether a collection was deleted, whose table is to be dropped."""

    async def execute(self, sql: str, *values: Any) -> int:
        """Run one statement within the timeout, and tell how many rows it changed."""
        async with asyncio.timeout(self.timeout):
            status = await self.connection.execute(sql, *values)
        count = status.rpartition(" ")[2]
        return int(count) if count.isdecimal() else 0

    async def fetchrow(self, sql: str, *values: Any) -> asyncpg.Record | None:
        """Run one statement within the timeout, and give its first row."""
        async with asyncio.timeout(self.timeout):
            return await self.connection.fetchrow(sql, *values)

    async def copy(self, schema: str, table: str, columns: Sequence[str], data: Iterable[bytes]) -> None:
        """Load rows in the binary format of COPY, within the timeout."""
        async with asyncio.timeout(self.timeout):
            await self.connection.copy_to_table(
                table, schema_name=schema, columns=columns, source=_stream(data), format="binary"
            )

    @asynccontextmanager
    async def undoable(self) -> AsyncIterator[None]:
        """Statements that are undone if one of them fails, so that others can follow."""
        await self.execute("savepoint undoable")
        try:
            yield
        except Exception as error:
            if is_intact(error):
                await self.execute("rollback to savepoint undoable; release savepoint undoable")
            raise
        await self.execute("release savepoint undoable")


class Session(TransactionalBase[Work]):
    """What the backend's calls run in."""

    config: PgvectorConfig

    def __init__(self, config: PgvectorConfig) -> None:
        super().__init__(config)
        self._schema = Schema(config.db_schema)
        self._server = Server(config)

    @property
    def server_version(self) -> str | None:
        """The versions of PostgreSQL and pgvector, once connected."""
        return self._server.version

    # --- lifetime ---

    async def _connect(self) -> None:
        async with asyncio.timeout(self.config.timeout):
            await self._server.open()

    async def _disconnect(self) -> None:
        await self._server.aclose()

    async def _ping(self) -> None:
        await self._read_alone(lambda connection: connection.fetchval("select 1"))

    def _translate_error(self, error: Exception) -> BackendError | None:
        return translate(error)

    # --- calls ---

    async def _read(self, body: Callable[[Connection], Awaitable[T]]) -> T:
        """Run a read: in the transaction that the call is in, or on a connection of its own."""
        transaction = self._joined()
        if transaction is None:
            return await self._read_alone(body)

        async def read(work: Work) -> T:
            async with asyncio.timeout(work.timeout):
                return await body(work.connection)

        return await self._run_in(transaction, read)

    async def _read_alone(self, body: Callable[[Connection], Awaitable[T]]) -> T:
        """Run a read outside of transactions. It is tried again where the connection is lost."""
        tries = self.config.retries
        async with asyncio.timeout(self.config.timeout):
            while True:
                connection, intact = await self._server.acquire(), False
                try:
                    result = await body(connection)
                    intact = True
                    return result
                except LOST:
                    if not tries:
                        raise
                    tries -= 1
                except Exception as error:
                    intact = is_intact(error)
                    raise
                finally:
                    self._server.calls.release(connection, intact=intact)

    async def _read_collection(self, name: str, body: Callable[[Connection, Collection], Awaitable[T]]) -> T:
        """Run a read of a collection."""
        validate_name(name)

        async def read(connection: Connection) -> T:
            return await body(connection, await self._resolve(connection, name))

        try:
            return await self._read(read)
        except asyncpg.UndefinedTableError:
            # Deleted after it had been looked up; it may have been created again.
            return await self._read(read)

    async def _write(self, body: Callable[[Work], Awaitable[T]]) -> T:
        """Run a write: in the transaction that the call is in, or as one of its own."""
        transaction = self._joined()
        if transaction is not None:
            return await self._run_in(transaction, body)
        return await self._write_alone(body)

    async def _write_alone(self, body: Callable[[Work], Awaitable[T]]) -> T:
        """Run a write as one transaction. It is tried again where that is known to have been rolled back."""
        tries, timeout = self.config.retries, self.config.timeout
        while True:
            async with asyncio.timeout(timeout):
                work, intact = Work(await self._server.acquire(), timeout), False
            try:
                result = await self._committed(work, body)
                intact = True
            except Exception as error:
                intact = is_intact(error)
                if not tries or work.is_sent or not is_retried(error):
                    failure = self._failed(work, error)
                    if failure is error:
                        raise
                    raise failure from error
                tries -= 1
            else:
                break
            finally:
                self._server.calls.release(work.connection, intact=intact)
        if work.removed:
            await self._dispose()
        return result

    async def _committed(self, work: Work, body: Callable[[Work], Awaitable[T]]) -> T:
        await work.execute("begin")
        try:
            result = await body(work)
        except Exception as error:
            if is_intact(error):
                with suppress(Exception):  # what went wrong first is what to tell
                    await work.execute("rollback")
            raise
        work.is_sent = True
        await work.execute("commit")
        return result

    def _failed(self, work: Work, error: Exception) -> BackendError:
        """The error of a write: it names the points that are not written."""
        failure = error if isinstance(error, BackendError) else self._translated(error)
        if work.ids:
            failure.ids = tuple(work.ids)
            failure.state_unknown = work.is_sent and isinstance(failure, BackendConnectionError)
        return failure

    # --- transactions ---

    async def _begin(self) -> Work:
        # A connection learns of vectors when it is opened; there must be some by then.
        await self._prepare()
        pool = self._server.transactions
        try:
            async with asyncio.timeout(self.config.timeout):
                connection = await pool.acquire()
        except TimeoutError as error:
            if not pool.is_exhausted:
                raise
            raise BackendTimeoutError(
                f"{self.config.max_transactions} transactions are open, as many as may"
            ) from error
        work, intact = Work(connection, self.config.timeout, is_repeatable=True), False
        try:
            await work.execute("begin isolation level repeatable read")
            intact = True
        finally:
            if not intact:
                pool.release(connection, intact=False)
        return work

    async def _run_in(self, transaction: Transaction[Work], body: Callable[[Work], Awaitable[T]]) -> T:
        """Run a call in a transaction. Where it fails it is undone; the transaction goes on if the engine lets it."""
        async with transaction.lock:
            self._check_open(transaction)
            work = transaction.handle
            work.ids = ()
            try:
                async with work.undoable():
                    return await body(work)
            except BaseException as error:
                await self._end_if_over(transaction, error)
                if not isinstance(error, Exception) or (not work.ids and transaction.ended is None):
                    raise
                if transaction.ended == _LOST:
                    raise TransactionError(f"the transaction has ended: {_LOST}") from error
                failure = self._failed(work, error)
                if failure is error:
                    raise
                raise failure from error

    async def _end_if_over(self, transaction: Transaction[Work], error: BaseException) -> None:
        """End the transaction if this error is its end: then everything in it is undone, and its locks are free."""
        if isinstance(error, CONFLICTS):
            transaction.ended = "another transaction was first, and this one was rolled back"
            await self._rollback(transaction.handle)
        elif not is_intact(error) or transaction.handle.connection.is_closed():
            cut = isinstance(error, TimeoutError) or not isinstance(error, Exception)
            transaction.ended = "a call was cut short, and nothing was written" if cut else _LOST
            self._server.transactions.release(transaction.handle.connection, intact=False)

    async def _commit(self, work: Work) -> None:
        intact = False
        try:
            if work.connection.is_closed():
                raise TransactionError(f"the transaction has ended: {_LOST}")
            async with asyncio.timeout(work.timeout):
                status = await work.connection.execute("commit")
            intact = True
            if status != "COMMIT":
                raise TransactionError("the server rolled the transaction back")
        except CONFLICTS:
            intact = True
            raise
        finally:
            self._server.transactions.release(work.connection, intact=intact)
        if work.removed:
            await self._dispose()

    async def _rollback(self, work: Work) -> None:
        intact = False
        try:
            async with asyncio.timeout(work.timeout):
                await work.connection.execute("rollback")
            intact = True
        except Exception:  # noqa: BLE001, S110 - the server rolls back what loses its connection
            pass
        finally:
            self._server.transactions.release(work.connection, intact=intact)

    # --- the catalogue ---

    async def _is_prepared(self, connection: Connection) -> bool:
        return bool(await connection.fetchval("select to_regclass($1) is not null", self._schema.catalogue))

    async def _prepare(self) -> None:
        """Have a catalogue."""

        async def prepare(work: Work) -> None:
            for statement in self._schema.preparation:
                await work.execute(statement)

        if not await self._read_alone(self._is_prepared):
            await self._write_alone(prepare)

    async def _resolve(self, connection: Connection | Work, name: str, *, lock: bool = False) -> Collection:
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

        async def dispose(connection: Connection) -> None:
            for row in await connection.fetch(self._schema.removed):
                with suppress(asyncpg.LockNotAvailableError):
                    await connection.execute(self._schema.disposal(row["number"]))

        with suppress(asyncpg.PostgresError, *LOST):
            await self._read_alone(dispose)


async def _stream(data: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in data:
        yield piece
