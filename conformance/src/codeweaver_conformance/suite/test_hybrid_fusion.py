"""Hybrid search: two legs fused, by each strategy, at the edges of pools and among equal scores."""

from __future__ import annotations

import json
from typing import Any

import pytest

from codeweaver_backends.errors import InvalidInputError, InvalidVectorError, LimitExceededError
from codeweaver_backends.types import DistanceMetric, FilterCondition, HybridStrategy, SearchFilter, VectorPoint
from codeweaver_conformance.clause import clause
from codeweaver_conformance.hybrid import ask
from codeweaver_conformance.session import Conformance, point

RRF, DBSF, LINEAR, CONVEX = HybridStrategy.RRF, HybridStrategy.DBSF, HybridStrategy.LINEAR, HybridStrategy.CONVEX
ALPHAS = (0.0, 0.05, 0.3, 0.5, 0.8, 1.0)
X = {"x": 1.0}


def spread(count: int = 40) -> list[VectorPoint]:
    """Points whose order is another in each leg; every third has no sparse vector."""
    return [
        VectorPoint(n, [1.0, n / 20], {"k": n % 4}, {"x": float(n * 7 % count + 1)} if n % 3 else None)
        for n in range(count)
    ]


async def all_alphas(
    cw: Conformance, points: list[VectorPoint], strategy: HybridStrategy, sparse: Any = None, **options: Any
) -> None:
    """Ask at every alpha."""
    name = await cw.collection(points)
    for alpha in ALPHAS:
        await ask(cw, name, points, sparse or X, strategy=strategy, alpha=alpha, **options)


@clause("hybrid.rrf")
async def test_rrf(cw: Conformance) -> None:
    """Check the constant, the ranks and the weights: a point that is fourth in both legs comes first."""
    await all_alphas(cw, spread(), RRF, limit=40)
    dense = [VectorPoint(n, [1.0, n / 100], {}, None) for n in range(3)]
    both = [VectorPoint("both", [1.0, 0.03], {}, {"x": 1.0})]
    filler = [VectorPoint(10 + n, [1.0, 0.1 + n / 100], {}, None) for n in range(30)]
    other = [VectorPoint(50 + n, [-1.0, 0.1], {}, {"x": 2.0 + n}) for n in range(3)]
    points = dense + both + filler + other
    name = await cw.collection(points)
    first = (await ask(cw, name, points, X))[0]
    cw.equal(first.id, "both", "fourth in both legs")


@clause("hybrid.linear")
async def test_linear(cw: Conformance) -> None:
    """Check the sum of the scores as they are, also by the strategy's other name."""
    await all_alphas(cw, spread(), LINEAR, limit=40)
    await all_alphas(cw, spread(), HybridStrategy.WEIGHTED, limit=40)


@clause("hybrid.convex")
async def test_convex(cw: Conformance) -> None:
    """Check that pools are brought to [0, 1]: a factor on all weights changes nothing."""
    points = spread()
    await all_alphas(cw, points, CONVEX, limit=40)
    name = await cw.collection(points)
    plain = await ask(cw, name, points, X, strategy=CONVEX, alpha=0.8)
    scaled = await ask(cw, name, points, {"x": 1000.0}, strategy=CONVEX, alpha=0.8)
    cw.equal([hit.id for hit in scaled], [hit.id for hit in plain], "every weight times 1,000")


@clause("hybrid.dbsf")
async def test_dbsf(cw: Conformance) -> None:
    """Check mean, sample deviation and clamps."""
    await all_alphas(cw, spread(), DBSF, limit=40)
    outlier = [VectorPoint(n, [1.0, 0.5 + n / 100], {}, {"x": 1.0 + n / 100}) for n in range(30)]
    outlier.append(VectorPoint(99, [-1.0, -0.5], {}, {"x": 100.0}))
    await all_alphas(cw, outlier, DBSF, limit=31)


@clause("hybrid.convex", "hybrid.dbsf")
@pytest.mark.parametrize("strategy", HybridStrategy)
async def test_equal_scores(cw: Conformance, strategy: HybridStrategy) -> None:
    """Check one point, two equal ones, and many: no division by zero, no NaN."""
    for count in (1, 2, 30):
        points = [VectorPoint(n, [3.0, 4.0], {}, {"x": 2.5}) for n in range(count)]
        name = await cw.collection(points)
        for alpha in ALPHAS:
            got = await ask(cw, name, points, X, strategy=strategy, alpha=alpha, limit=30)
            cw.true(json.dumps([hit.score for hit in got], allow_nan=False), "finite floats", got)


@clause("hybrid.missing-leg")
@pytest.mark.parametrize("strategy", HybridStrategy)
async def test_points_of_one_leg(cw: Conformance, strategy: HybridStrategy) -> None:
    """Check pools that have nothing in common."""
    points = [VectorPoint(n, [1.0, n / 10], {}, None) for n in range(5)]
    points += [VectorPoint(10 + n, [-1.0, n / 10], {}, {"x": n + 1.0}) for n in range(5)]
    await all_alphas(cw, points, strategy, limit=3, candidates=5)


@clause("hybrid.ranks")
async def test_equal_scores_share_a_rank(cw: Conformance) -> None:
    """Check duplicates in each leg, whose scores an engine may tell apart by a last bit."""
    points = [
        VectorPoint(n, [0.3 * (n // 5 + 1), 0.7], {}, {"x": 0.1 * (n % 4 + 1), "y": 0.7, "z": 0.3}) for n in range(40)
    ]
    for alpha in ALPHAS:
        name = await cw.collection(points)
        await ask(cw, name, points, {"x": 0.3, "y": 0.9, "z": 0.7}, dense=[0.3, 0.7], alpha=alpha, limit=40)


@clause("hybrid.pool")
@pytest.mark.parametrize("strategy", HybridStrategy)
async def test_equal_scores_at_the_cut(cw: Conformance, strategy: HybridStrategy) -> None:
    """Check that ids decide: of hundreds of equal points the smallest ids, integers before strings."""
    ids: list[Any] = [*range(100, 400), *(f"s{n:03}" for n in range(100)), "Z", "\U0001f600", "é", 3, 20]
    points = [
        VectorPoint(one, [1.0, 0.0] if n % 2 else [0.0, 1.0], {}, {"x": 1.0 + n % 2}) for n, one in enumerate(ids)
    ]
    name = await cw.collection(points)
    for candidates in (5, 60, 240):
        for alpha in (0.0, 0.3, 1.0):
            await ask(cw, name, points, X, strategy=strategy, alpha=alpha, limit=5, candidates=candidates)


@clause("hybrid.candidates")
async def test_candidates(cw: Conformance) -> None:
    """Check pools of each size, the default and what is refused."""
    points = spread(150)
    name = await cw.collection(points)
    for candidates in (1, 2, 10, 99, 150, 1_000):
        await ask(cw, name, points, X, strategy=CONVEX, limit=1, candidates=candidates)
    for strategy in HybridStrategy:
        for limit in (1, 10, 120, 150):
            await ask(cw, name, points, X, strategy=strategy, limit=limit)
    for wrong in (9, 0, -1, True, 10.0, "100", [100]):
        with cw.raises(InvalidInputError, why=f"candidates={wrong!r} with a limit of 10"):
            await cw.backend.hybrid_search(name, [1, 0], X, 10, candidates=wrong)
    most = cw.limits.max_limit
    for options in ({"candidates": most + 1}, {"limit": most + 1}):
        with cw.raises(LimitExceededError, why=f"{options} and a declared maximum of {most}"):
            await cw.backend.hybrid_search(name, [1, 0], X, **options)
    for size in (-1, True, 1.0, None):
        with cw.raises(InvalidInputError, why=f"limit={size!r}"):
            await cw.backend.hybrid_search(name, [1, 0], X, size)
    cw.equal(await cw.backend.hybrid_search(name, [1, 0], X, 0), [], "a limit of 0")


@clause("hybrid.alpha")
async def test_alpha(cw: Conformance) -> None:
    """Check that the ends run one leg only, that values between matter, and what is refused."""
    points = [VectorPoint(n, [1.0, n / 10], {}, {"x": n + 1.0} if n > 4 else None) for n in range(10)]
    name = await cw.collection(points)
    for strategy in HybridStrategy:
        for alpha in (*ALPHAS, 0, 1):
            await ask(cw, name, points, X, strategy=strategy, alpha=alpha, limit=3, candidates=3)
    first = [(await ask(cw, name, points, X, alpha=alpha))[0].id for alpha in (0.05, 0.95)]
    cw.equal(first, [9, 0], "the first results at an alpha of 0.05 and of 0.95")
    for wrong in (-0.1, 1.5, float("nan"), float("inf"), True, None, "0.5"):
        with cw.raises(InvalidInputError, why=f"alpha={wrong!r}"):
            await cw.backend.hybrid_search(name, [1, 0], X, alpha=wrong)


@clause("hybrid.order")
@pytest.mark.parametrize("strategy", HybridStrategy)
async def test_order(cw: Conformance, strategy: HybridStrategy) -> None:
    """Check best first, each id once, and that equal ones come by id."""
    points = spread()
    name = await cw.collection(points)
    got = await ask(cw, name, points, X, strategy=strategy, limit=25)
    cw.true(len({hit.id for hit in got}) == len(got) == 25, "25 ids, each once", got)
    cw.true(all(type(hit.score) is float for hit in got), "scores that are floats", got)
    ids: list[Any] = ["b", "a", "é", 12, 3, 7]
    tied = [VectorPoint(one, [1.0, 0.0], {}, {"x": 2.0}) for one in ids]
    name = await cw.collection(tied)
    got = await ask(cw, name, tied, X, strategy=strategy, limit=6)
    cw.equal([hit.id for hit in got], [3, 7, 12, "a", "b", "é"], "equal scores")


@clause("hybrid.filter")
@pytest.mark.parametrize("strategy", HybridStrategy)
async def test_the_filter_binds_both_legs(cw: Conformance, strategy: HybridStrategy) -> None:
    """Check points that the filter excludes and that are the best of one leg, or would fill its pool."""
    best = [VectorPoint(100 + n, [1.0, 0.0], {"k": 9}, {"x": 100.0}) for n in range(30)]
    points = spread() + best
    name = await cw.collection(points)
    for search_filter in (
        SearchFilter(must_not=[FilterCondition("k", "eq", 9)]),
        SearchFilter(must=[FilterCondition("k", "eq", 1)]),
        SearchFilter(must=[FilterCondition("k", "in", [])]),
        {"should": [{"field": "k", "operator": "eq", "value": 2}]},
    ):
        for alpha in (0.0, 0.5, 1.0):
            options: Any = {"search_filter": search_filter, "alpha": alpha, "candidates": 12, "limit": 12}
            await ask(cw, name, points, X, strategy=strategy, **options)


@clause("hybrid.shown")
async def test_what_is_shown(cw: Conformance) -> None:
    """Check payloads and vectors as in a search, and that other options are refused."""
    points = [VectorPoint(n, [1.0, n / 10], {"a": n, "b": {"c": [n]}}, {"x": 1.0}) for n in range(3)]
    name = await cw.collection(points)
    for options in (
        {},
        {"with_payload": False},
        {"with_payload": ["a", "z"]},
        {"with_vectors": True},
        {"with_payload": False, "with_vectors": True},
    ):
        for alpha in (0.0, 0.5, 1.0):
            hybrid = await cw.backend.hybrid_search(name, [1, 0], X, alpha=alpha, **options)
            dense = {hit.id: hit for hit in await cw.backend.search_vectors(name, [1, 0], **options)}
            for hit in hybrid:
                cw.equal(hit.payload, dense[hit.id].payload, f"the payload with {options}")
                cw.true(
                    (hit.vector is None) == (dense[hit.id].vector is None), f"vectors as in a search, {options}", hit
                )
    for wrong in ({"with_payload": "a"}, {"with_vectors": "no"}, {"score_threshold": 0.5}, {"k": 60}, {"rrf_k": 60}):
        with cw.raises(InvalidInputError, why=f"{wrong}"):
            await cw.backend.hybrid_search(name, [1, 0], X, **wrong)


@clause("hybrid.metrics")
async def test_metrics(cw: Conformance) -> None:
    """Check the dense leg under each claimed metric: LINEAR shows its scores."""
    points = [
        VectorPoint(n, [1.0 + n, 2.0 - n / 3, 0.5], {}, {"x": float(n % 5 + 1)} if n % 2 else None) for n in range(30)
    ]
    for metric in cw.metrics:
        name = await cw.collection(points, dimension=3, metric=metric)
        for strategy in HybridStrategy:
            for alpha in (0.4, 1.0):
                options: Any = {"metric": metric, "strategy": strategy, "alpha": alpha, "limit": 30}
                await ask(cw, name, points, X, dense=[2.0, 0.5, -1.0], **options)


@clause("hybrid.strategies")
async def test_wrong_strategies_and_queries(cw: Conformance) -> None:
    """Check what is neither a strategy, a query nor a vector."""
    name = await cw.collection([point(0, [1, 0])])
    for wrong in ("best", 1, None, DistanceMetric.COSINE, ""):
        with cw.raises(InvalidInputError, why=f"hybrid_strategy={wrong!r}"):
            await cw.backend.hybrid_search(name, [1, 0], X, hybrid_strategy=wrong)
    for query in (None, 1, ["x"], b"x", [("x", 1.0)]):
        with cw.raises(InvalidInputError, why=f"sparse_query={query!r}"):
            await cw.backend.hybrid_search(name, [1, 0], query)
    for vector in ([1], [1, 0, 0], [float("nan"), 1], [0, 0], "ab", None):
        with cw.raises(InvalidInputError, InvalidVectorError, why=f"dense_vector={vector!r}"):
            await cw.backend.hybrid_search(name, vector, X)
