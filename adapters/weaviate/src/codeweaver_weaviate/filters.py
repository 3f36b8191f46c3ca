"""The filter tree as Weaviate's filter: every leaf is a look-up of tokens in one property."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

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
    Never,
    Node,
    Not,
    NumberRange,
    Regex,
)
from codeweaver_backends.sdk.index.facts import Kind, kind_of
from codeweaver_weaviate.client import Filters, FilterTarget, TextArray
from codeweaver_weaviate.facts import (
    ELEMENT,
    EVERY,
    PRESENT,
    SCALAR,
    instant_terms,
    number_terms,
    path_code,
    scalar_token,
    text_pattern,
)

__all__ = ["FACTS", "everything", "ids_filter", "look_up", "narrowed", "translate", "with_id"]

FACTS: Final = "facts"
"""The property that holds the tokens."""

_ON_FACTS: Final = FilterTarget(property=FACTS)
_ON_ID: Final = FilterTarget(property="_id")


def look_up(tokens: Iterable[str]) -> Filters:
    """The points that have one of these tokens."""
    return _contains_any(_ON_FACTS, tokens)


def ids_filter(uuids: Iterable[str]) -> Filters:
    """The points of these UUIDs."""
    return _contains_any(_ON_ID, uuids)


def _contains_any(target: FilterTarget, texts: Iterable[str]) -> Filters:
    return Filters(operator=Filters.OPERATOR_CONTAINS_ANY, target=target, value_text_array=TextArray(values=texts))


def everything() -> Filters:
    """All points: whatever has the token that every point has."""
    return look_up((EVERY,))


def with_id() -> Filters:
    """All points that can be looked up by their UUID, too: after a crash some may not be."""
    any_id = Filters(operator=Filters.OPERATOR_LIKE, target=_ON_ID, value_text="*")
    return Filters(operator=Filters.OPERATOR_AND, filters=[everything(), any_id])


def narrowed(node: Node, *further: Filters) -> Filters | None:
    """The filter of a tree that does not fold to ``Never``, and of ``further`` conditions; ``None`` for no filter.

    What a negation leaves over may be a deleted point: existing ones are asked for beside it.
    """
    parts = list(further)
    if isinstance(node, All):
        parts += map(translate, node.parts)
    elif not isinstance(node, Always):
        parts.append(translate(node))
    if _denies(node):
        parts.append(everything())
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else Filters(operator=Filters.OPERATOR_AND, filters=parts)


def _denies(node: Node) -> bool:
    if isinstance(node, All | Either):
        return any(map(_denies, node.parts))
    return isinstance(node, Not)


def translate(node: Node) -> Filters:
    """The filter of a tree, or of a part of one, that has no constants."""
    match node:
        case All(parts):
            return Filters(operator=Filters.OPERATOR_AND, filters=[translate(part) for part in parts])
        case Either(parts):
            return Filters(operator=Filters.OPERATOR_OR, filters=[translate(part) for part in parts])
        case Not(leaf):
            return Filters(operator=Filters.OPERATOR_NOT, filters=[_leaf(leaf)])
        case Always() | Never():
            raise TypeError("constants are answered without the engine")
        case _:
            return _leaf(node)


def _leaf(leaf: Leaf) -> Filters:
    path = path_code(leaf.path)
    match leaf:
        case AnyOf(_, values):
            kinds = [(kind_of(value), value) for value in values]
            return look_up(scalar_token(tags, path, kind, value) for tags in (SCALAR, ELEMENT) for kind, value in kinds)
        case NumberRange(_, order, bound):
            return look_up(number_terms(path, order, bound))
        case InstantRange(_, order, bound):
            return look_up(instant_terms(path, order, bound))
        case Contains(_, text):
            inside = Filters(operator=Filters.OPERATOR_LIKE, target=_ON_FACTS, value_text=text_pattern(path, text))
            element = look_up((scalar_token(ELEMENT, path, Kind.STRING, text),))
            return Filters(operator=Filters.OPERATOR_OR, filters=[inside, element])
        case HasElement(_, value):
            return look_up((scalar_token(ELEMENT, path, kind_of(value), value),))
        case Exists():
            return look_up((PRESENT + path,))
        case IsNull():
            return look_up((SCALAR[Kind.NULL] + path,))
        case Regex():
            raise TypeError("regex is not claimed")
