"""What Qdrant stores of a collection: its fields, and points on their way in and out.

The payload is flat. No filter touches ``d``, the payload's JSON, which alone is the truth: the engine's own JSON loses
the last bit of some floats, and its filters know neither mixed types nor null. Filters ask the other fields:

==============  =======================================================================================
``d``           the payload as JSON text
``i``           the id, if it is a string
``f``           the terms of the payload, a space between them; a text index looks them up whole
``s<path>``     a string, for substrings
``n<path>``     numbers and ``t<path>`` instants, as integers that keep their order and survive JSON
``m<path>_…``   what such an integer could not hold of a number, ``u<path>_…`` of an instant
``v``           what the stored vector needs to be given back as it came
==============  =======================================================================================

The vector is stored under the name of its metric, so that the engine refuses a request that was made for another one.
Beside it stand two sparse vectors, ``sparse`` and ``text``, each an empty one where a point has none, or of the index
``NO_TERM`` where it was emptied by REST, which takes no empty one there. They are never
deleted, and never left out of a point that is written: the engine would keep the old one's postings, and find the point
by terms that it no longer has.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import repeat
from typing import Any, Final, Literal, NamedTuple

import numpy as np

from codeweaver_backends.sdk import (
    EMPTY_ROW,
    Batch,
    CollectionSettings,
    Column,
    FloatMatrix,
    Path,
    Projection,
    Query,
    Slot,
    SparseRow,
    check_lengths,
    entries_of,
    restored,
    scorer,
    spans,
    unit_vector,
    unit_vectors,
)
from codeweaver_backends.types import DistanceMetric, PointId, SearchResult, VectorPoint
from codeweaver_qdrant.dialect import SPELLING, Parts, field_key, finer_key, instant_parts, number_parts

__all__ = [
    "LAYOUT",
    "NO_TERM",
    "TERMS",
    "Collection",
    "EngineId",
    "Nearest",
    "engine_id",
    "given_id",
    "hits_of",
    "indexed_fields",
    "points_of",
    "query_vector",
    "stored_payloads",
    "stored_slots",
    "stored_vectors",
    "wanted_fields",
    "wanted_vectors",
]

EngineId = int | str
"""What Qdrant takes: an unsigned integer or a UUID."""

LAYOUT: Final = 3
"""Counts the changes of what is stored."""
TERMS: Final = "f"
NO_TERM: Final = 2**32 - 1
"""An index of sparse vectors that no query has: see above."""
_PAYLOAD: Final = "d"
_ID: Final = "i"
_VECTOR: Final = "v"
_LONGEST_VECTOR: Final = 1e18
_SMALLEST_NORMAL: Final = float(np.finfo(np.float32).smallest_normal)


@dataclass(slots=True, eq=False)
class Collection:
    """A handle."""

    settings: CollectionSettings
    incarnation: str
    """Drawn when the collection was created, and stored with it."""
    engine_name: str
    has_slots: bool
    """Whether it has the two sparse vectors."""
    is_replicated: bool = field(default=False, kw_only=True)
    """Whether each point is on several nodes."""


class Nearest(NamedTuple):
    """A search of one of the vectors, as a client is asked."""

    using: str
    vector: FloatMatrix | SparseRow
    limit: int
    condition: Any
    projection: Projection
    exact: bool = False
    """Whether every point that matches is compared."""
    looked_at: int | None = None
    """Points that the graph looks at (``ef``); ``None``: the graph is not asked.

    It is asked to go on through points that do not match (ACORN), which it does for filtered searches only, and so
    there always is a filter: points that were deleted do not match either. Measured without, with a quarter of 6,000
    points matching, or two thirds of them deleted: recall of 0.54 to 0.95.
    """


def indexed_fields(settings: CollectionSettings) -> Iterator[tuple[str, Literal["text", "order"]]]:
    """The fields that the collection's declared fields need an index on, beside ``TERMS``."""
    for declared, kind in settings.payload_indexes.items():
        path = tuple(declared.split("."))
        if kind == "keyword":
            yield field_key(path, "text"), "text"
        elif kind != "bool":
            yield field_key(path, "instant" if kind == "datetime" else "number"), "order"


# --- in --------------------------------------------------------------------------------------------------------------


def engine_id(point_id: PointId) -> EngineId:
    """An integer as it is; for a string, which Qdrant does not take, the UUID of its 128-bit digest."""
    if type(point_id) is int:
        return point_id
    return blake2b(point_id.encode(), digest_size=16).hexdigest()  # type: ignore[union-attr]


def stored_payloads(batch: Batch, kept: list[str]) -> list[dict[str, Any]]:
    """What is stored beside each vector; ``kept`` is what ``stored_vectors`` says of each."""
    entries = entries_of(batch.payloads, SPELLING)
    rows = [
        {_PAYLOAD: text, TERMS: terms}
        for text, terms in zip(map(bytes.decode, batch.payload_json), entries.joined, strict=True)
    ]
    for row, point_id, more in zip(rows, batch.ids, kept, strict=True):
        if type(point_id) is str:
            row[_ID] = point_id
        if more:
            row[_VECTOR] = more
    for path, texts in entries.texts.items():
        key = field_key(path, "text")
        for place, text in texts:
            rows[place][key] = text
    for path, numbers in entries.numbers.items():
        _add_ordered(rows, path, "number", numbers, number_parts)
    for path, instants in entries.instants.items():
        _add_ordered(rows, path, "instant", instants, instant_parts)
    return rows


def _add_ordered(
    rows: list[dict[str, Any]],
    path: Path,
    kind: Literal["number", "instant"],
    column: Column[Any],
    parts_of: Callable[[Any], Parts],
) -> None:
    """Of several in a list, the least and the greatest are enough for any comparison with one of them."""
    key = field_key(path, kind)
    for place, least, greatest in spans(column):
        row, parts = rows[place], parts_of(least)
        row[key] = parts.stored
        if parts.low:
            row[finer_key(path, kind, parts.high)] = parts.low
        if greatest is not least and (more := parts_of(greatest)) != parts:
            row[key] = [parts.stored, more.stored]
            if more.low:
                finer = finer_key(path, kind, more.high)
                row[finer] = [row[finer], more.low] if finer in row else more.low


def stored_vectors(batch: Batch, metric: DistanceMetric) -> tuple[FloatMatrix, list[str]]:
    """The vectors as they are stored, and what ``restored`` needs of each.

    Cosine is the dot product of vectors that are normalised here, once: the engine's own cosine forgets the length.
    Of other metrics, vectors so long that the engine's float32 sums would overflow are refused: it loses such points
    without a word.
    """
    matrix = batch.vectors
    if metric is DistanceMetric.COSINE:
        return unit_vectors(matrix)
    check_lengths(matrix, _LONGEST_VECTOR, batch.ids)
    kept = [""] * len(matrix)
    # Subnormal numbers have fewer digits, and lose more of them in JSON.
    lost = (np.abs(matrix) < _SMALLEST_NORMAL) & (matrix != 0)
    for row in np.flatnonzero(lost.any(axis=1)).tolist():
        kept[row] = "=" + b64encode(matrix[row].astype("<f4").tobytes()).decode()
    return matrix, kept


def stored_slots(collection: Collection, part: Batch) -> Iterable[dict[str, SparseRow]]:
    """The sparse vectors of each point."""
    if not collection.has_slots:
        return repeat({}, len(part))
    sparse, text = (repeat(EMPTY_ROW, len(part)) if column is None else column for column in (part.sparse, part.text))
    return ({Slot.SPARSE.value: one, Slot.TEXT.value: other} for one, other in zip(sparse, text, strict=True))


def query_vector(query: Query, metric: DistanceMetric) -> FloatMatrix:
    """The query as it is sent."""
    if metric is DistanceMetric.COSINE:
        return unit_vector(query.vector)
    check_lengths(query.vector[np.newaxis], _LONGEST_VECTOR)
    return query.vector


# --- out -------------------------------------------------------------------------------------------------------------


def wanted_fields(projection: Projection) -> list[str]:
    """The fields to read."""
    return [_ID, *([_PAYLOAD] if projection.payload is not False else ()), *([_VECTOR] if projection.vectors else ())]


def wanted_vectors(collection: Collection, projection: Projection) -> list[str] | Literal[False]:
    """The vectors to read."""
    if not projection.vectors:
        return False
    return [collection.settings.metric.value, *([Slot.SPARSE.value] if collection.has_slots else ())]


def hits_of(found: Iterable[Any], query: Query, metric: DistanceMetric) -> list[SearchResult]:
    """The hits of any of the engine's clients, those that pass the threshold."""
    score, projection = scorer(metric, cosine="cosine"), query.projection
    hits = []
    for one in found:
        stored, own = one.payload or {}, score(one.score)
        if query.passes(own):
            payload = projection.payload_of(stored.get(_PAYLOAD))
            vector = _given_vector(one, stored, metric) if projection.vectors else None
            hits.append(SearchResult(given_id(one), own, payload, vector))
    return hits


def points_of(found: Iterable[Any], metric: DistanceMetric, projection: Projection) -> Iterator[VectorPoint]:
    """The records of any of the engine's clients."""
    for one in found:
        stored = one.payload or {}
        payload = projection.payload_of(stored.get(_PAYLOAD))
        if projection.vectors:
            vector, sparse = _given_vector(one, stored, metric), one.vector.get(Slot.SPARSE.value)
            yield VectorPoint(given_id(one), vector, payload, None if sparse is None else _given_sparse(sparse))
        else:
            yield VectorPoint(given_id(one), None, payload)


def given_id(found: Any) -> PointId:
    """The id of a hit or a record, whose fields are ``wanted_fields``."""
    point_id: PointId | None = (found.payload or {}).get(_ID)
    return found.id if point_id is None else point_id  # read only where it is needed: some clients make a UUID of it


def _given_vector(found: Any, stored: Mapping[str, Any], metric: DistanceMetric) -> list[float]:
    return restored(found.vector[metric.value], stored.get(_VECTOR, ""))


def _given_sparse(vector: Any) -> dict[int, float] | None:
    """Index → weight, as the float32 that it is: JSON has its shortest digits."""
    weights = np.array(vector.values, np.float32).tolist()
    return {index: weight for index, weight in zip(vector.indices, weights, strict=True) if index != NO_TERM} or None
