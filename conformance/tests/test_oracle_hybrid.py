"""The oracle of hybrid search against the contract, by hand; and its judge against answers that are wrong."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from codeweaver_backends.types import (
    DistanceMetric,
    FilterCondition,
    HybridStrategy,
    PointId,
    SearchResult,
    VectorPoint,
)
from codeweaver_conformance.oracle_hybrid import (
    TextIndex,
    check_hybrid,
    fused,
    index_of,
    is_settled,
    legs,
    pool,
    sparse_weights,
    tokenize,
)

RRF, DBSF, LINEAR, CONVEX = HybridStrategy.RRF, HybridStrategy.DBSF, HybridStrategy.LINEAR, HybridStrategy.CONVEX
DOT = DistanceMetric.DOT_PRODUCT

# --- terms and weights -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("HTTPServer", ["http", "server", "httpserver"]),
        ("snake_case", ["snake", "case", "snake_case"]),
        ("CoreV1Api", ["core", "v1", "api", "corev1api"]),
        ("__init__ _", ["init"]),
        ("日本語", ["日本", "本語"]),
        ("x語_y", ["x", "語", "y"]),
        ("ﬁle 007", ["file", "007"]),
        ("?!", []),
    ],
)
def test_terms(text: str, terms: list[str]) -> None:
    assert list(tokenize(text)) == terms


def test_indices() -> None:
    assert [index_of(term) for term in ("0", "999999999", 12, "12")] == [0, 999_999_999, 12, 12]
    assert index_of("the") == 258_796_590
    assert index_of("007") == 256_221_117
    assert index_of("4294967279") == 715_931_577


def test_weights() -> None:
    mixed: Any = {"7": 1.0, 7: 2.0, "x": 0.0, "y": 1e-16}
    assert sparse_weights(mixed) == {7: 3.0}
    assert sparse_weights(None) == {}
    index = TextIndex(["t", ("u.v",)])
    found = index.document({"t": "a A b", "u.v": ["c", 1, ["d"]]})
    share = 1.2 * (0.25 + 0.75 * 4 / 64)
    assert found == pytest.approx(
        {index_of("a"): 2 * 2.2 / (2 + share), index_of("b"): 2.2 / (1 + share), index_of("c"): 2.2 / (1 + share)},
        rel=1e-6,
    )
    asked = index.query("def def unheardof")
    rare = math.log(1 + 49_970.5 / 30.5)
    assert asked == pytest.approx(
        {index_of("def"): 2 * math.log(1 + 1_529.5 / 48_471.5), index_of("unheardof"): rare}, rel=1e-6
    )
    own = TextIndex(["t"], documents=10, counts={"a": 9}, other=1)
    assert own.query("a b") == pytest.approx(
        {index_of("a"): math.log(1 + 1.5 / 9.5), index_of("b"): math.log(1 + 9.5 / 1.5)}, rel=1e-6
    )
    assert TextIndex(["t"], "text").query("a a") == {index_of("a"): 1.0}
    assert TextIndex(["t"], "keyword").document({"t": ["A b", ""]}) == {index_of("A b"): 1.0}


# --- pools and formulas ----------------------------------------------------------------------------------------------


def test_pools() -> None:
    leg: dict[PointId, float] = {"b": 1.0, "a": 1.0 + 5e-7, 10: 1.0, 9: 1.0, "top": 2.0, 0: 0.5}
    assert set(pool(leg, 3)) == {"top", 9, 10}
    assert set(pool(leg, 4)) == {"top", 9, 10, "a"}
    assert pool(leg, 6) == leg


def test_what_is_settled() -> None:
    assert is_settled({1: 1.0, 2: 1.0, 3: 0.5}, 3)
    assert not is_settled({1: 1.0, 2: 1.0 - 1e-6, 3: 0.5}, 3)
    assert is_settled({1: 3.0, 2: 1.0, 3: 1.0 - 1e-6}, 1)
    assert not is_settled({1: 3.0, 2: 1.0, 3: 1.0 - 1e-6}, 2)


def test_formulas() -> None:
    dense: dict[PointId, float] = {1: 0.9, 2: 0.8, 3: 0.5}
    sparse: dict[PointId, float] = {3: 12.0, 4: 6.0}
    assert fused(dense, sparse, RRF, 0.5) == pytest.approx({1: 1 / 61, 2: 1 / 62, 3: 1 / 63 + 1 / 61, 4: 1 / 62})
    assert fused(dense, sparse, LINEAR, 0.3) == pytest.approx({1: 0.27, 2: 0.24, 3: 8.55, 4: 4.2})
    assert fused(dense, sparse, CONVEX, 0.25) == pytest.approx({1: 0.25, 2: 0.1875, 3: 0.75, 4: 0.0})
    sigma = math.sqrt(18)
    assert fused({}, sparse, DBSF, 0.25)[3] == pytest.approx(0.75 * (12 - (9 - 3 * sigma)) / (6 * sigma))
    assert fused({1: 5.0, 2: 5.0 + 1e-6}, {}, DBSF, 1.0) == {1: 0.5, 2: 0.5}
    assert fused({1: 5.0, 2: 5.0 + 1e-6}, {}, CONVEX, 1.0) == {1: 1.0, 2: 1.0}
    assert fused({1: 5.0, 2: 5.0 + 1e-6}, {}, RRF, 1.0) == pytest.approx({1: 2 / 61, 2: 2 / 61})


# --- the judge -------------------------------------------------------------------------------------------------------

POINTS = [
    VectorPoint(1, [1.0, 0.0], {"t": "alpha beta", "k": 1}, {"x": 1.0}),
    VectorPoint(2, [0.9, 0.0], {"t": "beta", "k": 1}, {"y": 5.0}),
    VectorPoint("3", [0.5, 0.0], {"t": "gamma", "k": 1}, {"x": 3.0, "y": 1.0}),
    VectorPoint(4, [2.0, 0.0], {"t": "alpha", "k": 2}),
]
ONE = FilterCondition("k", "eq", 1)
TEXT = TextIndex(["t"])


def answer(strategy: HybridStrategy, alpha: float, limit: int = 10) -> list[SearchResult]:
    """The right one, to a dict query."""
    dense, sparse = legs(POINTS, [1.0, 0.0], {"x": 1.0}, DOT, None, ONE)
    scores = fused(dense if alpha else {}, sparse if alpha < 1 else {}, strategy, alpha)
    return [SearchResult(one, scores[one]) for one in sorted(scores, key=lambda one: -scores[one])][:limit]


def judge(got: list[SearchResult], strategy: HybridStrategy = RRF, alpha: float = 0.3, limit: int = 10) -> str | None:
    return check_hybrid(
        got, POINTS, [1.0, 0.0], {"x": 1.0}, DOT, limit=limit, strategy=strategy, alpha=alpha, search_filter=ONE
    )


def test_legs() -> None:
    dense, sparse = legs(POINTS, [1.0, 0.0], {"x": 2.0}, DOT, None, ONE)
    assert dense == pytest.approx({1: 1.0, 2: 0.9, "3": 0.5}, rel=1e-6)
    assert sparse == {1: 2.0, "3": 6.0}
    assert legs(POINTS, [1.0, 0.0], "ALPHA", DOT, TEXT)[1].keys() == {1, 4}
    assert legs(POINTS, [1.0, 0.0], "unknown ?", DOT, TEXT)[1] == {}
    with pytest.raises(ValueError, match="no sparse index"):
        legs(POINTS, [1.0, 0.0], "alpha", DOT, None)


@pytest.mark.parametrize("strategy", HybridStrategy)
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("limit", [0, 1, 10])
def test_the_right_answer_is_right(strategy: HybridStrategy, alpha: float, limit: int) -> None:
    assert judge(answer(strategy, alpha, limit), strategy, alpha, limit) is None


WRONG: list[tuple[str, Callable[[list[SearchResult]], Any], str]] = [
    ("a point is missing", lambda hits: hits[:-1], "are due"),
    ("a point is there twice", lambda hits: [*hits, hits[0]], "which came before"),
    ("a filtered point", lambda hits: [*hits, SearchResult(4, 0.0)], "in neither pool"),
    ("another type of id", lambda hits: [SearchResult("1", hits[0].score), *hits[1:]], "in neither pool"),
    ("worst first", lambda hits: hits[::-1], "not best first"),
    ("another score", lambda hits: [SearchResult(hits[0].id, hits[0].score + 1e-3), *hits[1:]], "expected"),
    ("no score", lambda hits: [SearchResult(hits[0].id, math.nan), *hits[1:]], "expected"),
]


@pytest.mark.parametrize(("change", "said"), [one[1:] for one in WRONG], ids=[one[0] for one in WRONG])
@pytest.mark.parametrize("strategy", HybridStrategy)
def test_wrong_answers_are_told(strategy: HybridStrategy, change: Any, said: str) -> None:
    told = judge(change(answer(strategy, 0.3)), strategy)
    assert told is not None
    assert said in told


def test_the_worse_instead_of_the_better() -> None:
    told = judge(answer(RRF, 0.3)[1:2], limit=1)
    assert told is not None
    assert "while the worse" in told


@pytest.mark.parametrize("strategy", [CONVEX, DBSF])
def test_the_tolerance_grows_as_the_spread_shrinks(strategy: HybridStrategy) -> None:
    near = [VectorPoint(1, [1.0], {}), VectorPoint(2, [1.0 + 1e-3], {}), VectorPoint(3, [1.0 + 2e-3], {})]
    scores = fused(pool(legs(near, [1.0], {}, DOT, None)[0], 100), {}, strategy, 1.0)

    def told(error: float) -> str | None:
        got = [SearchResult(3, scores[3]), SearchResult(2, scores[2] + error), SearchResult(1, scores[1])]
        return check_hybrid(got, near, [1.0], {}, DOT, strategy=strategy, alpha=1.0)

    assert told(5e-5) is None
    assert told(2e-2) is not None
