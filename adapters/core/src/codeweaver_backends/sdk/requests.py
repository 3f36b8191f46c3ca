"""Requests: a call's arguments, judged once, in the form an adapter uses as it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from codeweaver_backends.sdk.filters.tree import Node
from codeweaver_backends.types import DistanceMetric, FloatMatrix, PointId

__all__ = ["Batch", "CollectionSettings", "Page", "Query", "WithPayload"]

WithPayload = bool | tuple[str, ...]
"""All of the payload, none of it, or these top-level keys."""


@dataclass(frozen=True, slots=True)
class CollectionSettings:
    """What was decided when a collection was created, and never changes."""

    name: str
    dimension: int
    metric: DistanceMetric
    payload_indexes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Batch:
    """Points ready to be written: validated, of equal ids the last kept. All sequences are of one length."""

    ids: list[PointId]
    vectors: FloatMatrix
    """float32, C-contiguous, shape ``(len(ids), dimension)``."""
    payloads: list[Mapping[str, Any]]
    """As given (``{}`` for ``None``): read them, never keep or change them."""
    documents: list[bytes]
    """The payloads as compact UTF-8 JSON: the exact copy."""

    def __len__(self) -> int:
        return len(self.ids)

    def chunks(self, size: int) -> Iterable[Batch]:
        """This batch in pieces of at most ``size`` points."""
        for start in range(0, len(self), size):
            part = slice(start, start + size)
            yield Batch(self.ids[part], self.vectors[part], self.payloads[part], self.documents[part])


@dataclass(frozen=True, slots=True)
class Query:
    """A search ready to be translated."""

    vector: FloatMatrix
    """float32, shape ``(dimension,)``."""
    limit: int
    node: Node
    threshold: float | None
    with_payload: WithPayload
    with_vectors: bool


@dataclass(frozen=True, slots=True)
class Page:
    """A scroll ready to be translated."""

    cursor: str | None
    """Where the last page ended, as the adapter spelt it: a foreign one must raise ``InvalidOptionError``."""
    limit: int
    node: Node
    with_payload: WithPayload
    with_vectors: bool
