"""The nouns of the protocol: points, results, filters, collections and plug-in descriptions.

They carry data and check nothing: a value is judged once, at a backend's door (``codeweaver_backends.validate``),
so that a wrong one is answered by the contract's error and not by a constructor's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

__all__ = [
    "BaseComponentInfo",
    "CollectionInfo",
    "ComponentType",
    "DistanceMetric",
    "FilterCondition",
    "FilterLike",
    "FloatMatrix",
    "HybridStrategy",
    "Payload",
    "PointId",
    "Scalar",
    "ScrollPage",
    "SearchFilter",
    "SearchResult",
    "SparseVector",
    "ValidationResult",
    "VectorLike",
    "VectorPoint",
]

PointId: TypeAlias = str | int
"""A point's identity. Value and type count: ``1`` and ``"1"`` are two points."""

Payload: TypeAlias = dict[str, Any]
"""Any JSON object."""

Scalar: TypeAlias = str | int | float | bool | None
"""A JSON scalar, the operand of ``eq`` and its kin."""

SparseVector: TypeAlias = Mapping[str, float] | Mapping[int, float]
"""Term (or index) → weight."""

VectorLike: TypeAlias = Sequence[float] | npt.NDArray[Any]
"""Numbers in one row: a list, a tuple, or a numpy array of shape ``(dimension,)`` and any real type."""

FloatMatrix: TypeAlias = npt.NDArray[np.float32]
"""float32, of shape ``(points, dimension)``, or ``(dimension,)`` for a query."""


class DistanceMetric(StrEnum):
    """How nearness is measured; a member equals its string. Scores are higher-is-better for each."""

    COSINE = "cosine"
    EUCLIDEAN = "euclidean"
    DOT_PRODUCT = "dot_product"
    MANHATTAN = "manhattan"


class HybridStrategy(StrEnum):
    """How a dense and a sparse ranking become one."""

    RRF = "rrf"
    DBSF = "dbsf"
    LINEAR = "linear"
    CONVEX = "convex"
    WEIGHTED = "linear"  # the other name of LINEAR


class ComponentType(StrEnum):
    """What a plugin provides to the host application."""

    BACKEND = "backend"


@dataclass(slots=True, eq=False)
class VectorPoint:
    """One point: an id, a dense vector of the collection's dimension, and optionally a payload and a sparse vector.

    ``vector`` is ``None`` where a reading call was not asked for vectors; a point to be written has one. Points are
    equal if their ids are, type included, and their payloads and vectors; a list equals an array of the same numbers.
    """

    id: PointId
    vector: VectorLike | None
    payload: Mapping[str, Any] | None = None
    sparse_vector: SparseVector | None = None

    __hash__ = None  # type: ignore[assignment]  # its fields can be changed

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, VectorPoint):
            return NotImplemented
        return (
            type(self.id) is type(other.id)
            and self.id == other.id
            and _is_same_vector(self.vector, other.vector)
            and self.payload == other.payload
            and self.sparse_vector == other.sparse_vector
        )


def _is_same_vector(one: VectorLike | None, other: VectorLike | None) -> bool:
    if one is None or other is None:
        return one is other
    return np.array_equal(one, other)  # not ==, which numpy answers number by number


@dataclass(slots=True)
class SearchResult:
    """One hit: ``score`` is higher-is-better; ``vector`` is filled only when asked for (``with_vectors=True``)."""

    id: PointId
    score: float
    payload: Payload | None = None
    vector: list[float] | None = None


@dataclass(slots=True)
class FilterCondition:
    """One test of one payload field.

    ``field`` is dotted into nested objects (``"meta.lang"``); a tuple spells the segments out, for keys that hold dots
    or are empty (``("a.b", "")``). ``operator`` is one of ``eq ne in nin gt ge lt le contains exists is_null regex``
    or an alias (``== != > >= gte < <= lte not_in``).
    """

    field: str | tuple[str, ...]
    operator: str
    value: Any = None


@dataclass(slots=True)
class SearchFilter:
    """All of ``must`` (and ``conditions``), at least one of ``should``, none of ``must_not``.

    Every list takes conditions, nested filters, and plain dicts of either. An absent or empty list is no restriction.
    """

    must: Sequence[FilterLike] | None = None
    should: Sequence[FilterLike] | None = None
    must_not: Sequence[FilterLike] | None = None
    conditions: Sequence[FilterLike] | None = None


FilterLike: TypeAlias = FilterCondition | SearchFilter | Mapping[str, Any]
"""A filter, a lone condition, or a dict with the fields of either."""


@dataclass(slots=True)
class CollectionInfo:
    """What is stored about a collection. ``vector_count`` counts points exactly, after the last acknowledged write."""

    name: str
    dimension: int
    distance_metric: DistanceMetric
    vector_count: int
    indexed_vector_count: int | None = None
    payload_indexes: dict[str, str] = field(default_factory=dict)
    vector_index: str | dict[str, Any] = "exact"
    """As ``create_collection`` was given it. ``indexed_vector_count`` tells what the index answers for; ``None``: the
    engine only estimates it."""
    sparse_index: dict[str, Any] | None = None
    """What ``create_sparse_index`` was given, by the names of its arguments; ``None``: there is none. A field is a
    tuple of keys."""
    engine_options: dict[str, Any] = field(default_factory=dict)
    """As ``create_collection`` was given them, with those of the configuration."""


@dataclass(slots=True)
class ScrollPage:
    """One page of ``ScannableBackend.scroll_vectors``: ``cursor`` is ``None`` on the last one."""

    points: list[VectorPoint]
    cursor: str | None = None


class BaseComponentInfo(BaseModel):
    """What a plugin says of itself to people."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    display_name: str = ""
    description: str = ""
    component_type: ComponentType = ComponentType.BACKEND
    version: str = "0"
    author: str = ""
    homepage: str = ""


class ValidationResult(BaseModel):
    """The outcome of a plugin's ``validate_config``: errors forbid the configuration, warnings only advise."""

    model_config = ConfigDict(extra="forbid")

    is_valid: bool
    errors: list[str] = []
    warnings: list[str] = []
