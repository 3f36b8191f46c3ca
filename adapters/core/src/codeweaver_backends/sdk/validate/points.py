"""Ids, vectors and batches of points."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from codeweaver_backends.capabilities import BackendCapabilities, Limits
from codeweaver_backends.errors import (
    InvalidDimensionError,
    InvalidIdError,
    InvalidInputError,
    InvalidOptionError,
    InvalidVectorError,
    UnsupportedError,
)
from codeweaver_backends.sdk.hints import hint
from codeweaver_backends.sdk.hybrid.vectors import SparseRows, sparse_row
from codeweaver_backends.sdk.index.keys import INT64_MAX
from codeweaver_backends.sdk.payloads import encode_payloads
from codeweaver_backends.sdk.requests import Batch, CollectionSettings
from codeweaver_backends.types import DistanceMetric, FloatMatrix, PointId, VectorPoint

MAX_ID_LENGTH: Final = 512
"""Code points of a string id."""


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
                f"the id at position {position} must be a string or an integer, not a {kind.__name__}{hint(kind)}"
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
        is_matrix = getattr(vector, "shape", ()) == (1, dimension)
        told = "; pass its only row" if is_matrix else ""
        return InvalidDimensionError(f"{label} must have dimension {dimension}, not {size}{told}")
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
