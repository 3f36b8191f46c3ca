"""What the backend claims. Nothing of the engine is imported here."""

from __future__ import annotations

from typing import Final

from codeweaver_backends import BackendCapabilities, DistanceMetric, Limits
from codeweaver_backends.sdk import BaseComponentInfo, DeclaredPlugin

__all__ = ["CAPABILITIES", "SqliteVecPlugin"]

CAPABILITIES: Final = BackendCapabilities(
    supports_scan=True,
    supports_columnar=True,
    supports_streaming=True,
    exact_search=True,
    max_vector_dimension=4_096,
    supported_distance_metrics=[DistanceMetric.COSINE, DistanceMetric.EUCLIDEAN, DistanceMetric.MANHATTAN],
    limits=Limits(max_limit=100_000, exact_size=100_000),
)


class SqliteVecPlugin(DeclaredPlugin):
    """A file of this machine, searched by reading it."""

    info = BaseComponentInfo(name="sqlite-vec", display_name="sqlite-vec", description="Vectors in an SQLite file.")
    capabilities = CAPABILITIES
    backend = "codeweaver_sqlite_vec.backend:SqliteVecBackend"
    config = "codeweaver_sqlite_vec.config:SqliteVecConfig"
    dependencies = ("apsw", "sqlite-vec")
