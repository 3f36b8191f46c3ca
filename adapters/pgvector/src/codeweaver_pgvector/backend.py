"""The pgvector backend: one table per collection, searched exactly."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar, Final, TypeVar

import asyncpg

from codeweaver_backends.capabilities import BackendCapabilities
from codeweaver_backends.errors import CollectionExistsError, CollectionNotFoundError, InvalidInputError
from codeweaver_backends.sdk.cursors import cursor_after, position_of
from codeweaver_backends.sdk.filters.tree import Node
from codeweaver_backends.sdk.requests import Batch, CollectionSettings, Page, Query, WithPayload
from codeweaver_backends.sdk.template import Access, BackendTemplate
from codeweaver_backends.types import DistanceMetric, PointId, ScrollPage, SearchResult, VectorPoint
from codeweaver_pgvector.config import PgvectorConfig
from codeweaver_pgvector.convert import (
    COLUMNS,
    check_lengths,
    columns_to_merge,
    decode_id,
    encode_id,
    engine_query,
    payload_of,
    rows_to_copy,
    score_of,
)
from codeweaver_pgvector.filters import Condition
from codeweaver_pgvector.plugin import CAPABILITIES
from codeweaver_pgvector.server import Connection
from codeweaver_pgvector.session import Session, Work
from codeweaver_pgvector.tables import Collection

__all__ = ["PgvectorBackend"]

_CHUNK_ROWS: Final = 10_000
_CHUNK_BYTES: Final = 32 * 2**20
"""What is written within one timeout, the vectors counted."""
_MERGED: Final = 64
"""So few points are not worth a COPY."""
_PIECE: Final = 1_000
"""Points that are merged by one statement."""
_DELETED: Final = 10_000
"""Points that are deleted by one statement."""


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Reached:
    """A collection, as a call has looked it up on its connection."""

    collection: Collection
    work: Work

    @property
    def settings(self) -> CollectionSettings:
        """What the collection was created with."""
        return self.collection.settings

    async def fetch(self, sql: str, *values: Any) -> list[asyncpg.Record]:
        """Run a query; who reads bounds its time."""
        rows: list[asyncpg.Record] = await self.work.connection.fetch(sql, *values)
        return rows


class PgvectorBackend(BackendTemplate[Reached], Session):
    """Collections in PostgreSQL. A call is one transaction; every search is a scan, and therefore exact."""

    name: ClassVar[str] = "pgvector"

    def __init__(self, config: PgvectorConfig) -> None:
        super().__init__(config)
        self._known: dict[str, Collection] = {}

    @property
    def capabilities(self) -> BackendCapabilities:
        return CAPABILITIES

    async def _on(self, name: str, work: Callable[[Reached], Awaitable[T]], access: Access) -> T:
        if access is Access.WRITE:
            return await self._write_collection(name, work)

        async def read(connection: Connection, collection: Collection) -> T:
            return await work(Reached(collection, Work(connection, self.config.timeout)))

        if access is Access.READ:
            return await self._read_collection(name, read)
        # What is known of the collection saves looking it up; an answer that this can be to blame for is not trusted.
        known, found = self._known.get(name), None
        if known is not None:
            with suppress(InvalidInputError, asyncpg.UndefinedTableError):
                found = await self._read(lambda connection: read(connection, known))
                if found:
                    return found
            self._known.pop(name, None)

        async def read_again(connection: Connection, collection: Collection) -> T:
            self._known[name] = collection
            return found if found is not None and collection == known else await read(connection, collection)

        return await self._read_collection(name, read_again)

    async def _write_collection(self, name: str, body: Callable[[Reached], Awaitable[T]]) -> T:
        async def write(work: Work) -> T:
            return await body(Reached(await self._resolve(work, name, lock=True), work))

        return await self._write(write)

    async def _confirm(self, collection: Reached) -> None:
        """It was looked up for this very call."""

    # --- collections ---

    async def _create(self, settings: CollectionSettings) -> None:
        await self._prepare()

        async def create(work: Work) -> None:
            row = await work.fetchrow(self._schema.insertion, *self._schema.row(settings))
            if row is None:
                raise CollectionExistsError("the collection exists already")
            for statement in self._schema.collection(settings, row["number"]).creation():
                await work.execute(statement)

        await self._write(create)

    async def _names(self) -> list[str]:
        async def names(connection: Connection) -> list[str]:
            if not await self._is_prepared(connection):
                return []
            return [row["name"] for row in await connection.fetch(self._schema.names)]

        return await self._read(names)

    async def _drop(self, name: str) -> None:
        async def remove(work: Work) -> None:
            await self._resolve(work, name)
            if not await work.execute(self._schema.removal, name):
                raise CollectionNotFoundError("the collection does not exist")
            work.removed = True

        await self._write(remove)

    # --- writing ---

    async def _upsert(self, collection: Reached, batch: Batch) -> None:
        settings, work = collection.settings, collection.work
        check_lengths(batch, settings.metric)
        work.ids = batch.ids
        size = _CHUNK_BYTES // (4 * settings.dimension)
        for chunk in _in_order(batch).chunks(max(1, min(_CHUNK_ROWS, size))):
            await self._store(work, collection.collection, chunk)

    async def _store(self, work: Work, collection: Collection, chunk: Batch) -> None:
        """Write one chunk. COPY is the fastest way in, but does not replace what is there already."""
        metric = collection.settings.metric
        if work.is_repeatable:
            # A point that somebody else has deleted since is seen, and does not stop an insert: asking for it does.
            await work.execute(collection.locking, [encode_id(point_id) for point_id in chunk.ids])
        if len(chunk) > _MERGED and not await self._exists(work, collection, chunk):
            # Unless someone else creates one of these points at the same time, that is all.
            with suppress(asyncpg.UniqueViolationError):
                async with work.undoable():
                    await work.copy(collection.schema, collection.table_name, COLUMNS, rows_to_copy(chunk, metric))
                return
        for piece in chunk.chunks(_PIECE):
            await work.execute(collection.merge, *columns_to_merge(piece, metric))

    async def _exists(self, work: Work, collection: Collection, chunk: Batch) -> bool:
        row = await work.fetchrow(collection.existence, [encode_id(point_id) for point_id in chunk.ids])
        return row is not None and bool(row["found"])

    async def _delete(self, collection: Reached, ids: list[PointId]) -> None:
        collection.work.ids = ids
        deletion = collection.collection.deletion("id = any($1::text[])")
        codes = sorted(encode_id(point_id) for point_id in ids)
        for start in range(0, len(codes), _DELETED):
            await collection.work.execute(deletion, codes[start : start + _DELETED])

    async def _delete_matching(self, collection: Reached, node: Node) -> int:
        condition = Condition(collection.collection.declared)
        where = condition.sql(node)
        return await collection.work.execute(collection.collection.deletion(where), *condition.values)

    # --- reading ---

    async def _search(self, collection: Reached, query: Query) -> list[SearchResult]:
        table, metric = collection.collection, collection.settings.metric
        vector, factor = engine_query(query.vector, metric)
        condition = Condition(table.declared, [vector, query.limit, table.number])
        where = condition.sql(query.node)
        sql = table.search(where, with_payload=bool(query.with_payload), with_vectors=query.with_vectors)
        return _results(await collection.fetch(sql, *condition.values), query, metric, factor)

    async def _get(
        self, collection: Reached, ids: list[PointId], with_payload: WithPayload, with_vectors: bool
    ) -> list[VectorPoint]:
        sql = collection.collection.selection(
            "id = any($1::text[])", with_payload=bool(with_payload), with_vectors=with_vectors
        )
        rows = await collection.fetch(sql, [encode_id(one) for one in ids])
        return [_point(row, with_payload) for row in rows]

    async def _scroll(self, collection: Reached, page: Page) -> ScrollPage:
        last = position_of(page.cursor)
        after = "" if last is None else encode_id(last)
        condition = Condition(collection.collection.declared, [after, page.limit + 1])
        sql = collection.collection.selection(
            f"id > $1::text and {condition.sql(page.node)}",
            with_payload=bool(page.with_payload),
            with_vectors=page.with_vectors,
        )
        rows = await collection.fetch(f"{sql} order by id limit $2::bigint", *condition.values)
        points = [_point(row, page.with_payload) for row in rows[: page.limit]]
        return ScrollPage(points, cursor_after(points[-1].id) if len(rows) > len(points) else None)

    async def _count(self, collection: Reached, node: Node) -> int:
        condition = Condition(collection.collection.declared)
        sql = collection.collection.counting(condition.sql(node))
        return int((await collection.fetch(sql, *condition.values))[0][0])


def _in_order(batch: Batch) -> Batch:
    """The batch by ids: who writes the same points at the same time waits for us, and not we for them, too."""
    order = sorted(range(len(batch)), key=list(map(encode_id, batch.ids)).__getitem__)
    return Batch(
        [batch.ids[at] for at in order],
        batch.vectors[order],
        [batch.payloads[at] for at in order],
        [batch.documents[at] for at in order],
    )


def _results(rows: list[asyncpg.Record], query: Query, metric: DistanceMetric, factor: float) -> list[SearchResult]:
    results = []
    for row in rows:
        score = score_of(metric, row["distance"], factor)
        if query.threshold is not None and score < query.threshold:
            break
        payload = payload_of(row["payload"], query.with_payload) if query.with_payload else {}
        results.append(SearchResult(decode_id(row["id"]), score, payload, row["vector"]))
    return results


def _point(row: asyncpg.Record, with_payload: WithPayload) -> VectorPoint:
    payload = payload_of(row["payload"], with_payload) if with_payload else {}
    return VectorPoint(decode_id(row["id"]), row["vector"] or [], payload)
