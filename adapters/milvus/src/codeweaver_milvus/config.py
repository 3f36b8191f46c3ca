"""Settings of the Milvus backend: a file of this machine, or a server."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Final
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from codeweaver_backends.config import ServerConfig

__all__ = ["DEFAULT_PORT", "MilvusConfig"]

DEFAULT_PORT: Final = 19_530


class MilvusConfig(ServerConfig):
    """With ``path`` Milvus Lite in this process; without it the server at ``url``, or at ``host`` and ``port``."""

    backend: ClassVar[str] = "milvus"

    path: Path | None = Field(
        default=None, description="A Milvus Lite database, a name that ends in .db; it is created if absent"
    )
    database: str = Field(default="", description="The database on the server; its default one if empty")

    @field_validator("path")
    @classmethod
    def _is_database(cls, path: Path | None) -> Path | None:
        if path is not None and path.suffix != ".db":
            raise ValueError("the name of a Milvus Lite database must end in .db")
        return path

    @field_validator("url")
    @classmethod
    def _has_no_secret(cls, url: str | None) -> str | None:
        parts = urlsplit(url or "http://localhost")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("the url must be of the form http(s)://host:port")
        if parts.username or parts.password:
            raise ValueError("the url must hold no credentials; give them as api_key: a token, or user:password")
        return url

    @model_validator(mode="after")
    def _one_engine(self) -> MilvusConfig:
        if self.path is not None and self.url is not None:
            raise ValueError("only one of path and url can be set")
        return self

    @property
    def address(self) -> str:
        """The server's URL."""
        if self.url is None:
            return f"{'https' if self.tls else 'http'}://{self.host}:{self.port or DEFAULT_PORT}"
        return self.url
