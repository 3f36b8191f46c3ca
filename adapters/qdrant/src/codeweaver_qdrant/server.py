"""A Qdrant server: how it is reached, and what is asked of it the same way by gRPC and REST."""

from __future__ import annotations

import asyncio
import math
import re
import time
import warnings
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar
from urllib.parse import urlsplit

import httpx
from qdrant_client import AsyncQdrantClient, models

from codeweaver_backends.capabilities import BackendCapabilities
from codeweaver_backends.errors import (
    BackendConnectionError,
    CollectionNotFoundError,
    RateLimitError,
)
from codeweaver_backends.sdk.names import decode_name, encode_name
from codeweaver_backends.sdk.requests import CollectionSettings
from codeweaver_backends.types import DistanceMetric
from codeweaver_qdrant.backend import BaseQdrantBackend
from codeweaver_qdrant.config import QdrantConfig
from codeweaver_qdrant.convert import LAYOUT, TOKENS, check_layout, field_of
from codeweaver_qdrant.errors import translate_error
from codeweaver_qdrant.plugin import CAPABILITIES, EXACT_SIZE

if TYPE_CHECKING:
    from codeweaver_qdrant.grpc import GrpcStore
    from codeweaver_qdrant.rest import RestStore
    from codeweaver_qdrant.store import Store

__all__ = ["QdrantBackend", "ServerStore"]

T = TypeVar("T")

_REST_PORT: Final = 6333
_GRPC_PORT: Final = 6334
_PROBE: Final = 2.0
"""Seconds that a guessed gRPC port is given to answer."""
_GRPC_OPTIONS: Final = {
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.min_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 200,
}
"""Left to itself, a channel refuses calls for up to two minutes after a server is back."""
_CATCH_UP: Final = 5.0
"""Seconds that a collection is given to catch up; under steady writes its queue is never seen empty."""
_OLDEST: Final = (1, 16, 0)
_MATCH_SUBSTRING: Final = (1, 20, 0)
_METADATA: Final = "codeweaver"
_DISTANCES: Final = {
    DistanceMetric.COSINE: models.Distance.DOT,
    DistanceMetric.DOT_PRODUCT: models.Distance.DOT,
    DistanceMetric.EUCLIDEAN: models.Distance.EUCLID,
    DistanceMetric.MANHATTAN: models.Distance.MANHATTAN,
}


class QdrantBackend(BaseQdrantBackend):
    """Collections on a server."""

    name: ClassVar[str] = "qdrant"
    config: QdrantConfig

    def __init__(self, config: QdrantConfig) -> None:
        super().__init__(config)
        self._capabilities = CAPABILITIES
        self._server_version: str | None = None

    @property
    def capabilities(self) -> BackendCapabilities:
        return self._capabilities

    @property
    def server_version(self) -> str | None:
        """The server's own version, once connected; none of the client's local mode, which has no server."""
        return self._server_version

    async def _open_store(self) -> Store:
        store = await self._reach()
        if self.config.location is None:
            self._server_version = f"Qdrant {'.'.join(map(str, store.version))}"
        if not store.finds_substrings:
            self._capabilities = CAPABILITIES.model_copy(update={"supports_contains": False})
        return store

    async def _reach(self) -> GrpcStore | RestStore:
        config = self.config
        if config.client is not None:
            given = config.client.init_options
            return await self._opened(config.client, grpc=bool(given.get("prefer_grpc")), owned=False)
        if config.location is not None:
            return await self._opened(AsyncQdrantClient(location=config.location), grpc=False)
        port = urlsplit(config.url).port if config.url else config.port
        guess = config.grpc_port is None and port in (None, _REST_PORT)
        if config.transport == "grpc":
            return await self._opened(_client(config, grpc=True), grpc=True)
        if config.transport == "auto" and (guess or config.grpc_port is not None):
            try:
                async with asyncio.timeout(min(_PROBE, config.timeout / 2)):
                    return await self._opened(_client(config, grpc=True), grpc=True)
            except (BackendConnectionError, TimeoutError):
                pass  # nobody speaks gRPC there: REST is the other road
        return await self._opened(_client(config, grpc=False), grpc=False)

    async def _opened(self, client: AsyncQdrantClient, *, grpc: bool, owned: bool = True) -> GrpcStore | RestStore:
        from codeweaver_qdrant.grpc import GrpcStore
        from codeweaver_qdrant.rest import LocalStore, RestStore

        options = client.init_options
        local = options.get("location") == ":memory:" or options.get("path") is not None
        cls = LocalStore if local else GrpcStore if grpc else RestStore
        try:
            async with asyncio.timeout(self.config.timeout):
                store = cls(client, self.config, _version((await client.info()).version), owned=owned)
        except BaseException as error:
            if owned:
                await client.close()
            if isinstance(error, Exception):
                raise self._translated(error) from error
            raise
        return store


def _client(config: QdrantConfig, *, grpc: bool) -> AsyncQdrantClient:
    where: dict[str, Any] = {"url": config.url} if config.url else {"host": config.host, "https": config.tls}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Api key is used with an insecure connection")
        return AsyncQdrantClient(
            **where,
            port=config.port or _REST_PORT,
            grpc_port=config.grpc_port or _GRPC_PORT,
            prefer_grpc=grpc,
            api_key=config.api_key.get_secret_value() if config.api_key else None,
            # The backend's own timeout ends every call, to the millisecond; the client knows whole seconds only.
            timeout=math.ceil(config.timeout) + 1,
            check_compatibility=False,
            grpc_options=dict(_GRPC_OPTIONS),
            limits=httpx.Limits(
                max_connections=config.max_connections, max_keepalive_connections=config.max_connections
            ),
        )


def _version(text: str) -> tuple[int, ...]:
    numbers = re.findall(r"\d+", text.partition("-")[0])
    version = tuple(int(number) for number in [*numbers, 0, 0, 0][:3])
    if version < _OLDEST:
        raise BackendConnectionError(f"Qdrant {text} is too old: 1.16 is the oldest that is supported")
    return version


class ServerStore:
    """Collections, by the client's own methods; points, by a subclass."""

    batch_rows = 256
    batch_bytes = 8_000_000

    def __init__(
        self, client: AsyncQdrantClient, config: QdrantConfig, version: tuple[int, ...], *, owned: bool
    ) -> None:
        self._client = client
        self._timeout = config.timeout
        self._retries = config.retries
        self._owned = owned
        self.version = version
        """The server's, as three numbers."""
        self._settled: set[str] = set()
        self.matches_substrings = version >= _MATCH_SUBSTRING and hasattr(models, "MatchSubstring")
        """Whether there is a condition for it; before 1.19.1 one for texts did the same where there is no index."""
        self.finds_substrings = self.matches_substrings or version <= (1, 19, 0)

    async def read(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask within the timeout, and again where the server could not be reached or asks to slow down."""
        async with asyncio.timeout(self._timeout):
            for attempt in range(self._retries):
                try:
                    return await self._answer(ask)
                except (BackendConnectionError, RateLimitError) as error:
                    pause = getattr(error, "retry_after", None) or 0.1 * 3**attempt
                await asyncio.sleep(pause)
            return await self._answer(ask)

    async def write(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask once, within the timeout."""
        async with asyncio.timeout(self._timeout):
            return await self._answer(ask)

    async def _answer(self, ask: Callable[[], Awaitable[T]]) -> T:
        try:
            return await ask()
        except Exception as error:
            translated = translate_error(error)
            if isinstance(translated, BackendConnectionError):
                self._settled.clear()
            if translated is None:
                raise
            raise translated from error

    async def code(self, name: str) -> str:
        """The engine's name of a collection that is ours, and that has caught up."""
        code = encode_name(name)
        if code not in self._settled:
            await self.settings(name)
        return code

    async def ping(self) -> None:
        await self.write(self._client.get_collections)  # the server's own health answers without a key

    async def close(self) -> None:
        if self._owned:
            await self._client.close()

    async def names(self) -> list[str]:
        found = (await self.read(self._client.get_collections)).collections
        return [name for name in (decode_name(one.name) for one in found) if name is not None]

    async def settings(self, name: str) -> CollectionSettings:
        code = encode_name(name)
        info = await self.read(lambda: self._client.get_collection(code))
        settings = _settings(name, info.config)
        if code not in self._settled:
            await self._settle(code, info)
        if TOKENS not in info.payload_schema:
            await self._create_indexes(settings)  # whoever created the collection died between
        return settings

    async def _settle(self, code: str, info: models.CollectionInfo) -> None:
        """A server that was killed answers before it has repeated the last writes of its log: wait until it has."""
        end = time.monotonic() + min(_CATCH_UP, self._timeout)
        while _pending(info) and time.monotonic() < end:
            await asyncio.sleep(0.05)
            info = await self.read(lambda: self._client.get_collection(code))
        self._settled.add(code)

    async def create(self, settings: CollectionSettings) -> None:
        code, metric = encode_name(settings.name), settings.metric
        # Segments below the threshold have no graph and are searched exactly. It counts kilobytes; twice the exact
        # size leaves room for points that were replaced and not yet cleaned away.
        threshold = math.ceil(2 * EXACT_SIZE * settings.dimension * 4 / 1024)
        await self.write(
            lambda: self._client.create_collection(
                code,
                vectors_config={
                    metric.value: models.VectorParams(size=settings.dimension, distance=_DISTANCES[metric])
                },
                optimizers_config=models.OptimizersConfigDiff(indexing_threshold=threshold),
                metadata={_METADATA: {"layout": LAYOUT, "payload_indexes": dict(settings.payload_indexes)}},
            )
        )
        await self._create_indexes(settings)
        self._settled.add(code)

    async def _create_indexes(self, settings: CollectionSettings) -> None:
        """Those of the declared fields, and last the tokens': where it is, all are. One again is no error."""
        indexes: dict[str, Any] = {}
        for dotted, kind in settings.payload_indexes.items():
            field = field_of(tuple(dotted.split(".")))
            if kind == "keyword" and self.matches_substrings:
                indexes[field.text] = models.PayloadSchemaType.KEYWORD
            elif kind in ("integer", "float"):
                indexes[field.number] = models.PayloadSchemaType.FLOAT
            elif kind == "datetime":
                indexes[field.instant] = models.PayloadSchemaType.FLOAT
        indexes[TOKENS] = models.TextIndexParams(
            type=models.TextIndexType.TEXT, tokenizer=models.TokenizerType.WHITESPACE, lowercase=False
        )
        code = encode_name(settings.name)
        for key, schema in indexes.items():
            await self.write(partial(self._client.create_payload_index, code, key, schema))

    async def drop(self, name: str) -> None:
        code = await self.code(name)
        self._settled.discard(code)
        if not await self.write(lambda: self._client.delete_collection(code)):
            raise CollectionNotFoundError("the collection does not exist")


def _pending(info: models.CollectionInfo) -> int:
    queue: Any = getattr(info, "update_queue", None)  # older servers, and clients, have none
    return queue.length or 0 if queue else 0


def _settings(name: str, config: models.CollectionConfig) -> CollectionSettings:
    ours: Any = (config.metadata or {}).get(_METADATA)
    vectors = config.params.vectors
    if not isinstance(ours, dict) or not isinstance(vectors, dict) or len(vectors) != 1:
        raise CollectionNotFoundError("the collection was not created by this backend")
    check_layout(ours.get("layout"))
    [(metric, params)] = vectors.items()
    return CollectionSettings(name, params.size, DistanceMetric(metric), dict(ours.get("payload_indexes") or {}))
