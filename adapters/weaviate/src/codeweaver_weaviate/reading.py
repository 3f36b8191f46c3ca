"""Searching, fetching, scrolling and counting.

After a crash the server's indexes may hold entries of objects that it lost. They are never returned, but they take
places among the first ``limit``, and are counted where only an index is asked. Both are seen and made good here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from grpc.aio import AioRpcError

from codeweaver_backends.filters import Always, Node
from codeweaver_backends.types import ScrollPage, SearchResult
from codeweaver_backends.validate import Page, Query, WithPayload
from codeweaver_weaviate import convert
from codeweaver_weaviate.client import AggregateRequest, Connection, Filters, SearchRequest
from codeweaver_weaviate.client import SearchResult as Found
from codeweaver_weaviate.convert import Collection
from codeweaver_weaviate.errors import is_too_large
from codeweaver_weaviate.facts import window_token
from codeweaver_weaviate.filters import everything, ids_filter, look_up, narrowed

__all__ = [
    "MOST",
    "count",
    "count_indexed",
    "count_known",
    "count_stored",
    "fetch",
    "request",
    "scroll",
    "search",
    "stored_after",
]

MOST: Final = 10_000
"""What the server returns at most, as it is shipped."""
_FETCHED: Final = 1_000
_FETCHED_VECTOR_BYTES: Final = 32_000_000
_WINDOWS: Final = 4_096
_WINDOW_POINTS: Final = 5_000
"""Of a filtered scroll: few enough that no window holds as many as the server returns."""


def request(
    collection: Collection,
    limit: int,
    filters: Filters | None = None,
    *,
    with_payload: WithPayload | None = None,
    with_vectors: bool = False,
) -> SearchRequest:
    """A question for objects; with ``with_payload=None`` for their UUIDs only."""
    return SearchRequest(
        collection=collection.class_name,
        limit=limit,
        filters=filters,
        metadata=convert.metadata_request(collection, with_vectors=with_vectors),
        properties=None if with_payload is None else convert.properties_request(with_payload),
        uses_123_api=True,
        uses_125_api=True,
        uses_127_api=True,
    )


# --- search ----------------------------------------------------------------------------------------------------------


async def search(connection: Connection, collection: Collection, query: Query) -> list[SearchResult]:
    """The best points that match."""
    filters = narrowed(query.node)
    asked = query.limit
    hits = await _nearest(connection, collection, query, filters, asked)
    if len(hits) < query.limit:
        most = min(await count_known(connection, collection, filters), MOST)
        while len(hits) < query.limit and asked < most:
            asked = min(2 * asked, most)
            hits = (await _nearest(connection, collection, query, filters, asked))[: query.limit]
    if query.threshold is not None:
        hits = [hit for hit in hits if hit.score >= query.threshold]
    return hits


async def _nearest(
    connection: Connection, collection: Collection, query: Query, filters: Filters, limit: int
) -> list[SearchResult]:
    with_payload, metric = query.with_payload, collection.settings.metric
    asked = request(collection, limit, filters, with_payload=with_payload, with_vectors=query.with_vectors)
    asked.near_vector.CopyFrom(convert.near(collection, query.vector))
    asked.metadata.distance = True
    try:
        reply = await connection.search(asked)
    except AioRpcError as error:
        if not is_too_large(error):
            raise
    else:
        return [convert.search_result(one, one.metadata.distance, metric, with_payload) for one in reply.results]
    # Too much for one message: the ranking first, then what was found in pieces.
    asked.ClearField("properties")
    del asked.metadata.vectors[:]
    ranked = {one.metadata.id: one.metadata.distance for one in (await connection.search(asked)).results}
    found = await fetch(connection, collection, list(ranked), with_payload, with_vectors=query.with_vectors)
    return [
        convert.search_result(found[uuid], distance, metric, with_payload)
        for uuid, distance in ranked.items()
        if uuid in found
    ]


# --- fetch -----------------------------------------------------------------------------------------------------------


async def fetch(
    connection: Connection,
    collection: Collection,
    uuids: Sequence[str],
    with_payload: WithPayload,
    *,
    with_vectors: bool,
) -> dict[str, Found]:
    """The objects of these UUIDs, in no order."""
    most = _FETCHED
    if with_vectors:
        most = max(1, min(most, _FETCHED_VECTOR_BYTES // (4 * collection.settings.dimension)))
    found: dict[str, Found] = {}
    pieces = [uuids[start : start + most] for start in range(0, len(uuids), most)]
    while pieces:
        piece = pieces.pop()
        asked = request(collection, len(piece), ids_filter(piece), with_payload=with_payload, with_vectors=with_vectors)
        try:
            reply = await connection.search(asked)
        except AioRpcError as error:
            if len(piece) == 1 or not is_too_large(error):
                raise
            pieces += (piece[: len(piece) // 2], piece[len(piece) // 2 :])
        else:
            found.update((one.metadata.id, one) for one in reply.results)
    return found


# --- scroll ----------------------------------------------------------------------------------------------------------


async def scroll(connection: Connection, collection: Collection, page: Page) -> ScrollPage:
    """A page, in the order of the objects' UUIDs."""
    after = page.cursor or ""
    if isinstance(page.node, Always):
        uuids = await stored_after(connection, collection, after, page.limit)
    else:
        uuids = await _matching_after(connection, collection, page.node, after, page.limit)
    shown = uuids[: page.limit]
    found = await fetch(connection, collection, shown, page.with_payload, with_vectors=page.with_vectors)
    points = [convert.vector_point(found[uuid], page.with_payload) for uuid in shown if uuid in found]
    return ScrollPage(points, shown[-1] if len(uuids) > len(shown) else None)


async def stored_after(connection: Connection, collection: Collection, after: str, limit: int) -> list[str]:
    """More than ``limit`` of the UUIDs after this one, if there are more."""
    uuids: list[str] = []
    while len(uuids) <= limit:
        asked = request(collection, min(limit + 1, MOST))
        asked.after = after
        reply = await connection.search(asked)
        uuids += (one.metadata.id for one in reply.results)
        if len(reply.results) < asked.limit:
            break
        after = uuids[-1]
    return uuids


async def _matching_after(
    connection: Connection, collection: Collection, node: Node, after: str, limit: int
) -> list[str]:
    """As :func:`stored_after`, of the points that match.

    The server's own cursor takes no filter. But UUIDs are spread evenly, and every point has a token for the beginning
    of its own: the matches are asked for window by window.
    """
    filters = narrowed(node)
    matching = await count_known(connection, collection, filters)
    width = _WINDOWS
    if matching > _WINDOW_POINTS:
        width = max(1, _WINDOWS * min(limit + 1, _WINDOW_POINTS) // matching)
    uuids: list[str] = []
    start = int(after[:3], 16) if after else 0
    while start < _WINDOWS and len(uuids) <= limit:
        window = range(start, min(start + width, _WINDOWS))
        if width < _WINDOWS:
            filters = narrowed(node, look_up(map(window_token, window)))
        reply = await connection.search(request(collection, MOST, filters))
        uuids += sorted(uuid for one in reply.results if (uuid := one.metadata.id) > after)
        start = window.stop
    return uuids


# --- counts ----------------------------------------------------------------------------------------------------------


async def count(connection: Connection, collection: Collection, node: Node) -> int:
    """How many points match."""
    if isinstance(node, Always):
        return await count_stored(connection, collection)
    matching, known, stored = await asyncio.gather(
        count_known(connection, collection, narrowed(node)),
        count_known(connection, collection, everything()),
        count_stored(connection, collection),
    )
    if matching == 0 or known == stored:
        return matching
    # The index knows of objects that are gone: count those that are there.
    counted, after = 0, ""
    while uuids := await _matching_after(connection, collection, node, after, MOST):
        counted, after = counted + len(uuids), uuids[-1]
    return counted


async def count_stored(connection: Connection, collection: Collection) -> int:
    """How many objects the server holds."""
    return await connection.count(AggregateRequest(collection=collection.class_name, objects_count=True))


async def count_known(connection: Connection, collection: Collection, filters: Filters) -> int:
    """How many objects match by the index of facts."""
    request = AggregateRequest(collection=collection.class_name, objects_count=True, filters=filters)
    return await connection.count(request)


async def count_indexed(connection: Connection, collection: Collection, filters: Filters, most: int) -> int:
    """How many of the matching objects a search would find, up to somewhat more than ``most``."""
    request = AggregateRequest(collection=collection.class_name, objects_count=True, filters=filters)
    request.near_vector.CopyFrom(convert.near(collection, convert.probe(collection)))
    request.object_limit = most + 1_000
    return await connection.count(request)
