"""Scores, metrics and thresholds: one number, one meaning."""

from __future__ import annotations

import json
import math
import random
from typing import Any

import numpy as np
import pytest

from codeweaver_backends.errors import BackendError, InvalidInputError, UnsupportedError
from codeweaver_backends.types import DistanceMetric, FilterCondition, SearchFilter, VectorPoint
from codeweaver_conformance import oracle
from codeweaver_conformance.clause import clause
from codeweaver_conformance.session import Conformance, point

# Ids are integers wherever ids are not the matter, so that a fault of string ids fails its own tests and no others.
LONG, SHORT, NEAR, SIDE, OPPOSITE, FAR, SAME, A, B, OTHER, AT, UNDER, OVER, RIGHT = range(100, 114)

# Long and short, near and far, opposite: each metric orders these differently.
SHAPES = [
    point(LONG, [10, 1]),
    point(SHORT, [0.1, 0.005]),
    point(NEAR, [1.2, 0.3]),
    point(SIDE, [0, 2]),
    point(OPPOSITE, [-1, 0]),
    point(FAR, [-60, 80]),
    point(SAME, [1, 0]),
]


async def _check(
    cw: Conformance, name: str, points: list[VectorPoint], query: list[float], metric: DistanceMetric, **how: Any
) -> None:
    results = await cw.backend.search_vectors(name, query, **how)
    problem = oracle.check_ranking(
        results, points, query, metric, how.get("limit", 10), how.get("search_filter"), how.get("score_threshold")
    )
    if problem:
        exact = oracle.rank(points, query, metric)[: how.get("limit", 10)]
        cw.violated([(one, round(score, 6)) for one, score in exact], [(hit.id, hit.score) for hit in results], problem)


@clause("scores.order", "scores.values")
async def test_results_are_the_exact_ranking(cw: Conformance) -> None:
    """Check each metric's direction and formula against plain arithmetic; a limit of 1 must give the nearest."""
    rng = random.Random(cw.seed)  # noqa: S311
    points = SHAPES + [point(n, [rng.gauss(0, 3), rng.gauss(0, 3)]) for n in range(60)]
    for metric in cw.metrics:
        name = await cw.collection(points, metric=metric)
        for query in ([1.0, 0.0], [-2.0, 5.0], [0.01, -0.02], [rng.gauss(0, 1), rng.gauss(0, 1)]):
            for limit in (1, 5, 200):
                await _check(cw, name, points, query, metric, limit=limit)


@clause("scores.values")
async def test_scores_are_right_in_many_dimensions(cw: Conformance) -> None:
    """Check precision: large norms, small differences, and a dot product that nearly cancels."""
    rng = random.Random(cw.seed + 1)  # noqa: S311
    points = [point(n, [rng.gauss(0, 1) * 10 ** (n % 4 - 1) for _ in range(96)]) for n in range(80)]
    query = [rng.gauss(0, 1) for _ in range(96)]
    for metric in cw.metrics:
        name = await cw.collection(points, dimension=96, metric=metric)
        await _check(cw, name, points, query, metric, limit=80)
        own = [float(np.float32(value)) for value in np.asarray(points[3].vector)]
        await _check(cw, name, points, own, metric, limit=3)


@clause("scores.type")
async def test_scores_are_plain_floats(cw: Conformance) -> None:
    """Check for numpy scalars, texts and integers, in the vector and the payload too."""
    for metric in cw.metrics:
        name = await cw.collection([point(A, [1, 0], {"v": 1}), point(B, [0, 2], {"v": [1.5]})], metric=metric)
        for hit in await cw.backend.search_vectors(name, [1, 0], with_payload=True):
            cw.true(type(hit.score) is float and math.isfinite(hit.score), "a finite float", repr(hit.score))
            json.dumps([hit.id, hit.score, hit.payload, hit.vector], allow_nan=False)


@clause("scores.repeatable")
async def test_the_same_search_gives_the_same_scores(cw: Conformance) -> None:
    """Check for caches that change an answer, and for scores that depend on what was asked before."""
    name = await cw.collection(SHAPES)
    first = [(hit.id, hit.score) for hit in await cw.backend.search_vectors(name, [2, 1])]
    await cw.backend.search_vectors(name, [-1, 1], limit=2)
    again = [(hit.id, hit.score) for hit in await cw.backend.search_vectors(name, [2, 1])]
    cw.true(
        dict(first).keys() == dict(again).keys() and all(abs(dict(first)[k] - s) < 1e-6 for k, s in again),
        str(first),
        again,
    )


@clause("scores.ties")
async def test_ties_are_all_returned(cw: Conformance) -> None:
    """Check that points of one score do not hide each other, at the cut either."""
    points = [point(n, [1, 0], {"n": n}) for n in range(12)] + [point(OTHER, [0, 1])]
    for metric in cw.metrics:
        name = await cw.collection(points, metric=metric)
        for limit in (5, 12, 13):
            await _check(cw, name, points, [1, 0], metric, limit=limit)
        found = [hit.id for hit in await cw.backend.search_vectors(name, [1, 0], limit=13)]
        cw.equal(set(found), {one.id for one in points}, f"all of them, under {metric.name}")


@clause("metrics.cosine")
async def test_cosine_ignores_lengths(cw: Conformance) -> None:
    """Check for a dot product of vectors that were never normalised."""
    points = [point(n, [length * 3, length * 4]) for n, length in enumerate((1e-6, 0.1, 1, 100, 1e6))]
    name = await cw.collection(points)
    for length in (1e-6, 1.0, 1e6):
        hits = await cw.backend.search_vectors(name, [length * 3, length * 4], limit=9)
        cw.true(len(hits) == 5 and all(abs(hit.score - 1) <= 1e-5 for hit in hits), "score 1 for each", hits)
        cw.true(all(-1 <= hit.score <= 1 for hit in hits), "scores within [-1, 1]", [hit.score for hit in hits])
        hits = await cw.backend.search_vectors(name, [-length * 3, -length * 4], limit=9)
        cw.true(len(hits) == 5 and all(-1 <= hit.score <= -1 + 1e-5 for hit in hits), "score -1 for each", hits)


async def _ranks_by(cw: Conformance, metric: DistanceMetric) -> None:
    name = await cw.collection(SHAPES, metric=metric)
    for query in ([1.0, 0.0], [0.0, 0.0], [-3.0, 4.0], [0.5, 0.5]):
        if metric is not DistanceMetric.COSINE or any(query):
            await _check(cw, name, SHAPES, query, metric)


@clause("metrics.dot-product")
async def test_dot_product_is_raw(cw: Conformance) -> None:
    """Check negative products, lengths, and a cosine that took its place."""
    await _ranks_by(cw, DistanceMetric.DOT_PRODUCT)


@clause("metrics.euclidean")
async def test_euclidean_scores_are_of_the_distance(cw: Conformance) -> None:
    """Check for squared distances, for 1 − d, and for raw distances."""
    await _ranks_by(cw, DistanceMetric.EUCLIDEAN)


@clause("metrics.manhattan")
async def test_manhattan_scores_are_of_the_distance(cw: Conformance) -> None:
    """Check for a euclidean distance that took its place."""
    await _ranks_by(cw, DistanceMetric.MANHATTAN)


@clause("metrics.unknown")
async def test_other_metrics_are_refused(cw: Conformance) -> None:
    """Check for a mapping with a default."""
    name = cw.new_name()
    for metric in DistanceMetric:
        if metric not in cw.metrics:
            with cw.raises(UnsupportedError, why=metric.name):
                await cw.backend.create_collection(name, 2, metric)
    for wrong in ("hamming", "no such metric", 5, None):
        with cw.raises(InvalidInputError, UnsupportedError, why=repr(wrong)):
            await cw.backend.create_collection(name, 2, wrong)
    cw.true(name not in await cw.backend.list_collections(), "nothing created", "the collection is listed")


@clause("metrics.size")
async def test_metric_and_exactness_do_not_depend_on_size(cw: Conformance) -> None:
    """Check up to 1,000 points: an index that is built in between must not change an answer, nor lose one."""
    size = 1_000
    rng = np.random.default_rng(cw.seed)
    matrix = rng.standard_normal((size, 48)).astype(np.float32)
    points = [point(n, row.tolist(), {"half": n % 2, "rare": n % 50}) for n, row in enumerate(matrix)]
    metric = cw.metrics[-1]
    name = await cw.collection(points, dimension=48, metric=metric)
    for _ in range(6):
        query = rng.standard_normal(48).astype(np.float32).tolist()
        await _check(cw, name, points, query, metric, limit=10)
        rare = SearchFilter(must=[FilterCondition("rare", "eq", 7)])
        await _check(cw, name, points, query, metric, limit=10, search_filter=rare)
    results = await cw.backend.search_vectors(name, query, limit=size)
    cw.equal(len({hit.id for hit in results}), size, "a limit of the whole collection gives the whole collection")


# --- thresholds ------------------------------------------------------------------------------------------------------


@clause("thresholds.inclusive")
async def test_a_threshold_keeps_what_reaches_it(cw: Conformance) -> None:
    """Check the direction for each metric, and that a returned score, used as threshold, keeps its point."""
    for metric in cw.metrics:
        name = await cw.collection(SHAPES, metric=metric)
        every = await cw.backend.search_vectors(name, [1, 0.5], limit=20)
        cw.equal(len(every), len(SHAPES), "without a threshold")
        for hit in every:
            kept = await cw.backend.search_vectors(name, [1, 0.5], limit=20, score_threshold=hit.score)
            expected = {one.id for one in every if one.score >= hit.score}
            cw.equal({one.id for one in kept}, expected, f"score_threshold={hit.score!r} under {metric.name}")
        middle = (every[2].score + every[3].score) / 2
        kept = await cw.backend.search_vectors(name, [1, 0.5], limit=2, score_threshold=middle)
        cw.equal([one.id for one in kept], [one.id for one in every[:2]], "the limit counts what the threshold keeps")
        wanted = SearchFilter(must=[FilterCondition("v", "exists")])
        kept = await cw.backend.search_vectors(name, [1, 0.5], search_filter=wanted, score_threshold=every[-1].score)
        cw.equal(kept, [], "a filter beside the threshold, which no point matches")
        none = await cw.backend.search_vectors(name, [1, 0.5], score_threshold=every[0].score + 1)
        cw.equal(none, [], "a threshold above every score")


@clause("thresholds.inclusive")
async def test_an_exact_score_is_kept(cw: Conformance) -> None:
    """Check the boundary with scores that float arithmetic hits exactly."""
    for metric, expected in (
        (DistanceMetric.DOT_PRODUCT, 2.0),
        (DistanceMetric.EUCLIDEAN, 0.5),
        (DistanceMetric.MANHATTAN, 0.5),
    ):
        if metric in cw.metrics:
            name = await cw.collection([point(AT, [2, 0]), point(UNDER, [-2, 0]), point(OVER, [4, 0])], metric=metric)
            query = [1.0, 0.0] if metric is DistanceMetric.DOT_PRODUCT else [3.0, 0.0]
            kept = await cw.backend.search_vectors(name, query, score_threshold=expected)
            cw.equal({one.id for one in kept}, {AT, OVER}, f"score_threshold={expected} under {metric.name}")


@clause("thresholds.zero")
async def test_zero_and_negative_numbers_are_thresholds(cw: Conformance) -> None:
    """Check for `if score_threshold:`."""
    name = await cw.collection([point(SAME, [1, 0]), point(RIGHT, [0, 1]), point(OPPOSITE, [-1, 0])])

    async def kept(threshold: Any) -> set[Any]:
        return {hit.id for hit in await cw.backend.search_vectors(name, [1, 0], score_threshold=threshold)}

    cw.equal(await kept(None), {SAME, RIGHT, OPPOSITE})
    for zero in (0.0, 0, -0.0):
        found = await kept(zero)
        cw.true(SAME in found and OPPOSITE not in found, "the opposite point left out at 0", found)
    cw.equal(await kept(-0.5), {SAME, RIGHT})
    cw.equal(await kept(-1.0), {SAME, RIGHT, OPPOSITE})
    cw.equal(await kept(np.float32(0.5)), {SAME})


@clause("thresholds.refused")
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, "0.5", True, [0.5]], ids=str)
async def test_other_thresholds_are_refused(cw: Conformance, bad: Any) -> None:
    """Check that NaN, which compares with nothing, does not keep or drop everything."""
    name = await cw.collection([point(A, [1, 0])])
    with cw.raises(InvalidInputError) as raised:
        await cw.backend.search_vectors(name, [1, 0], score_threshold=bad)
    cw.true(isinstance(raised.error, BackendError), "an error of the tree", raised.error)
