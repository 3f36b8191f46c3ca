"""Holding what was written against what was read: point by point, then by the answers to searches and filters."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import orjson

from codeweaver_backends.capabilities import BackendCapabilities
from codeweaver_backends.metrics import SCORE_TOLERANCE
from codeweaver_backends.sdk.hybrid.definition import field_strings
from codeweaver_backends.sdk.hybrid.vectors import sparse_row
from codeweaver_backends.transfer.origin import Origin
from codeweaver_backends.transfer.report import Check, OnProgress, Progress
from codeweaver_backends.types import (
    CollectionInfo,
    DistanceMetric,
    FilterCondition,
    HybridStrategy,
    PointId,
    SearchFilter,
    SearchResult,
    SparseVector,
    VectorPoint,
)

__all__ = ["Comparison", "compare_answers", "compare_points", "same_payload", "same_sparse", "same_vectors"]

_VECTOR_TOLERANCE: Final = 1e-6
"""Relative, per element: what the contract promises of a stored vector."""
_HITS: Final = 10
_OPERAND_LENGTH: Final = 200
_SHOWN: Final = 3


@dataclass(slots=True)
class Comparison:
    """What a pass over all points found."""

    points: int = 0
    missing: list[PointId] = field(default_factory=list)
    """The first few ids that the target does not have."""
    payloads: list[PointId] = field(default_factory=list)
    vectors: list[PointId] = field(default_factory=list)
    sparse: list[PointId] = field(default_factory=list)
    with_sparse: int = 0
    """How many of the points have a sparse vector."""
    counts: Counter[str] = field(default_factory=Counter)
    """How many there are of each."""
    textless: set[tuple[str, ...]] = field(default_factory=set)
    """Of the paths that were looked at, those at which no point has a text."""
    sample: list[VectorPoint] = field(default_factory=list)
    largest_norm: float = 0.0

    @property
    def differing(self) -> int:
        """Points that are not the same on both sides; one may count twice."""
        return self.counts.total()

    def note(self, kind: str, point_id: PointId) -> None:
        """Count a difference, and keep the first ids."""
        self.counts[kind] += 1
        if self.counts[kind] <= _SHOWN:
            getattr(self, kind).append(point_id)

    def checks(self) -> list[Check]:
        """The outcome."""
        told = (("ids", "missing"), ("payloads", "payloads"), ("vectors", "vectors"))
        checks = [self._check(name, kind, self.points) for name, kind in told]
        if self.with_sparse or self.counts["sparse"]:
            checks.append(self._check("sparse vectors", "sparse", self.with_sparse))
        return checks

    def _check(self, name: Any, kind: str, compared: int) -> Check:
        if count := self.counts[kind]:
            ids = ", ".join(map(repr, getattr(self, kind)))
            return Check(name, "failed", f"{count:,} differ, such as {ids}")
        return Check(name, "passed", f"{compared:,} compared")


def same_payload(first: Any, second: Any) -> bool:
    """Whether two payloads are equal as JSON: ``1`` is not ``1.0`` and not ``true``; ``None`` is ``{}``."""
    first, second = first or {}, second or {}
    if orjson.dumps(first, option=orjson.OPT_SORT_KEYS) == orjson.dumps(second, option=orjson.OPT_SORT_KEYS):
        return True
    return _same_json(first, second)


def _same_json(first: Any, second: Any) -> bool:
    """As above, where 0.0 and -0.0 are the same: the sign is not promised to stay."""
    if type(first) is not type(second):
        return False
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(_same_json(one, second[key]) for key, one in first.items())
    if isinstance(first, list):
        return len(first) == len(second) and all(map(_same_json, first, second))
    return bool(first == second)


def same_vectors(first: Sequence[Any], second: Sequence[Any]) -> list[bool]:
    """Row by row, whether two stored vectors are the same to float32."""
    a, b = (np.asarray(rows, dtype=np.float32).astype(np.float64) for rows in (first, second))
    if a.shape != b.shape:
        return [False] * len(first)
    near = np.abs(a - b) <= _VECTOR_TOLERANCE * np.maximum(np.abs(a), np.abs(b))
    rows: list[bool] = np.all(near, axis=1).tolist()
    return rows


def same_sparse(first: SparseVector | None, second: SparseVector | None) -> bool:
    """Whether two sparse vectors are the same to float32. A term is its index, and no vector is an empty one."""
    (indices, weights), (others, other_weights) = sparse_row(first), sparse_row(second)
    if not np.array_equal(indices, others):
        return False
    a, b = weights.astype(np.float64), other_weights.astype(np.float64)
    return bool((np.abs(a - b) <= _VECTOR_TOLERANCE * np.maximum(a, b)).all())


async def compare_points(
    origin: Origin,
    target: Any,
    name: str,
    total: int,
    samples: int,
    progress: OnProgress,
    repair: Any = None,
    *,
    with_sparse: bool = False,
    paths: Sequence[tuple[str, ...]] = (),
) -> Comparison:
    """Look every point of the origin up in the target's collection.

    ``repair``, an asynchronous function, is given the points of each page that are not the same there. ``with_sparse``
    says that both sides keep sparse vectors. ``paths`` are looked at for texts.
    """
    found, chosen = Comparison(textless=set(paths)), random.Random(0)  # noqa: S311 - a sample that can be had again
    async for page in origin.pages():
        wrong = await _compare_page(page.points, target, name, found, with_sparse)
        for path in tuple(found.textless):
            if any(text.strip() for one in page.points for text in field_strings(one.payload or {}, path)):
                found.textless.remove(path)
        for point in page.points:
            found.points += 1
            if len(found.sample) < samples:
                found.sample.append(point)
            elif samples and (place := chosen.randrange(found.points)) < samples:
                found.sample[place] = point
        progress(Progress("compare", origin.name, found.points, total))
        if wrong and repair is not None:
            await repair(wrong)
    return found


async def _compare_page(
    points: list[VectorPoint], target: Any, name: str, found: Comparison, with_sparse: bool
) -> list[VectorPoint]:
    if not points:
        return []
    got = {point.id: point for point in await target.get_vectors(name, [point.id for point in points])}
    there = [point for point in points if point.id in got]
    wrong = [point for point in points if point.id not in got]
    for point in wrong:
        found.note("missing", point.id)
    if not there:
        return wrong
    matrix = np.asarray([point.vector for point in there], dtype=np.float64)
    found.largest_norm = max(found.largest_norm, float(np.sqrt((matrix * matrix).sum(axis=1)).max()))
    is_same = same_vectors([point.vector for point in there], [got[point.id].vector for point in there])
    for point, same in zip(there, is_same, strict=True):
        payload = same_payload(point.payload, got[point.id].payload)
        if not same:
            found.note("vectors", point.id)
        if not payload:
            found.note("payloads", point.id)
        sparse = not with_sparse or same_sparse(point.sparse_vector, got[point.id].sparse_vector)
        found.with_sparse += bool(point.sparse_vector)
        if not sparse:
            found.note("sparse", point.id)
        if not (same and payload and sparse):
            wrong.append(point)
    return wrong


# --- answers ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Side:
    backend: Any
    name: str
    capabilities: BackendCapabilities

    async def search(self, vector: Any, search_filter: SearchFilter | None) -> list[SearchResult]:
        """The best points, without payload."""
        found: list[SearchResult] = await self.backend.search_vectors(
            self.name, [float(one) for one in vector], _HITS, search_filter, with_payload=False
        )
        return found

    async def search_sparse(self, vector: Any, query: Any) -> list[SearchResult]:
        """The best points of the sparse leg alone, without payload."""
        found: list[SearchResult] = await self.backend.hybrid_search(
            self.name,
            [float(one) for one in vector],
            query,
            _HITS,
            HybridStrategy.LINEAR,
            alpha=0.0,
            with_payload=False,
        )
        return found


async def compare_answers(
    found: Comparison,
    info: CollectionInfo,
    source: tuple[Any, str, BackendCapabilities],
    target: tuple[Any, str, BackendCapabilities],
) -> list[Check]:
    """Ask both sides the same: searches for sampled points, without a filter and with one made of a payload.

    Where both promise exact search for so many points, the answers must be the same but for ties; beyond, each point
    that both give must have the same score, and the share of common points is told.
    """
    sides = _Side(*source), _Side(*target)
    is_exact = all(side.capabilities.limits.exact_size >= info.vector_count for side in sides)
    filters = [(point, condition) for point in found.sample if (condition := _condition_of(point)) is not None]
    checks = [await _searches(found, info.distance_metric, sides, is_exact, [(point, None) for point in found.sample])]
    checks += await _hybrid_searches(found, sides, bool(info.sparse_index))
    wrong_counts = 0
    for _, condition in filters:
        counts = [await side.backend.count_vectors(side.name, SearchFilter(must=[condition])) for side in sides]
        wrong_counts += counts[0] != counts[1]
    if not filters:
        return [*checks, Check("filters", "not verified", "no sampled payload has a field to filter by")]
    if wrong_counts:
        detail = f"{wrong_counts} of {len(filters)} filters match another number of points"
        return [*checks, Check("filters", "failed", detail)]
    asked = [(point, SearchFilter(must=[condition])) for point, condition in filters]
    filtered = await _searches(found, info.distance_metric, sides, is_exact, asked)
    return [*checks, Check("filters", filtered.outcome, f"{len(filters)} counted, {filtered.detail}")]


async def _hybrid_searches(found: Comparison, sides: tuple[_Side, _Side], is_indexed: bool) -> list[Check]:
    """Ask both sides' sparse legs alone, by the vectors and the texts of sampled points: scores are sums, not ranks."""
    if not all(side.capabilities.supports_hybrid_search for side in sides):
        return []
    queries: list[tuple[VectorPoint, Any]] = [(point, point.sparse_vector) for point in found.sample]
    if is_indexed:
        queries += [(point, _text_of(point)) for point in found.sample]
    queries = [(point, query) for point, query in queries if query]
    if not queries:
        return []
    wrong = 0
    for point, query in queries:
        here, there = [await side.search_sparse(point.vector, query) for side in sides]
        largest = max((abs(hit.score) for hit in (*here, *there)), default=1.0)
        wrong += not _same_answers(here, there, 2 * SCORE_TOLERANCE * max(1.0, largest), True)
    if wrong:
        return [Check("hybrid", "failed", f"{wrong} of {len(queries)} sparse searches are answered otherwise")]
    return [Check("hybrid", "passed", f"{len(queries)} sparse searches, the same answers")]


def _text_of(point: VectorPoint) -> str:
    """A few words of the payload, to ask the sparse index for."""
    texts = (value for _, value in sorted((point.payload or {}).items()) if isinstance(value, str) and value.strip())
    return " ".join(next(texts, "").split()[:8])[:_OPERAND_LENGTH]


async def _searches(
    found: Comparison,
    metric: DistanceMetric,
    sides: tuple[_Side, _Side],
    is_exact: bool,
    asked: Sequence[tuple[VectorPoint, SearchFilter | None]],
) -> Check:
    if not asked:
        return Check("searches", "not verified", "there is no point to search for")
    wrong, common, given = 0, 0, 0
    for point, search_filter in asked:
        here, there = [await side.search(point.vector, search_filter) for side in sides]
        scale = 1.0
        if metric is DistanceMetric.DOT_PRODUCT:
            scale = max(1.0, float(np.linalg.norm(np.asarray(point.vector, dtype=np.float64))) * found.largest_norm)
        wrong += not _same_answers(here, there, 2 * SCORE_TOLERANCE * scale, is_exact)
        common += len({hit.id for hit in here} & {hit.id for hit in there})
        given += max(len(here), len(there))
    if wrong:
        return Check("searches", "failed", f"{wrong} of {len(asked)} searches are answered otherwise")
    manner = "the same answers" if is_exact else f"{common / max(1, given):.1%} of the answers in common, approximate"
    return Check("searches", "passed", f"{len(asked)} searches, {manner}")


def _same_answers(here: list[SearchResult], there: list[SearchResult], tolerance: float, is_exact: bool) -> bool:
    scores = {hit.id: hit.score for hit in there}
    near = all(
        abs(hit.score - scores[hit.id]) <= tolerance * max(1.0, abs(hit.score)) for hit in here if hit.id in scores
    )
    if not is_exact:
        return near
    # Which of the points that tie are given is left open, so the scores are compared in their order.
    return (
        near
        and len(here) == len(there)
        and all(
            abs(one.score - other.score) <= tolerance * max(1.0, abs(one.score))
            for one, other in zip(here, there, strict=True)
        )
    )


def _condition_of(point: VectorPoint) -> FilterCondition | None:
    """A condition that the point fulfils, by the first of its fields that has a value for one."""
    for key, value in sorted((point.payload or {}).items()):
        if isinstance(value, str) and len(value) > _OPERAND_LENGTH:
            continue
        if isinstance(value, str | bool | int | float):
            return FilterCondition((key,), "eq", value)
    return None
