"""The calls of ``HybridSearchBackend``, made once for every adapter, and the few questions they ask of it.

An adapter that claims ``supports_hybrid_search`` stores the columns ``sparse`` and ``text`` of a ``Batch`` with its
points, gives the first back as ``VectorPoint.sparse_vector`` where vectors are wanted, and answers

* ``_search_sparse``: the best points of a slot, under a filter, by the dot product;
* ``_write_slot``: a slot of points that exist is replaced;
* ``_read_definition`` and ``_write_definition``: the definition of the sparse index, stored with the collection.

The template keeps texts and definition together, whoever writes. A writer makes texts by the definition that it knows,
and reads the definition after it has written: if it is another one now, the writer makes the texts of its points anew.
``create_sparse_index`` writes the definition first and then goes through all points. So a point that was written
before the definition is found by who goes through, and one that was written after it is seen to by its writer.
"""

from __future__ import annotations

import asyncio
from abc import ABC
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, Literal, cast

import numpy as np

from codeweaver_backends.config import BackendConfig
from codeweaver_backends.errors import BackendError, ConflictError, InvalidIdError, InvalidInputError
from codeweaver_backends.sdk.calls import off_loop
from codeweaver_backends.sdk.filters.tree import ALWAYS, Never
from codeweaver_backends.sdk.handles import CollectionUse, H, Intent
from codeweaver_backends.sdk.hybrid.definition import SparseIndex
from codeweaver_backends.sdk.hybrid.fusion import NO_LEG, Leg, best, fuse, is_cut_settled
from codeweaver_backends.sdk.hybrid.vectors import SparseRows
from codeweaver_backends.sdk.hybrid_draft import validate_hybrid, validate_updates
from codeweaver_backends.sdk.lifetime import BaseBackend, operation
from codeweaver_backends.sdk.requests import Batch, HybridQuery, Page, Projection, Query, Slot, SparseQuery
from codeweaver_backends.sdk.validate import validate_name
from codeweaver_backends.types import (
    HybridStrategy,
    Payload,
    PointId,
    ScrollPage,
    SearchFilter,
    SearchResult,
    VectorPoint,
)

__all__ = ["HybridCalls"]

_NOTHING: Final = Projection(payload=False)
_PAGE: Final = 1_000
"""Points whose texts are made at once."""
_BEYOND: Final = 16
"""Candidates asked for beyond the pool, to see whether the last one is tied with others."""
_ATTEMPTS: Final = 20
"""How often texts are made anew because their points change meanwhile, until it is given up."""


def _ids_of(points: Iterable[VectorPoint]) -> Iterable[PointId]:
    return [point.id for point in points]


class HybridCalls(BaseBackend, Generic[H], ABC):
    """The hybrid profile of ``BackendTemplate``."""

    legs_at_once: ClassVar[bool] = True
    """Whether both legs may be under way at once. Never in a transaction, which has one connection."""

    def __init__(self, config: BackendConfig) -> None:
        super().__init__(config)
        self._definitions: dict[str, tuple[str, bytes | None, SparseIndex | None]] = {}
        """By collection: its incarnation, the definition as it was last read, and what it says."""

    # --- what an adapter overrides ---

    async def _search_sparse(self, collection: H, query: SparseQuery) -> Leg:
        """The best points of a slot that match and share a term, best first."""
        raise self._not_written("_search_sparse", "hybrid_search")

    async def _write_slot(self, collection: H, slot: Slot, ids: Sequence[PointId], rows: SparseRows) -> None:
        """Replace a slot of points, a row each, an empty one for none; all else of them stays.

        An id that does not exist, any more, is passed over: the point must not come back. It is given the configured
        timeout, and at most ``part_points`` points.
        """
        raise self._not_written("_write_slot", "update_sparse_vectors")

    async def _read_definition(self, collection: H) -> bytes | None:
        """The collection's definition as it is now, whoever wrote it; ``None`` if none was written."""
        raise self._not_written("_read_definition", "supports_hybrid_search")

    async def _write_definition(self, collection: H, definition: bytes) -> None:
        """Store the definition, for all to read; make the slot for the texts, if need be."""
        raise self._not_written("_write_definition", "create_sparse_index")

    async def _hybrid(self, collection: H, query: HybridQuery) -> list[SearchResult]:
        """Both legs, fused. Override it only where an engine gives the same numbers in one round trip."""
        found = fuse(*await self._legs(collection, query), query.strategy, query.alpha, query.limit)
        return await self._fetched(collection, found, query.projection)

    async def _fetched(self, collection: H, found: Leg, projection: Projection) -> list[SearchResult]:
        """What is wanted of the points that were found. One that was deleted since is left out."""
        scores = zip(found.ids, found.scores.tolist(), strict=True)
        if projection == _NOTHING:
            return [SearchResult(point_id, score) for point_id, score in scores]
        points = {point.id: point for point in await self._get(collection, list(found.ids), projection)}
        return [
            SearchResult(point_id, score, *_shown(points[point_id], projection))
            for point_id, score in scores
            if point_id in points
        ]

    # --- the calls ---

    @operation(claim="supports_hybrid_search")
    async def create_sparse_index(
        self,
        collection_name: str,
        fields: Sequence[str | Sequence[str]],
        index_type: Literal["keyword", "text", "bm25"] = "bm25",
        **kwargs: Any,
    ) -> None:
        name = validate_name(collection_name)
        index = SparseIndex.from_arguments(fields, index_type, kwargs)
        incarnation, before = await self._define(name, index)
        try:
            await self._index_all(name, incarnation, index)
        except InvalidInputError:  # a text that the engine cannot hold: the index is to be as it was
            await self._define(name, before)
            if before is not None:
                await self._index_all(name, incarnation, before)
            raise

    @operation(claim="supports_hybrid_search")
    async def hybrid_search(
        self,
        collection_name: str,
        dense_vector: list[float],
        sparse_query: dict[str, float] | str,
        limit: int = 10,
        hybrid_strategy: HybridStrategy = HybridStrategy.RRF,
        alpha: float = 0.5,
        search_filter: SearchFilter | None = None,
        **kwargs: Any,
    ) -> list[SearchResult]:
        name = validate_name(collection_name)
        draft = validate_hybrid(
            dense_vector, sparse_query, limit, hybrid_strategy, alpha, search_filter, kwargs, self.capabilities
        )
        use = self._use(name, Intent.SEARCH)
        while True:
            async with use as collection:
                index = await self._sparse_index(collection) if draft.is_text else None
                query = draft.on(collection.settings, index)
                if not query.limit or isinstance(query.filter, Never):
                    await self._confirm(collection)
                    return []
                await self._check_exact(collection, query)
                return await self._hybrid(collection, query)

    @operation(claim="supports_hybrid_search", ids=_ids_of)
    async def update_sparse_vectors(self, collection_name: str, vectors: list[VectorPoint]) -> None:
        name, (ids, rows) = validate_name(collection_name), validate_updates(vectors)
        use = self._use(name, Intent.WRITE)
        while True:
            async with use as collection:
                if not ids:
                    await self._confirm(collection)
                    return
                await self._check_known(collection, ids)
                await self._write_rows(collection, Slot.SPARSE, ids, rows)
                return

    # --- the legs ---

    async def _legs(self, collection: H, query: HybridQuery) -> tuple[Leg, Leg]:
        async def dense(limit: int) -> Leg:
            hits = await self._search(collection, query.dense_leg(limit))
            return Leg([hit.id for hit in hits], np.array([hit.score for hit in hits], np.float64))

        async def sparse(limit: int) -> Leg:
            return await self._search_sparse(collection, query.sparse_leg(limit))

        wants_dense, wants_sparse = query.alpha > 0, query.alpha < 1 and bool(query.sparse)
        if wants_dense and wants_sparse and self.legs_at_once and self._joined() is None:
            try:
                async with asyncio.TaskGroup() as group:
                    first = group.create_task(self._candidates(dense, query.candidates))
                    second = group.create_task(self._candidates(sparse, query.candidates))
            except BaseExceptionGroup as failures:
                raise failures.exceptions[0] from None
            return first.result(), second.result()
        return (
            await self._candidates(dense, query.candidates) if wants_dense else NO_LEG,
            await self._candidates(sparse, query.candidates) if wants_sparse else NO_LEG,
        )

    async def _candidates(self, ask: Callable[[int], Awaitable[Leg]], candidates: int) -> Leg:
        """A leg's pool, whole: engines cut where they like among equal scores, so that the last must be below them."""
        most = max(candidates, self.capabilities.limits.max_limit)
        limit = min(most, candidates + _BEYOND)
        while True:
            leg = await ask(limit)
            if len(leg) < limit or limit == most or is_cut_settled(leg.scores, candidates):
                return best(leg, candidates)
            limit = min(most, 4 * limit)

    # --- the definition ---

    async def _sparse_index(self, collection: H) -> SparseIndex | None:
        """The collection's sparse index as it is defined now."""
        stored = await self._read_definition(collection)
        known = self._definitions.get(collection.settings.name)
        if known is not None and known[:2] == (collection.incarnation, stored):
            return known[2]
        index = SparseIndex.from_json(stored) if stored else None
        if self._joined() is None:  # what a transaction has defined may be rolled back
            self._definitions[collection.settings.name] = collection.incarnation, stored, index
        return index

    async def _known_index(self, collection: H) -> SparseIndex | None:
        """The sparse index as it was last read, if it was of this very collection."""
        known = self._definitions.get(collection.settings.name)
        if known is not None and known[0] == collection.incarnation and self._joined() is None:
            return known[2]
        return await self._sparse_index(collection)

    async def _define(self, name: str, index: SparseIndex | None) -> tuple[str, SparseIndex | None]:
        """Write the definition, empty for no index; tell of which incarnation, and what was defined before."""
        use = self._use(name, Intent.WRITE)
        while True:
            async with use as collection:
                async with self._bounded():
                    before = await self._sparse_index(collection)
                    await self._write_definition(collection, b"" if index is None else index.to_json())
                return collection.incarnation, before

    async def _index_all(self, name: str, incarnation: str, index: SparseIndex) -> None:
        cursor = await self._index_page(name, incarnation, index, None)
        while cursor is not None:
            cursor = await self._index_page(name, incarnation, index, cursor)

    async def _index_page(self, name: str, incarnation: str, index: SparseIndex, cursor: str | None) -> str | None:
        """Write the texts of a page of points, and tell where the next one begins.

        Each page is a use of its own: an engine that locks what it writes holds no page while it works on the next.
        """
        use = self._use(name, Intent.WRITE)
        while True:
            async with use as collection:
                async with self._bounded():
                    if collection.incarnation != incarnation or await self._sparse_index(collection) != index:
                        raise ConflictError("the collection, or its sparse index, was created again meanwhile")
                    page = await self._scroll(collection, Page(cursor, _PAGE, ALWAYS, Projection()))
                await self._write_texts(collection, index, page.points)
                return page.cursor

    # --- writing ---

    async def _upsert_with_text(self, collection: H, batch: Batch) -> None:
        """Write points and the texts of them. See the module's description."""
        async with self._bounded():
            index = await self._known_index(collection)
        await self._upsert(collection, await off_loop(len(batch), _with_text, batch, index))
        while True:
            known = index
            async with self._bounded():
                index = await self._sparse_index(collection)
            if index is None or index == known:
                return
            for start in range(0, len(batch), _PAGE):
                async with self._bounded():
                    points = await self._get(collection, batch.ids[start : start + _PAGE], Projection())
                await self._write_texts(collection, index, list(points))

    async def _write_texts(self, collection: H, index: SparseIndex, points: Sequence[VectorPoint]) -> None:
        """Write the texts of points as they were read just now.

        They may have been written again since, with their texts. So they are read once more: a text is made anew where
        the payload is another one.
        """
        for _ in range(_ATTEMPTS):
            if not points:
                return
            payloads = {point.id: point.payload or {} for point in points}
            ids = list(payloads)
            rows = await off_loop(len(ids), index.documents, list(payloads.values()))
            await self._write_rows(collection, Slot.TEXT, ids, rows)
            async with self._bounded():
                again = await self._get(collection, ids, Projection())
            points = [point for point in again if (point.payload or {}) != payloads[point.id]]
        raise ConflictError("points are written faster than they can be indexed; try again")

    async def _write_rows(self, collection: H, slot: Slot, ids: Sequence[PointId], rows: SparseRows) -> None:
        size = self.part_points
        for start in range(0, len(ids), size):
            part, end = ids[start : start + size], min(len(ids), start + size)
            try:
                async with self._bounded():
                    await self._write_slot(collection, slot, part, rows.part(start, end))
            except Exception as error:
                raise self._unwritten(error, ids[start:]) from error

    async def _check_known(self, collection: H, ids: list[PointId]) -> None:
        for start in range(0, len(ids), _PAGE):
            part = ids[start : start + _PAGE]
            async with self._bounded():
                known = {point.id for point in await self._get(collection, part, _NOTHING)}
            for point_id in part:
                if point_id not in known:
                    raise InvalidIdError(f"there is no point {point_id!r}: update_sparse_vectors makes none")

    # --- what the template has ---

    if TYPE_CHECKING:
        part_points: ClassVar[int]

        def _use(self, name: str, intent: Intent) -> CollectionUse[H]: ...
        def _bounded(self) -> AbstractAsyncContextManager[Any]: ...
        def _unwritten(self, error: Exception, ids: Sequence[PointId]) -> BackendError: ...
        def _joined(self) -> Any: ...
        async def _confirm(self, collection: H) -> None: ...
        async def _check_exact(self, collection: H, query: HybridQuery) -> None: ...
        async def _upsert(self, collection: H, batch: Batch) -> None: ...
        async def _search(self, collection: H, query: Query) -> list[SearchResult]: ...
        async def _get(self, collection: H, ids: list[PointId], projection: Projection) -> Iterable[VectorPoint]: ...
        async def _scroll(self, collection: H, page: Page) -> ScrollPage: ...


def _with_text(batch: Batch, index: SparseIndex | None) -> Batch:
    return batch if index is None else replace(batch, text=index.documents(batch.payloads))


def _shown(point: VectorPoint, projection: Projection) -> tuple[Payload | None, list[float] | None]:
    payload = None if projection.payload is False else cast("Payload", point.payload or {})
    return payload, list(cast("Sequence[float]", point.vector)) if projection.vectors else None
