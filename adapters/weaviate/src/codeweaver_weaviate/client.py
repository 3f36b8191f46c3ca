"""The way to a server: REST for its schema, gRPC for its points, by the messages that ``weaviate-client`` brings.

The client's own calls are not used: they retry a lost write for 15 seconds and then report success, also when the
server was restarted in between, and a lost search for 63. Here a write is tried once, other calls as often as the
configuration says, and every call ends within the configured timeout.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import grpc
import httpx
import orjson

from codeweaver_backends.errors import BackendConnectionError, UnsupportedError
from codeweaver_weaviate.config import WeaviateConfig
from codeweaver_weaviate.errors import READ_ONLY

with warnings.catch_warnings(record=True):
    # The client imports authlib, which insists on announcing, above any filter, that it is about to replace httpx.
    warnings.simplefilter("ignore")
    from weaviate.proto.v1 import (
        aggregate_pb2,
        base_pb2,
        base_search_pb2,
        batch_delete_pb2,
        batch_pb2,
        health_weaviate_pb2,
        search_get_pb2,
        weaviate_pb2_grpc,
    )

__all__ = [
    "AggregateRequest",
    "BatchDeleteRequest",
    "BatchObject",
    "BatchObjectsRequest",
    "Connection",
    "FilterTarget",
    "Filters",
    "MetadataRequest",
    "NearVector",
    "PropertiesRequest",
    "SearchReply",
    "SearchRequest",
    "SearchResult",
    "Targets",
    "TextArray",
    "TextArrayProperties",
    "Vectors",
]

AggregateRequest = aggregate_pb2.AggregateRequest
BatchDeleteReply = batch_delete_pb2.BatchDeleteReply
BatchDeleteRequest = batch_delete_pb2.BatchDeleteRequest
BatchObject = batch_pb2.BatchObject
BatchObjectsReply = batch_pb2.BatchObjectsReply
BatchObjectsRequest = batch_pb2.BatchObjectsRequest
Filters = base_pb2.Filters
FilterTarget = base_pb2.FilterTarget
MetadataRequest = search_get_pb2.MetadataRequest
NearVector = base_search_pb2.NearVector
PropertiesRequest = search_get_pb2.PropertiesRequest
SearchReply = search_get_pb2.SearchReply
SearchRequest = search_get_pb2.SearchRequest
SearchResult = search_get_pb2.SearchResult
Targets = base_search_pb2.Targets
TextArray = base_pb2.TextArray
TextArrayProperties = base_pb2.TextArrayProperties
Vectors = base_pb2.Vectors

_OLDEST: Final = (1, 33)
"""The first server whose filters have ``Not``."""
_PAUSE: Final = 0.1
"""Seconds before the second try; doubled each time."""

Answer = TypeVar("Answer")


class Connection:
    """The open ports of one server."""

    def __init__(self, config: WeaviateConfig) -> None:
        self._config = config
        self._address = address = config.address
        headers = {}
        if config.api_key is not None:
            headers["authorization"] = f"Bearer {config.api_key.get_secret_value()}"
        self._metadata = tuple(headers.items())
        limits = httpx.Limits(max_connections=config.max_connections)
        self._rest = httpx.AsyncClient(
            base_url=address.rest, headers=headers, timeout=config.timeout, limits=limits, trust_env=False
        )
        options = [
            ("grpc.max_send_message_length", -1),
            ("grpc.max_receive_message_length", -1),
            ("grpc.enable_http_proxy", 0),
            ("grpc.max_reconnect_backoff_ms", 1_000),
        ]
        if address.tls:
            self._channel = grpc.aio.secure_channel(address.grpc, grpc.ssl_channel_credentials(), options)
        else:
            self._channel = grpc.aio.insecure_channel(address.grpc, options)
        self._stub: Any = weaviate_pb2_grpc.WeaviateStub(self._channel)  # type: ignore[no-untyped-call]
        self._health = self._channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_weaviate_pb2.WeaviateHealthCheckRequest.SerializeToString,
            response_deserializer=health_weaviate_pb2.WeaviateHealthCheckResponse.FromString,
        )
        self.server_version = ""

    async def open(self) -> None:
        """See that both ports answer, that they accept us, and that the server is new enough."""
        meta = orjson.loads((await self.request("GET", "/v1/meta")).content)
        self.server_version = str(meta.get("version", ""))
        found = tuple(int(part) for part in self.server_version.split(".")[:2] if part.isdecimal())
        if found < _OLDEST:
            oldest = ".".join(map(str, _OLDEST))
            raise UnsupportedError(f"the server is {self.server_version or 'of no known version'}, {oldest} is needed")
        await self._check_grpc()

    async def ping(self) -> None:
        """See that the server is ready, knows us, and answers on both ports."""
        await asyncio.gather(
            self.request("GET", "/v1/.well-known/ready"), self.request("GET", "/v1/meta"), self._check_grpc()
        )

    async def _check_grpc(self) -> None:
        request = health_weaviate_pb2.WeaviateHealthCheckRequest()
        try:
            reply = await self._health(request, timeout=self._config.timeout, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            if READ_ONLY in (error.details() or ""):
                return  # the server answers; it takes this call, too, for a write
            raise
        if reply.status != health_weaviate_pb2.WeaviateHealthCheckResponse.SERVING:
            raise BackendConnectionError("the server does not serve by gRPC yet")

    def is_interrupted(self) -> bool:
        """Whether the server went away since the last call, however shortly: it may have crashed."""
        return self._channel.get_state() is not grpc.ChannelConnectivity.READY

    async def close(self) -> None:
        """Close both ports."""
        await self._channel.close()
        await self._rest.aclose()

    # --- calls ---

    async def request(self, method: str, path: str, body: object = None) -> httpx.Response:
        """A call by REST; any status that is no success raises."""
        content = None if body is None else orjson.dumps(body)

        async def send() -> httpx.Response:
            response = await self._rest.request(
                method, path, content=content, headers={"content-type": "application/json"}
            )
            return response.raise_for_status()

        return await self._bounded(send, retries=self._config.retries if method == "GET" else 0)

    async def is_read_only(self, collection: str) -> bool:
        """Whether a shard takes no writes, as when the disk is too full."""
        shards = orjson.loads((await self.request("GET", f"/v1/schema/{collection}/shards")).content)
        return any(shard["status"] == "READONLY" for shard in shards)

    async def search(self, request: SearchRequest) -> SearchReply:
        """Find points."""
        return await self._call(self._stub.Search, request)

    async def count(self, request: AggregateRequest) -> int:
        """Count points."""
        reply = await self._call(self._stub.Aggregate, request)
        return int(reply.single_result.objects_count)

    async def write(self, request: BatchObjectsRequest) -> BatchObjectsReply:
        """Write points, trying once. What is wrong with single ones is in the answer."""
        return await self._call(self._stub.BatchObjects, request, retry=False)

    async def count_deletable(self, collection: str, filters: Filters) -> int:
        """Count what a deletion would delete. It deletes nothing, but has the server write its buffers."""
        reply = await self.delete(BatchDeleteRequest(collection=collection, filters=filters, dry_run=True))
        return int(reply.matches)

    async def delete(self, request: BatchDeleteRequest, *, retry: bool = True) -> BatchDeleteReply:
        """Delete what a filter finds, up to the server's maximum."""
        return await self._call(self._stub.BatchDelete, request, retry=retry)

    async def _call(self, method: Callable[..., Awaitable[Answer]], request: Any, *, retry: bool = True) -> Answer:
        async def send() -> Answer:
            return await method(request, timeout=self._config.timeout, metadata=self._metadata)

        return await self._bounded(send, retries=self._config.retries if retry else 0)

    async def _bounded(self, send: Callable[[], Awaitable[Answer]], *, retries: int) -> Answer:
        async with asyncio.timeout(self._config.timeout):
            for attempt in range(retries):
                try:
                    return await send()
                except (grpc.aio.AioRpcError, httpx.TransportError) as error:
                    if not _is_passing(error):
                        raise
                await asyncio.sleep(_PAUSE * 2**attempt)
            return await send()


def _is_passing(error: grpc.aio.AioRpcError | httpx.TransportError) -> bool:
    if isinstance(error, grpc.aio.AioRpcError):
        return error.code() is grpc.StatusCode.UNAVAILABLE
    return not isinstance(error, httpx.TimeoutException)
