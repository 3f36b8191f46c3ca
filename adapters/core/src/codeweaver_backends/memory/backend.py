"""An exact vector store in a dict. Everything a backend must do, and nothing else."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import repeat
from typing import ClassVar

import numpy as np

from codeweaver_backends.capabilities import BackendCapabilities
from codeweaver_backends.errors import CollectionExistsError, CollectionNotFoundError, InvalidOptionError
from codeweaver_backends.memory.config import MemoryConfig
from codeweaver_backends.memory.plugin import CAPABILITIES
from codeweaver_backends.memory.store import Collection, MemoryStore, Point, Snapshot
from codeweaver_backends.metrics import scores
from codeweaver_backends.sdk.cursors import FOREIGN_CURSOR
from codeweaver_backends.sdk.filters.tree import Node
from codeweaver_backends.sdk.hybrid.fusion import Leg
from codeweaver_backends.sdk.hybrid.vectors import EMPTY_ROW, SparseRows
from codeweaver_backends.sdk.payloads import decode_payload
from codeweaver_backends.sdk.requests import Batch, CollectionSettings, Page, Projection, Query, Slot, SparseQuery
from codeweaver_backends.sdk.template import BackendTemplate
from codeweaver_backends.types import PointId, ScrollPage, SearchResult, VectorPoint

__all__ = ["MemoryBackend"]


class MemoryBackend(BackendTemplate[Collection]):
    """Exact search by numpy; a call never awaits in its middle, so each is atomic, a commit too."""

    name: ClassVar[str] = "memory"
    any_loop: ClassVar[bool] = True
    remembers_handles: ClassVar[bool] = False
    _never_suspends: ClassVar[bool] = True
    _holds_nothing = True

    def __init__(self, config: MemoryConfig) -> None:
        super().__init__(config)
        store = config.store if config.store is not None else MemoryStore()
        if not isinstance(store, MemoryStore):
            raise InvalidOptionError(f"store must be a MemoryStore, not a {type(store).__name__}")
        self._store = store

    @property
    def capabilities(self) -> BackendCapabilities:
        return CAPABILITIES

    @property
    def _collections(self) -> dict[str, Collection]:
        """Those of the transaction that the call is in, or else the store's."""
        transaction = self._joined()
        return transaction.handle.collections if transaction else self._store.collections

    async def _ping(self) -> None:
        await asyncio.sleep(0)

    # --- transactions ---

    async def _begin(self) -> Snapshot:
        return Snapshot(self._store)

    async def _commit(self, handle: Snapshot) -> None:
        handle.commit()

    async def _rollback(self, handle: Snapshot) -> None:
        """Nothing was written."""

    # --- collections ---

    async def _create(self, settings: CollectionSettings) -> None:
        if settings.name in self._collections:
            raise CollectionExistsError("the collection exists already")
        self._collections[settings.name] = Collection(settings)

    async def _names(self) -> list[str]:
        return list(self._collections)

    async def _drop(self, name: str) -> None:
        await self._describe(name)
        del self._collections[name]

    async def _describe(self, name: str) -> Collection:
        try:
            return self._collections[name]
        except KeyError:
            raise CollectionNotFoundError("the collection does not exist") from None

    async def _indexed(self, collection: Collection, size: int) -> int:
        return 0

    # --- writing ---

    async def _upsert(self, collection: Collection, batch: Batch) -> None:
        self._write_all(collection, batch)

    def _write_all(self, collection: Collection, batch: Batch) -> None:
        slots = (repeat(EMPTY_ROW) if column is None else column for column in (batch.sparse, batch.text))
        for point_id, vector, payload_json, sparse, text in zip(
            batch.ids, batch.vectors, batch.payload_json, *slots, strict=False
        ):
            known = collection.points.get(point_id)
            collection.serial += known is None
            serial = known.serial if known else collection.serial
            payload = decode_payload(payload_json)
            collection.points[point_id] = Point(
                point_id, vector.copy(), payload_json, payload, serial, sparse.copy(), text.copy()
            )

    async def _write_slot(self, collection: Collection, slot: Slot, ids: Sequence[PointId], rows: SparseRows) -> None:
        for point_id, row in zip(ids, rows, strict=True):
            point = collection.points.get(point_id)
            if point is not None:
                is_text = slot is Slot.TEXT
                slots = (point.sparse, row.copy()) if is_text else (row.copy(), point.text)
                collection.points[point_id] = replace(point, sparse=slots[0], text=slots[1])

    async def _read_definition(self, collection: Collection) -> bytes | None:
        return collection.definition

    async def _write_definition(self, collection: Collection, definition: bytes) -> None:
        collection.definition = definition

    async def _delete(self, collection: Collection, ids: list[PointId]) -> None:
        for point_id in ids:
            collection.points.pop(point_id, None)

    async def _delete_matching(self, collection: Collection, node: Node) -> int:
        found = collection.matching(node)
        for point in found:
            del collection.points[point.id]
        return len(found)

    # --- reading ---

    async def _search(self, collection: Collection, query: Query) -> list[SearchResult]:
        found = collection.matching(query.filter)
        if not found:
            return []
        score = scores(collection.settings.metric, query.vector, np.stack([point.vector for point in found]))
        best = [int(row) for row in np.argsort(-score, kind="stable")[: query.limit]]
        return [_hit(found[row], float(score[row]), query.projection) for row in best if query.passes(score[row])]

    async def _search_sparse(self, collection: Collection, query: SparseQuery) -> Leg:
        found = collection.matching(query.filter)
        score = SparseRows.of(point.slot(query.slot) for point in found).scores(query.vector)
        best = np.argsort(-score, kind="stable")[: query.limit]
        shared = best[score[best] > 0]
        return Leg([found[row].id for row in shared.tolist()], score[shared])

    async def _get(self, collection: Collection, ids: list[PointId], projection: Projection) -> Iterable[VectorPoint]:
        return _points((collection.points[one] for one in ids if one in collection.points), projection)

    async def _scroll(self, collection: Collection, page: Page) -> ScrollPage:
        if page.cursor is not None and not re.fullmatch("[0-9]{1,19}", page.cursor):
            raise InvalidOptionError(FOREIGN_CURSOR)
        after = int(page.cursor or 0)
        found = sorted(
            (point for point in collection.matching(page.filter) if point.serial > after),
            key=lambda point: point.serial,
        )
        shown = found[: page.limit]
        more = str(shown[-1].serial) if len(found) > len(shown) else None
        return ScrollPage(list(_points(shown, page.projection)), more)

    async def _count(self, collection: Collection, node: Node) -> int:
        return len(collection.matching(node))


def _hit(point: Point, score: float, projection: Projection) -> SearchResult:
    payload = projection.payload_of(point.payload_json)
    return SearchResult(point.id, score, payload, point.vector.tolist() if projection.vectors else None)


def _points(points: Iterable[Point], projection: Projection) -> Iterator[VectorPoint]:
    for point in points:
        payload = projection.payload_of(point.payload_json)
        if projection.vectors:
            yield VectorPoint(point.id, point.vector.tolist(), payload, point.sparse.as_dict() or None)
        else:
            yield VectorPoint(point.id, None, payload)
