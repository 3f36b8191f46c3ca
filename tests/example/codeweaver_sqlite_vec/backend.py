"""The backend: what the template asks, answered with SQL."""

# ruff: noqa: S608 - what stands in the statements are the numbers of our own tables; every value is a parameter

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Final

import apsw
import numpy as np

from codeweaver_backends import (
    BackendCapabilities,
    BackendError,
    CollectionExistsError,
    CollectionNotFoundError,
    DistanceMetric,
    PointId,
    ScrollPage,
    SearchResult,
    VectorPoint,
)
from codeweaver_backends.sdk import (
    BackendTemplate,
    Batch,
    CollectionSettings,
    Node,
    Page,
    Projection,
    Query,
    compile_filter,
    cursor_after,
    decode_id,
    encode_id,
    entries_of,
    position_of,
    power_scaled,
    restored,
    scaled_vectors,
    scorer,
)
from codeweaver_sqlite_vec import errors
from codeweaver_sqlite_vec.client import Client
from codeweaver_sqlite_vec.config import SqliteVecConfig
from codeweaver_sqlite_vec.dialect import SPELLING, Condition, SqlDialect, entry_rows
from codeweaver_sqlite_vec.plugin import CAPABILITIES
from codeweaver_sqlite_vec.schema import CODE, LAYOUT, TABLES, Collection, creation, removal

__all__ = ["SqliteVecBackend"]

_DISTANCES: Final = {
    DistanceMetric.COSINE: "vec_distance_cosine",
    DistanceMetric.EUCLIDEAN: "vec_distance_l2",
    DistanceMetric.MANHATTAN: "vec_distance_l1",
}
_EVERY: Final = Condition("true")


class SqliteVecBackend(BackendTemplate[Collection]):
    """Exact search: every vector that matches is read."""

    name: ClassVar[str] = "sqlite-vec"
    _client: Client

    def __init__(self, config: SqliteVecConfig) -> None:
        super().__init__(config)
        self._folder = config.path

    @property
    def capabilities(self) -> BackendCapabilities:
        return CAPABILITIES

    @property
    def server_version(self) -> str | None:
        return f"SQLite {apsw.sqlite_lib_version()}"

    async def _connect(self) -> None:
        self._client = await Client.open(self._folder)

    async def _disconnect(self) -> None:
        await self._client.close()

    async def _ping(self) -> None:
        await self._names()

    def _translate_error(self, error: Exception) -> BackendError | None:
        return errors.translate(error)

    def _is_stale(self, error: Exception) -> bool:
        return isinstance(error, apsw.SQLError)  # the tables of this number are gone

    # --- collections ---

    async def _create(self, settings: CollectionSettings) -> Collection:
        def create(connection: apsw.Connection) -> Collection:
            if _found(connection, settings.name) is not None:
                raise CollectionExistsError("the collection exists already")
            row = (CODE.encode(settings.name), settings.to_json(LAYOUT))
            connection.execute("insert into collections (name, settings) values (?, ?)", row)
            number = connection.last_insert_rowid()
            connection.execute(creation(number))
            return Collection(settings, number)

        return await self._client.write(create)

    async def _names(self) -> list[str]:
        rows = await self._client.read(lambda connection: list(connection.execute("select name from collections")))
        return [CODE.decode(name) for (name,) in rows]

    async def _drop(self, name: str) -> None:
        def drop(connection: apsw.Connection) -> None:
            found = _found(connection, name)
            if found is None:
                raise CollectionNotFoundError("the collection does not exist")
            connection.execute("delete from collections where number = ?", (found[0],))
            connection.execute(removal(found[0]))

        await self._client.write(drop)

    async def _describe(self, name: str) -> Collection:
        found = await self._client.read(lambda connection: _found(connection, name))
        collection = Collection.read(name, *found) if found else None
        if collection is None:
            raise CollectionNotFoundError("the collection does not exist")
        return collection

    # --- writing ---

    async def _upsert_part(self, collection: Collection, part: Batch) -> None:
        vectors, kept = part.vectors, [""] * len(part)
        if collection.settings.metric is DistanceMetric.COSINE:
            vectors, kept = scaled_vectors(vectors)
        keys = [CODE.encode(encode_id(point_id)) for point_id in part.ids]
        rows = list(zip(keys, (vector.tobytes() for vector in vectors), kept, part.payload_json, strict=True))
        entries, number = entries_of(part.payloads, SPELLING), collection.number

        def write(connection: apsw.Connection) -> None:
            _delete(connection, number, f"key in ({_marks(keys)})", keys)
            insertion = f"insert into points_{number} (key, vector, kept, payload) values (?, ?, ?, ?)"
            connection.executemany(insertion, rows)
            selection = f"select key, point from points_{number} where key in ({_marks(keys)})"
            written = dict(connection.execute(selection, keys))
            for statement, values in entry_rows(number, entries, [written[key] for key in keys]):
                connection.executemany(statement, values)

        await self._client.write(write)

    async def _delete_part(self, collection: Collection, ids: list[PointId]) -> None:
        keys = [CODE.encode(encode_id(point_id)) for point_id in ids]
        condition = f"key in ({_marks(keys)})"
        await self._client.write(lambda connection: _delete(connection, collection.number, condition, keys))

    async def _delete_matching(self, collection: Collection, node: Node) -> int:
        where = _where(collection, node)
        async with self._bounded():
            return await self._client.write(
                lambda connection: _delete(connection, collection.number, where.sql, where.values)
            )

    # --- reading ---

    async def _search(self, collection: Collection, query: Query) -> list[SearchResult]:
        metric, where = collection.settings.metric, _where(collection, query.filter)
        vector = power_scaled(query.vector)[0] if metric is DistanceMetric.COSINE else query.vector
        sql = (
            f"select key, payload, vector, kept, {_DISTANCES[metric]}(vector, ?) as distance"
            f" from points_{collection.number} where {where.sql} order by distance limit ?"
        )
        values = (vector.tobytes(), *where.values, query.limit)
        rows = await self._client.read(lambda connection: list(connection.execute(sql, values)))
        score = scorer(metric)
        points = zip(_points(rows, query.projection), rows, strict=True)
        hits = (SearchResult(one.id, score(row[4]), one.payload, one.vector) for one, row in points)
        return [hit for hit in hits if query.passes(hit.score)]

    async def _get(self, collection: Collection, ids: list[PointId], projection: Projection) -> Iterable[VectorPoint]:
        keys = [CODE.encode(encode_id(point_id)) for point_id in ids]
        sql = f"select key, payload, vector, kept from points_{collection.number} where key in ({_marks(keys)})"
        return list(
            _points(await self._client.read(lambda connection: list(connection.execute(sql, keys))), projection)
        )

    async def _scroll(self, collection: Collection, page: Page) -> ScrollPage:
        last, where = position_of(page.cursor), _where(collection, page.filter)
        after = "" if last is None else CODE.encode(encode_id(last))
        sql = (
            f"select key, payload, vector, kept from points_{collection.number}"
            f" where key > ? and {where.sql} order by key limit ?"
        )
        values = (after, *where.values, page.limit + 1)
        rows = await self._client.read(lambda connection: list(connection.execute(sql, values)))
        points = list(_points(rows[: page.limit], page.projection))
        return ScrollPage(points, cursor_after(points[-1].id) if len(rows) > page.limit else None)

    async def _count(self, collection: Collection, node: Node) -> int:
        where = _where(collection, node)
        sql = f"select count(*) from points_{collection.number} where {where.sql}"
        [(count,)] = await self._client.read(lambda connection: list(connection.execute(sql, where.values)))
        return int(count)


def _found(connection: apsw.Connection, name: str) -> tuple[int, str] | None:
    rows = connection.execute("select number, settings from collections where name = ?", (CODE.encode(name),))
    return next(iter(rows), None)


def _marks(values: list[str]) -> str:
    return ",".join("?" * len(values))


def _where(collection: Collection, node: Node) -> Condition:
    return compile_filter(node, SqlDialect(collection.number)) or _EVERY


def _delete(connection: apsw.Connection, number: int, where: str, values: Any) -> int:
    points = [point for (point,) in connection.execute(f"select point from points_{number} where {where}", values)]
    for table in TABLES:
        connection.executemany(f"delete from {table}_{number} where point = ?", ((point,) for point in points))
    return len(points)


def _points(rows: Iterable[Any], projection: Projection) -> Iterator[VectorPoint]:
    for key, payload, vector, kept, *_ in rows:
        given = restored(np.frombuffer(vector, "<f4"), kept) if projection.vectors else None
        yield VectorPoint(decode_id(CODE.decode(key)), given, projection.payload_of(payload))
