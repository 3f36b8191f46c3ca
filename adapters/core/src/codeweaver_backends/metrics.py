"""Scores: the number that means the same on every engine, higher is better.

==============  ==========================================  ==============
metric          score of query ``q`` and point ``x``        range
==============  ==========================================  ==============
``COSINE``      ``q·x / (|q| |x|)``, clamped                [−1, 1]
``DOT_PRODUCT`` ``q·x``                                     unbounded
``EUCLIDEAN``   ``1 / (1 + sqrt(Σ (q_i − x_i)²))``          (0, 1]
``MANHATTAN``   ``1 / (1 + Σ |q_i − x_i|)``                 (0, 1]
==============  ==========================================  ==============
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from codeweaver_backends.types import DistanceMetric, FloatMatrix

__all__ = ["SCORE_TOLERANCE", "clamp_cosine", "distance_of_score", "score_of_distance", "scores"]

SCORE_TOLERANCE = 1e-5
"""Two engines agree within this times ``max(1, |score|)``; a dot product times ``max(1, |q| |x|)``."""


def scores(metric: DistanceMetric, query: FloatMatrix, matrix: FloatMatrix) -> npt.NDArray[np.float64]:
    """The score of every row of ``matrix`` (shape ``(n, d)``), in float64, shape ``(n,)``."""
    q, x = query.astype(np.float64), matrix.astype(np.float64)
    match metric:
        case DistanceMetric.DOT_PRODUCT:
            result = x @ q
        case DistanceMetric.COSINE:
            result = np.clip(x @ q / (np.linalg.norm(x, axis=1) * np.linalg.norm(q)), -1.0, 1.0)
        case DistanceMetric.EUCLIDEAN:
            result = 1.0 / (1.0 + np.linalg.norm(x - q, axis=1))
        case DistanceMetric.MANHATTAN:
            result = 1.0 / (1.0 + np.abs(x - q).sum(axis=1))
    return np.asarray(result, dtype=np.float64)


def clamp_cosine(value: float) -> float:
    """An engine's cosine may leave [−1, 1] by a rounding; the contract's does not."""
    return max(-1.0, min(1.0, value))


def score_of_distance(distance: float) -> float:
    """The score of a euclidean (not squared) or manhattan distance."""
    return 1.0 / (1.0 + max(0.0, distance))


def distance_of_score(score: float) -> float:
    """The distance that has this score; infinite for scores of 0 and below, 0 for scores of 1 and above."""
    return max(0.0, 1.0 / score - 1.0) if score > 0 else float("inf")
