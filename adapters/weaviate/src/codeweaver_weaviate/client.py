"""The way to a server: REST for its schema, gRPC for its points, by the messages that ``weaviate-client`` brings.

The client's own calls are not used: they retry a lost write for 15 seconds and then report success, also when the
server was restarted in between, and a lost search for 63. Here every call is made once, and none is longer under way
than the configured timeout.
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
from codeweaver_backends.sdk import Underway
from codeweaver_backends.sdk.forks import use_without_forks
from codeweaver_weaviate.config import WeaviateConfig
from codeweaver_weaviate.errors import READ_ONLY, is_absent

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
    "FoundObject",
    "MetadataRequest",
    "NearVector",
    "PropertiesRequest",
    "SearchReply",
    "SearchRequest",
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
FoundObject = search_get_pb2.SearchResult
MetadataRequest = search_get_pb2.MetadataRequest
NearVector = base_search_pb2.NearVector
PropertiesRequest = search_get_pb2.PropertiesRequest
SearchReply = search_get_pb2.SearchReply
SearchRequest = search_get_pb2.SearchRequest
Targets = base_search_pb2.Targets
TextArray = base_pb2.TextArray
TextArrayProperties = base_pb2.TextArrayProperties
Vectors = base_pb2.Vectors

_OLDEST: Final = (1, 33)
"""The first server whose filters have ``Not``."""
_TRIAL: Final = {
    "class": "CwTrial",
    "vectorConfig": {"v": {"vectorizer": {"none": {}}, "vectorIndexType": "dynamic"}},
    "replicationConfig": {"factor": 1_000_000},
}
"""A class that no server creates: that there are too few nodes for it is seen last."""
_LEVELS: Final = {
    "one": base_pb2.CONSISTENCY_LEVEL_ONE,
    "quorum": base_pb2.CONSISTENCY_LEVEL_QUORUM,
    "all": base_pb2.CONSISTENCY_LEVEL_ALL,
}
_NOT_ASYNC: Final = "async indexing is enabled"
"""In the refusal of a dynamic index by a server that does not index in the background."""

Answer = TypeVar("Answer")


class Connection:
    """The open ports of one server. ``lost`` is called whenever it could not be reached: it may have crashed."""

    def __init__(self, config: WeaviateConfig, lost: Callable[[], object]) -> None:
        use_without_forks("gRPC")
        self._timeout = config.timeout
        self._lost = lost
        headers = {}
        if config.api_key is not None:
            headers["authorization"] = f"Bearer {config.api_key.get_secret_value()}"
        self._metadata = tuple(headers.items())
        self._rest = httpx.AsyncClient(
            base_url=config.address,
            headers=headers,
            timeout=config.timeout,
            limits=httpx.Limits(max_connections=config.max_connections),
            verify=config.tls_context() or httpx.create_ssl_context(),
            trust_env=config.uses_proxy,
        )
        options = [
            ("grpc.max_send_message_length", -1),
            ("grpc.max_receive_message_length", -1),
            ("grpc.enable_http_proxy", int(config.grpc_uses_proxy)),
            ("grpc.max_reconnect_backoff_ms", 1_000),
        ]
        if config.is_encrypted:
            credentials = grpc.ssl_channel_credentials(**config.tls_content())
            self._channel = grpc.aio.secure_channel(config.grpc_address, credentials, options)
        else:
            self._channel = grpc.aio.insecure_channel(config.grpc_address, options)
        self._stub: Any = weaviate_pb2_grpc.WeaviateStub(self._channel)  # type: ignore[no-untyped-call]
        self._health = self._channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_weaviate_pb2.WeaviateHealthCheckRequest.SerializeToString,
            response_deserializer=health_weaviate_pb2.WeaviateHealthCheckResponse.FromString,
        )
        self._requests = Underway()
        self._read_level = _LEVELS[config.read_consistency]
        self._write_level = _LEVELS[config.write_consistency]
        self.write_consistency = config.write_consistency.upper()
        """As REST calls it."""
        self.server_version = ""

    async def open(self) -> None:
        """See that both ports answer, that they accept us, and that the server is one that we can use."""
        self.server_version = await self._version()
        found = tuple(int(part) for part in self.server_version.split(".")[:2] if part.isdecimal())
        if found < _OLDEST:
            oldest = ".".join(map(str, _OLDEST))
            raise UnsupportedError(f"the server is {self.server_version or 'of no known version'}, {oldest} is needed")
        await self._check_grpc()
        if await self._indexes_later():
            raise UnsupportedError(
                "the server runs with ASYNC_INDEXING=true: searches would miss points that were just written; unset it",
                capability="visibility",
            )

    async def ping(self) -> None:
        """See that the server is ready, knows us, and answers on both ports."""
        await asyncio.gather(self.request("GET", "/v1/.well-known/ready"), self._version(), self._check_grpc())

    async def _version(self) -> str:
        try:
            return str(orjson.loads((await self.request("GET", "/v1/meta")).content)["version"])
        except httpx.HTTPStatusError as error:
            if error.response.status_code != httpx.codes.NOT_FOUND:
                raise
        except (ValueError, TypeError, KeyError):
            pass
        raise BackendConnectionError("what answers at this address is no Weaviate")

    async def _check_grpc(self) -> None:
        request = health_weaviate_pb2.WeaviateHealthCheckRequest()
        try:
            reply = await self._call(self._health, request)
        except grpc.aio.AioRpcError as error:
            if READ_ONLY in (error.details() or ""):
                return  # the server answers; it takes this call, too, for a write
            raise
        if reply.status != health_weaviate_pb2.WeaviateHealthCheckResponse.SERVING:
            raise BackendConnectionError("the server does not serve by gRPC yet")

    async def _indexes_later(self) -> bool:
        """Whether vectors are indexed after a write was acknowledged.

        A node that does so has no queue of batches to tell of. To be sure, it is asked for an index that only such a
        server creates. A key that may not ask for nodes is taken at its word: it can do little harm.
        """
        try:
            told = orjson.loads((await self.request("GET", "/v1/nodes")).content)
        except httpx.HTTPStatusError:
            return False
        statistics = [node.get("batchStats") for node in told.get("nodes") or ()]
        if all(one is None or "queueLength" in one for one in statistics):
            return False
        try:
            await self.request("POST", "/v1/schema", _TRIAL)
        except httpx.HTTPStatusError as error:
            return _NOT_ASYNC not in error.response.text
        return True

    def is_interrupted(self) -> bool:
        """Whether the server went away since the last call, however shortly: it may have crashed."""
        return self._channel.get_state() is not grpc.ChannelConnectivity.READY

    async def close(self) -> None:
        """Close both ports. Calls under way are cancelled."""
        await self._channel.close()
        await self._requests.end()
        await self._rest.aclose()

    # --- calls ---

    async def request(self, method: str, path: str, body: object = None) -> httpx.Response:
        """A call by REST; any status that is no success raises."""
        content = None if body is None else orjson.dumps(body)
        request = self._rest.request(method, path, content=content, headers={"content-type": "application/json"})
        try:
            response = await self._requests.answer(request)
        except httpx.TransportError:
            self._lost()
            raise
        return response.raise_for_status()

    async def class_named(self, name: str) -> dict[str, Any] | None:
        """The definition of a class; ``None`` if there is none of that name."""
        try:
            response = await self.request("GET", f"/v1/schema/{name}")
        except httpx.HTTPStatusError as error:
            if is_absent(error):
                return None
            raise
        definition: dict[str, Any] = orjson.loads(response.content)
        return definition

    async def classes(self) -> list[dict[str, Any]]:
        """The definitions of all classes."""
        return orjson.loads((await self.request("GET", "/v1/schema")).content)["classes"] or []

    async def nodes(self) -> list[str]:
        """The states of the cluster's nodes: ``HEALTHY``, or what ails one. A key that may not ask sees none."""
        try:
            told = orjson.loads((await self.request("GET", "/v1/nodes")).content)
        except httpx.HTTPStatusError:
            return []
        return [node["status"] for node in told.get("nodes") or ()]

    async def is_read_only(self, name: str) -> bool:
        """Whether a shard of a class takes no writes, as when the disk is too full."""
        shards = orjson.loads((await self.request("GET", f"/v1/schema/{name}/shards")).content)
        return any(shard["status"] == "READONLY" for shard in shards)

    async def search(self, request: SearchRequest) -> SearchReply:
        """Find points."""
        request.consistency_level = self._read_level
        return await self._call(self._stub.Search, request)

    async def count(self, request: AggregateRequest) -> int:
        """Count points."""
        reply = await self._call(self._stub.Aggregate, request)
        return int(reply.single_result.objects_count)

    async def write(self, request: BatchObjectsRequest) -> BatchObjectsReply:
        """Write points. What is wrong with single ones is in the answer."""
        request.consistency_level = self._write_level
        return await self._call(self._stub.BatchObjects, request)

    async def count_deletable(self, collection: str, filters: Filters) -> int:
        """Count what a deletion would delete. It deletes nothing, but has the server write its buffers."""
        reply = await self.delete(BatchDeleteRequest(collection=collection, filters=filters, dry_run=True))
        return int(reply.matches)

    async def delete(self, request: BatchDeleteRequest) -> BatchDeleteReply:
        """Delete what a filter finds, up to the server's maximum."""
        request.consistency_level = self._write_level
        return await self._call(self._stub.BatchDelete, request)

    async def _call(self, method: Callable[..., Awaitable[Answer]], request: Any) -> Answer:
        try:
            return await method(request, timeout=self._timeout, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNAVAILABLE and READ_ONLY not in (error.details() or ""):
                self._lost()
            raise
