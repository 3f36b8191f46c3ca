"""The Chroma backend: the contract's calls, embedded and by HTTP alike."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import ClassVar

from codeweaver_backends.capabilities import BackendCapabilities
from codeweaver_backends.errors import BackendClosedError, BackendError
from codeweaver_backends.plugins import needs
from codeweaver_backends.sdk.cursors import cursor_after, position_of
from codeweaver_backends.sdk.filters.compile import untestable_leaves
from codeweaver_backends.sdk.filters.tree import Always, Node
from codeweaver_backends.sdk.index.codes import decode_id, encode_id
from codeweaver_backends.sdk.requests import Batch, CollectionSettings, Page, Projection, Query
from codeweaver_backends.sdk.template import BackendTemplate
from codeweaver_backends.sdk.vectors import restored
from codeweaver_backends.types import Payload, PointId, ScrollPage, SearchResult, VectorPoint
from codeweaver_chroma import errors
from codeweaver_chroma.client import ROWS_AT_ONCE, Client
from codeweaver_chroma.config import ChromaConfig
from codeweaver_chroma.dialect import ChromaDialect
from codeweaver_chroma.plugin import CAPABILITIES
from codeweaver_chroma.schema import Collection, rows_of, split_uri
from codeweaver_chroma.search import Row, nearest, select
from codeweaver_chroma.server import ServerClient

__all__ = ["ChromaBackend"]


def _way_to(config: ChromaConfig) -> Callable[[], Awaitable[Client]]:
    """How a client is had. The engine is imported only where it is to run in this process."""
    if config.path is None:
        return partial(ServerClient.connect, config)
    needs("chromadb", "codeweaver-chroma[embedded]")
    from codeweaver_chroma.embedded import EmbeddedClient

    return partial(EmbeddedClient.open, config.path)


class ChromaBackend(BackendTemplate[Collection]):
    """Exact filters on Chroma; searches are exact up to the declared size."""

    name: ClassVar[str] = "chroma"
    part_points: ClassVar[int] = 500
    ids_at_once: ClassVar[int] = ROWS_AT_ONCE
    config: ChromaConfig

    def __init__(self, config: ChromaConfig) -> None:
        super().__init__(config)
        self._connected: Client | None = None
        self._reach = _way_to(config)

    @property
    def capabilities(self) -> BackendCapabilities:
        return self._connected.capabilities if self._connected else CAPABILITIES

    @property
    def server_version(self) -> str | None:
        return self._connected.version if self._connected else None

    @property
    def _client(self) -> Client:
        if self._connected is None:
            raise BackendClosedError("the backend is not connected")
        return self._connected

    async def _connect(self) -> None:
        self._connected = await self._reach()

    async def _disconnect(self) -> None:
        client, self._connected = self._client, None
        await client.close()

    def _abandon(self) -> None:
        if self._connected is not None:
            self._connected.abandon()

    async def _ping(self) -> None:
        await self._client.ping()

    def _translate_error(self, error: Exception) -> BackendError | None:
        return errors.translate_error(error)

    def _is_stale(self, error: Exception) -> bool:
        return errors.is_missing(error)

    # --- collections ---

    async def _create(self, settings: CollectionSettings) -> Collection:
        return await self._client.create(settings)

    async def _names(self) -> list[str]:
        return await self._client.names()

    async def _drop(self, name: str) -> None:
        await self._client.drop(name)

    async def _describe(self, name: str) -> Collection:
        return await self._client.collection(name)

    # --- writing ---

    async def _upsert_part(self, collection: Collection, part: Batch) -> None:
        await self._client.upsert(collection.incarnation, rows_of(collection, part))

    async def _delete_part(self, collection: Collection, ids: list[PointId]) -> None:
        await self._client.delete(collection.incarnation, [encode_id(point_id) for point_id in ids])

    async def _delete_matching(self, collection: Collection, node: Node) -> int:
        async with self._bounded():
            keys = await self._keys(collection, node)
        await self._delete(collection, [decode_id(key) for key in keys])
        return len(keys)

    # --- reading ---

    async def _search(self, collection: Collection, query: Query) -> list[SearchResult]:
        projection = query.projection
        hits = await nearest(self._client, collection, query, _include(projection))
        self.filters_scanned += bool(untestable_leaves(query.filter, ChromaDialect(collection.terms_key)))
        return [SearchResult(decode_id(hit.key), hit.score, *_shown(hit, projection)) for hit in hits]

    async def _get(self, collection: Collection, ids: list[PointId], projection: Projection) -> list[VectorPoint]:
        return await self._points(collection, [encode_id(point_id) for point_id in ids], projection)

    async def _scroll(self, collection: Collection, page: Page) -> ScrollPage:
        last = position_of(page.cursor)
        after = "" if last is None else encode_id(last)
        keys = sorted(key for key in await self._keys(collection, page.filter) if key > after)
        wanted = keys[: page.limit]
        points = await self._points(collection, wanted, page.projection)
        return ScrollPage(points, cursor_after(decode_id(wanted[-1])) if len(keys) > len(wanted) else None)

    async def _count(self, collection: Collection, node: Node) -> int:
        if isinstance(node, Always):
            return await self._client.count(collection.incarnation)
        return len(await self._keys(collection, node))

    async def _keys(self, collection: Collection, node: Node) -> list[str]:
        """The keys of the points that match: Chroma has neither a count by filter nor an order of ids."""
        selection = await select(self._client, collection, node)
        if selection.keys is not None:
            self.filters_scanned += 1
            return selection.keys
        found: list[str] = (await self._client.get(collection.incarnation, where=selection.where))["ids"]
        return found

    async def _points(self, collection: Collection, keys: Sequence[str], projection: Projection) -> list[VectorPoint]:
        found: dict[str, VectorPoint] = {}
        for start in range(0, len(keys), ROWS_AT_ONCE):
            part, include = keys[start : start + ROWS_AT_ONCE], _include(projection)
            for row in Row.of(await self._client.get(collection.incarnation, keys=part, include=include)):
                payload, vector = _shown(row, projection)
                found[row.key] = VectorPoint(decode_id(row.key), vector, payload)
        return [found[key] for key in keys if key in found]


def _include(projection: Projection) -> list[str]:
    """The columns to fetch: a vector may need what stands beside the payload."""
    wants_uri = projection.vectors or projection.payload is not False
    return [*(["uris"] if wants_uri else []), *(["embeddings"] if projection.vectors else [])]


def _shown(row: Row, projection: Projection) -> tuple[Payload | None, list[float] | None]:
    kept, payload_json = split_uri(row.uri or "")
    vector = restored(row.vector, kept) if projection.vectors and row.vector is not None else None
    return projection.payload_of(payload_json or None), vector
