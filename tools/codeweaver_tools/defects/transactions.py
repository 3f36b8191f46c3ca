"""Transactions: writes that are seen too early, by the wrong ones or not at all, and rollbacks that are not exact."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from codeweaver_backends.memory.store import Snapshot
from codeweaver_backends.sdk.lifetime import operation
from codeweaver_backends.sdk.requests import Batch, Query
from codeweaver_backends.sdk.transactions import Transaction
from codeweaver_backends.sdk.validate import validate_ids
from codeweaver_backends.types import (
    CollectionInfo,
    DistanceMetric,
    FilterLike,
    PointId,
    ScrollPage,
    SearchResult,
)
from codeweaver_tools.defects.registry import plant
from codeweaver_tools.defects.rig import Collection, Point, Rig

__all__ = ["parts"]


def parts(snapshot: Snapshot) -> Iterator[Snapshot]:
    """A transaction as one for each of its collections."""
    for name in snapshot._origin.keys() | snapshot.collections.keys():
        part = copy.copy(snapshot)
        part._origin = {one: value for one, value in snapshot._origin.items() if one == name}
        part.collections = {one: value for one, value in snapshot.collections.items() if one == name}
        yield part


class _Outside(Rig):
    """Can make a part of a call outside of the transaction that the call is in."""

    _is_outside = False

    def _joined(self) -> Transaction[Snapshot] | None:
        joined = super()._joined()
        return None if self._is_outside else joined

    async def outside(self, method: Any, *args: Any, **kwargs: Any) -> Any:
        """Make a call of the rig's, which never awaits in its middle, outside."""
        self._is_outside = True
        try:
            return await method(self, *args, **kwargs)
        finally:
            self._is_outside = False


# --- claimed, and not there ------------------------------------------------------------------------------------------


@plant("tx-overclaim", "Transactions are claimed, and begin_transaction raises NotImplementedError.")
class _Overclaim(Rig):
    async def begin_transaction(self) -> str:
        raise NotImplementedError


@plant("tx-stub", "begin, commit and rollback return, and do nothing.")
class _Stub(Rig):
    async def begin_transaction(self) -> str:
        return "1"

    async def commit_transaction(self, transaction_id: str) -> None:
        return

    async def rollback_transaction(self, transaction_id: str) -> None:
        return


# --- inside ----------------------------------------------------------------------------------------------------------


@plant("tx-own-search-unseen", "Writes are buffered until the commit: the transaction's own searches do not see them.")
class _OwnUnseen(_Outside):
    async def search_vectors(self, *args: Any, **kwargs: Any) -> list[SearchResult]:
        found: list[SearchResult] = await self.outside(Rig.search_vectors, *args, **kwargs)
        return found


@plant("tx-own-filter-unseen", "Inside a transaction filters see the payloads of before it.")
class _OwnFilterUnseen(Rig):
    def answer(self, collection: Collection, query: Query) -> list[SearchResult]:
        old = self._store.collections.get(collection.settings.name)
        if old is None or old is collection:
            return super().answer(collection, query)
        stale = collection.copy()
        for one, point in stale.points.items():
            if one in old.points:
                payload = old.points[one].payload
                stale.points[one] = Point(one, point.vector, point.payload_json, payload, point.serial)
        return super().answer(stale, query)


@plant("tx-own-count-unseen", "Inside a transaction vector_count is that of before it.")
class _OwnCountUnseen(_Outside):
    async def get_collection_info(self, name: str) -> CollectionInfo:
        info: CollectionInfo = await self.outside(Rig.get_collection_info, name)
        return info


@plant("tx-scroll-outside", "scroll_vectors reads outside of the transaction.")
class _ScrollOutside(_Outside):
    async def scroll_vectors(self, *args: Any, **kwargs: Any) -> ScrollPage:
        page: ScrollPage = await self.outside(Rig.scroll_vectors, *args, **kwargs)
        return page


@plant("tx-delete-by-filter-immediate", "delete_by_filter inside a transaction goes straight in.")
class _DeleteByFilterImmediate(_Outside):
    async def delete_by_filter(self, collection_name: str, search_filter: FilterLike) -> int:
        await self.outside(Rig.delete_by_filter, collection_name, search_filter)
        return await super().delete_by_filter(collection_name, search_filter)


@plant("tx-columnar-immediate", "upsert_batch inside a transaction goes straight in.")
class _ColumnarImmediate(_Outside):
    async def upsert_batch(self, *args: Any, **kwargs: Any) -> None:
        await super().upsert_batch(*args, **kwargs)
        await self.outside(Rig.upsert_batch, *args, **kwargs)


# --- outside, before the commit --------------------------------------------------------------------------------------


@plant("tx-delete-immediate", "Deletes inside a transaction are executed at once, and survive the rollback.")
class _DeleteImmediate(Rig):
    @operation
    async def delete_vectors(self, collection_name: str, ids: Sequence[PointId]) -> None:
        await super().delete_vectors(collection_name, ids)
        for one in validate_ids(ids):
            self._store.collections[collection_name].points.pop(one, None)


@plant("tx-dirty-read-task", "While a transaction is open every task of the instance is in it.")
class _DirtyTask(Rig):
    def _joined(self) -> Transaction[Snapshot] | None:
        return super()._joined() or next(iter(self._transactions.values()), None)


@plant("tx-dirty-read-instance", "Other instances read what a transaction has written and not committed.")
class _DirtyInstance(Rig):
    begun: ClassVar[list[tuple[object, Snapshot]]] = []

    async def _begin(self) -> Snapshot:
        snapshot = await super()._begin()
        self.begun.append((self, snapshot))
        return snapshot

    def answer(self, collection: Collection, query: Query) -> list[SearchResult]:
        for owner, snapshot in self.begun:
            dirty = snapshot.collections.get(collection.settings.name)
            if owner is not self and dirty is not None:
                collection = dirty
        return super().answer(collection, query)

    async def _commit(self, handle: Snapshot) -> None:
        self.begun.clear()
        await super()._commit(handle)

    async def _rollback(self, handle: Snapshot) -> None:
        self.begun.clear()


@plant("tx-create-immediate", "A collection that is created inside a transaction is there for everyone at once.")
class _CreateImmediate(Rig):
    @operation
    async def create_collection(
        self, name: str, dimension: int, distance_metric: DistanceMetric = DistanceMetric.COSINE, **kwargs: Any
    ) -> None:
        await super().create_collection(name, dimension, distance_metric, **kwargs)
        self._store.collections.setdefault(name, self._collections[name].copy())


@plant("tx-drop-immediate", "A collection that is deleted inside a transaction is gone for everyone at once.")
class _DropImmediate(Rig):
    @operation
    async def delete_collection(self, name: str) -> None:
        await super().delete_collection(name)
        self._store.collections.pop(name, None)


# --- the commit ------------------------------------------------------------------------------------------------------


@plant("tx-commit-by-collection", "A commit writes one collection after the other, and readers see it between.")
class _ByCollection(Rig):
    async def _commit(self, handle: Snapshot) -> None:
        for part in parts(handle):
            part.commit()
            await asyncio.sleep(0.001)


@plant("tx-commit-by-half", "A commit writes half of the points, and a moment later the others.")
class _ByHalf(Rig):
    async def _commit(self, handle: Snapshot) -> None:
        before = handle._before
        changed = {name: handle._changed(name) for name in handle.collections if name in before}
        halves = {name: ids[: len(ids) // 2] for name, ids in changed.items()}
        early = copy.copy(handle)
        early._changed = lambda name: halves[name]  # type: ignore[method-assign]
        early.commit()
        await asyncio.sleep(0.002)
        late = copy.copy(handle)
        late._changed = lambda name: changed[name][len(halves[name]) :]  # type: ignore[method-assign]
        late._origin = {name: one for name, one in handle._origin.items() if name in changed}
        late.commit()


@plant("tx-commit-one-collection", "A commit writes one collection and forgets the others.")
class _OneCollection(Rig):
    async def _commit(self, handle: Snapshot) -> None:
        for part in parts(handle):
            before = {name: dict(one.points) for name, one in self._store.collections.items()}
            part.commit()
            if before != {name: one.points for name, one in self._store.collections.items()}:
                return


@plant("tx-commit-deletes-lost", "A commit writes new points and forgets deleted ones.")
class _DeletesLost(Rig):
    async def _commit(self, handle: Snapshot) -> None:
        for name, collection in handle.collections.items():
            for one, point in handle._before.get(name, {}).items():
                collection.points.setdefault(one, point)
        await super()._commit(handle)


# --- the rollback ----------------------------------------------------------------------------------------------------


def touched(snapshot: Snapshot) -> Iterator[tuple[Collection, PointId, Point | None]]:
    """What a transaction has written or deleted, beside the collections of the store."""
    for name, collection in snapshot.collections.items():
        if collection is snapshot._copies.get(name):
            for one in snapshot._changed(name):
                yield snapshot._store.collections[name], one, collection.points.get(one)


@plant("tx-rollback-leaves", "After a rollback what was written in the transaction is still there.")
class _RollbackLeaves(Rig):
    async def _rollback(self, handle: Snapshot) -> None:
        handle.commit()


@plant("tx-rollback-no-restore", "A rollback deletes what the transaction has written, instead of restoring it.")
class _NoRestore(Rig):
    async def _rollback(self, handle: Snapshot) -> None:
        for collection, one, _ in touched(handle):
            collection.points.pop(one, None)


@plant("tx-rollback-deleted-gone", "Points that were deleted in a transaction are not back after its rollback.")
class _DeletedGone(Rig):
    async def _rollback(self, handle: Snapshot) -> None:
        for collection, one, point in touched(handle):
            if point is None:
                del collection.points[one]


@plant("tx-rollback-vector", "A rollback restores payloads and not vectors.")
class _RollbackVector(Rig):
    async def _rollback(self, handle: Snapshot) -> None:
        for collection, one, point in touched(handle):
            if point is not None and one in collection.points:
                collection.points[one].vector = point.vector


@plant("tx-rollback-payload", "A rollback restores vectors and not payloads.")
class _RollbackPayload(Rig):
    async def _rollback(self, handle: Snapshot) -> None:
        for collection, one, point in touched(handle):
            if point is not None and one in collection.points:
                collection.points[one].payload_json = point.payload_json


@plant("tx-rollback-index", "A rollback restores points and not the index that filters use.")
class _RollbackIndex(Rig):
    async def _rollback(self, handle: Snapshot) -> None:
        for collection, one, point in touched(handle):
            if point is not None and one in collection.points:
                collection.points[one].payload = point.payload


@plant("tx-rollback-count", "A rollback restores points and not the count.")
class _RollbackCount(Rig):
    counts: ClassVar[dict[str, int]] = {}

    async def _rollback(self, handle: Snapshot) -> None:
        self.counts.update({name: len(one.points) for name, one in handle.collections.items()})

    def _write_all(self, collection: Collection, batch: Batch) -> None:
        self.counts.pop(collection.settings.name, None)
        super()._write_all(collection, batch)

    @operation
    async def get_collection_info(self, name: str) -> CollectionInfo:
        info = await super().get_collection_info(name)
        info.vector_count = self.counts.get(name, info.vector_count)
        return info


@plant("tx-rollback-last-batch", "A rollback undoes the last batch of a transaction only.")
class _LastBatch(Rig):
    _last: tuple[Collection, dict[PointId, Point]] | None = None

    def _write_all(self, collection: Collection, batch: Batch) -> None:
        if self._joined():
            self._last = collection, dict(collection.points)
        super()._write_all(collection, batch)

    async def _rollback(self, handle: Snapshot) -> None:
        if self._last is not None:
            self._last[0].points = self._last[1]
        handle.commit()


@plant("tx-rollback-created-left", "A collection that was created in a transaction is there after its rollback.")
class _CreatedLeft(Rig):
    async def _rollback(self, handle: Snapshot) -> None:
        for name, collection in handle.collections.items():
            self._store.collections.setdefault(name, collection)


@plant("tx-rollback-dropped-gone", "A collection that was deleted in a transaction is not back after its rollback.")
class _DroppedGone(Rig):
    async def _rollback(self, handle: Snapshot) -> None:
        for name in handle._origin.keys() - handle.collections.keys():
            self._store.collections.pop(name, None)


@plant("tx-rollback-dropped-empty", "A collection that was deleted in a transaction is back empty after its rollback.")
class _DroppedEmpty(Rig):
    async def _rollback(self, handle: Snapshot) -> None:
        for name in handle._origin:
            if handle.collections.get(name) is not handle._copies[name]:
                self._store.collections[name].points.clear()
