"""The filter tree in Qdrant's conditions.

Equality, kinds and membership look up tokens; ranges compare the ordered integers; only a substring reads the text. See
``codeweaver_qdrant.convert`` for the fields. Each road to Qdrant has its own classes for the same few conditions:
a ``Dialect`` makes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol

from codeweaver_backends.errors import UnsupportedError
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
    Leaf,
    Node,
    Not,
    NumberRange,
    Order,
)
from codeweaver_backends.sdk.index.facts import Kind
from codeweaver_qdrant.convert import (
    Field,
    Parts,
    element_tokens,
    field_of,
    instant_parts,
    number_parts,
    value_tokens,
)

__all__ = ["Dialect", "translate"]


class Dialect(Protocol):
    """The conditions of one client."""

    def any_token(self, tokens: list[str]) -> Any:
        """The point has one of the tokens."""

    def compare(self, key: str, order: Order, bound: int) -> Any:
        """A number of the field compares so."""

    def substring(self, key: str, text: str) -> Any:
        """The string of the field holds the text, literally."""

    def group(self, *, must: Sequence[Any] = (), should: Sequence[Any] = (), must_not: Sequence[Any] = ()) -> Any:
        """All of ``must``, one of ``should`` if there are any, none of ``must_not``."""


def translate(node: Node, dialect: Dialect) -> Any:
    """The tree as the client's filter, or ``None`` for no restriction. ``Never`` must not come here."""
    if isinstance(node, Always):
        return None
    if isinstance(node, All | Either | Not):
        return _condition(node, dialect)
    return dialect.group(must=[_condition(node, dialect)])


def _condition(node: Node, dialect: Dialect) -> Any:
    match node:
        case All(parts):
            must = [_condition(part, dialect) for part in parts if not isinstance(part, Not)]
            must_not = [_leaf(part.leaf, dialect) for part in parts if isinstance(part, Not)]
            return dialect.group(must=must, must_not=must_not)
        case Either(parts):
            return dialect.group(should=[_condition(part, dialect) for part in parts])
        case Not(leaf):
            return dialect.group(must_not=[_leaf(leaf, dialect)])
    return _leaf(node, dialect)  # type: ignore[arg-type]


def _leaf(leaf: Leaf, dialect: Dialect) -> Any:
    match leaf:
        case AnyOf(path, values):
            return dialect.any_token([token for value in values for token in value_tokens(path, value)])
        case NumberRange(path, order, bound):
            return _range(dialect, field := field_of(path), field.number, order, number_parts(bound))
        case InstantRange(path, order, bound):
            return _range(dialect, field := field_of(path), field.instant, order, instant_parts(bound))
        case Contains(path, text):
            return dialect.group(should=[_text(dialect, field_of(path), text), _element(dialect, leaf.path, text)])
        case HasElement(path, value):
            return _element(dialect, path, value)
        case Exists(path):
            return dialect.any_token(list(field_of(path).kinds))
        case IsNull(path):
            return dialect.any_token([field_of(path).kinds[Kind.NULL]])
    raise UnsupportedError(f"{type(leaf).__name__} is not supported", capability="supports_regex")


def _element(dialect: Dialect, path: Any, value: Any) -> Any:
    return dialect.group(must=[dialect.any_token([token]) for token in element_tokens(path, value)])


def _text(dialect: Dialect, field: Field, text: str) -> Any:
    is_string = dialect.any_token([field.kinds[Kind.STRING]])
    # The second test changes nothing, but it is indexed: it tells the planner how few points have the field at all.
    return dialect.group(must=[is_string, dialect.substring(field.text, text)]) if text else is_string


_ABOVE: Final = ("gt", "ge")


def _range(dialect: Dialect, field: Field, key: str, order: Order, bound: Parts) -> Any:
    """Compare with the stored integers, and where the bound has a low part, with the low parts beside its high one.

    An integer is even where the low part is zero. So a bound without one needs a single comparison.
    """
    if not bound.low:
        whole = bound.stored
        beyond = {"gt": whole + 1, "ge": whole, "lt": whole - 1, "le": whole}[order]
        return dialect.compare(key, "ge" if order in _ABOVE else "le", beyond)
    side = bound.stored + 1 if order in _ABOVE else bound.stored - 1
    direction: Order = "ge" if order in _ABOVE else "le"
    return dialect.group(
        must=[
            dialect.compare(key, direction, bound.stored),
            dialect.group(
                should=[
                    dialect.compare(key, direction, side),
                    dialect.compare(field.finer(key, bound.high), order, bound.low),
                ]
            ),
        ]
    )
