"""Sparse vectors: a binary column for each slot, of pairs of index (uint32) and weight (float32), little-endian.

The engine knows no sparse vectors, so a search reads the column, batch by batch, and computes the products here; or it
finds them in ``Postings``, where the column was read before and has not changed. An empty value, and none, is a point
without one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from codeweaver_backends.sdk.calls import in_thread, off_loop
from codeweaver_backends.sdk.hybrid.fusion import Leg
from codeweaver_backends.sdk.hybrid.vectors import SparseRow, SparseRows
from codeweaver_backends.sdk.index.codes import decode_id, encode_id
from codeweaver_backends.sdk.requests import Slot, SparseQuery
from codeweaver_backends.types import PointId

if TYPE_CHECKING:
    from lancedb.table import AsyncTable

__all__ = [
    "DEFINED_BY",
    "SLOT_FIELDS",
    "Postings",
    "SlotReader",
    "definition_of",
    "leg_of",
    "packed",
    "slot_reader",
    "sparse_of",
    "with_scores",
]

DEFINED_BY: Final = "codeweaver.sparse_index"
"""Where the metadata of the column of texts holds the definition of the sparse index."""
SLOT_FIELDS: Final = tuple(
    # Such numbers hardly compress, and every search reads them.
    pa.field(slot.value, pa.binary(), metadata={"lance-encoding:compression": "none"})
    for slot in Slot
)
_PAIR: Final = np.dtype([("index", "<u4"), ("weight", "<f4")])
_ROWS: Final = 4_096
_ROWS_SCORED: Final = 16_384
"""Rows whose sparse vectors are read and scored at once: some 10 MB of them."""
_ASKED_OFTEN: Final = 4
"""Searches of one version after which a slot is sorted by term: that takes as long as some four of them."""
_MOST_KEPT: Final = 128 << 20
"""Bytes of a column that is kept in memory, sorted by term."""


def definition_of(schema: pa.Schema) -> bytes | None:
    """The definition of the sparse index that a table has."""
    at = schema.get_field_index(Slot.TEXT.value)
    metadata = schema.field(at).metadata if at >= 0 else None
    definition: bytes | None = (metadata or {}).get(DEFINED_BY.encode())
    return definition


# --- writing ---------------------------------------------------------------------------------------------------------


def packed(rows: SparseRows | None, count: int) -> pa.Array:
    """The values of a column."""
    if rows is None:
        return pa.nulls(count, pa.binary())
    pairs = np.empty(len(rows.indices), _PAIR)
    pairs["index"], pairs["weight"] = rows.indices, rows.weights
    offsets = (rows.offsets * _PAIR.itemsize).astype(np.int32)
    return pa.Array.from_buffers(pa.binary(), len(rows), [None, pa.py_buffer(offsets), pa.py_buffer(pairs)])


def slot_reader(slot: Slot, ids: Sequence[PointId], rows: SparseRows, schema: pa.Schema) -> pa.RecordBatchReader:
    """Ids, and the values of a slot."""
    wanted = pa.schema([schema.field("id"), schema.field(slot.value)])

    def batches() -> Iterator[pa.RecordBatch]:
        for start in range(0, len(ids), _ROWS):
            some = ids[start : start + _ROWS]
            values = packed(rows.part(start, start + len(some)), len(some))
            yield pa.record_batch([pa.array(map(encode_id, some), pa.utf8()), values], schema=wanted)

    return pa.RecordBatchReader.from_batches(wanted, batches())


# --- reading ---------------------------------------------------------------------------------------------------------


def sparse_of(value: bytes | None) -> dict[int, float] | None:
    """A point's sparse vector."""
    pairs = np.frombuffer(value or b"", _PAIR)
    return dict(zip(pairs["index"].tolist(), pairs["weight"].tolist(), strict=True)) or None


def with_scores(batch: pa.RecordBatch, query: SparseRow, limit: int) -> tuple[pa.Array, np.ndarray]:
    """Of rows of ids and values, the ids of at most ``limit`` of the best that share a term, and their scores."""
    return _shared(batch.column(0), _unpacked(batch.column(1)).scores(query), limit)


def leg_of(found: Sequence[tuple[pa.Array, np.ndarray]], limit: int) -> Leg:
    """The best of what the batches gave, best first."""
    scores = np.concatenate([score for _, score in found] or [np.empty(0)])
    ids = pa.chunked_array([ids for ids, _ in found], pa.utf8())
    best = _best(scores, limit)
    best = best[np.argsort(-scores[best], kind="stable")]
    return Leg(list(map(decode_id, ids.take(pa.array(best)).to_pylist())), scores[best])


class Postings:
    """The sparse vectors of a column by term: the rows that have it, ascending, and their weights.

    A search looks at the rows of its terms alone, which is a fraction of reading the column. ``batches`` have ids and
    values, of all rows.
    """

    def __init__(self, batches: Sequence[pa.RecordBatch]) -> None:
        rows = [_unpacked(batch.column(1)) for batch in batches]
        lengths = np.concatenate([np.diff(one.offsets) for one in rows])
        indices = np.concatenate([one.indices for one in rows])
        order = np.argsort(indices, kind="stable")
        self._ids = pa.chunked_array([batch.column(0) for batch in batches]).combine_chunks()
        self._terms, starts = np.unique(indices[order], return_index=True)
        self._bounds = np.append(starts, len(indices))
        self._rows = np.repeat(np.arange(len(lengths), dtype=np.uint32), lengths)[order]
        self._weights = np.concatenate([one.weights for one in rows])[order]

    def __len__(self) -> int:
        return len(self._ids)

    def leg(self, query: SparseRow, limit: int) -> Leg:
        """At most ``limit`` of the best points that share a term: the very numbers that the column gives."""
        score = np.zeros(len(self))
        places = np.searchsorted(self._terms, query.indices).tolist()
        for term, weight, place in zip(query.indices, query.weights, places, strict=True):
            if place < len(self._terms) and self._terms[place] == term:
                some = slice(*self._bounds[place : place + 2].tolist())
                score[self._rows[some]] += self._weights[some].astype(np.float64) * weight
        return leg_of([_shared(self._ids, score, limit)], limit)


@dataclass(slots=True)
class _Asked:
    """How often a slot was searched without a filter since its table was last written to."""

    version: int
    times: int = 0
    postings: Postings | None = None


class SlotReader:
    """The searches of one table's slots."""

    def __init__(self, table: AsyncTable) -> None:
        self._table = table
        self._asked: dict[Slot, _Asked] = {}

    async def leg(self, query: SparseQuery, where: str | None) -> Leg:
        """The best points of a slot that share a term, of those that match the condition."""
        if where is None and (postings := await self._postings(query.slot)) is not None:
            return await off_loop(len(postings), postings.leg, query.vector, query.limit)
        batches = self._read(query.slot, where)
        found = [await off_loop(one.num_rows, with_scores, one, query.vector, query.limit) async for one in batches]
        return leg_of(found, query.limit)

    async def _read(self, slot: Slot, where: str | None = None) -> AsyncIterator[pa.RecordBatch]:
        scan = self._table.query().select(["id", slot.value])
        scan = scan if where is None else scan.where(where)
        async for batch in await scan.to_batches(max_batch_length=_ROWS_SCORED):
            yield batch

    async def _postings(self, slot: Slot) -> Postings | None:
        """The slot as it is now, by term, if it has been asked so often in this version that they are worth it."""
        version = await self._table.version()
        asked = self._asked.get(slot)
        if asked is None or asked.version != version:
            asked = self._asked[slot] = _Asked(version)
        asked.times += 1
        if asked.times == _ASKED_OFTEN:  # one search makes them; others read the column meanwhile
            asked.postings = await self._sorted(slot, version)
        return asked.postings

    async def _sorted(self, slot: Slot, version: int) -> Postings | None:
        """The slot by term; ``None`` if it is too large to be kept, or was written to meanwhile."""
        batches, size = [], 0
        async for batch in self._read(slot):
            batches.append(batch)
            size += batch.column(1).nbytes
            if size > _MOST_KEPT:
                return None
        if not batches or await self._table.version() != version:
            return None
        return await in_thread(Postings, batches)


def _shared(ids: pa.Array, score: np.ndarray, limit: int) -> tuple[pa.Array, np.ndarray]:
    shared = np.flatnonzero(score > 0)
    best = shared[_best(score[shared], limit)]
    return ids.take(pa.array(best)), score[best]


def _best(scores: np.ndarray, limit: int) -> np.ndarray:
    """The places of at most ``limit`` of the best, in no order."""
    return np.argpartition(-scores, limit)[:limit] if len(scores) > limit else np.arange(len(scores))


def _unpacked(values: pa.Array) -> SparseRows:
    if values.null_count:
        values = values.fill_null(b"")  # what stands in the place of a null is anything
    _, places, data = values.buffers()
    offsets = np.frombuffer(places, np.int32)[values.offset : values.offset + len(values) + 1].astype(np.int64)
    start, end = offsets[0], offsets[-1]
    pairs = np.frombuffer(data or b"", np.uint8)[start:end].view(_PAIR)
    return SparseRows((offsets - start) // _PAIR.itemsize, pairs["index"], pairs["weight"])
