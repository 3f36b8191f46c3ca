"""What filters look up: the rows that are written for it, and the conditions that read them."""

# ruff: noqa: S608 - what stands in the statements are the numbers of our own tables; every value is a parameter

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal, NamedTuple

import orjson

from codeweaver_backends.sdk import Dialect, Entries, Order, Path, Spelling, StringCode, number_pair, path_speller
from codeweaver_sqlite_vec.schema import CODE

__all__ = ["SPELLING", "Condition", "SqlDialect", "entry_rows"]

_TERMS: Final = StringCode("\0\x1c\x1d\x1e\x1f", alphabet="\x01\x02\x03\x04")
"""Also keeps out of keys and values what stands between them in a term, and between terms."""
_PATH: Final = path_speller(_TERMS.encode, step="\x1d", end="\x1e", mark="\x1c")
SPELLING: Final = Spelling(_PATH, text=_TERMS.encode, longest=200, separator="\x1f")
_SIGNS: Final[dict[Order, str]] = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}


class Condition(NamedTuple):
    """On the column ``point``."""

    sql: str
    values: tuple[Any, ...] = ()


def _sortable(kind: str, value: float) -> tuple[int, int]:
    """A pair of int64 that compares as the values of one kind do."""
    if kind == "instant":
        return int(value), 0
    high, low = number_pair(value)
    return high - 2**63, low


def entry_rows(number: int, entries: Entries, points: Sequence[int]) -> Iterator[tuple[str, list[tuple[Any, ...]]]]:
    """The statements that write what the points can be looked up by, and the rows of each."""
    terms = zip(points, entries.terms(SPELLING.separator), strict=True)
    yield f"insert into terms_{number} values (?, ?)", [(term, point) for point, own in terms for term in own]
    yield (
        f"insert into texts_{number} values (?, ?, ?)",
        [
            (SPELLING.path(path), points[row], CODE.encode(text))
            for path, column in entries.texts.items()
            for row, text in column
        ],
    )
    yield (
        f"insert into numbers_{number} values (?, ?, ?, ?, ?)",
        [
            (SPELLING.path(path), kind, *_sortable(kind, value), points[row])
            for kind, columns in (("number", entries.numbers), ("instant", entries.instants))
            for path, column in columns.items()
            for row, value in column
        ],
    )


class SqlDialect(Dialect[Condition]):
    """Look-ups in the tables of one collection."""

    spelling = SPELLING

    def __init__(self, number: int) -> None:
        self._number = number

    def every(self, parts: Sequence[Condition]) -> Condition:
        return _joined("and", parts)

    def some(self, parts: Sequence[Condition]) -> Condition:
        return _joined("or", parts)

    def negated(self, part: Condition) -> Condition:
        return Condition(f"not ({part.sql})", part.values)

    def has_any(self, terms: Sequence[str]) -> Condition:
        wanted = "select value from json_each(?)"
        sql = f"point in (select point from terms_{self._number} where term in ({wanted}))"
        return Condition(sql, (orjson.dumps(list(terms)).decode(),))

    def compare(self, path: Path, kind: Literal["number", "instant"], order: Order, bound: float) -> Condition:
        sql = (
            f"point in (select point from numbers_{self._number}"
            f" where path = ? and kind = ? and (high, low) {_SIGNS[order]} (?, ?))"
        )
        return Condition(sql, (SPELLING.path(path), kind, *_sortable(kind, bound)))

    def substring(self, path: Path, text: str) -> Condition:
        sql = f"point in (select point from texts_{self._number} where path = ? and instr(text, ?) > 0)"
        return Condition(sql, (SPELLING.path(path), CODE.encode(text)))


def _joined(word: str, parts: Sequence[Condition]) -> Condition:
    """In a balanced tree: SQLite refuses deep expressions, and a chain of a thousand is one."""
    level = list(parts)
    while len(level) > 1:
        pairs = zip(level[::2], level[1::2], strict=False)
        joined = [Condition(f"({one.sql} {word} {other.sql})", one.values + other.values) for one, other in pairs]
        level = joined + level[len(joined) * 2 :]
    return level[0]
