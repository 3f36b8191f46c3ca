"""The Chroma backend: the contract's calls, embedded and by HTTP alike."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, TypeVar

from codeweaver_backends.capabilities import BackendCapabilities
from codeweaver_backends.errors import BackendClosedError, BackendError, CollectionNotFoundError, InvalidInputError
from codeweaver_backends.sdk.cursors import cursor_after, position_of
from codeweaver_backends.sdk.filters.tree import Always, Node
from codeweaver_backends.sdk.payloads import decode_payload, project
from codeweaver_backends.sdk.requests import Batch, CollectionSettings, Page, Query, WithPayload
from codeweaver_backends.sdk.template import Access, BackendTemplate
from codeweaver_backends.types import DistanceMetric, Payload, PointId, ScrollPage, SearchResult, VectorPoint
from codeweaver_chroma.config import ChromaConfig
from codeweaver_chroma.convert import (
    decode_document,
    decode_id,
    encode_document,
    encode_id,
    metadata_of,
    restored,
    storable,
)
from codeweaver_chroma.engine import ROWS_AT_ONCE, Collection, Engine, Rows
from codeweaver_chroma.errors import is_missing, translate_error
from codeweaver_chroma.filters import is_testable
from codeweaver_chroma.local import Local
from codeweaver_chroma.plugin import CAPABILITIES
from codeweaver_chroma.resolve import select
from codeweaver_chroma.search import Scored, nearest
from codeweaver_chroma.server import Server

__all__ = ["ChromaBackend"]

Result = TypeVar("Result")

_BATCH_BYTES: Final = 8 << 20
_ROWS_WITHOUT_PAUSE: Final = 500


class ChromaBackend(BackendTemplate[Collection]):
    """Exact filters on Chroma; searches are exact up to the declared size."""

    name: ClassVar[str] = "chroma"
    config: ChromaConfig

    def __init__(self, config: ChromaConfig) -> None:
        super().__init__(config)
        self._connected: Engine | None = None
        self._collections: dict[str, Collection] = {}

    @property
    def capabilities(self) -> BackendCapabilities:
        return self._connected.capabilities if self._connected else CAPABILITIES

    @property
    def _engine(self) -> Engine:
        if self._connected is None:
            raise BackendClosedError("the backend is not connected")
        return self._connected

    async def _connect(self) -> None:
        path = self.config.path
        self._connected = await (Local.open(self.config, path) if path else Server.connect(self.config))

    async def _disconnect(self) -> None:
        engine, self._connected = self._engine, None
        await engine.close()

    async def _ping(self) -> None:
        await self._engine.ping()

    def _translate_error(self, error: Exception) -> BackendError | None:
        return translate_error(error)

    async def _on(self, name: str, work: Callable[[Collection], Awaitable[Result]], access: Access) -> Result:
        known = self._collections.get(name)
        if known is None:
            return await work(await self._verified(name))
        try:
            return await work(known)
        except Exception as error:
            if not (is_missing(error) or isinstance(error, InvalidInputError) or is_missing(error.__cause__ or error)):
                raise
            current = await self._verified(name)
            if current.id == known.id:
                raise
        return await work(current)

    async def _verified(self, name: str) -> Collection:
        """The collection as it is now."""
        self._collections.pop(name, None)
        found = await self._engine.collection(name)
        if found is None:
            raise CollectionNotFoundError("the collection does not exist")
        self._collections[name] = found
        return found

    # --- collections ---

    async def _create(self, settings: CollectionSettings) -> None:
        self._collections[settings.name] = await self._engine.create(settings)

    async def _names(self) -> list[str]:
        return await self._engine.names()

    async def _drop(self, name: str) -> None:
        await self._verified(name)
        await self._engine.drop(name)
        self._collections.pop(name, None)

    async def _confirm(self, collection: Collection) -> None:
        await self._verified(collection.settings.name)

    # --- writing ---

    async def _upsert(self, collection: Collection, batch: Batch) -> None:
        written = 0
        for chunk in batch.chunks(_ROWS_WITHOUT_PAUSE):
            for rows in _rows(chunk, collection):
                try:
                    await self._engine.replace(collection.id, rows)
                except Exception as error:
                    raise self._unwritten(error, batch.ids[written:]) from error
                written += len(rows.keys)
            await asyncio.sleep(0)

    async def _delete(self, collection: Collection, ids: list[PointId]) -> None:
        await self._delete_keys(collection, [encode_id(point_id) for point_id in ids])

    async def _delete_matching(self, collection: Collection, node: Node) -> int:
        keys = await self._keys(collection, node)
        await self._delete_keys(collection, keys)
        return len(keys)

    async def _delete_keys(self, collection: Collection, keys: Sequence[str]) -> None:
        for start in range(0, len(keys), ROWS_AT_ONCE):
            try:
                await self._engine.delete(collection.id, keys[start : start + ROWS_AT_ONCE])
            except Exception as error:
                raise self._unwritten(error, [decode_id(key) for key in keys[start:]]) from error

    # --- reading ---

    async def _search(self, collection: Collection, query: Query) -> list[SearchResult]:
        shown = _Shown(query.with_payload, query.with_vectors)
        self.filters_scanned += not is_testable(query.node)
        return [shown.result(hit) for hit in await nearest(self._engine, collection, query, shown.include)]

    async def _get(
        self, collection: Collection, ids: list[PointId], with_payload: WithPayload, with_vectors: bool
    ) -> list[VectorPoint]:
        keys = [encode_id(point_id) for point_id in ids]
        return await self._points(collection, keys, _Shown(with_payload, with_vectors))

    async def _scroll(self, collection: Collection, page: Page) -> ScrollPage:
        last = position_of(page.cursor)
        after = "" if last is None else encode_id(last)
        keys = sorted(key for key in await self._keys(collection, page.node) if key > after)
        wanted = keys[: page.limit]
        points = await self._points(collection, wanted, _Shown(page.with_payload, page.with_vectors))
        return ScrollPage(points, cursor_after(decode_id(wanted[-1])) if len(keys) > len(wanted) else None)

    async def _count(self, collection: Collection, node: Node) -> int:
        if isinstance(node, Always):
            return await self._engine.count(collection.id)
        return len(await self._keys(collection, node))

    async def _keys(self, collection: Collection, node: Node) -> list[str]:
        """The keys of the points that match: Chroma has neither a count by filter nor an order of ids."""
        selection = await select(self._engine, collection, node)
        if selection.keys is not None:
            self.filters_scanned += 1
            return selection.keys
        found: list[str] = (await self._engine.get(collection.id, where=selection.where))["ids"]
        return found

    async def _points(self, collection: Collection, keys: Sequence[str], shown: _Shown) -> list[VectorPoint]:
        found: dict[str, VectorPoint] = {}
        for start in range(0, len(keys), ROWS_AT_ONCE):
            part = keys[start : start + ROWS_AT_ONCE]
            rows = await self._engine.get(collection.id, keys=part, include=shown.include)
            found.update((row.key, shown.point(row)) for row in Scored.of(rows))
        return [found[key] for key in keys if key in found]


def _rows(chunk: Batch, collection: Collection) -> Iterator[Rows]:
    """The rows of points, in runs that one call may write."""
    vectors, given = chunk.vectors, [""] * len(chunk)
    if collection.settings.metric is DistanceMetric.COSINE:
        vectors, given = storable(vectors)
    keys = [encode_id(point_id) for point_id in chunk.ids]
    metadatas = [metadata_of(payload, collection.facts) for payload in chunk.payloads]
    documents = [encode_document(*pair) for pair in zip(chunk.documents, given, strict=True)]
    start, size = 0, 0
    for position, document in enumerate(documents):
        # Facts repeat what they are the facts of, about once.
        weight = 2 * len(document) + 6 * vectors.shape[1]
        if position > start and size + weight > _BATCH_BYTES:
            part = slice(start, position)
            yield Rows(keys[part], vectors[part], metadatas[part], documents[part])
            start, size = position, 0
        size += weight
    yield Rows(keys[start:], vectors[start:], metadatas[start:], documents[start:])


@dataclass(frozen=True, slots=True)
class _Shown:
    """What of a row is asked for, and how it is read."""

    payload: WithPayload
    vectors: bool

    @property
    def include(self) -> list[str]:
        """The columns to fetch: the document may hold the vector."""
        return [*(["uris"] if self.payload or self.vectors else []), *(["embeddings"] if self.vectors else [])]

    def _parts(self, row: Scored) -> tuple[Payload, list[float] | None]:
        document, given = decode_document(row.document or "{}")
        payload = project(decode_payload(document), self.payload) if self.payload else {}
        return payload, restored(row.vector, given) if self.vectors and row.vector is not None else None

    def point(self, row: Scored) -> VectorPoint:
        """The point of a row."""
        payload, vector = self._parts(row)
        return VectorPoint(decode_id(row.key), vector or [], payload)

    def result(self, row: Scored) -> SearchResult:
        """The hit of a row."""
        return SearchResult(decode_id(row.key), row.score, *self._parts(row))
