"""What the Chroma backend claims."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from codeweaver_backends.capabilities import BackendCapabilities, Limits
from codeweaver_backends.plugins import DeclaredPlugin
from codeweaver_backends.types import BaseComponentInfo, DistanceMetric
from codeweaver_chroma.version import __version__

__all__ = ["CAPABILITIES", "EMBEDDED_CAPABILITIES", "SERVER_CAPABILITIES", "ChromaPlugin"]

CAPABILITIES = BackendCapabilities(
    supports_scan=True,
    supports_columnar=True,
    supports_streaming=True,
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
"""A point is never missing while it is replaced, but a server takes its payload and its vector one after the other."""


class ChromaPlugin(DeclaredPlugin):
    """Chroma in this process, or a Chroma server."""

    info = BaseComponentInfo(
        name="chroma",
        display_name="Chroma",
        description="Chroma embedded in this process, or a Chroma server by HTTP (1.5 or later).",
        version=__version__,
        homepage="https://www.trychroma.com",
    )
    capabilities = CAPABILITIES
    backend = "codeweaver_chroma.backend:ChromaBackend"
    config = "codeweaver_chroma.config:ChromaConfig"
    dependencies = ("httpx",)

    @classmethod
    def advice(cls, config: Any) -> Iterable[str]:
        if config.path is None:
            yield from config.key_advice()
        elif config.api_key:
            yield "api_key: an embedded database has no authentication; it is ignored"
