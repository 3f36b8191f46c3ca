"""Metrics: swallowed, mixed up, or true only below a size."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from codeweaver_backends.metrics import scores
from codeweaver_backends.sdk.lifetime import operation
from codeweaver_backends.types import CollectionInfo, DistanceMetric, FloatMatrix
from codeweaver_tools.defects.registry import plant
from codeweaver_tools.defects.rig import Rig

_Scores = npt.NDArray[np.float64]


@plant("met-fallback-cosine", "Whatever metric a collection was created with, cosine is used.")
class _Fallback(Rig):
    def score(self, metric: DistanceMetric, query: FloatMatrix, matrix: FloatMatrix) -> _Scores:
        return np.nan_to_num(scores(DistanceMetric.COSINE, query + np.float32(1e-30), matrix + np.float32(1e-30)))


@plant("met-unnormalised", "Cosine is a dot product of vectors that were never normalised.")
class _Unnormalised(Rig):
    def score(self, metric: DistanceMetric, query: FloatMatrix, matrix: FloatMatrix) -> _Scores:
        dot = metric is DistanceMetric.COSINE
        return super().score(DistanceMetric.DOT_PRODUCT if dot else metric, query, matrix)


@plant("met-query-unnormalised", "Cosine divides by the lengths of the points and forgets the query's.")
class _QueryUnnormalised(Rig):
    def score(self, metric: DistanceMetric, query: FloatMatrix, matrix: FloatMatrix) -> _Scores:
        length = float(np.linalg.norm(query)) if metric is DistanceMetric.COSINE else 1.0
        return super().score(metric, query, matrix) * length


@plant("met-manhattan-as-euclidean", "Manhattan collections are scored as euclidean ones.")
class _Manhattan(Rig):
    def score(self, metric: DistanceMetric, query: FloatMatrix, matrix: FloatMatrix) -> _Scores:
        manhattan = metric is DistanceMetric.MANHATTAN
        return super().score(DistanceMetric.EUCLIDEAN if manhattan else metric, query, matrix)


@plant("met-dot-normalised", "Dot product is taken of normalised vectors.")
class _DotNormalised(Rig):
    def score(self, metric: DistanceMetric, query: FloatMatrix, matrix: FloatMatrix) -> _Scores:
        if metric is not DistanceMetric.DOT_PRODUCT:
            return super().score(metric, query, matrix)
        lengths = np.linalg.norm(matrix, axis=1) * np.linalg.norm(query)
        score: _Scores = super().score(metric, query, matrix) / np.maximum(lengths, 1e-30)
        return score


@plant("met-size-dependent", "From 300 points on, where an index takes over, the engine's default metric is used.")
class _SizeDependent(Rig):
    def score(self, metric: DistanceMetric, query: FloatMatrix, matrix: FloatMatrix) -> _Scores:
        return super().score(metric if len(matrix) < 300 else DistanceMetric.EUCLIDEAN, query, matrix)


@plant("met-approximate", "From 300 points on, one point in twenty is not found.")
class _Approximate(Rig):
    def score(self, metric: DistanceMetric, query: FloatMatrix, matrix: FloatMatrix) -> _Scores:
        score = super().score(metric, query, matrix)
        if len(score) >= 300:
            score[7::20] = -np.inf if metric is DistanceMetric.DOT_PRODUCT else 0.0
        return score


@plant("met-unknown-accepted", "A metric of an unknown name falls back to cosine.", side="above")
class _UnknownAccepted(Rig):
    @operation
    async def create_collection(
        self, name: str, dimension: int, distance_metric: Any = DistanceMetric.COSINE, **kwargs: Any
    ) -> None:
        metric = distance_metric if isinstance(distance_metric, DistanceMetric) else DistanceMetric.COSINE
        await super().create_collection(name, dimension, metric, **kwargs)


class _FewerMetrics(Rig):
    claims = Rig.claims.model_copy(update={"supported_distance_metrics": [DistanceMetric.COSINE]})


@plant("met-unclaimed-fallback", "A metric that is not claimed falls back to cosine.", side="above")
class _UnclaimedFallback(_FewerMetrics):
    @operation
    async def create_collection(
        self, name: str, dimension: int, distance_metric: Any = DistanceMetric.COSINE, **kwargs: Any
    ) -> None:
        metric = DistanceMetric.COSINE if isinstance(distance_metric, DistanceMetric) else distance_metric
        await super().create_collection(name, dimension, metric, **kwargs)


@plant("met-info-cosine", "get_collection_info says cosine whatever the metric.")
class _InfoCosine(Rig):
    @operation
    async def get_collection_info(self, name: str) -> CollectionInfo:
        info = await super().get_collection_info(name)
        info.distance_metric = DistanceMetric.COSINE
        return info
