"""What the two backends claim."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel

from codeweaver_backends.capabilities import BackendCapabilities, Limits
from codeweaver_backends.config import check_config
from codeweaver_backends.plugins import BackendPlugin
from codeweaver_backends.types import BaseComponentInfo, DistanceMetric, ValidationResult
from codeweaver_qdrant.version import __version__

__all__ = ["CAPABILITIES", "EDGE_CAPABILITIES", "EXACT_SIZE", "QdrantEdgePlugin", "QdrantPlugin"]

EXACT_SIZE = 100_000
"""Up to this many points a server's collection is searched exactly; it is created so that no graph is built before."""

CAPABILITIES = BackendCapabilities(
    supports_scan=True,
    supports_columnar=True,
    supports_payload_indexes=True,
    max_vector_dimension=65_536,
    supported_distance_metrics=list(DistanceMetric),
    payload_index_types=["keyword", "integer", "float", "bool", "datetime"],
    limits=Limits(max_limit=EXACT_SIZE, exact_size=EXACT_SIZE),
)

EDGE_CAPABILITIES = CAPABILITIES.model_copy(update={"supports_multiple_instances": False})


class QdrantPlugin(BackendPlugin):
    """A Qdrant server, by gRPC or REST."""

    @classmethod
    def get_plugin_name(cls) -> str:
        return "qdrant"

    @classmethod
    def get_capabilities(cls) -> BackendCapabilities:
        return CAPABILITIES

    @classmethod
    def get_component_info(cls) -> BaseComponentInfo:
        return BaseComponentInfo(
            name="qdrant",
            display_name="Qdrant",
            description="A Qdrant server (1.16 or later), by gRPC or REST.",
            version=__version__,
            homepage="https://qdrant.tech",
        )

    @classmethod
    def validate_config(cls, config: Any) -> ValidationResult:
        config_class = cls.get_config_class()
        return check_config(config_class, config, _advice)

    @classmethod
    def get_dependencies(cls) -> list[str]:
        return ["qdrant-client"]

    @classmethod
    def get_backend_class(cls) -> type:
        from codeweaver_qdrant.server import QdrantBackend

        return QdrantBackend

    @classmethod
    def get_config_class(cls) -> type[BaseModel]:
        from codeweaver_qdrant.config import QdrantConfig

        return QdrantConfig


class QdrantEdgePlugin(BackendPlugin):
    """Qdrant's engine in this process, with its data in a folder."""

    @classmethod
    def get_plugin_name(cls) -> str:
        return "qdrant-edge"

    @classmethod
    def get_capabilities(cls) -> BackendCapabilities:
        return EDGE_CAPABILITIES

    @classmethod
    def get_component_info(cls) -> BaseComponentInfo:
        return BaseComponentInfo(
            name="qdrant-edge",
            display_name="Qdrant Edge",
            description="Qdrant's engine in this process, with its data in a folder; no server.",
            version=__version__,
            homepage="https://qdrant.tech/edge/",
        )

    @classmethod
    def get_dependencies(cls) -> list[str]:
        return ["qdrant-edge-py", "portalocker"]

    @classmethod
    def get_backend_class(cls) -> type:
        from codeweaver_qdrant.edge import QdrantEdgeBackend

        return QdrantEdgeBackend

    @classmethod
    def get_config_class(cls) -> type[BaseModel]:
        from codeweaver_qdrant.config import QdrantEdgeConfig

        return QdrantEdgeConfig


def _advice(config: Any) -> Iterable[str]:
    if config.api_key and not (config.tls or (config.url or "").startswith("https:")):
        yield "api_key: it is sent unencrypted without tls or an https url"
    if config.location:
        yield "location: ':memory:' is meant for tests; use the backend 'qdrant-edge' to embed Qdrant"
