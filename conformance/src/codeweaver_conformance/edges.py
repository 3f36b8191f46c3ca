"""Sizes at which engines and adapters change their ways, and points, ids and filters of any such size.

What is made here is made by arithmetic, so that a program that shows a failure can name it in a line.
"""

from __future__ import annotations

from typing import Any, Final, Literal, TypeAlias, get_args

from codeweaver_backends.types import FilterCondition, Payload, PointId, SearchFilter, VectorPoint

__all__ = ["EDGES", "KINDS", "Kind", "around", "condition", "id_of", "ids", "payload_of", "points", "vector_of"]

EDGES: Final = (1, 2, 10, 32, 64, 100, 128, 256, 500, 512, 1_000, 1_024, 2_048, 4_096, 5_461, 10_000)
"""Pages, chunks and batches that engines and adapters are known to use."""

Kind: TypeAlias = Literal["int", "text", "wide", "last"]
"""Ids: small integers, texts, integers about 2^53, and those up to 2^63 − 1."""
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)


def around(*edges: int, most: int, least: int = 0) -> list[int]:
    """Each edge, one below and one above it, from ``least`` to ``most``, in order."""
    return sorted({size for edge in edges for size in (edge - 1, edge, edge + 1) if least <= size <= most})


def id_of(kind: Kind, n: int) -> PointId:
    """The id of number ``n``; ``n`` is from 0 to 99,999."""
    match kind:
        case "int":
            return n
        case "text":
            return str(n)
        case "wide":
            return 2**53 - 10 + n
        case "last":
            return 2**63 - 1 - n


def ids(kind: Kind, start: int, size: int) -> list[PointId]:
    """``size`` ids from number ``start`` on."""
    return [id_of(kind, n) for n in range(start, start + size)]


def vector_of(n: int, version: int = 0) -> list[float]:
    """A vector of three float32 numbers, never zero; some are the same for other numbers."""
    return [1 + (7 * n + version) % 89 / 8, (13 * n + 5 * version) % 83 / 8 - 5, (n % 5 - 2) / 4]


def payload_of(n: int, version: int = 0) -> Payload:
    """A payload with integers beyond 2^53, doubles of seventeen digits and instants."""
    if n % 11 == 10:
        return {}
    return {
        "n": n,
        "v": version,
        "g": n % 7,
        "wide": 2**53 - 10 + n,
        "last": 2**63 - 1 - n,
        "x": n / 7 + 0.1,
        "whole": float(n),
        "t": f"t{n % 3}",
        "list": [n % 5, n / 3, 2**53 + 1 + n],
        "when": f"2024-05-01T{n // 3600 % 24:02}:{n // 60 % 60:02}:{n % 60:02}.{n % 1000 * 7:06}Z",
    }


def points(kind: Kind, start: int, size: int, version: int = 0) -> list[VectorPoint]:
    """``size`` points from number ``start`` on."""
    return [
        VectorPoint(id_of(kind, n), vector_of(n, version), payload_of(n, version)) for n in range(start, start + size)
    ]


def condition(field: str, operator: str, value: Any) -> SearchFilter:
    """A filter of one condition."""
    return SearchFilter(must=[FilterCondition(field, operator, value)])
