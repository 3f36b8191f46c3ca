"""LanceDB behind the CodeWeaver backend protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codeweaver_lancedb.config import LanceDBConfig
from codeweaver_lancedb.plugin import LanceDBPlugin
from codeweaver_lancedb.version import __version__

if TYPE_CHECKING:
    from codeweaver_lancedb.backend import LanceDBBackend

__all__ = ["LanceDBBackend", "LanceDBConfig", "LanceDBPlugin", "__version__"]


def __getattr__(name: str) -> object:
    """The backend needs Arrow, which takes its time to import."""
    if name == "LanceDBBackend":
        return LanceDBPlugin.get_backend_class()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
