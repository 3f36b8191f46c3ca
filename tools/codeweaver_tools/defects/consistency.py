"""Consistency: writes that come late, twice, half, or only for oneself."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from codeweaver_backends.memory import MemoryStore
from codeweaver_backends.memory.config import MemoryConfig
from codeweaver_backends.sdk.lifetime import operation
from codeweaver_backends.sdk.payloads import decode_payload, encode_payload
from codeweaver_backends.sdk.requests import Batch, Query
from codeweaver_backends.sdk.validate import validate_ids
from codeweaver_backends.types import CollectionInfo, PointId, SearchResult
from codeweaver_tools.defects.registry import plant
from codeweaver_tools.defects.rig import Collection, Rig


@plant("con-read-your-writes", "A write is applied when the next one arrives.")
class _LateWrites(Rig):
    def __init__(self, config: MemoryConfig) -> None:
        super().__init__(config)
        self._pending: Callable[[], None] = lambda: None

    def _write_all(self, collection: Collection, batch: Batch) -> None:
        self._pending()
        self._pending = lambda: Rig._write_all(self, collection, batch)


@plant("con-deletes-late", "A delete is applied when the next write arrives.")
class _LateDeletes(Rig):
    def __init__(self, config: MemoryConfig) -> None:
        super().__init__(config)
        self._doomed: list[tuple[Collection, Any]] = []

    def _write_all(self, collection: Collection, batch: Batch) -> None:
        for where, point_id in self._doomed:
            where.points.pop(point_id, None)
        self._doomed.clear()
        super()._write_all(collection, batch)

    @operation
    async def delete_vectors(self, collection_name: str, ids: Sequence[PointId]) -> None:
        collection = self._collection(collection_name)
        self._doomed += [(collection, one) for one in validate_ids(ids)]


@plant("con-filters-late", "What filters see lags one write behind; search without one is up to date.")
class _LateFilters(Rig):
    def _write_all(self, collection: Collection, batch: Batch) -> None:
        old = {one: collection.points[one].payload for one in batch.ids if one in collection.points}
        for point in collection.points.values():
            point.payload = decode_payload(point.payload_json)
        super()._write_all(collection, batch)
        for point_id, payload in old.items():
            collection.points[point_id].payload = payload


@plant("con-update-stale", "Results are cached by query, and an overwrite does not empty the cache.")
class _StaleResults(Rig):
    def __init__(self, config: MemoryConfig) -> None:
        super().__init__(config)
        self._cache: dict[Any, list[SearchResult]] = {}

    def answer(self, collection: Collection, query: Query) -> list[SearchResult]:
        key = (
            collection.settings.name,
            len(collection.points),
            query.vector.tobytes(),
            repr(dataclasses.replace(query, vector=np.empty(0, np.float32))),
        )
        return list(self._cache.setdefault(key, super().answer(collection, query)))


@plant("con-not-durable", "Points live in the instance that wrote them.")
class _NotDurable(Rig):
    def __init__(self, config: MemoryConfig) -> None:
        super().__init__(config.model_copy(update={"store": MemoryStore()}))


@plant("con-last-write-lost", "The last batch before closing is lost.")
class _LastLost(Rig):
    _last: tuple[Collection, list[Any]] | None = None

    def _write_all(self, collection: Collection, batch: Batch) -> None:
        self._last = collection, [one for one in batch.ids if one not in collection.points]
        super()._write_all(collection, batch)

    async def _disconnect(self) -> None:
        if self._last:
            for one in self._last[1]:
                self._last[0].points.pop(one, None)


@plant("con-deletes-not-durable", "Deleted points are back after a restart.")
class _Undeleted(Rig):
    def __init__(self, config: MemoryConfig) -> None:
        super().__init__(config)
        self._gone: list[tuple[Collection, Any]] = []

    async def _delete(self, collection: Collection, ids: list[PointId]) -> None:
        self._gone += [(collection, collection.points[one]) for one in ids if one in collection.points]
        await super()._delete(collection, ids)

    async def _disconnect(self) -> None:
        for collection, point in self._gone:
            collection.points.setdefault(point.id, point)


@plant("con-lost-update", "A write reads the whole collection, pauses, and writes it back: concurrent writes are lost.")
class _LostUpdate(Rig):
    async def _upsert(self, collection: Collection, batch: Batch) -> None:
        before = dict(collection.points)
        await asyncio.sleep(0)
        collection.points = before
        self._write_all(collection, batch)


@plant("con-insert-twice", "Look up, pause, insert: concurrent writers of a new id leave it twice.")
class _InsertTwice(Rig):
    async def _upsert(self, collection: Collection, batch: Batch) -> None:
        points: dict[Any, Any] = collection.points
        new = [one for one in batch.ids if one not in points]
        await asyncio.sleep(0)
        for one in new:
            if one in points:
                points[object()] = points.pop(one)
        self._write_all(collection, batch)


@plant("con-iterates-live", "A search iterates the live points with pauses in between, and a write breaks it.")
class _IteratesLive(Rig):
    async def search_vectors(self, collection_name: str, *args: Any, **kwargs: Any) -> list[SearchResult]:
        results = await super().search_vectors(collection_name, *args, **kwargs)
        before = self._collections[collection_name].serial
        await asyncio.sleep(0.002)
        collection = self._collections.get(collection_name)
        if collection and collection.serial != before:
            raise RuntimeError("dictionary changed size during iteration")
        return results


@plant("con-delete-insert", "Replacing is deleting, a pause, and inserting, although replace_is_atomic is declared.")
class _DeleteInsert(Rig):
    async def _upsert(self, collection: Collection, batch: Batch) -> None:
        for one in batch.ids:
            collection.points.pop(one, None)
        await asyncio.sleep(0.001)
        self._write_all(collection, batch)


@plant("con-half-written", "A replaced point shows a mixture of old and new payload while it is written.")
class _HalfWritten(Rig):
    async def _upsert(self, collection: Collection, batch: Batch) -> None:
        half = [row for row, one in enumerate(batch.ids) if one in collection.points]
        if half:
            mixed = [
                {**collection.points[batch.ids[row]].payload, **dict(list(batch.payloads[row].items())[:1])}
                for row in half
            ]
            old = batch.take(half)
            self._write_all(
                collection,
                dataclasses.replace(old, payload_json=[encode_payload(one, self.capabilities.limits) for one in mixed]),
            )
            await asyncio.sleep(0.001)
        self._write_all(collection, batch)


@plant("con-count-cached", "The count is read once and believed until the collection is deleted.")
class _CountCached(Rig):
    def __init__(self, config: MemoryConfig) -> None:
        super().__init__(config)
        self._counts: dict[str, int] = {}

    @operation
    async def get_collection_info(self, name: str) -> CollectionInfo:
        info = await super().get_collection_info(name)
        info.vector_count = self._counts.setdefault(name, info.vector_count)
        return info


@plant("con-every-tenth-lost", "Every tenth write of a single point is acknowledged and lost.")
class _EveryTenthLost(Rig):
    _writes = 0

    def _write_all(self, collection: Collection, batch: Batch) -> None:
        if len(batch) == 1:
            self._writes += 1
            batch = batch.take(range(int(self._writes % 10 > 0)))
        super()._write_all(collection, batch)
