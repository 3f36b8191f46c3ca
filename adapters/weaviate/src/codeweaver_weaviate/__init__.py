"""Weaviate behind the CodeWeaver vector backend protocol. Importing this package does not import Weaviate's client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from codeweaver_weaviate.config import WeaviateConfig
from codeweaver_weaviate.plugin import WeaviatePlugin
from codeweaver_weaviate.version import __version__

if TYPE_CHECKING:
    from codeweaver_weaviate.backend import WeaviateBackend

__all__ = ["WeaviateBackend", "WeaviateConfig", "WeaviatePlugin", "__version__"]


def __getattr__(name: str) -> Any:
    if name == "WeaviateBackend":
        from codeweaver_weaviate.backend import WeaviateBackend

        return WeaviateBackend
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
