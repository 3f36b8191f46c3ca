"""Scores: what engines call a distance comes to the contract's score, never out of range."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeweaver_backends.metrics import Cosine, Dot, clamp_cosine, score_of_distance, scorer, scores
from codeweaver_backends.types import DistanceMetric


@given(st.floats(0, 1e300), st.floats(0, 1e300))
def test_nearer_is_never_worse(a: float, b: float) -> None:
    assert (score_of_distance(a) >= score_of_distance(b)) or a > b


def test_edges() -> None:
    assert score_of_distance(0) == 1.0
    assert score_of_distance(-1e-9) == 1.0, "an engine's rounding"
    assert score_of_distance(math.inf) == 0.0
    assert [clamp_cosine(value) for value in (-1.1, -1.0, 0.3, 1.0000001)] == [-1.0, -1.0, 0.3, 1.0]


@pytest.mark.parametrize("metric", DistanceMetric)
def test_scores_are_float64_and_do_not_overflow(metric: DistanceMetric) -> None:
    huge = np.array([[3e38, 3e38], [-3e38, 3e38], [1e-38, 0]], np.float32)
    result = scores(metric, huge[0], huge)
    assert result.dtype == np.float64
    assert result.shape == (3,)
    assert np.isfinite(result).all()


COMPONENTS = st.lists(st.floats(-100, 100, width=32), min_size=4, max_size=4).filter(any)


@given(COMPONENTS, COMPONENTS)
def test_every_engine_convention_comes_to_the_same_score(one: list[float], other: list[float]) -> None:
    q, x = np.array(one), np.array(other)
    dot, euclidean, manhattan = float(q @ x), float(np.linalg.norm(q - x)), float(np.abs(q - x).sum())
    cosine = float(q / np.linalg.norm(q) @ (x / np.linalg.norm(x)))
    cosines: dict[Cosine, float] = {"cosine": cosine, "one minus cosine": 1 - cosine}
    dots: dict[Dot, float] = {"dot": dot, "negative dot": -dot, "one minus dot": 1 - dot}
    found = [
        *((DistanceMetric.COSINE, scorer(DistanceMetric.COSINE, cosine=how)(given)) for how, given in cosines.items()),
        *((DistanceMetric.DOT_PRODUCT, scorer(DistanceMetric.DOT_PRODUCT, dot=how)(dots[how])) for how in dots),
        (DistanceMetric.EUCLIDEAN, scorer(DistanceMetric.EUCLIDEAN)(euclidean)),
        (DistanceMetric.EUCLIDEAN, scorer(DistanceMetric.EUCLIDEAN, squared=True)(euclidean**2)),
        (DistanceMetric.MANHATTAN, scorer(DistanceMetric.MANHATTAN, squared=True)(manhattan)),
    ]
    for metric, score in found:
        [wanted] = scores(metric, q, x[np.newaxis])
        assert score == pytest.approx(wanted, rel=1e-9, abs=1e-9), metric


def test_a_rounding_does_not_leave_the_range() -> None:
    assert scorer(DistanceMetric.COSINE)(-1e-7) == 1.0
    assert scorer(DistanceMetric.COSINE, cosine="cosine")(-1.0000001) == -1.0
    assert scorer(DistanceMetric.EUCLIDEAN, squared=True)(-1e-9) == 1.0
    assert math.copysign(1.0, scorer(DistanceMetric.DOT_PRODUCT, dot="negative dot")(0.0)) == 1.0, "no negative zero"
