"""An exact vector store in a dict. Everything a backend must do, and nothing else."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar, TypeVar

import numpy as np

from codeweaver_backends.capabilities import BackendCapabilities
from codeweaver_backends.errors import CollectionExistsError, CollectionNotFoundError, InvalidOptionError
from codeweaver_backends.memory.config import MemoryConfig
from codeweaver_backends.memory.plugin import CAPABILITIES
from codeweaver_backends.memory.store import Collection, MemoryStore, Point, Snapshot
from codeweaver_backends.metrics import scores
from codeweaver_backends.sdk.filters.tree import Node
from codeweaver_backends.sdk.payloads import decode_payload, project
from codeweaver_backends.sdk.requests import Batch, CollectionSettings, Page, Query, WithPayload
from codeweaver_backends.sdk.template import Access, BackendTemplate
from codeweaver_backends.sdk.transactions import TransactionalBase
from codeweaver_backends.types import PointId, ScrollPage, SearchResult, VectorPoint

__all__ = ["MemoryBackend"]

Answer = TypeVar("Answer")


class MemoryBackend(BackendTemplate[Collection], TransactionalBase[Snapshot]):
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

    async def _on(self, name: str, work: Callable[[Collection], Awaitable[Answer]], access: Access) -> Answer:
        return await work(self._collection(name))

    def _collection(self, name: str) -> Collection:
        try:
            return self._collections[name]
        except KeyError:
            raise CollectionNotFoundError("the collection does not exist") from None

    async def _confirm(self, collection: Collection) -> None:
        """It was looked up just now, and nothing has been awaited since."""

    async def _create(self, settings: CollectionSettings) -> None:
        if settings.name in self._collections:
            raise CollectionExistsError("the collection exists already")
        self._collections[settings.name] = Collection(settings)

    async def _names(self) -> list[str]:
        return list(self._collections)

    async def _drop(self, name: str) -> None:
        self._collection(name)
        del self._collections[name]

    # --- writing ---

    async def _upsert(self, collection: Collection, batch: Batch) -> None:
        self._write(collection, batch)

    def _write(self, collection: Collection, batch: Batch) -> None:
        for point_id, vector, document in zip(batch.ids, batch.vectors, batch.documents, strict=True):
            known = collection.points.get(point_id)
            collection.serial += known is None
            serial = known.serial if known else collection.serial
            collection.points[point_id] = Point(point_id, vector.copy(), document, decode_payload(document), serial)

    async def _delete(self, collection: Collection, ids: list[PointId]) -> None:
        for point_id in ids:
            collection.points.pop(point_id, None)

    async def _delete_matching(self, collection: Collection, node: Node) -> int:
        found = collection.matching(node)
        for point in found:
            del collection.points[point.id]
        return len(found)

    # --- reading ---

    async def _search(self, collection: Collection, query: Query) -> list[SearchResult]:
        found = collection.matching(query.node)
        if not found:
            return []
        score = scores(collection.settings.metric, query.vector, np.stack([point.vector for point in found]))
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

    async def _get(
        self, collection: Collection, ids: list[PointId], with_payload: WithPayload, with_vectors: bool
    ) -> Iterable[VectorPoint]:
        found = (collection.points[point_id] for point_id in ids if point_id in collection.points)
        return _as_given(found, with_payload, with_vectors)

    async def _scroll(self, collection: Collection, page: Page) -> ScrollPage:
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

    async def _count(self, collection: Collection, node: Node) -> int:
        return len(collection.matching(node))


def _as_given(points: Iterable[Point], with_payload: WithPayload, with_vectors: bool) -> Iterator[VectorPoint]:
    for point in points:
        payload: Mapping[str, Any] = project(decode_payload(point.document), with_payload)
        yield VectorPoint(point.id, point.vector.tolist() if with_vectors else [], payload)
