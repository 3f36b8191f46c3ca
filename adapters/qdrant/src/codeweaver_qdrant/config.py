"""Settings of the two backends."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from codeweaver_backends.config import EmbeddedConfig, ServerConfig

__all__ = ["QdrantConfig", "QdrantEdgeConfig", "Transport"]

Transport = Literal["auto", "grpc", "rest"]


class QdrantConfig(ServerConfig):
    """A Qdrant server. Without ``port`` it is looked for at 6333 (REST) and 6334 (gRPC)."""

    backend: ClassVar[str] = "qdrant"

    transport: Transport = Field(
        default="auto", description="auto: gRPC where its port is known and answers, else REST; or one of the two"
    )
    grpc_port: int | None = Field(
        default=None, ge=1, le=65_535, description="If absent, 6334 where the REST port is 6333 too, else unknown"
    )
    location: Literal[":memory:"] | None = Field(
        default=None, description="The client's own in-process imitation instead of a server, for tests"
    )
    client: Any = Field(
        default=None, repr=False, description="An open AsyncQdrantClient to use as it is; its owner closes it"
    )

    @model_validator(mode="after")
    def _one_engine(self) -> QdrantConfig:
        if sum(one is not None for one in (self.url, self.location, self.client)) > 1:
            raise ValueError("only one of url, location and client can be set")
        return self


class QdrantEdgeConfig(EmbeddedConfig):
    """Qdrant Edge: collections are folders below ``path``, which one process at a time may have open."""

    backend: ClassVar[str] = "qdrant-edge"
