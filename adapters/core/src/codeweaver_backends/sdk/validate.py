"""The door of every backend: arguments in, judged once, in the form an adapter uses as it is.

A batch becomes ids, one float32 matrix and JSON documents; a search becomes a ``Query`` with a filter tree.
Everything the contract forbids raises here, before an engine is touched, with an error that names the argument, the
kind of the value and what is allowed. Values themselves are not shown: they may be secret, and they may be long.
"""

from __future__ import annotations

import math
import operator
import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from codeweaver_backends.capabilities import BackendCapabilities, Limits
from codeweaver_backends.errors import (
    InvalidDimensionError,
    InvalidIdError,
    InvalidInputError,
    InvalidNameError,
    InvalidOptionError,
    InvalidVectorError,
    LimitExceededError,
    UnsupportedError,
)
from codeweaver_backends.sdk.filters.parse import parse_filter
from codeweaver_backends.sdk.filters.tree import Node
from codeweaver_backends.sdk.hybrid.vectors import SparseRows, sparse_row
from codeweaver_backends.sdk.index.keys import INT64_MAX
from codeweaver_backends.sdk.payloads import encode_payloads
from codeweaver_backends.sdk.requests import Batch, CollectionSettings, Page, Projection, Query, WithPayload
from codeweaver_backends.sdk.vector_index import VectorIndex
from codeweaver_backends.types import DistanceMetric, FilterLike, FloatMatrix, PointId, VectorPoint

__all__ = [
    "FOREIGN_CURSOR",
    "MAX_ID_LENGTH",
    "PointsDraft",
    "QueryDraft",
    "validate_batch_size",
    "validate_columns",
    "validate_create",
    "validate_ids",
    "validate_limit",
    "validate_name",
    "validate_options",
    "validate_page",
    "validate_points",
    "validate_projection",
    "validate_query",
    "validate_sparse",
    "validate_vector",
]

FOREIGN_CURSOR: Final = "cursor must be None or what the last page gave"
_CURSOR_LENGTH: Final = 8_192
_MOST_EFFORT: Final = 1_000_000
_SURROGATE: Final = re.compile("[\ud800-\udfff]")

MAX_ID_LENGTH: Final = 512
"""Code points of a string id."""


# --- collections -----------------------------------------------------------------------------------------------------


def validate_name(name: object) -> str:
    """A collection name: 1–80 bytes of UTF-8 without control characters; ``.`` and ``..`` are refused."""
    if type(name) is not str:
        raise InvalidNameError(f"a collection name must be a string, not a {type(name).__name__}")
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise InvalidNameError("a collection name must not hold a lone surrogate") from None
    if not 1 <= size <= 80:
        raise InvalidNameError(f"a collection name must have 1 to 80 bytes of UTF-8, not {size}")
    if name in (".", ".."):
        raise InvalidNameError("a collection name must not be '.' or '..'")
    if any(ord(character) < 32 or 127 <= ord(character) < 160 for character in name):
        raise InvalidNameError("a collection name must not hold control characters")
    return name


_ENGINE_TYPES: Final = {"boolean": bool, "integer": int, "text": str}


def validate_create(
    name: object,
    dimension: object,
    metric: object,
    options: Mapping[str, Any],
    capabilities: BackendCapabilities,
) -> tuple[bool, CollectionSettings]:
    """The arguments of ``create_collection``: whether it may exist already, and the settings."""
    checked = validate_name(name)
    size = _index(dimension, "dimension")
    if size < 1:
        raise InvalidDimensionError(f"dimension must be at least 1, not {size}")
    if size > capabilities.max_vector_dimension:
        raise InvalidDimensionError(f"dimension must be at most {capabilities.max_vector_dimension}, not {size}")
    metric = _metric(metric)
    if metric not in capabilities.supported_distance_metrics:
        allowed = ", ".join(one.name for one in capabilities.supported_distance_metrics)
        raise UnsupportedError(
            f"the metric {metric.name} is not supported; supported are {allowed}",
            capability="supported_distance_metrics",
        )
    validate_options(options, ("payload_indexes", "vector_index", "engine_options", "exist_ok"))
    indexes = _payload_indexes(options.get("payload_indexes"), capabilities)
    vectors = VectorIndex.judged(options.get("vector_index", "auto"), capabilities)
    return _flag(options.get("exist_ok", False), "exist_ok"), CollectionSettings(
        checked, size, metric, indexes, vectors, _engine_options(options.get("engine_options"), capabilities)
    )


def _metric(value: object) -> DistanceMetric:
    if isinstance(value, DistanceMetric):
        return value
    if type(value) is str:
        with suppress(ValueError):
            return DistanceMetric(value)
    names = ", ".join(one.value for one in DistanceMetric)
    given = "another text" if isinstance(value, str) else f"a {type(value).__name__}"
    raise InvalidOptionError(f"distance_metric must be a DistanceMetric or one of {names}, not {given}")


def _payload_indexes(value: object, capabilities: BackendCapabilities) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidOptionError(f"payload_indexes must be a dict of field to type, not a {type(value).__name__}")
    if value and not capabilities.supports_payload_indexes:
        raise UnsupportedError("payload indexes are not supported", capability="supports_payload_indexes")
    for name, kind in value.items():
        if type(name) is not str or not all(name.split(".")):
            raise InvalidOptionError("a field of payload_indexes must be a dotted path without empty segments")
        try:
            name.encode()
        except UnicodeEncodeError:
            raise InvalidOptionError("a field of payload_indexes must not hold a lone surrogate") from None
        if kind not in capabilities.payload_index_types:
            allowed = ", ".join(capabilities.payload_index_types)
            raise InvalidOptionError(f"the type of the payload index on {name!r} must be one of {allowed}")
    return dict(value)


def _engine_options(value: object, capabilities: BackendCapabilities) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidOptionError(f"engine_options must be a dict of name to value, not a {type(value).__name__}")
    known = capabilities.engine_options
    if value and not known:
        names = ", ".join(map(str, value))
        raise UnsupportedError(
            f"no options are passed on to this engine, and so not {names}", capability="engine_options"
        )
    for name, given in value.items():
        if name not in known:
            raise InvalidOptionError(f"no engine option has that name; known are {', '.join(known)}")
        kind = known[name]
        if type(given) is not _ENGINE_TYPES[kind]:
            raise InvalidOptionError(f"the engine option {name} must be of type {kind}, not a {type(given).__name__}")
        if isinstance(given, int) and kind == "integer" and given < 1:
            raise InvalidOptionError(f"the engine option {name} must be at least 1")
        if isinstance(given, str) and not (given and given.isprintable()):
            raise InvalidOptionError(f"the engine option {name} must be a text of printable characters")
    return dict(value)


def validate_options(options: Mapping[str, Any], allowed: Sequence[str], arguments: Sequence[str] = ()) -> None:
    """Refuse every keyword that is not allowed. ``arguments`` are the call's own, which may have been misspelt."""
    for name in options:
        if name not in allowed:
            known = f"; known are {', '.join([*arguments, *allowed])}" if allowed else ""
            raise InvalidOptionError(f"unknown option {name!r}{known}")


def _flag(value: object, name: str) -> bool:
    if isinstance(value, bool):
        return value
    raise InvalidOptionError(f"{name} must be a bool, not a {type(value).__name__}")


def _index(value: object, name: str) -> int:
    if isinstance(value, bool | np.bool_):
        raise InvalidOptionError(f"{name} must be an integer, not a bool")
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise InvalidOptionError(f"{name} must be an integer, not a {type(value).__name__}") from None


# --- ids -------------------------------------------------------------------------------------------------------------


def validate_ids(ids: object) -> list[PointId]:
    """A list of ids, repeated ones dropped, order kept."""
    if isinstance(ids, str | bytes | Mapping) or not isinstance(ids, Iterable):
        raise InvalidIdError(f"ids must be a list of ids, not a {type(ids).__name__}")
    given = list(ids)
    _check_ids(given)
    return list(dict.fromkeys(given))


def _check_ids(ids: Iterable[object]) -> None:
    for position, point_id in enumerate(ids):
        kind = type(point_id)
        if kind is int:
            if not 0 <= point_id <= INT64_MAX:  # type: ignore[operator]
                raise InvalidIdError(f"the id at position {position} must be an integer of 0 … 2^63−1")
        elif kind is str:
            _check_text_id(point_id, position)  # type: ignore[arg-type]
        else:
            raise InvalidIdError(
                f"the id at position {position} must be a string or an integer, not a {kind.__name__}{_hint(kind)}"
            )


def _check_text_id(point_id: str, position: int) -> None:
    if not 1 <= len(point_id) <= MAX_ID_LENGTH:
        raise InvalidIdError(
            f"the id at position {position} must have 1 to {MAX_ID_LENGTH} characters, not {len(point_id)}"
        )
    if not point_id.isascii():
        try:
            point_id.encode()
        except UnicodeEncodeError:
            raise InvalidIdError(f"the id at position {position} holds a lone surrogate") from None


def _hint(kind: type) -> str:
    if issubclass(kind, np.integer):
        return "; pass int(id)"
    if kind.__name__ == "UUID":
        return "; pass str(id)"
    return ""


# --- vectors ---------------------------------------------------------------------------------------------------------


def validate_vector(vector: object, settings: CollectionSettings, *, name: str = "query_vector") -> FloatMatrix:
    """One vector as float32 of shape ``(dimension,)``."""
    matrix = _matrix([vector], settings, lambda _: name)
    first: FloatMatrix = matrix[0]
    return first


def _matrix(vectors: Sequence[Any], settings: CollectionSettings, label: Any) -> FloatMatrix:
    """Pack vectors to one matrix. ``struct`` packs lists faster than numpy, and takes no text for a number."""
    dimension = settings.dimension
    packed = np.empty((len(vectors), dimension), dtype=np.float32)
    view: Any = packed.reshape(-1).view(np.uint8).data
    pack = struct.Struct(f"{dimension}f").pack_into
    stride = 4 * dimension
    for row, vector in enumerate(vectors):
        kind = type(vector)
        try:
            if kind is list or kind is tuple:
                pack(view, row * stride, *vector)
            elif kind is np.ndarray and vector.dtype == np.float32 and vector.shape == (dimension,):
                packed[row] = vector
            else:
                packed[row] = _array(vector, dimension)
        except (struct.error, TypeError, ValueError, OverflowError):
            raise _bad_vector(vector, dimension, label(row)) from None
    _check_values(packed, settings.metric, label)
    return packed


def _array(vector: Any, dimension: int) -> Any:
    if isinstance(vector, str | bytes | bytearray | Mapping | set):
        raise TypeError
    array = np.asarray(vector)
    if array.dtype.kind not in "fiu" or array.shape != (dimension,):
        raise ValueError
    with np.errstate(over="ignore"):
        return array.astype(np.float32)


def _bad_vector(vector: Any, dimension: int, label: str) -> InvalidInputError:
    try:
        size = len(vector)
    except TypeError:
        return InvalidVectorError(f"{label} must be a sequence of {dimension} numbers, not a {type(vector).__name__}")
    if size != dimension:
        return InvalidDimensionError(f"{label} must have dimension {dimension}, not {size}")
    return InvalidVectorError(f"{label} must hold numbers only")


def _check_values(matrix: FloatMatrix, metric: DistanceMetric, label: Any) -> None:
    squares = np.einsum("ij,ij->i", matrix, matrix).tolist()
    if math.isfinite(sum(squares)) and all(squares):
        return  # nearly always; a square that overflows or vanishes may still be of good numbers
    finite = np.isfinite(matrix).all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        raise InvalidVectorError(f"{label(row)} must hold finite float32 numbers only (no NaN, no infinity)")
    if metric is DistanceMetric.COSINE:
        nonzero = matrix.any(axis=1)
        if not nonzero.all():
            raise InvalidVectorError(f"{label(int(np.argmin(nonzero)))} must not be zero: it has no cosine")


# --- what is wanted of a point ---------------------------------------------------------------------------------------


def validate_projection(with_payload: object, with_vectors: object) -> Projection:
    """The options ``with_payload`` (a bool or a list of top-level keys) and ``with_vectors`` (a bool)."""
    return Projection(_wanted_payload(with_payload), _flag(with_vectors, "with_vectors"))


def _wanted_payload(value: object) -> WithPayload:
    if isinstance(value, bool):
        return value
    if isinstance(value, list | tuple) and all(type(key) is str for key in value):
        return tuple(value)
    raise InvalidOptionError(f"with_payload must be a bool or a list of keys, not a {type(value).__name__}")


# --- batches ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PointsDraft:
    """Points, judged as far as that is possible without knowing the collection: all but the vectors."""

    ids: list[PointId]
    vectors: Any
    payloads: list[Mapping[str, Any]]
    payload_json: list[bytes]
    kept: list[int] | None
    """The positions of the points to write, where an id comes more than once; ``None``: all."""
    sparse: SparseRows | None = None

    def on(self, settings: CollectionSettings) -> Batch:
        """The batch for a collection, its vectors as one float32 matrix. Of equal ids the last is kept."""
        if isinstance(self.vectors, np.ndarray):
            matrix = _column_matrix(self.vectors, settings, self.ids)
        else:
            matrix = _matrix(self.vectors, settings, self._label)
        batch = Batch(self.ids, matrix, self.payloads, self.payload_json, self.sparse)
        return batch if self.kept is None else batch.take(self.kept)

    def _label(self, row: int) -> str:
        return f"the vector of point {self.ids[row]!r}"


def validate_points(points: object, capabilities: BackendCapabilities) -> PointsDraft:
    """The points of ``upsert_vectors``. The whole batch is judged before a byte of it is sent."""
    if isinstance(points, str | bytes | Mapping) or not isinstance(points, Iterable):
        raise InvalidOptionError(f"vectors must be a list of VectorPoint, not a {type(points).__name__}")
    given: list[VectorPoint] = list(points)
    try:
        ids = [point.id for point in given]
        vectors = [point.vector for point in given]
        payloads = [point.payload for point in given]
        sparse = [point.sparse_vector for point in given]
    except AttributeError:
        raise InvalidOptionError("vectors must hold VectorPoint objects only") from None
    has_sparse = any(vector is not None for vector in sparse)
    if any(sparse) and not capabilities.supports_hybrid_search:
        raise UnsupportedError("sparse vectors are not supported", capability="supports_hybrid_search")
    draft = _draft(ids, vectors, payloads, capabilities.limits)
    return replace(draft, sparse=validate_sparse(ids, sparse)) if has_sparse else draft


def validate_sparse(ids: Sequence[PointId], vectors: Iterable[object]) -> SparseRows:
    """The sparse vectors of points, a row each. An error names the point."""
    return SparseRows.of(
        sparse_row(vector, f"the sparse vector of point {point_id!r}")
        for point_id, vector in zip(ids, vectors, strict=True)
    )


def validate_columns(ids: object, vectors: object, payloads: object, capabilities: BackendCapabilities) -> PointsDraft:
    """The columns of ``upsert_batch``."""
    if isinstance(ids, str | bytes | Mapping) or not isinstance(ids, Iterable):
        raise InvalidIdError(f"ids must be a sequence of ids, not a {type(ids).__name__}")
    given = list(ids)
    if not isinstance(vectors, np.ndarray) or vectors.dtype.kind not in "fiu":
        raise InvalidVectorError(f"vectors must be a numpy matrix of numbers, not a {type(vectors).__name__}")
    if vectors.ndim != 2 or vectors.shape[0] != len(given):
        raise InvalidVectorError(f"vectors must have shape ({len(given)}, dimension), not {vectors.shape}")
    if payloads is None:
        payloads = [None] * len(given)
    elif isinstance(payloads, str | bytes | Mapping) or not isinstance(payloads, Sequence):
        raise InvalidOptionError(f"payloads must be a sequence of dicts, not a {type(payloads).__name__}")
    if len(payloads) != len(given):
        raise InvalidOptionError(f"payloads must have one entry per id: {len(given)}, not {len(payloads)}")
    return _draft(given, vectors, payloads, capabilities.limits)


def _draft(
    ids: list[PointId], vectors: Any, payloads: Sequence[Mapping[str, Any] | None], limits: Limits
) -> PointsDraft:
    _check_ids(ids)
    payload_json = encode_payloads(ids, payloads, limits)
    return PointsDraft(ids, vectors, [payload or {} for payload in payloads], payload_json, _last_of_each(ids))


def _column_matrix(vectors: Any, settings: CollectionSettings, ids: list[PointId]) -> FloatMatrix:
    if vectors.shape[1] != settings.dimension:
        raise InvalidDimensionError(f"vectors must have dimension {settings.dimension}, not {vectors.shape[1]}")
    with np.errstate(over="ignore"):
        matrix = np.ascontiguousarray(vectors, dtype=np.float32)
    _check_values(matrix, settings.metric, lambda row: f"the vector of point {ids[row]!r}")
    return matrix


def _last_of_each(ids: list[PointId]) -> list[int] | None:
    """The positions to keep, or ``None`` for all."""
    if len(set(ids)) == len(ids):
        return None
    last = {point_id: position for position, point_id in enumerate(ids)}
    return sorted(last.values())


# --- searches --------------------------------------------------------------------------------------------------------


def validate_limit(limit: object, limits: Limits, *, name: str = "limit") -> int:
    """``limit``: an integer of 0 to the declared maximum."""
    checked = _index(limit, name)
    if checked < 0:
        raise InvalidInputError(f"{name} must not be negative, it is {checked}")
    if checked > limits.max_limit:
        raise LimitExceededError(f"{name} must be at most {limits.max_limit}, not {checked}", limit="max_limit")
    return checked


def validate_batch_size(batch_size: object) -> int:
    """``batch_size``: a positive integer."""
    checked = _index(batch_size, "batch_size")
    if checked < 1:
        raise InvalidInputError(f"batch_size must be at least 1, it is {checked}")
    return checked


@dataclass(frozen=True, slots=True)
class QueryDraft:
    """A search, judged but for the vector, which depends on the collection."""

    vector: object
    limit: int
    filter: Node
    threshold: float | None
    projection: Projection
    exact: bool = False
    effort: float = 1.0
    name: str = "query_vector"
    """What the vector is called in an error."""

    def on(self, settings: CollectionSettings) -> Query:
        """The query for a collection."""
        vector = validate_vector(self.vector, settings, name=self.name)
        return Query(vector, self.limit, self.filter, self.threshold, self.projection, self.exact, self.effort)


def validate_query(
    query_vector: object,
    limit: object,
    search_filter: FilterLike | None,
    score_threshold: object,
    options: Mapping[str, Any],
    capabilities: BackendCapabilities,
    *,
    name: str = "query_vector",
) -> QueryDraft:
    """The arguments of ``search_vectors``."""
    own = ("query_vector", "limit", "search_filter", "score_threshold")
    validate_options(options, ("with_payload", "with_vectors", "exact", "effort"), own)
    if query_vector is None or isinstance(query_vector, str | bytes | bytearray | Mapping | set | bool | int | float):
        raise InvalidVectorError(f"{name} must be a sequence of numbers, not a {type(query_vector).__name__}")
    return QueryDraft(
        query_vector,
        validate_limit(limit, capabilities.limits),
        parse_filter(search_filter, capabilities),
        _threshold(score_threshold),
        validate_projection(options.get("with_payload", True), options.get("with_vectors", False)),
        _flag(options.get("exact", False), "exact"),
        _effort(options.get("effort", 1.0), capabilities),
        name,
    )


def _effort(value: object, capabilities: BackendCapabilities) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.floating | np.integer):
        raise InvalidOptionError(f"effort must be a number, not a {type(value).__name__}")
    if not 1 <= value <= _MOST_EFFORT:  # so written, NaN is refused too
        raise InvalidInputError(f"effort must be a number of 1 to {_MOST_EFFORT:,}")
    if value != 1 and not capabilities.search_effort:
        raise UnsupportedError("effort is not supported", capability="search_effort")
    return float(value)


def validate_page(
    cursor: object,
    limit: object,
    search_filter: FilterLike | None,
    projection: Projection,
    capabilities: BackendCapabilities,
) -> Page:
    """The arguments of ``scroll_vectors``; a page holds at least one point."""
    if not (cursor is None or (isinstance(cursor, str) and _is_cursor(cursor))):
        raise InvalidOptionError(FOREIGN_CURSOR)
    size = validate_limit(limit, capabilities.limits)
    if size < 1:
        raise InvalidInputError("the limit of a page must be at least 1")
    return Page(cursor, size, parse_filter(search_filter, capabilities), projection)


def _is_cursor(text: str) -> bool:
    """Whether an adapter can have given it: one is made of an id, and engines take no lone surrogates."""
    return 0 < len(text) <= _CURSOR_LENGTH and not _SURROGATE.search(text)


def _threshold(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | np.floating | np.integer):
        raise InvalidOptionError(f"score_threshold must be a number, not a {type(value).__name__}")
    try:
        threshold = float(value)
    except OverflowError:
        threshold = math.inf
    if not math.isfinite(threshold):
        raise InvalidInputError("score_threshold must be finite")
    return threshold
