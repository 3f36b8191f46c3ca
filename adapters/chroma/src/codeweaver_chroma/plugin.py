"""What the Chroma backend claims."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel

from codeweaver_backends.capabilities import BackendCapabilities, Limits
from codeweaver_backends.config import check_config
from codeweaver_backends.plugins import BackendPlugin
from codeweaver_backends.types import BaseComponentInfo, DistanceMetric, ValidationResult
from codeweaver_chroma.version import __version__

__all__ = ["CAPABILITIES", "EMBEDDED_CAPABILITIES", "SERVER_CAPABILITIES", "ChromaPlugin"]

CAPABILITIES = BackendCapabilities(
    supports_scan=True,
    supports_columnar=True,
    supports_payload_indexes=True,
    max_vector_dimension=4_096,
    supported_distance_metrics=[DistanceMetric.COSINE, DistanceMetric.EUCLIDEAN, DistanceMetric.DOT_PRODUCT],
    payload_index_types=["keyword", "integer", "float", "bool", "datetime"],
    limits=Limits(
        max_limit=10_000,
        exact_size=1_000,
        max_filter_depth=16,
        max_filter_conditions=256,
        max_in_values=256,
    ),
)
EMBEDDED_CAPABILITIES = CAPABILITIES.model_copy(update={"supports_multiple_instances": False})
"""Chroma loses points of a folder that two processes have open, and does not notice."""
SERVER_CAPABILITIES = CAPABILITIES.model_copy(update={"replace_is_atomic": False})
"""Points are replaced by deleting and adding them, and others may read in between."""


class ChromaPlugin(BackendPlugin):
    """Chroma in this process, or a Chroma server."""

    @classmethod
    def get_plugin_name(cls) -> str:
        return "chroma"

    @classmethod
    def get_capabilities(cls) -> BackendCapabilities:
        return CAPABILITIES

    @classmethod
    def get_component_info(cls) -> BaseComponentInfo:
        return BaseComponentInfo(
            name="chroma",
            display_name="Chroma",
            description="Chroma embedded in this process, or a Chroma server by HTTP (1.5 or later).",
            version=__version__,
            homepage="https://www.trychroma.com",
        )

    @classmethod
    def validate_config(cls, config: Any) -> ValidationResult:
        return check_config(cls.get_config_class(), config, _advice)

    @classmethod
    def get_dependencies(cls) -> list[str]:
        return ["chromadb"]

    @classmethod
    def get_backend_class(cls) -> type:
        from codeweaver_chroma.backend import ChromaBackend

        return ChromaBackend

    @classmethod
    def get_config_class(cls) -> type[BaseModel]:
        from codeweaver_chroma.config import ChromaConfig

        return ChromaConfig


def _advice(config: Any) -> Iterable[str]:
    if config.api_key and config.path is None and not config.address.startswith("https:"):
        yield "api_key: it is sent unencrypted without tls or an https url"
    if config.api_key and config.path is not None:
        yield "api_key: an embedded database has no authentication; it is ignored"
