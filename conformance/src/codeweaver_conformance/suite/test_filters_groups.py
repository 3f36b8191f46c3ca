"""Filters: groups and how they are spelt, what is refused, and how many conditions are answered."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import pytest

from codeweaver_backends.errors import InvalidFilterError, InvalidInputError, UnsupportedError
from codeweaver_backends.types import FilterCondition, FilterLike, SearchFilter
from codeweaver_conformance.clause import clause
from codeweaver_conformance.session import Conformance, point
from codeweaver_conformance.suite.filter_points import POINTS, check, check_all, library

A, B, C = FilterCondition("n", "ge", 10), FilterCondition("f", "ge", 1), FilterCondition("f", "ne", "x")
IN, NIN, OUT = (
    FilterCondition("n", "in", [3, 12]),
    FilterCondition("n", "nin", [4, 12]),
    FilterCondition("o.a.b", "eq", 1),
)

EQUALITIES: list[tuple[Any, Any]] = [(1, True), (True, 1), (0, 5), ("abc", "b"), (None, "x"), (1.0, "1")]
"""Operands on one field: no scalar equals both, a list may."""


@clause("filters.empty")
async def test_empty_filters_are_no_restriction(cw: Conformance) -> None:
    """Check every level, and that must_not of an empty filter matches nothing."""
    empty: list[FilterLike] = [
        SearchFilter(),
        SearchFilter(must=[]),
        SearchFilter([], [], [], []),
        {},
        SearchFilter(should=[]),
    ]
    nested = [SearchFilter(must=[one]) for one in empty] + [SearchFilter(should=[one]) for one in empty]
    beside = [SearchFilter(must=[A, one]) for one in empty] + [SearchFilter(should=[A, one]) for one in empty]
    nothing = [SearchFilter(must_not=[one]) for one in empty] + [SearchFilter(must=[A], must_not=[SearchFilter()])]
    await check(
        cw, *empty, *nested, *beside, *nothing, SearchFilter(must_not=[SearchFilter(must_not=[SearchFilter()])])
    )
    cw.equal(await cw.ids(await library(cw), None), {p.id for p in POINTS}, "no filter at all")


@clause("filters.must")
async def test_must_takes_all(cw: Conformance) -> None:
    """Check several conditions on one field, which must add up, and conditions read as more must."""
    await check(cw, SearchFilter(must=[A, B]), SearchFilter(conditions=[A, B]), SearchFilter(must=[A], conditions=[B]))
    same = [FilterCondition("n", "ge", 5), FilterCondition("n", "le", 7), FilterCondition("n", "ne", 6)]
    await check(cw, SearchFilter(must=same), SearchFilter(must=same[:1], conditions=same[1:]))
    for bounds in (("gt", 5, 9), ("ge", 9, 5), ("lt", 9, 5), ("le", 5, 9)):
        both = [FilterCondition("n", str(bounds[0]), bound) for bound in bounds[1:]]
        await check(cw, SearchFilter(must=both), SearchFilter(must=both[::-1]), SearchFilter(should=both))
    await check(cw, SearchFilter(must=[C, FilterCondition("f", "ne", "y"), FilterCondition("f", "exists")]))
    for pair in EQUALITIES:
        await check(cw, SearchFilter(must=[FilterCondition("f", "eq", one) for one in pair]))


@clause("filters.should")
async def test_should_takes_at_least_one(cw: Conformance) -> None:
    """Check alternatives on one field and on two, beside must and must_not, and many of them."""
    for pair in EQUALITIES:
        await check(cw, SearchFilter(should=[FilterCondition("f", "ne", one) for one in pair]))
    await check(
        cw, SearchFilter(should=[A, OUT]), SearchFilter(should=[FilterCondition("f", "eq", v) for v in (1, "a", None)])
    )
    await check(cw, SearchFilter(must=[A], should=[B, OUT]), SearchFilter(must=[A], should=[B, IN], must_not=[C]))
    await check(
        cw,
        SearchFilter(must=[B], should=[OUT]),
        SearchFilter(should=[FilterCondition("n", "eq", n) for n in range(0, 40, 3)]),
    )


@clause("filters.must-not")
async def test_must_not_takes_none(cw: Conformance) -> None:
    """Check that it excludes a point with either, and that it binds no further than its own list."""
    await check(cw, SearchFilter(must_not=[A, OUT]), SearchFilter(must=[A], must_not=[B]), SearchFilter(must_not=[C]))
    await check(cw, SearchFilter(must=[B], must_not=[C]), SearchFilter(should=[A, OUT], must_not=[IN, NIN]))
    for one in (A, IN, FilterCondition("f", "exists"), FilterCondition("f", "is_null")):
        not_one = SearchFilter(must_not=[one])
        await check(cw, SearchFilter(must=[one], must_not=[one]), SearchFilter(should=[one, not_one]))
        await check(cw, SearchFilter(must=[one, SearchFilter(should=[not_one, OUT])]))
        await check(cw, SearchFilter(must=[SearchFilter(should=[one, OUT]), SearchFilter(should=[not_one, C])]))


@clause("filters.nested")
async def test_groups_mean_what_is_written(cw: Conformance) -> None:
    """Check precedence: (A or B) and C is not A or (B and C); double negation; every list; depth 8."""
    either, both, neither = SearchFilter(should=[A, B]), SearchFilter(must=[A, B]), SearchFilter(must_not=[A, B])
    for group in (either, both, neither):
        for other in (C, IN, NIN, OUT):
            await check(
                cw,
                SearchFilter(must=[group, other]),
                SearchFilter(should=[group, other]),
                SearchFilter(must_not=[group, other]),
            )
            await check(
                cw,
                SearchFilter(must=[other], must_not=[group]),
                SearchFilter(must=[SearchFilter(should=[group]), other]),
            )
    await check(
        cw,
        SearchFilter(must=[either, SearchFilter(should=[IN, OUT])]),
        SearchFilter(should=[both, SearchFilter(must=[NIN, C])]),
    )
    deep: FilterLike = A
    for level in range(8):
        deep = SearchFilter(**{("must", "should", "must_not")[level % 3]: [deep, B if level % 2 else OUT]})
    await check(cw, deep)
    deep = A
    for level in range(7):  # no two neighbours alike, so that nothing can be flattened away
        deep = SearchFilter(must=[deep, C]) if level % 2 else SearchFilter(should=[deep, IN])
    await check(cw, deep, SearchFilter(must_not=[deep]))


@clause("filters.dicts")
async def test_dicts_are_read_as_the_objects_they_spell(cw: Conformance) -> None:
    """Check conditions and filters as dicts, mixed with objects, at every level."""
    a = {"field": "n", "operator": "ge", "value": 10}
    spelt: list[FilterLike] = [
        {"must": [a]},
        SearchFilter(must=[a, B]),
        {"must": [{"should": [a, OUT]}], "must_not": [C]},
        SearchFilter(must=[{"must_not": [a]}]),
        {"conditions": [a]},
        {"must": [{"field": "f", "operator": "exists"}]},
        {"must": None, "should": [a]},
    ]
    await check(cw, *spelt)
    for wrong in (
        {"must": [a], "most": []},
        {"must": [{"field": "n"}]},
        {"must": [{**a, "boost": 2}]},
        {"must": a},
        {"n": 1},
    ):
        with cw.raises(InvalidFilterError, why=repr(wrong)):
            await cw.backend.search_vectors(await library(cw), [1, 0], search_filter=wrong)


@clause("filters.aliases")
async def test_aliases_mean_their_operators(cw: Conformance) -> None:
    """Check each alias at a bound that tells it from its neighbour."""
    aliases: list[tuple[str, Any]] = [
        ("==", 10),
        ("!=", 10),
        (">", 10),
        (">=", 10),
        ("gte", 10),
        ("<", 10),
        ("<=", 10),
        ("lte", 10),
        ("not_in", [10, 11]),
    ]
    await check_all(cw, [("n", operator, value) for operator, value in aliases])


@clause("filters.bad-operator")
@pytest.mark.parametrize("operator", ["like", "EQ", "", "=", "between", "$eq", "not", None, 5])
async def test_unknown_operators_are_refused(cw: Conformance, operator: Any) -> None:
    """Check for operators that are skipped, so that the filter matches everything."""
    with cw.raises(InvalidFilterError, UnsupportedError) as raised:
        await cw.ids(await library(cw), SearchFilter(must=[FilterCondition("n", operator, 1)]))
    if isinstance(raised.error, InvalidFilterError):
        cw.true(
            "eq" in str(raised.error) and "exists" in str(raised.error),
            "the allowed operators named",
            str(raised.error),
        )


BAD_OPERANDS: list[tuple[str, Any]] = [
    ("eq", [1]), ("eq", {"a": 1}), ("eq", 2**63), ("eq", -(2**63) - 1), ("eq", float("nan")), ("eq", float("inf")),
    ("eq", b"x"), ("eq", object()), ("eq", "\ud800"), ("ne", [1]), ("ne", float("nan")), ("in", "abc"), ("in", 5),
    ("in", None), ("in", {"a": 1}), ("in", [[1]]), ("in", [float("nan")]), ("in", [2**63]),
    ("nin", "abc"), ("nin", [{}]),
    ("gt", "a"), ("gt", "2024-05"), ("gt", "2024-05-01 12:00:00"), ("gt", True), ("gt", None), ("gt", [1]),
    ("ge", "2023-02-29"), ("ge", "2024-05-01Z"), ("lt", date(2024, 5, 1)),
    ("gt", float("nan")), ("gt", float("inf")), ("lt", datetime(2024, 5, 1)), ("le", "2024-05-01T24:00:00Z"),  # noqa: DTZ001
    ("ge", ""), ("ge", 2**64), ("contains", ["a"]), ("contains", {"a": 1}), ("contains", float("nan")), ("exists", 1),
    ("exists", "true"), ("is_null", 0), ("is_null", "x"),
]  # fmt: skip


@clause("filters.bad-operand")
@pytest.mark.parametrize(
    ("operator", "value"), BAD_OPERANDS, ids=[f"{number}-{one[0]}" for number, one in enumerate(BAD_OPERANDS)]
)
async def test_operands_of_the_wrong_kind_are_refused(cw: Conformance, operator: str, value: Any) -> None:
    """Check that the error is the contract's, also deep inside a filter."""
    name = await library(cw)
    bad = FilterCondition("n", operator, value)
    for one in (SearchFilter(must=[bad]), SearchFilter(should=[A, SearchFilter(must_not=[bad])])):
        with cw.raises(InvalidFilterError, UnsupportedError):
            await cw.backend.search_vectors(name, [1, 0], search_filter=one)


@clause("filters.bad-operand")
@pytest.mark.parametrize("field", ["", "a..b", ".a", "a.", None, 5, (), ("a", 1), ["a"], b"a"], ids=str)
async def test_malformed_fields_are_refused(cw: Conformance, field: Any) -> None:
    """Check that an empty segment is not guessed at; groups that are no lists are refused alike."""
    name = await library(cw)
    with cw.raises(InvalidFilterError):
        await cw.ids(name, SearchFilter(must=[FilterCondition(field, "eq", 1)]))
    for group in ("n", 5, A, {"field": "n"}):
        with cw.raises(InvalidFilterError):
            await cw.ids(name, SearchFilter(must=group))  # type: ignore[arg-type]


@clause("filters.limits")
async def test_filters_up_to_the_declared_limits_are_answered(cw: Conformance) -> None:
    """Check depth, conditions, values and length at the contract's floors, and refusal beyond what is declared."""
    limits = cw.limits
    values: list[Any] = [n if n % 2 else f"s{n}" for n in range(254)] + ["x", None]
    await check_all(cw, [("f", "in", values), ("n", "in", list(range(0, 1024, 4)))])
    await check(cw, SearchFilter(should=[FilterCondition("n", "eq", n) for n in range(0, 128, 2)]))
    await check(cw, SearchFilter(must=[FilterCondition("n", "ne", n) for n in range(0, 128, 2)]))
    mixed = [FilterCondition("n", "gt", n) if n % 2 else FilterCondition("f", "le", n) for n in range(64)]
    await check(cw, SearchFilter(should=mixed), SearchFilter(must_not=mixed[60:], should=mixed[:60]))
    name = await cw.collection([point(n, [1, n], {f"w{n}": n}) for n in range(64)])
    wide = [FilterCondition(f"w{n}", "ge", 0) for n in range(64)]
    cw.equal(await cw.ids(name, SearchFilter(should=wide)), set(range(64)), "64 alternatives, each with a point")
    cw.equal(await cw.ids(name, SearchFilter(must_not=wide[:63])), {63}, "63 exclusions, each with a point")
    if cw.claims("supports_contains"):
        await check_all(cw, [("s", "contains", "x" * 256), ("s", "contains", "%" * 256)])
    deep: FilterLike = A
    for level in range(min(limits.max_filter_depth, 200)):
        deep = SearchFilter(must=[deep]) if level % 2 else SearchFilter(should=[deep, OUT])
    await check(cw, deep)
    beyond: list[tuple[str, FilterLike]] = [
        ("max_in_values", SearchFilter(must=[FilterCondition("n", "in", list(range(limits.max_in_values + 1)))])),
        ("max_filter_conditions", SearchFilter(must=[A] * (limits.max_filter_conditions + 1))),
        ("max_filter_depth", SearchFilter(must=[deep])),
    ]
    if cw.claims("supports_contains"):
        beyond.append(
            (
                "max_contains_length",
                SearchFilter(must=[FilterCondition("s", "contains", "x" * (limits.max_contains_length + 1))]),
            )
        )
    for limit, one in beyond:
        if limit == "max_filter_depth" and limits.max_filter_depth > 200:
            continue
        with cw.raises(InvalidInputError, UnsupportedError, why=f"beyond {limit}"):
            await cw.ids(await library(cw), one)
