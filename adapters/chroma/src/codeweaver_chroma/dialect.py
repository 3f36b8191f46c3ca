"""How Chroma's ``where`` spells conditions on what ``codeweaver_chroma.schema`` stored.

Chroma has no ``not``, but every comparison has its opposite, and they are exact complements: a term is contained or
not; a number is compared only beside the term that says there is one. So a condition is negated part by part. A
substring Chroma cannot test; whoever asks reads the payloads of the ``candidates``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, TypeAlias

from codeweaver_backends.sdk.filters.compile import Dialect
from codeweaver_backends.sdk.filters.tree import Contains, Leaf, Order
from codeweaver_backends.sdk.index.codes import StringCode
from codeweaver_backends.sdk.index.facts import Path
from codeweaver_backends.sdk.index.keys import number_pair
from codeweaver_backends.sdk.index.terms import Spelling, path_speller

__all__ = [
    "GREATEST",
    "INSTANT",
    "LEAST",
    "NUMBER",
    "REMAINDER",
    "SPELLING",
    "ChromaDialect",
    "Where",
    "has_remainder",
    "order_key",
]

Where: TypeAlias = dict[str, Any]
"""A condition of Chroma's."""

LEAST, GREATEST = "<", ">"
"""What a range key is of: the first letter of its name."""
NUMBER, REMAINDER, INSTANT = "n", "r", "t"
"""What a range key holds: the second letter of its name."""

_TERMS: Final = StringCode("\0\x1c\x1d\x1e\x1f", alphabet="\x01\x02\x03\x04")
"""Keeps out of keys and values what stands between them in a term, and between terms."""
_PATH: Final = path_speller(_TERMS.encode, step="\x1d", end="\x1e", mark="\x1c")
SPELLING: Final = Spelling(_PATH, text=_TERMS.encode, longest=100, separator="\x1f")
_WHOLE: Final = 2.0**53
"""From here on a double stands for more than one integer."""
_WIDEST: Final = 100
"""Parts of one group: SQLite refuses chains of a thousand."""
_OPPOSITE: Final = {
    "$and": "$or",
    "$or": "$and",
    "$contains": "$not_contains",
    "$not_contains": "$contains",
    "$eq": "$ne",
    "$ne": "$eq",
    "$gt": "$lte",
    "$lte": "$gt",
    "$lt": "$gte",
    "$gte": "$lt",
}
_SIGNS: Final[dict[Order, str]] = {"gt": "$gt", "ge": "$gte", "lt": "$lt", "le": "$lte"}


def order_key(value: float) -> tuple[int, int]:
    """``number_pair`` with an int64 at its head. Below 2^53 the second is always 0."""
    nearest, rest = number_pair(value)
    return nearest - 2**63, rest


_LOWEST_WHOLE, _HIGHEST_WHOLE = order_key(-_WHOLE)[0], order_key(_WHOLE)[0]


def has_remainder(key: int) -> bool:
    """Whether numbers of this key differ by more than it tells."""
    return not _LOWEST_WHOLE < key < _HIGHEST_WHOLE


class ChromaDialect(Dialect[Where]):
    """Conditions on the rows of one collection, whose terms stand under ``terms_key``."""

    spelling = SPELLING

    def __init__(self, terms_key: str) -> None:
        self._terms_key = terms_key

    def every(self, parts: Sequence[Where]) -> Where:
        return _group("$and", parts)

    def some(self, parts: Sequence[Where]) -> Where:
        return _group("$or", parts)

    def negated(self, part: Where) -> Where:
        [(key, test)] = part.items()
        if key in ("$and", "$or"):
            return {_OPPOSITE[key]: [self.negated(one) for one in test]}
        [(sign, operand)] = test.items()
        return {key: {_OPPOSITE[sign]: operand}}

    def has_any(self, terms: Sequence[str]) -> Where:
        return self.some([{self._terms_key: {"$contains": term}} for term in terms])

    def compare(self, path: Path, kind: Literal["number", "instant"], order: Order, bound: float) -> Where:
        # Any element will do: one is above a bound if the greatest is, and below it if the least is.
        sign, end = _SIGNS[order], GREATEST if order in ("gt", "ge") else LEAST
        code, spelling = self.spelling.path(path), self.spelling
        if kind == "instant":
            return self.every([self.has_any([spelling.instant_at(path)]), {end + INSTANT + code: {sign: int(bound)}}])
        key, remainder = order_key(bound)
        name = end + NUMBER + code
        compared: Where = {name: {sign: key}}
        if has_remainder(key):
            strict = {"$gte": "$gt", "$lte": "$lt"}.get(sign, sign)
            equal = self.every([{name: {"$eq": key}}, {end + REMAINDER + code: {sign: remainder}}])
            compared = self.some([{name: {strict: key}}, equal])
        return self.every([self.has_any([spelling.number_at(path)]), compared])

    def substring(self, path: Path, text: str) -> Where:
        raise TypeError("Chroma cannot test a substring")

    def untestable(self, leaf: Leaf) -> bool:
        return isinstance(leaf, Contains) and bool(leaf.text)


def _group(operator: str, parts: Sequence[Where]) -> Where:
    level = list(parts)
    while len(level) > _WIDEST:
        level = [_group(operator, level[start : start + _WIDEST]) for start in range(0, len(level), _WIDEST)]
    return {operator: level} if len(level) > 1 else level[0]
