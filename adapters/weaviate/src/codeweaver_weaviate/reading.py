"""Searching, fetching, scrolling and counting.

A graph answers no search that has a filter: then the server reads the vectors of all that match. So a search in a
collection with a graph is exact by a filter, and be it one that all points pass.

After a crash the server's indexes may hold entries of objects that it lost. They are never returned, but they take
places among the first ``limit``, and are counted where only an index is asked. Both are seen and made good here.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Sequence
from typing import Final

from grpc.aio import AioRpcError

from codeweaver_backends.errors import InvalidOptionError
from codeweaver_backends.sdk import FOREIGN_CURSOR, Always, Node, Page, Projection, Query, scorer
from codeweaver_backends.sdk.plan import LOOKED_AT, Way, answered
from codeweaver_backends.types import ScrollPage, SearchResult
from codeweaver_weaviate.client import AggregateRequest, Connection, Filters, FoundObject, NearVector, SearchRequest
from codeweaver_weaviate.dialect import everything, ids_filter, look_up, narrowed, window_term, with_id
from codeweaver_weaviate.errors import is_too_large, is_write_refused
from codeweaver_weaviate.schema import (
    LEAST,
    MOST,
    Collection,
    metadata_request,
    near,
    probe,
    properties_request,
    search_result,
    vector_point,
)

__all__ = ["count", "count_indexed", "fetch", "object_request", "scroll", "search"]

_FETCHED: Final = 1_000
_FETCHED_VECTOR_BYTES: Final = 32_000_000
_CURSOR: Final = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:\+([0-9]{1,4}))?")
_WINDOWS: Final = 4_096
_WINDOW_POINTS: Final = 5_000
"""Of a filtered scroll: few enough that no window holds as many as the server returns."""


def object_request(
    collection: Collection, limit: int, filters: Filters | None = None, projection: Projection | None = None
) -> SearchRequest:
    """A question for objects; without a projection for their UUIDs only."""
    return SearchRequest(
        collection=collection.engine_name,
        limit=limit,
        filters=filters,
        metadata=metadata_request(collection, with_vectors=projection is not None and projection.vectors),
        properties=None if projection is None else properties_request(projection),
        uses_123_api=True,
        uses_125_api=True,
        uses_127_api=True,
    )


# --- search ----------------------------------------------------------------------------------------------------------


async def search(
    connection: Connection, collection: Collection, query: Query, way: Way, size: int
) -> list[SearchResult]:
    """The best points that match, of ``size`` that there are: ``way`` is what was planned."""
    looked_at = max(LEAST, LOOKED_AT * query.limit) * query.effort
    # The graph looks at so many for each that it is asked for.
    asked = query.limit if query.effort == 1 else min(MOST, max(query.limit, math.ceil(looked_at / LOOKED_AT)))

    async def ask(way: Way) -> list[SearchResult]:
        if way is Way.EXACT or looked_at >= size:
            return await _exact(connection, collection, query)
        return (await _nearest(connection, collection, query, None, asked))[: query.limit]

    return [hit for hit in await answered(way, query, size, ask) if query.passes(hit.score)]


async def _exact(connection: Connection, collection: Collection, query: Query) -> list[SearchResult]:
    filters = narrowed(query.filter) or (everything() if collection.has_graph else None)
    asked = query.limit
    hits = await _nearest(connection, collection, query, filters, asked)
    if len(hits) < query.limit and len(hits) < await _aggregate(connection, collection, filters):
        there = min(await count(connection, collection, query.filter), query.limit)
        while len(hits) < there and asked < MOST:
            asked = min(2 * asked, MOST)
            hits = (await _nearest(connection, collection, query, filters, asked))[: query.limit]
    return hits


async def _nearest(
    connection: Connection, collection: Collection, query: Query, filters: Filters | None, limit: int
) -> list[SearchResult]:
    asked = object_request(collection, limit, filters, query.projection)
    asked.near_vector.CopyFrom(near(collection, query.vector))
    asked.metadata.distance = True
    try:
        found = list((await connection.search(asked)).results)
        distances = [one.metadata.distance for one in found]
    except AioRpcError as error:
        if not is_too_large(error):
            raise
        # Too much for one message: the ranking first, then what was found in pieces.
        asked.ClearField("properties")
        del asked.metadata.vectors[:]
        ranked = {one.metadata.id: one.metadata.distance for one in (await connection.search(asked)).results}
        objects = await fetch(connection, collection, list(ranked), query.projection)
        found = [objects[uuid] for uuid in ranked if uuid in objects]
        distances = [ranked[one.metadata.id] for one in found]
    score = scorer(collection.settings.metric, dot="negative dot", squared=True)
    return [
        search_result(one, score(distance), query.projection) for one, distance in zip(found, distances, strict=True)
    ]


# --- fetch -----------------------------------------------------------------------------------------------------------


async def fetch(
    connection: Connection, collection: Collection, uuids: Sequence[str], projection: Projection
) -> dict[str, FoundObject]:
    """The objects of these UUIDs, in no order."""
    most = _FETCHED
    if projection.vectors:
        most = max(1, min(most, _FETCHED_VECTOR_BYTES // (4 * collection.settings.dimension)))
    found: dict[str, FoundObject] = {}
    parts = [uuids[start : start + most] for start in range(0, len(uuids), most)]
    while parts:
        part = parts.pop()
        try:
            reply = await connection.search(object_request(collection, len(part), ids_filter(part), projection))
        except AioRpcError as error:
            if len(part) == 1 or not is_too_large(error):
                raise
            parts += (part[: len(part) // 2], part[len(part) // 2 :])
        else:
            found.update((one.metadata.id, one) for one in reply.results)
    return found


# --- scroll ----------------------------------------------------------------------------------------------------------


async def scroll(connection: Connection, collection: Collection, page: Page) -> ScrollPage:
    """A page, in the order of the objects' UUIDs."""
    after, width = _position(page.cursor)
    if isinstance(page.filter, Always):
        return await _scroll_all(connection, collection, page, after)
    if not width:
        matching = max(1, await count(connection, collection, page.filter))
        width = min(_WINDOWS, max(1, _WINDOWS * min(page.limit + 1, _WINDOW_POINTS) // matching))
        width = _WINDOWS if matching <= _WINDOW_POINTS else width
    uuids = await _matching_after(connection, collection, page, after, width)
    shown = uuids[: page.limit]
    found = await fetch(connection, collection, shown, page.projection)
    points = [vector_point(found[uuid], page.projection) for uuid in shown if uuid in found]
    return ScrollPage(points, f"{shown[-1]}+{width}" if len(uuids) > len(shown) else None)


def _position(cursor: str | None) -> tuple[str, int]:
    """The UUID that a page begins after, and for a filtered scroll the width of its windows."""
    if cursor is None:
        return "", 0
    match = _CURSOR.fullmatch(cursor)
    if match is None or not int(match[2] or 1):
        raise InvalidOptionError(FOREIGN_CURSOR)
    return match[1], min(int(match[2] or 0), _WINDOWS)


async def _scroll_all(connection: Connection, collection: Collection, page: Page, after: str) -> ScrollPage:
    most = min(page.limit + 1, MOST)
    if page.projection.vectors:
        most = min(most, 1 + _FETCHED_VECTOR_BYTES // (4 * collection.settings.dimension))
    while True:
        asked = object_request(collection, most, projection=page.projection)
        asked.after = after
        try:
            found = (await connection.search(asked)).results
            break
        except AioRpcError as error:
            if most == 1 or not is_too_large(error):
                raise
            most = max(1, most // 2)
    shown = found[: page.limit]
    points = [vector_point(one, page.projection) for one in shown]
    return ScrollPage(points, shown[-1].metadata.id if len(found) == most else None)


async def _matching_after(
    connection: Connection, collection: Collection, page: Page, after: str, width: int
) -> list[str]:
    """More than a page of the matching UUIDs after this one, if there are more.

    The server's own cursor takes no filter. But UUIDs are spread evenly, and every point has a term for the beginning
    of its own: the matches are asked for window by window.
    """
    uuids: list[str] = []
    start = int(after[:3], 16) if after else 0
    while start < _WINDOWS and len(uuids) <= page.limit:
        window = range(start, min(start + width, _WINDOWS))
        inside = () if len(window) == _WINDOWS else (look_up(map(window_term, window)),)
        asked = object_request(collection, MOST, narrowed(page.filter, *inside))
        found = (await connection.search(asked)).results
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
        return await connection.count_deletable(collection.engine_name, filters)
    except AioRpcError as error:
        if not is_write_refused(error):
            raise
        return await _aggregate(connection, collection, filters)


async def count_indexed(connection: Connection, collection: Collection, stored: int) -> tuple[int, int, int]:
    """How many objects the index of terms knows, how many of those exist and have an id, and how many a search finds.

    Where all three are as many as are stored, every object is in each of the three indexes: none is left over in the
    first that could make up for one that lacks in another.
    """
    return await asyncio.gather(
        _aggregate(connection, collection, everything()),
        _there(connection, collection, with_id()),
        _aggregate(connection, collection, everything(), near(collection, probe(collection)), stored + 1_000),
    )


async def _aggregate(
    connection: Connection,
    collection: Collection,
    filters: Filters | None = None,
    near_vector: NearVector | None = None,
    most: int | None = None,
) -> int:
    asked = AggregateRequest(
        collection=collection.engine_name,
        objects_count=True,
        filters=filters,
        near_vector=near_vector,
        object_limit=most,
    )
    return await connection.count(asked)
