"""Tools of the filters' defects: a filter with its groups or its conditions replaced."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, cast

from codeweaver_backends.memory.plugin import CAPABILITIES
from codeweaver_backends.sdk.filters.parse import parse_filter
from codeweaver_backends.sdk.filters.tree import Node
from codeweaver_backends.sdk.index.facts import Path
from codeweaver_backends.types import FilterCondition, FilterLike, SearchFilter
from codeweaver_tools.defects.rig import Rig

__all__ = [
    "Regrouped",
    "Reworded",
    "conditions",
    "dropping",
    "moved",
    "parts_of",
    "path_of",
    "regrouped",
    "spelt",
    "well_formed",
]


def conditions(
    search_filter: FilterLike | None, change: Callable[[FilterCondition], FilterLike | None]
) -> FilterLike | None:
    """A filter with every condition of it changed, or left out where ``change`` gives ``None``."""
    return regrouped(search_filter, lambda group: group, change)


def regrouped(
    search_filter: FilterLike | None,
    change: Callable[[SearchFilter], SearchFilter],
    leaf: Callable[[FilterCondition], FilterLike | None] = lambda condition: condition,
) -> FilterLike | None:
    """A filter with every group of it changed, innermost first. What is malformed stays, to be refused."""
    if isinstance(search_filter, Mapping):
        try:
            cls = FilterCondition if "field" in search_filter else SearchFilter
            search_filter = cls(**search_filter)
        except TypeError:
            return search_filter
    if isinstance(search_filter, FilterCondition):
        return leaf(search_filter)
    if not isinstance(search_filter, SearchFilter):
        return search_filter

    def parts(items: Any) -> Any:
        if not isinstance(items, list | tuple):
            return items
        inner = [regrouped(item, change, leaf) for item in items]
        return [item for item in inner if item is not None]

    return change(
        SearchFilter(
            must=parts(search_filter.must),
            should=parts(search_filter.should),
            must_not=parts(search_filter.must_not),
            conditions=parts(search_filter.conditions),
        )
    )


def well_formed(search_filter: FilterLike | None) -> bool:
    """Whether the contract takes the filter."""
    try:
        parse_filter(search_filter, CAPABILITIES)
    except ValueError:
        return False
    return True


def dropping(search_filter: FilterLike | None, keep: Any) -> FilterLike | None:
    """A well-formed filter without the conditions that ``keep`` does not want."""
    if not well_formed(search_filter):
        return search_filter
    return conditions(search_filter, lambda one: one if keep(one) else None)


class Regrouped(Rig):
    """Each group of a filter is read otherwise; what is malformed goes on to be refused."""

    def group(self, one: SearchFilter) -> SearchFilter:
        return one

    def given(self, search_filter: FilterLike | None) -> FilterLike | None:
        if not well_formed(search_filter):
            return search_filter
        return regrouped(search_filter, lambda one: self.group(merged(one)))


def merged(one: SearchFilter) -> SearchFilter:
    return SearchFilter(must=[*parts_of(one.must), *parts_of(one.conditions)], should=one.should, must_not=one.must_not)


def parts_of(items: Any) -> list[Any]:
    """A group's items, none if it is absent."""
    return list(items or [])


class Reworded(Rig):
    """Well-formed conditions are given to the engine as another one."""

    def reworded(self, one: FilterCondition) -> FilterLike | None:
        return one

    def given(self, search_filter: FilterLike | None) -> FilterLike | None:
        return conditions(search_filter, self.reworded) if well_formed(search_filter) else search_filter


def spelt(one: FilterCondition, operator: str) -> FilterCondition:
    """The condition with another operator."""
    return FilterCondition(one.field, operator, one.value)


def path_of(node: Node) -> Path:
    """Where a leaf looks; nowhere for anything else."""
    path: Path = getattr(node, "path", ())
    return path


def moved(node: Node, path: Path) -> Node:
    """The leaf, looking elsewhere."""
    leaf: Any = node
    return cast("Node", dataclasses.replace(leaf, path=path))
