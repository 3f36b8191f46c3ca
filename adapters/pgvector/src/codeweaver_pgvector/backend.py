"""The pgvector backend: one table per collection, searched exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, ClassVar, Final

import asyncpg
import numpy.typing as npt

from codeweaver_backends.adapter import operation
from codeweaver_backends.capabilities import BackendCapabilities
from codeweaver_backends.errors import (
    CollectionExistsError,
    CollectionNotFoundError,
    InvalidInputError,
    InvalidOptionError,
)
from codeweaver_backends.filters import Never, normalise
from codeweaver_backends.types import (
    CollectionInfo,
    DistanceMetric,
    FilterLike,
    Payload,
    PointId,
    ScrollPage,
    SearchFilter,
    SearchResult,
    VectorPoint,
)
from codeweaver_backends.validate import (
    Batch,
    CollectionSettings,
    Query,
    WithPayload,
    validate_batch,
    validate_columns,
    validate_create,
    validate_ids,
    validate_name,
    validate_page,
    validate_query,
    validate_with_payload,
)
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
_CURSOR: Final = "after:"


class PgvectorBackend(Session):
    """Collections in PostgreSQL. A call is one transaction; every search is a scan, and therefore exact."""

    name: ClassVar[str] = "pgvector"

    def __init__(self, config: PgvectorConfig) -> None:
        super().__init__(config)
        self._known: dict[str, Collection] = {}

    @property
    def capabilities(self) -> BackendCapabilities:
        return CAPABILITIES

    # --- collections ---

    @operation
    async def create_collection(
        self, name: str, dimension: int, distance_metric: DistanceMetric = DistanceMetric.COSINE, **kwargs: Any
    ) -> None:
        settings = validate_create(name, dimension, distance_metric, kwargs, self.capabilities)
        await self._prepare()

        async def create(work: Work) -> None:
            row = await work.fetchrow(self._schema.insertion, *self._schema.row(settings))
            if row is None:
                raise CollectionExistsError("the collection exists already")
            for statement in self._schema.collection(settings, row["number"]).creation():
                await work.execute(statement)

        await self._write(create)

    @operation
    async def list_collections(self) -> list[str]:
        async def names(connection: Connection) -> list[str]:
            if not await self._is_prepared(connection):
                return []
            return [row["name"] for row in await connection.fetch(self._schema.names)]

        return await self._read(names)

    @operation
    async def delete_collection(self, name: str) -> None:
        validate_name(name)

        async def remove(work: Work) -> None:
            await self._resolve(work, name)
            if not await work.execute(self._schema.removal, name):
                raise CollectionNotFoundError("the collection does not exist")
            work.removed = True

        await self._write(remove)

    @operation
    async def get_collection_info(self, name: str) -> CollectionInfo:
        async def info(connection: Connection, collection: Collection) -> CollectionInfo:
            settings = collection.settings
            count = await connection.fetchval(collection.counting("true"))
            indexes = dict(settings.payload_indexes)
            return CollectionInfo(name, settings.dimension, settings.metric, count, None, indexes)

        return await self._read_collection(name, info)

    # --- writing ---

    @operation
    async def upsert_vectors(self, collection_name: str, vectors: list[VectorPoint]) -> None:
        points = list(vectors) if isinstance(vectors, Iterator) else vectors
        await self._upsert(collection_name, lambda settings: validate_batch(points, settings, self.capabilities))

    @operation
    async def upsert_batch(
        self,
        collection_name: str,
        ids: Sequence[PointId],
        vectors: npt.NDArray[Any],
        payloads: Sequence[Payload | None] | None = None,
    ) -> None:
        given = list(ids) if isinstance(ids, Iterator) else ids
        await self._upsert(
            collection_name, lambda settings: validate_columns(given, vectors, payloads, settings, self.capabilities)
        )

    async def _upsert(self, name: str, validated: Callable[[CollectionSettings], Batch]) -> None:
        validate_name(name)

        async def upsert(work: Work) -> None:
            collection = await self._resolve(work, name, lock=True)
            batch = validated(collection.settings)
            check_lengths(batch, collection.settings.metric)
            work.ids = batch.ids
            size = _CHUNK_BYTES // (4 * collection.settings.dimension)
            for chunk in _in_order(batch).chunks(max(1, min(_CHUNK_ROWS, size))):
                await self._store(work, collection, chunk)

        await self._write(upsert)

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

    @operation
    async def delete_vectors(self, collection_name: str, ids: list[str | int]) -> None:
        validate_name(collection_name)
        given = list(ids) if isinstance(ids, Iterator) else ids

        async def delete(work: Work) -> None:
            collection = await self._resolve(work, collection_name, lock=True)
            work.ids = validate_ids(given)
            codes = sorted(encode_id(point_id) for point_id in work.ids)
            for start in range(0, len(codes), _DELETED):
                await work.execute(collection.deletion("id = any($1::text[])"), codes[start : start + _DELETED])

        await self._write(delete)

    @operation
    async def delete_by_filter(self, collection_name: str, search_filter: FilterLike) -> int:
        validate_name(collection_name)

        async def delete(work: Work) -> int:
            collection = await self._resolve(work, collection_name, lock=True)
            condition = Condition(collection.declared)
            where = condition.sql(normalise(search_filter, self.capabilities))
            return await work.execute(collection.deletion(where), *condition.values)

        return await self._write(delete)

    # --- reading ---

    @operation
    async def search_vectors(
        self,
        collection_name: str,
        query_vector: list[float],
        limit: int = 10,
        search_filter: SearchFilter | None = None,
        score_threshold: float | None = None,
        **kwargs: Any,
    ) -> list[SearchResult]:
        async def search(connection: Connection, collection: Collection) -> list[SearchResult]:
            settings = collection.settings
            query = validate_query(
                query_vector, limit, search_filter, score_threshold, kwargs, settings, self.capabilities
            )
            if not query.limit or isinstance(query.node, Never):
                return []
            vector, factor = engine_query(query.vector, settings.metric)
            condition = Condition(collection.declared, [vector, query.limit, collection.number])
            where = condition.sql(query.node)
            sql = collection.search(where, with_payload=bool(query.with_payload), with_vectors=query.with_vectors)
            return _results(await connection.fetch(sql, *condition.values), query, settings.metric, factor)

        # What is known of the collection saves looking it up; an answer that this can be to blame for is not trusted.
        known, found = self._known.get(validate_name(collection_name)), None
        if known is not None:
            with suppress(InvalidInputError, asyncpg.UndefinedTableError):
                found = await self._read(lambda connection: search(connection, known))
                if found:
                    return found
            self._known.pop(collection_name, None)

        async def search_again(connection: Connection, collection: Collection) -> list[SearchResult]:
            self._known[collection_name] = collection
            return found if found is not None and collection == known else await search(connection, collection)

        return await self._read_collection(collection_name, search_again)

    @operation
    async def get_vectors(
        self,
        collection_name: str,
        ids: Sequence[PointId],
        *,
        with_payload: bool | Sequence[str] = True,
        with_vectors: bool = True,
    ) -> list[VectorPoint]:
        given = list(ids) if isinstance(ids, Iterator) else ids

        async def get(connection: Connection, collection: Collection) -> list[VectorPoint]:
            wanted, codes = validate_with_payload(with_payload), [encode_id(one) for one in validate_ids(given)]
            sql = collection.selection("id = any($1::text[])", with_payload=bool(wanted), with_vectors=with_vectors)
            found = {row["id"]: row for row in await connection.fetch(sql, codes)}
            return [_point(found[code], wanted) for code in codes if code in found]

        return await self._read_collection(collection_name, get)

    @operation
    async def scroll_vectors(
        self,
        collection_name: str,
        *,
        cursor: str | None = None,
        limit: int = 256,
        search_filter: FilterLike | None = None,
        with_payload: bool | Sequence[str] = True,
        with_vectors: bool = False,
    ) -> ScrollPage:
        async def scroll(connection: Connection, collection: Collection) -> ScrollPage:
            page = validate_page(cursor, limit, search_filter, with_payload, with_vectors, self.capabilities)
            condition = Condition(collection.declared, [_position(page.cursor), page.limit + 1])
            where = f"id > $1::text and {condition.sql(page.node)}"
            sql = collection.selection(where, with_payload=bool(page.with_payload), with_vectors=page.with_vectors)
            rows = await connection.fetch(f"{sql} order by id limit $2::bigint", *condition.values)
            shown = rows[: page.limit]
            more = _CURSOR + shown[-1]["id"] if len(rows) > len(shown) else None
            return ScrollPage([_point(row, page.with_payload) for row in shown], more)

        return await self._read_collection(collection_name, scroll)

    @operation
    async def count_vectors(self, collection_name: str, search_filter: FilterLike | None = None) -> int:
        async def count(connection: Connection, collection: Collection) -> int:
            condition = Condition(collection.declared)
            where = condition.sql(normalise(search_filter, self.capabilities))
            return int(await connection.fetchval(collection.counting(where), *condition.values))

        return await self._read_collection(collection_name, count)


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


def _position(cursor: str | None) -> str:
    """The code of the id after which a page begins."""
    if cursor is None:
        return ""
    code = cursor.removeprefix(_CURSOR)
    if code != cursor:
        with suppress(ValueError):
            if encode_id(decode_id(code)) == code:
                return code
    raise InvalidOptionError("cursor must be None or what the last page gave")
