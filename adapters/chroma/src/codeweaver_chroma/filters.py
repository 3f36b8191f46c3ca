"""From the filter tree to Chroma's ``where``, by looking up what ``codeweaver_chroma.convert`` stored.

Chroma has no ``not``. That a token is not contained is the exact complement of its being contained, also for points
that have no tokens; for ranges negation is written out here. Substrings it cannot test: see ``is_testable`` and
the module ``resolve``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, assert_never

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
    Order,
    Regex,
)
from codeweaver_backends.types import Scalar
from codeweaver_chroma.convert import (
    ALONE,
    GREATEST,
    INSTANT,
    LEAST,
    MEMBER,
    NUMBER,
    PRESENCE,
    REMAINDER,
    has_remainder,
    order_key,
    path_code,
    token,
    value_code,
)

__all__ = ["Where", "both", "is_testable", "member", "strings", "translate"]

Where: TypeAlias = dict[str, Any]
"""A condition of Chroma's."""

_WIDEST: Final = 100
"""Parts of one group: SQLite refuses chains of a thousand."""
_OPPOSITE: Final[dict[str, str]] = {"$gt": "$lte", "$gte": "$lt", "$lt": "$gte", "$lte": "$gt"}
_SIGNS: Final[dict[Order, str]] = {"gt": "$gt", "ge": "$gte", "lt": "$lt", "le": "$lte"}


def translate(node: Node, facts: str) -> Where | None:
    """The condition, on tokens under the key ``facts``; ``None`` takes every point."""
    return None if isinstance(node, Always) else _Translator(facts).node(node)


def is_testable(node: Node) -> bool:
    """Whether Chroma can test it all."""
    match node:
        case All(parts) | Either(parts):
            return all(map(is_testable, parts))
        case Not(leaf):
            return is_testable(leaf)
        case Contains(_, text):
            return not text
        case _:
            return True


def both(*conditions: Where | None) -> Where | None:
    """All of the conditions that there are."""
    present = [one for one in conditions if one is not None]
    return _group("$and", present) if present else None


def member(leaf: Contains, facts: str) -> Where:
    """The points that hold the text as an element of a list."""
    return _Translator(facts).token(_member(path_code(leaf.path), leaf.text), affirmed=True)


def strings(leaf: Contains, facts: str) -> Where:
    """The points that have a string at the leaf's path."""
    return _Translator(facts).token(path_code(leaf.path) + "S", affirmed=True)


def _group(operator: str, parts: Sequence[Where]) -> Where:
    level = list(parts)
    while len(level) > _WIDEST:
        level = [_group(operator, level[start : start + _WIDEST]) for start in range(0, len(level), _WIDEST)]
    return {operator: level} if len(level) > 1 else level[0]


@dataclass(frozen=True, slots=True)
class _Translator:
    facts: str

    def node(self, node: Node) -> Where:
        match node:
            case All(parts):
                return _group("$and", [self.node(part) for part in parts])
            case Either(parts):
                return _group("$or", [self.node(part) for part in parts])
            case Not(leaf):
                return self.leaf(leaf, affirmed=False)
            case Always() | Never():
                raise TypeError("a constant needs no engine")
            case _:
                return self.leaf(node, affirmed=True)

    def leaf(self, leaf: Leaf, *, affirmed: bool) -> Where:
        code = path_code(leaf.path)
        match leaf:
            case AnyOf(_, values):
                return self.any([code + value_code(value) for value in values], affirmed=affirmed)
            case NumberRange(_, order, bound):
                return self.range(NUMBER + code, code + "N", order, order_key(bound), affirmed=affirmed)
            case InstantRange(_, order, bound):
                return self.range(INSTANT + code, code + "T", order, (bound, 0), affirmed=affirmed)
            case Contains(_, text):
                # The empty text: every string has it.
                return self.any([code + "S", _member(code, text)], affirmed=affirmed)
            case HasElement(_, value):
                return self.token(_member(code, value), affirmed=affirmed)
            case Exists():
                return self.any([code + kind for kind in PRESENCE], affirmed=affirmed)
            case IsNull():
                return self.token(code + "Z", affirmed=affirmed)
            case Regex():
                raise NotImplementedError("regex is not claimed, so it is refused before it comes here")
        assert_never(leaf)

    def token(self, text: str, *, affirmed: bool) -> Where:
        return {self.facts: {"$contains" if affirmed else "$not_contains": token(text)}}

    def any(self, texts: Sequence[str], *, affirmed: bool) -> Where:
        return _group("$or" if affirmed else "$and", [self.token(text, affirmed=affirmed) for text in texts])

    def range(self, name: str, presence: str, order: Order, bound: tuple[int, int], *, affirmed: bool) -> Where:
        # Any element will do: one is above a bound if the greatest is, and below it if the least is.
        sign = _SIGNS[order]
        ends = (ALONE, GREATEST if order in ("gt", "ge") else LEAST)
        if affirmed:
            return _group("$or", [_compare(end, name, sign, bound) for end in ends])
        none = self.token(presence, affirmed=False)
        return _group("$or", [none, *(_compare(end, name, _OPPOSITE[sign], bound) for end in ends)])


def _member(code: str, value: Scalar) -> str:
    return code + MEMBER + value_code(value)


def _compare(end: str, name: str, sign: str, bound: tuple[int, int]) -> Where:
    key, remainder = bound
    if name[0] != NUMBER or not has_remainder(key):
        return {end + name: {sign: key}}
    strict = {"$gte": "$gt", "$lte": "$lt"}.get(sign, sign)
    equal = [{end + name: {"$eq": key}}, {end + REMAINDER + name[1:]: {sign: remainder}}]
    return _group("$or", [{end + name: {strict: key}}, _group("$and", equal)])
