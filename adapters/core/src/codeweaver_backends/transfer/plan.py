"""What a target cannot hold, found before anything is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from codeweaver_backends.capabilities import BackendCapabilities, Limits
from codeweaver_backends.transfer.origin import Origin, payload_bytes
from codeweaver_backends.transfer.report import OnProgress, Progress
from codeweaver_backends.types import CollectionInfo, PointId

__all__ = ["Plan", "check_points", "make_plan", "no_sparse_vectors", "payload_depth"]


@dataclass(slots=True)
class Plan:
    """How a collection can be created on the target."""

    info: CollectionInfo
    options: dict[str, Any] = field(default_factory=dict)
    """Of ``create_collection``."""
    sparse_index: dict[str, Any] | None = None
    """The arguments of ``create_sparse_index``, where the target is to have one."""
    obstacles: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def make_plan(info: CollectionInfo, target: BackendCapabilities) -> Plan:
    """Hold dimension, metric and indexes against what the target gives."""
    plan = Plan(info)
    if info.dimension > target.max_vector_dimension:
        plan.obstacles.append(
            f"{info.name}: the dimension {info.dimension} is more than the target's {target.max_vector_dimension}"
        )
    if info.distance_metric not in target.supported_distance_metrics:
        given = ", ".join(one.value for one in target.supported_distance_metrics)
        plan.obstacles.append(
            f"{info.name}: the metric {info.distance_metric.value} is not among the target's ({given})"
        )
    indexes = _indexes(info.payload_indexes, target)
    if indexes:
        plan.options["payload_indexes"] = indexes
    if left := sorted(info.payload_indexes.keys() - indexes.keys()):
        plan.notes.append(
            f"payload indexes that the target does not offer, so that filters may be slower: {', '.join(left)}"
        )

    _plan_indexes(plan, target)
    return plan


def _plan_indexes(plan: Plan, target: BackendCapabilities) -> None:
    """What answers searches: over the vectors, and over the payloads' texts."""
    info = plan.info
    kind = info.vector_index.get("kind") if isinstance(info.vector_index, dict) else None
    if kind is not None and kind not in target.index_kinds:
        offered = ", ".join(target.index_kinds) or "none"
        plan.notes.append(f"the vector index ({kind}) is not made: the target offers {offered}")
    elif target.index_kinds and info.vector_index != "auto":  # which is what a target does unasked
        plan.options["vector_index"] = info.vector_index
    if info.sparse_index is not None:
        if target.supports_hybrid_search:
            plan.sparse_index = info.sparse_index
        else:
            plan.notes.append("the sparse index is not made: the target has no hybrid search")


def _indexes(wanted: Mapping[str, str], target: BackendCapabilities) -> dict[str, str]:
    if not target.supports_payload_indexes:
        return {}
    return {name: kind for name, kind in wanted.items() if kind in target.payload_index_types}


async def check_points(
    origin: Origin, plan: Plan, limits: Limits, progress: OnProgress, *, refuse_sparse: bool = False
) -> None:
    """Read all payloads, and add the first of each limit that the target would refuse.

    With ``refuse_sparse`` the target takes no sparse vectors: then the first point that has one is an obstacle.
    """
    done, seen = 0, set[str]()
    async for page in origin.pages(with_vectors=refuse_sparse):
        for point in page.points:
            if refuse_sparse and point.sparse_vector and "sparse" not in seen:
                seen.add("sparse")
                plan.obstacles.append(no_sparse_vectors(origin.name, point.id))
            size, depth = payload_bytes(point.payload), payload_depth(point.payload or {})
            for what, found, most in (
                ("max_payload_bytes", size, limits.max_payload_bytes),
                ("max_payload_depth", depth, limits.max_payload_depth),
            ):
                if found > most and what not in seen:
                    seen.add(what)
                    plan.obstacles.append(
                        f"{origin.name}: the payload of {point.id!r} has {what} {found:,}, and the target {most:,}"
                    )
        done += len(page.points)
        progress(Progress("examine", origin.name, done, plan.info.vector_count))


def no_sparse_vectors(collection: str, point_id: PointId) -> str:
    """The obstacle of a target without hybrid search."""
    return (
        f"{collection}: the point {point_id!r} has a sparse vector, and the target takes none (no hybrid search);"
        " --without-sparse-vectors (in code: sparse_vectors=False) leaves them out"
    )


def payload_depth(payload: Any) -> int:
    """Nested containers, the outermost counted as 1."""
    deepest, open_ones = 0, [(payload, 1)]
    while open_ones:
        value, depth = open_ones.pop()
        if isinstance(value, dict | list | tuple):
            deepest = max(deepest, depth)
            open_ones += [(one, depth + 1) for one in (value.values() if isinstance(value, dict) else value)]
    return deepest
