"""Settings of the Weaviate backend."""

from __future__ import annotations

from typing import ClassVar, NamedTuple
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from codeweaver_backends.config import ServerConfig

__all__ = ["Address", "WeaviateConfig"]


class Address(NamedTuple):
    """Where the two ports of a server are."""

    rest: str
    """``http(s)://host:port``"""
    grpc: str
    """``host:port``"""
    tls: bool


class WeaviateConfig(ServerConfig):
    """A Weaviate server. It has two ports: REST for the schema, gRPC for points; both are needed.

    Without ports they are 8080 and 50051, with TLS 443 for both.
    """

    backend: ClassVar[str] = "weaviate"

    grpc_host: str | None = Field(default=None, min_length=1, description="The same host as REST if absent")
    grpc_port: int | None = Field(default=None, ge=1, le=65_535, description="50051 if absent, with TLS 443")

    @model_validator(mode="after")
    def _check_url(self) -> WeaviateConfig:
        if self.url is not None:
            parts = urlsplit(self.url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError("url must be http(s)://host:port")
            if parts.path.strip("/") or parts.query or parts.fragment:
                raise ValueError("url must not have a path")
        return self

    @property
    def address(self) -> Address:
        """The ports, from ``url`` or from ``host``, ``port`` and ``tls``."""
        host, port, tls = self.host, self.port, self.tls
        if self.url is not None:
            parts = urlsplit(self.url)
            host, port, tls = parts.hostname or "", parts.port, parts.scheme == "https"
        rest = f"{'https' if tls else 'http'}://{_bracketed(host)}:{port or (443 if tls else 8080)}"
        grpc_port = self.grpc_port or (443 if tls else 50_051)
        return Address(rest, f"{_bracketed(self.grpc_host or host)}:{grpc_port}", tls)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
