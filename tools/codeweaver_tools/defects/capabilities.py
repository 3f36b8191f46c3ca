"""Capabilities and the plug-in's surface: claims that are not kept, and not claimed things that happen."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from codeweaver_backends.capabilities import BackendCapabilities
from codeweaver_backends.errors import UnsupportedError
from codeweaver_backends.memory.plugin import CAPABILITIES, MemoryPlugin
from codeweaver_backends.protocols import HybridSearchBackend, StreamingBackend, TransactionalBackend, VectorBackend
from codeweaver_backends.sdk.filters.tree import Contains, InstantRange, Node
from codeweaver_backends.sdk.lifetime import operation
from codeweaver_backends.sdk.requests import Query
from codeweaver_backends.types import (
    BaseComponentInfo,
    CollectionInfo,
    ComponentType,
    DistanceMetric,
    FilterCondition,
    FilterLike,
    Payload,
    SearchResult,
    VectorPoint,
)
from codeweaver_tools.defects.filter_tools import conditions
from codeweaver_tools.defects.registry import plant
from codeweaver_tools.defects.rig import Collection, Rig


def _claiming(**claims: Any) -> BackendCapabilities:
    return CAPABILITIES.model_copy(update=claims)


@plant("cap-overclaim-transactions", "Transactions are claimed; a method is the protocol's own empty one.")
class _OverclaimTransactions(Rig):
    begin_transaction = TransactionalBackend.begin_transaction


@plant("cap-overclaim-hybrid", "Hybrid search is claimed; its methods are the protocol's own empty ones.")
class _OverclaimHybrid(Rig):
    claims = _claiming(supports_hybrid_search=True)
    create_sparse_index: Any = HybridSearchBackend.create_sparse_index
    hybrid_search: Any = HybridSearchBackend.hybrid_search
    update_sparse_vectors: Any = HybridSearchBackend.update_sparse_vectors


@plant("cap-overclaim-streaming", "Streaming is claimed; its methods are the protocol's own empty ones.")
class _OverclaimStreaming(Rig):
    stream_upsert_vectors: Any = StreamingBackend.stream_upsert_vectors
    stream_search_vectors: Any = StreamingBackend.stream_search_vectors


@plant("cap-overclaim-scan", "Scanning is claimed and raises NotImplementedError.")
class _OverclaimScan(Rig):
    async def scroll_vectors(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError


@plant("cap-overclaim-contains", "contains is claimed and refused.")
class _OverclaimContains(Rig):
    def leaf(self, node: Node, payload: Payload) -> bool:
        if isinstance(node, Contains):
            raise UnsupportedError("contains", capability="supports_contains")
        return super().leaf(node, payload)


@plant("cap-overclaim-datetime", "Ranges over instants are claimed and refused.")
class _OverclaimDatetime(Rig):
    def leaf(self, node: Node, payload: Payload) -> bool:
        if isinstance(node, InstantRange):
            raise UnsupportedError("datetimes", capability="supports_datetime_ranges")
        return super().leaf(node, payload)


@plant("cap-overclaim-regex", "Regular expressions are claimed, and die in the engine.")
class _OverclaimRegex(Rig):
    claims = _claiming(supports_regex=True)


@plant("cap-overclaim-metric", "Manhattan is claimed and dies with a KeyError.")
class _OverclaimMetric(Rig):
    @operation
    async def create_collection(
        self, name: str, dimension: int, distance_metric: DistanceMetric = DistanceMetric.COSINE, **kwargs: Any
    ) -> None:
        if distance_metric is DistanceMetric.MANHATTAN:
            raise KeyError(distance_metric)
        await super().create_collection(name, dimension, distance_metric, **kwargs)


@plant("cap-overclaim-dimension", "The declared dimension is more than the engine takes.")
class _OverclaimDimension(Rig):
    @operation
    async def upsert_vectors(self, collection_name: str, vectors: list[VectorPoint]) -> None:
        if self._collection(collection_name).settings.dimension > 16_000:
            raise RuntimeError("row is too big")
        await super().upsert_vectors(collection_name, vectors)


@plant("cap-overclaim-indexes", "payload_indexes is claimed and swallowed.", side="above")
class _OverclaimIndexes(Rig):
    @operation
    async def get_collection_info(self, name: str) -> CollectionInfo:
        info = await super().get_collection_info(name)
        info.payload_indexes = {}
        return info


@plant("cap-indexed-differs", "A field with a payload index is filtered by its text.")
class _IndexedDiffers(Rig):
    def answer(self, collection: Collection, query: Query) -> list[SearchResult]:
        if "f_bool" in collection.settings.payload_indexes:
            for point in collection.points.values():
                point.payload = {key: str(one) if isinstance(one, bool) else one for key, one in point.payload.items()}
        return super().answer(collection, query)


@plant("cap-underclaim-scan", "Points are counted, and scanning is not claimed.")
class _UnderclaimScan(Rig):
    claims = _claiming(supports_scan=False)

    async def count_vectors(self, collection_name: str, search_filter: FilterLike | None = None) -> int:
        return len(self._collection(collection_name).points)


@plant("cap-underclaim-columnar", "upsert_batch works and is not claimed.")
class _UnderclaimColumnar(Rig):
    claims = _claiming(supports_columnar=False)

    async def upsert_batch(
        self, collection_name: str, ids: Any, vectors: Any, payloads: Sequence[Payload | None] | None = None
    ) -> None:
        rows = zip(ids, vectors.tolist(), payloads or [None] * len(ids), strict=True)
        await self.upsert_vectors(collection_name, [VectorPoint(*row) for row in rows])


@plant("cap-underclaim-transactions", "Transactions begin, and are not claimed.")
class _UnderclaimTransactions(Rig):
    claims = _claiming(supports_transactions=False)

    async def begin_transaction(self) -> str:
        return "1"


@plant("cap-underclaim-streaming", "Streams of queries are answered, and streaming is not claimed.")
class _UnderclaimStreaming(Rig):
    claims = _claiming(supports_streaming=False)

    async def stream_search_vectors(
        self, collection_name: str, query_stream: AsyncIterator[list[float]], limit: int = 10
    ) -> AsyncIterator[list[SearchResult]]:
        async for query in query_stream:
            yield await self.search_vectors(collection_name, query, limit)


@plant("cap-unclaimed-not-implemented", "Hybrid search is not claimed, and dies with a NotImplementedError.")
class _UnclaimedNotImplemented(Rig):
    async def hybrid_search(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError


@plant("cap-unclaimed-written", "upsert_batch is not claimed, and refused once it has written.")
class _UnclaimedWritten(_UnderclaimColumnar):
    async def upsert_batch(self, *args: Any, **kwargs: Any) -> None:
        await super().upsert_batch(*args, **kwargs)
        raise UnsupportedError("columns", capability="supports_columnar")


@plant("cap-unclaimed-contains", "contains is not claimed, and matches everything.", side="above")
class _UnclaimedContains(Rig):
    claims = _claiming(supports_contains=False)

    def given(self, search_filter: FilterLike | None) -> FilterLike | None:
        return conditions(search_filter, lambda one: None if one.operator == "contains" else one)


@plant("cap-unclaimed-regex", "regex is not claimed, and is read as contains.", side="above")
class _UnclaimedRegex(Rig):
    def given(self, search_filter: FilterLike | None) -> FilterLike | None:
        return conditions(
            search_filter,
            lambda one: FilterCondition(one.field, "contains", one.value) if one.operator == "regex" else one,
        )


@plant("cap-unclaimed-datetime", "Ranges over instants are not claimed, and match nothing.", side="above")
class _UnclaimedDatetime(Rig):
    claims = _claiming(supports_datetime_ranges=False)

    def given(self, search_filter: FilterLike | None) -> FilterLike | None:
        orders = ("gt", "ge", "lt", "le")
        return conditions(
            search_filter,
            lambda one: (
                FilterCondition(one.field, "in", [])
                if one.operator in orders and isinstance(one.value, str) and one.value[:4].isdecimal()
                else one
            ),
        )


@plant("cap-unclaimed-sparse", "Sparse vectors are not claimed, and dropped without a word.", side="above")
class _UnclaimedSparse(Rig):
    @operation
    async def upsert_vectors(self, collection_name: str, vectors: list[VectorPoint]) -> None:
        for one in vectors if isinstance(vectors, list) else ():
            if isinstance(one, VectorPoint):
                one.sparse_vector = None
        await super().upsert_vectors(collection_name, vectors)


@plant("cap-unclaimed-indexes", "payload_indexes is not claimed, and swallowed.", side="above")
class _UnclaimedIndexes(Rig):
    claims = _claiming(supports_payload_indexes=False, payload_index_types=[])

    @operation
    async def create_collection(
        self, name: str, dimension: int, distance_metric: DistanceMetric = DistanceMetric.COSINE, **kwargs: Any
    ) -> None:
        kwargs.pop("payload_indexes", None)
        await super().create_collection(name, dimension, distance_metric, **kwargs)


@plant("cap-filtering-denied", "Filters, which cannot be denied, are not claimed.")
class _FilteringDenied(Rig):
    claims = _claiming(supports_filtering=False)


@plant("cap-cosine-denied", "Cosine, which cannot be denied, is not claimed.")
class _CosineDenied(Rig):
    claims = _claiming(supported_distance_metrics=[DistanceMetric.DOT_PRODUCT])


@plant("cap-instance-claims-more", "The connected instance claims more than its plug-in.")
class _InstanceMore(Rig):
    async def get_capabilities(self) -> BackendCapabilities:
        return _claiming(supports_regex=True)


@plant("plg-protocol-body", "delete_vectors is the protocol's own empty method.")
class _ProtocolBody(Rig):
    delete_vectors: Any = VectorBackend.delete_vectors


@plant("plg-protocol-missing", "health_check is missing.")
class _ProtocolMissing(Rig):
    health_check: Any = property(lambda self: (_ for _ in ()).throw(AttributeError("health_check")))


class _Surface(MemoryPlugin):
    """A plug-in that says something odd of itself."""

    @classmethod
    def get_backend_class(cls) -> type:
        return Rig


@plant("plg-name-differs", "Plug-in and component info have different names.", side="above")
class _NameDiffers(_Surface):
    @classmethod
    def get_plugin_name(cls) -> str:
        return "plg-name-differs"


class _Named(_Surface):
    @classmethod
    def get_plugin_name(cls) -> str:
        return "odd"

    @classmethod
    def get_component_info(cls) -> BaseComponentInfo:
        return BaseComponentInfo(name="odd")


@plant("plg-dependencies-text", "get_dependencies returns a text.", side="above")
class _DependenciesText(_Named):
    @classmethod
    def get_dependencies(cls) -> Any:
        return "numpy"


@plant("plg-type-text", "get_component_type returns a text.", side="above")
class _TypeText(_Named):
    @classmethod
    def get_component_type(cls) -> Any:
        return "backend"


@plant("plg-info-dict", "get_component_info returns a dict.", side="above")
class _InfoDict(_Named):
    @classmethod
    def get_component_info(cls) -> Any:
        return {"name": "odd", "component_type": ComponentType.BACKEND}


@plant("plg-capabilities-dict", "get_capabilities returns a dict.", side="above")
class _CapabilitiesDict(_Named):
    @classmethod
    def get_capabilities(cls) -> Any:
        return {"supports_filtering": True}
