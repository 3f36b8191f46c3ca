"""Qdrant behind the CodeWeaver vector backend protocol: a server by gRPC or REST, and Qdrant Edge in process."""

from typing import TYPE_CHECKING, Any

from codeweaver_qdrant.config import QdrantConfig, QdrantEdgeConfig
from codeweaver_qdrant.plugin import QdrantEdgePlugin, QdrantPlugin
from codeweaver_qdrant.version import __version__

if TYPE_CHECKING:
    from codeweaver_qdrant.edge import QdrantEdgeBackend
    from codeweaver_qdrant.server import QdrantBackend

__all__ = [
    "QdrantBackend",
    "QdrantConfig",
    "QdrantEdgeBackend",
    "QdrantEdgeConfig",
    "QdrantEdgePlugin",
    "QdrantPlugin",
    "__version__",
]


def __getattr__(name: str) -> Any:
    # The backends import the engines' clients: only who asks for one pays for it.
    if name == "QdrantBackend":
        return QdrantPlugin.get_backend_class()
    if name == "QdrantEdgeBackend":
        return QdrantEdgePlugin.get_backend_class()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
