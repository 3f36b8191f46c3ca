"""The nearest points, and all of them where that is promised.

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

from codeweaver_backends.metrics import clamp_cosine, score_of_distance, scores
from codeweaver_backends.sdk.requests import Query
from codeweaver_backends.types import DistanceMetric, FloatMatrix
from codeweaver_chroma.engine import ROWS_AT_ONCE, Collection, Engine
from codeweaver_chroma.errors import is_vanished
from codeweaver_chroma.resolve import Selection, select

__all__ = ["Scored", "nearest"]

_TRIES: Final = 5
_KEYS_AT_ONCE: Final = 5_000


@dataclass(slots=True)
class Scored:
    """A row that was found."""

    key: str
    score: float
    document: str | None
    vector: Sequence[float] | None

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> Iterator[Scored]:
        """The rows of an answer."""
        keys = found["ids"]
        documents, vectors = found.get("uris"), found.get("embeddings")
        for position, key in enumerate(keys):
            document = None if documents is None else documents[position]
            yield cls(key, 0.0, document, None if vectors is None else vectors[position])


async def nearest(engine: Engine, collection: Collection, query: Query, include: Sequence[str]) -> list[Scored]:
    """The best rows, best first."""
    for _ in range(_TRIES):
        try:
            return await _Search(engine, collection, query, include).run()
        except Exception as error:
            # Between finding out which points match and ranking them, one of them was deleted.
            if not is_vanished(error):
                raise
    return await _Search(engine, collection, query, include).run()


@dataclass(slots=True)
class _Search:
    engine: Engine
    collection: Collection
    query: Query
    include: Sequence[str]

    @property
    def _metric(self) -> DistanceMetric:
        return self.collection.settings.metric

    @property
    def _vector(self) -> FloatMatrix:
        if self._metric is not DistanceMetric.COSINE:
            return self.query.vector
        wide = self.query.vector.astype(np.float64)
        unit: FloatMatrix = (wide / np.linalg.norm(wide)).astype(np.float32)
        return unit

    async def run(self) -> list[Scored]:
        selection = await select(self.engine, self.collection, self.query.node)
        if selection.keys is not None and not selection.keys:
            return []
        asking = self._ask(selection, self.query.limit, self.include)
        if self.engine.is_grown(self.collection.id):
            small, hits = False, await asking
        else:
            small, hits = await asyncio.gather(self.engine.is_small(self.collection.id), asking)
        if small or len(hits) < self.query.limit or not all(math.isfinite(hit.score) for hit in hits):
            hits = await self._completed(selection, hits, small=small)
        hits.sort(key=lambda hit: -hit.score)
        threshold = self.query.threshold
        return [hit for hit in hits[: self.query.limit] if threshold is None or hit.score >= threshold]

    async def _ask(self, selection: Selection, limit: int, include: Sequence[str]) -> list[Scored]:
        keys = selection.keys
        if keys is None:
            return await self._ranked(selection.where, None, limit, include)
        hits: list[Scored] = []
        for start in range(0, len(keys), _KEYS_AT_ONCE):
            hits += await self._ranked(None, keys[start : start + _KEYS_AT_ONCE], limit, include)
        return sorted(hits, key=lambda hit: -hit.score)[:limit]

    async def _ranked(self, where: Any, keys: Sequence[str] | None, limit: int, include: Sequence[str]) -> list[Scored]:
        found = await self.engine.query(
            self.collection.id, self._vector, limit, keys=keys, where=where, include=["distances", *include]
        )
        hits = list(Scored.of(found))
        for hit, distance in zip(hits, found["distances"], strict=True):
            hit.score = self._score(distance)
        return hits

    def _score(self, distance: float | None) -> float:
        # JSON has no infinity.
        if distance is None or not math.isfinite(distance):
            return -math.inf
        match self._metric:
            case DistanceMetric.COSINE:
                return clamp_cosine(1.0 - distance)
            case DistanceMetric.DOT_PRODUCT:
                return 1.0 - distance
            case _:
                return score_of_distance(math.sqrt(max(0.0, distance)))

    async def _completed(self, selection: Selection, hits: list[Scored], *, small: bool) -> list[Scored]:
        """The best of all rows that match, also of those that the graph did not give."""
        every = selection.keys
        if every is None:
            every = (await self.engine.get(self.collection.id, where=selection.where))["ids"]
        if not every:
            return []
        if small and len(hits) < len(every):
            hits = await self._ask(selection, len(every), ())
        ranked = [hit for hit in hits if math.isfinite(hit.score)]
        reached = {hit.key for hit in ranked}
        ranked += await self._measured([key for key in every if key not in reached])
        best = sorted(ranked, key=lambda hit: -hit.score)[: self.query.limit]
        return await self._filled(best)

    async def _measured(self, keys: Sequence[str]) -> list[Scored]:
        hits: list[Scored] = []
        for start in range(0, len(keys), ROWS_AT_ONCE):
            found = await self.engine.get(
                self.collection.id, keys=keys[start : start + ROWS_AT_ONCE], include=["embeddings"]
            )
            if found["ids"]:
                matrix = np.asarray(found["embeddings"], dtype=np.float32)
                measured = scores(self._metric, self.query.vector, matrix).tolist()
                hits += [Scored(key, score, None, None) for key, score in zip(found["ids"], measured, strict=True)]
        return hits

    async def _filled(self, hits: list[Scored]) -> list[Scored]:
        """The rows with what is to be shown of them, without those that were deleted meanwhile."""
        if not self.include:
            return hits
        filled: list[Scored] = []
        for start in range(0, len(hits), ROWS_AT_ONCE):
            part = hits[start : start + ROWS_AT_ONCE]
            found = await self.engine.get(self.collection.id, keys=[hit.key for hit in part], include=self.include)
            rows = {row.key: row for row in Scored.of(found)}
            for hit in part:
                row = rows.get(hit.key)
                if row is not None:
                    row.score = hit.score
                    filled.append(row)
        return filled
