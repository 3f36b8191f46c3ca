"""Qdrant Edge as a hasty user sets it up: a sparse graph, searched with a short list of candidates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import qdrant_edge

from codeweaver_backends.sdk import Batch, CollectionSettings, FloatMatrix, Query
from codeweaver_backends.types import BaseComponentInfo
from codeweaver_qdrant import edge_client
from codeweaver_qdrant.edge import QdrantEdgeBackend
from codeweaver_qdrant.plugin import QdrantEdgePlugin
from codeweaver_qdrant.schema import TERMS, wanted_fields

GRAPH = qdrant_edge.HnswIndexConfig(4, 4, 1)
SOON = qdrant_edge.EdgeOptimizersConfig(indexing_threshold=1, default_segment_number=1)


def create_shard(path: Path, settings: CollectionSettings) -> qdrant_edge.EdgeShard:
    vector = qdrant_edge.EdgeVectorParams(size=settings.dimension, distance=edge_client._DISTANCES[settings.metric])
    config = qdrant_edge.EdgeConfig(vectors={settings.metric.value: vector}, hnsw_config=GRAPH, optimizers=SOON)
    shard = qdrant_edge.EdgeShard.create(str(path), config)
    terms = qdrant_edge.TextIndexParams(tokenizer=qdrant_edge.TokenizerType.Whitespace, lowercase=False)
    shard.update(qdrant_edge.UpdateOperation.create_field_index(TERMS, terms))
    return shard


# The adapter asks this function for every new shard; this module is imported by a process that tests nothing else.
edge_client.create_shard = create_shard


class HastyClient(edge_client.EdgeClient):
    async def upsert(self, collection: edge_client.EdgeCollection, part: Batch) -> None:
        await super().upsert(collection, part)
        self._folder.shard_of(collection).optimize()

    async def search(
        self, collection: edge_client.EdgeCollection, query: Query, vector: FloatMatrix, condition: Any
    ) -> Sequence[qdrant_edge.ScoredPoint]:
        request = qdrant_edge.QueryRequest(
            limit=query.limit,
            query=qdrant_edge.Query.Nearest(vector.tolist(), using=collection.settings.metric.value),
            filter=None if condition is None else condition.filter,
            with_payload=wanted_fields(query.projection),
            with_vector=query.projection.vectors,
            params=qdrant_edge.SearchParams(hnsw_ef=4),
        )
        return self._folder.shard_of(collection).query(request)


class HastyBackend(QdrantEdgeBackend):
    async def _connect(self) -> None:
        self._client = HastyClient(await edge_client.FOLDERS.open(self.config.path))


class low_ef(QdrantEdgePlugin):  # noqa: N801 - named as --cw-backend names it
    @classmethod
    def get_plugin_name(cls) -> str:
        return "edge-low-ef"

    @classmethod
    def get_component_info(cls) -> BaseComponentInfo:
        return BaseComponentInfo(name="edge-low-ef")

    @classmethod
    def get_backend_class(cls) -> type:
        return HastyBackend
