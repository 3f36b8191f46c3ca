"""Requests: a call's arguments, judged once, in the form an adapter uses as it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np
import orjson

from codeweaver_backends.errors import UnsupportedError
from codeweaver_backends.sdk.filters.tree import Always, Node
from codeweaver_backends.sdk.hybrid.vectors import SparseRow, SparseRows
from codeweaver_backends.sdk.vector_index import VectorIndex
from codeweaver_backends.types import DistanceMetric, FloatMatrix, HybridStrategy, Payload, PointId

__all__ = [
    "Batch",
    "CollectionSettings",
    "HybridQuery",
    "Page",
    "Projection",
    "Query",
    "Slot",
    "SparseQuery",
    "WithPayload",
]

WithPayload = bool | tuple[str, ...]
"""All of the payload, none of it, or these top-level keys."""


@dataclass(frozen=True, slots=True)
class CollectionSettings:
    """What was decided when a collection was created, and never changes."""

    name: str
    dimension: int
    metric: DistanceMetric
    payload_indexes: Mapping[str, str] = field(default_factory=dict)
    vector_index: VectorIndex | None = None
    """``None``: the collection was made without the option, and is exact until ``optimize_collection``."""
    engine_options: Mapping[str, Any] = field(default_factory=dict)
    """The engine's own, of those that are claimed."""

    def to_json(self, layout: int, **own: Any) -> str:
        """The settings as an adapter stores them with a collection.

        ``layout`` counts the adapter's changes of what it stores; ``own`` is what else it wants to know again.
        """
        stored = {
            "layout": layout,
            "dimension": self.dimension,
            "metric": self.metric.value,
            "payload_indexes": list(self.payload_indexes.items()),
            **own,
        }
        if self.vector_index is not None:
            stored["vector_index"] = self.vector_index.option
        if self.engine_options:
            stored["engine_options"] = dict(self.engine_options)
        return orjson.dumps(stored).decode()

    @classmethod
    def from_json(
        cls, name: str, text: str | bytes | None, layout: int
    ) -> tuple[CollectionSettings, dict[str, Any]] | None:
        """What ``to_json`` was given: the settings and ``own``. ``None`` for what it never made: another's collection.

        Raises ``UnsupportedError`` for a layout that this version of the adapter does not know.
        """
        try:
            stored = dict(orjson.loads(text or "null"))
            found = int(stored.pop("layout"))
        except (TypeError, ValueError, KeyError):
            return None
        if found != layout:
            made, cure = (
                ("a newer version", "upgrade this adapter to open it")
                if found > layout
                else ("an older version", "export it with the version that made it, and import it again")
            )
            raise UnsupportedError(
                f"the collection {name!r} has layout {found}, of {made}; this one knows layout {layout}: {cure}",
                capability="layout",
            )
        dimension, metric = int(stored.pop("dimension")), DistanceMetric(stored.pop("metric"))
        payload_indexes, option = dict(stored.pop("payload_indexes")), stored.pop("vector_index", None)
        vector_index = None if option is None else VectorIndex.from_option(option)
        engine_options = dict(stored.pop("engine_options", {}))
        return cls(name, dimension, metric, payload_indexes, vector_index, engine_options), stored


class Slot(Enum):
    """Which of a point's two sparse vectors is meant."""

    SPARSE = "sparse"
    """The caller's own: ``VectorPoint.sparse_vector``."""
    TEXT = "text"
    """What the collection's sparse index makes of the payload's text."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Points ready to be written: validated, of equal ids the last kept. All sequences are of one length."""

    ids: list[PointId]
    vectors: FloatMatrix
    """float32, C-contiguous, shape ``(len(ids), dimension)``."""
    payloads: list[Mapping[str, Any]]
    """As given (``{}`` for ``None``): read them, never keep or change them."""
    payload_json: list[bytes]
    """The payloads as compact UTF-8 JSON: the exact copy."""

    sparse: SparseRows | None = None
    """The callers' sparse vectors, a row per point, empty where there is none; ``None``: no point has one."""
    text: SparseRows | None = None
    """The same of the points' texts; ``None`` where the collection has no sparse index."""

    def __len__(self) -> int:
        return len(self.ids)

    def slot(self, slot: Slot) -> SparseRows | None:
        """The column of a slot."""
        return self.sparse if slot is Slot.SPARSE else self.text

    def take(self, rows: Sequence[int]) -> Batch:
        """Some of the points, in the order of ``rows``."""
        return Batch(
            [self.ids[row] for row in rows],
            self.vectors[list(rows)],
            [self.payloads[row] for row in rows],
            [self.payload_json[row] for row in rows],
            None if self.sparse is None else self.sparse.take(rows),
            None if self.text is None else self.text.take(rows),
        )

    def slice(self, start: int, stop: int) -> Batch:
        """The points of ``start`` to ``stop``; the vectors are a view, nothing is copied."""
        if start == 0 and stop >= len(self):
            return self
        part = slice(start, stop)
        return Batch(
            self.ids[part],
            self.vectors[part],
            self.payloads[part],
            self.payload_json[part],
            None if self.sparse is None else self.sparse.part(start, stop),
            None if self.text is None else self.text.part(start, stop),
        )

    def split(self, points: int, size: int | None = None, *, json_weight: float = 1.0) -> Iterator[Batch]:
        """The batch in parts of at most ``points`` points and about ``size`` bytes, each of one point at least.

        A point weighs 4 bytes a dimension, 8 an entry of its sparse vectors, and ``json_weight`` times its payload's
        JSON: engines store it repeatedly.
        """
        if len(self) <= points and size is None:
            if len(self):
                yield self
            return
        vector = 4 * self.vectors.shape[1]
        weights = np.fromiter(map(len, self.payload_json), np.float64, len(self)) * json_weight + vector
        for column in (self.sparse, self.text):
            if column is not None:
                weights += 8 * np.diff(column.offsets)
        ends = np.cumsum(weights)
        start = 0
        while start < len(self):
            stop = min(start + points, len(self))
            if size is not None:
                before = ends[start - 1] if start else 0.0
                stop = min(stop, max(start + 1, int(np.searchsorted(ends, before + size, "right"))))
            yield self.slice(start, stop)
            start = stop


@dataclass(frozen=True, slots=True)
class Projection:
    """What of each point is wanted beside its id."""

    payload: WithPayload = True
    vectors: bool = False

    def payload_of(self, payload_json: bytes | str | None) -> Payload | None:
        """The wanted part of a stored payload; ``None`` where none of it is wanted, and nothing need be fetched."""
        if self.payload is False or payload_json is None:
            return None
        payload: Payload = orjson.loads(payload_json)
        if self.payload is True:
            return payload
        return {key: payload[key] for key in self.payload if key in payload}


@dataclass(frozen=True, slots=True)
class Query:
    """A search ready to be translated."""

    vector: FloatMatrix
    """float32, shape ``(dimension,)``."""
    limit: int
    filter: Node
    threshold: float | None
    projection: Projection
    exact: bool = False
    """Whether every vector that matches is to be read."""
    effort: float = 1.0
    """By how much to multiply what a search by an index looks at; 1 or more."""

    @property
    def is_filtered(self) -> bool:
        """Whether some points may not match."""
        return not isinstance(self.filter, Always)

    def passes(self, score: float) -> bool:
        """Whether a score reaches the threshold."""
        return self.threshold is None or score >= self.threshold


@dataclass(frozen=True, slots=True)
class SparseQuery:
    """A search of one slot ready to be translated: who shares a term, by the dot product."""

    slot: Slot
    vector: SparseRow
    """Not empty."""
    limit: int
    filter: Node


@dataclass(frozen=True, slots=True)
class HybridQuery:
    """A dense and a sparse search to be fused."""

    vector: FloatMatrix
    """float32, shape ``(dimension,)``."""
    slot: Slot
    sparse: SparseRow
    """Empty where the query has no term: then there is no sparse leg."""
    limit: int
    candidates: int
    """The points of each leg's pool, at least ``limit``."""
    strategy: HybridStrategy
    alpha: float
    """The weight of the dense leg, 0 to 1."""
    filter: Node
    projection: Projection
    exact: bool = False
    """Of the dense leg, as ``effort``: see ``Query``."""
    effort: float = 1.0

    def dense_leg(self, limit: int) -> Query:
        """The dense search, for ids and scores only."""
        return Query(self.vector, limit, self.filter, None, Projection(payload=False), self.exact, self.effort)

    def sparse_leg(self, limit: int) -> SparseQuery:
        """The sparse search."""
        return SparseQuery(self.slot, self.sparse, limit, self.filter)


@dataclass(frozen=True, slots=True)
class Page:
    """A scroll ready to be translated."""

    cursor: str | None
    """Where the last page ended, as the adapter spelt it: a foreign one must raise ``InvalidOptionError``."""
    limit: int
    filter: Node
    projection: Projection
