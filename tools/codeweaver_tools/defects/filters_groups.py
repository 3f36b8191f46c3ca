"""Filters: not applied, applied too late, or grouped wrongly."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from codeweaver_backends.capabilities import Limits
from codeweaver_backends.errors import InvalidFilterError, LimitExceededError
from codeweaver_backends.sdk.filters.parse import parse_filter
from codeweaver_backends.sdk.filters.tree import All, Always, Either, Never, Node, Not
from codeweaver_backends.sdk.requests import Query
from codeweaver_backends.types import FilterCondition, FilterLike, Payload, SearchFilter, SearchResult
from codeweaver_tools.defects.filter_tools import (
    Regrouped,
    conditions,
    dropping,
    parts_of,
    well_formed,
)
from codeweaver_tools.defects.registry import plant
from codeweaver_tools.defects.rig import Collection, Rig


@plant("flt-ignored", "The filter is accepted and not applied.")
class _Ignored(Rig):
    def matches(self, node: Node, payload: Payload) -> bool:
        return True


@plant("flt-search-ignores", "A search with a threshold forgets its filter.")
class _SearchIgnores(Rig):
    def answer(self, collection: Collection, query: Query) -> list[SearchResult]:
        node = query.filter if query.threshold is None else Always()
        return super().answer(collection, dataclasses.replace(query, filter=node))


@plant("flt-known-keys-only", "Conditions on fields that are not in the adapter's list are dropped.", side="above")
class _KnownKeys(Rig):
    known: ClassVar = {"n", "f", "lang", "path", "near", "source", "category"}

    def given(self, search_filter: FilterLike | None) -> FilterLike | None:
        return dropping(search_filter, lambda one: one.field in self.known)


@plant("flt-first-condition-only", "Only the first condition of a list counts.", side="above")
class _FirstOnly(Regrouped):
    def group(self, one: SearchFilter) -> SearchFilter:
        return dataclasses.replace(one, must=parts_of(one.must)[:1])


@plant("flt-unknown-op-matches-all", "Operators that the adapter does not translate are skipped.", side="above")
class _UnknownOperators(Rig):
    def given(self, search_filter: FilterLike | None) -> FilterLike | None:
        return conditions(search_filter, lambda one: None if one.operator in ("contains", "is_null") else one)


@plant("flt-invented-op-skipped", "An operator that does not exist is skipped.", side="above")
class _InventedOperators(Rig):
    def given(self, search_filter: FilterLike | None) -> FilterLike | None:
        invented = ("like", "EQ", "between", "$eq", "not", "=")
        return conditions(search_filter, lambda one: None if one.operator in invented else one)


@plant("flt-should-as-and", "should takes the points that match all of it.", side="above")
class _ShouldAsAnd(Regrouped):
    def group(self, one: SearchFilter) -> SearchFilter:
        return SearchFilter(must=[*parts_of(one.must), *parts_of(one.should)], must_not=one.must_not)


@plant("flt-should-optional", "Beside must, should only matters for the score.", side="above")
class _ShouldOptional(Regrouped):
    def group(self, one: SearchFilter) -> SearchFilter:
        return dataclasses.replace(one, should=None) if one.must else one


@plant("flt-should-dropped", "should is not translated.", side="above")
class _ShouldDropped(Regrouped):
    def group(self, one: SearchFilter) -> SearchFilter:
        return dataclasses.replace(one, should=None)


@plant("flt-conditions-ignored", "The list conditions is not read.", side="above")
class _ConditionsIgnored(Rig):
    def given(self, search_filter: FilterLike | None) -> FilterLike | None:
        if isinstance(search_filter, SearchFilter) and isinstance(search_filter.conditions, list):
            return dataclasses.replace(search_filter, conditions=None)
        return search_filter


@plant("flt-nested-dropped", "Filters inside filters are left out.", side="above")
class _NestedDropped(Regrouped):
    def group(self, one: SearchFilter) -> SearchFilter:
        def flat(items: Any) -> list[Any]:
            return [item for item in parts_of(items) if isinstance(item, FilterCondition)]

        return SearchFilter(must=flat(one.must), should=flat(one.should), must_not=flat(one.must_not))


@plant("flt-nested-in-must-not-dropped", "Filters inside must_not are left out.", side="above")
class _NestedNotDropped(Regrouped):
    def group(self, one: SearchFilter) -> SearchFilter:
        kept = [item for item in parts_of(one.must_not) if isinstance(item, FilterCondition)]
        return dataclasses.replace(one, must_not=kept)


@plant("flt-precedence", "Groups lose their parentheses: (A or B) and C becomes A or (B and C).", side="above")
class _Precedence(Regrouped):
    def group(self, one: SearchFilter) -> SearchFilter:
        must = parts_of(one.must)
        if len(must) > 1 and isinstance(must[0], SearchFilter) and len(parts_of(must[0].should)) > 1:
            first, *others = parts_of(must[0].should)
            tail = SearchFilter(must=[*others[-1:], *must[1:]])
            return SearchFilter(must=[SearchFilter(should=[first, *others[:-1], tail])], must_not=one.must_not)
        return one


@plant("flt-or-groups-merged", "Two should groups under one must are merged into one.", side="above")
class _OrGroupsMerged(Regrouped):
    def group(self, one: SearchFilter) -> SearchFilter:
        groups = [
            item for item in parts_of(one.must) if isinstance(item, SearchFilter) and item.should and not item.must
        ]
        if len(groups) < 2:
            return one
        merged = SearchFilter(should=[part for group in groups for part in parts_of(group.should)])
        return dataclasses.replace(one, must=[*(item for item in parts_of(one.must) if item not in groups), merged])


@plant("flt-not-scope", "not (A) and B becomes not (A and B).", side="above")
class _NotScope(Regrouped):
    def group(self, one: SearchFilter) -> SearchFilter:
        if not (one.must and one.must_not):
            return one
        both = SearchFilter(must=[*parts_of(one.must), *parts_of(one.must_not)])
        return SearchFilter(should=one.should, must_not=[both])


@plant("flt-mustnot-all", "must_not excludes a point only if it matches all of it.", side="above")
class _MustNotAll(Regrouped):
    def group(self, one: SearchFilter) -> SearchFilter:
        items = parts_of(one.must_not)
        return dataclasses.replace(one, must_not=[SearchFilter(must=items)]) if len(items) > 1 else one


@plant("flt-mustnot-ignored-in-should", "must_not is forgotten where there is a should.", side="above")
class _MustNotForgotten(Regrouped):
    def group(self, one: SearchFilter) -> SearchFilter:
        return dataclasses.replace(one, must_not=None) if one.should else one


@plant("flt-double-negation", "A negation inside a negation is lost.", side="above")
class _DoubleNegation(Regrouped):
    def group(self, one: SearchFilter) -> SearchFilter:
        def bare(item: Any) -> Any:
            alone = isinstance(item, SearchFilter) and item.must_not and not item.must and not item.should
            return SearchFilter(must=item.must_not) if alone else item

        return dataclasses.replace(one, must_not=[bare(item) for item in parts_of(one.must_not)])


@plant("flt-same-field-last-wins", "Of conditions on one field the last one counts.", side="above")
class _LastWins(Regrouped):
    def group(self, one: SearchFilter) -> SearchFilter:
        last = {item.field if isinstance(item, FilterCondition) else id(item): item for item in parts_of(one.must)}
        return dataclasses.replace(one, must=list(last.values()))


@plant("flt-empty-filter", "An empty filter matches nothing.", side="above")
class _EmptyNothing(Rig):
    def given(self, search_filter: FilterLike | None) -> FilterLike | None:
        empty = search_filter is not None and search_filter in (SearchFilter(), SearchFilter(must=[]), {})
        return FilterCondition("x", "in", []) if empty else search_filter


@plant("flt-empty-filter-raises", "An empty filter is refused by the engine.")
class _EmptyRaises(Regrouped):
    def group(self, one: SearchFilter) -> SearchFilter:
        if not (one.must or one.should or one.must_not):
            raise RuntimeError("expected where to have exactly one operator")
        return one


@plant("flt-empty-nested-nothing", "An empty filter inside should matches nothing.", side="above")
class _EmptyNested(Regrouped):
    def group(self, one: SearchFilter) -> SearchFilter:
        kept = [item for item in parts_of(one.should) if item != SearchFilter(must=[])]
        return dataclasses.replace(one, should=kept or one.should)


@plant("flt-not-nothing-is-nothing", "must_not of an empty filter is no restriction.", side="above")
class _NotNothing(Regrouped):
    def group(self, one: SearchFilter) -> SearchFilter:
        def empty(item: Any) -> bool:
            return isinstance(item, SearchFilter) and not (item.must or item.should or item.must_not)

        return dataclasses.replace(one, must_not=[item for item in parts_of(one.must_not) if not empty(item)])


@plant("flt-empty-should-nothing", "An empty should matches nothing.", side="above")
class _EmptyShould(Rig):
    def given(self, search_filter: FilterLike | None) -> FilterLike | None:
        empty = isinstance(search_filter, SearchFilter) and search_filter.should == []
        return FilterCondition("x", "in", []) if empty else search_filter


@plant("flt-dicts-ignored", "Conditions given as dicts are left out.", side="above")
class _DictsIgnored(Rig):
    def given(self, search_filter: FilterLike | None) -> FilterLike | None:
        if isinstance(search_filter, SearchFilter) and isinstance(search_filter.must, list):
            kept = [item for item in search_filter.must if not isinstance(item, Mapping)]
            return dataclasses.replace(search_filter, must=kept)
        return search_filter


@plant("flt-dict-keys-ignored", "Unknown keys of a filter's dict are ignored.", side="above")
class _DictKeysIgnored(Rig):
    def given(self, search_filter: FilterLike | None) -> FilterLike | None:
        if isinstance(search_filter, Mapping) and "field" not in search_filter:
            known = ("must", "should", "must_not", "conditions")
            return {key: value for key, value in search_filter.items() if key in known}
        return search_filter


@plant("flt-shorthand-accepted", "{'n': 1} is guessed to mean n == 1.", side="above")
class _Shorthand(Rig):
    def given(self, search_filter: FilterLike | None) -> FilterLike | None:
        if isinstance(search_filter, Mapping) and search_filter.keys() == {"n"}:
            return FilterCondition("n", "eq", search_filter["n"])
        return search_filter


@plant("flt-postfilter-short", "The filter runs after the top-k.")
class _PostFilter(Rig):
    factor: ClassVar = 2

    def answer(self, collection: Collection, query: Query) -> list[SearchResult]:
        wide = dataclasses.replace(query, filter=Always(), limit=query.limit * self.factor, threshold=None)
        hits = super().answer(collection, wide)
        kept = [one for one in hits if self.matches(query.filter, collection.points[one.id].payload)]
        return [one for one in kept if self.keeps(one.score, query.threshold)][: query.limit]


@plant("flt-postfilter-overfetch", "The filter runs after a top-k of a hundred times the limit.")
class _Overfetch(_PostFilter):
    factor = 100


@plant("flt-prefilter-cut", "The filter looks at the first 500 points only.")
class _PrefilterCut(Rig):
    def answer(self, collection: Collection, query: Query) -> list[SearchResult]:
        if isinstance(query.filter, Always):
            return super().answer(collection, query)
        part = dataclasses.replace(collection, points=dict(list(collection.points.items())[:500]))
        return super().answer(part, query)


@plant("flt-de-morgan", "A negated group negates its parts and keeps its connective.")
class _DeMorgan(Rig):
    def matches(self, node: Node, payload: Payload) -> bool:
        if isinstance(node, Either) and all(isinstance(part, Not) for part in node.parts):
            node = All(node.parts)
        return super().matches(node, payload)


@plant("flt-wide-or-cut", "Of an either of more than 32 parts the first 32 count.")
class _WideOrCut(Rig):
    def matches(self, node: Node, payload: Payload) -> bool:
        return super().matches(Either(node.parts[:32]) if isinstance(node, Either) else node, payload)


@plant("flt-deep-dropped", "What is nested deeper than four levels is left out.", side="above")
class _DeepDropped(Rig):
    def given(self, search_filter: FilterLike | None) -> FilterLike | None:
        shallow = self.claims.model_copy(update={"limits": Limits().model_copy(update={"max_filter_depth": 4})})
        try:
            parse_filter(search_filter, self.claims)
            parse_filter(search_filter, shallow)
        except LimitExceededError:
            return None if well_formed(search_filter) else search_filter
        except InvalidFilterError:
            return search_filter
        return search_filter


@plant("flt-never-is-always", "A filter that can match nothing is left out.", side="above")
class _NeverIsAlways(Rig):
    def given(self, search_filter: FilterLike | None) -> FilterLike | None:
        try:
            return None if isinstance(parse_filter(search_filter, self.claims), Never) else search_filter
        except (InvalidFilterError, LimitExceededError):
            return search_filter


@plant("flt-empty-payload-passes", "A point without payload passes every filter.")
class _EmptyPasses(Rig):
    def matches(self, node: Node, payload: Payload) -> bool:
        return not payload or super().matches(node, payload)
