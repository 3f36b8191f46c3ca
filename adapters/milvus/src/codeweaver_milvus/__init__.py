"""Milvus behind the CodeWeaver vector backend protocol: Milvus Lite in process, and servers by gRPC."""

from typing import TYPE_CHECKING, Any

from codeweaver_milvus.config import MilvusConfig
from codeweaver_milvus.plugin import MilvusPlugin
from codeweaver_milvus.version import __version__

if TYPE_CHECKING:
    from codeweaver_milvus.backend import MilvusBackend

__all__ = ["MilvusBackend", "MilvusConfig", "MilvusPlugin", "__version__"]


def __getattr__(name: str) -> Any:
    # The backend imports the client, which takes seconds: only who asks for it pays for it.
    if name == "MilvusBackend":
        return MilvusPlugin.get_backend_class()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
