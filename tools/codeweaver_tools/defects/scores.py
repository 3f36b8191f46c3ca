"""Scores and thresholds: another number, another order, another half kept."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from codeweaver_backends.sdk.lifetime import operation
from codeweaver_backends.sdk.requests import Query
from codeweaver_backends.types import DistanceMetric, FloatMatrix, SearchResult
from codeweaver_tools.defects.registry import plant
from codeweaver_tools.defects.rig import Collection, Rig

_Scores = npt.NDArray[np.float64]
_COSINE, _DOT = DistanceMetric.COSINE, DistanceMetric.DOT_PRODUCT
_EUCLIDEAN, _MANHATTAN = DistanceMetric.EUCLIDEAN, DistanceMetric.MANHATTAN


class _Formula(Rig):
    """The contract's score, put through another formula before the threshold and the ranking."""

    def formula(self, metric: DistanceMetric, score: _Scores) -> _Scores:
        return score

    def score(self, metric: DistanceMetric, query: FloatMatrix, matrix: FloatMatrix) -> _Scores:
        return self.formula(metric, super().score(metric, query, matrix))


def _distance(score: _Scores) -> _Scores:
    with np.errstate(divide="ignore"):
        return np.where(score > 0, np.maximum(0.0, 1.0 / score - 1.0), np.inf)


@plant("sc-distance-as-score", "Cosine's distance is returned as the score, the order kept.")
class _DistanceAsScore(Rig):
    def answer(self, collection: Collection, query: Query) -> list[SearchResult]:
        cosine = collection.settings.metric is _COSINE
        results = super().answer(collection, query)
        return [dataclasses.replace(one, score=1 - one.score) for one in results] if cosine else results


@plant("sc-l2-raw", "The euclidean score is the distance itself, smallest first.")
class _L2Raw(Rig):
    def answer(self, collection: Collection, query: Query) -> list[SearchResult]:
        euclidean = collection.settings.metric is _EUCLIDEAN
        results = super().answer(collection, query)
        return [dataclasses.replace(one, score=1 / one.score - 1) for one in results] if euclidean else results


@plant("sc-l2-squared", "The euclidean score is made of the squared distance.")
class _L2Squared(_Formula):
    def formula(self, metric: DistanceMetric, score: _Scores) -> _Scores:
        return 1 / (1 + _distance(score) ** 2) if metric is _EUCLIDEAN else score


@plant("sc-l2-cosine-formula", "The euclidean distance goes through the cosine's formula.")
class _L2CosineFormula(_Formula):
    def formula(self, metric: DistanceMetric, score: _Scores) -> _Scores:
        return np.maximum(0.0, 1 - _distance(score)) if metric is _EUCLIDEAN else score


@plant("sc-l1-negative", "The manhattan score is the negative distance.")
class _L1Negative(_Formula):
    def formula(self, metric: DistanceMetric, score: _Scores) -> _Scores:
        return -_distance(score) if metric is _MANHATTAN else score


@plant("sc-cosine-halved", "Cosine is mapped to [0, 1].")
class _CosineHalved(_Formula):
    def formula(self, metric: DistanceMetric, score: _Scores) -> _Scores:
        return (1 + score) / 2 if metric is _COSINE else score


@plant("sc-cosine-positive", "Negative cosines are returned as 0.")
class _CosinePositive(_Formula):
    def formula(self, metric: DistanceMetric, score: _Scores) -> _Scores:
        return np.maximum(0.0, score) if metric is _COSINE else score


@plant("sc-cosine-unclamped", "Cosine leaves [-1, 1] by a rounding.")
class _CosineUnclamped(_Formula):
    def formula(self, metric: DistanceMetric, score: _Scores) -> _Scores:
        return score * (1 + 1.2e-7) if metric is _COSINE else score


@plant("sc-dot-negated", "The dot product is returned negated, as the engine's distance.")
class _DotNegated(Rig):
    def shown(self, result: SearchResult) -> SearchResult:
        return result

    def answer(self, collection: Collection, query: Query) -> list[SearchResult]:
        dot = collection.settings.metric is _DOT
        results = super().answer(collection, query)
        return [dataclasses.replace(one, score=-one.score) for one in results] if dot else results


@plant("sc-dot-squashed", "The dot product is squashed by a sigmoid.")
class _DotSquashed(_Formula):
    def formula(self, metric: DistanceMetric, score: _Scores) -> _Scores:
        return 1 / (1 + np.exp(-np.clip(score, -30, 30))) if metric is _DOT else score


@plant("sc-rounded", "Scores are rounded to three decimals.")
class _Rounded(_Formula):
    def formula(self, metric: DistanceMetric, score: _Scores) -> _Scores:
        return np.round(score, 3)


@plant("sc-half", "Scores are computed in half precision.")
class _Half(_Formula):
    def formula(self, metric: DistanceMetric, score: _Scores) -> _Scores:
        return np.clip(score, -6e4, 6e4).astype(np.float16).astype(np.float64)


@plant("sc-quantised", "Vectors are quantised to 8 bits for scoring, and nothing is rescored.")
class _Quantised(Rig):
    def score(self, metric: DistanceMetric, query: FloatMatrix, matrix: FloatMatrix) -> _Scores:
        step = float(np.abs(matrix).max()) / 127 or 1.0
        return super().score(metric, query, (np.round(matrix / step) * step).astype(np.float32) + 1e-30)


@plant("sc-worst-first", "Results are sorted the wrong way before the cut.")
class _WorstFirst(Rig):
    def order(self, score: _Scores) -> Sequence[int]:
        return [int(row) for row in np.argsort(score, kind="stable")]


@plant("sc-unsorted", "The best results are returned in the order of the store.")
class _Unsorted(Rig):
    def answer(self, collection: Collection, query: Query) -> list[SearchResult]:
        return sorted(super().answer(collection, query), key=lambda one: collection.points[one.id].serial)


@plant("sc-by-magnitude", "Results are ranked by the absolute score.")
class _ByMagnitude(Rig):
    def order(self, score: _Scores) -> Sequence[int]:
        return [int(row) for row in np.argsort(-np.abs(score), kind="stable")]


@plant("sc-type", "Scores are text.")
class _Type(Rig):
    def shown(self, result: SearchResult) -> SearchResult:
        score: Any = str(result.score)
        return dataclasses.replace(result, score=score)


@plant("sc-type-numpy", "Scores are numpy scalars.")
class _TypeNumpy(Rig):
    def shown(self, result: SearchResult) -> SearchResult:
        return dataclasses.replace(result, score=np.float64(result.score))


@plant("sc-drifting", "The score of an unchanged point differs from search to search.")
class _Drifting(_Formula):
    _drift = itertools.count()

    def formula(self, metric: DistanceMetric, score: _Scores) -> _Scores:
        return np.clip(score * (1 - 4e-6 * (next(self._drift) % 3)), None, 1.0) if metric is _COSINE else score


@plant("sc-ties-dropped", "Of points with equal scores one is returned.")
class _TiesDropped(Rig):
    def order(self, score: _Scores) -> Sequence[int]:
        return list({float(score[row]): int(row) for row in reversed(super().order(score))}.values())[::-1]


@plant("sc-ties-repeated", "At a tie the first point is returned twice.")
class _TiesRepeated(Rig):
    def order(self, score: _Scores) -> Sequence[int]:
        rows = list(super().order(score))
        return [rows[0], *rows[:1], *rows[2:]] if len(rows) > 1 and score[rows[0]] == score[rows[1]] else rows


@plant("thr-inverted", "The threshold keeps the scores below it.")
class _Inverted(Rig):
    def keeps(self, score: float, threshold: float | None) -> bool:
        return threshold is None or score <= threshold


@plant("thr-exclusive", "A score exactly at the threshold is dropped.")
class _Exclusive(Rig):
    def keeps(self, score: float, threshold: float | None) -> bool:
        return threshold is None or score > threshold


@plant("thr-zero-falsy", "A threshold of 0.0 counts as none.")
class _ZeroFalsy(Rig):
    def keeps(self, score: float, threshold: float | None) -> bool:
        return not threshold or score >= threshold


@plant("thr-negative-ignored", "A negative threshold counts as 0.")
class _NegativeIgnored(Rig):
    def keeps(self, score: float, threshold: float | None) -> bool:
        return threshold is None or score >= max(0.0, threshold)


@plant("thr-ignored", "The threshold is taken and not applied.")
class _Ignored(Rig):
    def keeps(self, score: float, threshold: float | None) -> bool:
        return True


@plant("thr-on-distance", "Under a distance metric the threshold is compared with the distance.")
class _OnDistance(Rig):
    def answer(self, collection: Collection, query: Query) -> list[SearchResult]:
        if query.threshold is None or collection.settings.metric not in (_EUCLIDEAN, _MANHATTAN):
            return super().answer(collection, query)
        every = super().answer(collection, dataclasses.replace(query, threshold=None))
        return [one for one in every if 1 / one.score - 1 <= query.threshold]


@plant("thr-single-precision", "The threshold is compared in single precision, the score is returned in double.")
class _SinglePrecision(Rig):
    def keeps(self, score: float, threshold: float | None) -> bool:
        return threshold is None or float(np.nextafter(np.float32(score), np.float32(-np.inf))) >= threshold


class _Threshold(Rig):
    """The threshold is made to fit before it is judged."""

    def fitted(self, threshold: Any) -> Any:
        return threshold

    @operation
    async def search_vectors(
        self,
        collection_name: str,
        query_vector: Any,
        limit: Any = 10,
        search_filter: Any = None,
        score_threshold: Any = None,
        **kwargs: Any,
    ) -> list[SearchResult]:
        threshold = self.fitted(score_threshold)
        return await super().search_vectors(collection_name, query_vector, limit, search_filter, threshold, **kwargs)


@plant("thr-nan-taken", "A threshold that is no finite number counts as none.", side="above")
class _NanTaken(_Threshold):
    def fitted(self, threshold: Any) -> Any:
        return None if isinstance(threshold, float) and not abs(threshold) < float("inf") else threshold


@plant("thr-text-taken", "A threshold in text is read as a number.", side="above")
class _TextTaken(_Threshold):
    def fitted(self, threshold: Any) -> Any:
        return float(threshold) if isinstance(threshold, str) else threshold
