"""What the LanceDB backend claims."""

from __future__ import annotations

from codeweaver_backends.capabilities import BackendCapabilities, Limits
from codeweaver_backends.plugins import DeclaredPlugin
from codeweaver_backends.types import BaseComponentInfo, DistanceMetric
from codeweaver_lancedb.version import __version__

__all__ = ["CAPABILITIES", "LanceDBPlugin"]

CAPABILITIES = BackendCapabilities(
    supports_scan=True,
    supports_columnar=True,
    supports_hybrid_search=True,
    supports_streaming=True,
    supports_payload_indexes=True,
    index_kinds=["ivf"],
    exact_search=True,
    search_effort=True,
    max_vector_dimension=65_536,
    supported_distance_metrics=[DistanceMetric.COSINE, DistanceMetric.EUCLIDEAN, DistanceMetric.DOT_PRODUCT],
    payload_index_types=["keyword", "integer", "float", "bool", "datetime"],
    limits=Limits(max_limit=1_000_000, exact_size=200_000),
)


class LanceDBPlugin(DeclaredPlugin):
    """Points in a folder, searched in this process."""

    info = BaseComponentInfo(
        name="lancedb",
        display_name="LanceDB",
        description="Search over columns in a folder or an object store, in this process: exact, or by an index.",
        version=__version__,
    )
    location = "in-process"
    capabilities = CAPABILITIES
    backend = "codeweaver_lancedb.backend:LanceDBBackend"
    config = "codeweaver_lancedb.config:LanceDBConfig"
    dependencies = ("lancedb",)
