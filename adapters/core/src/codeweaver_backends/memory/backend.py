"""An exact vector store in a dict. Everything a backend must do, and nothing else."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from codeweaver_backends.adapter import operation
from codeweaver_backends.capabilities import BackendCapabilities
from codeweaver_backends.errors import CollectionExistsError, CollectionNotFoundError, InvalidOptionError
from codeweaver_backends.filters import normalise
from codeweaver_backends.memory.config import MemoryConfig
from codeweaver_backends.memory.plugin import CAPABILITIES
from codeweaver_backends.memory.store import Collection, MemoryStore, Point, Snapshot
from codeweaver_backends.metrics import scores
from codeweaver_backends.transactions import TransactionalBase
from codeweaver_backends.types import (
    CollectionInfo,
    DistanceMetric,
    FilterLike,
    Payload,
    PointId,
    ScrollPage,
    SearchFilter,
    SearchResult,
    VectorPoint,
)
from codeweaver_backends.validate import (
    Batch,
    WithPayload,
    decode_payload,
    project,
    validate_batch,
    validate_columns,
    validate_create,
    validate_ids,
    validate_name,
    validate_page,
    validate_query,
    validate_with_payload,
)

__all__ = ["MemoryBackend"]


class MemoryBackend(TransactionalBase[Snapshot]):
    """Exact search by numpy; a call never awaits in its middle, so each is atomic, a commit too."""

    name: ClassVar[str] = "memory"
    any_loop: ClassVar[bool] = True

    def __init__(self, config: MemoryConfig) -> None:
        super().__init__(config)
        store = config.store if config.store is not None else MemoryStore()
        if not isinstance(store, MemoryStore):
            raise InvalidOptionError(f"store must be a MemoryStore, not a {type(store).__name__}")
        self._store = store

    @property
    def capabilities(self) -> BackendCapabilities:
        return CAPABILITIES

    @property
    def _collections(self) -> dict[str, Collection]:
        """Those of the transaction that the call is in, or else the store's."""
        transaction = self._joined()
        return transaction.handle.collections if transaction else self._store.collections

    async def _ping(self) -> None:
        await asyncio.sleep(0)

    # --- transactions ---

    async def _begin(self) -> Snapshot:
        return Snapshot(self._store)

    async def _commit(self, handle: Snapshot) -> None:
        handle.commit()

    async def _rollback(self, handle: Snapshot) -> None:
        """Nothing was written."""

    # --- collections ---

    @operation
    async def create_collection(
        self, name: str, dimension: int, distance_metric: DistanceMetric = DistanceMetric.COSINE, **kwargs: Any
    ) -> None:
        settings = validate_create(name, dimension, distance_metric, kwargs, self.capabilities)
        if settings.name in self._collections:
            raise CollectionExistsError("the collection exists already")
        self._collections[settings.name] = Collection(settings)

    @operation
    async def list_collections(self) -> list[str]:
        return sorted(self._collections)

    @operation
    async def delete_collection(self, name: str) -> None:
        self._collection(name)
        del self._collections[name]

    @operation
    async def get_collection_info(self, name: str) -> CollectionInfo:
        collection = self._collection(name)
        settings = collection.settings
        return CollectionInfo(
            name, settings.dimension, settings.metric, len(collection.points), None, dict(settings.payload_indexes)
        )

    # --- writing ---

    @operation
    async def upsert_vectors(self, collection_name: str, vectors: list[VectorPoint]) -> None:
        collection = self._collection(collection_name)
        self._write(collection, validate_batch(vectors, collection.settings, self.capabilities))

    @operation
    async def upsert_batch(
        self,
        collection_name: str,
        ids: Sequence[PointId],
        vectors: npt.NDArray[Any],
        payloads: Sequence[Payload | None] | None = None,
    ) -> None:
        collection = self._collection(collection_name)
        self._write(collection, validate_columns(ids, vectors, payloads, collection.settings, self.capabilities))

    def _write(self, collection: Collection, batch: Batch) -> None:
        for point_id, vector, document in zip(batch.ids, batch.vectors, batch.documents, strict=True):
            known = collection.points.get(point_id)
            collection.serial += known is None
            serial = known.serial if known else collection.serial
            collection.points[point_id] = Point(point_id, vector.copy(), document, decode_payload(document), serial)

    @operation
    async def delete_vectors(self, collection_name: str, ids: list[str | int]) -> None:
        collection = self._collection(collection_name)
        for point_id in validate_ids(ids):
            collection.points.pop(point_id, None)

    @operation
    async def delete_by_filter(self, collection_name: str, search_filter: FilterLike) -> int:
        collection = self._collection(collection_name)
        found = collection.matching(normalise(search_filter, self.capabilities))
        for point in found:
            del collection.points[point.id]
        return len(found)

    # --- reading ---

    @operation
    async def search_vectors(
        self,
        collection_name: str,
        query_vector: list[float],
        limit: int = 10,
        search_filter: SearchFilter | None = None,
        score_threshold: float | None = None,
        **kwargs: Any,
    ) -> list[SearchResult]:
        collection = self._collection(collection_name)
        settings = collection.settings
        query = validate_query(query_vector, limit, search_filter, score_threshold, kwargs, settings, self.capabilities)
        found = collection.matching(query.node)
        if not found or not query.limit:
            return []
        score = scores(settings.metric, query.vector, np.stack([point.vector for point in found]))
        best = np.argsort(-score, kind="stable")[: query.limit]
        return [
            SearchResult(
                id=found[row].id,
                score=float(score[row]),
                payload=project(decode_payload(found[row].document), query.with_payload),
                vector=found[row].vector.tolist() if query.with_vectors else None,
            )
            for row in best
            if query.threshold is None or score[row] >= query.threshold
        ]

    @operation
    async def get_vectors(
        self,
        collection_name: str,
        ids: Sequence[PointId],
        *,
        with_payload: bool | Sequence[str] = True,
        with_vectors: bool = True,
    ) -> list[VectorPoint]:
        points = self._collection(collection_name).points
        wanted = validate_with_payload(with_payload)
        found = (points[point_id] for point_id in validate_ids(ids) if point_id in points)
        return list(_as_given(found, wanted, with_vectors))

    @operation
    async def scroll_vectors(
        self,
        collection_name: str,
        *,
        cursor: str | None = None,
        limit: int = 256,
        search_filter: FilterLike | None = None,
        with_payload: bool | Sequence[str] = True,
        with_vectors: bool = False,
    ) -> ScrollPage:
        collection = self._collection(collection_name)
        page = validate_page(cursor, limit, search_filter, with_payload, with_vectors, self.capabilities)
        if page.cursor is not None and not re.fullmatch("[0-9]{1,19}", page.cursor):
            raise InvalidOptionError("cursor must be None or what the last page gave")
        after = int(page.cursor or 0)
        found = sorted(
            (point for point in collection.matching(page.node) if point.serial > after),
            key=lambda point: point.serial,
        )
        shown = found[: page.limit]
        more = str(shown[-1].serial) if len(found) > len(shown) else None
        return ScrollPage(list(_as_given(shown, page.with_payload, page.with_vectors)), more)

    @operation
    async def count_vectors(self, collection_name: str, search_filter: FilterLike | None = None) -> int:
        collection = self._collection(collection_name)
        return len(collection.matching(normalise(search_filter, self.capabilities)))

    def _collection(self, name: str) -> Collection:
        try:
            return self._collections[validate_name(name)]
        except KeyError:
            raise CollectionNotFoundError("the collection does not exist") from None


def _as_given(
    points: Iterator[Point] | Sequence[Point], with_payload: WithPayload, with_vectors: bool
) -> Iterator[VectorPoint]:
    for point in points:
        payload: Mapping[str, Any] = project(decode_payload(point.document), with_payload)
        yield VectorPoint(point.id, point.vector.tolist() if with_vectors else [], payload)
