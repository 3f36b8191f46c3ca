"""Indexes: looking at too little, in the wrong place, at the wrong time, and telling the wrong thing of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from math import ceil
from typing import Any, ClassVar

import numpy as np

from codeweaver_backends.errors import CollectionNotFoundError
from codeweaver_backends.memory.store import Collection, Point
from codeweaver_backends.sdk.filters.tree import ALWAYS
from codeweaver_backends.sdk.lifetime import operation
from codeweaver_backends.sdk.plan import SearchIndex, Way, plan
from codeweaver_backends.sdk.requests import CollectionSettings, HybridQuery, Query
from codeweaver_backends.sdk.vector_index import VectorIndex
from codeweaver_backends.types import CollectionInfo, DistanceMetric, FloatMatrix, SearchResult
from codeweaver_tools.defects.index_rig import Cut, IndexRig
from codeweaver_tools.defects.registry import plant

# --- what is looked at ---


@plant("idx-few-probes", "The engine's default number of parts is read, whatever it finds.")
class _FewProbes(IndexRig):
    share: ClassVar[float] = 8 / 64


@plant("idx-nearly-enough", "Half of the parts would do for clusters, and a third is read.")
class _NearlyEnough(IndexRig):
    share: ClassVar[float] = 0.25


@plant("idx-filter-after-search", "The index gives ten, and the filter takes from them what does not match.")
class _FilterAfterSearch(IndexRig):
    takes_filters: ClassVar[bool] = True

    def way(self, collection: Collection, query: Query) -> Way:
        return super().way(collection, replace(query, filter=ALWAYS))

    def by_index(self, collection: Collection, query: Query) -> list[SearchResult]:
        hits = super().by_index(collection, replace(query, filter=ALWAYS))
        return [hit for hit in hits if self.matches(query.filter, collection.points[hit.id].payload)]

    async def asked(self, way: Way, collection: Collection, query: Query) -> list[SearchResult]:
        return self.by_index(collection, query)


@plant("idx-filter-over-fetched", "Five times as many are asked of the index before the filter is applied.")
class _FilterOverFetched(IndexRig):
    def way(self, collection: Collection, query: Query) -> Way:
        return super().way(collection, replace(query, filter=ALWAYS))

    def by_index(self, collection: Collection, query: Query) -> list[SearchResult]:
        hits = super().by_index(collection, replace(query, filter=ALWAYS, limit=5 * query.limit))
        return [hit for hit in hits if self.matches(query.filter, collection.points[hit.id].payload)][: query.limit]


@plant("idx-filter-in-the-parts", "A filtered search reads as many parts as any other, and what matches in them.")
class _FilterInTheParts(IndexRig):
    def way(self, collection: Collection, query: Query) -> Way:
        return super().way(collection, replace(query, filter=ALWAYS))

    async def asked(self, way: Way, collection: Collection, query: Query) -> list[SearchResult]:
        return self.by_index(collection, query)


@plant("idx-filter-until-enough", "A filtered search reads parts until it has found the limit.")
class _FilterUntilEnough(IndexRig):
    takes_filters: ClassVar[bool] = True

    def candidates(self, collection: Collection, query: Query) -> list[Point]:
        if not query.is_filtered:
            return super().candidates(collection, query)
        cut, found = self.cuts[collection], list[Point]()
        order = np.argsort(-self.score(self.metric_of(collection), query.vector, cut.centres), kind="stable")
        for part in order:
            there = (point for point in cut.parts[part] if self.is_there(collection, point))
            found += [point for point in there if self.matches(query.filter, point.payload)]
            if len(found) >= query.limit:
                break
        return [*found, *(p for p in self.tail(collection) if self.matches(query.filter, p.payload))]


@plant("idx-limit-clipped", "No more is found than the index looks at: a larger limit is clipped.")
class _LimitClipped(IndexRig):
    max_candidates: ClassVar[int | None] = None

    def candidates(self, collection: Collection, query: Query) -> list[Point]:
        found = super().candidates(collection, query)
        score = self.score(collection.settings.metric, query.vector, np.stack([point.vector for point in found]))
        return [found[row] for row in self.order(score)[:200]]

    async def asked(self, way: Way, collection: Collection, query: Query) -> list[SearchResult]:
        return self.by_index(collection, query)


@plant("idx-large-limits", "A large limit is answered by as many parts as a small one.")
class _LargeLimits(IndexRig):
    max_candidates: ClassVar[int | None] = None
    share: ClassVar[float] = 0.5


@plant("idx-short", "An index that finds less than is wanted is not asked again.")
class _Short(IndexRig):
    max_candidates: ClassVar[int | None] = None

    async def asked(self, way: Way, collection: Collection, query: Query) -> list[SearchResult]:
        return self.by_index(collection, query)


@plant("idx-one-graph-of-another-metric", "The index is built by cosine, whatever the collection's metric.")
class _AnotherMetric(IndexRig):
    def metric_of(self, collection: Collection) -> DistanceMetric:
        return DistanceMetric.COSINE


@plant("idx-lengths-forgotten", "Vectors are compared at length 1 by the index, under every metric.")
class _LengthsForgotten(IndexRig):
    def by_index(self, collection: Collection, query: Query) -> list[SearchResult]:
        cosine = replace(collection.settings, metric=DistanceMetric.COSINE)
        found = self.candidates(collection, query)
        score = self.score(cosine.metric, query.vector, np.stack([point.vector for point in found]))
        best = [found[row] for row in self.order(score)[: query.limit]]
        exact = self.score(collection.settings.metric, query.vector, np.stack([point.vector for point in best]))
        hits = [SearchResult(point.id, float(one)) for point, one in zip(best, exact, strict=True)]
        return sorted(hits, key=lambda hit: -hit.score)


# --- what has changed since ---


@plant("idx-tail-skipped", "Points that were written since the index was built are not found.")
class _TailSkipped(IndexRig):
    def tail(self, collection: Collection) -> Iterable[Point]:
        return ()


@plant("idx-new-ids-only", "Of what was written since the index was built only new ids are looked at.")
class _NewIdsOnly(IndexRig):
    def tail(self, collection: Collection) -> Iterable[Point]:
        held = self.cuts[collection].held
        return [point for point in super().tail(collection) if point.id not in held]


@plant("idx-deleted-returned", "A point that was deleted is found until the index is built again.")
class _DeletedReturned(IndexRig):
    def is_there(self, collection: Collection, point: Point) -> bool:
        return collection.points.get(point.id, point) is point


@plant("idx-replaced-returned", "A point that was replaced is found where it was.")
class _ReplacedReturned(IndexRig):
    def is_there(self, collection: Collection, point: Point) -> bool:
        return point.id in collection.points


@plant("idx-deleted-looked-at", "What was deleted counts among the candidates that the index looks at.")
class _DeletedLookedAt(IndexRig):
    def candidates(self, collection: Collection, query: Query) -> list[Point]:
        near = list(self.near(collection, query))
        score = self.score(collection.settings.metric, query.vector, np.stack([point.vector for point in near]))
        best = [near[row] for row in self.order(score)[: max(200, 2 * query.limit)]]
        return [point for point in best if self.is_there(collection, point)] + list(self.tail(collection))

    async def asked(self, way: Way, collection: Collection, query: Query) -> list[SearchResult]:
        return self.by_index(collection, query)

    share: ClassVar[float] = 0.4


@plant("idx-never-small-again", "A collection that has an index is answered by it, however small it has become.")
class _NeverSmallAgain(IndexRig):
    def way(self, collection: Collection, query: Query) -> Way:
        index = SearchIndex(1, self.max_candidates, self.takes_filters) if collection in self.cuts else None
        return plan(len(collection.points), query, index)


# --- scores ---


@plant("idx-quantised-scores", "Scores are of the vectors as the index keeps them, in halves of the precision.")
class _QuantisedScores(IndexRig):
    def compared(self, metric: DistanceMetric, query: FloatMatrix, matrix: FloatMatrix) -> Any:
        return self.score(metric, query, (matrix * 16).round() / np.float32(16))


@plant("idx-quantised-threshold", "The threshold is compared with the score before it is made exact.")
class _QuantisedThreshold(IndexRig):
    def kept(self, hits: Any, query: Query) -> list[SearchResult]:
        return [hit for hit in hits if query.threshold is None or round(hit.score, 2) >= query.threshold]


@plant("idx-threshold-forgotten", "What the index finds is not compared with the threshold.")
class _ThresholdForgotten(IndexRig):
    def kept(self, hits: Any, query: Query) -> list[SearchResult]:
        return list(hits)


# --- options ---


@plant("idx-exact-ignored", "exact=True is taken, and the index answers.")
class _ExactIgnored(IndexRig):
    def way(self, collection: Collection, query: Query) -> Way:
        return super().way(collection, replace(query, exact=False))


@plant("idx-exact-of-hybrid-ignored", "exact=True does not reach the dense leg of a hybrid search.")
class _ExactOfHybridIgnored(IndexRig):
    takes_filters: ClassVar[bool] = True

    async def _hybrid(self, collection: Collection, query: HybridQuery) -> list[SearchResult]:
        return await super()._hybrid(collection, replace(query, exact=False))

    def way(self, collection: Collection, query: Query) -> Way:
        if query.projection.payload is False and query.is_filtered and not query.exact and query.limit > 10:
            index = SearchIndex(self.config.index_from, None) if collection in self.cuts else None
            return plan(len(collection.points), query, index)
        return super().way(collection, replace(query, exact=True) if query.is_filtered else query)


@plant("idx-effort-ignored", "effort is taken, and changes nothing.")
class _EffortIgnored(IndexRig):
    def effort(self, query: Query) -> float:
        return 1.0


@plant("idx-effort-divides", "effort divides what is looked at.")
class _EffortDivides(IndexRig):
    def effort(self, query: Query) -> float:
        return 1 / query.effort


@plant("idx-effort-refused", "effort is claimed, and refused as unknown.", side="above")
class _EffortRefused(IndexRig):
    @operation
    async def search_vectors(self, *args: Any, **kwargs: Any) -> list[SearchResult]:
        if "effort" in kwargs:
            raise TypeError("search_vectors() got an unexpected keyword argument 'effort'")
        return await super().search_vectors(*args, **kwargs)


@plant("idx-any-effort", "An effort of nothing is taken.", side="above")
class _AnyEffort(IndexRig):
    @operation
    async def search_vectors(self, *args: Any, **kwargs: Any) -> list[SearchResult]:
        if kwargs.get("effort") in (0, 0.5):
            del kwargs["effort"]
        return await super().search_vectors(*args, **kwargs)


@plant("idx-exact-of-anything", "Anything that is true makes a search exact.", side="above")
class _ExactOfAnything(IndexRig):
    @operation
    async def search_vectors(self, *args: Any, **kwargs: Any) -> list[SearchResult]:
        if "exact" in kwargs:
            kwargs["exact"] = bool(kwargs["exact"])
        return await super().search_vectors(*args, **kwargs)


@plant("idx-exact-collection-indexed", "A collection that wants no index gets one.")
class _ExactCollectionIndexed(IndexRig):
    def is_wanted(self, collection: Collection) -> bool:
        return len(collection.points) > self.config.index_from

    def way(self, collection: Collection, query: Query) -> Way:
        index = SearchIndex(self.config.index_from, None, self.takes_filters) if collection in self.cuts else None
        return plan(len(collection.points), query, index)


@plant("idx-from-the-start", "A collection is answered by its index before it has outgrown the exact size.")
class _FromTheStart(IndexRig):
    def is_wanted(self, collection: Collection) -> bool:
        return bool(collection.points) and not (collection.settings.vector_index or VectorIndex("exact")).is_exact

    def way(self, collection: Collection, query: Query) -> Way:
        index = SearchIndex(1, self.max_candidates, self.takes_filters) if collection in self.cuts else None
        return plan(len(collection.points), query, index)


@plant("idx-kind-forgotten", "A kind of index is taken, and the engine's own choice is stored.")
class _KindForgotten(IndexRig):
    async def _create(self, settings: CollectionSettings) -> None:
        wants = settings.vector_index is not None and not settings.vector_index.is_exact
        await super()._create(replace(settings, vector_index=VectorIndex()) if wants else settings)


@plant("idx-unknown-kind", "An index of a kind that nobody has is the engine's own choice.", side="above")
class _UnknownKind(IndexRig):
    @operation
    async def create_collection(self, name: str, dimension: int, *args: Any, **kwargs: Any) -> None:
        option = kwargs.get("vector_index")
        if isinstance(option, dict) and option.get("kind") not in ("ivf", "hnsw"):
            del kwargs["vector_index"]
        await super().create_collection(name, dimension, *args, **kwargs)


@plant("idx-unclaimed-kind", "An index of an unclaimed kind is the engine's own choice.", side="above")
class _UnclaimedKind(IndexRig):
    @operation
    async def create_collection(self, name: str, dimension: int, *args: Any, **kwargs: Any) -> None:
        option = kwargs.get("vector_index")
        if isinstance(option, dict) and option.get("kind") == "hnsw":
            del kwargs["vector_index"]
        await super().create_collection(name, dimension, *args, **kwargs)


# --- upkeep, and what is told ---


@plant("idx-optimize-loses-the-tail", "What is written while the index is built is in no index and no tail.")
class _OptimizeLosesTheTail(IndexRig):
    lost: ClassVar[set[Any]] = set()

    async def _optimize(self, collection: Collection) -> None:
        if self.is_wanted(collection):
            known = self.cuts.get(collection)
            fresh = set() if known is None else {point.id for point in super().tail(collection)}
            await super()._optimize(collection)
            self.lost |= fresh

    def candidates(self, collection: Collection, query: Query) -> list[Point]:
        return [point for point in super().candidates(collection, query) if point.id not in self.lost]


@plant("idx-optimize-deletes", "Optimizing drops the last point.")
class _OptimizeDeletes(IndexRig):
    async def _optimize(self, collection: Collection) -> None:
        if collection.points:
            collection.points.popitem()
        await super()._optimize(collection)


@plant("idx-optimize-creates", "Optimizing a missing collection is no error.", side="above")
class _OptimizeCreates(IndexRig):
    @operation
    async def optimize_collection(self, name: str) -> CollectionInfo:
        try:
            return await super().optimize_collection(name)
        except CollectionNotFoundError:
            return CollectionInfo(name, 2, DistanceMetric.COSINE, 0)


@plant("idx-optimize-tells-before", "Optimizing tells what was there before it.")
class _OptimizeTellsBefore(IndexRig):
    @operation
    async def optimize_collection(self, name: str) -> CollectionInfo:
        before = await self.get_collection_info(name)
        await super().optimize_collection(name)
        return before


@plant("idx-optimize-nothing", "Optimizing returns before the index holds all points.")
class _OptimizeNothing(IndexRig):
    def cut(self, collection: Collection) -> Cut:
        made = super().cut(collection)
        kept = dict(list(made.held.items())[:-200])
        return Cut(made.centres, [[p for p in part if p.id in kept] for part in made.parts], kept)


@plant("idx-count-of-all", "All points are said to be indexed, with an index or without one.")
class _CountOfAll(IndexRig):
    async def _indexed(self, collection: Collection, size: int) -> int:
        return size


@plant("idx-count-of-deleted", "Deleted points are counted as indexed until the index is built again.")
class _CountOfDeleted(IndexRig):
    async def _indexed(self, collection: Collection, size: int) -> int:
        cut = self.cuts.get(collection)
        return 0 if cut is None else len(cut.held)


@plant("idx-count-never", "No point is ever said to be indexed.")
class _CountNever(IndexRig):
    async def _indexed(self, collection: Collection, size: int) -> int:
        return 0


@plant("idx-reopen-forgets", "A fresh instance does not know how a collection is indexed.")
class _ReopenForgets(IndexRig):
    def __init__(self, config: Any) -> None:
        super().__init__(config)
        for collection in self._store.collections.values():
            collection.settings = replace(collection.settings, vector_index=None)


@plant("idx-reopen-few", "A fresh instance reads the engine's default number of parts.")
class _ReopenFew(IndexRig):
    opened: ClassVar[int] = 0

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.is_first = not self._store.collections

    def near(self, collection: Collection, query: Query) -> Iterable[Point]:
        if self.is_first:
            yield from super().near(collection, query)
            return
        cut = self.cuts[collection]
        order = np.argsort(-self.score(self.metric_of(collection), query.vector, cut.centres), kind="stable")
        for part in order[: ceil(0.1 * len(order))]:
            yield from cut.parts[part]


@plant("idx-scores-descending-by-part", "Points come part by part, each part best first.")
class _PartByPart(IndexRig):
    def order(self, score: Any) -> Any:
        rows = super().order(score)
        return rows if len(rows) < 2_000 else [*rows[1:3], rows[0], *rows[3:]]


@plant("idx-twice", "A point that was replaced since the index was built comes twice.")
class _Twice(IndexRig):
    def by_index(self, collection: Collection, query: Query) -> list[SearchResult]:
        held = self.cuts[collection].held
        hits = super().by_index(collection, query)
        return [one for hit in hits for one in [hit] * (1 + (held.get(hit.id) is not collection.points.get(hit.id)))][
            : query.limit
        ]
