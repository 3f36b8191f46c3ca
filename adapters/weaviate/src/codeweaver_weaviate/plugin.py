"""What the Weaviate backend claims."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from codeweaver_backends.capabilities import BackendCapabilities, Limits
from codeweaver_backends.plugins import DeclaredPlugin
from codeweaver_backends.types import BaseComponentInfo, DistanceMetric
from codeweaver_weaviate.version import __version__

__all__ = ["CAPABILITIES", "EXACT_SIZE", "WeaviatePlugin"]

EXACT_SIZE = 20_000
"""Up to this many points a collection is searched exactly."""

FEWER = "write_consistency: a search asks one replica, and may miss a point that was acknowledged by others"
"""What to know of a setting that breaks the contract in a cluster."""

CAPABILITIES = BackendCapabilities(
    supports_scan=True,
    supports_columnar=True,
    supports_streaming=True,
    supports_payload_indexes=True,
    index_kinds=["hnsw"],
    exact_search=True,
    search_effort=True,
    engine_options={"replicationConfig.factor": "integer", "shardingConfig.desiredCount": "integer"},
    replace_is_atomic=False,
    max_vector_dimension=65_535,
    supported_distance_metrics=list(DistanceMetric),
    payload_index_types=["keyword", "integer", "float", "bool", "datetime"],
    limits=Limits(max_limit=10_000, exact_size=EXACT_SIZE, max_contains_length=256),
)


class WeaviatePlugin(DeclaredPlugin):
    """A Weaviate server, by REST and gRPC."""

    info = BaseComponentInfo(
        name="weaviate",
        display_name="Weaviate",
        description="A Weaviate server (1.33 or later), by REST and gRPC.",
        version=__version__,
    )
    capabilities = CAPABILITIES
    backend = "codeweaver_weaviate.backend:WeaviateBackend"
    config = "codeweaver_weaviate.config:WeaviateConfig"
    dependencies = ("weaviate-client",)

    @classmethod
    def advice(cls, config: Any) -> Iterable[str]:
        yield from config.key_advice()
        if config.write_consistency != "all":
            yield FEWER
