"""The filter tree as SQL over the column ``facts``.

Every leaf is a look-up in that text (``codeweaver_lancedb.facts``), true or false and never NULL, so negation is
``NOT``. ``to_sql`` is exact by itself; ``narrowing`` is what indexes of declared fields can tell beforehand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

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
)
from codeweaver_backends.sdk.index.keys import instant_key, number_key
from codeweaver_backends.types import Scalar
from codeweaver_lancedb.convert import WORD_TYPES, word
from codeweaver_lancedb.facts import END, TOK, encode_text, head, scalar, spell_path

__all__ = ["literal", "narrowing", "to_sql"]

_FEW: Final = 6
"""Up to so many values are looked up one by one; more of them as one set."""
_NOT_WORD: Final = re.compile(r"[^0-9A-Za-z]")
_HEX: Final = "0123456789abcdef"


def literal(text: str) -> str:
    """A string of the engine's SQL, in which only the quote has a meaning."""
    return "'" + text.replace("'", "''") + "'"


def to_sql(node: Node) -> str:
    """The node as SQL. ``Always`` and ``Never`` have none: nothing is asked of the engine for them."""
    return _render(node).text


# --- groups ----------------------------------------------------------------------------------------------------------


class _Sql(NamedTuple):
    text: str
    depth: int = 0
    """Levels of the engine's parser, of which there are about 45."""
    word: str = ""
    """What joins its operands: ``AND``, ``OR``, or nothing."""


def _render(node: Node) -> _Sql:
    match node:
        case All(parts):
            return _group("AND", parts)
        case Either(parts):
            return _group("OR", parts)
        case Not():
            return _group("AND", (node,))
        case Always() | Never():
            raise ValueError(f"{type(node).__name__} is no SQL")
    return _group("OR", (node,))


def _group(word: str, parts: Sequence[Node]) -> _Sql:
    """The parts joined. A leaf is one test or another, its negation not one and not the other."""
    operands: list[_Sql] = []
    sought: list[str] = []
    negated = word == "AND"
    for part in parts:
        leaf = part.leaf if isinstance(part, Not) else part
        if isinstance(leaf, All | Either | Always | Never) or isinstance(part, Not) != negated:
            operands.append(_render(part))
        elif isinstance(leaf, AnyOf):
            sought += _sought(leaf)
        else:
            operands += [_Sql(f"NOT {test}", 1) if negated else _Sql(test) for test in _tests(leaf)]
    operands += [_Sql(f"NOT {test}", 1) if negated else _Sql(test) for test in _look_up(sought)]
    return _joined(word, operands)


def _joined(word: str, operands: Sequence[_Sql]) -> _Sql:
    """The deepest operand first: on the left a parenthesis costs the parser one level, on the right two."""
    if len(operands) == 1:
        return operands[0]
    wrapped = [_Sql(f"({one.text})", one.depth + 1) if one.word == "OR" and word == "AND" else one for one in operands]
    wrapped.sort(key=lambda one: -one.depth)
    depth = max(wrapped[0].depth, wrapped[1].depth + 1)
    return _Sql(f" {word} ".join(one.text for one in wrapped), depth, word)


# --- leaves ----------------------------------------------------------------------------------------------------------


def _sought(leaf: AnyOf) -> list[str]:
    """The tokens of which one must be there, without what stands before the path and after the value."""
    path = spell_path(leaf.path)
    return [f"{path}{END}{scalar(value)}{END}" for value in leaf.values]


def _look_up(sought: Sequence[str]) -> Iterator[str]:
    """Tests of which one holds exactly when one of the tokens is there."""
    if len(sought) <= _FEW:
        yield from (_holds(TOK + token) for token in sought)
    else:  # one hashed set costs little more than a single look-up, a chain of them milliseconds a link
        tokens = ",".join(literal(token + place) for token in sought for place in "SL")
        yield f"array_has_any(string_to_array(facts, {literal(TOK)}), [{tokens}])"


def _tests(leaf: Leaf) -> Iterator[str]:
    """Tests of which one holds exactly when the leaf matches."""
    start = head(spell_path(leaf.path))
    match leaf:
        case Contains(_, text):
            code = encode_text(text)
            yield _holds(f"{start}s{code}{END}L")
            yield _finds(f"{_escaped(start)}s[^{END}]*{_escaped(code)}[^{END}]*{END}S")
        case HasElement(_, value):
            yield _holds(f"{start}{scalar(value)}{END}L")
        case Exists():
            yield _holds(start)
        case IsNull():
            yield _holds(f"{start}z{END}S")
        case NumberRange(_, order, bound):
            yield _finds(f"{_escaped(start)}n{_keys(order, number_key(bound))}")
        case InstantRange(_, order, bound):
            yield _finds(f"{_escaped(start)}d{_keys(order, instant_key(bound))}")
        case _:
            raise TypeError(f"not a leaf of this backend: {type(leaf).__name__}")


def _holds(text: str) -> str:
    return f"contains(facts, {literal(text)})"


def _finds(pattern: str) -> str:
    # In a group of its own: the engine takes a pattern that is all literal for a LIKE, and misreads its escapes.
    return f"regexp_like(facts, {literal(f'({pattern})')})"


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
