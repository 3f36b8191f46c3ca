"""What the LanceDB backend claims."""

from __future__ import annotations

from pydantic import BaseModel

from codeweaver_backends.capabilities import BackendCapabilities, Limits
from codeweaver_backends.plugins import BackendPlugin
from codeweaver_backends.types import BaseComponentInfo, DistanceMetric
from codeweaver_lancedb.version import __version__

__all__ = ["CAPABILITIES", "LanceDBPlugin"]

CAPABILITIES = BackendCapabilities(
    supports_scan=True,
    supports_columnar=True,
    supports_payload_indexes=True,
    max_vector_dimension=65_536,
    supported_distance_metrics=[DistanceMetric.COSINE, DistanceMetric.EUCLIDEAN, DistanceMetric.DOT_PRODUCT],
    payload_index_types=["keyword", "integer", "float", "bool", "datetime"],
    limits=Limits(max_limit=1_000_000, exact_size=1_000_000),
)


class LanceDBPlugin(BackendPlugin):
    """Points in a folder, searched in this process."""

    @classmethod
    def get_plugin_name(cls) -> str:
        return "lancedb"

    @classmethod
    def get_capabilities(cls) -> BackendCapabilities:
        return CAPABILITIES

    @classmethod
    def get_component_info(cls) -> BaseComponentInfo:
        return BaseComponentInfo(
            name="lancedb",
            display_name="LanceDB",
            description="Exact search over columns in a folder or an object store, in this process.",
            version=__version__,
        )

    @classmethod
    def get_dependencies(cls) -> list[str]:
        return ["lancedb"]

    @classmethod
    def get_backend_class(cls) -> type:
        from codeweaver_lancedb.backend import LanceDBBackend

        return LanceDBBackend

    @classmethod
    def get_config_class(cls) -> type[BaseModel]:
        from codeweaver_lancedb.config import LanceDBConfig

        return LanceDBConfig
