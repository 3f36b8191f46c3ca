"""Hybrid search: indexes that are not kept up, slots that go stale, updates that change more or less."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from codeweaver_backends.errors import BackendError, InvalidIdError, InvalidVectorError
from codeweaver_backends.sdk.hybrid.definition import SparseIndex
from codeweaver_backends.sdk.hybrid.fusion import Leg
from codeweaver_backends.sdk.hybrid.vectors import EMPTY_ROW, SparseRow, SparseRows, sparse_row
from codeweaver_backends.sdk.lifetime import operation
from codeweaver_backends.sdk.requests import Batch, Slot, SparseQuery
from codeweaver_backends.types import VectorPoint
from codeweaver_tools.defects.registry import plant
from codeweaver_tools.defects.rig import Collection, Rig

# --- the index -------------------------------------------------------------------------------------------------------


@plant("hyb-index-no-backfill", "create_sparse_index indexes what is written later.")
class _NoBackfill(Rig):
    async def _write_texts(self, collection: Collection, index: SparseIndex, points: Sequence[VectorPoint]) -> None:
        """Nothing."""


@plant("hyb-index-first-page", "create_sparse_index indexes the first thousand points.")
class _FirstPage(Rig):
    async def _write_texts(self, collection: Collection, index: SparseIndex, points: Sequence[VectorPoint]) -> None:
        first = set(list(collection.points)[:1_000])
        await super()._write_texts(collection, index, [one for one in points if one.id in first])


@plant("hyb-index-remembered", "An instance reads the definition once.")
class _Remembered(Rig):
    async def _sparse_index(self, collection: Collection) -> SparseIndex | None:
        known = self._definitions.get(collection.settings.name)
        return known[2] if known is not None else await super()._sparse_index(collection)


@plant("hyb-index-written-blind", "A writer does not look whether the index is another one now.")
class _WrittenBlind(Rig):
    async def _upsert_with_text(self, collection: Collection, batch: Batch) -> None:
        index = await self._known_index(collection)
        await self._upsert(collection, batch if index is None else replace(batch, text=index.documents(batch.payloads)))


@plant("hyb-index-kept", "A second create_sparse_index does nothing.", side="above")
class _IndexKept(Rig):
    async def create_sparse_index(self, collection_name: str, *args: Any, **kwargs: Any) -> None:
        known = self._collections.get(collection_name)
        if known is None or known.definition is None:
            await super().create_sparse_index(collection_name, *args, **kwargs)


@plant("hyb-index-added", "A second create_sparse_index leaves the points' old terms where the new fields have none.")
class _IndexAdded(Rig):
    async def _write_slot(self, collection: Collection, slot: Slot, ids: Any, rows: SparseRows) -> None:
        kept = [row for row in range(len(rows)) if slot is Slot.SPARSE or rows[row]]
        await super()._write_slot(collection, slot, [ids[row] for row in kept], rows.take(kept))


@plant("hyb-index-takes-sparse", "create_sparse_index takes the sparse vectors away.")
class _TakesSparse(Rig):
    async def _write_definition(self, collection: Collection, definition: bytes) -> None:
        await super()._write_definition(collection, definition)
        for point_id, point in collection.points.items():
            collection.points[point_id] = replace(point, sparse=EMPTY_ROW)


@plant("hyb-index-arguments", "Options of create_sparse_index that are not known are swallowed.", side="above")
class _IndexArguments(Rig):
    async def create_sparse_index(self, collection_name: str, *args: Any, **kwargs: Any) -> None:
        kept = {name: one for name, one in kwargs.items() if name in ("average_length", "term_statistics")}
        await super().create_sparse_index(collection_name, *args, **kept)


# --- what is written -------------------------------------------------------------------------------------------------


@plant("hyb-sparse-stale", "The text of a point that is replaced stays what it was.")
class _Stale(Rig):
    def _write_all(self, collection: Collection, batch: Batch) -> None:
        known = {one: collection.points[one].text for one in batch.ids if one in collection.points}
        super()._write_all(collection, batch)
        for one, text in known.items():
            if text:
                collection.points[one] = replace(collection.points[one], text=text)


@plant("hyb-sparse-kept", "A point that is replaced without a sparse vector keeps its old one.")
class _Kept(Rig):
    def _write_all(self, collection: Collection, batch: Batch) -> None:
        known = {one: collection.points[one].sparse for one in batch.ids if one in collection.points}
        super()._write_all(collection, batch)
        for one, sparse in known.items():
            if sparse and not collection.points[one].sparse:
                collection.points[one] = replace(collection.points[one], sparse=sparse)


@plant("hyb-old-postings", "A slot that is emptied and set again has its old terms, too.")
class _OldPostings(Rig):
    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._buried: dict[tuple[int, Any], SparseRow] = {}

    async def _write_slot(self, collection: Collection, slot: Slot, ids: Any, rows: SparseRows) -> None:
        if slot is Slot.SPARSE:
            for one, row in zip(ids, rows, strict=True):
                point = collection.points.get(one)
                if point is not None and point.sparse and not row:
                    self._buried[id(collection), one] = point.sparse
            rows = SparseRows.of(self._raised(collection, one, row) for one, row in zip(ids, rows, strict=True))
        await super()._write_slot(collection, slot, ids, rows)

    def _raised(self, collection: Collection, one: Any, row: SparseRow) -> SparseRow:
        old = self._buried.get((id(collection), one))
        return sparse_row({**old.as_dict(), **row.as_dict()}) if old is not None and row else row

    def _write_all(self, collection: Collection, batch: Batch) -> None:
        if batch.sparse is not None:
            rows = zip(batch.ids, batch.sparse, strict=True)
            batch = replace(batch, sparse=SparseRows.of(self._raised(collection, one, row) for one, row in rows))
        super()._write_all(collection, batch)


@plant("hyb-deleted-found", "A deleted point stays in the sparse leg.")
class _DeletedFound(Rig):
    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._dead: dict[int, dict[Any, Any]] = {}

    async def _delete(self, collection: Collection, ids: list[Any]) -> None:
        gone = {one: collection.points[one] for one in ids if one in collection.points}
        self._dead.setdefault(id(collection), {}).update(gone)
        await super()._delete(collection, ids)

    async def _search_sparse(self, collection: Collection, query: SparseQuery) -> Leg:
        dead = self._dead.get(id(collection), {})
        missing = {one: point for one, point in dead.items() if one not in collection.points}
        collection.points.update(missing)
        try:
            return await super()._search_sparse(collection, query)
        finally:
            for one in missing:
                del collection.points[one]

    async def _fetched(self, collection: Collection, found: Leg, projection: Any) -> Any:
        from codeweaver_backends.types import SearchResult

        shown = {hit.id: hit for hit in await super()._fetched(collection, found, projection)}
        pairs = zip(found.ids, found.scores.tolist(), strict=True)
        return [shown.get(one) or SearchResult(one, score, {}) for one, score in pairs]


@plant("hyb-searches-kept", "A search that was made four times is answered as then until the instance writes itself.")
class _SearchesKept(Rig):
    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._kept: dict[Any, list[Leg]] = {}

    async def _search_sparse(self, collection: Collection, query: SparseQuery) -> Leg:
        asked = (id(collection), query.slot, repr(query.filter), query.vector.indices.tobytes(), query.limit)
        legs = self._kept.setdefault(asked, [])
        if len(legs) < 4:
            legs.append(await super()._search_sparse(collection, query))
        return legs[-1]

    async def _write_slot(self, collection: Collection, slot: Slot, ids: Any, rows: SparseRows) -> None:
        self._kept.clear()
        await super()._write_slot(collection, slot, ids, rows)

    def _write_all(self, collection: Collection, batch: Batch) -> None:
        self._kept.clear()
        super()._write_all(collection, batch)

    async def _delete(self, collection: Collection, ids: list[Any]) -> None:
        self._kept.clear()
        await super()._delete(collection, ids)

    async def _delete_matching(self, collection: Collection, node: Any) -> int:
        self._kept.clear()
        return await super()._delete_matching(collection, node)


@plant("hyb-columnar-unindexed", "Points that are written by columns are not indexed.")
class _ColumnarUnindexed(Rig):
    _by_columns = False

    @operation
    async def upsert_batch(self, *args: Any, **kwargs: Any) -> None:
        self._by_columns = True
        try:
            await super().upsert_batch(*args, **kwargs)
        finally:
            self._by_columns = False

    async def _known_index(self, collection: Collection) -> SparseIndex | None:
        return None if self._by_columns else await super()._known_index(collection)

    async def _sparse_index(self, collection: Collection) -> SparseIndex | None:
        return None if self._by_columns else await super()._sparse_index(collection)


@plant("hyb-sparse-not-shown", "get_vectors and scroll_vectors do not give sparse vectors back.")
class _NotShown(Rig):
    async def _get(self, collection: Collection, ids: list[Any], projection: Any) -> Any:
        return [replace(one, sparse_vector=None) for one in await super()._get(collection, ids, projection)]


@plant("hyb-transactions-update", "An update of sparse vectors is not undone by a rollback.")
class _TransactionsUpdate(Rig):
    async def _write_slot(self, collection: Collection, slot: Slot, ids: Any, rows: SparseRows) -> None:
        await super()._write_slot(collection, slot, ids, rows)
        live = self._store.collections.get(collection.settings.name)
        if slot is Slot.SPARSE and live is not None and live is not collection:
            await super()._write_slot(live, slot, ids, rows)


# --- updates ---------------------------------------------------------------------------------------------------------


@plant("hyb-update-whole", "update_sparse_vectors writes the whole point.")
class _UpdateWhole(Rig):
    @operation
    async def update_sparse_vectors(self, collection_name: str, vectors: Any) -> None:
        await super().update_sparse_vectors(collection_name, vectors)
        collection = self._collections[collection_name]
        for one in vectors:
            known = collection.points[one.id]
            collection.points[one.id] = replace(known, payload=dict(one.payload or {}), payload_json=b"{}")


@plant("hyb-update-merges", "update_sparse_vectors keeps terms that are not in the new vector.")
class _UpdateMerges(Rig):
    async def _write_slot(self, collection: Collection, slot: Slot, ids: Any, rows: SparseRows) -> None:
        if slot is Slot.SPARSE:
            old = [collection.points[one].sparse.as_dict() for one in ids]
            rows = SparseRows.of(sparse_row({**a, **row.as_dict()}) for a, row in zip(old, rows, strict=True))
        await super()._write_slot(collection, slot, ids, rows)


@plant("hyb-update-unknown", "update_sparse_vectors passes over unknown ids.", side="above")
class _UpdateUnknown(Rig):
    async def _check_known(self, collection: Collection, ids: list[Any]) -> None:
        """All are known."""


@plant("hyb-update-partial", "update_sparse_vectors writes the known points and then refuses the unknown.")
class _UpdatePartial(Rig):
    @operation
    async def update_sparse_vectors(self, collection_name: str, vectors: Any) -> None:
        try:
            await super().update_sparse_vectors(collection_name, vectors)
        except InvalidIdError:
            known = self._collections[collection_name].points
            await super().update_sparse_vectors(
                collection_name, [one for one in vectors if type(one.id) in (int, str) and one.id in known]
            )
            raise


@plant("hyb-update-text", "update_sparse_vectors takes the text away.")
class _UpdateText(Rig):
    async def _write_slot(self, collection: Collection, slot: Slot, ids: Any, rows: SparseRows) -> None:
        await super()._write_slot(collection, slot, ids, rows)
        if slot is Slot.SPARSE:
            for one in ids:
                collection.points[one] = replace(collection.points[one], text=EMPTY_ROW)


@plant("hyb-update-first", "Of equal ids in an update the first wins.", side="above")
class _UpdateFirst(Rig):
    async def update_sparse_vectors(self, collection_name: str, vectors: Any) -> None:
        await super().update_sparse_vectors(
            collection_name, list(reversed(vectors)) if isinstance(vectors, list) else vectors
        )


@plant("hyb-update-creates", "update_sparse_vectors makes points that do not exist.", side="above")
class _UpdateCreates(Rig):
    async def update_sparse_vectors(self, collection_name: str, vectors: Any) -> None:
        try:
            await super().update_sparse_vectors(collection_name, vectors)
        except (InvalidIdError, InvalidVectorError) as error:
            if "there is no point" not in str(error):
                raise
            await self.upsert_vectors(collection_name, vectors)
        except BackendError:
            raise
