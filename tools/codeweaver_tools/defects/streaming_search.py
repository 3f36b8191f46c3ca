"""Streams of queries: read whole, answered out of order or with gaps, and left open."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from contextlib import suppress
from typing import Any

from codeweaver_backends.errors import CollectionNotFoundError, InvalidInputError
from codeweaver_backends.types import SearchResult, VectorLike
from codeweaver_tools.defects.registry import plant
from codeweaver_tools.defects.rig import Rig
from codeweaver_tools.defects.streaming import stream_of, wrapped

Queries = AsyncIterable[VectorLike]


@plant("str-search-out-of-order", "Answers come as they are ready, and not in the order of their queries.")
class _SearchOutOfOrder(Rig):
    async def stream_search_vectors(
        self, collection_name: str, query_stream: Queries, limit: int = 10
    ) -> AsyncIterator[list[SearchResult]]:
        pair: list[list[SearchResult]] = []
        async for hits in super().stream_search_vectors(collection_name, query_stream, limit):
            pair.append(hits)
            if len(pair) == 2:  # the answer with less to read is there first
                for one in sorted(pair, key=lambda found: sum(len(repr(hit.payload)) for hit in found)):
                    yield one
                pair = []
        for one in pair:
            yield one


@plant("str-search-eager", "The whole stream of queries is read before the first answer.", side="above")
class _SearchEager(Rig):
    async def stream_search_vectors(
        self, collection_name: str, query_stream: Queries, limit: int = 10
    ) -> AsyncIterator[list[SearchResult]]:
        async for _ in super().stream_search_vectors(collection_name, stream_of(), limit):
            pass
        queries: list[Any] = []
        failure: Exception | None = None
        try:
            async for query in query_stream:
                queries.append(query)
                if len(queries) == 1_000:
                    break
        except Exception as error:  # noqa: BLE001 - raised below
            failure = error
        async for hits in super().stream_search_vectors(collection_name, stream_of(*queries), limit):
            yield hits
        if failure is not None:
            raise failure


@plant("str-search-one-behind", "An answer is given when the next query is there.", side="above")
class _SearchOneBehind(Rig):
    async def stream_search_vectors(
        self, collection_name: str, query_stream: Queries, limit: int = 10
    ) -> AsyncIterator[list[SearchResult]]:
        async for _ in super().stream_search_vectors(collection_name, stream_of(), limit):
            pass
        last: list[Any] = []
        try:
            async for query in query_stream:
                for one in last:
                    yield await self.search_vectors(collection_name, one, limit)
                last = [query]
        except Exception:
            for one in last:
                yield await self.search_vectors(collection_name, one, limit)
            raise
        for one in last:
            yield await self.search_vectors(collection_name, one, limit)


@plant("str-search-empty-skipped", "An answer without a hit is left out.", side="above")
class _SearchEmptySkipped(Rig):
    async def stream_search_vectors(self, *args: Any) -> AsyncIterator[list[SearchResult]]:
        async for hits in super().stream_search_vectors(*args):
            if hits:
                yield hits


@plant("str-search-limit-ignored", "Every query of a stream is answered with ten hits.", side="above")
class _SearchLimitIgnored(Rig):
    async def stream_search_vectors(
        self, collection_name: str, query_stream: Queries, limit: int = 10
    ) -> AsyncIterator[list[SearchResult]]:
        async for _ in super().stream_search_vectors(collection_name, stream_of(), limit):
            pass
        async for hits in super().stream_search_vectors(collection_name, query_stream, 10):
            yield hits


@plant("str-search-last-query-lost", "The last query of a stream is not answered.", side="above")
class _SearchLastLost(Rig):
    async def stream_search_vectors(self, *args: Any) -> AsyncIterator[list[SearchResult]]:
        kept: list[list[SearchResult]] = []
        async for hits in super().stream_search_vectors(*args):
            for one in kept:
                yield one
            kept = [hits]


@plant("str-search-error-skipped", "A query that is refused is left out of the answers.", side="above")
class _SearchErrorSkipped(Rig):
    async def stream_search_vectors(
        self, collection_name: str, query_stream: Queries, limit: int = 10
    ) -> AsyncIterator[list[SearchResult]]:
        async for _ in super().stream_search_vectors(collection_name, stream_of(), limit):
            pass
        async for query in query_stream:
            with suppress(InvalidInputError):
                yield await self.search_vectors(collection_name, query, limit)  # type: ignore[arg-type]


@plant("str-search-missing", "A stream of no queries to a missing collection is no error.", side="above")
class _SearchMissing(Rig):
    async def stream_search_vectors(self, collection_name: str, query_stream: Queries, limit: int = 10) -> Any:
        async def none() -> AsyncIterator[list[SearchResult]]:
            with suppress(CollectionNotFoundError):
                async for hits in super(_SearchMissing, self).stream_search_vectors(
                    collection_name, stream_of(), limit
                ):
                    yield hits
            async for query in query_stream:
                yield await self.search_vectors(collection_name, query, limit)  # type: ignore[arg-type]

        return none()


@plant("str-search-error-wrapped", "What a stream of queries raises is told as an error of the engine.", side="above")
class _SearchErrorWrapped(Rig):
    def stream_search_vectors(self, collection_name: str, query_stream: Queries, *args: Any) -> Any:
        return super().stream_search_vectors(collection_name, wrapped(query_stream), *args)


@plant("str-search-leaves-open", "Answers that are left early leave the stream of queries open.")
class _SearchLeavesOpen(Rig):
    async def stream_search_vectors(
        self, collection_name: str, query_stream: Queries, limit: int = 10
    ) -> AsyncIterator[list[SearchResult]]:
        async for _ in super().stream_search_vectors(collection_name, stream_of(), limit):
            pass
        async for query in query_stream:
            yield await self.search_vectors(collection_name, query, limit)  # type: ignore[arg-type]
