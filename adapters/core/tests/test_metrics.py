"""Scores and distances: there and back, and never out of range."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeweaver_backends.metrics import clamp_cosine, distance_of_score, score_of_distance, scores
from codeweaver_backends.types import DistanceMetric


@given(st.floats(0, 1e6))
def test_distances_come_back_from_their_scores(distance: float) -> None:
    assert distance_of_score(score_of_distance(distance)) == pytest.approx(distance, rel=1e-6, abs=1e-9)


@given(st.floats(0, 1e300), st.floats(0, 1e300))
def test_nearer_is_never_worse(a: float, b: float) -> None:
    assert (score_of_distance(a) >= score_of_distance(b)) or a > b


def test_edges() -> None:
    assert score_of_distance(0) == 1.0
    assert score_of_distance(-1e-9) == 1.0, "an engine's rounding"
    assert distance_of_score(1.0) == distance_of_score(2.0) == 0.0
    assert distance_of_score(0.0) == distance_of_score(-1.0) == math.inf
    assert [clamp_cosine(value) for value in (-1.1, -1.0, 0.3, 1.0000001)] == [-1.0, -1.0, 0.3, 1.0]


@pytest.mark.parametrize("metric", DistanceMetric)
def test_scores_are_float64_and_do_not_overflow(metric: DistanceMetric) -> None:
    huge = np.array([[3e38, 3e38], [-3e38, 3e38], [1e-38, 0]], np.float32)
    result = scores(metric, huge[0], huge)
    assert result.dtype == np.float64
    assert result.shape == (3,)
    assert np.isfinite(result).all()
