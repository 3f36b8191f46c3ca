"""The filter tree, evaluated over one payload: the plainest translation there is."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any, Final

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

__all__ = ["matches"]

_ABSENT: Final = object()
_COMPARE: Final[dict[Order, Callable[[Any, Any], bool]]] = {
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
}


def matches(node: Node, payload: Mapping[str, Any]) -> bool:
    """Whether the payload matches."""
    match node:
        case Always():
            return True
        case Never():
            return False
        case All(parts):
            return all(matches(part, payload) for part in parts)
        case Either(parts):
            return any(matches(part, payload) for part in parts)
        case Not(leaf):
            return not matches(leaf, payload)
        case AnyOf(path, values):
            return any(_equal(one, value) for one in _values(payload, path) for value in values)
        case NumberRange(path, order, bound):
            return any(kind_of(one) is Kind.NUMBER and _COMPARE[order](one, bound) for one in _values(payload, path))
        case InstantRange(path, order, bound):
            instants = (parse_instant(one) for one in _values(payload, path) if isinstance(one, str))
            return any(instant is not None and _COMPARE[order](instant, bound) for instant in instants)
        case Contains(path, text):
            value = _at(payload, path)
            return text in value if isinstance(value, str) else _holds(value, text)
        case HasElement(path, value):
            return _holds(_at(payload, path), value)
        case Exists(path):
            return _at(payload, path) is not _ABSENT
        case IsNull(path):
            return _at(payload, path) is None
    raise TypeError(f"not a filter node: {type(node).__name__}")


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
