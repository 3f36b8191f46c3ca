"""Hybrid search: pools that are cut wrongly, ranks and formulas that are nearly right."""

from __future__ import annotations

from typing import Any

import numpy as np

from codeweaver_backends.sdk.hybrid.fusion import NO_LEG, Leg, best, fuse, normalised, ranks
from codeweaver_backends.sdk.requests import HybridQuery
from codeweaver_backends.types import HybridStrategy
from codeweaver_tools.defects.hybrid import Fused
from codeweaver_tools.defects.registry import plant
from codeweaver_tools.defects.rig import Rig

RRF, DBSF, LINEAR, CONVEX = HybridStrategy.RRF, HybridStrategy.DBSF, HybridStrategy.LINEAR, HybridStrategy.CONVEX


# --- pools and ranks -------------------------------------------------------------------------------------------------


class _OwnPool(Rig):
    """Takes what the engine gives first for the pool."""

    async def _candidates(self, ask: Any, candidates: int) -> Leg:
        leg: Leg = await ask(candidates)
        return leg


@plant("hyb-cut-any", "Of equal scores at the cut, those are in the pool that were written first.")
class _CutAny(_OwnPool):
    pass


@plant("hyb-cut-near", "Of equal scores at the cut a few more are fetched, and not all.")
class _CutNear(Rig):
    async def _candidates(self, ask: Any, candidates: int) -> Leg:
        return best(await ask(candidates + 16), candidates)


@plant("hyb-ranks-ordinal", "Equal scores have ranks of their own.")
class _RanksOrdinal(Fused):
    def counted(self, scores: Any, strategy: HybridStrategy) -> Any:
        if strategy is not RRF:
            return normalised(scores, strategy)
        order = np.argsort(-scores, kind="stable")
        places = np.empty(len(scores))
        places[order] = np.arange(1, len(scores) + 1)
        return 2.0 / (60 + places)


@plant("hyb-ranks-dense", "After equal scores the next rank is one more.")
class _RanksDense(Fused):
    def counted(self, scores: Any, strategy: HybridStrategy) -> Any:
        if strategy is not RRF:
            return normalised(scores, strategy)
        _, places = np.unique(-np.round(scores, 6), return_inverse=True)
        return 2.0 / (61 + places)


@plant("hyb-ids-by-text", "Equal ones come in the order of their ids as texts.")
class _IdsByText(Fused):
    def fused(self, dense: Leg, sparse: Leg, query: HybridQuery) -> Leg:
        found = fuse(dense, sparse, query.strategy, query.alpha, 10**6)
        rows = sorted(range(len(found)), key=lambda row: (-found.scores[row], str(found.ids[row])))[: query.limit]
        return Leg([found.ids[row] for row in rows], found.scores[rows])


# --- formulas --------------------------------------------------------------------------------------------------------


@plant("hyb-rrf-constant", "RRF has the constant 1.")
class _RrfConstant(Fused):
    def counted(self, scores: Any, strategy: HybridStrategy) -> Any:
        return 2.0 / (1 + ranks(scores)) if strategy is RRF else normalised(scores, strategy)


@plant("hyb-rrf-from-zero", "RRF counts ranks from 0.")
class _RrfFromZero(Fused):
    def counted(self, scores: Any, strategy: HybridStrategy) -> Any:
        return 2.0 / (59 + ranks(scores)) if strategy is RRF else normalised(scores, strategy)


@plant("hyb-rrf-halved", "RRF has weights of alpha and 1 − alpha.")
class _RrfHalved(Fused):
    def counted(self, scores: Any, strategy: HybridStrategy) -> Any:
        return 1.0 / (60 + ranks(scores)) if strategy is RRF else normalised(scores, strategy)


@plant("hyb-unnormalised", "CONVEX adds scores as they are.")
class _Unnormalised(Fused):
    def counted(self, scores: Any, strategy: HybridStrategy) -> Any:
        return normalised(scores, LINEAR if strategy is CONVEX else strategy)


@plant("hyb-linear-normalised", "LINEAR normalises.")
class _LinearNormalised(Fused):
    def counted(self, scores: Any, strategy: HybridStrategy) -> Any:
        return normalised(scores, CONVEX if strategy is LINEAR else strategy)


@plant("hyb-convex-by-maximum", "CONVEX divides by the maximum.")
class _ConvexByMaximum(Fused):
    def counted(self, scores: Any, strategy: HybridStrategy) -> Any:
        if strategy is CONVEX and len(scores) and scores.max() > 0:
            return scores / scores.max()
        return normalised(scores, strategy)


class _Equal(Fused):
    """What all-equal scores become."""

    strategy: HybridStrategy
    value: float

    def counted(self, scores: Any, strategy: HybridStrategy) -> Any:
        if strategy is self.strategy and len(scores) and np.ptp(scores) < 1e-6 * max(1.0, scores.max()):
            return np.full_like(scores, self.value)
        return normalised(scores, strategy)


@plant("hyb-convex-equal-zero", "CONVEX makes equal scores 0.")
class _ConvexEqual(_Equal):
    strategy, value = CONVEX, 0.0


@plant("hyb-convex-equal-nan", "CONVEX divides 0 by 0 where scores are equal.")
class _ConvexNan(_Equal):
    strategy, value = CONVEX, float("nan")


@plant("hyb-dbsf-equal-zero", "DBSF makes equal scores 0.")
class _DbsfEqual(_Equal):
    strategy, value = DBSF, 0.0


@plant("hyb-dbsf-equal-nan", "DBSF divides 0 by 0 where scores are equal.")
class _DbsfNan(_Equal):
    strategy, value = DBSF, float("nan")


class _Dbsf(Fused):
    """Another DBSF."""

    def counted(self, scores: Any, strategy: HybridStrategy) -> Any:
        if strategy is not DBSF or len(scores) < 2 or np.ptp(scores) < 1e-6 * max(1.0, scores.max()):
            return normalised(scores, strategy)
        return self.spread(scores)

    def spread(self, scores: Any) -> Any:
        raise NotImplementedError


@plant("hyb-dbsf-population", "DBSF divides by n instead of n − 1.")
class _DbsfPopulation(_Dbsf):
    def spread(self, scores: Any) -> Any:
        sigma = scores.std()
        return np.clip((scores - scores.mean() + 3 * sigma) / (6 * sigma), 0, 1)


@plant("hyb-dbsf-unclamped", "DBSF leaves scores beyond three deviations as they are.")
class _DbsfUnclamped(_Dbsf):
    def spread(self, scores: Any) -> Any:
        sigma = scores.std(ddof=1)
        return (scores - scores.mean() + 3 * sigma) / (6 * sigma)


@plant("hyb-duplicates", "A point of both legs is returned twice.")
class _Duplicates(Fused):
    def fused(self, dense: Leg, sparse: Leg, query: HybridQuery) -> Leg:
        first = fuse(dense, NO_LEG, query.strategy, query.alpha, query.limit)
        second = fuse(NO_LEG, sparse, query.strategy, query.alpha, query.limit)
        scores = np.concatenate([first.scores, second.scores])
        ids = [*first.ids, *second.ids]
        rows = np.argsort(-scores, kind="stable")[: query.limit].tolist()
        return Leg([ids[row] for row in rows], scores[rows])


@plant("hyb-missing-worst", "A point that is missing from a leg has the leg's worst score.")
class _MissingWorst(Fused):
    def fused(self, dense: Leg, sparse: Leg, query: HybridQuery) -> Leg:
        parts = []
        for leg, weight in ((dense, query.alpha), (sparse, 1 - query.alpha)):
            scores = (weight * normalised(leg.scores, query.strategy)).tolist()
            parts.append((dict(zip(leg.ids, scores, strict=True)), min(scores, default=0.0)))
        ids = list({**parts[0][0], **parts[1][0]})
        totals = np.array([sum(part.get(one, worst) for part, worst in parts) for one in ids], np.float64)
        return best(Leg(ids, totals), query.limit, 0.0)
