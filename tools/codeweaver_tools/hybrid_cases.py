"""Hybrid searches for the differential session: histories of collections by chance, then questions of what is left.

A history upserts over old points, deletes, replaces sparse vectors and makes the sparse index, anew too. Vectors and
weights of few values make many ties; there are more points than most pools take.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from codeweaver_backends.types import DistanceMetric, FilterCondition, PointId, SearchFilter, SearchResult, VectorPoint
from codeweaver_conformance import oracle_hybrid
from codeweaver_conformance.hybrid import History, Question
from codeweaver_conformance.oracle_hybrid import TextIndex

__all__ = ["METRICS", "HybridCase", "HybridCollection", "generate_hybrid"]

METRICS: Final = (DistanceMetric.COSINE, DistanceMetric.DOT_PRODUCT, DistanceMetric.EUCLIDEAN)
"""Those that every engine has."""
_IDS: Final[tuple[PointId, ...]] = (*range(120), *map(str, range(40)), *(f"src/é{one}.py:{one}" for one in range(40)))
_LARGEST_BATCH: Final = 60
_STEPS: Final = 12
_FILTERS: Final = (
    None,
    None,
    SearchFilter(must=[FilterCondition("k", "lt", 3)]),
    SearchFilter(must=[FilterCondition("k", "in", [0, 2, 5])]),
    SearchFilter(must_not=[FilterCondition("k", "eq", 1), FilterCondition("o.t", "exists")]),
    SearchFilter(should=[FilterCondition("t", "contains", "server"), FilterCondition("k", "ge", 4)]),
    SearchFilter(must=[FilterCondition("t", "is_null", False), SearchFilter(must_not=[FilterCondition("k", "gt", 3)])]),
    SearchFilter(must=[FilterCondition("k", "gt", 5)]),
)


@dataclass(frozen=True, slots=True)
class HybridCollection:
    """A collection as it was written, and as it is then."""

    number: int
    metric: DistanceMetric
    steps: tuple[tuple[str, Any], ...]
    points: tuple[VectorPoint, ...]
    index: TextIndex | None
    dimension: int = 3

    async def fill(self, backend: Any, name: str) -> None:
        """Write it."""
        for call, given in self.steps:
            if isinstance(given, TextIndex):
                await backend.create_sparse_index(name, list(given.fields), given.index_type, **given.options)
            else:
                await getattr(backend, call)(name, given)


@dataclass(frozen=True, slots=True)
class HybridCase:
    """One hybrid search. What it has in common with another search is named as there."""

    number: int
    collection: HybridCollection
    question: Question
    threshold: None = None

    @property
    def limit(self) -> int:
        """Results asked for."""
        return self.question.limit

    @property
    def search_filter(self) -> Any:
        """Of both legs."""
        return self.question.search_filter

    async def ask(self, backend: Any, name: str) -> Sequence[SearchResult]:
        """Make the search."""
        one = self.question
        options = {} if one.candidates is None else {"candidates": one.candidates}
        found: Sequence[SearchResult] = await backend.hybrid_search(
            name, one.dense, one.sparse, one.limit, one.strategy, one.alpha, one.search_filter, **options
        )
        return found

    def mistake(self, hits: Sequence[SearchResult]) -> str | None:
        """What the oracle finds wrong, in words."""
        wrong = oracle_hybrid.check_hybrid(hits, *self._where, **self._how)
        return wrong and f"{wrong}: {self.question}"

    def tolerances(self) -> Mapping[PointId, float]:
        """By how much the score of each point that may be found may be off."""
        scores, slack = oracle_hybrid.expected_scores(*self._where, **self._how)
        return {point_id: slack * max(1.0, abs(score)) for point_id, score in scores.items()}

    @property
    def _where(self) -> tuple[Any, ...]:
        return self.collection.points, self.question.dense, self.question.sparse, self.collection.metric

    @property
    def _how(self) -> dict[str, Any]:
        names = ("limit", "strategy", "alpha", "search_filter", "candidates")
        return {name: getattr(self.question, name) for name in names} | {"index": self.collection.index}


def generate_hybrid(seed: int, cases: int, *, per_collection: int = 100) -> Iterator[HybridCase]:
    """``cases`` hybrid searches, ``per_collection`` of each collection, the same everywhere; metrics in turn.

    Queries whose scores lie a tie's width apart, give or take what float32 loses, are not asked: of these two engines
    may make different ranks.
    """
    for start in range(0, cases, per_collection):
        number = start // per_collection
        chance = random.Random(f"hybrid/{seed}/{number}")  # noqa: S311 - reproducible, not secret
        history = History(chance, METRICS[number % len(METRICS)], ids=_IDS, largest_batch=_LARGEST_BATCH)
        steps = tuple(history.step() for _ in range(_STEPS))
        while len(history.points) < 2:
            steps += (history.step(),)
        collection = HybridCollection(number, history.metric, steps, tuple(history.points.values()), history.index)
        for offset in range(min(per_collection, cases - start)):
            yield HybridCase(start + offset, collection, _question(history))


def _question(history: History) -> Question:
    while True:
        asked = history.question()
        if asked is None:
            continue
        pool = history.random.choice((None, history.random.randrange(1, 101)))
        limit = asked.limit if pool is None else min(asked.limit, pool)
        asked = replace(asked, limit=limit, candidates=pool, search_filter=history.random.choice(_FILTERS))
        legs = oracle_hybrid.legs(
            history.points.values(), asked.dense, asked.sparse, history.metric, history.index, asked.search_filter
        )
        if all(oracle_hybrid.is_settled(leg, pool or 100) for leg in legs):
            return asked
