"""Two legs become one ranking, by formulas that are the same on every engine.

========  ====================================================================================================
RRF       ``Σ w / (60 + rank)``: Cormack, Clarke and Büttcher, *Reciprocal Rank Fusion outperforms Condorcet and
          individual rank learning methods*, SIGIR 2009; ``w`` is ``2·alpha`` for the dense leg, ``2·(1−alpha)``
          for the sparse one, so that an alpha of 0.5 is the formula of the paper
LINEAR    ``alpha·d + (1−alpha)·s`` of the scores as they are; WEIGHTED is its other name
CONVEX    the same of scores brought to [0, 1] by the minimum and maximum of their pool: Bruch, Gai and Ingber, *An
          Analysis of Fusion Functions for Hybrid Retrieval*, TOIS 2023
DBSF      the same of ``(s − (μ − 3σ)) / 6σ``, clamped to [0, 1], μ the mean and σ the sample deviation of the pool:
          Qdrant's *distribution-based score fusion*, after Michelangiolo Mazzeschi, 2023
========  ====================================================================================================

Scores that differ by no more than τ = 1e-6 · max(1, |s|) are equal: engines add in float32, and a rank or a range must
not hang on the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from codeweaver_backends.types import HybridStrategy, PointId

__all__ = ["NO_LEG", "RRF_K", "TIE", "Leg", "best", "fuse", "is_cut_settled", "normalised", "ranks"]

RRF_K: Final = 60
"""The constant of the paper."""
TIE: Final = 1e-6
"""τ for scores up to 1; for larger ones a share of the score."""

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Leg:
    """What one search found: ids and their scores, higher is better; an id stands once."""

    ids: Sequence[PointId]
    scores: Scores
    """Shape ``(len(ids),)``."""

    def __len__(self) -> int:
        return len(self.ids)


NO_LEG: Final = Leg((), np.empty(0))


def _tie(score: float) -> float:
    return TIE * max(1.0, abs(score))


def _id_order(point_id: PointId) -> tuple[bool, PointId]:
    """Integers before strings, integers by value, strings by code point."""
    return isinstance(point_id, str), point_id


def best(leg: Leg, count: int, tie: float = TIE) -> Leg:
    """The ``count`` best points, the best first, and by id those that are equal to the first of them: within τ.

    Engines give scores that differ in their last bits, and no order and no cut may hang on that.
    """
    ids, scores = leg.ids, leg.scores.tolist()
    order = sorted(range(len(leg)), key=lambda row: (-scores[row], _id_order(ids[row])))
    if 0 < count < len(order):
        at_cut = scores[order[count - 1]]
        reach = tie * max(1.0, abs(at_cut))
        above = [row for row in order[:count] if scores[row] > at_cut + reach]
        tied = [row for row in order[len(above) :] if scores[row] >= at_cut - reach]
        chosen = set(sorted(tied, key=lambda row: _id_order(ids[row]))[: count - len(above)])
        order = above + [row for row in tied if row in chosen]
    order = _equals_by_id(order[:count], ids, scores, tie)
    return Leg([ids[row] for row in order], leg.scores[order])


def _equals_by_id(order: Sequence[int], ids: Sequence[PointId], scores: Sequence[float], tie: float) -> list[int]:
    placed: list[int] = []
    start = 0
    for place in range(1, len(order) + 1):
        first = scores[order[start]]
        if place == len(order) or scores[order[place]] < first - tie * max(1.0, abs(first)):
            placed += sorted(order[start:place], key=lambda row: _id_order(ids[row]))
            start = place
    return placed


def is_cut_settled(scores: Scores, count: int) -> bool:
    """Whether more points could not change the ``count`` best: the last of ``scores`` is below the cut's ties.

    ``scores`` are the best ones of a search, in descending order, of which there may be more.
    """
    if len(scores) <= count:
        return False
    at_cut = float(scores[count - 1])
    return bool(scores[-1] < at_cut - _tie(at_cut))


def ranks(scores: Scores) -> npt.NDArray[np.int64]:
    """The rank of each score in its pool: 1 + the number of scores greater by more than τ. Equals share the better."""
    ascending = np.sort(scores)
    reach = scores + TIE * np.maximum(1.0, np.abs(scores))
    return 1 + len(scores) - np.searchsorted(ascending, reach, side="right")


def normalised(scores: Scores, strategy: HybridStrategy) -> Scores:
    """The scores of a pool as a leg of ``strategy`` counts them, its weight apart."""
    if strategy is HybridStrategy.RRF:
        return np.asarray(2.0 / (RRF_K + ranks(scores)))
    if strategy is HybridStrategy.LINEAR or not len(scores):
        return scores
    reach = _tie(float(np.abs(scores).max()))
    if strategy is HybridStrategy.CONVEX:
        low, spread = float(scores.min()), float(np.ptp(scores))
        return np.ones_like(scores) if spread <= reach else (scores - low) / spread
    deviation = float(scores.std(ddof=1)) if len(scores) > 1 else 0.0
    if deviation <= reach:
        return np.full_like(scores, 0.5)
    least = float(scores.mean()) - 3 * deviation
    return np.clip((scores - least) / (6 * deviation), 0.0, 1.0)


def fuse(dense: Leg, sparse: Leg, strategy: HybridStrategy, alpha: float, limit: int) -> Leg:
    """The ``limit`` best points of two pools, best first, equal ones by id.

    ``alpha`` is the weight of the dense leg, 0 to 1. A point that is missing from a pool has 0 of it.
    """
    totals: dict[PointId, float] = {}
    for leg, weight in ((dense, alpha), (sparse, 1.0 - alpha)):
        for point_id, score in zip(leg.ids, (weight * normalised(leg.scores, strategy)).tolist(), strict=True):
            totals[point_id] = totals.get(point_id, 0.0) + score
    # Fused ranks are computed from integers alone, equal or not; fused scores are as near as those they are made of.
    tie = 0.0 if strategy is HybridStrategy.RRF else TIE
    return best(Leg(list(totals), np.fromiter(totals.values(), np.float64, len(totals))), limit, tie)
