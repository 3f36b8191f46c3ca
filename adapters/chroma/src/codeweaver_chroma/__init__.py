"""Chroma behind the CodeWeaver vector backend protocol: embedded in this process, and servers by HTTP."""

from typing import TYPE_CHECKING, Any

from codeweaver_chroma.config import ChromaConfig
from codeweaver_chroma.plugin import ChromaPlugin
from codeweaver_chroma.version import __version__

if TYPE_CHECKING:
    from codeweaver_chroma.backend import ChromaBackend

__all__ = ["ChromaBackend", "ChromaConfig", "ChromaPlugin", "__version__"]


def __getattr__(name: str) -> Any:
    # The backend imports the client, which takes a second: only who asks for it pays for it.
    if name == "ChromaBackend":
        return ChromaPlugin.get_backend_class()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
