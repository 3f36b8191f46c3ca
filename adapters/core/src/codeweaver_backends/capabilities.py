"""What a backend claims: one strict model, advertised and enforced.

What is not claimed is refused before a side effect; what is claimed is tested by the kit; what works but is not claimed
is reported. The plugin's class method states the upper bound, a connected instance what its server gives.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveInt

from codeweaver_backends.types import DistanceMetric

__all__ = ["BackendCapabilities", "BaseCapabilities", "Limits"]


class Limits(BaseModel):
    """The numbers behind the claims. The floors are the contract's: no backend may declare less."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_limit: int = Field(default=10_000, ge=1_000)
    """The largest ``limit`` of a search."""
    exact_size: int = Field(default=1_000, ge=1_000)
    """Up to this many points a search is exact. Beyond it an index may answer, with ``index_recall``."""
    max_filter_depth: int = Field(default=32, ge=8)
    """Nested filters, the outermost counted as 1."""
    max_filter_conditions: int = Field(default=1_024, ge=64)
    """Conditions in one filter, all levels together."""
    max_in_values: int = Field(default=4_096, ge=256)
    """Values of one ``in`` or ``nin``."""
    max_contains_length: int = Field(default=4_096, ge=256)
    """Characters of one ``contains``."""
    max_payload_bytes: int = Field(default=1_048_576, ge=16_384)
    """One payload as compact UTF-8 JSON."""
    max_payload_depth: int = Field(default=64, ge=16)
    """Nested containers in one payload."""
    visibility: NonNegativeFloat = 0.0
    """Seconds until an acknowledged write is seen by the same client's next call; 0: at once."""
    blocking: NonNegativeFloat = 1.0
    """The longest time, in seconds, that a call of ordinary size holds the event loop."""


class BaseCapabilities(BaseModel):
    """What the capabilities of any component have in common."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class BackendCapabilities(BaseCapabilities):
    """The claims of a vector backend. Every ``supports_*`` is one named thing; its docstring is the promise."""

    supports_filtering: bool = True
    """Searches take a ``search_filter``. Cannot be denied in the base profile."""
    supports_hybrid_search: bool = False
    """``HybridSearchBackend``: a dense and a sparse leg fused by the contract's formulas."""
    supports_streaming: bool = False
    """``StreamingBackend``: bounded memory, order kept."""
    supports_transactions: bool = False
    """``TransactionalBackend``: invisible until commit, exact rollback."""
    supports_scan: bool = False
    """``ScannableBackend``: get by id, scroll with a cursor, exact count and delete by filter."""
    supports_columnar: bool = False
    """``ColumnarBackend``: ids, one float32 matrix and payloads written without objects per point."""
    supports_contains: bool = True
    """The operator ``contains``: literal substring of a string, membership of a list."""
    supports_datetime_ranges: bool = True
    """Ranges compare instants with RFC 3339 strings, which without offset are of UTC."""
    supports_regex: bool = False
    """The operator ``regex`` (RE2 syntax)."""
    supports_payload_indexes: bool = False
    """``create_collection(payload_indexes={field: type})`` makes filters on that field indexed."""
    supports_multiple_instances: bool = True
    """Several backends, also of several processes, may have the same store open at once."""
    replace_is_atomic: bool = True
    """A reader never sees a point half replaced, or missing while it is replaced."""
    index_kinds: list[Literal["hnsw", "ivf"]] = []
    """``MaintainableBackend``, and what ``create_collection(vector_index={"kind": …})`` takes: beyond the exact size a
    search may be answered by an index over the vectors. Empty: every search is exact."""
    index_recall: float = Field(default=0.95, ge=0.95, le=1.0)
    """Of the ten nearest points, the share that a search by an index finds on average, with any filter."""
    exact_search: bool = False
    """``exact=True`` makes one search exact at any size."""
    search_effort: bool = False
    """``effort`` multiplies what a search by an index looks at."""
    engine_options: dict[str, Literal["boolean", "integer", "text"]] = {}
    """What ``create_collection(engine_options={name: value})`` passes on as it is, by the engine's names, with the type
    of each: how a collection is kept, never what its calls mean."""
    max_vector_dimension: PositiveInt = 4_096
    supported_distance_metrics: list[DistanceMetric] = [DistanceMetric.COSINE]
    payload_index_types: list[Literal["keyword", "integer", "float", "bool", "datetime"]] = []
    limits: Limits = Limits()

    def with_exact_size(self, points: int) -> Self:
        """The same claims, of an instance that is configured to be exact up to so many points."""
        return self.model_copy(update={"limits": self.limits.model_copy(update={"exact_size": points})})
