"""The correct backend of the reference server: one connection per request, one timeout around each."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import orjson
from pydantic import BaseModel, Field

from codeweaver_backends.capabilities import BackendCapabilities, Limits
from codeweaver_backends.config import ServerConfig
from codeweaver_backends.errors import (
    BackendAuthenticationError,
    BackendConnectionError,
    BackendError,
    BackendTimeoutError,
    CollectionExistsError,
    CollectionNotFoundError,
    ConflictError,
    TransactionError,
)
from codeweaver_backends.plugins import BackendPlugin
from codeweaver_backends.sdk.lifetime import operation
from codeweaver_backends.sdk.payloads import project
from codeweaver_backends.sdk.requests import CollectionSettings
from codeweaver_backends.sdk.transactions import TransactionalBase
from codeweaver_backends.sdk.validate import (
    validate_batch,
    validate_create,
    validate_ids,
    validate_name,
    validate_query,
)
from codeweaver_backends.types import (
    BaseComponentInfo,
    CollectionInfo,
    DistanceMetric,
    SearchFilter,
    SearchResult,
    VectorPoint,
)
from codeweaver_conformance.defects.server import LINE, write_node

__all__ = ["NetworkBackend", "NetworkConfig", "NetworkPlugin"]

CAPABILITIES = BackendCapabilities(
    supports_transactions=True,
    supported_distance_metrics=list(DistanceMetric),
    max_vector_dimension=16_384,
    limits=Limits(max_limit=100_000, exact_size=100_000),
)
_ERRORS: dict[str, type[BackendError]] = {
    "refused": BackendAuthenticationError,
    "missing": CollectionNotFoundError,
    "exists": CollectionExistsError,
    "conflict": ConflictError,
    "ended": TransactionError,
}


class NetworkConfig(ServerConfig):
    """Where the reference server is."""

    backend: ClassVar[str] = "reference"

    port: int = Field(default=7_600, ge=1, le=65_535)


class NetworkPlugin(BackendPlugin):
    """The reference server's plug-in."""

    @classmethod
    def get_plugin_name(cls) -> str:
        return "network-reference"

    @classmethod
    def get_capabilities(cls) -> BackendCapabilities:
        return CAPABILITIES

    @classmethod
    def get_component_info(cls) -> BaseComponentInfo:
        return BaseComponentInfo(name="network-reference", description="A small correct engine behind a socket")

    @classmethod
    def get_backend_class(cls) -> type:
        return NetworkBackend

    @classmethod
    def get_config_class(cls) -> type[BaseModel] | None:
        return NetworkConfig


class NetworkBackend(TransactionalBase[str]):
    """Judges what it is given, asks the server, and tells its failures in the contract's words."""

    name: ClassVar[str] = "network-reference"
    any_loop: ClassVar[bool] = True
    plugin: ClassVar[type[BackendPlugin]] = NetworkPlugin
    chunk: ClassVar[int] = 500
    config: NetworkConfig

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)

    @property
    def capabilities(self) -> BackendCapabilities:
        return CAPABILITIES

    # --- the wire ---

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        return self.config.host, self.config.port

    @property
    def key(self) -> str:
        """The key as the server wants it."""
        return self.config.api_key.get_secret_value() if self.config.api_key else ""

    async def ask(self, call: str, *arguments: Any) -> Any:
        """One request within the timeout."""
        try:
            async with asyncio.timeout(self.config.timeout):
                return await self.exchange(call, *arguments)
        except TimeoutError as error:
            raise BackendTimeoutError(f"no answer within {self.config.timeout:g} s") from error
        except OSError as error:
            raise BackendConnectionError(f"the server cannot be reached: {type(error).__name__}") from error

    async def exchange(self, call: str, *arguments: Any) -> Any:
        """One request, in the transaction that the call is in, one answer, one connection."""
        joined = self._joined()
        request = {
            "key": self.key,
            "call": call,
            "transaction": joined.handle if joined else None,
            "arguments": arguments,
        }
        reader, writer = await asyncio.open_connection(*self.address, limit=LINE)
        try:
            writer.write(orjson.dumps(request) + b"\n")
            await writer.drain()
            line = await reader.readline()
        finally:
            writer.close()
            await self.closed(writer)
        if not line:
            raise ConnectionResetError("the server hung up")
        answer = orjson.loads(line)
        if "error" in answer:
            kind, message = answer["error"]
            raise _ERRORS[kind](message)
        return answer["ok"]

    async def closed(self, writer: asyncio.StreamWriter) -> None:
        """Wait until the connection is gone."""
        try:
            await writer.wait_closed()
        except OSError:
            return

    async def _ping(self) -> None:
        await self.ask("ping")

    async def _settings(self, name: str) -> CollectionSettings:
        dimension, metric, _ = await self.ask("describe", validate_name(name))
        return CollectionSettings(name, dimension, DistanceMetric[metric])

    # --- transactions ---

    async def _begin(self) -> str:
        transaction: str = await self.ask("begin")
        return transaction

    async def _commit(self, handle: str) -> None:
        await self.ask("commit", handle)

    async def _rollback(self, handle: str) -> None:
        await self.ask("rollback", handle)

    # --- the calls ---

    @operation
    async def create_collection(
        self, name: str, dimension: int, distance_metric: DistanceMetric = DistanceMetric.COSINE, **kwargs: Any
    ) -> None:
        made = validate_create(name, dimension, distance_metric, kwargs, self.capabilities)
        await self.ask("create", made.name, made.dimension, made.metric.name)

    @operation
    async def list_collections(self) -> list[str]:
        names: list[str] = await self.ask("names")
        return names

    @operation
    async def delete_collection(self, name: str) -> None:
        await self.ask("drop", validate_name(name))

    @operation
    async def get_collection_info(self, name: str) -> CollectionInfo:
        dimension, metric, count = await self.ask("describe", validate_name(name))
        return CollectionInfo(name, dimension, DistanceMetric[metric], count)

    @operation
    async def upsert_vectors(self, collection_name: str, vectors: list[VectorPoint]) -> None:
        batch = validate_batch(vectors, await self._settings(collection_name), self.capabilities)
        for part in batch.chunks(self.chunk):
            documents = [one.decode() for one in part.documents]
            await self.ask("write", collection_name, part.ids, part.vectors.tolist(), documents)

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
        settings = await self._settings(collection_name)
        query = validate_query(query_vector, limit, search_filter, score_threshold, kwargs, settings, self.capabilities)
        node = write_node(query.node)
        hits = await self.ask("search", collection_name, query.vector.tolist(), query.limit, node, query.threshold)
        return [
            SearchResult(one, score, project(payload, query.with_payload), vector if query.with_vectors else None)
            for one, score, payload, vector in hits
        ]

    @operation
    async def delete_vectors(self, collection_name: str, ids: list[str | int]) -> None:
        await self.ask("erase", validate_name(collection_name), validate_ids(ids))
