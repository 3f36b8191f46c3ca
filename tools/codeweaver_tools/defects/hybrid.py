"""Hybrid search: arguments that do not count, legs that are lost, hits that lack something."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from codeweaver_backends.errors import BackendConnectionError, InvalidInputError
from codeweaver_backends.sdk.filters.tree import ALWAYS
from codeweaver_backends.sdk.hybrid.fusion import Leg, best, fuse, normalised
from codeweaver_backends.sdk.hybrid.vectors import SparseRow, SparseRows
from codeweaver_backends.sdk.lifetime import operation
from codeweaver_backends.sdk.requests import HybridQuery, Slot, SparseQuery
from codeweaver_backends.types import HybridStrategy, SearchResult, VectorPoint
from codeweaver_tools.defects.registry import plant
from codeweaver_tools.defects.rig import Collection, Rig

RRF, DBSF, LINEAR, CONVEX = HybridStrategy.RRF, HybridStrategy.DBSF, HybridStrategy.LINEAR, HybridStrategy.CONVEX


class _Asked(Rig):
    """Asks another query than it was given."""

    def asked(self, query: HybridQuery) -> HybridQuery:
        return query

    async def _hybrid(self, collection: Collection, query: HybridQuery) -> list[SearchResult]:
        return await super()._hybrid(collection, self.asked(query))


class Fused(Rig):
    """Fuses in another way."""

    def fused(self, dense: Leg, sparse: Leg, query: HybridQuery) -> Leg:
        totals: dict[Any, float] = {}
        for leg, weight in ((dense, query.alpha), (sparse, 1 - query.alpha)):
            for one, score in zip(leg.ids, self.counted(leg.scores, query.strategy).tolist(), strict=True):
                totals[one] = totals.get(one, 0.0) + weight * score
        return best(Leg(list(totals), np.array(list(totals.values()), np.float64)), query.limit, 0.0)

    def counted(self, scores: Any, strategy: HybridStrategy) -> Any:
        return normalised(scores, strategy)

    async def _hybrid(self, collection: Collection, query: HybridQuery) -> list[SearchResult]:
        found = self.fused(*await self._legs(collection, query), query)
        return await self._fetched(collection, found, query.projection)


# --- arguments -------------------------------------------------------------------------------------------------------


@plant("hyb-alpha-ignored", "alpha is accepted and has no effect.")
class _AlphaIgnored(_Asked):
    def asked(self, query: HybridQuery) -> HybridQuery:
        return replace(query, alpha=0.5)


@plant("hyb-alpha-turned", "alpha is the weight of the sparse leg.")
class _AlphaTurned(_Asked):
    def asked(self, query: HybridQuery) -> HybridQuery:
        return replace(query, alpha=1 - query.alpha)


@plant("hyb-alpha-clamped", "An alpha out of range is brought into it.", side="above")
class _AlphaClamped(Rig):
    async def hybrid_search(
        self, collection_name: str, dense_vector: Any, sparse_query: Any, *args: Any, **kwargs: Any
    ) -> Any:
        alpha = kwargs.get("alpha")
        if type(alpha) is float and alpha == alpha:
            kwargs["alpha"] = min(1.0, max(0.0, alpha))
        return await super().hybrid_search(collection_name, dense_vector, sparse_query, *args, **kwargs)


@plant("hyb-option-ignored", "Options that are not known are swallowed.", side="above")
class _OptionIgnored(Rig):
    async def hybrid_search(
        self, collection_name: str, dense_vector: Any, sparse_query: Any, *args: Any, **kwargs: Any
    ) -> Any:
        known = ("alpha", "limit", "hybrid_strategy", "search_filter", "candidates", "with_payload", "with_vectors")
        kept = {option: value for option, value in kwargs.items() if option in known}
        return await super().hybrid_search(collection_name, dense_vector, sparse_query, *args, **kept)


@plant("hyb-candidates-ignored", "Pools have 100 candidates whatever is asked.")
class _CandidatesIgnored(_Asked):
    def asked(self, query: HybridQuery) -> HybridQuery:
        return replace(query, candidates=max(100, query.limit))


@plant("hyb-pool-is-limit", "Pools have as many candidates as results are wanted.")
class _PoolIsLimit(_Asked):
    def asked(self, query: HybridQuery) -> HybridQuery:
        return replace(query, candidates=query.limit)


@plant("hyb-strategy-ignored", "Every strategy is RRF.")
class _StrategyIgnored(_Asked):
    def asked(self, query: HybridQuery) -> HybridQuery:
        return replace(query, strategy=RRF)


@plant("hyb-negative-limit", "A negative number of candidates is the default.", side="above")
class _NegativeCandidates(Rig):
    async def hybrid_search(
        self, collection_name: str, dense_vector: Any, sparse_query: Any, *args: Any, **kwargs: Any
    ) -> Any:
        given = kwargs.get("candidates")
        if type(given) is int and given <= 0:
            del kwargs["candidates"]
        return await super().hybrid_search(collection_name, dense_vector, sparse_query, *args, **kwargs)


# --- legs ------------------------------------------------------------------------------------------------------------


@plant("hyb-dense-only", "A hybrid search is a dense search.")
class _DenseOnly(_Asked):
    def asked(self, query: HybridQuery) -> HybridQuery:
        return replace(query, alpha=1.0)


@plant("hyb-sparse-only", "A hybrid search is a sparse search where anything shares a term.")
class _SparseOnly(_Asked):
    def asked(self, query: HybridQuery) -> HybridQuery:
        return replace(query, alpha=0.0) if 0 < query.alpha < 1 and query.sparse else query


@plant("hyb-text-query-ignored", "A text query has no effect.")
class _TextIgnored(_Asked):
    def asked(self, query: HybridQuery) -> HybridQuery:
        nothing = SparseRow(np.empty(0, np.uint32), np.empty(0, np.float32))
        return replace(query, sparse=nothing) if query.slot is Slot.TEXT else query


@plant("hyb-text-syntax", "Punctuation of a text query reaches a query parser.", side="above")
class _TextSyntax(Rig):
    async def hybrid_search(
        self, collection_name: str, dense_vector: Any, sparse_query: Any, *args: Any, **kwargs: Any
    ) -> Any:
        if isinstance(sparse_query, str) and set('"()*') & set(sparse_query):
            raise BackendConnectionError("syntax error near offset 0")
        return await super().hybrid_search(collection_name, dense_vector, sparse_query, *args, **kwargs)


@plant("hyb-lexical-gate", "A point that shares no term is not returned.")
class _LexicalGate(Fused):
    def fused(self, dense: Leg, sparse: Leg, query: HybridQuery) -> Leg:
        if query.alpha < 1:
            rows = [row for row, one in enumerate(dense.ids) if one in set(sparse.ids)]
            dense = Leg([dense.ids[row] for row in rows], dense.scores[rows])
        return fuse(dense, sparse, query.strategy, query.alpha, query.limit)


@plant("hyb-inner-join", "Only points of both legs are returned.")
class _InnerJoin(Fused):
    def fused(self, dense: Leg, sparse: Leg, query: HybridQuery) -> Leg:
        found = fuse(dense, sparse, query.strategy, query.alpha, query.limit)
        both = set(dense.ids) & set(sparse.ids) if 0 < query.alpha < 1 and len(sparse) else set(found.ids)
        rows = [row for row, one in enumerate(found.ids) if one in both]
        return Leg([found.ids[row] for row in rows], found.scores[rows])


@plant("hyb-ends-run-both", "At an alpha of 0 and 1 the other leg's points are returned too, with a score of 0.")
class _EndsRunBoth(Rig):
    async def _legs(self, collection: Collection, query: HybridQuery) -> tuple[Leg, Leg]:
        return await super()._legs(collection, replace(query, alpha=0.5))


@plant("hyb-filter-dense-leg", "The filter binds the dense leg only.")
class _FilterDenseLeg(Rig):
    async def _search_sparse(self, collection: Collection, query: SparseQuery) -> Leg:
        return await super()._search_sparse(collection, replace(query, filter=ALWAYS))


@plant("hyb-filter-sparse-leg", "The filter binds the sparse leg only.")
class _FilterSparseLeg(Rig):
    async def _legs(self, collection: Collection, query: HybridQuery) -> tuple[Leg, Leg]:
        _, sparse = await super()._legs(collection, query)
        dense, _ = await super()._legs(collection, replace(query, filter=ALWAYS))
        return dense, sparse


@plant("hyb-filter-after-pool", "The filter is applied to the pools.")
class _FilterAfterPool(Rig):
    async def _legs(self, collection: Collection, query: HybridQuery) -> tuple[Leg, Leg]:
        wanted = {point.id for point in collection.matching(query.filter)}
        kept = []
        for leg in await super()._legs(collection, replace(query, filter=ALWAYS)):
            rows = [row for row, one in enumerate(leg.ids) if one in wanted]
            kept.append(Leg([leg.ids[row] for row in rows], leg.scores[rows]))
        return kept[0], kept[1]


@plant("hyb-zero-scores", "Points that share no term are in the sparse leg, with a score of 0.")
class _ZeroScores(Rig):
    async def _search_sparse(self, collection: Collection, query: SparseQuery) -> Leg:
        found = collection.matching(query.filter)
        score = SparseRows.of(point.slot(query.slot) for point in found).scores(query.vector)
        order = np.argsort(-score, kind="stable")[: query.limit]
        return Leg([found[row].id for row in order.tolist()], score[order])


@plant("hyb-slots-one", "A dict query finds terms of the text, too.")
class _SlotsOne(Rig):
    async def _search_sparse(self, collection: Collection, query: SparseQuery) -> Leg:
        leg = await super()._search_sparse(collection, query)
        if len(leg) or query.slot is Slot.TEXT:
            return leg
        return await super()._search_sparse(collection, replace(query, slot=Slot.TEXT))


@plant("hyb-cosine", "The sparse leg is a cosine.")
class _Cosine(Rig):
    async def _search_sparse(self, collection: Collection, query: SparseQuery) -> Leg:
        leg = await super()._search_sparse(collection, replace(query, limit=1_000_000))
        slots = [collection.points[one].slot(query.slot).weights for one in leg.ids]
        lengths = np.array([float(np.linalg.norm(one)) for one in slots])
        score = leg.scores / np.maximum(lengths, 1e-30)
        order = np.argsort(-score, kind="stable")[: query.limit]
        return Leg([leg.ids[row] for row in order.tolist()], score[order])


@plant("hyb-float16", "Weights are kept in half precision.")
class _Float16(Rig):
    def _write_all(self, collection: Collection, batch: Any) -> None:
        if batch.sparse is not None:
            coarse = np.clip(batch.sparse.weights, 0, 6e4).astype(np.float16).astype(np.float32)
            batch = replace(batch, sparse=replace(batch.sparse, weights=coarse))
        super()._write_all(collection, batch)


@plant("hyb-sparse-order", "Indices are sorted and their weights are not.")
class _SparseOrder(Rig):
    @operation
    async def upsert_vectors(self, collection_name: str, vectors: list[VectorPoint]) -> None:
        points = list(vectors) if isinstance(vectors, list) else vectors
        if isinstance(points, list):
            points = [self._drifted(one) for one in points]
        await super().upsert_vectors(collection_name, points)

    def _drifted(self, point: Any) -> Any:
        given = getattr(point, "sparse_vector", None)
        if not isinstance(given, dict) or not all(type(term) is str for term in given):
            return point
        return replace(point, sparse_vector=dict(zip(sorted(given), given.values(), strict=True)))


# --- what is shown ---------------------------------------------------------------------------------------------------


@plant("hyb-payload-lost", "Hits of a hybrid search have no payload.")
class _PayloadLost(Rig):
    async def _fetched(self, collection: Any, found: Any, projection: Any) -> list[SearchResult]:
        return await super()._fetched(collection, found, replace(projection, payload=False))


@plant("hyb-vectors-lost", "Hits of a hybrid search have no vector.")
class _VectorsLost(Rig):
    async def _fetched(self, collection: Any, found: Any, projection: Any) -> list[SearchResult]:
        return await super()._fetched(collection, found, replace(projection, vectors=False))


@plant("hyb-scores-numpy", "Scores are numbers of numpy.")
class _ScoresNumpy(Rig):
    async def _fetched(self, collection: Any, found: Any, projection: Any) -> list[SearchResult]:
        hits = await super()._fetched(collection, found, projection)
        scores: Any = [np.float32(hit.score) for hit in hits]
        return [replace(hit, score=score) for hit, score in zip(hits, scores, strict=True)]


@plant("hyb-ascending", "The worst come first.")
class _Ascending(Rig):
    async def _fetched(self, collection: Any, found: Any, projection: Any) -> list[SearchResult]:
        return (await super()._fetched(collection, found, projection))[::-1]


@plant("hyb-query-type", "What is no query is an empty one.", side="above")
class _QueryType(Rig):
    async def hybrid_search(
        self, collection_name: str, dense_vector: Any, sparse_query: Any, *args: Any, **kwargs: Any
    ) -> Any:
        known = sparse_query if isinstance(sparse_query, str | dict) else {}
        return await super().hybrid_search(collection_name, dense_vector, known, *args, **kwargs)


@plant("hyb-no-index-empty", "A text query without an index finds nothing, and says so of no one.", side="above")
class _NoIndexEmpty(Rig):
    async def hybrid_search(
        self, collection_name: str, dense_vector: Any, sparse_query: Any, *args: Any, **kwargs: Any
    ) -> Any:
        try:
            return await super().hybrid_search(collection_name, dense_vector, sparse_query, *args, **kwargs)
        except InvalidInputError as error:
            if "create_sparse_index" not in str(error):
                raise
            return await super().hybrid_search(collection_name, dense_vector, {}, *args, **kwargs)
