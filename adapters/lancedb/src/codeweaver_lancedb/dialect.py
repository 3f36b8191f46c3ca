"""Filters as SQL over the column ``facts``.

Every leaf is a look-up in that text (``codeweaver_lancedb.facts``), true or false and never NULL, so negation is
``NOT``. ``to_sql`` is exact by itself; ``narrowing`` is what indexes of declared fields can tell beforehand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal, NamedTuple

from codeweaver_backends.sdk.filters.compile import Dialect, compile_filter
from codeweaver_backends.sdk.filters.tree import (
    All,
    AnyOf,
    Contains,
    Exists,
    HasElement,
    InstantRange,
    IsNull,
    Leaf,
    Node,
    NumberRange,
    Order,
)
from codeweaver_backends.sdk.index.facts import Path
from codeweaver_backends.sdk.index.keys import instant_key, number_key
from codeweaver_backends.types import Scalar
from codeweaver_lancedb.facts import END, SPELLING, TOK, encode_text, head
from codeweaver_lancedb.schema import WORD_TYPES, word

__all__ = ["Condition", "FactsDialect", "Sql", "literal", "narrowing", "to_sql"]

_FEW: Final = 6
"""Up to so many values are looked up one by one; more of them as one set."""
_NOT_WORD: Final = re.compile(r"[^0-9A-Za-z]")
_HEX: Final = "0123456789abcdef"


def to_sql(node: Node) -> str | None:
    """The filter as SQL; ``None`` takes every point. ``Never`` has no SQL: nothing is asked of the engine for it."""
    condition = compile_filter(node, FactsDialect())
    return None if condition is None else condition.sql().text


def literal(text: str) -> str:
    """A string of the engine's SQL, in which only the quote has a meaning."""
    return "'" + text.replace("'", "''") + "'"


# --- conditions ------------------------------------------------------------------------------------------------------


class Sql(NamedTuple):
    """Some SQL, and how it may be joined to other."""

    text: str
    depth: int = 0
    """Levels of the engine's parser, of which there are about 45."""
    word: str = ""
    """What joins its operands: ``AND``, ``OR``, or nothing."""


class Condition(NamedTuple):
    """Operands that are joined by a word, and tokens, kept apart so that all of a group are looked up together."""

    word: Literal["AND", "OR"]
    operands: tuple[Sql, ...] = ()
    tokens: tuple[str, ...] = ()
    """Under ``OR`` one of them is there, under ``AND`` none of them is; without ``TOK`` and the place."""

    def sql(self) -> Sql:
        """The condition spelt out."""
        look_ups = [Sql(test) for test in _look_up(self.tokens)]
        return _joined(self.word, [*self.operands, *(map(_denied, look_ups) if self.word == "AND" else look_ups)])


class FactsDialect(Dialect[Condition]):
    """Conditions on the column ``facts``."""

    spelling = SPELLING

    def every(self, parts: Sequence[Condition]) -> Condition:
        return _group("AND", parts)

    def some(self, parts: Sequence[Condition]) -> Condition:
        return _group("OR", parts)

    def negated(self, part: Condition) -> Condition:
        return Condition("AND", tuple(map(_denied, part.operands)), part.tokens)

    def has_any(self, terms: Sequence[str]) -> Condition:
        return Condition("OR", tokens=tuple(terms))

    def leaf(self, leaf: Leaf) -> Condition:
        match leaf:
            case AnyOf(path, values):
                return self.has_any([f"{SPELLING.path(path)}{SPELLING.value(value)}{END}" for value in values])
            case Contains(path, text):
                return self.some([self.element(path, text), self.substring(path, text)])
            case Exists(path):
                return _holds(head(path))
            case IsNull(path):
                return _holds(f"{head(path)}z{END}S")
        return super().leaf(leaf)

    def element(self, path: Path, value: Scalar) -> Condition:
        return _holds(f"{head(path)}{SPELLING.value(value)}{END}L")

    def substring(self, path: Path, text: str) -> Condition:
        return _finds(f"{_escaped(head(path))}s[^{END}]*{_escaped(encode_text(text))}[^{END}]*{END}S")

    def compare(self, path: Path, kind: Literal["number", "instant"], order: Order, bound: int | float) -> Condition:
        keys = (
            f"n{_keys(order, number_key(bound))}" if kind == "number" else f"d{_keys(order, instant_key(int(bound)))}"
        )
        return _finds(_escaped(head(path)) + keys)


def _group(word: Literal["AND", "OR"], parts: Sequence[Condition]) -> Condition:
    operands: list[Sql] = []
    tokens: list[str] = []
    for part in parts:
        if part.word == word:
            operands += part.operands
            tokens += part.tokens
        else:
            operands.append(part.sql())
    return Condition(word, tuple(operands), tuple(tokens))


def _joined(word: str, operands: Sequence[Sql]) -> Sql:
    """The deepest operand first: on the left a parenthesis costs the parser one level, on the right two."""
    if len(operands) == 1:
        return operands[0]
    wrapped = [Sql(f"({one.text})", one.depth + 1) if one.word == "OR" and word == "AND" else one for one in operands]
    wrapped.sort(key=lambda one: -one.depth)
    depth = max(wrapped[0].depth, wrapped[1].depth + 1)
    return Sql(f" {word} ".join(one.text for one in wrapped), depth, word)


# --- tests -----------------------------------------------------------------------------------------------------------


def _look_up(tokens: Sequence[str]) -> Iterator[str]:
    """Tests of which one holds exactly when one of the tokens is there."""
    if len(tokens) <= _FEW:
        yield from (f"contains(facts, {literal(TOK + token)})" for token in tokens)
    else:  # one hashed set costs little more than a single look-up, a chain of them milliseconds a link
        placed = ",".join(literal(token + place) for token in tokens for place in "SL")
        yield f"array_has_any(string_to_array(facts, {literal(TOK)}), [{placed}])"


def _denied(test: Sql) -> Sql:
    return Sql(f"NOT {test.text}", 1)


def _holds(text: str) -> Condition:
    return Condition("OR", (Sql(f"contains(facts, {literal(text)})"),))


def _finds(pattern: str) -> Condition:
    # In a group of its own: the engine takes a pattern that is all literal for a LIKE, and misreads its escapes.
    return Condition("OR", (Sql(f"regexp_like(facts, {literal(f'({pattern})')})"),))


def _escaped(text: str) -> str:
    return _NOT_WORD.sub(lambda match: f"\\x{{{ord(match[0]):x}}}", text)


def _keys(order: Order, key: str) -> str:
    """A pattern of the keys (hex digits, all of one length) that compare so with ``key``."""
    upward = order in ("gt", "ge")
    alternatives = []
    for position, digit in enumerate(key):
        beyond = _HEX[_HEX.index(digit) + 1 :] if upward else _HEX[: _HEX.index(digit)]
        if beyond:
            alternatives.append(f"{key[:position]}[{beyond}]")
    if order in ("ge", "le"):
        alternatives.append(key)
    return f"(?:{'|'.join(alternatives)})" if alternatives else "[^0-9a-f]"


# --- declared fields -------------------------------------------------------------------------------------------------


def narrowing(node: Node, payload_indexes: Mapping[str, str]) -> str | None:
    """A condition on indexed columns that every match fulfils, or ``None`` if the indexes cannot help."""
    parts = node.parts if isinstance(node, All) else (node,)
    declared = {tuple(field.split(".")): (number, kind) for number, (field, kind) in enumerate(payload_indexes.items())}
    conditions = []
    for part in parts:
        if isinstance(part, AnyOf | NumberRange | InstantRange | HasElement) and part.path in declared:
            conditions += _conditions(part, *declared[part.path])
    return " AND ".join(conditions) or None


def _conditions(leaf: AnyOf | NumberRange | InstantRange | HasElement, number: int, kind: str) -> list[str]:
    match leaf:
        case AnyOf(_, values):
            return _equal(values, number, kind)
        case HasElement(_, value):
            return _equal((value,), number, kind)
        case NumberRange(_, order, bound) if kind in ("integer", "float"):
            return [_compare(order, number, bound + 0.0)]
        case InstantRange(_, order, bound) if kind == "datetime":
            return [_compare(order, number, bound)]
    return []


def _equal(values: Sequence[Scalar], number: int, kind: str) -> list[str]:
    if kind in WORD_TYPES:
        wanted = bool if kind == "bool" else str
        if not all(isinstance(value, wanted) for value in values):
            return []
        words = dict.fromkeys(literal(word(value)) for value in values if isinstance(value, str | bool))
        return [f"array_has_any(words_{number}, [{','.join(words)}])"]
    numbers = [value + 0.0 for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if kind == "datetime" or len(numbers) != len(values):
        return []
    return [_compare("le", number, max(numbers)), _compare("ge", number, min(numbers))]


def _compare(order: Order, number: int, bound: float) -> str:
    # Never strict: a bound is a number rounded to a double, and the facts decide.
    return f"low_{number} <= {bound!r}" if order in ("lt", "le") else f"high_{number} >= {bound!r}"
