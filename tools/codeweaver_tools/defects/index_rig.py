"""The rig with an index: a cut of the points around centres, of which a search reads the nearest parts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any, ClassVar

import numpy as np

from codeweaver_backends.capabilities import BackendCapabilities
from codeweaver_backends.config import index_from
from codeweaver_backends.memory.config import MemoryConfig
from codeweaver_backends.memory.plugin import CAPABILITIES
from codeweaver_backends.memory.store import Collection, Point
from codeweaver_backends.plugins import BackendPlugin
from codeweaver_backends.sdk.plan import SearchIndex, Way, answered, plan, wants_index
from codeweaver_backends.sdk.requests import Query
from codeweaver_backends.types import DistanceMetric, FloatMatrix, SearchResult
from codeweaver_tools.defects.rig import Rig, RigPlugin, hit_of

__all__ = ["Cut", "IndexRig", "IndexRigPlugin", "IndexedConfig"]

_PARTITIONS = 64
_ROUNDS = 3


class IndexedConfig(MemoryConfig):
    """The memory backend's settings, and from how many points on the index is used."""

    backend: ClassVar[str] = "index-rig"

    index_from: int = index_from(1_000_000)


class IndexRigPlugin(RigPlugin):
    """The rig with an index as it stands: correct."""

    config = f"{__name__}:IndexedConfig"

    @classmethod
    def get_capabilities(cls) -> BackendCapabilities:
        return IndexRig.claims

    @classmethod
    def get_backend_class(cls) -> type:
        return IndexRig


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """The points at the time when it was built. One that was written again since is another object."""

    centres: FloatMatrix
    parts: list[list[Point]]
    held: dict[Any, Point]


class IndexRig(Rig):
    """Correct as it stands: each step of a search by the index is a method."""

    claims: ClassVar[BackendCapabilities] = CAPABILITIES.model_copy(
        update={"index_kinds": ["ivf"], "exact_search": True, "search_effort": True}
    )
    plugin: ClassVar[type[BackendPlugin]] = IndexRigPlugin
    cuts: ClassVar[dict[Collection, Cut]] = {}
    max_candidates: ClassVar[int | None] = 200
    takes_filters: ClassVar[bool] = False
    share: ClassVar[float] = 0.6
    """Of the parts, those that are read."""
    config: IndexedConfig

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.cuts = {}

    @property
    def capabilities(self) -> BackendCapabilities:
        return self.claims.with_exact_size(self.config.index_from)

    # --- building ---

    def is_wanted(self, collection: Collection) -> bool:
        """Whether the collection is to be indexed now."""
        return wants_index(collection.settings) and len(collection.points) > self.config.index_from

    def metric_of(self, collection: Collection) -> DistanceMetric:
        """By what points are near to each other."""
        return collection.settings.metric

    async def _optimize(self, collection: Collection) -> None:
        if self.is_wanted(collection):
            self.cuts[collection] = self.cut(collection)

    def cut(self, collection: Collection) -> Cut:
        """Centres among the points, and the points of each."""
        points, metric = list(collection.points.values()), self.metric_of(collection)
        matrix = np.stack([point.vector for point in points])
        option = collection.settings.vector_index
        number = min(len(points), (option.numbers if option else {}).get("partitions", _PARTITIONS))
        centres = matrix[np.random.default_rng(0).permutation(len(points))[:number]]
        for _ in range(_ROUNDS):
            nearest = self._nearest(metric, centres, matrix)
            # Where no point is left to a centre it stays where it is.
            centres = np.stack(
                [matrix[nearest == n].mean(axis=0) if (nearest == n).any() else centres[n] for n in range(number)]
            )
        nearest = self._nearest(metric, centres, matrix)
        parts = [[points[row] for row in np.flatnonzero(nearest == n)] for n in range(number)]
        return Cut(centres, parts, {point.id: point for point in points})

    def _nearest(self, metric: DistanceMetric, centres: FloatMatrix, matrix: FloatMatrix) -> Any:
        if metric is DistanceMetric.DOT_PRODUCT:  # the longest centre would draw all points to it
            metric = DistanceMetric.EUCLIDEAN
        return np.argmax(np.stack([self.score(metric, centre, matrix) for centre in centres]), axis=0)

    # --- searching ---

    def way(self, collection: Collection, query: Query) -> Way:
        """How the search is answered."""
        index = None
        if collection in self.cuts and wants_index(collection.settings):
            index = SearchIndex(self.config.index_from, self.max_candidates, self.takes_filters)
        return plan(len(collection.points), query, index)

    def effort(self, query: Query) -> float:
        """What the parts that are read are multiplied by."""
        return query.effort

    def near(self, collection: Collection, query: Query) -> Iterable[Point]:
        """The points of the parts around the query."""
        cut = self.cuts[collection]
        order = np.argsort(-self.score(self.metric_of(collection), query.vector, cut.centres), kind="stable")
        for part in order[: ceil(self.share * self.effort(query) * len(order))]:
            yield from cut.parts[part]

    def is_there(self, collection: Collection, point: Point) -> bool:
        """Whether a point of the index is as it was."""
        return collection.points.get(point.id) is point

    def tail(self, collection: Collection) -> Iterable[Point]:
        """The points that were written since the index was built."""
        held = self.cuts[collection].held
        return [point for point in collection.points.values() if held.get(point.id) is not point]

    def candidates(self, collection: Collection, query: Query) -> list[Point]:
        """The points that are compared with the query."""
        near = [point for point in self.near(collection, query) if self.is_there(collection, point)]
        return [point for point in (*near, *self.tail(collection)) if self.matches(query.filter, point.payload)]

    def by_index(self, collection: Collection, query: Query) -> list[SearchResult]:
        """The best of the candidates."""
        found = self.candidates(collection, query)
        if not found:
            return []
        score = self.compared(collection.settings.metric, query.vector, np.stack([point.vector for point in found]))
        return [hit_of(found[row], float(score[row]), query.projection) for row in self.order(score)[: query.limit]]

    def compared(self, metric: DistanceMetric, query: FloatMatrix, matrix: FloatMatrix) -> Any:
        """The scores of the candidates."""
        return self.score(metric, query, matrix)

    def kept(self, hits: Sequence[SearchResult], query: Query) -> list[SearchResult]:
        """The hits that pass the threshold."""
        return [hit for hit in hits if query.passes(hit.score)]

    async def asked(self, way: Way, collection: Collection, query: Query) -> list[SearchResult]:
        """The answer of one way, which the other may have to replace."""

        async def ask(way: Way) -> list[SearchResult]:
            return self.by_index(collection, query) if way is Way.INDEXED else self.answer(collection, query)

        return await answered(way, query, len(collection.points), ask)

    async def _search(self, collection: Collection, query: Query) -> list[SearchResult]:
        way = self.way(collection, query)
        if way is Way.EXACT:
            return self.answer(collection, query)
        return self.kept(await self.asked(way, collection, replace(query, threshold=None)), query)

    async def _indexed(self, collection: Collection, size: int) -> int:
        cut = self.cuts.get(collection)
        return 0 if cut is None else sum(self.is_there(collection, point) for point in cut.held.values())
