"""Qdrant Edge as a hasty user sets it up: a sparse graph, searched with a short list of candidates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import qdrant_edge

from codeweaver_backends.sdk.requests import Batch, CollectionSettings
from codeweaver_backends.types import BaseComponentInfo
from codeweaver_qdrant import edge
from codeweaver_qdrant.plugin import QdrantEdgePlugin

GRAPH = qdrant_edge.HnswIndexConfig(4, 4, 1)
SOON = qdrant_edge.EdgeOptimizersConfig(indexing_threshold=1, default_segment_number=1)


def create_shard(path: Path, settings: CollectionSettings) -> qdrant_edge.EdgeShard:
    vector = qdrant_edge.EdgeVectorParams(size=settings.dimension, distance=edge._DISTANCES[settings.metric])
    config = qdrant_edge.EdgeConfig(vectors={settings.metric.value: vector}, hnsw_config=GRAPH, optimizers=SOON)
    shard = qdrant_edge.EdgeShard.create(str(path), config)
    tokens = qdrant_edge.TextIndexParams(tokenizer=qdrant_edge.TokenizerType.Whitespace, lowercase=False)
    shard.update(qdrant_edge.UpdateOperation.create_field_index(edge.TOKENS, tokens))
    return shard


# The adapter asks this function for every new shard; this module is imported by a process that tests nothing else.
edge._create_shard = create_shard


class HastyStore(edge.EdgeStore):
    async def upsert(self, settings: CollectionSettings, batch: Batch) -> None:
        await super().upsert(settings, batch)
        self._with_shard(settings.name, lambda shard: shard.optimize())

    async def search(
        self,
        settings: CollectionSettings,
        vector: Any,
        limit: int,
        condition: Any,
        fields: list[str],
        with_vectors: bool,
    ) -> Sequence[qdrant_edge.ScoredPoint]:
        request = qdrant_edge.QueryRequest(
            limit=limit,
            query=qdrant_edge.Query.Nearest(vector.tolist(), using=settings.metric.value),
            filter=condition,
            with_payload=fields,
            with_vector=with_vectors,
            params=qdrant_edge.SearchParams(hnsw_ef=4),
        )
        return self._with_shard(settings.name, lambda shard: shard.query(request))


class HastyBackend(edge.QdrantEdgeBackend):
    async def _open_store(self) -> Any:
        return HastyStore(edge._Folder.open(self.config.path))


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
