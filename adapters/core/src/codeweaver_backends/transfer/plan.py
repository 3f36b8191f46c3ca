"""What a target cannot hold, found before anything is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from codeweaver_backends.capabilities import BackendCapabilities, Limits
from codeweaver_backends.transfer.origin import Origin, payload_bytes
from codeweaver_backends.transfer.report import OnProgress, Progress
from codeweaver_backends.types import CollectionInfo

__all__ = ["Plan", "check_payloads", "make_plan", "payload_depth"]


@dataclass(slots=True)
class Plan:
    """How a collection can be created on the target."""

    info: CollectionInfo
    options: dict[str, Any] = field(default_factory=dict)
    """Of ``create_collection``."""
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
    return plan


def _indexes(wanted: Mapping[str, str], target: BackendCapabilities) -> dict[str, str]:
    if not target.supports_payload_indexes:
        return {}
    return {name: kind for name, kind in wanted.items() if kind in target.payload_index_types}


async def check_payloads(origin: Origin, plan: Plan, limits: Limits, progress: OnProgress) -> None:
    """Read all payloads, and add the first of each limit that the target would refuse."""
    done, seen = 0, set[str]()
    async for page in origin.pages(with_vectors=False):
        for point in page.points:
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


def payload_depth(payload: Any) -> int:
    """Nested containers, the outermost counted as 1."""
    deepest, open_ones = 0, [(payload, 1)]
    while open_ones:
        value, depth = open_ones.pop()
        if isinstance(value, dict | list | tuple):
            deepest = max(deepest, depth)
            open_ones += [(one, depth + 1) for one in (value.values() if isinstance(value, dict) else value)]
    return deepest
