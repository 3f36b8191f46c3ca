"""What the pgvector backend claims."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel

from codeweaver_backends.capabilities import BackendCapabilities, Limits
from codeweaver_backends.config import check_config
from codeweaver_backends.plugins import BackendPlugin
from codeweaver_backends.types import BaseComponentInfo, DistanceMetric, ValidationResult
from codeweaver_pgvector.version import __version__

__all__ = ["CAPABILITIES", "PgvectorPlugin"]

CAPABILITIES = BackendCapabilities(
    supports_scan=True,
    supports_columnar=True,
    supports_transactions=True,
    supports_payload_indexes=True,
    max_vector_dimension=16_000,
    supported_distance_metrics=list(DistanceMetric),
    payload_index_types=["keyword", "integer", "float", "bool", "datetime"],
    limits=Limits(max_limit=1_000_000, exact_size=1_000_000),
)


class PgvectorPlugin(BackendPlugin):
    """A PostgreSQL server with pgvector."""

    @classmethod
    def get_plugin_name(cls) -> str:
        return "pgvector"

    @classmethod
    def get_capabilities(cls) -> BackendCapabilities:
        return CAPABILITIES

    @classmethod
    def get_component_info(cls) -> BaseComponentInfo:
        return BaseComponentInfo(
            name="pgvector",
            display_name="PostgreSQL + pgvector",
            description="A PostgreSQL server with pgvector (0.8 or later): exact search, and transactions.",
            version=__version__,
            homepage="https://github.com/pgvector/pgvector",
        )

    @classmethod
    def validate_config(cls, config: Any) -> ValidationResult:
        config_class = cls.get_config_class()
        return check_config(config_class, config, _advice)

    @classmethod
    def get_dependencies(cls) -> list[str]:
        return ["asyncpg"]

    @classmethod
    def get_backend_class(cls) -> type:
        from codeweaver_pgvector.backend import PgvectorBackend

        return PgvectorBackend

    @classmethod
    def get_config_class(cls) -> type[BaseModel]:
        from codeweaver_pgvector.config import PgvectorConfig

        return PgvectorConfig


def _advice(config: Any) -> Iterable[str]:
    if config.secret and not (config.tls or "sslmode=" in (config.url or "")):
        yield "password: without tls what is asked and answered travels unencrypted"
    if config.lock_timeout >= config.timeout:
        yield "lock_timeout: it should be below timeout, or a held lock reads as a silent server"
