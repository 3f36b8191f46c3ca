"""How Milvus spells ids, terms, range keys and conditions. Conditions are expressions, texts of Milvus's own grammar.

Terms (``codeweaver_backends.sdk.index.terms``) stand in one column: on Lite as one text, marks between the terms,
searched with LIKE; on servers as an array. Ranges compare *range keys*: the least and the greatest number, and instant,
at a path, as text that sorts as they do. A declared field has columns of its own for its values and its range keys.

Groups become balanced trees: engines refuse deep expressions, not large ones.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Final, Literal

from codeweaver_backends.sdk.filters.compile import Dialect
from codeweaver_backends.sdk.filters.tree import AnyOf, Contains, Exists, Leaf, Order
from codeweaver_backends.sdk.index.codes import StringCode, digest
from codeweaver_backends.sdk.index.facts import Path
from codeweaver_backends.sdk.index.keys import instant_key, number_key
from codeweaver_backends.sdk.index.terms import Elements, Spelling, path_speller
from codeweaver_milvus.library import DataType

__all__ = [
    "CODE",
    "MARK",
    "NO_HIGH",
    "NO_LOW",
    "ArrayDialect",
    "Columns",
    "Declared",
    "MilvusDialect",
    "TextDialect",
    "compact_number",
    "joined",
    "range_key",
    "range_name",
]

MARK: Final = "\ue000"
"""Between terms."""
_END, _STEP, _LONG = "\ue001", "\ue002", "\ue003"

NO_HIGH: Final = ""
NO_LOW: Final = "~"
"""Below and above every range key: what a declared field has where there is no number."""

_CONTROLS: Final = "".join(map(chr, (*range(32), *range(127, 160))))
CODE: Final = StringCode(
    _CONTROLS + '"\\%_' + MARK + _END + _STEP + _LONG, alphabet="".join(map(chr, range(0xE010, 0xE01C)))
)
"""Neither a quote, a backslash, a wildcard nor a mark of ours ever reaches an expression from outside."""

_path = path_speller(CODE.encode, step=_STEP, end=_END, mark=_LONG)


def _spelling(longest: int | None) -> Spelling:
    return Spelling(_path, text=CODE.encode, elements=Elements.MARKED, longest=longest, separator=MARK)


# --- range keys ------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=65_536)
def range_name(path: Path, *, instant: bool, high: bool) -> str:
    """The name of the greatest or the least number or instant of a field."""
    code = _path(path)[: -len(_END)]
    return "<>[]"[2 * instant + high] + (
        code if len(code) <= 16 and code.isascii() and code.isalnum() else digest(code, 12)
    )


@lru_cache(maxsize=65_536, typed=True)
def compact_number(value: float) -> str:
    """The core's key of a number without the zeros at the end of its double: the order is the same.

    What follows the double tells an integer's remainder below, at and above zero, with characters below every digit.
    """
    key = number_key(value)
    head, rest = key[:16].rstrip("0"), key[16:]
    return head + ("#" if rest == "800" else ("$" if rest > "800" else "!") + rest)


def range_key(value: Any, *, instant: bool) -> str:
    """A number, or an instant in microseconds, as text that sorts as it does: at most 20 characters."""
    return instant_key(value) if instant else compact_number(value)


# --- conditions ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Declared:
    """The columns of a field that the user declared."""

    values: str
    low: str
    high: str
    instant: bool | None
    """Whether ``low`` and ``high`` are of instants or numbers; ``None`` where there are none."""


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns that filters look into."""

    terms: str
    ranges: str
    declared: Mapping[Path, Declared]


def joined(operator: str, parts: Sequence[str]) -> str:
    """The parts in a balanced tree."""
    level = list(parts)
    while len(level) > 1:
        pairs = [f"({one} {operator} {other})" for one, other in zip(level[::2], level[1::2], strict=False)]
        level = [*pairs, level[-1]] if len(level) % 2 else pairs
    return level[0]


_SIGNS: Final[dict[Order, str]] = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}


class MilvusDialect(Dialect[str]):
    """What the two forms have in common."""

    terms_field: ClassVar[dict[str, Any]]
    """The type of a column of terms, as ``add_field`` takes it."""

    def __init__(self, columns: Columns) -> None:
        self.columns = columns

    @staticmethod
    @abstractmethod
    def stored(terms: str) -> Any:
        """What a column of terms holds, given the terms joined by ``MARK``."""

    @abstractmethod
    def holds_any(self, column: str, terms: Sequence[str]) -> str:
        """The column holds one of the terms; there is one at least."""

    def has_any(self, terms: Sequence[str]) -> str:
        return self.holds_any(self.columns.terms, terms)

    def every(self, parts: Sequence[str]) -> str:
        return joined("and", parts)

    def some(self, parts: Sequence[str]) -> str:
        return joined("or", parts)

    def negated(self, part: str) -> str:
        return f"(not ({part}))"

    def among(self, keys: Collection[str]) -> str:
        listed = ",".join(f'"{key}"' for key in keys)
        return f"id in [{listed}]" if keys else '(id == "")'

    def compare(self, path: Path, kind: Literal["number", "instant"], order: Order, bound: int | float) -> str:
        # Any element will do: one is above a bound if the greatest is, and below it if the least is.
        instant, high = kind == "instant", order in ("gt", "ge")
        key, declared = range_key(bound, instant=instant), self.columns.declared.get(path)
        if declared and declared.instant is instant:
            return f'({declared.high if high else declared.low} {_SIGNS[order]} "{key}")'
        guard = self.spelling.instant_at(path) if instant else self.spelling.number_at(path)
        name = range_name(path, instant=instant, high=high)
        return f'({self.has_any([guard])} and {self.columns.ranges}["{name}"] {_SIGNS[order]} "{key}")'

    def leaf(self, leaf: Leaf) -> str:
        declared = self.columns.declared.get(leaf.path)
        if isinstance(leaf, AnyOf) and declared:
            return self.holds_any(declared.values, [self.spelling.value(value) for value in leaf.values])
        return super().leaf(leaf)


class TextDialect(MilvusDialect):
    """Terms as one text, a mark before and behind each."""

    spelling = _spelling(None)
    terms_field = {"datatype": DataType.VARCHAR, "max_length": 1 << 30}  # noqa: RUF012 - never changed
    tested_values: ClassVar[int] = 64
    """More values of one ``in`` are cheaper tested here: each of them is a search through every text."""

    @staticmethod
    def stored(terms: str) -> str:
        return f"{MARK}{terms}{MARK}" if terms else ""

    def holds_any(self, column: str, terms: Sequence[str]) -> str:
        return joined("or", [f'{column} like "%{MARK}{term}{MARK}%"' for term in terms])

    def substring(self, path: Path, text: str) -> str:
        # A scalar string's value is followed by the term of its kind: both ends of the pattern occur once, if at all.
        start, end = self.spelling.path(path), self.spelling.string_at(path)
        return f'{self.columns.terms} like "%{MARK}{start}s%{CODE.encode(text)}%{MARK}{end}{MARK}%"'

    def untestable(self, leaf: Leaf) -> bool:
        return (
            isinstance(leaf, AnyOf) and len(leaf.values) > self.tested_values and leaf.path not in self.columns.declared
        )

    def leaf(self, leaf: Leaf) -> str:
        if isinstance(leaf, Exists):  # whatever stands at a path leaves a term that begins with the path
            return f'{self.columns.terms} like "%{MARK}{self.spelling.path(leaf.path)}%"'
        return super().leaf(leaf)


class ArrayDialect(MilvusDialect):
    """Terms as an array, long values by their digests."""

    spelling = _spelling(64)
    terms_field = {  # noqa: RUF012 - never changed
        "datatype": DataType.ARRAY,
        "element_type": DataType.VARCHAR,
        "max_capacity": 4_096,
        "max_length": 1_024,
    }

    @staticmethod
    def stored(terms: str) -> list[str]:
        return terms.split(MARK) if terms else []

    def holds_any(self, column: str, terms: Sequence[str]) -> str:
        if len(terms) == 1:
            return f'array_contains({column}, "{terms[0]}")'
        listed = ", ".join(f'"{term}"' for term in terms)
        return f"array_contains_any({column}, [{listed}])"

    def substring(self, path: Path, text: str) -> str:
        raise TypeError("a server cannot look for a part of a text in an array")

    def untestable(self, leaf: Leaf) -> bool:
        return isinstance(leaf, Contains) and leaf.text != ""
