"""The Weaviate backend: what the template asks, answered by a server."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, Final

import httpx

from codeweaver_backends.capabilities import BackendCapabilities
from codeweaver_backends.errors import BackendError, CollectionExistsError, CollectionNotFoundError
from codeweaver_backends.sdk import (
    BackendTemplate,
    Batch,
    CollectionSettings,
    CollectionUse,
    Intent,
    Node,
    Page,
    Projection,
    Query,
    operation,
)
from codeweaver_backends.sdk.plan import KnownSizes, SearchIndex, plan
from codeweaver_backends.types import PointId, ScrollPage, SearchResult, VectorPoint
from codeweaver_weaviate import errors, reading, writing
from codeweaver_weaviate.client import Connection
from codeweaver_weaviate.config import WeaviateConfig
from codeweaver_weaviate.plugin import CAPABILITIES, FEWER
from codeweaver_weaviate.repair import Repairs
from codeweaver_weaviate.schema import (
    Collection,
    class_definition,
    class_name,
    collection_name,
    collection_of,
    new_collection,
    point_uuid,
    vector_point,
)

__all__ = ["WeaviateBackend"]

_TAKEN: Final = ("already exists", "similar class")
_MOST: Final = 2_000
"""Points that the graph may have to look at for a limit; for a larger one all are compared."""


class WeaviateBackend(BackendTemplate[Collection]):
    """A Weaviate server: the schema by REST, points by gRPC."""

    name: ClassVar[str] = "weaviate"
    # A part is answered when its points are in the graph, and must be within the timeout.
    part_points = 500
    # Terms can be twenty times as long as the payload, and the server takes messages of 100 MB.
    part_bytes = 16_000_000
    json_weight = 8.0
    config: WeaviateConfig
    _connection: Connection
    _repairs: Repairs

    def __init__(self, config: WeaviateConfig) -> None:
        super().__init__(config)
        self._capabilities = CAPABILITIES.with_exact_size(config.index_from)
        self._index = SearchIndex(config.index_from, _MOST, takes_filters=False)
        self._sizes = KnownSizes()
        self._server_version: str | None = None

    @property
    def capabilities(self) -> BackendCapabilities:
        return self._capabilities

    @property
    def server_version(self) -> str | None:
        """The server's version, once connected."""
        return self._server_version

    @operation
    async def deployment_warnings(self, collection_name: str) -> list[str]:
        """What to know of how a cluster keeps a collection: one that was made by the settings shows what they do."""
        definition = await self._connection.class_named(class_name(collection_name))
        nodes = await self._connection.nodes()
        if definition is None or len(nodes) < 2:
            return []
        told = []
        if away := len(nodes) - nodes.count("HEALTHY"):
            told.append(f"{away} of {len(nodes)} nodes are away: what they have copies of takes no writes meanwhile")
        if definition["replicationConfig"]["factor"] < 2:
            told.append(
                "each point is on one node only, and out of reach while it is away: see replicationConfig.factor"
            )
        elif self.config.write_consistency != "all":
            told.append(FEWER)
        return told

    async def _connect(self) -> None:
        connection = Connection(self.config, lost=lambda: repairs.doubt_all())  # noqa: PLW0108 - it is made below
        repairs = Repairs(connection, patience=self.config.timeout / 2)
        try:
            await connection.open()
        except BaseException:
            await connection.close()
            raise
        self._connection, self._repairs = connection, repairs
        self._server_version = f"Weaviate {connection.server_version}"

    async def _disconnect(self) -> None:
        await self._repairs.close()
        await self._connection.close()

    async def _ping(self) -> None:
        await self._connection.ping()

    def _translate_error(self, error: Exception) -> BackendError | None:
        return errors.translate(error)

    def _is_stale(self, error: Exception) -> bool:
        return errors.is_stale(error)

    def _use(self, name: str, intent: Intent) -> CollectionUse[Collection]:
        if self._connection.is_interrupted():
            self._repairs.doubt_all()
        return super()._use(name, intent)

    # --- collections ---

    async def _create(self, settings: CollectionSettings) -> Collection:
        collection = new_collection(settings)
        try:
            await self._connection.request("POST", "/v1/schema", class_definition(collection))
        except httpx.HTTPStatusError as error:
            if error.response.status_code == 422 and any(word in error.response.text for word in _TAKEN):
                raise CollectionExistsError("the collection exists already") from error
            raise
        self._repairs.created(collection)
        return collection

    async def _names(self) -> list[str]:
        names = map(collection_name, await self._connection.classes())
        return [name for name in names if name is not None]

    async def _drop(self, name: str) -> None:
        collection = await self._describe(name)
        self._repairs.forget(name)
        await self._connection.request("DELETE", f"/v1/schema/{collection.engine_name}")

    async def _describe(self, name: str) -> Collection:
        definition = await self._connection.class_named(class_name(name))
        if definition is None:
            raise CollectionNotFoundError("the collection does not exist")
        collection = collection_of(name, definition)
        if collection is None:
            raise CollectionNotFoundError("there is a class of that name, but it holds no collection")
        return collection

    # --- writing ---

    async def _upsert(self, collection: Collection, batch: Batch) -> None:
        parts = list(batch.split(self.part_points, self.part_bytes, json_weight=self.json_weight))
        progress = writing.Progress()
        try:
            await writing.write(
                self._connection,
                collection,
                parts,
                progress=progress,
                timed=self._bounded,
                translated=self._translated,
            )
        except BaseException as error:  # a cancellation, too, may leave points half written
            if not isinstance(error, BackendError) or error.state_unknown:
                self._repairs.doubt(collection, map(point_uuid, batch.ids[progress.flushed : progress.sent]))
            raise

    def _unwritten(self, error: Exception, ids: Sequence[PointId]) -> BackendError:
        said = error.state_unknown if isinstance(error, BackendError) else None  # a server that takes no writes says so
        told = super()._unwritten(error, ids)
        if said is not None:
            told.state_unknown = said
        return told

    async def _delete_part(self, collection: Collection, ids: list[PointId]) -> None:
        try:
            await writing.delete_ids(self._connection, collection, ids)
        finally:
            self._sizes.forget(collection.incarnation)

    async def _delete_matching(self, collection: Collection, node: Node) -> int:
        await self._repairs.awaited(collection)
        try:
            return await writing.delete_matching(self._connection, collection, node, self._bounded)
        finally:
            self._sizes.forget(collection.incarnation)

    # --- reading ---

    async def _search(self, collection: Collection, query: Query) -> list[SearchResult]:
        await self._repairs.awaited(collection)
        may_use_graph = collection.has_graph and not query.exact and not query.is_filtered
        size = await self._sizes.of(collection.incarnation, lambda: self._size(collection)) if may_use_graph else 0
        way = plan(size, query, self._index if may_use_graph else None)
        return await reading.search(self._connection, collection, query, way, size)

    async def _get(self, collection: Collection, ids: list[PointId], projection: Projection) -> Iterable[VectorPoint]:
        await self._repairs.awaited(collection)
        found = await reading.fetch(self._connection, collection, list(map(point_uuid, ids)), projection)
        return [vector_point(one, projection) for one in found.values()]

    async def _scroll(self, collection: Collection, page: Page) -> ScrollPage:
        await self._repairs.awaited(collection)
        return await reading.scroll(self._connection, collection, page)

    async def _count(self, collection: Collection, node: Node) -> int:
        await self._repairs.awaited(collection)
        return await reading.count(self._connection, collection, node)

    # --- the graph: the server puts every point in it as it is written ---

    async def _indexed(self, collection: Collection, size: int) -> int:
        return size if collection.has_graph else 0

    async def _optimize(self, collection: Collection) -> None:
        await self._repairs.awaited(collection)
