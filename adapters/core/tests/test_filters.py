"""The filter tree: what it may look like, that it means what the filter means, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeweaver_backends.capabilities import BackendCapabilities, Limits
from codeweaver_backends.errors import InvalidFilterError, LimitExceededError, UnsupportedError
from codeweaver_backends.sdk.filters.evaluate import matches
from codeweaver_backends.sdk.filters.parse import OPERATORS, parse_filter
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
from codeweaver_backends.types import FilterCondition, FilterLike, SearchFilter
from codeweaver_conformance import oracle
from codeweaver_conformance.strategies import filters, payloads, worlds

EVERYTHING = BackendCapabilities(supports_regex=True)
A, B, C = (FilterCondition(field, "eq", 1) for field in "abc")
IS_A, IS_B, IS_C = (AnyOf((field,), (1,)) for field in "abc")
MUST_A = SearchFilter(must=[A])


def read(search_filter: FilterLike | None) -> Node:
    return parse_filter(search_filter, EVERYTHING)


# --- single conditions -----------------------------------------------------------------------------------------------

F = ("f",)
NOON = 1_714_564_800_000_000
CONDITIONS: list[tuple[str, Any, Node]] = [
    ("eq", 1, AnyOf(F, (1,))),
    ("==", None, AnyOf(F, (None,))),
    ("ne", "a", Not(AnyOf(F, ("a",)))),
    ("!=", True, Not(AnyOf(F, (True,)))),
    ("in", ["a", 1, "a", 1.0, True], AnyOf(F, ("a", 1.0, True))),
    ("in", (1,), AnyOf(F, (1,))),
    ("in", [], Never()),
    ("nin", [None], Not(AnyOf(F, (None,)))),
    ("not_in", [], Always()),
    ("gt", 1, NumberRange(F, "gt", 1)),
    (">", 1.5, NumberRange(F, "gt", 1.5)),
    ("ge", 0, NumberRange(F, "ge", 0)),
    (">=", -(2**63), NumberRange(F, "ge", -(2**63))),
    ("gte", 2**63 - 1, NumberRange(F, "ge", 2**63 - 1)),
    ("lt", 1, NumberRange(F, "lt", 1)),
    ("<", 1, NumberRange(F, "lt", 1)),
    ("le", 1, NumberRange(F, "le", 1)),
    ("<=", 1, NumberRange(F, "le", 1)),
    ("lte", 1, NumberRange(F, "le", 1)),
    ("ge", "2024-05-01T12:00:00Z", InstantRange(F, "ge", NOON)),
    ("ge", "2024-05-01T12:00:00", InstantRange(F, "ge", NOON)),
    ("ge", "2024-05-01", InstantRange(F, "ge", NOON - 12 * 3_600_000_000)),
    ("lt", datetime(2024, 5, 1, 12, tzinfo=UTC), InstantRange(F, "lt", NOON)),
    ("contains", "a%", Contains(F, "a%")),
    ("contains", "", Contains(F, "")),
    ("contains", 1, HasElement(F, 1)),
    ("contains", None, HasElement(F, None)),
    ("contains", False, HasElement(F, False)),
    ("exists", True, Exists(F)),
    ("exists", None, Exists(F)),
    ("exists", False, Not(Exists(F))),
    ("is_null", True, IsNull(F)),
    ("is_null", None, IsNull(F)),
    ("is_null", False, Not(IsNull(F))),
    ("regex", "a.c", Regex(F, "a.c")),
]


@pytest.mark.parametrize(("operator", "value", "node"), CONDITIONS)
def test_conditions(operator: str, value: Any, node: Node) -> None:
    condition = FilterCondition("f", operator, value)
    as_dict = {"field": "f", "operator": operator, "value": value}
    # By their text: to Python 1 == 1.0 == True, and so are the nodes.
    assert repr(read(condition)) == repr(node)
    assert repr(read(as_dict)) == repr(node)
    assert repr(read({"must": [as_dict]})) == repr(node)


def test_every_operator_is_covered() -> None:
    assert set(OPERATORS) <= {operator for operator, _, _ in CONDITIONS}


def test_an_operator_may_be_an_enum() -> None:
    operators = Enum("operators", {"EQUAL": "eq"})
    assert read(FilterCondition("f", operators.EQUAL, 1)) == AnyOf(F, (1,))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "path"),
    [
        ("a", ("a",)),
        ("a.b.0", ("a", "b", "0")),
        (("a.b", ""), ("a.b", "")),
        (("",), ("",)),
        ("it's \x00", ("it's \x00",)),
    ],
)
def test_paths(field: Any, path: tuple[str, ...]) -> None:
    assert read(FilterCondition(field, "exists")) == Exists(path)


# --- groups ----------------------------------------------------------------------------------------------------------

GROUPS: list[tuple[FilterLike | None, Node]] = [
    # nothing is no restriction, at every level
    (None, Always()),
    (SearchFilter(), Always()),
    ({}, Always()),
    (SearchFilter(must=[], should=(), must_not=[], conditions=[]), Always()),
    (SearchFilter(must=[SearchFilter(), A]), IS_A),
    (SearchFilter(should=[SearchFilter(), A]), Always()),
    (SearchFilter(must_not=[SearchFilter()]), Never()),
    (SearchFilter(must_not=[SearchFilter(must_not=[{}])]), Always()),
    # constants are folded
    (SearchFilter(must=[A, FilterCondition("f", "in", [])]), Never()),
    (SearchFilter(should=[A, FilterCondition("f", "in", [])]), IS_A),
    (SearchFilter(should=[A, FilterCondition("f", "nin", [])]), Always()),
    (SearchFilter(must_not=[FilterCondition("f", "in", [])]), Always()),
    (SearchFilter(must_not=[A, FilterCondition("f", "nin", [])]), Never()),
    # groups are flattened
    (SearchFilter(must=[A, SearchFilter(must=[B], conditions=[C])]), All((IS_A, IS_B, IS_C))),
    (SearchFilter(should=[A, SearchFilter(should=[B, C])]), Either((IS_A, IS_B, IS_C))),
    (SearchFilter(must=[A], should=[B, C]), All((IS_A, Either((IS_B, IS_C))))),
    (SearchFilter(must=[A], should=[B]), All((IS_A, IS_B))),
    (SearchFilter(must=[MUST_A]), IS_A),
    # negation reaches the leaves
    (SearchFilter(must_not=[A]), Not(IS_A)),
    (SearchFilter(must_not=[A, B]), All((Not(IS_A), Not(IS_B)))),
    (SearchFilter(must_not=[SearchFilter(must=[A, B])]), Either((Not(IS_A), Not(IS_B)))),
    (SearchFilter(must_not=[SearchFilter(should=[A, B])]), All((Not(IS_A), Not(IS_B)))),
    (SearchFilter(must_not=[SearchFilter(must_not=[A, B])]), Either((IS_A, IS_B))),
    (SearchFilter(must_not=[SearchFilter(must=[A], should=[B, C])]), Either((Not(IS_A), All((Not(IS_B), Not(IS_C)))))),
    # equalities of one path become one look-up
    (SearchFilter(should=[A, FilterCondition("a", "in", ["x", 1.0])]), AnyOf(("a",), (1.0, "x"))),
    (SearchFilter(must_not=[A, FilterCondition("a", "eq", True)]), Not(AnyOf(("a",), (1, True)))),
    (SearchFilter(must=[A, FilterCondition("a", "eq", 2)]), All((IS_A, AnyOf(("a",), (2,))))),
    # what is said twice is said once, and True is not 1
    (SearchFilter(must=[A, A, MUST_A]), IS_A),
    (SearchFilter(must=[A, FilterCondition("a", "eq", True)]), All((IS_A, AnyOf(("a",), (True,))))),
]


@pytest.mark.parametrize(("search_filter", "node"), GROUPS)
def test_groups(search_filter: FilterLike | None, node: Node) -> None:
    assert repr(read(search_filter)) == repr(node)


def parts_of(node: Node) -> Iterator[Node]:
    yield node
    match node:
        case All(parts) | Either(parts):
            for part in parts:
                yield from parts_of(part)
        case Not(leaf):
            yield from parts_of(leaf)
        case _:
            pass


def assert_normal(node: Node) -> None:
    """The promises of the tree's docstrings."""
    for inner in parts_of(node):
        match inner:
            case Always() | Never():
                assert inner is node, "constants are folded"
            case Not(leaf):
                assert isinstance(leaf, Leaf), "negation is at the leaves"
            case All(parts) | Either(parts):
                assert len(parts) >= 2
                assert not any(isinstance(part, type(inner)) for part in parts), "groups are flattened"
                assert len({repr(part) for part in parts}) == len(parts), "nothing is said twice"
                merged = [part.leaf if isinstance(part, Not) else part for part in parts]
                negated = isinstance(inner, All)
                paths = [
                    leaf.path
                    for part, leaf in zip(parts, merged, strict=True)
                    if isinstance(leaf, AnyOf) and isinstance(part, Not) is negated
                ]
                assert len(set(paths)) == len(paths), "equalities of one path are one"
            case AnyOf(_, values):
                assert values
                assert not any(
                    oracle.matches(FilterCondition("x", "eq", one), {"x": other})
                    for position, one in enumerate(values)
                    for other in values[:position]
                ), "no value stands twice"
            case _:
                assert isinstance(inner, Leaf)


@settings(max_examples=50)  # each draws a world of its own
@given(st.data())
def test_the_tree_is_normal_and_means_what_the_filter_means(data: st.DataObject) -> None:
    world = data.draw(worlds())
    search_filter = data.draw(filters(world))
    node = read(search_filter)
    opposite = read(SearchFilter(must_not=[search_filter]))
    assert_normal(node)
    assert_normal(opposite)
    for payload in data.draw(st.lists(payloads(world), min_size=1, max_size=6)):
        expected = oracle.matches(search_filter, payload)
        assert matches(node, payload) is expected
        assert matches(opposite, payload) is not expected


@settings(max_examples=30)
@given(filters())
def test_reading_changes_nothing_and_repeats(search_filter: FilterLike) -> None:
    before = repr(search_filter)
    assert repr(read(search_filter)) == repr(read(search_filter))
    assert repr(search_filter) == before


# --- refusals --------------------------------------------------------------------------------------------------------

SECRET = "s3cr3t"  # noqa: S105
REFUSED: list[tuple[Any, str]] = [
    # shapes
    (SECRET, "holds a str"),
    (7, "holds a int"),
    ([A], "holds a list"),
    (SearchFilter(must=[SECRET]), "holds a str"),  # type: ignore[list-item]
    (SearchFilter(must=[None]), "holds a NoneType"),  # type: ignore[list-item]
    (SearchFilter(must=A), "must must be a list"),  # type: ignore[arg-type]
    (SearchFilter(should={"field": SECRET}), "should must be a list"),  # type: ignore[arg-type]
    (SearchFilter(must_not=SECRET), "must_not must be a list"),  # type: ignore[arg-type]
    (SearchFilter(conditions=MUST_A), "conditions must be a list"),  # type: ignore[arg-type]
    ({"filter": SECRET}, "unknown key 'filter'; allowed are must, should, must_not, conditions"),
    ({"field": "a", "operator": "eq", "valeu": SECRET}, "unknown key 'valeu'; allowed are field, operator, value"),
    ({"field": "a", "value": SECRET}, "lacks 'operator'"),
    ({"operator": "eq", "value": SECRET}, "lacks 'field'"),
    # fields
    (FilterCondition("", "eq", SECRET), "field '' has an empty segment"),
    (FilterCondition("a..b", "eq", SECRET), "field 'a..b' has an empty segment"),
    (FilterCondition((), "eq", SECRET), "tuple field"),
    (FilterCondition(("a", 1), "eq", SECRET), "tuple field"),  # type: ignore[arg-type]
    (FilterCondition(["a"], "eq", SECRET), "field must be"),  # type: ignore[arg-type]
    (FilterCondition("\ud800", "eq", SECRET), "'field' holds a lone surrogate"),
    # operators
    (FilterCondition("a", "like", SECRET), "operator 'like' is unknown; allowed are eq, ne, in"),
    (FilterCondition("a", "EQ", SECRET), "operator 'EQ' is unknown"),
    (FilterCondition("a", None, SECRET), "operator None is unknown"),  # type: ignore[arg-type]
    # eq, ne, contains: scalars
    *(
        (FilterCondition("a", operator, value), f"the value of '{operator}' must be")
        for operator in ("eq", "ne", "contains")
        for value in ([SECRET], {"x": SECRET}, b"x", 2**63, -(2**63) - 1, float("nan"), float("inf"), Decimal(1))
    ),
    (FilterCondition("a", "eq", Enum("Color", ["RED"]).RED), "must be a string, a number"),  # type: ignore[attr-defined]
    (FilterCondition("a", "eq", IntEnum("Level", ["LOW"]).LOW), "must be a string, a number"),  # type: ignore[attr-defined]
    (FilterCondition("a", "eq", datetime(2024, 5, 1, tzinfo=UTC)), "not a datetime"),
    (FilterCondition("a", "eq", f"{SECRET}\ud800"), "lone surrogate"),
    # in, nin
    (FilterCondition("a", "in", SECRET), "the value of 'in' must be a list or tuple, not a str"),
    (FilterCondition("a", "nin", {SECRET}), "the value of 'nin' must be a list or tuple, not a set"),
    (FilterCondition("a", "in", None), "not a NoneType"),
    (FilterCondition("a", "in", [[SECRET]]), "not a list"),
    (FilterCondition("a", "in", [1, float("nan")]), "finite"),
    # ranges
    *(
        (FilterCondition("a", operator, value), f"'{operator}' must be")
        for operator in ("gt", "ge", "lt", "le")
        for value in (SECRET, "2024-05", "2024-05-01 12:00:00", "", True, None, float("nan"), [1], 2**63)
    ),
    (FilterCondition("a", "gt", datetime(2024, 5, 1)), "must be aware"),  # noqa: DTZ001
    (FilterCondition("a", "gt", date(2024, 5, 1)), "not a date"),
    # exists, is_null, regex
    *((FilterCondition("a", operator, 1), "must be True, False or absent") for operator in ("exists", "is_null")),
    (FilterCondition("a", "exists", SECRET), "must be True, False or absent"),
    (FilterCondition("a", "regex", 1), "'regex' must be a string"),
]


@pytest.mark.parametrize(("search_filter", "words"), REFUSED)
def test_refusals(search_filter: Any, words: str) -> None:
    for nested in (search_filter, SearchFilter(must_not=[SearchFilter(should=[search_filter])])):
        with pytest.raises(InvalidFilterError) as raised:
            read(nested)
        assert words in str(raised.value)
        assert SECRET not in str(raised.value), "no value is shown"


def nested(depth: int) -> SearchFilter:
    search_filter = MUST_A
    for _ in range(depth - 1):
        search_filter = SearchFilter(must_not=[search_filter])
    return search_filter


def contains(length: int) -> FilterCondition:
    return FilterCondition("a", "contains", "é" * length)


@pytest.mark.parametrize(
    ("limit", "allowed", "beyond"),
    [
        ("max_filter_depth", nested(8), nested(9)),
        ("max_filter_conditions", SearchFilter(must=[MUST_A] * 64), SearchFilter(must=[MUST_A] * 64, should=[B])),
        ("max_in_values", FilterCondition("a", "in", [*range(256)]), FilterCondition("a", "nin", [*range(257)])),
        (
            "max_contains_length",
            FilterCondition("a", "contains", "é" * 256),
            FilterCondition("a", "contains", "e" * 257),
        ),
    ],
)
def test_declared_limits(limit: str, allowed: Any, beyond: Any) -> None:
    floors = {"max_filter_depth": 8, "max_filter_conditions": 64, "max_in_values": 256, "max_contains_length": 256}
    capabilities = BackendCapabilities(limits=Limits(**floors))
    parse_filter(allowed, capabilities)
    with pytest.raises(LimitExceededError) as raised:
        parse_filter(beyond, capabilities)
    assert raised.value.limit == limit
    assert str(floors[limit]) in str(raised.value)


@pytest.mark.parametrize(
    ("condition", "capability"),
    [
        (FilterCondition("a", "contains", "x"), "supports_contains"),
        (FilterCondition("a", "contains", 1), "supports_contains"),
        (FilterCondition("a", "gt", "2024-05-01T12:00:00Z"), "supports_datetime_ranges"),
        (FilterCondition("a", "gt", datetime(2024, 5, 1, tzinfo=UTC)), "supports_datetime_ranges"),
        (FilterCondition("a", "regex", "x"), "supports_regex"),
    ],
)
def test_what_is_not_claimed_is_refused_even_where_it_would_be_folded_away(
    condition: FilterCondition, capability: str
) -> None:
    modest = BackendCapabilities(supports_contains=False, supports_datetime_ranges=False)
    for search_filter in (condition, SearchFilter(should=[SearchFilter(), condition])):
        with pytest.raises(UnsupportedError) as raised:
            parse_filter(search_filter, modest)
        assert raised.value.capability == capability
    parse_filter(FilterCondition("a", "gt", 1), modest)


def test_what_is_malformed_is_invalid_even_where_it_is_not_claimed() -> None:
    modest = BackendCapabilities(supports_contains=False, supports_datetime_ranges=False)
    for condition in (
        FilterCondition("a", "contains", []),
        FilterCondition("a", "gt", "x"),
        FilterCondition("a", "regex", 1),
    ):
        with pytest.raises(InvalidFilterError):
            parse_filter(condition, modest)


def test_folded_equalities_grow_no_wider_than_an_in_may_be() -> None:
    capabilities = BackendCapabilities(limits=Limits(max_in_values=256))
    parts = [FilterCondition("a", "in", list(range(start, start + 200))) for start in (0, 200, 400)]
    node = parse_filter(SearchFilter(should=parts), capabilities)
    assert isinstance(node, Either)
    assert sorted(value for part in node.parts for value in part.values) == list(range(600))  # type: ignore[union-attr]
    assert max(len(part.values) for part in node.parts) == 256  # type: ignore[union-attr]


def test_a_leaf_and_its_negation_need_no_engine() -> None:
    there = FilterCondition("a", "exists")
    assert isinstance(parse_filter(SearchFilter(must=[there], must_not=[there]), BackendCapabilities()), Never)
    either = SearchFilter(should=[there, SearchFilter(must_not=[there])])
    assert isinstance(parse_filter(either, BackendCapabilities()), Always)
