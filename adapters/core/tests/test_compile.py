"""What is stored as terms and compiled to look-ups means what the filter means: the one place where that is proved.

The engine here is sets of rows: it holds nothing but what ``entries_of`` gives, and a dialect of a few lines.
"""

from __future__ import annotations

import asyncio
import operator
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from itertools import chain, groupby
from typing import Any, Literal
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from codeweaver_backends.capabilities import BackendCapabilities
from codeweaver_backends.errors import UnsupportedError
from codeweaver_backends.sdk.filters.compile import (
    Dialect,
    candidates,
    compile_filter,
    resolve,
    untestable_leaves,
)
from codeweaver_backends.sdk.filters.evaluate import matches
from codeweaver_backends.sdk.filters.parse import parse_filter
from codeweaver_backends.sdk.filters.tree import (
    ALWAYS,
    NEVER,
    All,
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
from codeweaver_backends.sdk.index.codes import StringCode
from codeweaver_backends.sdk.index.facts import Path
from codeweaver_backends.sdk.index.keys import number_key
from codeweaver_backends.sdk.index.terms import Column, Elements, Spelling, entries_of, path_speller, spans
from codeweaver_conformance.strategies import filters, payloads, worlds

Rows = frozenset[int]
Payload = dict[str, Any]

CODE = StringCode("\x1c\x1d\x1e\x1f", alphabet="\x01\x02\x03\x04")
coded_paths = path_speller(CODE.encode, step="\x1d", end="\x1e", mark="\x1c")
SPELLINGS: dict[str, Callable[[], Spelling]] = {
    "shared": lambda: Spelling(coded_paths, text=CODE.encode),
    "marked": lambda: Spelling(
        path_speller(lambda key: quote(key, safe="").replace(".", "%2E"), step=".", end="!", mark="#", longest=5),
        text=lambda text: quote(text, safe=""),
        elements=Elements.MARKED,
        longest=6,
        separator=" ",
    ),
    "apart": lambda: Spelling(
        path_speller(CODE.encode, step="\x1d", end="\x1e", mark="\x1c", longest=3),
        text=lambda text: CODE.encode(text) + "\x1c",
        number=lambda value: number_key(value).rstrip("0"),
        elements=Elements.APART,
    ),
    "digested": lambda: Spelling(
        path_speller(CODE.encode, step="\x1d", end="", mark="\x1c", longest=0), text=CODE.encode, longest=0
    ),
}
COMPARE: Mapping[Order, Callable[[Any, Any], bool]] = {
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
}


class Sets(Dialect[Rows]):
    """Conditions are the rows that match, of a store that knows only the entries."""

    def __init__(self, spelling: Spelling, points: Sequence[Mapping[str, Any]]) -> None:
        self.spelling = spelling
        self.entries = entries_of(points, spelling)
        self.all = frozenset(range(len(points)))
        self.rows: dict[str, set[int]] = {}
        for row, terms in enumerate(self.entries.terms(spelling.separator)):
            assert len(terms) == len(set(terms)), "a term is there once"
            for term in terms:
                self.rows.setdefault(term, set()).add(row)

    def every(self, parts: Sequence[Rows]) -> Rows:
        return frozenset.intersection(*parts)

    def some(self, parts: Sequence[Rows]) -> Rows:
        return frozenset.union(*parts)

    def negated(self, part: Rows) -> Rows:
        return self.all - part

    def has_any(self, terms: Sequence[str]) -> Rows:
        assert terms
        return frozenset(row for term in terms for row in self.rows.get(term, ()))

    def compare(self, path: Path, kind: Literal["number", "instant"], order: Order, bound: int | float) -> Rows:
        columns: Mapping[Path, Column[Any]] = self.entries.numbers if kind == "number" else self.entries.instants
        guard = self.spelling.number_at(path) if kind == "number" else self.spelling.instant_at(path)
        column = columns.get(path, Column())
        assert set(column.rows) == self.rows.get(guard, set()), "the guard tells where there is something to compare"
        high = order in ("gt", "ge")
        found = spans(column)
        return frozenset(row for row, least, most in found if COMPARE[order](most if high else least, bound))

    def substring(self, path: Path, text: str) -> Rows:
        assert text
        code = self.spelling.text(text)
        if self.spelling.elements is Elements.APART:  # a pattern over the terms of scalars
            start, code = self.spelling.path(path) + "s", code[:-1]
            found = [rows for term, rows in self.rows.items() if term.startswith(start) and code in term[len(start) :]]
            return frozenset(row for rows in found for row in rows)
        return frozenset(row for row, value in self.entries.texts.get(path, Column()) if text in value)


class Blunt(Sets):
    """Cannot test substrings, nor look up two values at once."""

    def untestable(self, leaf: Leaf) -> bool:
        match leaf:
            case Contains(_, text):
                return bool(text)
            case AnyOf(_, values):
                return len(values) > 1
        return False

    def substring(self, path: Path, text: str) -> Rows:
        raise AssertionError("never asked")

    def among(self, keys: Collection[str]) -> Rows:
        return frozenset(map(int, keys))


def found(node: Node, dialect: Sets) -> Rows:
    if isinstance(node, Never):
        return frozenset()
    rows = compile_filter(node, dialect)
    return dialect.all if rows is None else rows


def expected(node: Node, points: Sequence[Payload]) -> Rows:
    return frozenset(row for row, payload in enumerate(points) if matches(node, payload))


# --- worlds: payloads and filters that belong together ---------------------------------------------------------------


@st.composite
def questions(draw: st.DrawFn) -> tuple[list[Payload], list[Node]]:
    world = draw(worlds())
    points = draw(st.lists(payloads(world), max_size=24))
    asked = draw(st.lists(filters(world), min_size=1, max_size=4))
    return points, [parse_filter(one, BackendCapabilities()) for one in asked]


@pytest.mark.parametrize("spelling", SPELLINGS)
@settings(max_examples=50)
@given(question=questions())
def test_compiled_filters_mean_what_they_say(spelling: str, question: tuple[list[Payload], list[Node]]) -> None:
    points, nodes = question
    dialect = Sets(SPELLINGS[spelling](), points)
    for node in nodes:
        assert found(node, dialect) == expected(node, points)


@pytest.mark.parametrize("spelling", SPELLINGS)
@settings(max_examples=50)
@given(question=questions())
def test_what_an_engine_cannot_test_is_resolved(spelling: str, question: tuple[list[Payload], list[Node]]) -> None:
    points, nodes = question
    dialect = Blunt(SPELLINGS[spelling](), points)

    async def read(rows: Rows | None) -> AsyncIterator[tuple[str, Payload]]:
        for row in dialect.all if rows is None else rows:
            yield str(row), points[row]

    for node in nodes:
        superset = candidates(node, dialect)
        assert not untestable_leaves(superset, dialect)
        assert found(superset, dialect) >= expected(node, points)
        if not isinstance(node, Never):
            resolved = asyncio.run(resolve(node, dialect, read))
            rows = compile_filter(node, dialect, resolved)
            assert (dialect.all if rows is None else rows) == expected(node, points)


# --- edges: small alphabets, so that what must not be confused meets -------------------------------------------------

TEXTS = st.sampled_from(["", "a", "b", "ab", "Z", "S", "b1", "n1", "1", "true", "!", " ", "%", "#", "a.b", "m", "sa"])
HOSTILE = st.text(st.sampled_from("ab.!#% \x00\x01\x02\x03\x1c\x1d\x1e\x1f\ue000'\"\\*?_é日😀"), max_size=9)
DATES = st.sampled_from(
    [
        "2024-05-01T12:00:00Z",
        "2024-05-01T14:00:00+02:00",
        "2024-05-01T12:00:00.000001Z",
        "1969-12-31T23:59:59.999999Z",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59.999999-23:59",
        "2024-05-01T12:00:00",
        "2024-05-01",
        "2024-05-01 12:00:00Z",
        "2024-02-30T12:00:00Z",
    ]
)
INSTANTS = st.sampled_from([0, -1, 1_714_564_800_000_000, 1_714_564_800_000_001, -62_135_683_140_000_000])
NUMBERS = st.sampled_from(
    [0, 0.0, -0.0, 1, 1.0, -1, 0.5, 5e-324, 1e308, -1e308, 1e16, 1e22]
    + [sign * (2**power + step) for sign in (1, -1) for power in (53, 54, 62) for step in (-1, 0, 1)]
    + [float(2**53), 2.0**53 + 2, float(2**62), -float(2**63), float(2**63), 2**63 - 1, -(2**63), -(2**63) + 1]
)
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS | HOSTILE | DATES
KEYS = st.sampled_from(["", "a", "b", "a.b", "\x1d", "\x1e", "%2E", "#", "k" * 300, "k" * 299 + "j"])
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=8
)
POINTS = st.lists(st.dictionaries(KEYS, VALUES, max_size=4), max_size=6)
ALIKE = st.lists(KEYS, min_size=1, max_size=3, unique=True).flatmap(
    lambda keys: st.tuples(
        *(
            st.sampled_from(
                [TEXTS, HOSTILE, DATES | TEXTS, NUMBERS, st.booleans(), SCALARS, st.lists(TEXTS, max_size=3)]
            )
            | st.sampled_from([st.lists(SCALARS, max_size=3), st.fixed_dictionaries({"a": NUMBERS, "": TEXTS}), VALUES])
            for _ in keys
        )
    ).flatmap(
        lambda columns: st.lists(st.fixed_dictionaries(dict(zip(keys, columns, strict=True))), min_size=16, max_size=20)
    )
)
"""As many payloads of one shape as are worked on column by column."""
PATHS = st.lists(KEYS, min_size=1, max_size=3).map(tuple)
ORDERS: st.SearchStrategy[Order] = st.sampled_from(["gt", "ge", "lt", "le"])
LEAVES: st.SearchStrategy[Leaf] = st.one_of(
    st.builds(AnyOf, PATHS, st.lists(SCALARS, min_size=1, max_size=3).map(tuple)),
    st.builds(NumberRange, PATHS, ORDERS, NUMBERS),
    st.builds(InstantRange, PATHS, ORDERS, INSTANTS),
    st.builds(Contains, PATHS, TEXTS | HOSTILE),
    st.builds(HasElement, PATHS, st.none() | st.booleans() | NUMBERS),
    st.builds(Exists, PATHS),
    st.builds(IsNull, PATHS),
)


def leaves_of(payload: Mapping[str, Any], prefix: Path = ()) -> list[Leaf]:
    """Every question whose answer at a path of the payload could be yes."""
    asked: list[Leaf] = []
    for key, value in payload.items():
        path = (*prefix, key)
        asked += [Exists(path), IsNull(path), Contains(path, ""), HasElement(path, None), AnyOf(path, (None,))]
        if isinstance(value, dict):
            asked += leaves_of(value, path)
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, str):
                asked += [Contains(path, one), Contains(path, one[1:]), AnyOf(path, (one,))]
                asked += [InstantRange(path, order, 1_714_564_800_000_000) for order in COMPARE]
            elif one is None or isinstance(one, bool):
                asked += [HasElement(path, one), AnyOf(path, (one,)), AnyOf(path, (1,)), HasElement(path, 1)]
            elif isinstance(one, int | float):
                asked += [HasElement(path, one), AnyOf(path, (one,)), AnyOf(path, (True, "1", str(one)))]
                asked += [NumberRange(path, order, bound) for order in COMPARE for bound in (one, float(one), 2**53)]
    return asked


@pytest.mark.parametrize("spelling", SPELLINGS)
@settings(max_examples=50)
@given(points=POINTS | ALIKE, asked=st.lists(LEAVES, max_size=6))
@example(points=[{"a": [True]}, {"a": 1}, {"a": None}, {"a": [None]}, {"a": []}, {"a": {}}, {}], asked=[])
@example(points=[{"a": {"b": 1}}, {"a.b": 1}, {"a": {"": 1}}, {"": {"a": 1}}, {"": 1}], asked=[])
@example(
    points=[{"a": 2**53 + 1}, {"a": 2.0**53}, {"a": [2**53, 2**53 + 1]}, {"a": 2**63 - 1}, {"a": 2.0**63}], asked=[]
)
@example(points=[{"a": ["2024-05-01T12:00:00Z", "a"]}, {"a": "2024-05-01T12:00:00Z"}, {"a": [[1], {"b": 2}]}], asked=[])
def test_edges_are_exact(spelling: str, points: list[Payload], asked: list[Leaf]) -> None:
    dialect = Sets(SPELLINGS[spelling](), points)
    for leaf in [*asked, *(leaf for payload in points for leaf in leaves_of(payload))]:
        assert found(leaf, dialect) == expected(leaf, points), leaf
        assert found(Not(leaf), dialect) == expected(Not(leaf), points), leaf


@pytest.mark.parametrize("spelling", SPELLINGS)
@settings(max_examples=50)
@given(points=st.lists(ALIKE, min_size=1, max_size=2).map(lambda parts: [*chain(*parts)]).flatmap(st.permutations))
def test_columns_give_what_rows_give(spelling: str, points: list[Payload]) -> None:
    spelt = SPELLINGS[spelling]()
    together = entries_of(points, spelt)
    apart = [entries_of([payload], spelt) for payload in points]
    assert together.joined == [one.joined[0] for one in apart]
    for name in ("texts", "numbers", "instants"):
        columns: Mapping[Path, Column[Any]] = getattr(together, name)
        by_row: dict[tuple[int, Path], list[Any]] = {}
        for path, column in columns.items():
            runs = [row for row, _ in groupby(column.rows)]
            assert len(runs) == len(set(runs)), "the values of one point stand together"
            for row, value in column:
                by_row.setdefault((row, path), []).append(value)
        alone = {
            (row, path): column.values for row, one in enumerate(apart) for path, column in getattr(one, name).items()
        }
        assert by_row == alone


# --- the rest --------------------------------------------------------------------------------------------------------


def test_no_restriction_is_none_and_constants_are_refused() -> None:
    dialect = Sets(SPELLINGS["shared"](), [{}])
    assert compile_filter(ALWAYS, dialect) is None
    with pytest.raises(ValueError, match="without the engine"):
        compile_filter(NEVER, dialect)
    with pytest.raises(UnsupportedError):
        compile_filter(Regex(("a",), "x"), dialect)
    with pytest.raises(TypeError, match="no condition on keys"):
        dialect.among(["1"])


def test_untestable_leaves_that_python_takes_for_equal_are_two() -> None:
    dialect = Blunt(SPELLINGS["shared"](), [])
    ones, trues = AnyOf(("a",), (1, "x")), AnyOf(("a",), (True, "x"))
    assert untestable_leaves(Either((ones, Not(trues), All((ones, Exists(("a",)))))), dialect) == [ones, trues]


def test_spans() -> None:
    assert list(spans(Column([0, 0, 0, 2, 5, 5], [3, 1, 2.5, 7, -1, -2]))) == [(0, 1, 3), (2, 7, 7), (5, -2, -1)]
    assert list(spans(Column[int]())) == []


def test_terms_stay_short() -> None:
    spelling = Spelling(coded_paths, text=CODE.encode, longest=64)
    deep: Payload = {"v": "x" * 1000}
    for _ in range(30):
        deep = {"k" * 50: deep, "l": ["y" * 1000]}
    [terms] = entries_of([deep], spelling).terms(spelling.separator)
    assert max(map(len, terms)) <= 64 + 1 + 2 + 64
