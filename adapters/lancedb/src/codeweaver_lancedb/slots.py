"""Sparse vectors: a binary column for each slot, of pairs of index (uint32) and weight (float32), little-endian.

The engine knows no sparse vectors, so a search reads the column, batch by batch, and computes the products here. An
empty value, and none, is a point without one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import pyarrow as pa

from codeweaver_backends.sdk.hybrid.fusion import Leg
from codeweaver_backends.sdk.hybrid.vectors import SparseRow, SparseRows
from codeweaver_backends.sdk.index.codes import decode_id, encode_id
from codeweaver_backends.sdk.requests import Slot
from codeweaver_backends.types import PointId

__all__ = ["DEFINED_BY", "SLOT_FIELDS", "definition_of", "leg_of", "packed", "slot_reader", "sparse_of", "with_scores"]

DEFINED_BY: Final = "codeweaver.sparse_index"
"""Where the metadata of the column of texts holds the definition of the sparse index."""
SLOT_FIELDS: Final = tuple(
    # Such numbers hardly compress, and every search reads them.
    pa.field(slot.value, pa.binary(), metadata={"lance-encoding:compression": "none"})
    for slot in Slot
)
_PAIR: Final = np.dtype([("index", "<u4"), ("weight", "<f4")])
_ROWS: Final = 4_096


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
    score = _unpacked(batch.column(1)).scores(query)
    shared = np.flatnonzero(score > 0)
    best = shared[_best(score[shared], limit)]
    return batch.column(0).take(pa.array(best)), score[best]


def leg_of(found: Sequence[tuple[pa.Array, np.ndarray]], limit: int) -> Leg:
    """The best of what the batches gave, best first."""
    scores = np.concatenate([score for _, score in found] or [np.empty(0)])
    ids = pa.chunked_array([ids for ids, _ in found], pa.utf8())
    best = _best(scores, limit)
    best = best[np.argsort(-scores[best], kind="stable")]
    return Leg(list(map(decode_id, ids.take(pa.array(best)).to_pylist())), scores[best])


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
