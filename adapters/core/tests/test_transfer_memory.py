"""The copy itself holds a bounded number of points, however many there are: engines that store nothing show it."""

from __future__ import annotations

import asyncio
import resource
import sys
from typing import Any

from codeweaver_backends import (
    BackendCapabilities,
    CollectionInfo,
    CollectionNotFoundError,
    DistanceMetric,
    VectorPoint,
)
from codeweaver_backends.transfer import copy
from codeweaver_backends.types import ScrollPage


class Generated:
    """Points that are made when they are asked for; as a target it only counts."""

    name = "generated"
    capabilities = BackendCapabilities(supports_scan=True, supports_columnar=True)

    def __init__(self, count: int | None) -> None:
        self.count = count
        self.largest = 0

    def point(self, number: int) -> VectorPoint:
        return VectorPoint(number, [1.0, float(number), 2.0, 3.0], {"n": number, "text": f"point {number} " * 8})

    async def get_collection_info(self, name: str) -> CollectionInfo:
        if self.count is None:
            raise CollectionNotFoundError("not there")
        return CollectionInfo(name, 4, DistanceMetric.COSINE, self.count)

    async def list_collections(self) -> list[str]:
        return ["code"]

    async def create_collection(self, *args: Any, **kwargs: Any) -> None:
        self.count = 0

    async def scroll_vectors(self, name: str, *, cursor: str | None = None, limit: int = 256, **kwargs: Any) -> Any:
        start, count = int(cursor or 0), self.count or 0
        end = min(start + limit, count)
        return ScrollPage([self.point(i) for i in range(start, end)], None if end == count else str(end))

    async def get_vectors(self, name: str, ids: Any, **kwargs: Any) -> list[VectorPoint]:
        return [self.point(i) for i in ids]

    async def count_vectors(self, *args: Any) -> int:
        return self.count or 0

    async def upsert_batch(self, name: str, ids: Any, vectors: Any, payloads: Any = None) -> None:
        self.count = (self.count or 0) + len(ids)
        self.largest = max(self.largest, len(ids))

    async def _nothing(self, *args: Any, **kwargs: Any) -> Any:
        return []

    search_vectors = upsert_vectors = delete_vectors = delete_by_filter = delete_collection = health_check = _nothing


def peak() -> float:
    """MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 * (1024 if sys.platform == "darwin" else 1))


def test_memory_is_flat_at_100_000_points() -> None:
    async def scenario(count: int) -> None:
        target = Generated(None)
        report = await copy(Generated(count), target, samples=0)
        assert report.collections[0].written == count == target.count
        assert target.largest <= 1_000
        assert report.ok

    asyncio.run(scenario(10_000))
    before = peak()
    asyncio.run(scenario(100_000))
    grown = peak() - before
    print(f"100,000 points after 10,000: {grown:.1f} MiB more, {before:.0f} MiB before")  # noqa: T201
    assert grown < 16
