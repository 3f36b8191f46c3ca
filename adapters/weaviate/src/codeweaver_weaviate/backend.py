"""The Weaviate backend."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import ClassVar, Final, TypeVar

import httpx
import orjson
from grpc.aio import AioRpcError

from codeweaver_backends.capabilities import BackendCapabilities
from codeweaver_backends.errors import (
    BackendConnectionError,
    BackendError,
    BackendTimeoutError,
    CollectionExistsError,
    CollectionNotFoundError,
    InvalidInputError,
)
from codeweaver_backends.sdk.filters.tree import Node
from codeweaver_backends.sdk.requests import Batch, CollectionSettings, Page, Query, WithPayload
from codeweaver_backends.sdk.template import Access, BackendTemplate
from codeweaver_backends.types import PointId, ScrollPage, SearchResult, VectorPoint
from codeweaver_weaviate import convert, errors, reading, writing
from codeweaver_weaviate.client import Connection
from codeweaver_weaviate.config import WeaviateConfig
from codeweaver_weaviate.convert import Collection
from codeweaver_weaviate.plugin import CAPABILITIES

__all__ = ["WeaviateBackend"]

Answer = TypeVar("Answer")
_MOMENT: Final = 0.1
"""Seconds in which a collection that is being created or deleted is so everywhere in the server."""
_TAKEN: Final = ("already exists", "similar class")


class WeaviateBackend(BackendTemplate[Collection]):
    """A Weaviate server: the schema by REST, points by gRPC."""

    name: ClassVar[str] = "weaviate"

    def __init__(self, config: WeaviateConfig) -> None:
        super().__init__(config)
        self._settings = config
        self._connected: Connection | None = None
        self._known: dict[str, Collection] = {}
        self._looking = asyncio.Lock()
        self._doubted: dict[str, set[str]] = {}
        """Collections that something may have left half written, and the UUIDs of writes that failed."""

    @property
    def capabilities(self) -> BackendCapabilities:
        return CAPABILITIES

    @property
    def server_version(self) -> str | None:
        """The server's version, once connected."""
        return self._connected.server_version if self._connected else None

    async def _connect(self) -> None:
        connection = Connection(self._settings)
        try:
            await connection.open()
        except BaseException:
            await connection.close()
            raise
        self._connected = connection

    async def _disconnect(self) -> None:
        await self._connection.close()

    async def _ping(self) -> None:
        await self._connection.ping()

    @property
    def _connection(self) -> Connection:
        assert self._connected is not None  # noqa: S101 - every call connects first
        return self._connected

    def _translate_error(self, error: Exception) -> BackendError | None:
        translated = errors.translate(error)
        if isinstance(translated, BackendConnectionError):
            self._doubt_all()  # the server may have crashed
        return translated

    # --- collections ---

    async def _create(self, settings: CollectionSettings) -> None:
        collection = convert.new_collection(settings)
        try:
            await self._connection.request("POST", "/v1/schema", convert.class_definition(collection))
        except httpx.HTTPStatusError as error:
            if error.response.status_code == 422 and any(word in error.response.text for word in _TAKEN):
                raise CollectionExistsError("the collection exists already") from error
            raise
        self._known[settings.name] = collection

    async def _names(self) -> list[str]:
        schema = orjson.loads((await self._connection.request("GET", "/v1/schema")).content)
        names = map(convert.collection_name, schema["classes"] or ())
        return [name for name in names if name is not None]

    async def _drop(self, name: str) -> None:
        collection = await self._load(name)
        self._known.pop(name, None)
        await self._connection.request("DELETE", f"/v1/schema/{collection.class_name}")

    # --- writing ---

    async def _upsert(self, collection: Collection, batch: Batch) -> None:
        name = collection.settings.name
        try:
            await writing.write(self._connection, collection, batch, self._translated)
        except BackendError as error:
            if error.state_unknown:  # at most of two chunks: further ones were not sent
                self._doubt(name, map(convert.point_uuid, error.ids[: 2 * convert.CHUNK_POINTS]))
            raise
        except asyncio.CancelledError:
            self._doubt(name)
            raise

    async def _delete(self, collection: Collection, ids: list[PointId]) -> None:
        await writing.delete_ids(self._connection, collection, ids, self._translated)

    async def _delete_matching(self, collection: Collection, node: Node) -> int:
        return await writing.delete_matching(self._connection, collection, node)

    # --- reading ---

    async def _search(self, collection: Collection, query: Query) -> list[SearchResult]:
        return await reading.search(self._connection, collection, query)

    async def _get(
        self, collection: Collection, ids: list[PointId], with_payload: WithPayload, with_vectors: bool
    ) -> list[VectorPoint]:
        uuids = [convert.point_uuid(point_id) for point_id in ids]
        found = await reading.fetch(self._connection, collection, uuids, with_payload, with_vectors=with_vectors)
        return [convert.vector_point(one, with_payload) for one in found.values()]

    async def _scroll(self, collection: Collection, page: Page) -> ScrollPage:
        return await reading.scroll(self._connection, collection, page)

    async def _count(self, collection: Collection, node: Node) -> int:
        return await reading.count(self._connection, collection, node)

    # --- what is known of collections ---

    async def _on(self, name: str, work: Callable[[Collection], Awaitable[Answer]], access: Access) -> Answer:
        """Do work on a collection by what is known of it.

        That may be outdated. Where validation or the server objects, it is looked up, and the work is done once more,
        unless validation objected to what is still true.
        """
        if self._connection.is_interrupted():
            self._doubt_all()
        is_new = name not in self._known
        known = self._known[name] if not is_new else await self._look_over(name)
        try:
            return await work(known)
        except (InvalidInputError, CollectionNotFoundError, AioRpcError) as error:
            if isinstance(error, InvalidInputError) and is_new:
                raise
            if isinstance(error, AioRpcError) and not errors.may_be_missing(error):
                raise
            if self._known.get(name) == known:
                del self._known[name]
            current = await self._look_over(name)
            if current == known and not isinstance(error, AioRpcError):
                raise
        return await work(current)

    async def _look_over(self, name: str) -> Collection:
        """Look a collection up, and repair what a crash may have left of it, as far as we may.

        Where there is more to repair than time allows, this call fails, and the next one goes on.
        """
        async with self._looking:
            if name in self._known:
                return self._known[name]  # somebody else just did it
            try:
                return await self._open_collection(name)
            except (AioRpcError, httpx.HTTPStatusError) as error:
                if not errors.may_be_missing(error):
                    raise
            await asyncio.sleep(_MOMENT)
            return await self._open_collection(name)

    async def _open_collection(self, name: str) -> Collection:
        collection = await self._load(name)
        crashed, doubted = name in self._doubted, self._doubted.pop(name, set())
        try:
            async with asyncio.timeout(self.config.timeout / 2):
                await writing.repair(self._connection, collection, doubted, crashed=crashed)
        except TimeoutError as error:
            if doubted:
                self._doubt(name, doubted)
                message = f"{len(doubted)} points that a crash left half written are yet to be repaired; try again"
                raise BackendTimeoutError(message) from error
        except BaseException as error:
            if not (isinstance(error, AioRpcError | httpx.HTTPStatusError) and errors.is_write_refused(error)):
                self._doubt(name, doubted)
                raise
        if name not in self._doubted:  # nothing happened in the meantime
            self._known[name] = collection
        return collection

    def _doubt(self, name: str, uuids: Iterable[str] = ()) -> None:
        self._known.pop(name, None)
        self._doubted.setdefault(name, set()).update(uuids)

    def _doubt_all(self) -> None:
        for name in list(self._known):
            self._doubt(name)

    async def _load(self, name: str) -> Collection:
        try:
            response = await self._connection.request("GET", f"/v1/schema/{convert.class_name(name)}")
        except httpx.HTTPStatusError as error:
            if error.response.status_code != httpx.codes.NOT_FOUND:
                raise
            self._known.pop(name, None)
            raise CollectionNotFoundError("the collection does not exist") from error
        collection = convert.collection_of(name, orjson.loads(response.content))
        if collection is None:
            raise CollectionNotFoundError("there is a class of that name, but it holds no collection")
        return collection

    async def _confirm(self, collection: Collection) -> None:
        if await self._load(collection.settings.name) != collection:
            raise CollectionNotFoundError("the collection was created again")
