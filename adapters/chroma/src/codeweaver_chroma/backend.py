"""The Chroma backend: the contract's calls, embedded and by HTTP alike."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, TypeVar

import numpy.typing as npt

from codeweaver_backends.adapter import BaseBackend, operation
from codeweaver_backends.capabilities import BackendCapabilities
from codeweaver_backends.errors import (
    BackendClosedError,
    BackendConnectionError,
    BackendError,
    CollectionNotFoundError,
    InvalidInputError,
)
from codeweaver_backends.filters import Never, normalise
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
from codeweaver_chroma.config import ChromaConfig
from codeweaver_chroma.convert import (
    check_cursor,
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
from codeweaver_chroma.local import Local
from codeweaver_chroma.plugin import CAPABILITIES
from codeweaver_chroma.resolve import select
from codeweaver_chroma.search import Scored, nearest
from codeweaver_chroma.server import Server

__all__ = ["ChromaBackend"]

Result = TypeVar("Result")

_BATCH_BYTES: Final = 8 << 20
_ROWS_WITHOUT_PAUSE: Final = 500


class ChromaBackend(BaseBackend):
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

    async def _on(self, name: str, act: Callable[[Collection], Awaitable[Result]]) -> Result:
        """Act on a collection; if it was another one than believed, act again on what it is now."""
        known = self._collections.get(validate_name(name))
        if known is None:
            return await act(await self._verified(name))
        try:
            return await act(known)
        except Exception as error:
            if not (is_missing(error) or isinstance(error, InvalidInputError) or is_missing(error.__cause__ or error)):
                raise
            current = await self._verified(name)
            if current.id == known.id:
                raise
        return await act(current)

    async def _verified(self, name: str) -> Collection:
        """The collection as it is now."""
        self._collections.pop(name, None)
        found = await self._engine.collection(name)
        if found is None:
            raise CollectionNotFoundError("the collection does not exist")
        self._collections[name] = found
        return found

    # --- collections ---

    @operation
    async def create_collection(
        self, name: str, dimension: int, distance_metric: DistanceMetric = DistanceMetric.COSINE, **kwargs: Any
    ) -> None:
        settings = validate_create(name, dimension, distance_metric, kwargs, self.capabilities)
        self._collections[name] = await self._engine.create(settings)

    @operation
    async def list_collections(self) -> list[str]:
        return await self._engine.names()

    @operation
    async def delete_collection(self, name: str) -> None:
        await self._verified(validate_name(name))
        await self._engine.drop(name)
        self._collections.pop(name, None)

    @operation
    async def get_collection_info(self, name: str) -> CollectionInfo:
        async def act(collection: Collection) -> CollectionInfo:
            count = await self._engine.count(collection.id)
            known = collection.settings
            return CollectionInfo(name, known.dimension, known.metric, count, None, dict(known.payload_indexes))

        return await self._on(name, act)

    # --- writing ---

    @operation
    async def upsert_vectors(self, collection_name: str, vectors: list[VectorPoint]) -> None:
        async def act(collection: Collection) -> None:
            await self._upsert(collection, validate_batch(vectors, collection.settings, self.capabilities))

        await self._on(collection_name, act)

    @operation
    async def upsert_batch(
        self,
        collection_name: str,
        ids: Sequence[PointId],
        vectors: npt.NDArray[Any],
        payloads: Sequence[Payload | None] | None = None,
    ) -> None:
        async def act(collection: Collection) -> None:
            batch = validate_columns(ids, vectors, payloads, collection.settings, self.capabilities)
            await self._upsert(collection, batch)

        await self._on(collection_name, act)

    async def _upsert(self, collection: Collection, batch: Batch) -> None:
        if not len(batch):
            await self._verified(collection.settings.name)
        written = 0
        for chunk in batch.chunks(_ROWS_WITHOUT_PAUSE):
            for rows in _rows(chunk, collection):
                try:
                    await self._engine.replace(collection.id, rows)
                except Exception as error:
                    raise self._unwritten(error, batch.ids[written:]) from error
                written += len(rows.keys)
            await asyncio.sleep(0)

    def _unwritten(self, error: Exception, ids: Sequence[PointId]) -> BackendError:
        translated = error if isinstance(error, BackendError) else self._translated(error)
        translated.ids = tuple(ids)
        translated.state_unknown = isinstance(translated, BackendConnectionError)
        return translated

    @operation
    async def delete_vectors(self, collection_name: str, ids: list[str | int]) -> None:
        async def act(collection: Collection) -> None:
            keys = [encode_id(point_id) for point_id in validate_ids(ids)]
            if not keys:
                await self._verified(collection_name)
            await self._delete(collection, keys)

        await self._on(collection_name, act)

    @operation
    async def delete_by_filter(self, collection_name: str, search_filter: FilterLike) -> int:
        async def act(collection: Collection) -> int:
            keys = await self._keys(collection, search_filter)
            await self._delete(collection, keys)
            return len(keys)

        return await self._on(collection_name, act)

    async def _delete(self, collection: Collection, keys: Sequence[str]) -> None:
        for start in range(0, len(keys), ROWS_AT_ONCE):
            try:
                await self._engine.delete(collection.id, keys[start : start + ROWS_AT_ONCE])
            except Exception as error:
                raise self._unwritten(error, [decode_id(key) for key in keys[start:]]) from error

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
        async def act(collection: Collection) -> list[SearchResult]:
            query = validate_query(
                query_vector,
                limit,
                search_filter,
                score_threshold,
                kwargs,
                collection.settings,
                self.capabilities,
            )
            if not query.limit or isinstance(query.node, Never):
                await self._verified(collection_name)
                return []
            shown = _Shown(query.with_payload, query.with_vectors)
            hits = await nearest(self._engine, collection, query, shown.include)
            return [shown.result(hit) for hit in hits]

        return await self._on(collection_name, act)

    @operation
    async def get_vectors(
        self,
        collection_name: str,
        ids: Sequence[PointId],
        *,
        with_payload: bool | Sequence[str] = True,
        with_vectors: bool = True,
    ) -> list[VectorPoint]:
        async def act(collection: Collection) -> list[VectorPoint]:
            keys = [encode_id(point_id) for point_id in validate_ids(ids)]
            shown = _Shown(validate_with_payload(with_payload), with_vectors)
            if not keys:
                await self._verified(collection_name)
            return await self._points(collection, keys, shown)

        return await self._on(collection_name, act)

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
        async def act(collection: Collection) -> ScrollPage:
            page = validate_page(cursor, limit, search_filter, with_payload, with_vectors, self.capabilities)
            after = "" if page.cursor is None else check_cursor(page.cursor)
            keys = sorted(key for key in await self._keys(collection, search_filter) if key > after)
            wanted = keys[: page.limit]
            points = await self._points(collection, wanted, _Shown(page.with_payload, page.with_vectors))
            return ScrollPage(points, wanted[-1] if len(keys) > len(wanted) else None)

        return await self._on(collection_name, act)

    @operation
    async def count_vectors(self, collection_name: str, search_filter: FilterLike | None = None) -> int:
        async def act(collection: Collection) -> int:
            if search_filter is None:
                return await self._engine.count(collection.id)
            return len(await self._keys(collection, search_filter))

        return await self._on(collection_name, act)

    async def _keys(self, collection: Collection, search_filter: FilterLike | None) -> list[str]:
        """The keys of the points that match: Chroma has neither a count by filter nor an order of ids."""
        node = normalise(search_filter, self.capabilities)
        if isinstance(node, Never):
            await self._verified(collection.settings.name)
            return []
        selection = await select(self._engine, collection, node)
        if selection.keys is not None:
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
