"""What a deployment must be able to do, and what of it a backend cannot: judged by its claims, limits and nature.

::

    # requirements.toml
    [requirements]
    points = 50_000
    metrics = ["cosine"]
    filters = ["range", "contains"]
    runs = "embedded"
    persistent = true

Nothing of a backend is known here: its plugin, or better the connected instance, states what it can do.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError

from codeweaver_backends import BackendCapabilities
from codeweaver_backends.config import describe_validation_error
from codeweaver_backends.types import DistanceMetric
from codeweaver_conformance.compare.reading import SourceError

__all__ = ["Requirements", "read_requirements", "shortcomings"]

_FILTERS: Final = {
    "equality": "supports_filtering",
    "range": "supports_filtering",
    "contains": "supports_contains",
    "datetime": "supports_datetime_ranges",
    "regex": "supports_regex",
    "indexed": "supports_payload_indexes",
}
_PROFILES: Final = {
    "hybrid": ("supports_hybrid_search", "hybrid search"),
    "transactions": ("supports_transactions", "transactions"),
    "streaming": ("supports_streaming", "streams of bounded memory"),
    "scan": ("supports_scan", "listing, counting and deleting points by filter"),
}


class Requirements(BaseModel):
    """The table ``[requirements]``. What is absent is not asked for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    points: PositiveInt | None = Field(None, description="How many there will be; as many as the data has if absent")
    dimension: PositiveInt | None = Field(None, description="Of the vectors; the data's if absent")
    metrics: tuple[DistanceMetric, ...] = Field((), description="All that are needed; the first one is measured")
    filters: tuple[Literal["equality", "range", "contains", "datetime", "regex", "indexed"], ...] = Field(
        (), description="Sorts of filters that are needed"
    )
    hybrid: bool = Field(False, description="Dense and sparse search, fused")
    transactions: bool = Field(False, description="Invisible until the commit, exact rollback")
    streaming: bool = Field(False, description="Streams of points and searches in bounded memory")
    scan: bool = Field(False, description="Points can be listed, which copying them needs too")
    runs: Literal["embedded", "server", "anywhere"] = Field("anywhere", description="In the process, or as a server")
    persistent: bool = Field(False, description="What was written is there after a restart")
    processes: PositiveInt = Field(1, description="So many have the same points open at once")
    concurrency: PositiveInt = Field(1, description="So many searches are under way at once; measured too", le=256)
    payload_bytes: PositiveInt | None = Field(None, description="Of the largest payload as JSON")
    recall: float = Field(0.95, description="At least so much of the exact answer is found", gt=0, le=1)
    p95_ms: PositiveFloat | None = Field(
        None, description="95 of 100 searches take no longer, with a filter and without"
    )
    memory_mb: PositiveFloat | None = Field(None, description="No more memory than that")
    disk_mb: PositiveFloat | None = Field(None, description="No more space than that")
    prefer: Literal["latency", "ingest", "memory", "disk"] = Field(
        "latency", description="By what those that can do it all are ranked first"
    )

    def told(self) -> dict[str, Any]:
        """What was asked for, without what was not."""
        return self.model_dump(mode="json", exclude_defaults=True)


def read_requirements(file: Path | None, options: Mapping[str, Any]) -> Requirements:
    """The file's table with the options that were given over it. Raises ``SourceError`` for what cannot be meant."""
    table: dict[str, Any] = {}
    if file is not None:
        try:
            content = tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise SourceError(f"the requirements cannot be read: {file}: {error}") from None
        table = content.get("requirements", content)
        if not isinstance(table, dict):
            raise SourceError(f"requirements of {file} must be a table")
    try:
        return Requirements(**{**table, **{name: value for name, value in options.items() if value is not None}})
    except ValidationError as error:
        told = "; ".join(describe_validation_error(error, Requirements.model_fields))
        raise SourceError(f"the requirements are invalid: {told}") from None


def shortcomings(needs: Requirements, claims: BackendCapabilities, is_server: bool, is_persistent: bool) -> list[str]:
    """Why the job cannot be done, in words; empty where nothing is known to stand against it."""
    return [
        *_of_nature(needs, claims, is_server, is_persistent),
        *_of_claims(needs, claims),
        *_of_limits(needs, claims),
    ]


def _of_nature(needs: Requirements, claims: BackendCapabilities, is_server: bool, is_persistent: bool) -> Iterator[str]:
    if needs.runs == "embedded" and is_server:
        yield "it is a server, and something that runs in the process is asked for"
    if needs.runs == "server" and not is_server:
        yield "it runs in the process, and a server is asked for"
    if needs.persistent and not is_persistent:
        yield "it keeps nothing after the process has ended"
    if needs.processes > 1:
        if not is_persistent:
            yield f"what it holds is of one process, and {needs.processes} are to share it"
        elif not claims.supports_multiple_instances:
            yield f"one process at a time may have its data open, and {needs.processes} are to share it"


def _of_claims(needs: Requirements, claims: BackendCapabilities) -> Iterator[str]:
    missing = [one for one in needs.metrics if one not in claims.supported_distance_metrics]
    if missing:
        offered = ", ".join(one.value for one in claims.supported_distance_metrics)
        yield f"it has no metric {', '.join(one.value for one in missing)} (it has {offered})"
    for sort in needs.filters:
        if not getattr(claims, _FILTERS[sort]):
            yield f"it does not claim {_FILTERS[sort]}, which filters of the sort {sort!r} need"
    for name, (claim, meaning) in _PROFILES.items():
        if getattr(needs, name) and not getattr(claims, claim):
            yield f"it does not claim {claim}: {meaning}"


def _of_limits(needs: Requirements, claims: BackendCapabilities) -> Iterator[str]:
    limits = claims.limits
    if needs.dimension is not None and needs.dimension > claims.max_vector_dimension:
        yield f"its vectors have at most {claims.max_vector_dimension:,} dimensions, not {needs.dimension:,}"
    if needs.recall == 1 and needs.points is not None and needs.points > limits.exact_size:
        yield f"it promises exact answers up to {limits.exact_size:,} points, not for {needs.points:,}"
    if needs.payload_bytes is not None and needs.payload_bytes > limits.max_payload_bytes:
        yield f"a payload has at most {limits.max_payload_bytes:,} bytes, not {needs.payload_bytes:,}"
