"""Filters as Weaviate's: every condition looks up terms in one property, a list of whole, case-sensitive texts.

Beside the terms of ``codeweaver_backends.sdk.index.terms``, numbers and instants leave every prefix of a key that keeps
their order, so that a range is a look-up of the prefixes that lie in it::

    r…    a prefix of a number's key, alone or in a list
    T… t… an instant's key, and a prefix of it

The server trims white space from both ends of a text, and ``Like`` has wildcards without an escape, of which ``*`` does
not pass a newline. So a term begins with a dot, a text in it ends with U+001D, and those characters are coded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, Literal

from codeweaver_backends.sdk import (
    All,
    Dialect,
    Either,
    Elements,
    Node,
    Not,
    Order,
    Path,
    Spelling,
    StringCode,
    compile_filter,
    entries_of,
    number_pair,
    path_speller,
)
from codeweaver_weaviate.client import Filters, FilterTarget, TextArray

__all__ = [
    "EVERY",
    "NOBODY",
    "SPELLING",
    "TERMS",
    "WeaviateDialect",
    "everything",
    "ids_filter",
    "instant_key",
    "look_up",
    "narrowed",
    "number_key",
    "terms_of",
    "window_term",
    "with_id",
]

TERMS: Final = "terms"
"""The property that holds them."""
EVERY: Final = "*"
"""The term that every point has: it stands beside every negation, which would else find deleted points."""
NOBODY: Final = "!"
"""A term that no point has."""
_WINDOW: Final = "u"
_START: Final = "."
_TEXT_END: Final = "\x1d"
_CODE: Final = StringCode("\n*?\x1c\x1d\x1e\x1f", alphabet="\x01\x02\x03\x04\x05")
_spelt_path = path_speller(_CODE.encode, step="\x1d", end="\x1e", mark="\x1c", longest=40)
_DIGITS: Final = "0123456789abcdef"

Kind = Literal["number", "instant"]


# --- order -----------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=16_384)
def number_key(value: float) -> str:
    """Hex digits that compare as numbers do, exactly, for every int64 and every finite double, trailing zeros cut.

    16 digits for the double, 3 for what an integer has beyond it. A negative double's bits end in ones where its
    opposite's end in zeros: one more, and these are cut as well.
    """
    high, rest = number_pair(value)
    return f"{(high + (value < 0) << 12) + rest:019x}".rstrip("0")


def instant_key(microseconds: int) -> str:
    """Hex digits that compare as instants do, trailing zeros cut: ten for the second, five for the microsecond."""
    seconds, rest = divmod(microseconds, 1_000_000)
    return f"{seconds + 2**37:010x}{rest:05x}".rstrip("0")


SPELLING: Final = Spelling(
    lambda path: _START + _spelt_path(path),
    text=lambda text: _CODE.encode(text) + _TEXT_END,
    number=number_key,
    elements=Elements.APART,
    separator="\x1f",
)


@lru_cache(maxsize=16_384)
def _number_terms(path: Path, value: float) -> list[str]:
    return _prefixes(SPELLING.path(path) + "r", number_key(value))


@lru_cache(maxsize=4_096)
def _instant_terms(path: Path, microseconds: int) -> list[str]:
    code, key = SPELLING.path(path), instant_key(microseconds)
    return [f"{code}T{key}", *_prefixes(code + "t", key)]


def _prefixes(start: str, key: str) -> list[str]:
    return [start + key[:length] for length in range(1, len(key) + 1)]


def _range_terms(path: Path, kind: Kind, order: Order, bound: float) -> list[str]:
    """The terms of which a point has one exactly if a number (or instant) at the path compares so with the bound."""
    code, is_number = SPELLING.path(path), kind == "number"
    key, prefix = (number_key(bound), code + "r") if is_number else (instant_key(int(bound)), code + "t")
    exact = (code + "n", code + "mn") if is_number else (code + "T",)
    is_above = order in ("gt", "ge")
    terms: list[str] = []
    for place, digit in enumerate(key):
        value = int(digit, 16)
        terms += (prefix + key[:place] + other for other in (_DIGITS[value + 1 :] if is_above else _DIGITS[:value]))
        # A key that ends here, where the bound goes on, is smaller than the bound.
        if not is_above and place and key[place - 1] != "0":
            terms += (start + key[:place] for start in exact)
    if order == "ge":
        terms.append(prefix + key)
    elif order == "gt":
        terms += (prefix + key + other for other in _DIGITS)
    elif order == "le":
        terms += (start + key for start in exact)
    return terms


# --- terms of points -------------------------------------------------------------------------------------------------


def window_term(bucket: int) -> str:
    """The term of all points whose UUID begins with these three hex digits: filtered scrolls go by them."""
    return f"{_WINDOW}{bucket:03x}"


def terms_of(payloads: Sequence[Mapping[str, Any]], uuids: Sequence[str]) -> list[list[str]]:
    """The terms of points, each once."""
    entries = entries_of(payloads, SPELLING)
    terms = entries.terms(SPELLING.separator)
    for numbers, column in entries.numbers.items():
        for row, number in column:
            terms[row] += _number_terms(numbers, number)
    for instants, moments in entries.instants.items():
        for row, moment in moments:
            terms[row] += _instant_terms(instants, moment)
    return [
        [EVERY, _WINDOW + uuid[:3], *dict.fromkeys(own)]  # elements of a list have prefixes in common
        for own, uuid in zip(terms, uuids, strict=True)
    ]


# --- conditions ------------------------------------------------------------------------------------------------------

_ON_TERMS: Final = FilterTarget(property=TERMS)
_ON_ID: Final = FilterTarget(property="_id")


def look_up(terms: Iterable[str]) -> Filters:
    """The points that have one of these terms."""
    return _contains_any(_ON_TERMS, terms)


def ids_filter(uuids: Iterable[str]) -> Filters:
    """The points of these UUIDs."""
    return _contains_any(_ON_ID, uuids)


def _contains_any(target: FilterTarget, texts: Iterable[str]) -> Filters:
    return Filters(operator=Filters.OPERATOR_CONTAINS_ANY, target=target, value_text_array=TextArray(values=texts))


def everything() -> Filters:
    """All points: whatever has the term that every point has."""
    return look_up((EVERY,))


def with_id() -> Filters:
    """All points that can be looked up by their UUID, too: after a crash some may not be."""
    any_id = Filters(operator=Filters.OPERATOR_LIKE, target=_ON_ID, value_text="*")
    return Filters(operator=Filters.OPERATOR_AND, filters=[everything(), any_id])


class WeaviateDialect(Dialect[Filters]):
    """Every leaf looks up terms; only a substring tries a pattern on all the strings of the path."""

    spelling = SPELLING

    def every(self, parts: Sequence[Filters]) -> Filters:
        return Filters(operator=Filters.OPERATOR_AND, filters=parts)

    def some(self, parts: Sequence[Filters]) -> Filters:
        return Filters(operator=Filters.OPERATOR_OR, filters=parts)

    def negated(self, part: Filters) -> Filters:
        return Filters(operator=Filters.OPERATOR_NOT, filters=[part])

    def has_any(self, terms: Sequence[str]) -> Filters:
        return look_up(terms)

    def compare(self, path: Path, kind: Kind, order: Order, bound: float) -> Filters:
        return look_up(_range_terms(path, kind, order, bound))

    def substring(self, path: Path, text: str) -> Filters:
        pattern = f"{SPELLING.path(path)}s*{_CODE.encode(text)}*"
        return Filters(operator=Filters.OPERATOR_LIKE, target=_ON_TERMS, value_text=pattern)


_DIALECT: Final = WeaviateDialect()


def narrowed(node: Node, *further: Filters) -> Filters | None:
    """The filter of a tree that is not ``Never``, and of ``further`` conditions; ``None`` for no filter.

    What a negation leaves over may be a deleted point: existing ones are asked for beside it.
    """
    condition = compile_filter(node, _DIALECT)
    parts = list(further) if condition is None else [*further, condition]
    if _denies(node):
        parts.append(everything())
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else _DIALECT.every(parts)


def _denies(node: Node) -> bool:
    if isinstance(node, All | Either):
        return any(map(_denies, node.parts))
    return isinstance(node, Not)
