"""Settings of the two backends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from codeweaver_backends.config import Configures, EmbeddedConfig, TLSServerConfig, index_from
from codeweaver_qdrant.plugin import EXACT_SIZE

if TYPE_CHECKING:
    from codeweaver_qdrant.edge import QdrantEdgeBackend  # noqa: F401 - named in quotes, which the linter does not read
    from codeweaver_qdrant.server import QdrantBackend  # noqa: F401

__all__ = ["QdrantConfig", "QdrantEdgeConfig", "ReadConsistency", "Transport", "WriteOrdering"]

Transport = Literal["auto", "grpc", "rest"]
WriteOrdering = Literal["weak", "medium", "strong"]
ReadConsistency = Annotated[int, Field(ge=1)] | Literal["majority", "quorum", "all"]


class QdrantConfig(TLSServerConfig, Configures["QdrantBackend"]):
    """A Qdrant server. Without ``port`` it is looked for at 6333 (REST) and 6334 (gRPC)."""

    backend: ClassVar[str] = "qdrant"
    default_port: ClassVar[int | None] = 6333

    index_from: int = index_from(EXACT_SIZE)
    transport: Transport = Field(
        default="auto", description="auto: gRPC where its port is known and answers, else REST; or one of the two"
    )
    grpc_port: int | None = Field(
        default=None, ge=1, le=65_535, description="If absent, 6334 where the REST port is 6333 too, else unknown"
    )
    write_ordering: WriteOrdering = Field(
        default="medium",
        description="Of a collection with replicas: who puts writes of one point in order. medium: a replica that is "
        "up; strong: always the same, which must be up; weak: nobody, so replicas may keep different points",
    )
    read_consistency: ReadConsistency = Field(
        default=1,
        description="Of a collection with replicas: how many a read asks; more than one show what all of them, or "
        "with majority most of them, have, and a read fails while too few are up",
    )


class QdrantEdgeConfig(EmbeddedConfig, Configures["QdrantEdgeBackend"]):
    """Qdrant Edge: collections are folders below ``path``, which one process at a time may have open."""

    backend: ClassVar[str] = "qdrant-edge"
