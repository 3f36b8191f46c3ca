"""The arguments of ``hybrid_search`` and ``update_sparse_vectors``, judged as far as that needs no collection."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from codeweaver_backends.capabilities import BackendCapabilities
from codeweaver_backends.errors import InvalidInputError, InvalidOptionError, InvalidVectorError
from codeweaver_backends.sdk.hybrid.definition import SparseIndex
from codeweaver_backends.sdk.hybrid.vectors import SparseRow, SparseRows, sparse_row
from codeweaver_backends.sdk.requests import CollectionSettings, HybridQuery, Slot
from codeweaver_backends.sdk.validate import (
    QueryDraft,
    validate_ids,
    validate_limit,
    validate_options,
    validate_query,
    validate_sparse,
)
from codeweaver_backends.types import FilterLike, HybridStrategy, PointId

__all__ = ["DEFAULT_CANDIDATES", "HybridDraft", "validate_hybrid", "validate_updates"]

DEFAULT_CANDIDATES: Final = 100


@dataclass(frozen=True, slots=True)
class HybridDraft:
    """A hybrid search, judged but for what depends on the collection: the vector, and what a text means."""

    query: QueryDraft
    sparse: SparseRow | str
    candidates: int
    strategy: HybridStrategy
    alpha: float

    @property
    def is_text(self) -> bool:
        """Whether the collection's sparse index is needed."""
        return isinstance(self.sparse, str)

    def on(self, settings: CollectionSettings, index: SparseIndex | None) -> HybridQuery:
        """The query for a collection. Raises ``InvalidInputError`` for a text where there is no sparse index."""
        dense = self.query.on(settings)
        if not isinstance(self.sparse, str):
            slot, sparse = Slot.SPARSE, self.sparse
        elif index is None:
            raise InvalidInputError(
                "a text query needs a sparse index, and the collection has none: call create_sparse_index"
            )
        else:
            slot, sparse = Slot.TEXT, index.query(self.sparse)
        return HybridQuery(
            dense.vector,
            slot,
            sparse,
            dense.limit,
            self.candidates,
            self.strategy,
            self.alpha,
            dense.filter,
            dense.projection,
            dense.exact,
            dense.effort,
        )


def validate_hybrid(
    dense_vector: object,
    sparse_query: object,
    limit: object,
    strategy: object,
    alpha: object,
    search_filter: FilterLike | None,
    options: Mapping[str, Any],
    capabilities: BackendCapabilities,
) -> HybridDraft:
    """The arguments of ``hybrid_search``."""
    own = ("dense_vector", "sparse_query", "limit", "hybrid_strategy", "alpha", "search_filter")
    validate_options(options, ("with_payload", "with_vectors", "exact", "effort", "candidates"), own)
    shown = {name: value for name, value in options.items() if name != "candidates"}
    query = validate_query(dense_vector, limit, search_filter, None, shown, capabilities, name="dense_vector")
    return HybridDraft(
        query,
        sparse_query if isinstance(sparse_query, str) else _row(sparse_query),
        _candidates(options.get("candidates"), query.limit, capabilities),
        _strategy(strategy),
        _alpha(alpha),
    )


def _row(query: object) -> SparseRow:
    if not isinstance(query, Mapping):
        raise InvalidVectorError(f"sparse_query must be a dict or a text, not a {type(query).__name__}")
    return sparse_row(query)


def _candidates(value: object, limit: int, capabilities: BackendCapabilities) -> int:
    if value is None:
        return max(DEFAULT_CANDIDATES, limit)
    checked = validate_limit(value, capabilities.limits, name="candidates")
    if checked < max(1, limit):
        raise InvalidInputError(f"candidates must be at least the limit, {max(1, limit)}, not {checked}")
    return checked


def _strategy(value: object) -> HybridStrategy:
    if isinstance(value, HybridStrategy):
        return value
    if type(value) is str:
        with suppress(ValueError):
            return HybridStrategy(value)
    names = ", ".join(one.value for one in HybridStrategy)
    raise InvalidOptionError(f"hybrid_strategy must be a HybridStrategy or one of {names}")


def _alpha(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.floating | np.integer):
        raise InvalidOptionError(f"alpha must be a number, not a {type(value).__name__}")
    if not 0 <= value <= 1:  # so written, NaN is refused too
        raise InvalidInputError("alpha must be a number of 0 to 1")
    return math.fabs(float(value))


def validate_updates(points: object) -> tuple[list[PointId], SparseRows]:
    """The points of ``update_sparse_vectors``: ids and sparse vectors, of equal ids the last."""
    if isinstance(points, str | bytes | Mapping) or not isinstance(points, Iterable):
        raise InvalidOptionError(f"vectors must be a list of VectorPoint, not a {type(points).__name__}")
    given: list[Any] = list(points)
    try:
        ids, vectors = [point.id for point in given], [point.sparse_vector for point in given]
    except AttributeError:
        raise InvalidOptionError("vectors must hold VectorPoint objects only") from None
    distinct, rows = validate_ids(ids), validate_sparse(ids, vectors)
    last = {point_id: row for row, point_id in enumerate(ids)}
    return distinct, rows.take([last[point_id] for point_id in distinct])
