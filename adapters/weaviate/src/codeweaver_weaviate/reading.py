"""Searching, fetching, scrolling and counting.

After a crash the server's indexes may hold entries of objects that it lost. They are never returned, but they take
places among the first ``limit``, and are counted where only an index is asked. Both are seen and made good here.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Final

from grpc.aio import AioRpcError

from codeweaver_backends.errors import InvalidOptionError
from codeweaver_backends.sdk.filters.tree import Always, Node
from codeweaver_backends.sdk.requests import Page, Query, WithPayload
from codeweaver_backends.types import ScrollPage, SearchResult
from codeweaver_weaviate import convert
from codeweaver_weaviate.client import AggregateRequest, Connection, Filters, NearVector, SearchRequest
from codeweaver_weaviate.client import SearchResult as Found
from codeweaver_weaviate.convert import Collection
from codeweaver_weaviate.errors import is_too_large, is_write_refused
from codeweaver_weaviate.facts import window_token
from codeweaver_weaviate.filters import everything, ids_filter, look_up, narrowed, with_id

__all__ = ["count", "count_indexed", "fetch", "request", "scroll", "search"]

MOST: Final = 10_000
"""What the server returns at most, as it is shipped."""
_FETCHED: Final = 1_000
_FETCHED_VECTOR_BYTES: Final = 32_000_000
_CURSOR: Final = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:\+([0-9]{1,4}))?")
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
    if len(hits) < query.limit and len(hits) < await _aggregate(connection, collection, filters):
        there = min(await count(connection, collection, query.node), query.limit)
        while len(hits) < there and asked < MOST:
            asked = min(2 * asked, MOST)
            hits = (await _nearest(connection, collection, query, filters, asked))[: query.limit]
    if query.threshold is not None:
        hits = [hit for hit in hits if hit.score >= query.threshold]
    return hits


async def _nearest(
    connection: Connection, collection: Collection, query: Query, filters: Filters | None, limit: int
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
    after, width = _position(page.cursor)
    if isinstance(page.node, Always):
        return await _scroll_all(connection, collection, page, after)
    if not width:
        matching = max(1, await count(connection, collection, page.node))
        width = min(_WINDOWS, max(1, _WINDOWS * min(page.limit + 1, _WINDOW_POINTS) // matching))
        width = _WINDOWS if matching <= _WINDOW_POINTS else width
    uuids = await _matching_after(connection, collection, page, after, width)
    shown = uuids[: page.limit]
    found = await fetch(connection, collection, shown, page.with_payload, with_vectors=page.with_vectors)
    points = [convert.vector_point(found[uuid], page.with_payload) for uuid in shown if uuid in found]
    return ScrollPage(points, f"{shown[-1]}+{width}" if len(uuids) > len(shown) else None)


def _position(cursor: str | None) -> tuple[str, int]:
    """The UUID that a page begins after, and for a filtered scroll the width of its windows."""
    if cursor is None:
        return "", 0
    match = _CURSOR.fullmatch(cursor)
    if match is None or not int(match[2] or 1):
        raise InvalidOptionError("cursor must be None or what the last page gave")
    return match[1], min(int(match[2] or 0), _WINDOWS)


async def _scroll_all(connection: Connection, collection: Collection, page: Page, after: str) -> ScrollPage:
    most = min(page.limit + 1, MOST)
    if page.with_vectors:
        most = min(most, 1 + _FETCHED_VECTOR_BYTES // (4 * collection.settings.dimension))
    while True:
        asked = request(collection, most, with_payload=page.with_payload, with_vectors=page.with_vectors)
        asked.after = after
        try:
            found = (await connection.search(asked)).results
            break
        except AioRpcError as error:
            if most == 1 or not is_too_large(error):
                raise
            most = max(1, most // 2)
    full = len(found) == most
    shown = found[: page.limit]
    points = [convert.vector_point(one, page.with_payload) for one in shown]
    return ScrollPage(points, shown[-1].metadata.id if full else None)


async def _matching_after(
    connection: Connection, collection: Collection, page: Page, after: str, width: int
) -> list[str]:
    """More than a page of the matching UUIDs after this one, if there are more.

    The server's own cursor takes no filter. But UUIDs are spread evenly, and every point has a token for the beginning
    of its own: the matches are asked for window by window.
    """
    uuids: list[str] = []
    start = int(after[:3], 16) if after else 0
    while start < _WINDOWS and len(uuids) <= page.limit:
        window = range(start, min(start + width, _WINDOWS))
        inside = () if len(window) == _WINDOWS else (look_up(map(window_token, window)),)
        found = (await connection.search(request(collection, MOST, narrowed(page.node, *inside)))).results
        if len(found) == MOST and width > 1:
            width //= 2  # more matches than were counted
            continue
        uuids += sorted(uuid for one in found if (uuid := one.metadata.id) > after)
        start = window.stop
    return uuids


# --- counts ----------------------------------------------------------------------------------------------------------


async def count(connection: Connection, collection: Collection, node: Node) -> int:
    """How many points match.

    What a deletion would delete: the server looks each up, while its aggregations count what an index says.
    """
    filters = narrowed(node)
    return await (_aggregate(connection, collection) if filters is None else _there(connection, collection, filters))


async def _there(connection: Connection, collection: Collection, filters: Filters) -> int:
    try:
        return await connection.count_deletable(collection.class_name, filters)
    except AioRpcError as error:
        if not is_write_refused(error):
            raise
        return await _aggregate(connection, collection, filters)


async def count_indexed(connection: Connection, collection: Collection, stored: int) -> tuple[int, int, int]:
    """How many objects the index of facts knows, how many of those exist and have an id, and how many a search finds.

    Where all three are as many as are stored, every object is in each of the three indexes: none is left over in the
    first that could make up for one that lacks in another.
    """
    near = convert.near(collection, convert.probe(collection))
    return await asyncio.gather(
        _aggregate(connection, collection, everything()),
        _there(connection, collection, with_id()),
        _aggregate(connection, collection, everything(), near, stored + 1_000),
    )


async def _aggregate(
    connection: Connection,
    collection: Collection,
    filters: Filters | None = None,
    near: NearVector | None = None,
    most: int | None = None,
) -> int:
    asked = AggregateRequest(
        collection=collection.class_name, objects_count=True, filters=filters, near_vector=near, object_limit=most
    )
    return await connection.count(asked)
