"""What users reach for, made of the protocol's calls. Nothing here is asked of an adapter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any

from codeweaver_backends.errors import InvalidOptionError
from codeweaver_backends.protocols import ScannableBackend, VectorBackend
from codeweaver_backends.sdk.calls import SEARCHES_AT_ONCE
from codeweaver_backends.types import FilterLike, PointId, SearchResult, VectorLike, VectorPoint

__all__ = ["Conveniences"]


class Conveniences:
    """Calls of every backend that extends the template."""

    async def collection_exists(self: VectorBackend, name: str) -> bool:
        """Whether there is a collection of this name."""
        return name in await self.list_collections()

    async def scan(
        self: ScannableBackend,
        collection_name: str,
        search_filter: FilterLike | None = None,
        *,
        page_size: int = 256,
        with_payload: bool | Sequence[str] = True,
        with_vectors: bool = False,
    ) -> AsyncIterator[VectorPoint]:
        """Every point that matches, page by page: ``async for point in backend.scan("docs"): …``."""
        cursor: str | None = None
        while True:
            page = await self.scroll_vectors(
                collection_name,
                cursor=cursor,
                limit=page_size,
                search_filter=search_filter,
                with_payload=with_payload,
                with_vectors=with_vectors,
            )
            for point in page.points:
                yield point
            cursor = page.cursor
            if cursor is None:
                return

    async def search_batch(
        self: VectorBackend,
        collection_name: str,
        query_vectors: Iterable[VectorLike],
        limit: int = 10,
        search_filter: FilterLike | None = None,
        score_threshold: float | None = None,
        **kwargs: Any,
    ) -> list[list[SearchResult]]:
        """One list of results per query vector (or row of a matrix), in their order. Fails as a whole if one fails."""
        places = asyncio.Semaphore(SEARCHES_AT_ONCE)

        async def search(vector: Any) -> list[SearchResult]:
            async with places:
                given: Any = (collection_name, vector, limit, search_filter, score_threshold)
                return await self.search_vectors(*given, **kwargs)

        failed: BaseException | None = None
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(search(vector)) for vector in query_vectors]
        except BaseExceptionGroup as failures:
            failed = failures.exceptions[0]
        if failed is not None:
            raise failed  # not in the handler: "from None" would take the engine's error from it
        return [task.result() for task in tasks]

    async def set_payload(
        self: ScannableBackend, collection_name: str, ids: Sequence[PointId], payload: Mapping[str, Any]
    ) -> int:
        """Set these top-level keys of the points' payloads, keep all else of them; tells how many points there are.

        Unknown ids are left out. It reads the points and writes them again: a concurrent write of the same point may be
        lost, so give a point one writer, or do it in a transaction where the backend has them.
        """
        if not isinstance(payload, Mapping):
            raise InvalidOptionError(f"payload must be a dict, not a {type(payload).__name__}")
        points = await self.get_vectors(collection_name, ids, with_vectors=True)
        for point in points:
            point.payload = {**(point.payload or {}), **payload}
        await self.upsert_vectors(collection_name, points)
        return len(points)
