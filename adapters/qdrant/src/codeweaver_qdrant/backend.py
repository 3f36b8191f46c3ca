"""What the two backends have in common: the template's questions, put to a client in Qdrant's terms."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol, TypeVar

import numpy as np

from codeweaver_backends.errors import BackendError, InvalidOptionError
from codeweaver_backends.sdk import (
    FOREIGN_CURSOR,
    INT64_MAX,
    NO_LEG,
    BackendTemplate,
    Batch,
    CollectionSettings,
    Leg,
    Node,
    Page,
    Projection,
    Query,
    Slot,
    SparseQuery,
    SparseRows,
)
from codeweaver_backends.types import PointId, ScrollPage, SearchResult, VectorPoint
from codeweaver_qdrant.dialect import QdrantDialect
from codeweaver_qdrant.errors import is_missing_point, translate_error
from codeweaver_qdrant.schema import (
    Collection,
    EngineId,
    Nearest,
    engine_id,
    given_id,
    hits_of,
    points_of,
    query_vector,
)

__all__ = ["BaseQdrantBackend", "Client"]

C = TypeVar("C", bound=Collection)

_IDS_AT_ONCE: Final = 1_000
_CURSOR: Final = re.compile(r"qdrant-(?:(0|[1-9][0-9]{0,18})|([0-9a-f]{32}))")


class Client(Protocol[C]):
    """One way to Qdrant. Conditions are of its own dialect; points are given as the engine's client gives them."""

    @property
    def dialect(self) -> QdrantDialect:
        """Makes the conditions."""

    async def ping(self) -> None:
        """Fail if the engine does not answer, or does not accept us."""

    async def close(self) -> None:
        """Let go of everything."""

    async def names(self) -> list[str]:
        """The names of the collections that are ours."""

    async def describe(self, name: str) -> C:
        """Look a collection up. Raises ``CollectionNotFoundError``."""

    async def create(self, settings: CollectionSettings) -> C:
        """Create a collection. Raises ``CollectionExistsError``."""

    async def drop(self, name: str) -> None:
        """Delete a collection. Raises ``CollectionNotFoundError``."""

    async def upsert(self, collection: C, part: Batch) -> None:
        """Write or replace points."""

    async def need_slots(self, collection: C) -> None:
        """See to it that the collection has the sparse vectors, or fail."""

    async def write_slot(self, collection: C, slot: Slot, ids: list[EngineId], rows: SparseRows) -> None:
        """Replace a sparse vector of points. Fails, with some of them written, if one does not exist."""

    async def read_definition(self, collection: C) -> bytes | None:
        """The definition of the sparse index as it is now."""

    async def write_definition(self, collection: C, definition: bytes) -> None:
        """Store the definition of the sparse index."""

    async def delete(self, collection: C, ids: list[EngineId]) -> None:
        """Delete points."""

    async def delete_matching(self, collection: C, condition: Any) -> int:
        """Delete the points that match, and tell how many."""

    async def count(self, collection: C, condition: Any) -> int:
        """How many points match."""

    async def search(self, collection: C, nearest: Nearest) -> Sequence[Any]:
        """The nearest points that match."""

    async def retrieve(self, collection: C, ids: list[EngineId], projection: Projection) -> Sequence[Any]:
        """The points of these ids."""

    async def scroll(
        self, collection: C, start: EngineId | None, page: Page, condition: Any
    ) -> tuple[Sequence[Any], Any]:
        """A page in the order of the engine's ids, and the id that the next one starts with."""


class BaseQdrantBackend(BackendTemplate[C]):
    """All but the connecting. A subclass sets ``_client``."""

    json_weight = 3.0
    ids_at_once = _IDS_AT_ONCE

    _client: Client[C]

    async def _disconnect(self) -> None:
        await self._client.close()

    async def _ping(self) -> None:
        await self._client.ping()

    def _translate_error(self, error: Exception) -> BackendError | None:
        return translate_error(error)

    # --- collections ---

    async def _create(self, settings: CollectionSettings) -> C:
        return await self._client.create(settings)

    async def _names(self) -> list[str]:
        return await self._client.names()

    async def _drop(self, name: str) -> None:
        await self._client.drop(name)

    async def _describe(self, name: str) -> C:
        return await self._client.describe(name)

    # --- writing ---

    async def _upsert_part(self, collection: C, part: Batch) -> None:
        if part.sparse is not None or part.text is not None:
            await self._client.need_slots(collection)
        await self._client.upsert(collection, part)

    async def _write_slot(self, collection: C, slot: Slot, ids: Sequence[PointId], rows: SparseRows) -> None:
        await self._client.need_slots(collection)
        while ids:
            try:
                await self._client.write_slot(collection, slot, list(map(engine_id, ids)), rows)
                return
            except Exception as error:
                if not is_missing_point(error):
                    raise
            there = {point.id for point in await self._get(collection, list(ids), Projection(payload=False))}
            kept = [row for row, point_id in enumerate(ids) if point_id in there]
            ids, rows = [ids[row] for row in kept], rows.take(kept)

    async def _read_definition(self, collection: C) -> bytes | None:
        return await self._client.read_definition(collection) if collection.has_slots else None

    async def _write_definition(self, collection: C, definition: bytes) -> None:
        await self._client.need_slots(collection)
        await self._client.write_definition(collection, definition)

    async def _delete_part(self, collection: C, ids: list[PointId]) -> None:
        await self._client.delete(collection, list(map(engine_id, ids)))

    async def _delete_matching(self, collection: C, node: Node) -> int:
        async with self._bounded():
            return await self._client.delete_matching(collection, self._client.dialect.filter(node))

    # --- reading ---

    async def _search(self, collection: C, query: Query) -> list[SearchResult]:
        found = await self._client.search(collection, self._asked(collection, query))
        return hits_of(found, query, collection.settings.metric)

    def _asked(self, collection: C, query: Query) -> Nearest:
        metric, condition = collection.settings.metric, self._client.dialect.filter(query.filter)
        return Nearest(metric.value, query_vector(query, metric), query.limit, condition, query.projection)

    async def _search_sparse(self, collection: C, query: SparseQuery) -> Leg:
        if not collection.has_slots:
            return NO_LEG
        condition, wanted = self._client.dialect.filter(query.filter), Projection(payload=False)
        nearest = Nearest(query.slot.value, query.vector, query.limit, condition, wanted)
        found = await self._client.search(collection, nearest)
        return Leg([given_id(one) for one in found], np.array([one.score for one in found], np.float64))

    async def _get(self, collection: C, ids: list[PointId], projection: Projection) -> Iterable[VectorPoint]:
        points: list[VectorPoint] = []
        for start in range(0, len(ids), _IDS_AT_ONCE):
            asked = list(map(engine_id, ids[start : start + _IDS_AT_ONCE]))
            found = await self._client.retrieve(collection, asked, projection)
            points += points_of(found, collection.settings.metric, projection)
        return points

    async def _scroll(self, collection: C, page: Page) -> ScrollPage:
        start, condition = _position(page.cursor), self._client.dialect.filter(page.filter)
        found, following = await self._client.scroll(collection, start, page, condition)
        points = list(points_of(found, collection.settings.metric, page.projection))
        return ScrollPage(points, None if following is None else _cursor(following))

    async def _count(self, collection: C, node: Node) -> int:
        return await self._client.count(collection, self._client.dialect.filter(node))


def _cursor(following: Any) -> str:
    return f"qdrant-{str(following).replace('-', '')}"


def _position(cursor: str | None) -> EngineId | None:
    if cursor is None:
        return None
    match = _CURSOR.fullmatch(cursor)
    if match is None or int(match[1] or 0) > INT64_MAX:
        raise InvalidOptionError(FOREIGN_CURSOR)
    return int(match[1]) if match[1] else match[2]
