"""What the two backends claim."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from codeweaver_backends.capabilities import BackendCapabilities, Limits
from codeweaver_backends.plugins import DeclaredPlugin, needs
from codeweaver_backends.types import BaseComponentInfo, DistanceMetric
from codeweaver_qdrant.version import __version__

__all__ = ["CAPABILITIES", "EDGE_CAPABILITIES", "EXACT_SIZE", "QdrantEdgePlugin", "QdrantPlugin"]

EXACT_SIZE = 20_000
"""Up to this many points a server's collection is searched exactly."""
_MAX_LIMIT = 100_000
WEAK = "write_ordering: weak: where two clients write one point at once, its replicas may keep different ones for good"
"""What to know of a setting that breaks the contract in a cluster."""

CAPABILITIES = BackendCapabilities(
    supports_scan=True,
    supports_hybrid_search=True,
    supports_columnar=True,
    supports_streaming=True,
    supports_payload_indexes=True,
    index_kinds=["hnsw"],
    exact_search=True,
    search_effort=True,
    engine_options={
        "shard_number": "integer",
        "replication_factor": "integer",
        "write_consistency_factor": "integer",
        "on_disk": "boolean",
        "on_disk_payload": "boolean",
    },
    max_vector_dimension=65_536,
    supported_distance_metrics=list(DistanceMetric),
    payload_index_types=["keyword", "integer", "float", "bool", "datetime"],
    limits=Limits(max_limit=_MAX_LIMIT, exact_size=EXACT_SIZE),
)

# Without an index: building one holds the interpreter's lock from beginning to end.
EDGE_CAPABILITIES = CAPABILITIES.with_exact_size(_MAX_LIMIT).model_copy(
    update={"supports_multiple_instances": False, "index_kinds": [], "search_effort": False, "engine_options": {}}
)


class QdrantPlugin(DeclaredPlugin):
    """A Qdrant server, by gRPC or REST."""

    info = BaseComponentInfo(
        name="qdrant",
        display_name="Qdrant",
        description="A Qdrant server (1.16 or later), by gRPC or REST.",
        version=__version__,
        homepage="https://qdrant.tech",
    )
    capabilities = CAPABILITIES
    backend = "codeweaver_qdrant.server:QdrantBackend"
    config = "codeweaver_qdrant.config:QdrantConfig"
    dependencies = ("qdrant-client",)

    @classmethod
    def advice(cls, config: Any) -> Iterable[str]:
        yield from config.key_advice()
        if config.write_ordering == "weak":
            yield WEAK


class QdrantEdgePlugin(DeclaredPlugin):
    """Qdrant's engine in this process, with its data in a folder."""

    info = BaseComponentInfo(
        name="qdrant-edge",
        display_name="Qdrant Edge",
        description="Qdrant's engine in this process, with its data in a folder; no server.",
        version=__version__,
        homepage="https://qdrant.tech/edge/",
    )
    capabilities = EDGE_CAPABILITIES
    backend = "codeweaver_qdrant.edge:QdrantEdgeBackend"
    config = "codeweaver_qdrant.config:QdrantEdgeConfig"
    dependencies = ("qdrant-edge-py",)

    @classmethod
    def get_backend_class(cls) -> type:
        needs("qdrant_edge", "codeweaver-qdrant[edge]")
        return super().get_backend_class()
