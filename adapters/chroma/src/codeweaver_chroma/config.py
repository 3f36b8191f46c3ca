"""Settings of the Chroma backend: a folder of this machine, or a server."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Final
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from codeweaver_backends.config import ServerConfig

__all__ = ["DEFAULT_PORT", "ChromaConfig"]

DEFAULT_PORT: Final = 8_000


class ChromaConfig(ServerConfig):
    """With ``path`` an embedded database; without it the server at ``url``, or at ``host`` and ``port``."""

    backend: ClassVar[str] = "chroma"

    path: Path | None = Field(default=None, description="The folder of an embedded database; it is created if absent")
    tenant: str = Field(default="default_tenant", min_length=1, description="The tenant on the server")
    database: str = Field(default="default_database", min_length=1, description="The database on the server")

    @field_validator("url")
    @classmethod
    def _is_address(cls, url: str | None) -> str | None:
        parts = urlsplit(url or "http://localhost")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("the url must be of the form http(s)://host:port")
        if parts.query or parts.fragment:
            raise ValueError("the url must have neither a query nor a fragment")
        return url

    @model_validator(mode="after")
    def _one_engine(self) -> ChromaConfig:
        if self.path is not None and self.url is not None:
            raise ValueError("only one of path and url can be set")
        return self

    @property
    def address(self) -> str:
        """The server's URL."""
        if self.url is None:
            host = f"[{self.host}]" if ":" in self.host and not self.host.startswith("[") else self.host
            return f"{'https' if self.tls else 'http'}://{host}:{self.port or DEFAULT_PORT}"
        return self.url.rstrip("/")
