"""Settings of the Chroma backend: a folder of this machine, or a server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from codeweaver_backends.config import SERVER_SETTINGS, Configures, FolderPath, TLSServerConfig

if TYPE_CHECKING:
    from codeweaver_chroma.backend import ChromaBackend  # noqa: F401 - for type checkers, in the string below

__all__ = ["ChromaConfig"]


class ChromaConfig(TLSServerConfig, Configures["ChromaBackend"]):
    """With ``path`` an embedded database; without it the server at ``url``, or at ``host`` and ``port``."""

    backend: ClassVar[str] = "chroma"
    default_port: ClassVar[int | None] = 8_000
    alternatives: ClassVar[Mapping[str, tuple[str, ...]]] = {**TLSServerConfig.alternatives, "path": SERVER_SETTINGS}

    path: FolderPath | None = Field(
        default=None, description="The folder of an embedded database; it is created if absent"
    )
    tenant: str = Field(default="default_tenant", min_length=1, description="The tenant on the server")
    database: str = Field(default="default_database", min_length=1, description="The database on the server")
