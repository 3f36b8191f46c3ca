"""Vectors: changed, lost, taken in any shape."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np

from codeweaver_backends.errors import InvalidVectorError
from codeweaver_backends.sdk.lifetime import operation
from codeweaver_backends.sdk.requests import Batch
from codeweaver_backends.types import DistanceMetric, FloatMatrix, SearchResult, VectorPoint
from codeweaver_tools.defects.registry import plant
from codeweaver_tools.defects.rig import Collection, Rig


class _Rounded(Rig):
    """Vectors are stored as ``rounded`` gives them."""

    def rounded(self, vectors: FloatMatrix, collection: Collection) -> FloatMatrix:
        return vectors

    def _write_all(self, collection: Collection, batch: Batch) -> None:
        super()._write_all(collection, dataclasses.replace(batch, vectors=self.rounded(batch.vectors, collection)))


@plant("vec-normalised", "A cosine collection stores unit vectors and gives those back.")
class _Normalised(_Rounded):
    def rounded(self, vectors: FloatMatrix, collection: Collection) -> FloatMatrix:
        if collection.settings.metric is not DistanceMetric.COSINE or not len(vectors):
            return vectors
        unit: FloatMatrix = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return unit


@plant("vec-half", "Vectors are stored in half precision.")
class _Half(_Rounded):
    def rounded(self, vectors: FloatMatrix, collection: Collection) -> FloatMatrix:
        with np.errstate(over="ignore"):
            half = vectors.astype(np.float16).astype(np.float32)
        return np.where(np.isfinite(half) & (half != 0), half, vectors)


@plant("vec-bfloat", "Vectors are stored with eight bits of precision.")
class _Bfloat(_Rounded):
    def rounded(self, vectors: FloatMatrix, collection: Collection) -> FloatMatrix:
        return (vectors.copy().view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)


@plant("vec-aliased", "The store keeps the caller's matrix: changing it changes what is stored.")
class _Aliased(Rig):
    def _write_all(self, collection: Collection, batch: Batch) -> None:
        super()._write_all(collection, batch)
        for point_id, vector in zip(batch.ids, batch.vectors, strict=True):
            collection.points[point_id].vector = vector


@plant("vec-missing-in-result", "An asked-for vector comes back empty.")
class _Missing(Rig):
    def shown(self, result: SearchResult) -> SearchResult:
        return dataclasses.replace(result, vector=[] if result.vector else None)


@plant("vec-named-in-result", "An asked-for vector comes back as a dict of named vectors.")
class _Named(Rig):
    def shown(self, result: SearchResult) -> SearchResult:
        vector: Any = {"dense": result.vector} if result.vector else None
        return dataclasses.replace(result, vector=vector)


@plant("vec-numpy-in-result", "An asked-for vector comes back as a numpy array.")
class _Numpy(Rig):
    def shown(self, result: SearchResult) -> SearchResult:
        vector: Any = np.array(result.vector, dtype=np.float32) if result.vector else None
        return dataclasses.replace(result, vector=vector)


@plant("vec-always-returned", "Vectors are returned when nobody asked.", side="above")
class _Always(Rig):
    async def search_vectors(self, *args: Any, **kwargs: Any) -> list[SearchResult]:
        return await super().search_vectors(*args, **{**kwargs, "with_vectors": True})


@plant("vec-get-empty", "get_vectors returns points without their vectors.", side="above")
class _GetEmpty(Rig):
    async def get_vectors(self, collection_name: str, ids: Any, **kwargs: Any) -> list[VectorPoint]:
        return await super().get_vectors(collection_name, ids, **{**kwargs, "with_vectors": False})


@plant("vec-get-always", "get_vectors returns vectors although with_vectors=False.", side="above")
class _GetAlways(Rig):
    async def get_vectors(self, collection_name: str, ids: Any, **kwargs: Any) -> list[VectorPoint]:
        return await super().get_vectors(collection_name, ids, **{**kwargs, "with_vectors": True})


# --- vectors that should be refused -----------------------------------------------------------------------------------


def _as_it_is(vector: Any, _: int) -> Any:
    return vector


class _Fitted(Rig):
    """Vectors are made to fit before they are judged: those of points, and those of queries."""

    fitted: ClassVar[staticmethod[[Any, int], Any]] = staticmethod(_as_it_is)
    fitted_query: ClassVar[staticmethod[[Any, int], Any]] = staticmethod(_as_it_is)

    @operation
    async def upsert_vectors(self, collection_name: str, vectors: list[VectorPoint]) -> None:
        dimension = self._collection(collection_name).settings.dimension
        if isinstance(vectors, list) and all(isinstance(one, VectorPoint) for one in vectors):
            vectors = [dataclasses.replace(one, vector=self.fitted(one.vector, dimension)) for one in vectors]
        await super().upsert_vectors(collection_name, vectors)

    @operation
    async def search_vectors(
        self, collection_name: str, query_vector: Any, *args: Any, **kwargs: Any
    ) -> list[SearchResult]:
        dimension = self._collection(collection_name).settings.dimension
        query = self.fitted_query(query_vector, dimension)
        return await super().search_vectors(collection_name, query, *args, **kwargs)


def _padded(vector: Any, dimension: int) -> Any:
    return [*vector, *[0.0] * dimension][:dimension] if isinstance(vector, list) and vector else vector


def _finite(vector: Any, _: int) -> Any:
    if isinstance(vector, list) and all(isinstance(one, int | float) for one in vector):
        return [max(-3e38, min(3e38, one)) if one == one else 0.0 for one in vector]
    return vector


def _nonzero(vector: Any, _: int) -> Any:
    try:
        return [1e-20] * len(vector) if len(vector) and not np.asarray(vector, dtype=np.float32).any() else vector
    except (TypeError, ValueError):
        return vector


def _numbers(vector: Any, _: int) -> Any:
    try:
        return [float(one) for one in vector] if isinstance(vector, list) else vector
    except (TypeError, ValueError):
        return vector


@plant("vec-dim-upsert-silent", "A vector of another dimension is padded or cut.", side="above")
class _Padded(_Fitted):
    fitted = staticmethod(_padded)


@plant("vec-dim-query-silent", "A query of another dimension is padded or cut.", side="above")
class _QueryPadded(_Fitted):
    fitted_query = staticmethod(_padded)


@plant("vec-dim-dropped", "Points of another dimension are dropped from the batch.", side="above")
class _DimensionDropped(Rig):
    @operation
    async def upsert_vectors(self, collection_name: str, vectors: list[VectorPoint]) -> None:
        dimension = self._collection(collection_name).settings.dimension
        if isinstance(vectors, list) and all(isinstance(getattr(one, "vector", None), list) for one in vectors):
            vectors = [one for one in vectors if len(one.vector or ()) == dimension]
        await super().upsert_vectors(collection_name, vectors)


@plant("vec-infinity-clamped", "NaN becomes 0 and infinity the largest number.", side="above")
class _Clamped(_Fitted):
    fitted = staticmethod(_finite)


@plant("vec-nan-query", "A query that is not finite finds nothing.", side="above")
class _NanQuery(_Fitted):
    fitted_query = staticmethod(_finite)


@plant("vec-zero-stored", "The zero vector is stored under cosine.", side="above")
class _ZeroStored(_Fitted):
    fitted = staticmethod(_nonzero)


@plant("vec-zero-query", "The zero vector is taken as a cosine query.", side="above")
class _ZeroQuery(_Fitted):
    fitted_query = staticmethod(_nonzero)


@plant("vec-zero-cosine-nan", "The zero vector is taken under cosine, and its scores are NaN.")
class _ZeroNan(Rig):
    @operation
    async def upsert_vectors(self, collection_name: str, vectors: list[VectorPoint]) -> None:
        collection = self._collection(collection_name)
        kept = collection.settings
        collection.settings = dataclasses.replace(kept, metric=DistanceMetric.EUCLIDEAN)
        try:
            await super().upsert_vectors(collection_name, vectors)
        finally:
            collection.settings = kept


@plant("vec-zero-refused", "The zero vector is refused under every metric.", side="above")
class _ZeroRefused(Rig):
    @operation
    async def upsert_vectors(self, collection_name: str, vectors: list[VectorPoint]) -> None:
        for one in vectors if isinstance(vectors, list) else ():
            if isinstance(getattr(one, "vector", None), list) and one.vector and not any(one.vector):
                raise InvalidVectorError("a zero vector")
        await super().upsert_vectors(collection_name, vectors)


@plant("vec-numpy-rejected", "A numpy array is no vector.", side="above")
class _NumpyRejected(_Fitted):
    @staticmethod
    def fitted(vector: Any, dimension: int) -> Any:
        return vector if vector is None or bool(vector) else []


@plant("vec-ints-rejected", "A list of integers is no vector.", side="above")
class _IntsRejected(_Fitted):
    @staticmethod
    def fitted(vector: Any, dimension: int) -> Any:
        return [None] if isinstance(vector, list) and vector and all(type(one) is int for one in vector) else vector


@plant("vec-strided-misread", "A strided array is read as if it were contiguous.", side="above")
class _StridedMisread(_Fitted):
    @staticmethod
    def fitted(vector: Any, dimension: int) -> Any:
        if isinstance(vector, np.ndarray) and vector.base is not None and vector.strides[0] != vector.itemsize:
            return vector.base.reshape(-1)[: len(vector)]
        return vector


@plant("vec-text-read", "Text that spells numbers is read as a vector.", side="above")
class _TextRead(_Fitted):
    fitted = staticmethod(_numbers)
    fitted_query = staticmethod(_numbers)


@plant("vec-input-normalised", "The caller's own vector is normalised in place.", side="above")
class _InputNormalised(Rig):
    @operation
    async def upsert_vectors(self, collection_name: str, vectors: list[VectorPoint]) -> None:
        await super().upsert_vectors(collection_name, vectors)
        for one in vectors:
            if isinstance(one.vector, list):
                length = float(np.linalg.norm(one.vector)) or 1.0
                one.vector = [value / length for value in one.vector]


@plant("vec-columns-unchecked", "upsert_batch takes NaN.", side="above")
class _ColumnsUnchecked(Rig):
    @operation
    async def upsert_batch(self, collection_name: str, ids: Any, vectors: Any, payloads: Any = None) -> None:
        if isinstance(vectors, np.ndarray) and vectors.dtype.kind == "f":
            vectors = np.nan_to_num(vectors)
        await super().upsert_batch(collection_name, ids, vectors, payloads)
