"""Size: faults beyond a number of points, ids or values, and exactly at the edge of a chunk or a page."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np

from codeweaver_backends.errors import EngineError
from codeweaver_backends.sdk.filters.tree import Always, AnyOf, Node
from codeweaver_backends.sdk.lifetime import operation
from codeweaver_backends.sdk.requests import Batch, Page, Projection, Query
from codeweaver_backends.types import (
    CollectionInfo,
    FilterLike,
    Payload,
    PointId,
    ScrollPage,
    SearchResult,
    VectorPoint,
)
from codeweaver_tools.defects.registry import plant
from codeweaver_tools.defects.rig import Collection, Rig

# --- get ---


class _Asking(Rig):
    def asked(self, ids: list[PointId]) -> list[PointId]:
        return ids

    async def _get(self, collection: Collection, ids: list[PointId], *how: Any) -> Iterable[VectorPoint]:
        return await super()._get(collection, self.asked(ids), *how)


@plant("siz-get-4096", "get_vectors asks for the first 4,096 ids and forgets the others.")
class _Get4096(_Asking):
    def asked(self, ids: list[PointId]) -> list[PointId]:
        return ids[:4_096]


@plant("siz-get-edge-512", "Of a number of ids that 512 divides, get_vectors loses the last.")
class _GetEdge(_Asking):
    def asked(self, ids: list[PointId]) -> list[PointId]:
        return ids[:-1] if ids and len(ids) % 512 == 0 else ids


@plant("siz-get-vectors-1000", "get_vectors of more than 1,500 points leaves out the vectors.")
class _GetVectors(Rig):
    async def _get(self, collection: Collection, ids: list[PointId], projection: Projection) -> Iterable[VectorPoint]:
        with_vectors = projection.vectors and len(ids) <= 1_500
        return await super()._get(collection, ids, dataclasses.replace(projection, vectors=with_vectors))


# --- scroll ---


@plant("siz-scroll-ends", "A scroll ends after 2,048 points.")
class _ScrollEnds(Rig):
    async def _scroll(self, collection: Collection, page: Page) -> ScrollPage:
        shown = await super()._scroll(collection, page)
        return ScrollPage(shown.points) if shown.cursor and int(shown.cursor) >= 2_048 else shown


@plant("siz-scroll-large-page", "A page of more than 1,000 points is cut to 1,000, and the next begins where it ended.")
class _LargePage(Rig):
    async def _scroll(self, collection: Collection, page: Page) -> ScrollPage:
        shown = await super()._scroll(collection, page)
        return ScrollPage(shown.points[:1_000], shown.cursor)


@plant("siz-scroll-edge-128", "After a page of exactly 128 points the next skips one.")
class _ScrollEdge(Rig):
    async def _scroll(self, collection: Collection, page: Page) -> ScrollPage:
        shown = await super()._scroll(collection, page)
        return ScrollPage(shown.points, str(int(shown.cursor) + 1)) if shown.cursor and page.limit == 128 else shown


@plant("siz-scroll-filter-later", "A scroll forgets its filter beyond the first 1,024 points.")
class _ScrollFilter(Rig):
    async def _scroll(self, collection: Collection, page: Page) -> ScrollPage:
        if page.cursor and page.cursor.isdecimal() and int(page.cursor[:19]) >= 1_024:
            page = dataclasses.replace(page, filter=Always())
        return await super()._scroll(collection, page)


# --- count ---


@plant("siz-count-4096", "A count ends at 4,096.")
class _Count(Rig):
    async def _count(self, collection: Collection, node: Node) -> int:
        return min(4_096, await super()._count(collection, node))


@plant("siz-count-filtered", "A count with a filter ends at 2,048.")
class _CountFiltered(Rig):
    async def _count(self, collection: Collection, node: Node) -> int:
        found = await super()._count(collection, node)
        return found if node == Always() else min(2_048, found)


@plant("siz-info-rounded", "Above 6,000 points vector_count is an estimate, in hundreds.")
class _Estimate(Rig):
    async def get_collection_info(self, name: str) -> CollectionInfo:
        info = await super().get_collection_info(name)
        count = info.vector_count
        return dataclasses.replace(info, vector_count=count if count <= 6_000 else count // 100 * 100)


# --- delete ---


@plant("siz-delete-5000", "delete_vectors deletes the first 5,000 ids and forgets the others.")
class _Delete(Rig):
    async def _delete(self, collection: Collection, ids: list[PointId]) -> None:
        await super()._delete(collection, ids[:5_000])


@plant("siz-delete-edge-128", "Of a number of ids that 128 divides, delete_vectors leaves the last.")
class _DeleteEdge(Rig):
    async def _delete(self, collection: Collection, ids: list[PointId]) -> None:
        await super()._delete(collection, ids[:-1] if len(ids) % 128 == 0 else ids)


@plant("siz-delete-filter-4096", "delete_by_filter deletes 4,096 points at most.")
class _DeleteMatching(Rig):
    async def _delete_matching(self, collection: Collection, node: Node) -> int:
        found = collection.matching(node)[:4_096]
        await self._delete(collection, [one.id for one in found])
        return len(found)


@plant("siz-delete-filter-edge", "delete_by_filter of exactly 500 points, or of 1,000, leaves the last.")
class _DeleteMatchingEdge(Rig):
    async def _delete_matching(self, collection: Collection, node: Node) -> int:
        found = collection.matching(node)
        await self._delete(collection, [one.id for one in found[: -1 if len(found) in (500, 1_000) else None]])
        return len(found)


@plant("siz-delete-filter-told", "delete_by_filter tells the size of its last page of 1,000 beyond two of them.")
class _DeleteTold(Rig):
    async def _delete_matching(self, collection: Collection, node: Node) -> int:
        gone = await super()._delete_matching(collection, node)
        return gone if gone <= 2_500 else gone % 1_000


# --- search ---


@plant("siz-search-5000", "A search gives 5,000 hits at most, unless it asks for everything.")
class _Search(Rig):
    def answer(self, collection: Collection, query: Query) -> list[SearchResult]:
        hits = super().answer(collection, query)
        return hits[:5_000] if query.limit < len(collection.points) else hits


@plant("siz-search-merged", "A search for more than 2,048 hits is put together of pieces, and not sorted again.")
class _Merged(Rig):
    def answer(self, collection: Collection, query: Query) -> list[SearchResult]:
        hits = super().answer(collection, query)
        return hits if query.limit <= 2_048 else hits[1::2] + hits[::2]


@plant("siz-search-vectors", "Hits beyond the five hundredth have no vector.")
class _HitVectors(Rig):
    def answer(self, collection: Collection, query: Query) -> list[SearchResult]:
        hits = super().answer(collection, query)
        return hits[:500] + [dataclasses.replace(one, vector=None) for one in hits[500:]]


@plant("siz-search-payload", "Hits beyond the thousandth come with their whole payload.")
class _HitPayload(Rig):
    def answer(self, collection: Collection, query: Query) -> list[SearchResult]:
        hits = super().answer(collection, query)
        projection = dataclasses.replace(query.projection, payload=True)
        whole = super().answer(collection, dataclasses.replace(query, projection=projection))
        return hits[:1_000] + whole[1_000:]


@plant("siz-search-threshold", "A threshold is forgotten beyond a limit of 256.")
class _Threshold(Rig):
    def answer(self, collection: Collection, query: Query) -> list[SearchResult]:
        return super().answer(collection, dataclasses.replace(query, threshold=None) if query.limit > 256 else query)


@plant("siz-search-edge-128", "A limit of exactly 128 gives 127 hits.")
class _LimitEdge(Rig):
    def answer(self, collection: Collection, query: Query) -> list[SearchResult]:
        return super().answer(collection, query)[: 127 if query.limit == 128 else None]


# --- in, nin ---


@plant("siz-in-1000", "An in takes its first 1,000 values and forgets the others.")
class _In(Rig):
    def leaf(self, node: Node, payload: Payload) -> bool:
        if isinstance(node, AnyOf) and len(node.values) > 1_000:
            node = dataclasses.replace(node, values=node.values[:1_000])
        return super().leaf(node, payload)


@plant("siz-nin-edge-512", "Of exactly 512 values an in or a nin loses the last.")
class _Nin(Rig):
    def leaf(self, node: Node, payload: Payload) -> bool:
        if isinstance(node, AnyOf) and len(node.values) == 512:
            node = dataclasses.replace(node, values=node.values[:-1])
        return super().leaf(node, payload)


@plant("siz-in-count", "count_vectors takes the first 300 values of an in.", side="above")
class _InCount(Rig):
    @operation
    async def count_vectors(self, collection_name: str, search_filter: FilterLike | None = None) -> int:
        kept = self.leaf_values
        self.leaf_values = 300
        try:
            return await super().count_vectors(collection_name, search_filter)
        finally:
            self.leaf_values = kept

    leaf_values = 1_000_000

    def leaf(self, node: Node, payload: Payload) -> bool:
        if isinstance(node, AnyOf):
            node = dataclasses.replace(node, values=node.values[: self.leaf_values])
        return super().leaf(node, payload)


# --- writing ---


@plant("siz-upsert-edge-512", "Of a batch of a length that 512 divides the last point is lost.")
class _UpsertEdge(Rig):
    def _write_all(self, collection: Collection, batch: Batch) -> None:
        super()._write_all(collection, batch.take(range(len(batch) - (len(batch) % 512 == 0))))


@plant("siz-upsert-equal-ids", "Of equal ids in two chunks of 1,000 points the first wins.")
class _EqualIds(Rig):
    def _write_all(self, collection: Collection, batch: Batch) -> None:
        for start in reversed(range(0, len(batch), 1_000)):
            super()._write_all(collection, batch.take(range(start, min(start + 1_000, len(batch)))))


@plant("siz-upsert-shifted", "From the 2,048th point of a batch on, vectors stand one point too low.")
class _Shifted(Rig):
    def _write_all(self, collection: Collection, batch: Batch) -> None:
        vectors = np.concatenate((batch.vectors[:2_048], batch.vectors[2_047:-1])) if len(batch) > 2_048 else None
        super()._write_all(collection, batch if vectors is None else dataclasses.replace(batch, vectors=vectors))


class _Columns(Rig):
    """Knows whether a batch came as columns."""

    columnar = False

    async def upsert_batch(self, *arguments: Any, **options: Any) -> None:
        self.columnar = True
        try:
            await super().upsert_batch(*arguments, **options)
        finally:
            self.columnar = False


@plant("siz-columns-edge-1024", "Of columns of exactly 1,024 rows the last is lost.")
class _ColumnsEdge(_Columns):
    def _write_all(self, collection: Collection, batch: Batch) -> None:
        lost = self.columnar and len(batch) == 1_024
        super()._write_all(collection, batch.take(range(len(batch) - lost)))


@plant("siz-columns-5461", "More than 5,461 rows of columns fail in the engine.")
class _ColumnsLarge(_Columns):
    def _write_all(self, collection: Collection, batch: Batch) -> None:
        if self.columnar and len(batch) > 5_461:
            raise EngineError("too many rows")
        super()._write_all(collection, batch)


@plant("siz-columns-payloads", "Beyond 3,072 rows columns lose their payloads.")
class _ColumnsPayloads(_Columns):
    def _write_all(self, collection: Collection, batch: Batch) -> None:
        super()._write_all(collection, batch)
        if self.columnar:
            for one in batch.ids[3_072:]:
                old = collection.points[one]
                collection.points[one] = dataclasses.replace(old, payload_json=b"{}", payload={})
