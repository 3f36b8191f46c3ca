"""What the Milvus backend claims."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from codeweaver_backends.capabilities import BackendCapabilities, Limits
from codeweaver_backends.plugins import DeclaredPlugin
from codeweaver_backends.types import BaseComponentInfo, DistanceMetric
from codeweaver_milvus.version import __version__

__all__ = ["CAPABILITIES", "MilvusPlugin"]

CAPABILITIES = BackendCapabilities(
    supports_scan=True,
    supports_hybrid_search=True,
    supports_columnar=True,
    supports_streaming=True,
    supports_payload_indexes=True,
    exact_search=True,
    engine_options={"num_shards": "integer"},
    # Engines add up in float32, on some machines one number after the other: with more dimensions scores leave the
    # contract's tolerance. (On others Lite keeps it up to 32,768.)
    max_vector_dimension=8_192,
    supported_distance_metrics=[DistanceMetric.COSINE, DistanceMetric.EUCLIDEAN, DistanceMetric.DOT_PRODUCT],
    payload_index_types=["keyword", "integer", "float", "bool", "datetime"],
    limits=Limits(max_limit=16_384, exact_size=1_000_000, max_in_values=1_024, max_contains_length=4_096),
)


class MilvusPlugin(DeclaredPlugin):
    """Milvus Lite in this process, or a Milvus server."""

    info = BaseComponentInfo(
        name="milvus",
        display_name="Milvus",
        description="Milvus Lite (3.2 or later) in this process, or a Milvus server (2.3 or later).",
        version=__version__,
        homepage="https://milvus.io",
    )
    capabilities = CAPABILITIES
    backend = "codeweaver_milvus.backend:MilvusBackend"
    config = "codeweaver_milvus.config:MilvusConfig"
    dependencies = ("pymilvus",)

    @classmethod
    def advice(cls, config: Any) -> Iterable[str]:
        if config.path is None:
            yield from config.key_advice()
        elif config.api_key:
            yield "api_key: Milvus Lite has no authentication; it is ignored"
