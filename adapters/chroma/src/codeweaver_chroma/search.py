"""Which points a filter takes, and the nearest of them: all of them where that is promised.

Chroma searches a graph, and some points of it cannot be reached: of 1,000 points on a line it found 938, whatever was
asked. So a small collection is ranked as a whole, and what the graph does not give is fetched and measured here. The
same is done wherever an answer is shorter than it should be, or not a number.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson

from codeweaver_backends.metrics import scorer, scores
from codeweaver_backends.sdk.filters.compile import candidates, compile_filter, untestable_leaves
from codeweaver_backends.sdk.filters.evaluate import predicate
from codeweaver_backends.sdk.filters.tree import Never, Node
from codeweaver_backends.sdk.requests import Query
from codeweaver_backends.sdk.vectors import unit_vector
from codeweaver_backends.types import DistanceMetric, FloatMatrix
from codeweaver_chroma.client import ROWS_AT_ONCE, Client
from codeweaver_chroma.dialect import ChromaDialect, Where
from codeweaver_chroma.errors import is_vanished
from codeweaver_chroma.schema import Collection, split_uri

__all__ = ["Row", "Selection", "nearest", "select"]

_TRIES: Final = 5
_KEYS_AT_ONCE: Final = 5_000


@dataclass(slots=True)
class Row:
    """A row that was found."""

    key: str
    score: float
    uri: str | None
    vector: Sequence[float] | None

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> Iterator[Row]:
        """The rows of an answer."""
        keys = found["ids"]
        uris, vectors = found.get("uris"), found.get("embeddings")
        for position, key in enumerate(keys):
            uri = None if uris is None else uris[position]
            yield cls(key, 0.0, uri, None if vectors is None else vectors[position])


@dataclass(frozen=True, slots=True)
class Selection:
    """The points a filter takes: those that match ``where``, or those of ``keys``."""

    where: Where | None
    keys: list[str] | None = None


async def select(client: Client, collection: Collection, node: Node) -> Selection:
    """What the filter takes now. Where it has a part that Chroma cannot test, payloads are read and tested here."""
    dialect = ChromaDialect(collection.terms_key)
    if not untestable_leaves(node, dialect):
        return Selection(compile_filter(node, dialect))
    wide = candidates(node, dialect)
    if isinstance(wide, Never):
        return Selection(None, [])
    found = await client.get(collection.incarnation, where=compile_filter(wide, dialect))
    is_match = predicate(node)
    matching: list[str] = []
    for start in range(0, len(found["ids"]), ROWS_AT_ONCE):
        part = found["ids"][start : start + ROWS_AT_ONCE]
        rows = await client.get(collection.incarnation, keys=part, include=["uris"])
        matching += [row.key for row in Row.of(rows) if is_match(orjson.loads(split_uri(row.uri or "{}")[1]))]
        await asyncio.sleep(0)
    return Selection(None, sorted(matching))


async def nearest(client: Client, collection: Collection, query: Query, include: Sequence[str]) -> list[Row]:
    """The best rows, best first."""
    for _ in range(_TRIES):
        try:
            return await _Search(client, collection, query, include).run()
        except Exception as error:
            # Between finding out which points match and ranking them, one of them was deleted.
            if not is_vanished(error):
                raise
    return await _Search(client, collection, query, include).run()


@dataclass(slots=True)
class _Search:
    client: Client
    collection: Collection
    query: Query
    include: Sequence[str]

    @property
    def _metric(self) -> DistanceMetric:
        return self.collection.settings.metric

    @property
    def _vector(self) -> FloatMatrix:
        return unit_vector(self.query.vector) if self._metric is DistanceMetric.COSINE else self.query.vector

    async def run(self) -> list[Row]:
        selection = await select(self.client, self.collection, self.query.filter)
        if selection.keys is not None and not selection.keys:
            return []
        asking = self._ask(selection, self.query.limit, self.include)
        if self.client.is_grown(self.collection.incarnation):
            small, hits = False, await asking
        else:
            small, hits = await asyncio.gather(self.client.is_small(self.collection.incarnation), asking)
        if small or len(hits) < self.query.limit or not all(math.isfinite(hit.score) for hit in hits):
            hits = await self._completed(selection, hits, small=small)
        hits.sort(key=lambda hit: -hit.score)
        return [hit for hit in hits[: self.query.limit] if self.query.passes(hit.score)]

    async def _ask(self, selection: Selection, limit: int, include: Sequence[str]) -> list[Row]:
        keys = selection.keys
        if keys is None:
            return await self._ranked(selection.where, None, limit, include)
        hits: list[Row] = []
        for start in range(0, len(keys), _KEYS_AT_ONCE):
            hits += await self._ranked(None, keys[start : start + _KEYS_AT_ONCE], limit, include)
        return sorted(hits, key=lambda hit: -hit.score)[:limit]

    async def _ranked(self, where: Any, keys: Sequence[str] | None, limit: int, include: Sequence[str]) -> list[Row]:
        found = await self.client.query(
            self.collection.incarnation, self._vector, limit, keys=keys, where=where, include=["distances", *include]
        )
        hits = list(Row.of(found))
        score = scorer(self._metric, dot="one minus dot", squared=True)
        for hit, distance in zip(hits, found["distances"], strict=True):
            # JSON has no infinity, and Chroma's sums may be one: what is not a number is measured here.
            hit.score = -math.inf if distance is None or not math.isfinite(distance) else score(distance)
        return hits

    async def _completed(self, selection: Selection, hits: list[Row], *, small: bool) -> list[Row]:
        """The best of all rows that match, also of those that the graph did not give."""
        every = selection.keys
        if every is None:
            every = (await self.client.get(self.collection.incarnation, where=selection.where))["ids"]
        if not every:
            return []
        if small and len(hits) < len(every):
            hits = await self._ask(selection, len(every), ())
        ranked = [hit for hit in hits if math.isfinite(hit.score)]
        reached = {hit.key for hit in ranked}
        ranked += await self._measured([key for key in every if key not in reached])
        best = sorted(ranked, key=lambda hit: -hit.score)[: self.query.limit]
        return await self._filled(best)

    async def _measured(self, keys: Sequence[str]) -> list[Row]:
        hits: list[Row] = []
        for start in range(0, len(keys), ROWS_AT_ONCE):
            found = await self.client.get(
                self.collection.incarnation, keys=keys[start : start + ROWS_AT_ONCE], include=["embeddings"]
            )
            if found["ids"]:
                matrix = np.asarray(found["embeddings"], dtype=np.float32)
                measured = scores(self._metric, self.query.vector, matrix).tolist()
                hits += [Row(key, score, None, None) for key, score in zip(found["ids"], measured, strict=True)]
        return hits

    async def _filled(self, hits: list[Row]) -> list[Row]:
        """The rows with what is to be shown of them, without those that were deleted meanwhile."""
        if not self.include:
            return hits
        filled: list[Row] = []
        for start in range(0, len(hits), ROWS_AT_ONCE):
            part = hits[start : start + ROWS_AT_ONCE]
            found = await self.client.get(
                self.collection.incarnation, keys=[hit.key for hit in part], include=self.include
            )
            rows = {row.key: row for row in Row.of(found)}
            for hit in part:
                row = rows.get(hit.key)
                if row is not None:
                    row.score = hit.score
                    filled.append(row)
        return filled
