"""The Weaviate backend."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar, Final, TypeVar

import httpx
import numpy.typing as npt
import orjson
from grpc.aio import AioRpcError

from codeweaver_backends.adapter import BaseBackend, operation
from codeweaver_backends.capabilities import BackendCapabilities
from codeweaver_backends.errors import (
    BackendConnectionError,
    BackendError,
    BackendTimeoutError,
    CollectionExistsError,
    CollectionNotFoundError,
    InvalidInputError,
)
from codeweaver_backends.filters import Always, Never, normalise
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
    validate_batch,
    validate_columns,
    validate_create,
    validate_ids,
    validate_name,
    validate_page,
    validate_query,
    validate_with_payload,
)
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


class WeaviateBackend(BaseBackend):
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

    @operation
    async def create_collection(
        self, name: str, dimension: int, distance_metric: DistanceMetric = DistanceMetric.COSINE, **kwargs: Any
    ) -> None:
        settings = validate_create(name, dimension, distance_metric, kwargs, self.capabilities)
        collection = convert.new_collection(settings)
        try:
            await self._connection.request("POST", "/v1/schema", convert.class_definition(collection))
        except httpx.HTTPStatusError as error:
            if error.response.status_code == 422 and any(word in error.response.text for word in _TAKEN):
                raise CollectionExistsError("the collection exists already") from error
            raise
        self._known[name] = collection

    @operation
    async def list_collections(self) -> list[str]:
        schema = orjson.loads((await self._connection.request("GET", "/v1/schema")).content)
        names = map(convert.collection_name, schema["classes"] or ())
        return sorted(name for name in names if name is not None)

    @operation
    async def delete_collection(self, name: str) -> None:
        collection = await self._load(validate_name(name))
        self._known.pop(name, None)
        await self._connection.request("DELETE", f"/v1/schema/{collection.class_name}")

    @operation
    async def get_collection_info(self, name: str) -> CollectionInfo:
        async def work(collection: Collection) -> CollectionInfo:
            await self._confirm(collection)
            settings = collection.settings
            count = await reading.count(self._connection, collection, Always())
            indexes = dict(settings.payload_indexes)
            return CollectionInfo(name, settings.dimension, settings.metric, count, None, indexes)

        return await self._on(name, work)

    # --- writing ---

    @operation
    async def upsert_vectors(self, collection_name: str, vectors: list[VectorPoint]) -> None:
        given = list(vectors) if isinstance(vectors, Iterator) else vectors  # it may be looked at twice

        async def work(collection: Collection) -> None:
            await self._write(collection, validate_batch(given, collection.settings, self.capabilities))

        await self._on(collection_name, work)

    @operation
    async def upsert_batch(
        self,
        collection_name: str,
        ids: Sequence[PointId],
        vectors: npt.NDArray[Any],
        payloads: Sequence[Payload | None] | None = None,
    ) -> None:
        given = list(ids) if isinstance(ids, Iterator) else ids

        async def work(collection: Collection) -> None:
            batch = validate_columns(given, vectors, payloads, collection.settings, self.capabilities)
            await self._write(collection, batch)

        await self._on(collection_name, work)

    async def _write(self, collection: Collection, batch: Batch) -> None:
        if not len(batch):
            await self._confirm(collection)
            return
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

    @operation
    async def delete_vectors(self, collection_name: str, ids: list[str | int]) -> None:
        wanted = validate_ids(ids)

        async def work(collection: Collection) -> None:
            if wanted:
                await writing.delete_ids(self._connection, collection, wanted, self._translated)
            else:
                await self._confirm(collection)

        await self._on(collection_name, work)

    @operation
    async def delete_by_filter(self, collection_name: str, search_filter: FilterLike) -> int:
        async def work(collection: Collection) -> int:
            node = normalise(search_filter, self.capabilities)
            if isinstance(node, Never):
                await self._confirm(collection)
                return 0
            return await writing.delete_matching(self._connection, collection, node)

        return await self._on(collection_name, work)

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
        async def work(collection: Collection) -> list[SearchResult]:
            settings = collection.settings
            query = validate_query(
                query_vector, limit, search_filter, score_threshold, kwargs, settings, self.capabilities
            )
            if not query.limit or isinstance(query.node, Never):
                await self._confirm(collection)
                return []
            return await reading.search(self._connection, collection, query)

        return await self._on(collection_name, work)

    @operation
    async def get_vectors(
        self,
        collection_name: str,
        ids: Sequence[PointId],
        *,
        with_payload: bool | Sequence[str] = True,
        with_vectors: bool = True,
    ) -> list[VectorPoint]:
        shown = validate_with_payload(with_payload)
        uuids = [convert.point_uuid(point_id) for point_id in validate_ids(ids)]

        async def work(collection: Collection) -> list[VectorPoint]:
            if not uuids:
                await self._confirm(collection)
            found = await reading.fetch(self._connection, collection, uuids, shown, with_vectors=with_vectors)
            return [convert.vector_point(found[uuid], shown) for uuid in uuids if uuid in found]

        return await self._on(collection_name, work)

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
        async def work(collection: Collection) -> ScrollPage:
            page = validate_page(cursor, limit, search_filter, with_payload, with_vectors, self.capabilities)
            if isinstance(page.node, Never):
                await self._confirm(collection)
                return ScrollPage([])
            return await reading.scroll(self._connection, collection, page)

        return await self._on(collection_name, work)

    @operation
    async def count_vectors(self, collection_name: str, search_filter: FilterLike | None = None) -> int:
        async def work(collection: Collection) -> int:
            node = normalise(search_filter, self.capabilities)
            if isinstance(node, Never):
                await self._confirm(collection)
                return 0
            return await reading.count(self._connection, collection, node)

        return await self._on(collection_name, work)

    # --- what is known of collections ---

    async def _on(self, name: str, work: Callable[[Collection], Awaitable[Answer]]) -> Answer:
        """Do work on a collection by what is known of it.

        That may be outdated. Where validation or the server objects, it is looked up, and the work is done once more,
        unless validation objected to what is still true.
        """
        validate_name(name)
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
        """See that the collection is still there, where there is nothing to ask or to tell the server."""
        if await self._load(collection.settings.name) != collection:
            raise CollectionNotFoundError("the collection was created again")
