"""What the memory backend claims."""

from __future__ import annotations

from pydantic import BaseModel

from codeweaver_backends.capabilities import BackendCapabilities, Limits
from codeweaver_backends.plugins import BackendPlugin
from codeweaver_backends.types import BaseComponentInfo, DistanceMetric
from codeweaver_backends.version import __version__

__all__ = ["CAPABILITIES", "MemoryPlugin"]

CAPABILITIES = BackendCapabilities(
    supports_scan=True,
    supports_columnar=True,
    supports_transactions=True,
    supports_payload_indexes=True,
    max_vector_dimension=65_536,
    supported_distance_metrics=list(DistanceMetric),
    payload_index_types=["keyword", "integer", "float", "bool", "datetime"],
    limits=Limits(max_limit=1_000_000, exact_size=1_000_000),
)


class MemoryPlugin(BackendPlugin):
    """Points in this process, gone with it."""

    @classmethod
    def get_plugin_name(cls) -> str:
        return "memory"

    @classmethod
    def get_capabilities(cls) -> BackendCapabilities:
        return CAPABILITIES

    @classmethod
    def get_component_info(cls) -> BaseComponentInfo:
        return BaseComponentInfo(
            name="memory",
            display_name="Memory",
            description="Exact search over points held in this process; the reference to compare with.",
            version=__version__,
        )

    @classmethod
    def get_backend_class(cls) -> type:
        from codeweaver_backends.memory.backend import MemoryBackend

        return MemoryBackend

    @classmethod
    def get_config_class(cls) -> type[BaseModel]:
        from codeweaver_backends.memory.config import MemoryConfig

        return MemoryConfig
