"""PostgreSQL with pgvector behind the CodeWeaver vector backend protocol."""

from typing import TYPE_CHECKING, Any

from codeweaver_pgvector.config import PgvectorConfig
from codeweaver_pgvector.plugin import PgvectorPlugin
from codeweaver_pgvector.version import __version__

if TYPE_CHECKING:
    from codeweaver_pgvector.backend import PgvectorBackend

__all__ = ["PgvectorBackend", "PgvectorConfig", "PgvectorPlugin", "__version__"]


def __getattr__(name: str) -> Any:
    # The backend imports the engine's client: only who asks for it pays for it.
    if name == "PgvectorBackend":
        return PgvectorPlugin.get_backend_class()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
