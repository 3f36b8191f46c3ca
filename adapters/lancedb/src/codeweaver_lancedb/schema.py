"""The columns of a table, how points become rows and rows points.

====================  =================================================================================
``id``                the key: ``s`` + text or ``i`` + digits, the table's (unenforced) primary key
``vector``            float32; under cosine one far from 1 is brought to it by a power of two
``restored_by``       under cosine: what gives back the vector as it was given (``sdk.vectors``)
``payload_json``      the payload as JSON, which no filter touches
``facts``             what filters look into: ``codeweaver_lancedb.facts``; never null
``words_N``           the texts (or bools) of the Nth declared field, a list, never null
``low_N`` ``high_N``  the least and greatest number (or instant) of the Nth declared field
``sparse`` ``text``   the sparse vectors: ``codeweaver_lancedb.slots``; older tables get them when first written to
====================  =================================================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, chain, repeat
from typing import Any, Final

import numpy as np
import pyarrow as pa

from codeweaver_backends.metrics import scorer
from codeweaver_backends.sdk.index.codes import decode_id, encode_id
from codeweaver_backends.sdk.index.keys import parse_instant
from codeweaver_backends.sdk.requests import Batch, CollectionSettings, Projection, Query, Slot
from codeweaver_backends.sdk.vectors import restored, scaled_vectors
from codeweaver_backends.types import DistanceMetric, Payload, PointId, SearchResult, VectorPoint
from codeweaver_lancedb.facts import encode_text, facts_of_many
from codeweaver_lancedb.slots import SLOT_FIELDS, packed, sparse_of

__all__ = [
    "DISTANCE_TYPES",
    "LAYOUT",
    "WORD_TYPES",
    "columns_of",
    "points_of",
    "reader_of",
    "results_of",
    "schema_of",
    "settings_of",
    "word",
]

LAYOUT: Final = 3
"""Counts the changes of what is stored."""

DISTANCE_TYPES: Final = {
    DistanceMetric.COSINE: "cosine",
    DistanceMetric.EUCLIDEAN: "l2",
    DistanceMetric.DOT_PRODUCT: "dot",
}
"""What the engine calls the metrics. It knows no manhattan."""

WORD_TYPES: Final = frozenset(("keyword", "bool"))
"""Payload index types that are looked up; the others are compared."""

_WORD_LENGTH: Final = 64
_METADATA_KEY: Final = b"codeweaver"
_PLAIN: Final = {"lance-encoding:compression": "none"}
"""Compressing the texts would take as long as writing all the rest, and save a tenth of the size."""
_BATCH_ROWS: Final = 4_096
_BATCH_BYTES: Final = 4 << 20


# --- settings --------------------------------------------------------------------------------------------------------


def schema_of(settings: CollectionSettings) -> pa.Schema:
    """The columns of a collection's table, and in the metadata how it was created."""
    fields = [
        # The primary key makes concurrent inserts of one new id conflict, instead of leaving two rows.
        pa.field("id", pa.utf8(), nullable=False, metadata={"lance-schema:unenforced-primary-key": "true"}),
        pa.field("vector", pa.list_(pa.float32(), settings.dimension), nullable=False),
        pa.field("payload_json", pa.binary(), nullable=False, metadata=_PLAIN),
        pa.field("facts", pa.utf8(), nullable=False, metadata=_PLAIN),
    ]
    if settings.metric is DistanceMetric.COSINE:
        fields.append(pa.field("restored_by", pa.utf8(), nullable=False))
    for number, kind in enumerate(settings.payload_indexes.values()):
        if kind in WORD_TYPES:
            fields.append(pa.field(f"words_{number}", pa.list_(pa.utf8()), nullable=False))
        else:
            bound = pa.int64() if kind == "datetime" else pa.float64()
            fields += [pa.field(f"low_{number}", bound), pa.field(f"high_{number}", bound)]
    fields += SLOT_FIELDS
    return pa.schema(fields, metadata={_METADATA_KEY: settings.to_json(LAYOUT)})


def settings_of(name: str, schema: pa.Schema) -> CollectionSettings | None:
    """How the collection was created; ``None`` for a table that others made.

    Raises ``UnsupportedError`` for one of another layout.
    """
    stored = CollectionSettings.from_json(name, (schema.metadata or {}).get(_METADATA_KEY), LAYOUT)
    return None if stored is None else stored[0]


# --- writing ---------------------------------------------------------------------------------------------------------


def reader_of(batch: Batch, settings: CollectionSettings, schema: pa.Schema) -> pa.RecordBatchReader:
    """The batch as Arrow, converted as the engine asks for it: in the engine's thread, while it writes."""
    parts = batch.split(_BATCH_ROWS, _BATCH_BYTES)
    return pa.RecordBatchReader.from_batches(schema, (_record_batch(part, settings, schema) for part in parts))


def _record_batch(batch: Batch, settings: CollectionSettings, schema: pa.Schema) -> pa.RecordBatch:
    vectors = batch.vectors
    columns = {
        "id": pa.array(map(encode_id, batch.ids), pa.utf8()),
        "payload_json": pa.array(batch.payload_json, pa.binary()),
        "facts": facts_of_many(batch.payloads, batch.payload_json),
        **{slot.value: packed(batch.slot(slot), len(batch)) for slot in Slot},
    }
    if settings.metric is DistanceMetric.COSINE:
        vectors, restored_by = scaled_vectors(vectors)
        columns["restored_by"] = pa.array(restored_by, pa.utf8())
    columns["vector"] = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), settings.dimension)
    for number, (field, kind) in enumerate(settings.payload_indexes.items()):
        values = _values_of(field, batch.payloads)
        if kind in WORD_TYPES:
            columns[f"words_{number}"] = _words(values, bool if kind == "bool" else str)
        else:
            columns[f"low_{number}"], columns[f"high_{number}"] = _bounds(values, kind)
    return pa.record_batch([columns[name] for name in schema.names], schema=schema)


def word(value: str | bool) -> str:
    """A text or a bool as it is indexed: the beginning only, for the index narrows a search and the facts decide."""
    return encode_text(str(value)[:_WORD_LENGTH])


def _values_of(field: str, payloads: Sequence[Mapping[str, Any]]) -> list[Any]:
    """What each payload holds at the field; ``None`` where there is nothing."""
    first, *rest = field.split(".")
    values: list[Any] = [payload.get(first) for payload in payloads]
    for key in rest:
        values = [value.get(key) if isinstance(value, dict) else None for value in values]
    return values


def _words(values: list[Any], kind: type) -> pa.Array:
    if set(map(type, values)) == {kind}:
        words, offsets = values, accumulate([1] * len(values), initial=0)
    else:
        found = [[one for one in _elements(value) if isinstance(one, kind)] for value in values]
        words = list(chain.from_iterable(found))
        offsets = accumulate(map(len, found), initial=0)
    spelt = {one: word(one) for one in set(words)}
    return pa.ListArray.from_arrays(
        pa.array(offsets, pa.int32()), pa.array([spelt[one] for one in words], pa.utf8()), pa.list_(pa.utf8())
    )


def _bounds(values: list[Any], kind: str) -> tuple[pa.Array, pa.Array]:
    if kind != "datetime" and set(map(type, values)) <= {int, float}:
        bound = pa.array(np.array(values, np.float64) + 0.0)
        return bound, bound
    read, bound_type = (_instants, pa.int64()) if kind == "datetime" else (_floats, pa.float64())
    found = [read(_elements(value)) for value in values]
    low = pa.array([min(row) if row else None for row in found], bound_type)
    return low, pa.array([max(row) if row else None for row in found], bound_type)


def _elements(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else (value,)


def _floats(values: Sequence[Any]) -> list[float]:
    # Rounding to a double keeps the order, so that the bounds hold; −0.0 becomes 0.0, which an index tells apart.
    return [float(value) + 0.0 for value in values if isinstance(value, int | float) and not isinstance(value, bool)]


def _instants(values: Sequence[Any]) -> list[int]:
    instants = (parse_instant(value) for value in values if isinstance(value, str))
    return [instant for instant in instants if instant is not None]


# --- reading ---------------------------------------------------------------------------------------------------------


def columns_of(settings: CollectionSettings, projection: Projection) -> list[str]:
    """The columns that answer a question."""
    columns = ["id"]
    if projection.payload is not False:
        columns.append("payload_json")
    if projection.vectors:
        columns.append("vector")
        if settings.metric is DistanceMetric.COSINE:
            columns.append("restored_by")
    return columns


def results_of(found: pa.Table, metric: DistanceMetric, query: Query) -> list[SearchResult]:
    """The hits of a search, best first, without those below the threshold."""
    scores = list(map(scorer(metric, dot="one minus dot", squared=True), found["_distance"].to_pylist()))
    if query.threshold is not None:
        scores = scores[: sum(map(query.passes, scores))]
        found = found.slice(0, len(scores))
    ids, vectors, payloads = _read(found, query.projection)
    return list(map(SearchResult, ids, scores, payloads, vectors))


def points_of(found: pa.Table, projection: Projection) -> list[VectorPoint]:
    """The points of the rows, in their order."""
    has_sparse = Slot.SPARSE.value in found.column_names
    sparse = map(sparse_of, found[Slot.SPARSE.value].to_pylist()) if has_sparse else repeat(None)
    ids, vectors, payloads = _read(found, projection)
    return list(map(VectorPoint, ids, vectors, payloads, sparse))


def _read(
    found: pa.Table, projection: Projection
) -> tuple[list[PointId], Iterable[list[float] | None], Iterable[Payload | None]]:
    ids = list(map(decode_id, found["id"].to_pylist()))
    vectors: Iterable[list[float] | None] = _vectors_of(found) if projection.vectors else repeat(None, len(ids))
    payload_json = repeat(None, len(ids)) if projection.payload is False else found["payload_json"].to_pylist()
    return ids, vectors, map(projection.payload_of, payload_json)


def _vectors_of(found: pa.Table) -> list[list[float]]:
    vectors: list[list[float]] = found["vector"].to_pylist()
    if "restored_by" not in found.column_names:
        return vectors
    return list(map(restored, vectors, found["restored_by"].to_pylist()))
