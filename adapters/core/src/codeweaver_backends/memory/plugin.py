"""What the memory backend claims."""

from __future__ import annotations

from codeweaver_backends.capabilities import BackendCapabilities, Limits
from codeweaver_backends.plugins import DeclaredPlugin
from codeweaver_backends.types import BaseComponentInfo, DistanceMetric
from codeweaver_backends.version import __version__

__all__ = ["CAPABILITIES", "MemoryPlugin"]

CAPABILITIES = BackendCapabilities(
    supports_scan=True,
    supports_hybrid_search=True,
    supports_columnar=True,
    supports_streaming=True,
    supports_transactions=True,
    supports_payload_indexes=True,
    exact_search=True,
    max_vector_dimension=65_536,
    supported_distance_metrics=list(DistanceMetric),
    payload_index_types=["keyword", "integer", "float", "bool", "datetime"],
    limits=Limits(max_limit=1_000_000, exact_size=1_000_000),
)


class MemoryPlugin(DeclaredPlugin):
    """Points in this process, gone with it."""

    info = BaseComponentInfo(
        name="memory",
        display_name="Memory",
        description="Exact search over points held in this process; the reference to compare with.",
        version=__version__,
    )
    location = "in-process"
    capabilities = CAPABILITIES
    backend = "codeweaver_backends.memory.backend:MemoryBackend"
    config = "codeweaver_backends.memory.config:MemoryConfig"
