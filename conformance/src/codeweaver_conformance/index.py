"""Points whose nearest are known, so many that an index may answer, and what its answers are worth.

Half of the points are in clusters and half are scattered, because clusters forgive an index nearly everything, and
scattered points show what it passes over. Only a filter whose points lie in one place shows an index that looks around
the query and filters what it finds there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from codeweaver_backends.types import DistanceMetric, FilterCondition, SearchFilter, SearchResult, VectorPoint
from codeweaver_conformance.session import Conformance, point

__all__ = ["DIMENSION", "FROM", "SIZE", "Ground", "expect_recall", "ground", "load", "made", "opened", "where"]

FROM: Final = 1_000
"""The exact size of the backends that are asked: the least that a backend may have."""
SIZE: Final = 6_000
DIMENSION: Final = 32
_QUERIES: Final = 30
_TOLERANCE: Final = 1e-5


@dataclass(slots=True)
class Ground:
    """The points as they should be, by their ids 0 … n − 1, with the queries that are asked of them."""

    matrix: npt.NDArray[np.float32]
    queries: npt.NDArray[np.float32]
    marks: dict[str, npt.NDArray[np.bool_]]
    """By field: the points whose payload has it ``true``."""
    there: npt.NDArray[np.bool_]
    """The points that are not deleted."""

    def payload(self, row: int) -> dict[str, Any]:
        """A point's payload."""
        return {"n": row, **{name: bool(mark[row]) for name, mark in self.marks.items()}}

    def point(self, row: int) -> VectorPoint:
        """A point as it should be."""
        return point(row, self.matrix[row].tolist(), self.payload(row))

    def scores(self, metric: DistanceMetric, query: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """The contract's score of every point, in doubles."""
        points, asked = self.matrix.astype(np.float64), query.astype(np.float64)
        if metric is DistanceMetric.EUCLIDEAN:
            distance: npt.NDArray[np.float64] = 1 / (1 + np.linalg.norm(points - asked, axis=1))
            return distance
        if metric is DistanceMetric.MANHATTAN:
            return np.asarray(1 / (1 + np.abs(points - asked).sum(axis=1)))
        products = points @ asked
        if metric is DistanceMetric.COSINE:
            products = products / (np.linalg.norm(points, axis=1) * np.linalg.norm(asked))
        return np.asarray(products)


def ground(seed: int) -> Ground:
    """The mixture. Marks: ``few`` and ``many`` lie apart (2 and 25 %), ``place`` and ``side`` together."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((SIZE // 200, DIMENSION))
    clustered = np.repeat(centres, 100, axis=0) + 0.25 * rng.standard_normal((SIZE // 2, DIMENSION))
    scattered = rng.standard_normal((SIZE // 2, DIMENSION))
    matrix = np.concatenate([clustered, scattered])[rng.permutation(SIZE)]
    matrix = (matrix * rng.uniform(0.8, 1.25, (SIZE, 1))).astype(np.float32)
    away = centres[0] / np.linalg.norm(centres[0])
    from_there = np.argsort(-(matrix @ away) / np.linalg.norm(matrix, axis=1))
    numbers = np.arange(SIZE)
    marks = {
        "few": numbers % 50 == 7,
        "many": numbers % 4 == 3,
        "place": np.isin(numbers, from_there[: SIZE // 50]),
        "side": np.isin(numbers, from_there[: SIZE // 4]),
    }
    near = centres[1 : 1 + _QUERIES // 2] + 0.25 * rng.standard_normal((_QUERIES // 2, DIMENSION))
    queries = np.concatenate([near, rng.standard_normal((_QUERIES - len(near), DIMENSION))]).astype(np.float32)
    return Ground(matrix, queries, marks, np.ones(SIZE, dtype=np.bool_))


def where(mark: str) -> SearchFilter:
    """The points with this mark."""
    return SearchFilter(must=[FilterCondition(mark, "eq", True)])


async def opened(cw: Conformance) -> Any:
    """A backend that is exact up to ``FROM`` points only, so that a small collection is large for it."""
    if "index_from" in cw.subject.config_fields:
        return await cw.with_settings(index_from=FROM)
    if cw.limits.exact_size >= SIZE // 2:
        cw.not_verified(f"it is exact up to {cw.limits.exact_size} points, and has no setting index_from")
    return cw.backend


async def load(cw: Conformance, backend: Any, name: str, known: Ground, rows: Sequence[int] | None = None) -> None:
    """Write points, or all of them, as they should be."""
    rows = range(len(known.matrix)) if rows is None else rows
    if cw.capabilities.supports_columnar:
        payloads = [known.payload(row) for row in rows]
        await backend.upsert_batch(name, list(rows), known.matrix[list(rows)], payloads)
    else:
        await backend.upsert_vectors(name, [known.point(row) for row in rows])


async def made(
    cw: Conformance, backend: Any, known: Ground, metric: DistanceMetric = DistanceMetric.COSINE, **options: Any
) -> str:
    """A new collection that holds the points, as fast as it gets."""
    name = cw.new_name()
    await backend.create_collection(name, DIMENSION, metric, **options)
    await load(cw, backend, name, known)
    await backend.optimize_collection(name)
    return name


async def expect_recall(
    cw: Conformance,
    backend: Any,
    name: str,
    known: Ground,
    least: float,
    *,
    mark: str | None = None,
    limit: int = 10,
    metric: DistanceMetric = DistanceMetric.COSINE,
    queries: int = _QUERIES,
    how: Mapping[str, Any] | None = None,
) -> None:
    """Search for the queries. Each answer must be whole and exact in what it tells; on average it finds ``least``."""
    allowed = known.there if mark is None else known.there & known.marks[mark]
    wanted = min(limit, int(allowed.sum()))
    chosen = known.queries[:: max(1, len(known.queries) // queries)]
    found = 0
    for query in chosen:
        hits = await backend.search_vectors(
            name,
            query.tolist(),
            limit=limit,
            search_filter=None if mark is None else where(mark),
            with_payload=False,
            **(how or {}),
        )
        score = known.scores(metric, query)
        _check(cw, hits, score, allowed, wanted, metric, query, known)
        last = np.sort(score[allowed])[-wanted] if wanted else 0.0
        found += sum(score[hit.id] >= last - _TOLERANCE * max(1.0, abs(last)) / 10 for hit in hits)
    recall = found / (len(chosen) * wanted) if wanted else 1.0
    asked = f"limit {limit}" + (f", of the points marked {mark!r}" if mark else "") + (f", {dict(how)}" if how else "")
    cw.true(recall >= least, f"recall of at least {least} ({asked}, {metric.name})", round(recall, 4))


def _check(
    cw: Conformance,
    hits: Sequence[SearchResult],
    score: npt.NDArray[np.float64],
    allowed: npt.NDArray[np.bool_],
    wanted: int,
    metric: DistanceMetric,
    query: npt.NDArray[np.float32],
    known: Ground,
) -> None:
    ids = [hit.id for hit in hits]
    cw.equal(len(ids), wanted, "no search is short")
    cw.equal(len(set(ids)), wanted, "each point once")
    strangers = [one for one in ids if not (isinstance(one, int) and 0 <= one < len(allowed) and allowed[one])]
    cw.equal(strangers, [], "only points that are there and match")
    rows = [int(one) for one in ids]
    got = np.array([hit.score for hit in hits])
    cw.true(bool(np.all(np.diff(got) <= 0)), "scores that never increase", got.tolist())
    scale = np.maximum(1.0, np.abs(score[rows]))
    if metric is DistanceMetric.DOT_PRODUCT:
        scale = np.maximum(scale, np.linalg.norm(known.matrix[rows], axis=1) * float(np.linalg.norm(query)))
    wrong = np.abs(got - score[rows]) > _TOLERANCE * scale
    if wrong.any():
        row = int(np.argmax(wrong))
        cw.violated(f"the score {score[rows[row]]!r} of point {rows[row]}", float(got[row]))
