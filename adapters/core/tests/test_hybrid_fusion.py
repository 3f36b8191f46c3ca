"""Fusion: each formula by hand, ties, pools, and all of it against the oracle."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from codeweaver_backends.sdk.hybrid.fusion import Leg, best, fuse, is_cut_settled, normalised, ranks
from codeweaver_backends.types import HybridStrategy, PointId
from codeweaver_conformance import oracle_hybrid

RRF, DBSF, LINEAR, CONVEX = HybridStrategy.RRF, HybridStrategy.DBSF, HybridStrategy.LINEAR, HybridStrategy.CONVEX


def leg(scores: dict[Any, float]) -> Leg:
    return Leg(list(scores), np.array(list(scores.values()), np.float64))


def shown(found: Leg) -> dict[PointId, float]:
    return dict(zip(found.ids, found.scores.tolist(), strict=True))


DENSE = leg({1: 0.9, 2: 0.8, "a": 0.5})
SPARSE = leg({"a": 12.0, 3: 6.0})
EMPTY = leg({})

# --- the formulas ----------------------------------------------------------------------------------------------------


def test_rrf() -> None:
    assert shown(fuse(DENSE, SPARSE, RRF, 0.5, 10)) == pytest.approx(
        {"a": 1 / 63 + 1 / 61, 1: 1 / 61, 2: 1 / 62, 3: 1 / 62}
    )
    assert shown(fuse(DENSE, SPARSE, RRF, 0.25, 1)) == pytest.approx({"a": 0.5 / 63 + 1.5 / 61})


def test_linear_and_its_other_name() -> None:
    expected = {"a": 0.3 * 0.5 + 0.7 * 12, 3: 0.7 * 6, 1: 0.3 * 0.9, 2: 0.3 * 0.8}
    assert shown(fuse(DENSE, SPARSE, LINEAR, 0.3, 10)) == pytest.approx(expected)
    assert shown(fuse(DENSE, SPARSE, HybridStrategy.WEIGHTED, 0.3, 10)) == pytest.approx(expected)


def test_convex() -> None:
    assert shown(fuse(DENSE, SPARSE, CONVEX, 0.25, 10)) == pytest.approx(
        {"a": 0.75, 1: 0.25, 2: 0.25 * 0.3 / 0.4, 3: 0.0}
    )


def test_dbsf() -> None:
    mean, sigma = 2.2 / 3, math.sqrt(sum((one - 2.2 / 3) ** 2 for one in (0.9, 0.8, 0.5)) / 2)
    found = normalised(DENSE.scores, DBSF).tolist()
    assert found == pytest.approx([(one - mean + 3 * sigma) / (6 * sigma) for one in (0.9, 0.8, 0.5)])
    outlier = normalised(np.array([0.0] * 30 + [1.0]), DBSF)
    assert outlier[-1] == 1.0  # clamped


@pytest.mark.parametrize("strategy", HybridStrategy)
@pytest.mark.parametrize("scores", [[3.0], [3.0, 3.0], [3.0, 3.0 + 1e-6, 3.0 - 1e-6], [0.0, 0.0]])
def test_equal_scores(strategy: HybridStrategy, scores: list[float]) -> None:
    expected = {RRF: [2 / 61], CONVEX: [1.0], DBSF: [0.5], LINEAR: scores}[strategy]
    assert normalised(np.array(scores), strategy).tolist() == pytest.approx(expected * (len(scores) // len(expected)))


@pytest.mark.parametrize("strategy", HybridStrategy)
def test_an_empty_leg(strategy: HybridStrategy) -> None:
    assert len(fuse(EMPTY, EMPTY, strategy, 0.5, 10)) == 0
    assert set(fuse(EMPTY, SPARSE, strategy, 0.5, 10).ids) == {"a", 3}
    assert fuse(DENSE, EMPTY, strategy, 1.0, 2).ids == [1, 2]
    assert fuse(EMPTY, SPARSE, strategy, 0.0, 1).ids == ["a"]
    assert len(fuse(DENSE, SPARSE, strategy, 0.5, 0)) == 0


# --- ranks, ties, pools ----------------------------------------------------------------------------------------------


def test_ranks_are_shared_by_what_is_equal() -> None:
    assert ranks(np.array([5.0, 5.0, 3.0, 3.0 + 2e-6, 1.0])).tolist() == [1, 1, 3, 3, 5]
    assert ranks(np.array([0.5, 0.5 - 2e-6])).tolist() == [1, 2]
    assert ranks(np.array([])).tolist() == []


def test_the_pool_goes_by_score_and_then_by_id() -> None:
    tied: dict[PointId, float] = {"b": 1.0, "a": 1.0, 10: 1.0, 9: 1.0 - 5e-7, "": 1.0 + 5e-7, "top": 2.0, 1: 0.5}
    assert best(leg(tied), 3).ids == ["top", 9, 10]
    assert best(leg(tied), 5).ids == ["top", 9, 10, "", "a"]
    assert best(leg(tied), 7).ids == ["top", 9, 10, "", "a", "b", 1]
    assert best(leg(tied), 99).ids == best(leg(tied), 7).ids
    assert best(leg(tied), 0).ids == []


def test_scores_that_differ_in_their_last_bits_are_in_one_order() -> None:
    exact = {9: 0.5, 1: 0.5, 3: 0.4, 2: 0.4, 7: 0.1}
    noisy = {9: 0.5 + 3e-7, 1: 0.5, 3: 0.4, 2: 0.4 - 3e-7, 7: 0.1}
    for count in range(6):
        assert best(leg(noisy), count).ids == best(leg(exact), count).ids == [1, 9, 2, 3, 7][:count]


def test_strings_go_by_code_point() -> None:
    assert best(leg({"\U0001f600": 1.0, "\uffff": 1.0, "Z": 1.0, "a": 1.0}), 3).ids == ["Z", "a", "\uffff"]


def test_fused_ranks_differ_however_little() -> None:
    deep = leg({point_id: -float(point_id) for point_id in range(5_000, 0, -1)})
    assert fuse(deep, EMPTY, RRF, 0.5, 4_000).ids == list(range(1, 4_001))


@pytest.mark.parametrize(
    ("scores", "count", "expected"),
    [
        ([3.0, 2.0, 1.0], 2, True),
        ([3.0, 2.0, 2.0], 2, False),
        ([3.0, 2.0, 2.0 - 1e-6], 2, False),
        ([3.0, 2.0, 2.0 - 3e-6], 2, True),
        ([3.0, 2.0], 2, False),
        ([], 2, False),
    ],
)
def test_whether_more_could_change_the_pool(scores: list[float], count: int, expected: bool) -> None:
    assert is_cut_settled(np.array(scores), count) is expected


# --- against the oracle ----------------------------------------------------------------------------------------------

IDS = st.integers(0, 30) | st.text("abc", min_size=1, max_size=2)
SCORES = st.sampled_from([0.0, 1.0, 2.0, 0.5]) | st.floats(-30, 30, width=32)
LEGS = st.dictionaries(IDS, SCORES, max_size=25)


@given(LEGS, st.integers(1, 30))
def test_pools_are_those_of_the_oracle(scores: dict[PointId, float], count: int) -> None:
    assume(oracle_hybrid.is_settled(scores, count))
    assert shown(best(leg(scores), count)) == oracle_hybrid.pool(scores, count)


@given(LEGS, LEGS, st.sampled_from(HybridStrategy), st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.9, 1.0]))
def test_fusion_is_that_of_the_oracle(
    dense: dict[PointId, float], sparse: dict[PointId, float], strategy: HybridStrategy, alpha: float
) -> None:
    assume(oracle_hybrid.is_settled(dense, 30))
    assume(oracle_hybrid.is_settled(sparse, 30))
    found = fuse(leg(dense), leg(sparse), strategy, alpha, 60)
    assert shown(found) == pytest.approx(oracle_hybrid.fused(dense, sparse, strategy, alpha), abs=1e-9)
    highest_below = np.maximum.accumulate(found.scores[::-1])[::-1]
    assert (highest_below <= found.scores + 1e-6 * np.maximum(1.0, np.abs(highest_below))).all(), "best first, but ties"
    least = fuse(leg(dense), leg(sparse), strategy, alpha, 5)
    assert found.ids[: len(least)] == least.ids or strategy is not RRF


@given(LEGS, LEGS, st.sampled_from(HybridStrategy), st.integers(1, 12), st.randoms(use_true_random=False))
def test_the_order_of_what_was_found_does_not_matter(
    dense: dict[PointId, float], sparse: dict[PointId, float], strategy: HybridStrategy, limit: int, random: Any
) -> None:
    def shuffled(scores: dict[PointId, float]) -> Leg:
        items = list(scores.items())
        random.shuffle(items)
        return best(leg(dict(items)), 8)

    first = fuse(shuffled(dense), shuffled(sparse), strategy, 0.3, limit)
    again = fuse(shuffled(dense), shuffled(sparse), strategy, 0.3, limit)
    assert first.ids == again.ids
    assert first.scores.tolist() == again.scores.tolist()
