"""Points to Arrow and back: the columns of a table, its settings, and what stands in a row.

====================  =================================================================================
``id``                the key: ``s`` + text or ``i`` + digits, the table's (unenforced) primary key
``vector``            float32; under cosine a very long or very short one is scaled by a power of two
``original``          the bytes of a scaled vector as it was given, else null
``document``          the payload as JSON, which no filter touches
``facts``             what filters look into: ``codeweaver_lancedb.facts``; never null
``words_N``           the texts (or bools) of the Nth declared field, a list, never null
``low_N`` ``high_N``  the least and greatest number (or instant) of the Nth declared field
====================  =================================================================================
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, chain
from typing import Any, Final

import numpy as np
import orjson
import pyarrow as pa  # type: ignore[import-untyped]

from codeweaver_backends.metrics import clamp_cosine, score_of_distance
from codeweaver_backends.sdk.index.keys import parse_instant
from codeweaver_backends.sdk.payloads import decode_payload, project
from codeweaver_backends.sdk.requests import Batch, CollectionSettings, WithPayload
from codeweaver_backends.types import DistanceMetric, FloatMatrix, PointId, SearchResult, VectorPoint
from codeweaver_lancedb.facts import encode_text, facts_of_many

__all__ = [
    "DISTANCE_TYPES",
    "WORD_TYPES",
    "columns_of",
    "comparable",
    "decode_id",
    "encode_id",
    "pieces",
    "points_of",
    "reader_of",
    "results_of",
    "schema_of",
    "settings_of",
    "word",
]

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
_LAYOUT: Final = 1
_PLAIN: Final = {"lance-encoding:compression": "none"}
"""Compressing the texts would take as long as writing all the rest, and save a tenth of the size."""
_PIECE_ROWS: Final = 4_096
_PIECE_BYTES: Final = 4 << 20
_CHUNK_ROWS: Final = 50_000
_CHUNK_BYTES: Final = 64 << 20
_ORDINARY: Final = (2.0**-60, 2.0**60)
"""Squared lengths with which the engine's float32 arithmetic neither overflows nor loses digits."""


# --- settings --------------------------------------------------------------------------------------------------------


def schema_of(settings: CollectionSettings) -> pa.Schema:
    """The columns of a collection's table, and in the metadata how it was created."""
    fields = [
        # The primary key makes concurrent inserts of one new id conflict, instead of leaving two rows.
        pa.field("id", pa.utf8(), nullable=False, metadata={"lance-schema:unenforced-primary-key": "true"}),
        pa.field("vector", pa.list_(pa.float32(), settings.dimension), nullable=False),
        pa.field("document", pa.binary(), nullable=False, metadata=_PLAIN),
        pa.field("facts", pa.utf8(), nullable=False, metadata=_PLAIN),
    ]
    if settings.metric is DistanceMetric.COSINE:
        fields.append(pa.field("original", pa.binary()))
    for number, kind in enumerate(settings.payload_indexes.values()):
        if kind in WORD_TYPES:
            fields.append(pa.field(f"words_{number}", pa.list_(pa.utf8()), nullable=False))
        else:
            bound = pa.int64() if kind == "datetime" else pa.float64()
            fields += [pa.field(f"low_{number}", bound), pa.field(f"high_{number}", bound)]
    described = {
        "layout": _LAYOUT,
        "dimension": settings.dimension,
        "metric": settings.metric.value,
        "payload_indexes": dict(settings.payload_indexes),
    }
    return pa.schema(fields, metadata={_METADATA_KEY: orjson.dumps(described)})


def settings_of(name: str, schema: pa.Schema) -> CollectionSettings | None:
    """How the collection was created, or ``None`` if the table is not of this layout."""
    described = orjson.loads((schema.metadata or {}).get(_METADATA_KEY, b"{}"))
    if described.get("layout") != _LAYOUT:
        return None
    metric = DistanceMetric(described["metric"])
    return CollectionSettings(name, described["dimension"], metric, described["payload_indexes"])


# --- ids -------------------------------------------------------------------------------------------------------------


def encode_id(point_id: PointId) -> str:
    """An id as the key column holds it: ``1`` and ``"1"`` are two keys."""
    return f"s{point_id}" if isinstance(point_id, str) else f"i{point_id}"


def decode_id(key: str) -> PointId:
    """The id of a key."""
    return key[1:] if key[0] == "s" else int(key[1:])


# --- writing ---------------------------------------------------------------------------------------------------------


def pieces(batch: Batch, rows: int = _CHUNK_ROWS, size: int = _CHUNK_BYTES) -> Iterator[Batch]:
    """The batch cut where ``rows`` points or ``size`` bytes are reached; by default, what one commit takes."""
    width = batch.vectors.itemsize * batch.vectors.shape[1]
    ends = np.cumsum(np.fromiter(map(len, batch.documents), np.int64, len(batch)) + width)
    start = 0
    while start < len(batch):
        full = int(np.searchsorted(ends, (ends[start - 1] if start else 0) + size, "right"))
        stop = min(len(batch), start + rows, max(full, start + 1))
        yield batch if stop - start == len(batch) else _slice(batch, start, stop)
        start = stop


def _slice(batch: Batch, start: int, stop: int) -> Batch:
    part = slice(start, stop)
    return Batch(batch.ids[part], batch.vectors[part], batch.payloads[part], batch.documents[part])


def reader_of(batch: Batch, settings: CollectionSettings, schema: pa.Schema) -> pa.RecordBatchReader:
    """The batch as Arrow, converted as the engine asks for it: in the engine's thread, while it writes."""
    return pa.RecordBatchReader.from_batches(
        schema, (_record_batch(piece, settings, schema) for piece in pieces(batch, _PIECE_ROWS, _PIECE_BYTES))
    )


def _record_batch(batch: Batch, settings: CollectionSettings, schema: pa.Schema) -> pa.RecordBatch:
    vectors = batch.vectors
    originals: list[bytes | None] = [None] * len(batch)
    if settings.metric is DistanceMetric.COSINE:
        vectors, originals = _comparable_rows(vectors)
    columns = {
        "id": pa.array([encode_id(point_id) for point_id in batch.ids], pa.utf8()),
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), settings.dimension),
        "document": pa.array(batch.documents, pa.binary()),
        "facts": facts_of_many(batch.payloads, batch.documents),
        "original": pa.array(originals, pa.binary()),
    }
    for number, (field, kind) in enumerate(settings.payload_indexes.items()):
        values = _values_of(field, batch.payloads)
        if kind in WORD_TYPES:
            columns[f"words_{number}"] = _words(values, bool if kind == "bool" else str)
        else:
            columns[f"low_{number}"], columns[f"high_{number}"] = _bounds(values, kind)
    return pa.record_batch([columns[name] for name in schema.names], schema=schema)


def comparable(vector: FloatMatrix) -> FloatMatrix:
    """A vector whose cosine the engine can compute: its greatest element brought near 1, by a power of two."""
    scaled: FloatMatrix = np.ldexp(vector, -np.frexp(np.abs(vector).max())[1])
    return scaled


def _comparable_rows(vectors: FloatMatrix) -> tuple[FloatMatrix, list[bytes | None]]:
    with np.errstate(over="ignore"):
        squares = np.einsum("ij,ij->i", vectors, vectors)
    least, most = _ORDINARY
    extreme = np.flatnonzero((squares < least) | (squares > most))
    originals: list[bytes | None] = [None] * len(vectors)
    if len(extreme):
        vectors = vectors.copy()
        for row in extreme.tolist():
            originals[row] = vectors[row].tobytes()
            vectors[row] = comparable(vectors[row])
    return vectors, originals


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


def columns_of(settings: CollectionSettings, with_payload: WithPayload, with_vectors: bool) -> list[str]:
    """The columns that answer a question."""
    columns = ["id"]
    if with_payload is not False:
        columns.append("document")
    if with_vectors:
        columns.append("vector")
        if settings.metric is DistanceMetric.COSINE:
            columns.append("original")
    return columns


def results_of(
    found: pa.Table,
    metric: DistanceMetric,
    threshold: float | None,
    with_payload: WithPayload,
    with_vectors: bool,
) -> list[SearchResult]:
    """The hits of a search, best first, without those below the threshold."""
    scores = [_score(metric, distance) for distance in found["_distance"].to_pylist()]
    if threshold is not None:
        kept = sum(score >= threshold for score in scores)
        scores, found = scores[:kept], found.slice(0, kept)
    points = points_of(found, with_payload, with_vectors)
    return [
        SearchResult(point.id, score, point.payload, point.vector if with_vectors else None)  # type: ignore[arg-type]
        for point, score in zip(points, scores, strict=True)
    ]


def _score(metric: DistanceMetric, distance: float) -> float:
    match metric:
        case DistanceMetric.COSINE:
            return clamp_cosine(1.0 - distance)
        case DistanceMetric.DOT_PRODUCT:
            return 1.0 - distance
        case _:  # the engine's euclidean distance is squared
            return score_of_distance(max(0.0, distance) ** 0.5)


def points_of(found: pa.Table, with_payload: WithPayload, with_vectors: bool) -> list[VectorPoint]:
    """The points of the rows, in their order."""
    ids = [decode_id(key) for key in found["id"].to_pylist()]
    payloads: list[dict[str, Any]] = [{} for _ in ids]
    if with_payload is not False:
        payloads = [project(decode_payload(document), with_payload) for document in found["document"].to_pylist()]
    vectors: list[list[float]] = _vectors_of(found) if with_vectors else [[] for _ in ids]
    return [VectorPoint(*row) for row in zip(ids, vectors, payloads, strict=True)]


def _vectors_of(found: pa.Table) -> list[list[float]]:
    vectors: list[list[float]] = found["vector"].to_pylist()
    if "original" in found.column_names:
        for row, original in enumerate(found["original"].to_pylist()):
            if original is not None:
                vectors[row] = np.frombuffer(original, np.float32).tolist()
    return vectors
