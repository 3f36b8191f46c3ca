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

import math
from collections.abc import Callable
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from codeweaver_backends.types import DistanceMetric, FloatMatrix

__all__ = ["SCORE_TOLERANCE", "clamp_cosine", "score_of_distance", "scorer", "scores"]

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


Cosine: TypeAlias = Literal["cosine", "one minus cosine"]
Dot: TypeAlias = Literal["dot", "negative dot", "one minus dot"]


def scorer(
    metric: DistanceMetric, *, cosine: Cosine = "one minus cosine", dot: Dot = "dot", squared: bool = False
) -> Callable[[float], float]:
    """The function from what an engine calls a distance (or a score) to the contract's score.

    ``cosine`` and ``dot`` say what the engine gives under these metrics, ``squared`` whether its euclidean distance is.
    What a rounding took out of a metric's range is brought back; an infinite distance scores 0.
    """
    match metric:
        case DistanceMetric.COSINE:
            return clamp_cosine if cosine == "cosine" else lambda distance: clamp_cosine(1.0 - distance)
        case DistanceMetric.DOT_PRODUCT:
            offset = 1.0 if dot == "one minus dot" else 0.0
            return float if dot == "dot" else lambda distance: offset - distance
        case DistanceMetric.EUCLIDEAN if squared:
            return lambda distance: score_of_distance(math.sqrt(max(0.0, distance)))
        case _:
            return score_of_distance
