"""What the pgvector backend claims."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from codeweaver_backends.capabilities import BackendCapabilities, Limits
from codeweaver_backends.plugins import DeclaredPlugin
from codeweaver_backends.types import BaseComponentInfo, DistanceMetric
from codeweaver_pgvector.version import __version__

__all__ = ["CAPABILITIES", "PgvectorPlugin"]

CAPABILITIES = BackendCapabilities(
    supports_scan=True,
    supports_columnar=True,
    supports_hybrid_search=True,
    supports_streaming=True,
    supports_transactions=True,
    supports_payload_indexes=True,
    index_kinds=["hnsw"],
    exact_search=True,
    search_effort=True,
    engine_options={"tablespace": "text", "maintenance_work_mem": "text"},
    max_vector_dimension=16_000,
    supported_distance_metrics=list(DistanceMetric),
    payload_index_types=["keyword", "integer", "float", "bool", "datetime"],
    limits=Limits(max_limit=1_000_000, exact_size=20_000),
)


class PgvectorPlugin(DeclaredPlugin):
    """A PostgreSQL server with pgvector."""

    info = BaseComponentInfo(
        name="pgvector",
        display_name="PostgreSQL + pgvector",
        description="A PostgreSQL server with pgvector (0.8 or later): exact search or by a graph, and transactions.",
        version=__version__,
        homepage="https://github.com/pgvector/pgvector",
    )
    capabilities = CAPABILITIES
    backend = "codeweaver_pgvector.backend:PgvectorBackend"
    config = "codeweaver_pgvector.config:PgvectorConfig"
    dependencies = ("asyncpg",)

    @classmethod
    def advice(cls, config: Any) -> Iterable[str]:
        if config.secret and not config.is_encrypted:
            yield "password: without tls, or an sslmode that requires it, all may travel unencrypted"
        yield from config.url_advice()
        if config.lock_timeout >= config.timeout:
            yield "lock_timeout: it should be below timeout, or a held lock reads as a silent server"
