"""What the Weaviate backend claims."""

from __future__ import annotations

from pydantic import BaseModel

from codeweaver_backends.capabilities import BackendCapabilities, Limits
from codeweaver_backends.plugins import BackendPlugin
from codeweaver_backends.types import BaseComponentInfo, DistanceMetric
from codeweaver_weaviate.version import __version__

__all__ = ["CAPABILITIES", "WeaviatePlugin"]

CAPABILITIES = BackendCapabilities(
    supports_scan=True,
    supports_columnar=True,
    supports_payload_indexes=True,
    replace_is_atomic=False,
    max_vector_dimension=65_535,
    supported_distance_metrics=list(DistanceMetric),
    payload_index_types=["keyword", "integer", "float", "bool", "datetime"],
    limits=Limits(max_limit=10_000, exact_size=100_000, max_contains_length=256),
)


class WeaviatePlugin(BackendPlugin):
    """A Weaviate server, by REST and gRPC."""

    @classmethod
    def get_plugin_name(cls) -> str:
        return "weaviate"

    @classmethod
    def get_capabilities(cls) -> BackendCapabilities:
        return CAPABILITIES

    @classmethod
    def get_component_info(cls) -> BaseComponentInfo:
        return BaseComponentInfo(
            name="weaviate",
            display_name="Weaviate",
            description="Exact search and exact filters on a Weaviate server.",
            version=__version__,
        )

    @classmethod
    def get_dependencies(cls) -> list[str]:
        return ["weaviate-client"]

    @classmethod
    def get_backend_class(cls) -> type:
        from codeweaver_weaviate.backend import WeaviateBackend

        return WeaviateBackend

    @classmethod
    def get_config_class(cls) -> type[BaseModel]:
        from codeweaver_weaviate.config import WeaviateConfig

        return WeaviateConfig
