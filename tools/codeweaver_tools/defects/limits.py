"""Limits: of results, and those that a filter may reach."""

from __future__ import annotations

from typing import Any, ClassVar

from codeweaver_backends.errors import BackendConnectionError, InvalidFilterError, InvalidInputError
from codeweaver_backends.sdk.filters.parse import parse_filter
from codeweaver_backends.sdk.filters.tree import All, AnyOf, Either, Node
from codeweaver_backends.sdk.lifetime import operation
from codeweaver_backends.sdk.requests import Query
from codeweaver_backends.types import FilterCondition, FilterLike, SearchResult
from codeweaver_tools.defects.filter_tools import (
    conditions,
)
from codeweaver_tools.defects.registry import plant
from codeweaver_tools.defects.rig import Collection, Rig


class _Limited(Rig):
    """The limit is made to fit before it is judged."""

    def limited(self, limit: Any) -> Any:
        return limit

    async def search_vectors(
        self, collection_name: str, query_vector: Any, limit: Any = 10, *args: Any, **kwargs: Any
    ) -> list[SearchResult]:
        return await super().search_vectors(collection_name, query_vector, self.limited(limit), *args, **kwargs)


@plant("lim-zero", "limit=0 returns the default number.", side="above")
class _Zero(_Limited):
    def limited(self, limit: Any) -> Any:
        return limit if type(limit) is not int else limit or 10


@plant("lim-zero-one", "limit=0 returns one result.", side="above")
class _ZeroOne(_Limited):
    def limited(self, limit: Any) -> Any:
        return 1 if type(limit) is int and limit == 0 else limit


@plant("lim-none-default", "limit=None returns the default number.", side="above")
class _NoneDefault(_Limited):
    def limited(self, limit: Any) -> Any:
        return 10 if limit is None else limit


@plant("lim-negative", "A negative limit is taken as a slice's end.", side="above")
class _Negative(_Limited):
    def limited(self, limit: Any) -> Any:
        return max(0, 5 + limit) if type(limit) is int and limit < 0 else limit


@plant("lim-bool", "True is taken for 1.", side="above")
class _Bool(_Limited):
    def limited(self, limit: Any) -> Any:
        return int(limit) if isinstance(limit, bool) else limit


@plant("lim-float", "1.0 is taken for 1, and 1.5 too.", side="above")
class _Float(_Limited):
    def limited(self, limit: Any) -> Any:
        return int(limit) if isinstance(limit, float) else limit


@plant("lim-index-refused", "A numpy integer is no limit.", side="above")
class _IndexRefused(_Limited):
    def limited(self, limit: Any) -> Any:
        return limit if type(limit) in (int, bool) else str(limit)


@plant("lim-default", "Without a limit five points are returned.", side="above")
class _Default(Rig):
    async def search_vectors(self, *args: Any, **kwargs: Any) -> list[SearchResult]:
        given: dict[str, Any] = kwargs if len(args) > 2 else {"limit": 5, **kwargs}
        return await super().search_vectors(*args, **given)


@plant("lim-clamped", "A limit above the declared maximum is taken for the maximum.", side="above")
class _Clamped(_Limited):
    def limited(self, limit: Any) -> Any:
        return min(limit, self.claims.limits.max_limit) if type(limit) is int else limit


@plant("lim-maximum-refused", "The declared maximum itself is refused: the engine takes 16,384.", side="above")
class _MaximumRefused(_Limited):
    def limited(self, limit: Any) -> Any:
        if type(limit) is int and 16_384 < limit <= self.claims.limits.max_limit:
            raise BackendConnectionError("the engine takes at most 16384")
        return limit


@plant("lim-gt-count", "A limit above the number of points raises the engine's error.")
class _GtCount(Rig):
    def answer(self, collection: Collection, query: Query) -> list[SearchResult]:
        if query.limit > len(collection.points):
            raise RuntimeError("not enough elements")
        return super().answer(collection, query)


@plant("lim-empty-raises", "Searching an empty collection raises.")
class _EmptyRaises(Rig):
    def answer(self, collection: Collection, query: Query) -> list[SearchResult]:
        if not collection.points:
            raise RuntimeError("no index")
        return super().answer(collection, query)


@plant("lim-padded", "A short result is padded with its last hit.")
class _PaddedResult(Rig):
    def answer(self, collection: Collection, query: Query) -> list[SearchResult]:
        results = super().answer(collection, query)
        return results + results[-1:] * min(1, query.limit - len(results))


@plant("lim-last-lost", "A limit equal to the number of points loses the last one.")
class _LastLost(Rig):
    def answer(self, collection: Collection, query: Query) -> list[SearchResult]:
        results = super().answer(collection, query)
        return results[:-1] if len(results) == len(collection.points) > 20 else results


class _PageOf(Rig):
    page: ClassVar[int]

    def answer(self, collection: Collection, query: Query) -> list[SearchResult]:
        return super().answer(collection, query)[: self.page]


@plant("lim-page-100", "A search returns at most 100 points, whatever the limit.")
class _Page100(_PageOf):
    page = 100


@plant("lim-page-1000", "A search returns at most 1,000 points, whatever the limit.")
class _Page1000(_PageOf):
    page = 1_000


@plant("lim-page-4096", "A search returns at most 4,096 points, whatever the limit.")
class _Page4096(_PageOf):
    page = 4_096


# --- declared limits of filters ---------------------------------------------------------------------------------------


@plant("lim-in-cut", "An in takes its first 100 values and forgets the others.", side="above")
class _InCut(Rig):
    def given(self, search_filter: FilterLike | None) -> FilterLike | None:
        def cut(one: FilterCondition) -> FilterCondition:
            long = one.operator in ("in", "nin") and isinstance(one.value, list | tuple)
            return FilterCondition(one.field, one.operator, one.value[:100] if long else one.value)

        return conditions(search_filter, cut)


@plant("lim-contains-cut", "A contains looks for the first 200 characters only.", side="above")
class _ContainsCut(Rig):
    def given(self, search_filter: FilterLike | None) -> FilterLike | None:
        def cut(one: FilterCondition) -> FilterCondition:
            long = one.operator == "contains" and isinstance(one.value, str)
            return FilterCondition(one.field, one.operator, one.value[:200] if long else one.value)

        return conditions(search_filter, cut)


def _conditions(node: Node) -> int:
    return sum(map(_conditions, node.parts)) if isinstance(node, All | Either) else 1


def _depth(node: Node) -> int:
    return 1 + max(map(_depth, node.parts)) if isinstance(node, All | Either) else 1


@plant("lim-conditions", "A filter of more than 50 conditions fails in the engine.")
class _Conditions(Rig):
    def answer(self, collection: Collection, query: Query) -> list[SearchResult]:
        if _conditions(query.filter) > 50:
            raise RuntimeError("too many clauses")
        return super().answer(collection, query)


@plant("lim-depth", "A filter nested deeper than six fails in the engine.")
class _Depth(Rig):
    def answer(self, collection: Collection, query: Query) -> list[SearchResult]:
        if _depth(query.filter) > 6:
            raise RecursionError("expression too deep")
        return super().answer(collection, query)


@plant("lim-in-values", "An in of more than 200 values fails in the engine.")
class _InValues(Rig):
    def leaf(self, node: Node, payload: dict[str, Any]) -> bool:
        if isinstance(node, AnyOf) and len(node.values) > 200:
            raise RuntimeError("too many values")
        return super().leaf(node, payload)


@plant("lim-filter-unchecked", "Filters beyond the declared limits are taken.")
class _FilterUnchecked(Rig):
    @operation
    async def search_vectors(self, *args: Any, **kwargs: Any) -> list[SearchResult]:
        kept = self.claims
        wide = dict.fromkeys(("max_filter_depth", "max_filter_conditions", "max_in_values"), 10**9)
        limits = kept.limits.model_copy(update={**wide, "max_contains_length": 10**9})
        self.claims = kept.model_copy(update={"limits": limits})
        try:
            return await super().search_vectors(*args, **kwargs)
        finally:
            self.claims = kept


@plant("lim-filter-cut", "A filter beyond the declared number of conditions is dropped.", side="above")
class _FilterCut(Rig):
    def given(self, search_filter: FilterLike | None) -> FilterLike | None:
        try:
            parse_filter(search_filter, self.claims)
        except InvalidFilterError:
            return search_filter
        except InvalidInputError:
            return None
        return search_filter
