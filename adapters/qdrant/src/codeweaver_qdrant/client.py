"""A Qdrant server: how it is reached, and its collections. Points go by gRPC or REST: two subclasses."""

from __future__ import annotations

import asyncio
import math
import re
import time
import uuid
import warnings
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final, NamedTuple, TypeVar

import httpx
import orjson
from qdrant_client import AsyncQdrantClient, models

from codeweaver_backends.errors import BackendConnectionError, CollectionNotFoundError, UnsupportedError
from codeweaver_backends.sdk import CollectionSettings, Slot, VectorIndex, decode_name, encode_name, wants_index
from codeweaver_backends.types import DistanceMetric
from codeweaver_qdrant.config import QdrantConfig, ReadConsistency, WriteOrdering
from codeweaver_qdrant.errors import translate_error
from codeweaver_qdrant.plugin import EXACT_SIZE
from codeweaver_qdrant.schema import LAYOUT, TERMS, Collection, indexed_fields

__all__ = ["DEFINITION", "GRPC_PORT", "Placement", "ServerClient", "open_client", "version_of"]

T = TypeVar("T")

Version = tuple[int, ...]
"""Three numbers."""

GRPC_PORT: Final = 6334
_GRPC_OPTIONS: Final = {
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.min_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 200,
}
"""Left to itself, a channel refuses calls for up to two minutes after a server is back."""
_CATCH_UP: Final = 5.0
"""Seconds that a collection is given to catch up; under steady writes its queue is never seen empty."""
_PAUSE: Final = 0.2
_QUIET: Final = 3
"""Times in a row that a collection says it is green: between a write and its indexing it says so once, too."""
_IDLE: Final = 2.0
"""Seconds that an unused connection is kept. The server closes it after five: a request just then would be lost."""
_OLDEST: Final = (1, 16, 0)
_MATCH_SUBSTRING: Final = (1, 20, 0)
_METADATA: Final = "codeweaver"
DEFINITION: Final = "codeweaver_sparse_index"
"""Of a collection's metadata: the definition of the sparse index."""
_DISTANCES: Final = {
    DistanceMetric.COSINE: models.Distance.DOT,
    DistanceMetric.DOT_PRODUCT: models.Distance.DOT,
    DistanceMetric.EUCLIDEAN: models.Distance.EUCLID,
    DistanceMetric.MANHATTAN: models.Distance.MANHATTAN,
}


def open_client(config: QdrantConfig, *, grpc: bool) -> AsyncQdrantClient:
    """The engine's own client, which has asked for nothing yet."""
    own: dict[str, Any] = {} if config.uses_proxy else {"mounts": {"http://": None, "https://": None}}
    if (context := config.tls_context()) is not None:
        own["verify"] = context
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Api key is used with an insecure connection")
        return AsyncQdrantClient(
            url=config.address,
            port=config.default_port,
            grpc_port=config.grpc_port or GRPC_PORT,
            prefer_grpc=grpc,
            api_key=config.api_key.get_secret_value() if config.api_key else None,
            # The backend's own timeout ends every call, to the millisecond; the client knows whole seconds only.
            timeout=math.ceil(config.timeout) + 1,
            check_compatibility=False,
            grpc_options=_GRPC_OPTIONS | config.tls_content() | {"grpc.enable_http_proxy": int(config.uses_proxy)},
            limits=httpx.Limits(
                max_connections=config.max_connections,
                max_keepalive_connections=config.max_connections,
                keepalive_expiry=_IDLE,
            ),
            **own,
        )


def version_of(text: str) -> Version:
    """The version of a server that is supported."""
    numbers = re.findall(r"\d+", text.partition("-")[0])
    version = tuple(int(number) for number in [*numbers, 0, 0, 0][:3])
    if version < _OLDEST:
        raise BackendConnectionError(f"Qdrant {text} is too old: 1.16 is the oldest that is supported")
    return version


class Placement(NamedTuple):
    """Where the copies of a collection's shards are."""

    is_spread: bool
    """Whether some are on another node than the one that answers."""
    unready: int
    """Copies that are not up to date, or whose node is away."""


class ServerClient:
    """Collections, by the client's own methods.

    ``lost`` is called whenever the server could not be reached: then nothing that is remembered of it counts.
    """

    def __init__(
        self,
        client: AsyncQdrantClient,
        version: Version,
        *,
        timeout: float,
        lost: Callable[[], object],
        exact_size: int = EXACT_SIZE,
        write_ordering: WriteOrdering = "medium",
        read_consistency: ReadConsistency = 1,
    ) -> None:
        self._client = client
        self._write_ordering = write_ordering
        self._read_consistency = read_consistency
        self._exact_size = exact_size
        self._timeout = timeout
        self._lost = lost
        self._caught_up: set[str] = set()
        self.version = version
        self.matches_substrings = version >= _MATCH_SUBSTRING and hasattr(models, "MatchSubstring")
        """Whether there is a condition for it; before 1.19.1 one for texts did the same where there is no index."""
        self.finds_substrings = self.matches_substrings or version <= (1, 19, 0)

    async def ask(self, answer: Awaitable[T]) -> T:
        """The answer, or the contract's error."""
        try:
            return await answer
        except Exception as error:
            translated = translate_error(error)
            if translated is None:
                raise
            if isinstance(translated, BackendConnectionError):
                self._caught_up.clear()
                self._lost()
            raise translated from error

    async def ping(self) -> None:
        """Ask for what needs the key: the server's own health answers without one."""
        await self.ask(self._client.get_collections())

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    # --- collections ---

    async def names(self) -> list[str]:
        """The names of the collections that are ours."""
        found = (await self.ask(self._client.get_collections())).collections
        return [name for name in (decode_name(one.name) for one in found) if name is not None]

    async def describe(self, name: str) -> Collection:
        """Look a collection up, once it has caught up."""
        engine_name = encode_name(name)
        info = await self._info(engine_name)
        stored = (info.config.metadata or {}).get(_METADATA)
        found = CollectionSettings.from_json(name, orjson.dumps(stored), LAYOUT)
        if found is None:
            raise CollectionNotFoundError("the collection was not created by this backend")
        settings, own = found
        if engine_name not in self._caught_up:
            await self._catch_up(engine_name, info)
        if TERMS not in info.payload_schema:
            await self._create_indexes(engine_name, settings)  # whoever created the collection died between
        return Collection(
            settings, own["incarnation"], engine_name, "slots" in own, is_replicated=_replicas(info.config) > 1
        )

    async def _catch_up(self, engine_name: str, info: models.CollectionInfo) -> None:
        """A server that was killed answers before it has repeated the last writes of its log: wait until it has."""
        end = time.monotonic() + min(_CATCH_UP, self._timeout / 2)
        while _pending(info) and time.monotonic() < end:
            await asyncio.sleep(0.05)
            info = await self._info(engine_name)
        self._caught_up.add(engine_name)

    async def create(self, settings: CollectionSettings) -> Collection:
        """Create a collection whose graph is built beyond the exact size."""
        collection = Collection(settings, uuid.uuid4().hex, encode_name(settings.name), has_slots=True)
        own = dict(settings.engine_options)
        vector = models.VectorParams(
            size=settings.dimension, distance=_DISTANCES[settings.metric], on_disk=own.pop("on_disk", None)
        )
        stored = settings.to_json(LAYOUT, incarnation=collection.incarnation, slots=True)
        await self.ask(
            self._client.create_collection(
                collection.engine_name,
                vectors_config={settings.metric.value: vector},
                **self._index_of(settings),
                sparse_vectors_config={slot.value: models.SparseVectorParams() for slot in Slot},
                metadata={_METADATA: orjson.loads(stored)},
                **own,
            )
        )
        await self._create_indexes(collection.engine_name, settings)
        await self._agreed(collection)
        self._caught_up.add(collection.engine_name)
        collection.is_replicated = _replicas((await self._info(collection.engine_name)).config) > 1
        return collection

    async def _info(self, engine_name: str) -> models.CollectionInfo:
        return await self.ask(self._client.get_collection(engine_name))

    def _index_of(self, settings: CollectionSettings) -> dict[str, Any]:
        """How a collection's vectors are indexed, as it is created and updated by. Sizes are in kilobytes."""
        size = math.ceil(self._exact_size * settings.dimension * 4 / 1024)
        numbers = settings.vector_index.numbers if settings.vector_index else {}
        graph = models.HnswConfigDiff(
            m=numbers.get("m"),
            ef_construct=numbers.get("ef_construction"),
            full_scan_threshold=max(10, size),
        )
        threshold = size if wants_index(settings) else 0  # 0 is never
        return {
            "optimizers_config": models.OptimizersConfigDiff(indexing_threshold=threshold),
            "hnsw_config": graph,
        }

    async def optimize(self, collection: Collection) -> None:
        """Have all segments indexed that are to be. A collection of before there was the option is given it."""
        settings = collection.settings
        if settings.vector_index is None:
            settings = replace(settings, vector_index=VectorIndex())
            own = {"slots": True} if collection.has_slots else {}
            stored = settings.to_json(LAYOUT, incarnation=collection.incarnation, **own)
            await self.ask(
                self._client.update_collection(
                    collection.engine_name,
                    metadata={_METADATA: orjson.loads(stored)},
                    **self._index_of(settings),
                )
            )
            await self._agreed(collection)
        quiet = 0
        while quiet < _QUIET:
            await asyncio.sleep(_PAUSE)
            info = await self._info(collection.engine_name)
            quiet = quiet + 1 if info.status == models.CollectionStatus.GREEN and not _pending(info) else 0

    async def _create_indexes(self, engine_name: str, settings: CollectionSettings) -> None:
        """Those of the declared fields, and last the terms': where it is, all are. One again is no error."""
        indexes: dict[str, Any] = {}
        for key, kind in indexed_fields(settings):
            if kind == "order":
                indexes[key] = models.PayloadSchemaType.FLOAT
            elif self.matches_substrings:
                indexes[key] = models.PayloadSchemaType.KEYWORD
        indexes[TERMS] = models.TextIndexParams(
            type=models.TextIndexType.TEXT, tokenizer=models.TokenizerType.WHITESPACE, lowercase=False
        )
        for key, schema in indexes.items():
            await self.ask(self._client.create_payload_index(engine_name, key, schema))

    async def need_slots(self, collection: Collection) -> None:
        """Fail if the collection has no sparse vectors: they are made with it, that no writer leaves them out."""
        if not collection.has_slots:
            raise UnsupportedError(
                "the collection was created before there was hybrid search: copy it to a new one",
                capability="supports_hybrid_search",
            )

    async def read_definition(self, collection: Collection) -> bytes | None:
        """The definition of the sparse index as it is now."""
        info = await self._info(collection.engine_name)
        stored: str | None = (info.config.metadata or {}).get(DEFINITION)
        return None if stored is None else stored.encode()

    async def write_definition(self, collection: Collection, definition: bytes) -> None:
        """Store the definition of the sparse index: in the collection's metadata, beside its settings."""
        metadata = {DEFINITION: definition.decode()}
        await self.ask(self._client.update_collection(collection.engine_name, metadata=metadata))
        await self._agreed(collection)

    async def placement(self, collection: Collection) -> Placement:
        """Where the copies of the collection's shards are."""
        raise NotImplementedError

    async def _agreed(self, collection: Collection) -> None:
        """In a cluster, wait until all nodes have what was decided of the collection.

        A change is answered when one node has it, and what is told of a collection may come from another one. Of an
        alias that is made the answer waits for all nodes; in the same request it is taken away again.
        """
        if (await self.placement(collection)).is_spread:
            alias = f"{collection.engine_name}-{uuid.uuid4().hex}"
            made = models.CreateAlias(collection_name=collection.engine_name, alias_name=alias)
            actions: list[models.AliasOperations] = [
                models.CreateAliasOperation(create_alias=made),
                models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias)),
            ]
            await self.ask(self._client.update_collection_aliases(actions))

    async def drop(self, name: str) -> None:
        """Delete a collection that is ours."""
        collection = await self.describe(name)
        self._caught_up.discard(collection.engine_name)
        if not await self.ask(self._client.delete_collection(collection.engine_name)):
            raise CollectionNotFoundError("the collection does not exist")


def _replicas(config: models.CollectionConfig) -> int:
    return config.params.replication_factor or 1


def _pending(info: models.CollectionInfo) -> int:
    queue: Any = getattr(info, "update_queue", None)  # older servers, and clients, have none
    return queue.length or 0 if queue else 0
