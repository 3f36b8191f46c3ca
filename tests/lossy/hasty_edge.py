"""Qdrant Edge as a hasty user sets it up: a sparse graph, searched with a short list of candidates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import qdrant_edge

from codeweaver_backends.sdk import Batch, CollectionSettings, SparseRow
from codeweaver_backends.types import BaseComponentInfo
from codeweaver_qdrant import edge_folder
from codeweaver_qdrant.edge import QdrantEdgeBackend
from codeweaver_qdrant.edge_client import EdgeClient
from codeweaver_qdrant.plugin import QdrantEdgePlugin
from codeweaver_qdrant.schema import TERMS, Nearest, wanted_fields

GRAPH = qdrant_edge.HnswIndexConfig(4, 4, 1)
SOON = qdrant_edge.EdgeOptimizersConfig(indexing_threshold=1, default_segment_number=1)


def create_shard(path: Path, settings: CollectionSettings) -> qdrant_edge.EdgeShard:
    vector = qdrant_edge.EdgeVectorParams(size=settings.dimension, distance=edge_folder._DISTANCES[settings.metric])
    config = qdrant_edge.EdgeConfig(vectors={settings.metric.value: vector}, hnsw_config=GRAPH, optimizers=SOON)
    shard = qdrant_edge.EdgeShard.create(str(path), config)
    terms = qdrant_edge.TextIndexParams(tokenizer=qdrant_edge.TokenizerType.Whitespace, lowercase=False)
    shard.update(qdrant_edge.UpdateOperation.create_field_index(TERMS, terms))
    return shard


# The adapter asks this function for every new shard; this module is imported by a process that tests nothing else.
edge_folder.create_shard = create_shard


class HastyClient(EdgeClient):
    async def upsert(self, collection: edge_folder.EdgeCollection, part: Batch) -> None:
        await super().upsert(collection, part)
        self._folder.shard_of(collection).optimize()

    async def search(
        self, collection: edge_folder.EdgeCollection, nearest: Nearest
    ) -> Sequence[qdrant_edge.ScoredPoint]:
        if isinstance(nearest.vector, SparseRow):
            return await super().search(collection, nearest)
        request = qdrant_edge.QueryRequest(
            limit=nearest.limit,
            query=qdrant_edge.Query.Nearest(nearest.vector.tolist(), using=nearest.using),
            filter=None if nearest.condition is None else nearest.condition.filter,
            with_payload=wanted_fields(nearest.projection),
            with_vector=nearest.projection.vectors,
            params=qdrant_edge.SearchParams(hnsw_ef=4),
        )
        return self._folder.shard_of(collection).query(request)


class HastyBackend(QdrantEdgeBackend):
    async def _connect(self) -> None:
        self._client = HastyClient(await edge_folder.FOLDERS.open(self.config.path))


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
