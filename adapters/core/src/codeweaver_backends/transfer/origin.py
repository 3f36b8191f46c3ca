"""What points are read from, page by page: a collection of a backend here, a file in ``files.py``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import orjson

from codeweaver_backends.capabilities import BackendCapabilities
from codeweaver_backends.protocols import ColumnarBackend, HybridSearchBackend, ScannableBackend, implements
from codeweaver_backends.types import CollectionInfo, PointId, VectorPoint

__all__ = ["BackendOrigin", "Origin", "PointPage", "capabilities_of", "leave_out_sparse", "page_size", "payload_bytes"]

_FIRST_PAGE: Final = 64
_LARGEST_PAGE: Final = 1_000
_PAGE_BYTES: Final = 8_000_000
"""Of vectors and payloads in one page; in memory Python makes several times as much of it."""


@dataclass(frozen=True, slots=True)
class PointPage:
    """Some points, and where the next ones begin; ``None`` after the last."""

    points: list[VectorPoint]
    cursor: str | None


class Origin(Protocol):
    """Points that are read in an order that stays while nothing is written."""

    name: str
    """Of the collection, as it is told to people."""
    left_out: int
    """Points of the last ``pages`` whose sparse vector was left out, as asked."""

    async def describe(self) -> CollectionInfo:
        """Dimension, metric and exact count."""
        ...

    def pages(self, cursor: str | None = None, *, with_vectors: bool = True) -> AsyncIterator[PointPage]:
        """Pages from there on, at least one. Raises ``InvalidOptionError`` for a cursor that is no longer good."""
        ...


async def capabilities_of(backend: Any) -> BackendCapabilities:
    """What the connected backend gives; of one that does not tell, what its methods say."""
    ask = getattr(backend, "get_capabilities", None)
    told = await ask() if ask is not None else getattr(backend, "capabilities", None)
    if not isinstance(told, BackendCapabilities):
        told = BackendCapabilities(supports_scan=True, supports_columnar=True)
    return told.model_copy(
        update={
            "supports_scan": told.supports_scan and implements(backend, ScannableBackend),
            "supports_columnar": told.supports_columnar and implements(backend, ColumnarBackend),
            "supports_hybrid_search": told.supports_hybrid_search and implements(backend, HybridSearchBackend),
        }
    )


def payload_bytes(payload: Any) -> int:
    """The length of a payload as compact JSON."""
    return len(orjson.dumps(payload)) if payload else 2


def page_size(points: Sequence[VectorPoint], dimension: int) -> int:
    """How many points like these fit a page."""
    if not points:
        return _LARGEST_PAGE
    mean = sum(payload_bytes(point.payload) for point in points) / len(points) + 4 * dimension
    return max(1, min(_LARGEST_PAGE, int(_PAGE_BYTES / mean)))


def leave_out_sparse(points: list[VectorPoint]) -> int:
    """Take the points' sparse vectors away. How many had one."""
    count = 0
    for place, point in enumerate(points):
        if point.sparse_vector:
            points[place] = replace(point, sparse_vector=None)
            count += 1
    return count


class BackendOrigin:
    """One collection of a backend that can be scanned; with ``sparse_vectors=False`` as if its points had none."""

    def __init__(self, backend: Any, name: str, *, sparse_vectors: bool = True) -> None:
        self.name = name
        self.backend = backend
        self.left_out = 0
        self._sparse_vectors = sparse_vectors
        self._dimension = 1

    async def describe(self) -> CollectionInfo:
        info: CollectionInfo = await self.backend.get_collection_info(self.name)
        self._dimension = info.dimension
        return info

    async def pages(self, cursor: str | None = None, *, with_vectors: bool = True) -> AsyncIterator[PointPage]:
        size = min(_FIRST_PAGE, max(1, _PAGE_BYTES // (4 * self._dimension)))
        self.left_out = 0
        while True:
            page = await self.backend.scroll_vectors(self.name, cursor=cursor, limit=size, with_vectors=with_vectors)
            cursor = page.cursor
            if not self._sparse_vectors:
                self.left_out += leave_out_sparse(page.points)
            yield PointPage(page.points, cursor)
            if cursor is None:
                return
            # Never more than twice as many as before: the next payloads may be larger than these.
            size = min(2 * size, page_size(page.points, self._dimension))

    async def holds(self, ids: Sequence[PointId]) -> set[PointId]:
        """Which of these ids are there."""
        found = await self.backend.get_vectors(self.name, list(ids), with_payload=False, with_vectors=False)
        return {point.id for point in found}
