"""Qdrant Edge: the engine in this process, a folder per collection.

Its calls hold Python's interpreter lock, so threads would not free the event loop: they are made where they are asked
for, in portions that are short.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

import qdrant_edge as edge

from codeweaver_backends.errors import BackendConnectionError
from codeweaver_backends.sdk import (
    Batch,
    CollectionSettings,
    FloatMatrix,
    Node,
    Order,
    Page,
    Projection,
    SharedFolder,
    Slot,
    SparseRow,
    SparseRows,
)
from codeweaver_qdrant.dialect import BOUNDS, QdrantDialect
from codeweaver_qdrant.edge_folder import FOLDERS, INDEXES, EdgeCollection, Folder
from codeweaver_qdrant.schema import (
    TERMS,
    EngineId,
    Nearest,
    engine_id,
    stored_payloads,
    stored_slots,
    stored_vectors,
    wanted_fields,
    wanted_vectors,
)

__all__ = ["EdgeClient", "EdgeDialect"]

FieldKind = Literal["text", "order"]

_POINTS_BETWEEN_FLUSHES: Final = 5_000
_PORTION_BYTES: Final = 4_000_000
_SCANNED: Final = 2_000
"""Points up to which a condition on a field without an index is tested point by point."""


# --- conditions ------------------------------------------------------------------------------------------------------


class EdgeCondition(NamedTuple):
    """A filter, and the fields whose values it compares."""

    filter: edge.Filter
    fields: dict[str, FieldKind]


class EdgeDialect(QdrantDialect):
    """Conditions of ``qdrant_edge``, for one filter."""

    def __init__(self) -> None:
        self._fields: dict[str, FieldKind] = {}

    def filter(self, node: Node) -> EdgeCondition | None:
        found = super().filter(node)
        return None if found is None else EdgeCondition(found, self._fields)

    def has_any(self, terms: Sequence[str]) -> edge.FieldCondition:
        return edge.FieldCondition(TERMS, match=edge.MatchTextAny(" ".join(terms)))

    def in_order(self, key: str, order: Order, bound: int) -> edge.FieldCondition:
        if key[0] in "nt":  # what they cannot hold is in fields of few points
            self._fields[key] = "order"
        return edge.FieldCondition(key, range=edge.RangeFloat(**{BOUNDS[order]: float(bound)}))

    def holds_text(self, key: str, text: str) -> edge.FieldCondition:
        self._fields[key] = "text"
        return edge.FieldCondition(key, match=edge.MatchSubstring(text))

    def group(
        self, *, must: Sequence[Any] = (), should: Sequence[Any] = (), must_not: Sequence[Any] = ()
    ) -> edge.Filter:
        return edge.Filter(must=list(must) or None, should=list(should) or None, must_not=list(must_not) or None)


# --- points ----------------------------------------------------------------------------------------------------------


class EdgeClient:
    """A folder, asked from an event loop. Every request is one call of the engine, made under the folder's lock."""

    def __init__(self, shared: SharedFolder[Folder]) -> None:
        self._shared = shared
        self._folder = shared.resource

    @property
    def dialect(self) -> EdgeDialect:
        """A new one for each filter."""
        return EdgeDialect()

    async def ping(self) -> None:
        """Fail if the folder is gone."""
        if not self._folder.path.is_dir():
            raise BackendConnectionError("the folder is gone")

    async def close(self) -> None:
        """Give the folder back."""
        await FOLDERS.close(self._shared)

    def abandon(self) -> None:
        """Give the folder back, without an event loop."""
        FOLDERS.release(self._shared)

    # --- collections ---

    async def names(self) -> list[str]:
        """The names of the collections."""
        return list(self._folder.collections)

    async def describe(self, name: str) -> EdgeCollection:
        """Look a collection up."""
        with self._folder.lock:
            return self._folder.find(name)

    async def create(self, settings: CollectionSettings) -> EdgeCollection:
        """Create a collection."""
        with self._folder.lock:
            return self._folder.create(settings)

    async def drop(self, name: str) -> None:
        """Delete a collection."""
        with self._folder.lock:
            self._folder.drop(name)

    # --- writing ---

    async def upsert(self, collection: EdgeCollection, part: Batch) -> None:
        """Write or replace points."""
        metric = collection.settings.metric
        vectors, kept = stored_vectors(part, metric)
        payloads = stored_payloads(part, kept)
        with self._folder.lock:  # until it is written: meanwhile nobody adds the slots
            slots = stored_slots(collection, part)
            points = [
                edge.Point(engine_id(point_id), {metric.value: _floats(vector)} | _sparse(rows), stored)
                for point_id, vector, stored, rows in zip(part.ids, vectors, payloads, slots, strict=True)
            ]
            self._write(collection, edge.UpdateOperation.upsert_points(points), len(points))
        await asyncio.sleep(0)

    async def write_slot(self, collection: EdgeCollection, slot: Slot, ids: list[EngineId], rows: SparseRows) -> None:
        """Replace a sparse vector of points."""
        points = [
            edge.PointVectors(point_id, _sparse({slot.value: row})) for point_id, row in zip(ids, rows, strict=True)
        ]
        self._write(collection, edge.UpdateOperation.update_vectors(points), len(points))
        await asyncio.sleep(0)

    def _write(self, collection: EdgeCollection, operation: edge.UpdateOperation, points: int = 0) -> None:
        with self._folder.lock:
            shard = self._folder.shard_of(collection)
            self._folder.check_room()
            shard.update(operation)
            collection.unflushed += points
            if collection.unflushed >= _POINTS_BETWEEN_FLUSHES:
                shard.flush()
                collection.unflushed = 0

    async def need_slots(self, collection: EdgeCollection) -> None:
        """Add the sparse vectors, if they are not there: points that have none cost nothing before."""
        with self._folder.lock:
            if not collection.has_slots:
                for slot in Slot:
                    self._write(collection, edge.UpdateOperation.create_sparse_vector(slot.value))
                collection.has_slots = True
                collection.save()

    async def read_definition(self, collection: EdgeCollection) -> bytes | None:
        """The definition of the sparse index: all who write share the handle."""
        return None if collection.definition is None else collection.definition.encode()

    async def write_definition(self, collection: EdgeCollection, definition: bytes) -> None:
        """Store the definition of the sparse index."""
        with self._folder.lock:
            self._folder.shard_of(collection)
            collection.definition = definition.decode()
            collection.save()

    async def delete(self, collection: EdgeCollection, ids: list[EngineId]) -> None:
        """Delete points."""
        self._write(collection, edge.UpdateOperation.delete_points(list(ids)))
        await asyncio.sleep(0)

    async def delete_matching(self, collection: EdgeCollection, condition: EdgeCondition | None) -> int:
        """Delete the points that match, and tell how many."""
        with self._folder.lock:
            shard, matching = self._prepared(collection, condition)
            count = shard.count(edge.CountRequest(exact=True, filter=matching))
            self._write(collection, edge.UpdateOperation.delete_points_by_filter(matching or edge.Filter()))
        return count

    # --- reading ---

    async def count(self, collection: EdgeCollection, condition: EdgeCondition | None) -> int:
        """How many points match."""
        with self._folder.lock:
            shard, matching = self._prepared(collection, condition)
            return shard.count(edge.CountRequest(exact=True, filter=matching))

    async def search(self, collection: EdgeCollection, nearest: Nearest) -> Sequence[edge.ScoredPoint]:
        """The nearest points that match."""
        with self._folder.lock:
            shard, matching = self._prepared(collection, nearest.condition)
            request = edge.QueryRequest(
                limit=nearest.limit,
                query=edge.Query.Nearest(_vector(nearest.vector), using=nearest.using),
                filter=matching,
                with_payload=wanted_fields(nearest.projection),
                with_vector=nearest.projection.vectors and [nearest.using],
            )
            return shard.query(request)

    async def retrieve(
        self, collection: EdgeCollection, ids: list[EngineId], projection: Projection
    ) -> Sequence[edge.Record]:
        """The points of these ids."""
        records: list[edge.Record] = []
        step, fields = _portion(collection, projection), wanted_fields(projection)
        vectors = wanted_vectors(collection, projection)
        for start in range(0, len(ids), step):
            with self._folder.lock:
                shard = self._folder.shard_of(collection)
                records += shard.retrieve(list(ids[start : start + step]), fields, vectors)
            await asyncio.sleep(0)
        return records

    async def scroll(
        self, collection: EdgeCollection, start: Any, page: Page, condition: EdgeCondition | None
    ) -> tuple[Sequence[edge.Record], Any]:
        """A page in the order of the engine's ids, and the id that the next one starts with."""
        records: list[edge.Record] = []
        step, fields = _portion(collection, page.projection), wanted_fields(page.projection)
        vectors = wanted_vectors(collection, page.projection)
        while True:
            with self._folder.lock:
                shard, matching = self._prepared(collection, condition)
                size = min(step, page.limit - len(records))
                found, start = shard.scroll(edge.ScrollRequest(start, size, matching, fields, vectors))
            records += found
            if start is None or len(records) >= page.limit:
                return records, start
            await asyncio.sleep(0)

    def _prepared(
        self, collection: EdgeCollection, condition: EdgeCondition | None
    ) -> tuple[edge.EdgeShard, edge.Filter | None]:
        """The shard and the filter for it, with an index on every field that the filter compares values of.

        Without one the engine reads and parses the payload of each point for each condition: 64 ranges held the event
        loop for half a second per 10,000 points, and no timeout can end that. An index is built at the cost of three
        such conditions, once.
        """
        shard = self._folder.shard_of(collection)
        if condition is None:
            return shard, None
        if condition.fields:
            info = shard.info()
            if info.points_count > _SCANNED and self._folder.has_room():
                for key in condition.fields.keys() - info.payload_schema.keys():
                    kind = INDEXES[condition.fields[key]]
                    shard.update(edge.UpdateOperation.create_field_index(key, kind))
        return shard, condition.filter


def _portion(collection: EdgeCollection, projection: Projection) -> int:
    """As many points as can be read without holding the event loop for long."""
    dimension = collection.settings.dimension if projection.vectors else 0
    return max(1, _PORTION_BYTES // (4 * dimension + 4_000))


def _floats(vector: FloatMatrix) -> list[float]:
    # A view does for a list, and is read three times faster than one that has to be made.
    return memoryview(vector)  # type: ignore[arg-type,return-value]


def _vector(vector: FloatMatrix | SparseRow) -> list[float] | edge.SparseVector:
    if not isinstance(vector, SparseRow):
        return _floats(vector)
    return edge.SparseVector(memoryview(vector.indices), memoryview(vector.weights))  # type: ignore[arg-type]


def _sparse(rows: Mapping[str, SparseRow]) -> dict[str, Any]:
    return {slot: _vector(row) for slot, row in rows.items()}
