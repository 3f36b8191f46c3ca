"""Settings of the Weaviate backend."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from codeweaver_backends.config import Configures, TLSServerConfig, index_from
from codeweaver_weaviate.plugin import EXACT_SIZE

if TYPE_CHECKING:
    from codeweaver_weaviate.backend import WeaviateBackend  # noqa: F401 - named in quotes, which the linter does not read

__all__ = ["Consistency", "WeaviateConfig"]

Consistency = Literal["one", "quorum", "all"]


class WeaviateConfig(TLSServerConfig, Configures["WeaviateBackend"]):
    """A Weaviate server. It has two ports: REST for the schema, gRPC for points; both are needed.

    Without ports they are 8080 and 50051, with TLS 443 for both.
    """

    backend: ClassVar[str] = "weaviate"

    index_from: int = index_from(EXACT_SIZE)
    write_consistency: Consistency = Field(
        default="all",
        description="Of a collection with replicas: how many have a write that is acknowledged. Fewer than all take "
        "writes while a node is away, and searches may miss what was written",
    )
    read_consistency: Consistency = Field(
        default="one",
        description="Of a collection with replicas: how many compare what one of them has found, and nothing else",
    )
    grpc_host: str | None = Field(default=None, min_length=1, description="The same host as REST if absent")
    grpc_port: int | None = Field(default=None, ge=1, le=65_535, description="50051 if absent, with TLS 443")

    @field_validator("url")
    @classmethod
    def _without_path(cls, url: str | None) -> str | None:
        if url is not None and urlsplit(url).path.strip("/"):
            raise ValueError("must not have a path")
        return url

    @field_validator("grpc_host")
    @classmethod
    def _judged_grpc_host(cls, host: str | None) -> str | None:
        return None if host is None else cls._judged_host(host)

    @property
    def address(self) -> str:
        """The URL of REST, with its port."""
        address = super().address
        return address if urlsplit(address).port else f"{address}:{443 if address.startswith('https:') else 8080}"

    @property
    def grpc_address(self) -> str:
        """Host and port of gRPC."""
        host = self.grpc_host or urlsplit(self.address).hostname or ""
        return f"{f'[{host}]' if ':' in host else host}:{self.grpc_port or (443 if self.is_encrypted else 50_051)}"

    @property
    def grpc_uses_proxy(self) -> bool:
        """``uses_proxy``, of the host of gRPC."""
        if self.grpc_host is None:
            return self.uses_proxy
        return self.model_copy(update={"url": None, "host": self.grpc_host}).uses_proxy
