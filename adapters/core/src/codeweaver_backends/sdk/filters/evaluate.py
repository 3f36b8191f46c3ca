"""The filter tree, evaluated over one payload: the plainest translation there is."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from codeweaver_backends.sdk.filters.tree import (
    All,
    Always,
    AnyOf,
    Contains,
    Either,
    Exists,
    HasElement,
    InstantRange,
    IsNull,
    Never,
    Node,
    Not,
    NumberRange,
    Order,
)
from codeweaver_backends.sdk.index.facts import Kind, Path, kind_of
from codeweaver_backends.sdk.index.keys import parse_instant

__all__ = ["Predicate", "matches", "predicate"]

_ABSENT: Final = object()
_COMPARE: Final[dict[Order, Callable[[Any, Any], bool]]] = {
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
}


Predicate: TypeAlias = Callable[[Mapping[str, Any]], bool]


def matches(node: Node, payload: Mapping[str, Any]) -> bool:
    """Whether the payload matches."""
    return predicate(node)(payload)


def predicate(node: Node) -> Predicate:
    """The filter as a function of a payload, for many of them."""
    match node:
        case Always():
            return lambda payload: True
        case Never():
            return lambda payload: False
        case All(parts):
            every = [predicate(part) for part in parts]
            return lambda payload: all(one(payload) for one in every)
        case Either(parts):
            some = [predicate(part) for part in parts]
            return lambda payload: any(one(payload) for one in some)
        case Not(leaf):
            affirmed = predicate(leaf)
            return lambda payload: not affirmed(payload)
        case AnyOf(path, values):
            # A set, since an ``in`` may have thousands of values; the kind apart, since True == 1 in Python.
            wanted = {(kind_of(value), value) for value in values}
            return lambda payload: any(_key(one) in wanted for one in _values(payload, path))
        case NumberRange(path, order, bound):
            return lambda payload: any(
                kind_of(one) is Kind.NUMBER and _COMPARE[order](one, bound) for one in _values(payload, path)
            )
        case InstantRange(path, order, bound):
            return lambda payload: any(
                (instant := parse_instant(one)) is not None and _COMPARE[order](instant, bound)
                for one in _values(payload, path)
                if isinstance(one, str)
            )
        case Contains(path, text):
            return lambda payload: _contains(_at(payload, path), text)
        case HasElement(path, value):
            return lambda payload: _holds(_at(payload, path), value)
        case Exists(path):
            return lambda payload: _at(payload, path) is not _ABSENT
        case IsNull(path):
            return lambda payload: _at(payload, path) is None
    raise TypeError(f"not a filter node: {type(node).__name__}")


def _key(value: Any) -> tuple[Kind, Any]:
    kind = kind_of(value)
    return kind, value if kind < Kind.LIST else None


def _contains(value: Any, text: str) -> bool:
    return text in value if isinstance(value, str) else _holds(value, text)


def _at(payload: Mapping[str, Any], path: Path) -> Any:
    value: Any = payload
    for key in path:
        if not isinstance(value, dict) or key not in value:
            return _ABSENT
        value = value[key]
    return value


def _values(payload: Mapping[str, Any], path: Path) -> list[Any]:
    """The value at the path; of a list, its elements; nothing if the field is missing."""
    value = _at(payload, path)
    if value is _ABSENT:
        return []
    return value if isinstance(value, list) else [value]


def _holds(value: Any, element: Any) -> bool:
    return isinstance(value, list) and any(_equal(one, element) for one in value)


def _equal(one: Any, other: Any) -> bool:
    return kind_of(one) is kind_of(other) and one == other
