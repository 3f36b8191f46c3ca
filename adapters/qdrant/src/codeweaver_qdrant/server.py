"""The backend of a Qdrant server, by whichever road answers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

from codeweaver_backends.capabilities import BackendCapabilities
from codeweaver_backends.errors import BackendConnectionError, UnsupportedError
from codeweaver_backends.sdk import operation
from codeweaver_backends.sdk.filters.tree import Node
from codeweaver_backends.sdk.forks import use_without_forks
from codeweaver_backends.sdk.plan import LOOKED_AT, KnownSizes, SearchIndex, Way, answered, plan, wants_index
from codeweaver_backends.sdk.requests import Query
from codeweaver_backends.types import PointId, SearchResult
from codeweaver_qdrant.backend import BaseQdrantBackend
from codeweaver_qdrant.client import open_client, version_of
from codeweaver_qdrant.config import QdrantConfig
from codeweaver_qdrant.grpc_client import GrpcClient
from codeweaver_qdrant.plugin import CAPABILITIES, WEAK
from codeweaver_qdrant.rest_client import RestClient
from codeweaver_qdrant.schema import Collection, hits_of

__all__ = ["QdrantBackend"]

_PROBE: Final = 2.0
"""Seconds that a guessed gRPC port is given to answer."""
_LEAST: Final = 200
"""Points that the graph looks at, at least (``hnsw_ef``)."""
_MOST: Final = 10_000
"""Points that the graph may have to look at for a limit; for a larger one all are compared."""
_MOST_LOOKED_AT: Final = 100_000


class QdrantBackend(BaseQdrantBackend[Collection]):
    """Collections on a server."""

    name: ClassVar[str] = "qdrant"
    part_points = 256
    part_bytes = 8_000_000
    config: QdrantConfig
    _client: GrpcClient | RestClient

    def __init__(self, config: QdrantConfig) -> None:
        super().__init__(config)
        self._capabilities = CAPABILITIES.with_exact_size(config.index_from)
        self._index = SearchIndex(config.index_from, _MOST)
        self._sizes = KnownSizes()
        self._server_version: str | None = None

    @property
    def capabilities(self) -> BackendCapabilities:
        return self._capabilities

    @property
    def server_version(self) -> str | None:
        """The server's own version, once connected."""
        return self._server_version

    @operation
    async def deployment_warnings(self, collection_name: str) -> list[str]:
        """What to know of how a cluster keeps a collection: one that was made by the settings shows what they do."""
        collection = await self._client.describe(collection_name)
        is_spread, unready = await self._client.placement(collection)
        if not is_spread:
            return []
        told = []
        if unready:
            told.append(f"{unready} copies of its shards are not up to date, or their node is away")
        if not collection.is_replicated:
            told.append("each point is on one node only, and out of reach while that is away: see replication_factor")
        elif self.config.write_ordering == "weak":
            told.append(WEAK)
        return told

    async def _connect(self) -> None:
        client = self._client = await self._reach()
        self._server_version = f"Qdrant {'.'.join(map(str, client.version))}"
        if not client.finds_substrings:
            self._capabilities = self._capabilities.model_copy(update={"supports_contains": False})

    async def _reach(self) -> GrpcClient | RestClient:
        config = self.config
        if config.transport == "grpc":
            return await self._opened(GrpcClient)
        is_guess = config.grpc_port is None and urlsplit(config.address).port in (None, config.default_port)
        if config.transport == "auto" and (is_guess or config.grpc_port is not None):
            try:
                async with asyncio.timeout(min(_PROBE, config.timeout / 2)):
                    return await self._opened(GrpcClient)
            except (BackendConnectionError, TimeoutError, UnsupportedError):
                pass  # nobody speaks gRPC there, or it cannot be used after a fork: REST is the other road
        return await self._opened(RestClient)

    async def _opened(self, road: type[GrpcClient | RestClient]) -> GrpcClient | RestClient:
        if road is GrpcClient:
            use_without_forks("gRPC")
        client = open_client(self.config, grpc=road is GrpcClient)
        try:
            version = version_of((await client.info()).version)
        except BaseException as error:
            await client.close()
            if isinstance(error, Exception):
                raise self._translated(error) from error
            raise
        return road(
            client,
            version,
            timeout=self.config.timeout,
            lost=self._handles.clear,
            exact_size=self.config.index_from,
            write_ordering=self.config.write_ordering,
            read_consistency=self.config.read_consistency,
        )

    # --- the graph ---

    async def _optimize(self, collection: Collection) -> None:
        await self._client.optimize(collection)

    async def _search(self, collection: Collection, query: Query) -> list[SearchResult]:
        asked, way, size = self._asked(collection, query), Way.EXACT, 0
        if wants_index(collection.settings) and not query.exact:
            size = await self._sizes.of(collection.incarnation, lambda: self._client.count(collection, None))
            way = plan(size, query, self._index)  # few points that match are read without the graph, by the engine

        async def ask(way: Way) -> Sequence[Any]:
            if way is Way.EXACT:
                return await self._client.search(collection, asked._replace(exact=True))
            looked_at = int(max(_LEAST, LOOKED_AT * query.limit) * min(query.effort, _MOST))
            return await self._client.search(collection, asked._replace(looked_at=min(looked_at, _MOST_LOOKED_AT)))

        return hits_of(await answered(way, query, size, ask), query, collection.settings.metric)

    async def _delete(self, collection: Collection, ids: list[PointId]) -> None:
        try:
            await super()._delete(collection, ids)
        finally:
            self._sizes.forget(collection.incarnation)

    async def _delete_matching(self, collection: Collection, node: Node) -> int:
        try:
            return await super()._delete_matching(collection, node)
        finally:
            self._sizes.forget(collection.incarnation)
