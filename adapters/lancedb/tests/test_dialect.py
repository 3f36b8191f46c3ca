"""The filter tree as SQL, answered by the engine over a table of payloads."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from random import Random
from typing import Any, Final

import lancedb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeweaver_backends.errors import UnsupportedError
from codeweaver_backends.sdk.filters.compile import compile_filter
from codeweaver_backends.sdk.filters.parse import parse_filter
from codeweaver_backends.sdk.filters.tree import Always, Never, Node, Regex
from codeweaver_backends.sdk.index.keys import INT64_MAX, INT64_MIN, instant_key, number_key
from codeweaver_backends.sdk.requests import CollectionSettings
from codeweaver_backends.sdk.validate import validate_points
from codeweaver_backends.types import DistanceMetric, FilterCondition, FilterLike, SearchFilter, VectorPoint
from codeweaver_conformance import oracle
from codeweaver_conformance.maker import Maker
from codeweaver_conformance.strategies import WORLD, filters
from codeweaver_lancedb.dialect import FactsDialect, _keys, literal, narrowing, to_sql
from codeweaver_lancedb.plugin import CAPABILITIES
from codeweaver_lancedb.schema import reader_of, schema_of

INDEXES: Final = {"lang": "keyword", "n": "integer", "meta.n": "float", "when": "datetime", "tags": "keyword"}
SETTINGS: Final = CollectionSettings("c", 2, DistanceMetric.COSINE, INDEXES)
POINTS: Final = [
    VectorPoint(row, [1, row], Maker(Random(row), WORLD).payload() if row % 10 else None) for row in range(150)
]
ORDERS: Final = {
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
}

numbers = st.one_of(
    st.integers(INT64_MIN, INT64_MAX),
    st.integers(-5, 5),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([2**53, 2**53 + 1, float(2**53), -(2**53) - 1]),
)


class Engine:
    """A table of the payloads, asked by SQL."""

    def __init__(self, runner: asyncio.Runner, folder: str) -> None:
        self._runner = runner
        self._table: Any = runner.run(self._fill(folder))

    async def _fill(self, folder: str) -> Any:
        connection = await lancedb.connect_async(folder)
        schema = schema_of(SETTINGS)
        table = await connection.create_table("rows", schema=schema)
        await table.add(reader_of(validate_points(POINTS, CAPABILITIES).on(SETTINGS), SETTINGS, schema))
        return table

    def ids(self, where: str | None) -> set[int]:
        assert where is not None
        found = self._runner.run(self._table.query().where(where).select(["id"]).to_arrow())
        return {int(key[1:]) for key in found["id"].to_pylist()}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with asyncio.Runner() as runner:
        yield Engine(runner, str(tmp_path_factory.mktemp("filters")))


def tree(search_filter: FilterLike) -> Node:
    return parse_filter(search_filter, CAPABILITIES)


@settings(deadline=None)
@given(search_filter=filters())
def test_sql_selects_what_the_filter_means(engine: Engine, search_filter: FilterLike) -> None:
    node = tree(search_filter)
    expected = set(oracle.selected(POINTS, search_filter))
    if isinstance(node, Always | Never):
        assert expected == (set(range(len(POINTS))) if isinstance(node, Always) else set())
    else:
        assert engine.ids(to_sql(node)) == expected


@settings(deadline=None)
@given(random=st.randoms(use_true_random=False), size=st.integers(1, 3))
def test_a_narrowing_loses_no_match(engine: Engine, random: Random, size: int) -> None:
    maker = Maker(random, WORLD)
    search_filter = SearchFilter(must=[maker.condition() for _ in range(size)])
    node = tree(search_filter)
    if isinstance(node, Always | Never):
        return
    condition = narrowing(node, INDEXES)
    if condition is not None:
        assert engine.ids(condition) >= set(oracle.selected(POINTS, search_filter))
        assert engine.ids(f"({to_sql(node)}) AND {condition}") == set(oracle.selected(POINTS, search_filter))


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (FilterCondition("lang", "eq", "it's"), "array_has_any(words_0, ['it''s'])"),
        (FilterCondition("lang", "in", ["a", 1]), None),
        (FilterCondition("lang", "contains", "a"), None),
        (FilterCondition("n", "gt", -0.0), "high_1 >= 0.0"),
        (FilterCondition("n", "eq", 7), "low_1 <= 7.0 AND high_1 >= 7.0"),
        (FilterCondition("n", "eq", True), None),
        (FilterCondition(("meta", "n"), "le", 1), "low_2 <= 1.0"),
        (FilterCondition(("meta.n",), "le", 1), None),
        (FilterCondition("when", "lt", "1970-01-01T00:00:01Z"), "low_3 <= 1000000"),
        (FilterCondition("lang", "ne", "a"), None),
        (FilterCondition("other", "eq", "a"), None),
    ],
    ids=str,
)
def test_narrowing(condition: FilterCondition, expected: str | None) -> None:
    assert narrowing(tree(condition), INDEXES) == expected


@settings(deadline=None)
@given(st.sampled_from(sorted(ORDERS)), numbers, numbers)
def test_patterns_of_number_keys_compare_as_numbers(order: Any, bound: float, number: float) -> None:
    assert bool(re.fullmatch(_keys(order, number_key(bound)) + ".*", number_key(number))) == ORDERS[order](
        number, bound
    )


@settings(deadline=None)
@given(st.sampled_from(sorted(ORDERS)), st.integers(-(2**61), 2**61), st.integers(-(2**61), 2**61))
def test_patterns_of_instant_keys_compare_as_instants(order: Any, bound: int, instant: int) -> None:
    assert bool(re.fullmatch(_keys(order, instant_key(bound)) + ".*", instant_key(instant))) == ORDERS[order](
        instant, bound
    )


@pytest.mark.parametrize("shape", ["both on the left", "deep in should", "deep in must"])
def test_the_engine_parses_the_declared_depth(engine: Engine, shape: str) -> None:
    deep: FilterLike = FilterCondition("n", "ge", 1)
    for level in range(CAPABILITIES.limits.max_filter_depth - 1):
        plain = FilterCondition("lang", "eq", f"x{level}")
        match shape:
            case "deep in should":
                deep = SearchFilter(must=[FilterCondition("n", "exists")], should=[plain, deep])
            case "deep in must":
                deep = SearchFilter(must=[deep, FilterCondition("n", "exists")], should=[plain, deep][: 1 + level % 2])
                deep = SearchFilter(must=deep.must) if level > 8 else deep  # else it doubles at every level
            case _:
                deep = SearchFilter(must=[deep, plain]) if level % 2 else SearchFilter(should=[deep, plain])
    node = tree(deep)
    assert engine.ids(to_sql(node)) == set(oracle.selected(POINTS, deep))
    condition = compile_filter(node, FactsDialect())
    assert condition is not None
    assert condition.sql().depth < 45


def test_many_conditions_and_values_are_answered(engine: Engine) -> None:
    limits = CAPABILITIES.limits
    values: list[Any] = [*range(limits.max_in_values - 2), "a", "it's"]
    for search_filter in (
        SearchFilter(must=[FilterCondition("lang", "in", values)]),
        SearchFilter(must_not=[FilterCondition("lang", "in", values)]),
        SearchFilter(should=[FilterCondition(f"f{number}", "eq", 1) for number in range(limits.max_filter_conditions)]),
        SearchFilter(must_not=[FilterCondition("n", "gt", number) for number in range(limits.max_filter_conditions)]),
    ):
        assert engine.ids(to_sql(tree(search_filter))) == set(oracle.selected(POINTS, search_filter))


def test_what_is_not_asked_of_the_engine_has_no_sql() -> None:
    assert to_sql(Always()) is None
    with pytest.raises(ValueError, match="without the engine"):
        to_sql(Never())
    with pytest.raises(UnsupportedError, match="regex"):
        to_sql(Regex(("a",), "x"))


def test_a_literal_is_quoted() -> None:
    assert literal("it's \\ %") == "'it''s \\ %'"
