"""The memory backend taken apart: each step of a call is a method, so that a defect replaces one step and no other."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from codeweaver_backends.capabilities import BackendCapabilities
from codeweaver_backends.errors import CollectionNotFoundError
from codeweaver_backends.memory.backend import MemoryBackend
from codeweaver_backends.memory.config import MemoryConfig
from codeweaver_backends.memory.plugin import CAPABILITIES, MemoryPlugin
from codeweaver_backends.memory.store import Collection, MemoryStore, Point
from codeweaver_backends.metrics import scores
from codeweaver_backends.sdk.filters.evaluate import matches
from codeweaver_backends.sdk.filters.tree import All, Always, Either, Never, Node, Not
from codeweaver_backends.sdk.lifetime import operation
from codeweaver_backends.sdk.payloads import decode_payload, encode_payload
from codeweaver_backends.sdk.requests import Batch, CollectionSettings, Projection, Query
from codeweaver_backends.types import (
    DistanceMetric,
    FilterLike,
    FloatMatrix,
    Payload,
    ScrollPage,
    SearchFilter,
    SearchResult,
)

__all__ = ["Collection", "Point", "Rig", "RigPlugin", "hit_of", "rewritten", "walk"]


@dataclass(slots=True, eq=False)
class _Shelf(Collection):
    """A collection that asks its backend what matches."""

    matches: Callable[[Node, Payload], bool] = field(default=matches)

    def matching(self, node: Node) -> list[Point]:
        return [point for point in self.points.values() if self.matches(node, point.payload)]


class Rig(MemoryBackend):
    """Correct as it stands. Instances of one subclass share a store, as clients of one engine do."""

    engine: ClassVar[MemoryStore] = MemoryStore()
    claims: ClassVar[BackendCapabilities] = CAPABILITIES

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.engine = MemoryStore()

    def __init__(self, config: MemoryConfig) -> None:
        super().__init__(config if config.store is not None else config.model_copy(update={"store": self.engine}))

    @property
    def capabilities(self) -> BackendCapabilities:
        return self.claims

    # --- steps above the validation ---

    def given(self, search_filter: FilterLike | None) -> FilterLike | None:
        """The filter as the caller gave it."""
        return search_filter

    # --- steps below it ---

    def matches(self, node: Node, payload: Payload) -> bool:
        """Whether a payload matches the whole tree."""
        return walk(node, payload, self.leaf)

    def leaf(self, node: Node, payload: Payload) -> bool:
        """Whether a payload matches one leaf."""
        return matches(node, payload)

    def stored(self, payload: Payload) -> Payload:
        """A payload on its way to the store."""
        return payload

    def score(self, metric: DistanceMetric, query: FloatMatrix, matrix: FloatMatrix) -> npt.NDArray[np.float64]:
        """The scores of the rows."""
        return scores(metric, query, matrix)

    def order(self, score: npt.NDArray[np.float64]) -> Sequence[int]:
        """The rows, best first."""
        return [int(row) for row in np.argsort(-score, kind="stable")]

    def keeps(self, score: float, threshold: float | None) -> bool:
        """Whether a score passes the threshold."""
        return threshold is None or score >= threshold

    def shown(self, result: SearchResult) -> SearchResult:
        """A hit on its way to the caller."""
        return result

    def answer(self, collection: Collection, query: Query) -> list[SearchResult]:
        """A search of an accepted query."""
        found = collection.matching(query.filter)
        if not found or not query.limit:
            return []
        score = self.score(collection.settings.metric, query.vector, np.stack([point.vector for point in found]))
        rows = [row for row in self.order(score)[: query.limit] if self.keeps(float(score[row]), query.threshold)]
        return [self.shown(hit_of(found[row], float(score[row]), query.projection)) for row in rows]

    def _collection(self, name: str) -> Collection:
        """The collection of this name."""
        try:
            return self._collections[name]
        except KeyError:
            raise CollectionNotFoundError("the collection does not exist") from None

    # --- what the template asks, answered by the steps ---

    async def _describe(self, name: str) -> Collection:
        return self._collection(name)

    async def _create(self, settings: CollectionSettings) -> None:
        await super()._create(settings)
        self._collections[settings.name] = _Shelf(settings, matches=self.matches)

    def _write_all(self, collection: Collection, batch: Batch) -> None:
        if type(self).stored is not Rig.stored:
            batch = rewritten(batch, self.stored)
        super()._write_all(collection, batch)

    async def _search(self, collection: Collection, query: Query) -> list[SearchResult]:
        return self.answer(collection, query)

    # --- the calls that take a filter ---

    @operation
    async def search_vectors(
        self,
        collection_name: str,
        query_vector: list[float],
        limit: int = 10,
        search_filter: SearchFilter | None = None,
        score_threshold: float | None = None,
        **kwargs: Any,
    ) -> list[SearchResult]:
        given: Any = self.given(search_filter)
        return await super().search_vectors(collection_name, query_vector, limit, given, score_threshold, **kwargs)

    @operation
    async def delete_by_filter(self, collection_name: str, search_filter: FilterLike) -> int:
        return await super().delete_by_filter(collection_name, self.given(search_filter))  # type: ignore[arg-type]

    @operation
    async def scroll_vectors(
        self, collection_name: str, *, search_filter: FilterLike | None = None, **kwargs: Any
    ) -> ScrollPage:
        return await super().scroll_vectors(collection_name, search_filter=self.given(search_filter), **kwargs)

    @operation
    async def count_vectors(self, collection_name: str, search_filter: FilterLike | None = None) -> int:
        return await super().count_vectors(collection_name, self.given(search_filter))


def hit_of(point: Point, score: float, projection: Projection) -> SearchResult:
    """A point as a hit."""
    payload = projection.payload_of(point.payload_json)
    return SearchResult(point.id, score, payload, point.vector.tolist() if projection.vectors else None)


class RigPlugin(MemoryPlugin):
    """The rig as it stands: correct, and a check that the defects are the only thing wrong with the others."""

    @classmethod
    def get_backend_class(cls) -> type:
        return Rig


# --- small tools of the defects ---------------------------------------------------------------------------------------


def walk(node: Node, payload: Payload, leaf: Callable[[Node, Payload], bool]) -> bool:
    """The groups of a tree, around another reading of its leaves."""
    match node:
        case Always():
            return True
        case Never():
            return False
        case All(parts):
            return all(walk(part, payload, leaf) for part in parts)
        case Either(parts):
            return any(walk(part, payload, leaf) for part in parts)
        case Not(inner):
            return not leaf(inner, payload)
    return leaf(node, payload)


def rewritten(batch: Batch, change: Callable[[Payload], Payload]) -> Batch:
    """A batch with other payloads."""
    payload_json = [encode_payload(change(decode_payload(one)), CAPABILITIES.limits) for one in batch.payload_json]
    return dataclasses.replace(batch, payload_json=payload_json)
