"""What the two backends have in common: all of the protocol, above a store that speaks to the engine."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np

from codeweaver_backends.errors import (
    BackendError,
    CollectionNotFoundError,
    InvalidDimensionError,
    InvalidOptionError,
    InvalidVectorError,
)
from codeweaver_backends.sdk.filters.tree import Always, Node
from codeweaver_backends.sdk.index.keys import INT64_MAX
from codeweaver_backends.sdk.requests import Batch, CollectionSettings, Page, Query, WithPayload
from codeweaver_backends.sdk.template import Access, BackendTemplate
from codeweaver_backends.types import PointId, ScrollPage, SearchResult, VectorPoint
from codeweaver_qdrant.convert import check_lengths, engine_id, points_of, query_vector, results_of, wanted_fields
from codeweaver_qdrant.errors import RecreatedError, translate_error
from codeweaver_qdrant.filters import translate
from codeweaver_qdrant.store import Store

__all__ = ["BaseQdrantBackend"]

T = TypeVar("T")

_IDS_PER_CALL: Final = 1_000
_CURSOR: Final = re.compile(r"qdrant-(?:(0|[1-9][0-9]{0,18})|([0-9a-f]{32}))")


@dataclass(frozen=True, slots=True)
class Collection:
    """What is remembered of a collection."""

    settings: CollectionSettings


class BaseQdrantBackend(BackendTemplate[Collection]):
    """The protocol. A subclass opens the store.

    What a collection was created with is remembered, so that a search is a single request. It is never believed
    wrongly: the vector is stored under its metric's name, so after another process has created the collection anew the
    engine refuses a request made of old settings; then, and when an argument does not fit what is remembered, the
    settings are read again.
    """

    _store: Store

    @abstractmethod
    async def _open_store(self) -> Store:
        """Open the store."""

    async def _connect(self) -> None:
        self._known: dict[str, Collection] = {}
        self._store = await self._open_store()

    async def _disconnect(self) -> None:
        await self._store.close()

    async def _ping(self) -> None:
        await self._store.ping()

    def _translate_error(self, error: Exception) -> BackendError | None:
        return translate_error(error)

    # --- collections ---

    async def _create(self, settings: CollectionSettings) -> None:
        await self._store.create(settings)
        self._known[settings.name] = Collection(settings)

    async def _names(self) -> list[str]:
        return await self._store.names()

    async def _drop(self, name: str) -> None:
        self._known.pop(name, None)
        await self._store.drop(name)

    async def _confirm(self, collection: Collection) -> None:
        if await self._read_settings(collection.settings.name) != collection:
            raise RecreatedError("the collection was created again")

    async def _read_settings(self, name: str) -> Collection:
        self._known.pop(name, None)
        found = self._known[name] = Collection(await self._store.settings(name))
        return found

    async def _on(self, name: str, work: Callable[[Collection], Awaitable[T]], access: Access) -> T:
        known = self._known.get(name)
        if known is None:
            return await work(await self._read_settings(name))
        try:
            return await work(known)
        except (InvalidDimensionError, InvalidVectorError, RecreatedError):
            if await self._read_settings(name) == known:
                raise
        except CollectionNotFoundError:
            self._known.pop(name, None)
            raise
        return await work(self._known[name])

    # --- writing ---

    async def _upsert(self, collection: Collection, batch: Batch) -> None:
        check_lengths(batch.vectors, collection.settings.metric, batch.ids)
        written = 0
        for part in _parts(batch, self._store.batch_rows, self._store.batch_bytes):
            try:
                await self._store.upsert(collection.settings, part)
            except Exception as error:
                raise self._unwritten(error, batch.ids[written:]) from error
            written += len(part)

    async def _delete(self, collection: Collection, ids: list[PointId]) -> None:
        for start in range(0, len(ids), _IDS_PER_CALL):
            asked = [engine_id(one) for one in ids[start : start + _IDS_PER_CALL]]
            try:
                await self._store.delete(collection.settings.name, asked)
            except Exception as error:
                raise self._unwritten(error, ids[start:]) from error

    async def _delete_matching(self, collection: Collection, node: Node) -> int:
        return await self._store.delete_matching(collection.settings.name, translate(node, self._store.dialect))

    # --- reading ---

    async def _search(self, collection: Collection, query: Query) -> list[SearchResult]:
        settings = collection.settings
        check_lengths(query.vector[np.newaxis], settings.metric)
        hits = await self._store.search(
            settings,
            query_vector(query.vector, settings.metric),
            query.limit,
            translate(query.node, self._store.dialect),
            wanted_fields(query.with_payload, query.with_vectors),
            query.with_vectors,
        )
        results = results_of(hits, settings.metric, query.with_payload, query.with_vectors)
        if query.threshold is None:
            return results
        return [result for result in results if result.score >= query.threshold]

    async def _get(
        self, collection: Collection, ids: list[PointId], with_payload: WithPayload, with_vectors: bool
    ) -> list[VectorPoint]:
        fields, points = wanted_fields(with_payload, with_vectors), list[VectorPoint]()
        for start in range(0, len(ids), _IDS_PER_CALL):
            asked = [engine_id(one) for one in ids[start : start + _IDS_PER_CALL]]
            records = await self._store.retrieve(collection.settings.name, asked, fields, with_vectors)
            points += points_of(records, with_payload, with_vectors)
        return points

    async def _scroll(self, collection: Collection, page: Page) -> ScrollPage:
        records, following = await self._store.scroll(
            collection.settings.name,
            _offset(page.cursor),
            page.limit,
            translate(page.node, self._store.dialect),
            wanted_fields(page.with_payload, page.with_vectors),
            page.with_vectors,
        )
        points = points_of(records, page.with_payload, page.with_vectors)
        return ScrollPage(points, None if following is None else _cursor(following))

    async def _count(self, collection: Collection, node: Node) -> int:
        condition = None if isinstance(node, Always) else translate(node, self._store.dialect)
        return await self._store.count(collection.settings.name, condition)


def _parts(batch: Batch, rows: int, size: int) -> Iterator[Batch]:
    """The batch in parts that the engine takes, by count and by bytes; a part holds one point at least."""
    start = weight = 0
    vector_bytes = 4 * batch.vectors.shape[1]
    for row, document in enumerate(batch.documents):
        own = vector_bytes + 3 * len(document)  # the text, its strings again, its tokens
        if row > start and (row - start == rows or weight + own > size):
            yield _slice(batch, start, row)
            start, weight = row, 0
        weight += own
    if len(batch):
        yield _slice(batch, start, len(batch))


def _slice(batch: Batch, start: int, end: int) -> Batch:
    part = slice(start, end)
    return Batch(batch.ids[part], batch.vectors[part], batch.payloads[part], batch.documents[part])


def _cursor(following: int | Any) -> str:
    return f"qdrant-{str(following).replace('-', '')}"


def _offset(cursor: str | None) -> int | str | None:
    if cursor is None:
        return None
    match = _CURSOR.fullmatch(cursor)
    if match is None or int(match[1] or 0) > INT64_MAX:
        raise InvalidOptionError("cursor must be None or what the last page gave")
    return int(match[1]) if match[1] else match[2]
