"""Points on their way in and out: what the engine stores of a payload, a vector and an id.

What the engine stores is flat. No filter touches ``d``, the payload's JSON, which alone is the truth: the engine's own
JSON loses the last bit of some floats, and its filters know neither mixed types nor null. Filters ask the other fields:

==============  =======================================================================================
``d``           the payload as JSON text
``i``           the id, if it is a string
``f``           one token per fact, ``<path>!<kind>`` and ``<path>=<value>``; a text index looks them up whole
``s<path>``     a string, for substrings
``n<path>``     numbers and ``t<path>`` instants, as integers that keep their order and survive JSON
``m<path>_…``   what such an integer could not hold of a number, ``u<path>_…`` of an instant
``l``           the length of a vector that was normalised
``r``           a vector that its normalised form cannot give back
==============  =======================================================================================
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import chain
from operator import itemgetter
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import numpy as np

from codeweaver_backends.errors import InvalidVectorError, UnsupportedError
from codeweaver_backends.metrics import clamp_cosine, score_of_distance
from codeweaver_backends.sdk.index.facts import Kind, Path, kind_of, leaves
from codeweaver_backends.sdk.index.keys import canonical_number, number_key, parse_instant
from codeweaver_backends.sdk.names import encode_name
from codeweaver_backends.sdk.payloads import decode_payload, project
from codeweaver_backends.sdk.requests import Batch, WithPayload
from codeweaver_backends.types import DistanceMetric, FloatMatrix, Payload, PointId, Scalar, SearchResult, VectorPoint

__all__ = [
    "DOCUMENT",
    "LAYOUT",
    "ORIGINAL_ID",
    "TOKENS",
    "Field",
    "Parts",
    "check_layout",
    "check_lengths",
    "element_tokens",
    "engine_id",
    "engine_payload",
    "engine_payloads",
    "field_of",
    "instant_parts",
    "number_parts",
    "points_of",
    "query_vector",
    "results_of",
    "stored_vectors",
    "value_tokens",
    "wanted_fields",
]

LAYOUT: Final = 1
"""Stored with each collection; another number is another layout."""
DOCUMENT: Final = "d"
ORIGINAL_ID: Final = "i"
TOKENS: Final = "f"
_LENGTH: Final = "l"
_RAW: Final = "r"

_LONGEST: Final = 64
"""Longer values and paths are spelt by their digest."""
_SHORTEST_INSTANT: Final = 20
_COLUMN_ROWS: Final = 16
"""Points from which on columns are faster than rows."""
_PLAIN: Final = re.compile(rf"[!-$&-~]{{0,{_LONGEST}}}").fullmatch
_BOOLS: Final[dict[Scalar, str]] = {True: "1", False: "0"}
_VALUED: Final = (Kind.BOOL, Kind.NUMBER, Kind.STRING)
_LONGEST_VECTOR: Final = 1e18
_SMALLEST_NORMAL: Final = float(np.finfo(np.float32).smallest_normal)


def check_layout(stored: object) -> None:
    """Refuse a collection that another version of this adapter has laid out otherwise."""
    if stored != LAYOUT:
        raise UnsupportedError(f"the collection has the layout {stored!r}, this version knows {LAYOUT} only")


# --- fields ----------------------------------------------------------------------------------------------------------


class Field(NamedTuple):
    """How one path of a payload is spelt."""

    kinds: tuple[str, ...]
    """The token of each ``Kind``, in their order."""
    equals: tuple[str, ...]
    """What the token of a value starts with, for each kind of scalar."""
    scalars: tuple[str, ...]
    """What a point is given for a value that stands alone: its kind, and what its value follows."""
    text: str
    number: str
    finer_number: str
    instant: str
    finer_instant: str

    def finer(self, key: str, high: int) -> str:
        """The field that tells apart what shares the integer ``high`` in the field ``key``."""
        return f"{self.finer_number if key == self.number else self.finer_instant}{high:x}"


@lru_cache(maxsize=4096)
def field_of(path: Path) -> Field:
    """The spelling of a path. Paths that differ are spelt differently, whatever characters they hold."""
    name = ".".join(quote(segment, safe="").replace(".", "%2E") for segment in path)
    if len(name) > _LONGEST:
        name = "#" + _digest(name)
        key = "h" + name[1:]
    else:
        # Every engine and every version addresses such a key bare: quotes and backslashes in keys have no escape.
        key = encode_name(name, "k")
    kinds = tuple(f"{name}!{kind.value}" for kind in Kind)
    equals = tuple(f"{name}={letter}" for letter in "zbns")
    scalars = (kinds[Kind.NULL], *(f"{kinds[kind]} {equals[kind]}" for kind in _VALUED), *kinds[Kind.LIST :])
    return Field(kinds, equals, scalars, "s" + key, "n" + key, f"m{key}_", "t" + key, f"u{key}_")


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=16).hexdigest()


def _spelt(text: str) -> str:
    """A string as printable ASCII without a space, so that a tokenizer leaves it whole."""
    if _PLAIN(text):
        return text
    return quote(text, safe="") if len(text) <= _LONGEST else "%-" + _digest(text)  # which nothing is quoted to


_canonical_number = lru_cache(maxsize=4096)(canonical_number)


def _token(field: Field, value: Scalar) -> str:
    kind = kind_of(value)
    if kind is Kind.STRING:
        return field.equals[kind] + _spelt(value)  # type: ignore[arg-type]
    if kind is Kind.NUMBER:
        return field.equals[kind] + canonical_number(value)  # type: ignore[arg-type]
    return field.equals[kind] + _BOOLS.get(value, "")


def value_tokens(path: Path, value: Scalar) -> list[str]:
    """The tokens of which a point has one, if the value or an element of the list at ``path`` equals ``value``."""
    field = field_of(path)
    token = _token(field, value)
    return [token, field.kinds[Kind.NULL]] if value is None else [token]


def element_tokens(path: Path, value: Scalar) -> list[str]:
    """The tokens that a point has, all of them, if an element of the list at ``path`` equals ``value``."""
    field = field_of(path)
    return [_token(field, value), field.kinds[Kind.LIST]]


# --- order -----------------------------------------------------------------------------------------------------------


class Parts(NamedTuple):
    """An order-preserving key, cut in two: of equal ``high`` the larger ``low`` is the larger."""

    high: int
    low: int

    @property
    def stored(self) -> int:
        """What the field holds: odd where the low part is not zero, and below 9 · 10^14.

        A double holds larger integers, but the server reads ``x.0``, as a bound is written in JSON, exactly only while
        its digits, the zero among them, stay below 2^53.
        """
        return 2 * self.high + (self.low > 0)


@lru_cache(maxsize=4096)
def number_parts(value: float) -> Parts:
    """The parts of a number. The low one is zero for doubles of 37 significant bits: most that people write."""
    key = int(number_key(value), 16) - 2048
    if value < 0:
        key += 4096  # a complement ends in ones where the number ends in zeros: with this it ends in zeros too
    return Parts(key >> 28, key & 0xFFFFFFF)


def instant_parts(microseconds: int) -> Parts:
    """The parts of an instant: milliseconds, and microseconds."""
    return Parts(*divmod(microseconds, 1000))


# --- payload ---------------------------------------------------------------------------------------------------------


def engine_payloads(batch: Batch) -> list[dict[str, Any]]:
    """What the engine stores beside each vector: where the payloads are alike, at half the price of one by one."""
    shapes = set(map(tuple, batch.payloads))
    if len(batch) < _COLUMN_ROWS or len(shapes) > 1 or () in shapes:
        return list(map(engine_payload, batch.ids, batch.documents, batch.payloads))
    columns: dict[str, list[Any]] = {DOCUMENT: list(map(bytes.decode, batch.documents))}
    tokens: list[list[str]] = []
    rest: list[str] = []
    for key in shapes.pop():
        column = _column(field_of((key,)), list(map(itemgetter(key), batch.payloads)))
        if column is None:
            rest.append(key)
        else:
            columns.update(column.stored)
            tokens.append(column.tokens)
    names = tuple(columns)
    rows = [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    if rest:
        others = ({key: payload[key] for key in rest} for payload in batch.payloads)
        tokens.append([" ".join(_add_facts(stored, payload)) for stored, payload in zip(rows, others, strict=True)])
    for point_id, stored, text in zip(batch.ids, rows, map(" ".join, zip(*tokens, strict=True)), strict=True):
        if type(point_id) is str:
            stored[ORIGINAL_ID] = point_id
        stored[TOKENS] = text
    return rows


class _Column(NamedTuple):
    """What the values of one field come to, row by row."""

    stored: dict[str, list[Any]]
    tokens: list[str]


def _column(field: Field, values: list[Any]) -> _Column | None:
    """The column of values that are all of one plain kind; ``None`` for others, which are looked at one by one."""
    kinds, start = set(map(type, values)), field.scalars
    if kinds == {str} and not any(map(_is_instant, values)):
        return _Column({field.text: values}, [start[Kind.STRING] + text for text in map(_spelt, values)])
    if kinds in ({int}, {float}):
        parts = list(map(number_parts, values))
        if not any(low for _, low in parts):
            spelt = map(_canonical_number, values)
            return _Column(
                {field.number: [2 * high for high, _ in parts]}, [start[Kind.NUMBER] + number for number in spelt]
            )
    if kinds == {bool}:
        return _Column({}, [start[Kind.BOOL] + _BOOLS[value] for value in values])
    if kinds == {list} and set(map(type, chain.from_iterable(values))) == {str}:
        before = f" {field.equals[Kind.STRING]}"
        if not any(map(_is_instant, chain.from_iterable(values))):
            return _Column({}, [before.join([start[Kind.LIST], *map(_spelt, value)]) for value in values])
    return None


def _is_instant(text: str) -> bool:
    return len(text) >= _SHORTEST_INSTANT and parse_instant(text) is not None


def engine_payload(point_id: PointId, document: bytes, payload: Mapping[str, Any]) -> dict[str, Any]:
    """What the engine stores beside the vector."""
    stored: dict[str, Any] = {DOCUMENT: document.decode()}
    if type(point_id) is str:
        stored[ORIGINAL_ID] = point_id
    stored[TOKENS] = " ".join(_add_facts(stored, payload))
    return stored


def _add_facts(stored: dict[str, Any], payload: Mapping[str, Any]) -> list[str]:
    """Store what can be compared, and give the tokens."""
    tokens: list[str] = []
    for path, kind, value, element in leaves(payload):
        field = field_of(path)
        token = (field.equals if element else field.scalars)[kind]
        if kind is Kind.STRING:
            text: str = value  # type: ignore[assignment]
            token += text if _PLAIN(text) else _spelt(text)
            if not element:
                stored[field.text] = text
            if len(text) >= _SHORTEST_INSTANT and (instant := parse_instant(text)) is not None:
                _store(stored, field, field.instant, instant_parts(instant), element)
        elif kind is Kind.NUMBER:
            token += _canonical_number(value)
            _store(stored, field, field.number, number_parts(value), element)
        elif kind is Kind.BOOL:
            token += _BOOLS[value]
        tokens.append(token)
    return tokens


def _store(stored: dict[str, Any], field: Field, key: str, parts: Parts, element: bool) -> None:
    high, low = parts
    whole = 2 * high + 1 if low else 2 * high
    if element:
        stored.setdefault(key, []).append(whole)
    else:
        stored[key] = whole
    if low:
        stored.setdefault(field.finer(key, high), []).append(low)


def engine_id(point_id: PointId) -> int | str:
    """An integer as it is; for a string, which Qdrant does not take, the UUID of its 128-bit digest."""
    return point_id if type(point_id) is int else _digest(point_id)  # type: ignore[arg-type]


# --- vectors ---------------------------------------------------------------------------------------------------------


def check_lengths(matrix: FloatMatrix, metric: DistanceMetric, ids: Sequence[PointId] = ()) -> None:
    """Refuse vectors so long that the engine's float32 sums would overflow: it loses such points without a word."""
    if metric is DistanceMetric.COSINE or not matrix.size:
        return
    if max(float(matrix.max()), -float(matrix.min())) * math.sqrt(matrix.shape[1]) <= _LONGEST_VECTOR:
        return
    lengths = np.linalg.norm(matrix.astype(np.float64), axis=1)
    row = int(np.argmax(lengths))
    if lengths[row] > _LONGEST_VECTOR:
        which = f"the vector of point {ids[row]!r}" if ids else "query_vector"
        raise InvalidVectorError(f"{which} must not be longer than {_LONGEST_VECTOR:g} under this metric")


def query_vector(vector: FloatMatrix, metric: DistanceMetric) -> FloatMatrix:
    """The query as it is sent."""
    if metric is not DistanceMetric.COSINE:
        return vector
    exact = vector.astype(np.float64)
    normalised: FloatMatrix = (exact / math.sqrt(exact @ exact)).astype(np.float32)
    return normalised


def stored_vectors(matrix: FloatMatrix, metric: DistanceMetric) -> tuple[FloatMatrix, list[dict[str, Any]]]:
    """The vectors as they are stored, and what each needs beside it to be given back as it came.

    Cosine is the dot product of vectors that are normalised here, once: the engine's own cosine forgets the length.
    """
    beside: list[dict[str, Any]] = [{} for _ in range(len(matrix))]
    stored = matrix
    if metric is DistanceMetric.COSINE:
        exact = matrix.astype(np.float64)
        lengths = np.sqrt(np.einsum("ij,ij->i", exact, exact))
        lengths[np.abs(lengths - 1.0) < 1e-7] = 1.0
        stored = (exact / lengths[:, np.newaxis]).astype(np.float32)
        beside = [{} if length == 1.0 else {_LENGTH: length} for length in lengths.tolist()]
    # Subnormal numbers have fewer digits, and lose more of them in JSON.
    lost = (np.abs(stored) < _SMALLEST_NORMAL) & (matrix != 0)
    for row in np.flatnonzero(lost.any(axis=1)):
        beside[row] = {_RAW: base64.b64encode(matrix[row].tobytes()).decode()}
    return stored, beside


def _given_vector(vectors: Any, payload: Mapping[str, Any]) -> list[float]:
    if _RAW in payload:
        raw: list[float] = np.frombuffer(base64.b64decode(payload[_RAW]), dtype=np.float32).tolist()
        return raw
    [vector] = vectors.values()
    if _LENGTH not in payload:
        return list(vector)
    given: list[float] = (np.asarray(vector, dtype=np.float64) * payload[_LENGTH]).astype(np.float32).tolist()
    return given


# --- results ---------------------------------------------------------------------------------------------------------

_SCORES: Final[dict[DistanceMetric, Callable[[float], float]]] = {
    DistanceMetric.COSINE: clamp_cosine,
    DistanceMetric.DOT_PRODUCT: float,
    DistanceMetric.EUCLIDEAN: score_of_distance,
    DistanceMetric.MANHATTAN: score_of_distance,
}


def wanted_fields(with_payload: WithPayload, with_vectors: bool) -> list[str]:
    """The fields to read."""
    fields = [ORIGINAL_ID]
    if with_payload:
        fields.append(DOCUMENT)
    return [*fields, _LENGTH, _RAW] if with_vectors else fields


def results_of(
    hits: Iterable[Any], metric: DistanceMetric, with_payload: WithPayload, with_vectors: bool
) -> list[SearchResult]:
    """The hits of any of the engine's clients."""
    score, read = _SCORES[metric], _reader(with_payload)
    results = []
    for hit in hits:
        stored = hit.payload or {}
        vector = _given_vector(hit.vector, stored) if with_vectors else None
        results.append(SearchResult(_given_id(hit, stored), score(hit.score), read(stored), vector))
    return results


def points_of(records: Iterable[Any], with_payload: WithPayload, with_vectors: bool) -> list[VectorPoint]:
    """The records of any of the engine's clients."""
    read = _reader(with_payload)
    points = []
    for record in records:
        stored = record.payload or {}
        vector: Sequence[float] = _given_vector(record.vector, stored) if with_vectors else []
        points.append(VectorPoint(_given_id(record, stored), vector, read(stored)))
    return points


def _given_id(hit: Any, stored: Mapping[str, Any]) -> PointId:
    point_id: PointId | None = stored.get(ORIGINAL_ID)
    return hit.id if point_id is None else point_id  # read only where it is needed: some clients make a UUID of it


def _reader(with_payload: WithPayload) -> Callable[[Mapping[str, Any]], Payload]:
    if with_payload is True:
        return lambda stored: decode_payload(stored[DOCUMENT])
    if not with_payload:
        return lambda stored: {}
    return lambda stored: project(decode_payload(stored[DOCUMENT]), with_payload)
