"""The correct backend of the reference server: one connection per request, one timeout around each."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, ClassVar

import orjson
from pydantic import BaseModel, Field

from codeweaver_backends.capabilities import BackendCapabilities, Limits
from codeweaver_backends.config import TLSServerConfig
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
from codeweaver_backends.sdk.requests import Batch, CollectionSettings, Query
from codeweaver_backends.sdk.template import BackendTemplate
from codeweaver_backends.types import BaseComponentInfo, DistanceMetric, PointId, SearchResult
from codeweaver_tools.defects.server import LINE, write_node

__all__ = ["NetworkBackend", "NetworkConfig", "NetworkPlugin", "Remote"]

CAPABILITIES = BackendCapabilities(
    supports_transactions=True,
    exact_search=True,
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


class NetworkConfig(TLSServerConfig):
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


@dataclass(frozen=True, slots=True)
class Remote:
    """A collection as the server described it a moment ago."""

    settings: CollectionSettings
    count: int

    @property
    def incarnation(self) -> str:
        """The server tells none, and nothing is remembered."""
        return ""


class NetworkBackend(BackendTemplate[Remote]):
    """Asks the server, and tells its failures in the contract's words."""

    name: ClassVar[str] = "network-reference"
    any_loop: ClassVar[bool] = True
    plugin: ClassVar[type[BackendPlugin]] = NetworkPlugin
    remembers_handles: ClassVar[bool] = False
    part_points: ClassVar[int] = 500
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
        reader, writer = await self.connected()
        try:
            writer.write(orjson.dumps(request) + b"\n")
            await writer.drain()
            line = await self.line(reader)
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

    async def connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A new connection."""
        tls = self.config.tls_context() or (True if self.config.tls else None)
        return await asyncio.open_connection(*self.address, limit=LINE, ssl=tls)

    async def line(self, reader: asyncio.StreamReader) -> bytes:
        """The server's answer; nothing if it hung up."""
        return await reader.readline()

    async def closed(self, writer: asyncio.StreamWriter) -> None:
        """Wait until the connection is gone."""
        try:
            await writer.wait_closed()
        except OSError:
            return

    async def _ping(self) -> None:
        await self.ask("ping")

    # --- transactions ---

    async def _begin(self) -> str:
        transaction: str = await self.ask("begin")
        return transaction

    async def _commit(self, handle: str) -> None:
        await self.ask("commit", handle)

    async def _rollback(self, handle: str) -> None:
        await self.ask("rollback", handle)

    # --- what the template asks ---

    async def _create(self, settings: CollectionSettings) -> None:
        await self.ask("create", settings.name, settings.dimension, settings.metric.name)

    async def _names(self) -> list[str]:
        names: list[str] = await self.ask("names")
        return names

    async def _drop(self, name: str) -> None:
        await self.ask("drop", name)

    async def _describe(self, name: str) -> Remote:
        dimension, metric, count = await self.ask("describe", name)
        return Remote(CollectionSettings(name, dimension, DistanceMetric[metric]), count)

    async def _size(self, collection: Remote) -> int:
        return collection.count

    async def _upsert_part(self, collection: Remote, part: Batch) -> None:
        texts = [one.decode() for one in part.payload_json]
        await self.ask("write", collection.settings.name, part.ids, part.vectors.tolist(), texts)

    async def _delete_part(self, collection: Remote, ids: list[PointId]) -> None:
        await self.ask("erase", collection.settings.name, ids)

    async def _search(self, collection: Remote, query: Query) -> list[SearchResult]:
        node = write_node(query.filter)
        hits = await self.ask(
            "search", collection.settings.name, query.vector.tolist(), query.limit, node, query.threshold
        )
        keys, with_vectors = query.projection.payload, query.projection.vectors
        return [
            SearchResult(
                one,
                score,
                payload if keys is True else {key: payload[key] for key in keys or () if key in payload},
                vector if with_vectors else None,
            )
            for one, score, payload, vector in hits
        ]
