"""Searches: their statements, and which of them a search takes."""

# ruff: noqa: S608 - what is put into statements here are our own names and numbers; every value is a parameter

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import asyncpg

from codeweaver_backends.metrics import scorer
from codeweaver_backends.sdk.index.codes import decode_id
from codeweaver_backends.sdk.plan import Way, answered, narrow, plan
from codeweaver_backends.sdk.requests import Projection, Query
from codeweaver_backends.types import DistanceMetric, SearchResult
from codeweaver_pgvector.dialect import CODE, Condition
from codeweaver_pgvector.graph import Graphs
from codeweaver_pgvector.schema import Table, shown
from codeweaver_pgvector.use import BoundCollection

__all__ = ["few_nearest", "graph_nearest", "hits_of", "nearest", "scan_nearest"]

Rows: TypeAlias = list[asyncpg.Record]
Ask: TypeAlias = Callable[[BoundCollection, str, list[Any]], Awaitable[Rows]]


async def nearest(collection: BoundCollection, query: Query, vector: bytes, graphs: Graphs, ask: Ask) -> Rows:
    """The rows of a search, best first, before the threshold."""
    table = collection.table
    state = await graphs.state(table, collection.queries)
    index = graphs.index if state.is_ready else None
    way = plan(state.size, query, index)
    if index is not None and way is Way.INDEXED and query.is_filtered:
        condition = Condition(table.declared, [vector, query.limit])
        where, few = condition.sql(query.filter), narrow(state.size, index)
        key = (table.number, where, repr(condition.values[2:]))
        if not graphs.is_wide(key):
            rows = await ask(collection, few_nearest(table, where, query.projection, few + 1), condition.values)
            if not rows or rows[0]["matching"] <= few:
                return rows
            graphs.note_wide(key)

    async def by(way: Way) -> Rows:
        if way is Way.EXACT:
            condition = Condition(table.declared, [vector, query.limit])
            return await ask(
                collection, scan_nearest(table, condition.sql(query.filter), query.projection), condition.values
            )
        condition = Condition(table.declared, [vector])
        sql = graph_nearest(table, condition.sql(query.filter), query.projection, query.limit, graphs.settings(query))
        return await ask(collection, sql, condition.values)

    return await answered(way, query, state.size, by)


def hits_of(rows: Rows, query: Query, metric: DistanceMetric, factor: float) -> list[SearchResult]:
    """The hits of a search, best first, down to the threshold. ``factor`` is what ``engine_query`` gave."""
    score, hits = scorer(metric, dot="negative dot"), []
    for row in rows:
        value = score(row["distance"]) * factor
        if not query.passes(value):
            break
        payload = query.projection.payload_of(row["payload"])
        hits.append(SearchResult(decode_id(row["id"], CODE), value, payload, row["vector"]))
    return hits


def scan_nearest(table: Table, where: str, projection: Projection) -> str:
    """The nearest points, of all that match; the first parameters are query vector and limit."""
    # No index serves a sum: all points are looked at.
    distance = f"({table.distance}) + 0 as distance from {table.living} and {where}"
    # What is shown is computed outside, for the points that were found. Carrying it through the sort of a few
    # points is cheaper than fetching it afterwards; that is the other way round where all points are sorted.
    if where == "true":
        found, source = f"select id, {distance}", f"join {table.name} using (id)"
    else:
        carried = "id" + ", doc, raw" * bool(projection.payload) + ", vec, given" * projection.vectors
        found, source = f"select {carried}, {distance}", ""
    return (
        f"select {shown(projection)}, distance from"
        f" ({found} order by distance limit $2::bigint) as nearest {source} order by distance"
    )


def few_nearest(table: Table, where: str, projection: Projection, few: int) -> str:
    """The nearest of the first ``few`` points that match, as ``scan_nearest``; each tells how many there are."""
    distances = f"select id, ({table.distance}) + 0 as distance from {table.living} and {where} limit {few}"
    found = f"select *, count(*) over () as matching from ({distances}) as few order by distance limit $2::bigint"
    return (
        f"select {shown(projection)}, distance, matching from ({found}) as nearest join {table.name} using (id)"
        " order by distance"
    )


def graph_nearest(table: Table, where: str, projection: Projection, limit: int, settings: str) -> str:
    """The nearest points by the index, after ``settings`` were made; the first parameter is the query vector."""
    # The limit is written out: of one that it does not know PostgreSQL expects a tenth of the table.
    once = f"(select name is not null and {settings} from {table.catalogue.name} where number = {table.number})"
    found = (
        f"select id, {table.distance} as distance from {table.name}"
        f" where {once} and {where} order by distance limit {limit}"
    )
    return (
        f"select {shown(projection)}, distance from ({found}) as nearest join {table.name} using (id) order by distance"
    )
