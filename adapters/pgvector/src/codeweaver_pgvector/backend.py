"""The pgvector backend: one table per collection; a write is one transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, ClassVar, Final

import asyncpg
import numpy as np

from codeweaver_backends.capabilities import BackendCapabilities
from codeweaver_backends.errors import (
    BackendError,
    BackendTimeoutError,
    CollectionExistsError,
    CollectionNotFoundError,
    InvalidOptionError,
    TransactionError,
    UnsupportedError,
)
from codeweaver_backends.sdk.calls import retried
from codeweaver_backends.sdk.cursors import cursor_after, position_of
from codeweaver_backends.sdk.filters.tree import Node
from codeweaver_backends.sdk.handles import CollectionUse, Intent, RecreatedError
from codeweaver_backends.sdk.hybrid.fusion import NO_LEG, Leg
from codeweaver_backends.sdk.hybrid.vectors import SparseRows
from codeweaver_backends.sdk.index.codes import decode_id, encode_id
from codeweaver_backends.sdk.requests import Batch, CollectionSettings, Page, Projection, Query, Slot, SparseQuery
from codeweaver_backends.sdk.template import BackendTemplate
from codeweaver_backends.sdk.transactions import Transaction
from codeweaver_backends.sdk.vectors import check_lengths
from codeweaver_backends.types import DistanceMetric, PointId, ScrollPage, SearchResult, VectorPoint
from codeweaver_pgvector.catalogue import Catalogue
from codeweaver_pgvector.client import Client, Queries, UnitOfWork
from codeweaver_pgvector.config import PgvectorConfig
from codeweaver_pgvector.dialect import CODE, Condition
from codeweaver_pgvector.errors import CONFLICTS, is_intact, is_lost, translate
from codeweaver_pgvector.graph import Graphs, check_settings
from codeweaver_pgvector.plugin import CAPABILITIES
from codeweaver_pgvector.schema import COLUMNS, Table, columns_to_merge, engine_query, point_of, rows_to_copy
from codeweaver_pgvector.searching import hits_of, nearest
from codeweaver_pgvector.slots import SLOT_COLUMNS, encoded, slots_to_copy
from codeweaver_pgvector.use import BoundCollection, UseInTransaction

__all__ = ["PgvectorBackend"]

_MERGED: Final = 64
"""So few points are not worth a COPY."""
_MERGED_AT_ONCE: Final = 1_000
"""Points that are merged by one statement."""
_LONGEST: Final = 1e18
"""The length of a vector whose dot products pgvector, which adds up in float32, can still add up."""
_DISPOSAL: Final = 2.0
"""Seconds that a deletion spends on dropping tables; what is left is dropped by the next one."""
_LOST: Final = "its connection was lost, and nothing was written"


class PgvectorBackend(BackendTemplate[BoundCollection]):
    """Collections in PostgreSQL. Small ones are scanned; beyond, a graph answers what it answers well."""

    name: ClassVar[str] = "pgvector"
    part_points: ClassVar[int] = 10_000
    part_bytes: ClassVar[int] = 32 << 20
    ids_at_once: ClassVar[int] = 10_000
    config: PgvectorConfig

    def __init__(self, config: PgvectorConfig) -> None:
        super().__init__(config)
        self._catalogue = Catalogue(config.db_schema)
        self._client = Client(config)
        self._claims = CAPABILITIES.with_exact_size(config.index_from)
        self._graphs = Graphs(self._client, config.index_from)

    @property
    def capabilities(self) -> BackendCapabilities:
        return self._claims

    @property
    def server_version(self) -> str | None:
        """The versions of PostgreSQL and pgvector, once connected."""
        return self._client.version

    async def _connect(self) -> None:
        await self._client.open()

    async def _disconnect(self) -> None:
        await self._client.aclose()
        await self._graphs.aclose()

    def _abandon(self) -> None:
        self._client.abandon()

    async def _ping(self) -> None:
        await self._fetch_rows("select 1")

    def _translate_error(self, error: Exception) -> BackendError | None:
        return translate(error)

    def _is_stale(self, error: Exception) -> bool:
        return isinstance(error, asyncpg.UndefinedTableError)

    # --- where calls run ---

    def _use(self, name: str, intent: Intent) -> CollectionUse[BoundCollection]:
        """A write is a transaction, in which its collection is looked up and locked; so are calls of the user's one.

        Other reads run on any connection, by the cached handle.
        """
        if intent is Intent.WRITE or self._joined() is not None:
            return UseInTransaction(self, name, intent, self._unit_of_work)
        return super()._use(name, intent)

    @asynccontextmanager
    async def _unit_of_work(self) -> AsyncIterator[UnitOfWork]:
        """The transaction that the call is in, or one of its own."""
        transaction = self._joined()
        if transaction is not None:
            async with self._call_in(transaction) as unit:
                yield unit
            return
        async with self._client.unit_of_work() as unit:
            yield unit
        await self._committed(unit)

    async def _committed(self, unit: UnitOfWork) -> None:
        """What follows from a commit."""
        self._graphs.touched(unit.touched.values())
        if unit.has_removed:
            await self._catalogue.dispose(self._client, min(_DISPOSAL, unit.left / 2))

    @asynccontextmanager
    async def _call_in(self, transaction: Transaction[UnitOfWork]) -> AsyncIterator[UnitOfWork]:
        """A call in a transaction. Where it fails it is undone; the transaction goes on if the engine lets it."""
        async with transaction.lock:
            self._check_open(transaction)
            unit = transaction.handle
            unit.begin_call()
            try:
                async with unit.savepoint():
                    yield unit
            except BaseException as error:
                await self._end_if_over(transaction, error)
                if transaction.ended == _LOST:
                    raise TransactionError(f"the transaction has ended: {_LOST}") from error
                raise

    async def _end_if_over(self, transaction: Transaction[UnitOfWork], error: BaseException) -> None:
        """End the transaction if this error is its end: then everything in it is undone, and its locks are free."""
        unit = transaction.handle
        if isinstance(error, CONFLICTS):
            transaction.ended = "another transaction was first, and this one was rolled back"
            await self._rollback(unit)
        elif not is_intact(error) or unit.connection.is_closed():
            cut = isinstance(error, TimeoutError) or not isinstance(error, Exception)
            transaction.ended = "a call was cut short, and nothing was written" if cut else _LOST
            self._client.transactions.release(unit.connection, intact=False)

    async def _fetch_rows(self, sql: str) -> list[asyncpg.Record]:
        """The rows of a query that is of no collection, asked again where the connection was lost."""
        return await retried(lambda: self._client.fetch(sql), self.config.retries, is_lost)

    # --- transactions ---

    async def _begin(self) -> UnitOfWork:
        try:
            async with self._bounded():
                # A connection learns of vectors when it is opened; there must be some by then.
                await self._catalogue.prepare(self._client)
                return await self._client.begin()
        except TimeoutError as error:
            if not self._client.transactions.is_exhausted:
                raise
            raise BackendTimeoutError(
                f"{self.config.max_transactions} transactions are open, as many as may"
            ) from error

    async def _commit(self, handle: UnitOfWork) -> None:
        intact = False
        try:
            if handle.connection.is_closed():
                raise TransactionError(f"the transaction has ended: {_LOST}")
            handle.begin_call()
            await handle.commit()
            intact = True
        except Exception as error:
            intact = is_intact(error)
            raise
        finally:
            self._client.transactions.release(handle.connection, intact=intact)
        await self._committed(handle)

    async def _rollback(self, handle: UnitOfWork) -> None:
        intact = False
        try:
            async with self._bounded():
                await handle.execute("rollback")
            intact = True
        except Exception:  # noqa: BLE001, S110 - the server rolls back what loses its connection
            pass
        finally:
            self._client.transactions.release(handle.connection, intact=intact)

    # --- collections ---

    async def _create(self, settings: CollectionSettings) -> None:
        check_settings(settings)
        await self._catalogue.prepare(self._client)
        async with self._unit_of_work() as unit:
            rows = await unit.fetch(self._catalogue.insertion, *self._catalogue.row(settings))
            table = Table.of(self._catalogue, settings.name, rows[0]) if rows else None
            if table is None:
                raise CollectionExistsError("the collection exists already")
            try:
                for statement in table.creation():
                    await unit.execute(statement)
            except (asyncpg.UndefinedObjectError, asyncpg.InvalidParameterValueError):
                if not table.tablespace:
                    raise
                raise InvalidOptionError("the engine option tablespace names none of this server") from None

    async def _names(self) -> list[str]:
        if self._joined() is not None:
            async with self._unit_of_work() as unit:
                rows = await unit.fetch(self._catalogue.names)
        else:
            try:
                rows = await self._fetch_rows(self._catalogue.names)
            except asyncpg.UndefinedTableError:
                rows = []
        return [row["name"] for row in rows]

    async def _drop(self, name: str) -> None:
        async with self._unit_of_work() as unit:
            with suppress(asyncpg.UndefinedTableError):
                if await unit.execute(self._catalogue.removal, name):
                    unit.has_removed = True
                    return
            raise CollectionNotFoundError("the collection does not exist")

    async def _indexed(self, collection: BoundCollection, size: int) -> int:
        state = await self._graphs.state(collection.table, collection.queries)
        return size if state.is_ready else 0

    async def _optimize(self, collection: BoundCollection) -> None:
        if self._joined() is not None:
            raise UnsupportedError("a collection cannot be optimized inside a transaction", capability="index_kinds")
        await self._graphs.optimize(collection.table)

    async def _describe(self, name: str) -> BoundCollection:
        if self._joined() is not None:
            async with self._unit_of_work() as unit:
                return await self._found(unit, name)
        return await self._found(self._client, name)

    async def _found(self, queries: Queries, name: str, lock: str = "") -> BoundCollection:
        """Look a collection up, and lock it."""
        rows: list[Any] = []
        with suppress(asyncpg.UndefinedTableError):
            rows = await queries.fetch(self._catalogue.selection(lock), name)
        table = Table.of(self._catalogue, name, rows[0]) if rows else None
        if table is None:
            raise CollectionNotFoundError("the collection does not exist")
        return BoundCollection(table, queries)

    async def _anew(self, collection: BoundCollection, lock: str = "") -> BoundCollection:
        """The same collection as it is now: it may have got its first sparse vectors since it was looked up."""
        found = await self._found(collection.queries, collection.settings.name, lock)
        if found.incarnation != collection.incarnation:
            raise RecreatedError("the collection was created again; try again")
        if found.queries is self._client:
            self._handles[found.settings.name] = found
        return found

    async def _confirm(self, collection: BoundCollection) -> None:
        if collection.queries is self._client:  # in a transaction it was looked up for this very call
            await super()._confirm(collection)

    # --- writing ---

    async def _upsert(self, collection: BoundCollection, batch: Batch) -> None:
        if collection.settings.metric is DistanceMetric.DOT_PRODUCT:
            check_lengths(batch.vectors, _LONGEST, batch.ids)
        # By ids: who writes the same points at the same time waits for us, and not we for them, too.
        codes = [encode_id(point_id, CODE) for point_id in batch.ids]
        order = sorted(range(len(codes)), key=codes.__getitem__)
        if order != list(range(len(codes))):
            codes, batch = [codes[at] for at in order], batch.take(order)
        if batch.sparse is not None or batch.text is not None:
            async with collection.unit.bounded():
                await self._have_slots(collection)
        start = 0
        for part in batch.split(*self._part_size(collection), json_weight=self.json_weight):
            async with collection.unit.part():
                await self._store(collection, codes[start : start + len(part)], part)
            start += len(part)
        collection.touch(len(batch))

    async def _store(self, collection: BoundCollection, codes: list[str], part: Batch) -> None:
        """Write one part. COPY is the fastest way in, but does not replace what is there already."""
        unit, table, metric = collection.unit, collection.table, collection.settings.metric
        if unit.is_repeatable:
            # A point that somebody else has deleted since is seen, and does not stop an insert: asking for it does.
            await unit.execute(table.locking, codes)
        if len(part) > _MERGED and not (await unit.fetch(table.existence, codes))[0]["found"]:
            # Unless someone else creates one of these points at the same time, that is all.
            with suppress(asyncpg.UniqueViolationError):
                async with unit.savepoint():
                    await unit.copy(table.schema, table.engine_name, COLUMNS, rows_to_copy(codes, part, metric))
                    if part.sparse is not None or part.text is not None:
                        rows = slots_to_copy(codes, part)
                        await unit.copy(table.schema, table.slots.engine_name, SLOT_COLUMNS, rows)
                return
        for start in range(0, len(part), _MERGED_AT_ONCE):
            stop = start + _MERGED_AT_ONCE
            few, merged = codes[start:stop], part.slice(start, stop)
            await unit.execute(table.merge, *columns_to_merge(few, merged, metric))
            if table.has_slots:
                slots = encoded(merged.sparse, merged.ids), encoded(merged.text, merged.ids)
                await unit.execute(table.slots.merge, few, *slots)

    async def _have_slots(self, collection: BoundCollection) -> None:
        """Have a table of sparse vectors."""
        if not collection.table.has_slots:
            async with self._alone(collection):
                pass

    @asynccontextmanager
    async def _alone(self, collection: BoundCollection) -> AsyncIterator[None]:
        """Be the collection's only writer, and have a table of sparse vectors; before anything is written.

        Writers who know of none have ended then: they would leave the sparse vectors of points that they replace.
        What is done becomes visible at once, and the call's transaction begins anew; in the user's it stays until the
        commit, and so does the lock.
        """
        unit, is_own = collection.unit, self._joined() is None
        if is_own:  # of two who hold their locks and want to be alone, neither would ever be
            await unit.renew()
        if not (await self._anew(collection, "for update")).table.has_slots:
            await unit.execute(collection.table.slots.creation)
        yield
        if is_own:
            await unit.renew()
        collection.table = (await self._anew(collection, "for share")).table

    async def _write_slot(
        self, collection: BoundCollection, slot: Slot, ids: Sequence[PointId], rows: SparseRows
    ) -> None:
        await self._have_slots(collection)
        unit, table = collection.unit, collection.table
        codes = [encode_id(point_id, CODE) for point_id in ids]
        await unit.execute(table.slots.update(slot), codes, encoded(rows, ids))

    async def _read_definition(self, collection: BoundCollection) -> bytes | None:
        if collection.queries is self._client:  # in a transaction it was looked up for this very call
            collection = await self._found(self._client, collection.settings.name)
        definition = collection.table.definition
        return None if definition is None else definition.encode()

    async def _write_definition(self, collection: BoundCollection, definition: bytes) -> None:
        settings = self._catalogue.row(collection.settings, sparse_index=definition.decode())
        async with self._alone(collection):
            await collection.unit.execute(self._catalogue.definition, *settings)

    async def _delete(self, collection: BoundCollection, ids: list[PointId]) -> None:
        deletion = collection.table.deletion("id = any($1::text[])")
        codes = sorted(encode_id(point_id, CODE) for point_id in ids)
        for start in range(0, len(codes), self.ids_at_once):
            async with collection.unit.part():
                await collection.unit.execute(deletion, codes[start : start + self.ids_at_once])
        collection.touch()

    async def _delete_matching(self, collection: BoundCollection, node: Node) -> int:
        condition = Condition(collection.table.declared)
        where = condition.sql(node)
        collection.touch()
        async with collection.unit.part():
            return await collection.unit.execute(collection.table.deletion(where), *condition.values)

    # --- reading ---

    async def _search(self, collection: BoundCollection, query: Query) -> list[SearchResult]:
        vector, factor = engine_query(query.vector, collection.settings.metric)
        rows = await nearest(collection, query, vector, self._graphs, self._rows)
        return hits_of(rows, query, collection.settings.metric, factor)

    async def _search_sparse(self, collection: BoundCollection, query: SparseQuery) -> Leg:
        if not collection.table.has_slots:
            collection = await self._anew(collection)
            if not collection.table.has_slots:
                return NO_LEG
        table, [vector] = collection.table, encoded(SparseRows.of([query.vector]), ["sparse_query"])
        condition = Condition(table.declared, [vector, query.limit])
        sql = table.slots.search(query.slot, condition.sql(query.filter))
        rows = await self._rows(collection, sql, condition.values)
        scores = np.array([row["score"] for row in rows], np.float64)
        return Leg([decode_id(row["id"], CODE) for row in rows], scores)

    async def _get(
        self, collection: BoundCollection, ids: list[PointId], projection: Projection
    ) -> Iterable[VectorPoint]:
        sql = collection.table.selection("id = any($1::text[])", projection)
        rows = await self._rows(collection, sql, [[encode_id(one, CODE) for one in ids]])
        if rows and rows[0].get("is_outdated"):
            return await self._get(await self._anew(collection), ids, projection)
        return [point_of(row, projection) for row in rows]

    async def _scroll(self, collection: BoundCollection, page: Page) -> ScrollPage:
        last = position_of(page.cursor)
        after = "" if last is None else encode_id(last, CODE)
        condition = Condition(collection.table.declared, [after, page.limit + 1])
        sql = collection.table.selection(f"id > $1::text and {condition.sql(page.filter)}", page.projection)
        rows = await self._rows(collection, f"{sql} order by id limit $2::bigint", condition.values)
        if rows and rows[0].get("is_outdated"):
            return await self._scroll(await self._anew(collection), page)
        points = [point_of(row, page.projection) for row in rows[: page.limit]]
        return ScrollPage(points, cursor_after(points[-1].id) if len(rows) > len(points) else None)

    async def _count(self, collection: BoundCollection, node: Node) -> int:
        condition = Condition(collection.table.declared)
        sql = collection.table.counting(condition.sql(node))
        [row] = await collection.queries.fetch(sql, *condition.values)
        if not row[0]:
            await self._confirm(collection)
        return int(row[0])

    async def _rows(self, collection: BoundCollection, sql: str, values: list[Any]) -> list[asyncpg.Record]:
        """The rows of a query. A deleted collection has none, so where there are none, it is looked up."""
        rows = await collection.queries.fetch(sql, *values)
        if not rows:
            await self._confirm(collection)
        return rows
