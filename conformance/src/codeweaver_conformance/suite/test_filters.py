"""Filters: every operator, group, path and operand, against payloads that differ in one respect each."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest

from codeweaver_backends.errors import InvalidFilterError, InvalidInputError, UnsupportedError
from codeweaver_backends.types import FilterCondition, FilterLike, SearchFilter, VectorPoint
from codeweaver_conformance import oracle, strategies
from codeweaver_conformance.clause import clause
from codeweaver_conformance.generated import generated
from codeweaver_conformance.maker import Maker
from codeweaver_conformance.session import Conformance, point

# One field, every kind of value; then texts that look alike, numbers that round alike, and lists of them.
VALUES: list[Any] = [
    None, True, False, 0, 1, 2, -1, 1.0, 1.5, 0.0, "", "1", "1.0", "true", "null", "None", "a", "A", "ab", "abc",
    "x", "y", [], [None], [1], [1.0, "1"], [True], ["a"], ["abc", "b"], [""], [[1]], [{"v": 1}], [0, 5, 10], {},
    {"v": 1}, {"w": None}, 2**53, 2**53 + 1, float(2**53), 2**63 - 1, -(2**63), 9.2233720368547758e18,
    0.1, 0.30000000000000004, 0.3, 1e300, -1e300, 5e-324, 123456789.123456789,
]  # fmt: skip

TEXTS = [
    "50%_off", "50 percent off", "a.b", "axb", "a*b", "it's", 'say "hi"', "back\\slash", "trailing\\", "new\nline",
    "tab\tend", "nul\x00in", "\x1f\x1e", "%", "_", "*", "?", "[a]", "(a)", "a|b", "^a$", "{a}", "x' OR '1'='1",
    '") or true or ("', "'; DROP TABLE x; --", "日本語", "caf\u00e9", "cafe\u0301", "CAF\u00c9", "😀", "\u202eabc",
    " lead", "trail ", "two  spaces", "ß", "SS", "İ", "ı", "%41", "\\x41", "\\", "\\\\", "'", "''", '"', "--", "/* */",
]  # fmt: skip

MOMENTS = [
    "2024-05-01T12:00:00Z", "2024-05-01T14:00:00+02:00", "2024-05-01T12:00:00.000001Z", "2024-05-01T12:00:00.0000019Z",
    "2024-05-01T11:59:59.999999Z", "2024-05-01t12:00:00z", "2024-05-01T12:00:00-00:00", "2024-05-01T23:59:60Z",
    "2024-05-01T24:00:00Z", "2024-05-01 12:00:00Z", "2024-02-30T00:00:00Z",
    "1969-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "not a date", 1714564800,
    ["2024-04-01T00:00:00Z", "2024-06-01T00:00:00Z"], ["2024-04-01T00:00:00Z", 5], None, True,
]  # fmt: skip

OF_UTC = [
    "2024-05-01", "2024-05-01T12:00:00",
    "2024-05-01T00:00:00Z", "2024-05-01T11:59:59.999999", "2024-05-01t12:00:00.0000019", "2024-05-01T14:00:00",
    "2024-05-02", "2023-02-29", "2024-05-01 ", "2024-05-01 12:00:00", "2024-05", "2024-05-01T12:00", "2024-05-01T",
    "2024-05-01Z", "2024-05-01+02:00", "20240501", "0001-01-01", "9999-12-31", "1969-12-31T23:59:59.999999",
    ["2024-04-30", 5], ["x", "2024-05-01T13:00:00"], ["2024-02-30", "2024-05-01x"], {"2024-05-01": 1},
]  # fmt: skip

KEYS = [
    "Title", "title", "with space", "a-b", "1x", "0", "ключ", 'quo"te', "quo'te", "back\\slash", "$x", "a[0]",
    "id", "vector", "text", "new\nline", "%", "*", "_id",
]  # fmt: skip

KEYED = 3_000
"""The first id of the points that carry KEYS."""

POINTS: list[VectorPoint] = [
    *(point(n, [1, n / 100], {"f": value, "n": n}) for n, value in enumerate(VALUES)),
    *(point(1_000 + n, [1, n / 100], {"s": text}) for n, text in enumerate(TEXTS)),
    *(point(2_000 + n, [1, n / 100], {"d": moment}) for n, moment in enumerate(MOMENTS)),
    *(point(2_500 + n, [1, n / 100], {"u": moment}) for n, moment in enumerate(OF_UTC)),
    *(point(KEYED + n, [1, n / 100], {key: "here"}) for n, key in enumerate(KEYS)),
    point(4001, [1, 0.5], {"o": {"a": {"b": 1, "0": "zero"}, "l": [{"b": 1}]}, "o.a.b": "dotted", "": {"": "empty"}}),
    point(4002, [1, 0.6], {"o": {"a": {"b": 2}}, "list": [{"a": 1}, {"a": 2}]}),
    point(4003, [1, 0.7], {"o": 1, "list": ["a"]}),
    point(4004, [0, 1], None),
    point(4005, [0, 1], {}),
]


async def _library(cw: Conformance) -> str:
    return await cw.fixture("filters", lambda: cw.collection(POINTS))


async def _check(cw: Conformance, *filters: FilterLike) -> None:
    name = await _library(cw)
    for one in filters:
        expected = set(oracle.selected(POINTS, one))
        got = await cw.ids(name, one)
        if got != expected:
            payloads = {p.id: p.payload for p in POINTS}
            story = {f"missing {i}": payloads[i] for i in expected - got} | {
                f"extra {i}": payloads.get(i) for i in got - expected
            }
            cw.violated(
                f"{len(expected)} points: {sorted(map(str, expected))}", f"{len(got)} points; wrong are {story}"
            )


async def _check_all(cw: Conformance, conditions: Iterable[tuple[Any, str, Any]]) -> None:
    """Each condition, and its negation by must_not."""
    for field, operator, value in conditions:
        one = FilterCondition(field, operator, value)
        await _check(cw, SearchFilter(must=[one]), SearchFilter(must_not=[one]))


SCALARS: list[Any] = [one for one in VALUES if not isinstance(one, list | dict)]


@clause("filters.eq")
async def test_eq_is_json_equality(cw: Conformance) -> None:
    """Check types that the engine converts: bool and 1, text and number, int and float, null and missing."""
    await _check_all(cw, [("f", "eq", value) for value in [*SCALARS, 3, "zzz", 2**53 - 1, 0.1 + 0.2, 1e-300]])
    nearly = [
        "lead",
        "trail",
        "two spaces",
        "two",
        "nul",
        "nul\x00",
        "new",
        "trailing",
        "50%",
        "\\\\\\",
        "cafe",
        "A.B",
        "'; DROP TABLE x; -",
    ]
    await _check_all(cw, [("s", "eq", text) for text in nearly])


@clause("filters.ne")
async def test_ne_is_exactly_not_eq(cw: Conformance) -> None:
    """Check three-valued logic: a point without the field, or with a list, matches."""
    await _check_all(cw, [("f", "ne", value) for value in SCALARS[:24]])


@clause("filters.in")
async def test_in_takes_mixed_values(cw: Conformance) -> None:
    """Check lists of several types, tuples, repetitions, and the empty list, which matches nothing."""
    lists: list[Any] = [[1, "1"], [True, None], ("a", 1.5, False), [2**53 + 1, 0.1], [1, 1, 1], ["zzz"], [], ()]
    lists += [[1, True], [True, 1], [0, False], [False, 0.0], [1, 1.0, "1", True]]
    await _check_all(cw, [("f", "in", one) for one in lists])
    await _check_all(cw, [("s", "in", TEXTS[:20]), ("s", "in", TEXTS[20:])])
    await _check(cw, SearchFilter(should=[FilterCondition("f", "in", []), FilterCondition("f", "eq", "x")]))


@clause("filters.nin")
async def test_nin_is_exactly_not_in(cw: Conformance) -> None:
    """Check negation over mixed types, and that nin [] matches everything."""
    lists: list[Any] = [[1, "1"], [True, None], ("a", 1.5, False), ["zzz"], [], ()]
    await _check_all(cw, [("f", "nin", one) for one in lists])
    await _check(cw, SearchFilter(must=[FilterCondition("f", "nin", []), FilterCondition("f", "eq", "x")]))


@clause("filters.range")
async def test_ranges_compare_numbers_by_exact_value(cw: Conformance) -> None:
    """Check strict and inclusive bounds at a value that is there, large integers, and elements of lists."""
    bounds = [
        0,
        1,
        1.0,
        1.5,
        -1,
        5,
        2**53,
        2**53 + 1,
        float(2**53),
        2**63 - 1,
        -(2**63),
        0.3,
        1e300,
        -1e300,
        5e-324,
        -0.0,
    ]
    await _check_all(cw, [("f", order, bound) for order in ("gt", "ge", "lt", "le") for bound in bounds])
    between = [FilterCondition("f", "gt", 0), FilterCondition("f", "lt", 5)]
    await _check(cw, SearchFilter(must=between), SearchFilter(must_not=between))


@clause("filters.datetime")
async def test_datetimes_compare_as_instants(cw: Conformance) -> None:
    """Check offsets, fractions, and texts that are nearly instants; numbers and other texts do not match."""
    noon = datetime(2024, 5, 1, 12, tzinfo=UTC)
    bounds = [
        "2024-05-01T12:00:00Z",
        "2024-05-01T14:00:00.0000005+02:00",
        noon,
        noon.astimezone(timezone(timedelta(hours=-7))),
        noon + timedelta(microseconds=1),
        "1969-12-31T23:59:59Z",
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59.999999Z",
        "2024-05-20t00:00:00z",
    ]
    await _check_all(cw, [("d", order, bound) for order in ("gt", "ge", "lt", "le") for bound in bounds])


@clause("filters.datetime-utc")
async def test_date_times_without_offset_and_dates_are_of_utc(cw: Conformance) -> None:
    """Check them stored, alone and in lists, and as operands, beside texts with offset and texts that are neither."""
    bounds = [
        *("2024-05-01T12:00:00", "2024-05-01", "2024-05-02", "2024-04-30", "2024-05-01T11:59:59.9999999"),
        *("2024-05-01t12:00:00.000001", "1970-01-01", "0001-01-01", "9999-12-31T23:59:59.999999"),
        *("2024-05-01T12:00:00Z", "2024-05-01T02:00:00+02:00", datetime(2024, 5, 1, tzinfo=UTC)),
    ]
    await _check_all(cw, [("u", order, bound) for order in ("gt", "ge", "lt", "le") for bound in bounds])
    naive = FilterCondition("u", "ge", datetime(2024, 5, 1))  # noqa: DTZ001
    with cw.raises(InvalidFilterError):
        await cw.backend.search_vectors(await _library(cw), [1, 0], search_filter=SearchFilter(must=[naive]))


@clause("filters.contains")
async def test_contains_is_a_literal_substring_or_membership(cw: Conformance) -> None:
    """Check wildcards, case, accents, the empty text, and that an element of a list is not searched inside."""
    needles = [
        "", "%", "_", "%_", ".", "*", "a.b", "'", '"', "\\", "\n", "\x00", "\x1f", "off", "OFF", "caf",
        "\u00e9", "日", " ", "  ", "x' OR", "--", "ß", "ss", "i", "[a]", "(a", "|", "^a$", "%41", "😀",
    ]  # fmt: skip
    await _check_all(cw, [("s", "contains", needle) for needle in needles])
    members: list[Any] = ["", "a", "abc", "b", "bc", 1, 1.0, "1", True, False, None, 0, 5, 10, 2]
    await _check_all(cw, [("f", "contains", member) for member in members])


@clause("filters.exists")
async def test_exists_means_that_the_key_is_there(cw: Conformance) -> None:
    """Check null, [], {} and "" as values, and the negation by False."""
    await _check_all(cw, [("f", "exists", value) for value in (True, False, None)])
    await _check_all(cw, [("missing", "exists", True), ("o.a", "exists", True), ("list", "exists", True)])


@clause("filters.is-null")
async def test_is_null_means_a_null_that_is_there(cw: Conformance) -> None:
    """Check the missing field and the list that holds null: neither is null."""
    await _check_all(cw, [("f", "is_null", value) for value in (True, False, None)])
    await _check_all(cw, [("missing", "is_null", True), ("f.w", "is_null", True)])


@clause("filters.regex")
async def test_regex_is_searched_unanchored(cw: Conformance) -> None:
    """Check anchors, classes, backslashes and case; values other than text do not match."""
    patterns = ["^a", "b$", "a.b", r"a\.b", "[0-9]+", r"\\", "^50", "日本", "(?i)CAF", "off|hi", "^$", "new\nline"]
    await _check_all(cw, [("s", "regex", pattern) for pattern in patterns])


@clause("filters.falsy")
async def test_falsy_operands_are_operands(cw: Conformance) -> None:
    """Check for `if not value: return True`."""
    falsy: list[Any] = [0, 0.0, False, "", None]
    await _check_all(cw, [("f", "eq", value) for value in falsy])
    await _check_all(
        cw, [("f", "gt", 0), ("f", "le", 0), ("f", "in", [0]), ("f", "in", [False, ""]), ("f", "nin", [None])]
    )


@clause("filters.missing")
async def test_a_missing_field_matches_no_affirmed_condition(cw: Conformance) -> None:
    """Check points without payload, with an empty one, and without the field."""
    name = await _library(cw)
    affirmed: list[tuple[str, Any]] = [
        ("eq", "x"),
        ("eq", None),
        ("in", [None, 1]),
        ("gt", -1e300),
        ("exists", True),
        ("is_null", True),
    ]
    for operator, value in affirmed:
        one = FilterCondition("never stored", operator, value)
        cw.equal(await cw.ids(name, SearchFilter(must=[one])), set(), f"{operator} {value!r}")
        cw.equal(await cw.ids(name, SearchFilter(must_not=[one])), {p.id for p in POINTS}, f"not {operator} {value!r}")
    for operator, value in (("ne", "x"), ("nin", ["x"]), ("exists", False), ("is_null", False)):
        cw.equal(
            await cw.ids(name, SearchFilter(must=[FilterCondition("never stored", operator, value)])),
            {p.id for p in POINTS},
        )


@clause("filters.paths")
async def test_paths_lead_into_objects_and_not_into_lists(cw: Conformance) -> None:
    """Check dotted keys beside nested ones, digits, lists of objects, and the empty key."""
    fields: list[Any] = [
        "o.a.b",
        ("o.a.b",),
        ("o", "a", "b"),
        "o.a.0",
        "o.a",
        "o",
        "o.l",
        "o.l.b",
        "o.l.0",
        "list.a",
        "list.0",
        ("", ""),
        ("",),
        ("o", "", "a", "b"),
        ("o", "a", "b", ""),
        "f.v",
        "f.0",
    ]
    values: list[Any] = [1, 2, "dotted", "zero", "empty", "a"]
    await _check_all(cw, [(field, "eq", value) for field in fields for value in values])
    await _check_all(cw, [(field, "exists", True) for field in fields])
    await _check_all(cw, [("o.a.b", "ge", 1), ("o.a.b", "in", [2, 3]), ("o.l.b", "gt", 0)])


@clause("filters.keys")
async def test_fields_of_any_name_can_be_filtered(cw: Conformance) -> None:
    """Check keys that need quoting in the engine's language, and those the adapter uses for itself."""
    for number, key in enumerate(KEYS):
        found = await cw.ids(await _library(cw), SearchFilter(must=[FilterCondition((key,), "eq", "here")]))
        cw.equal(found, {KEYED + number}, f"field {key!r}")
    await _check_all(cw, [((key,), "contains", "her") for key in KEYS[:8] if cw.claims("supports_contains")])
    await _check_all(cw, [((key,), "exists", True) for key in KEYS[8:]])


@clause("filters.hostile")
async def test_no_value_or_field_changes_the_meaning(cw: Conformance) -> None:
    """Check every place where a literal could end early: values, lists, needles and field names."""
    await _check_all(cw, [("s", "eq", text) for text in TEXTS])
    await _check_all(cw, [("s", "in", [text, "no such text"]) for text in TEXTS[::3]])
    hostile = ['s"] != "" or metadata["x', "s' OR '1'='1", "size > 0 or s", "s); --", "s.*", "s`", "$.s", "s\x00"]
    name = await _library(cw)
    for field in hostile:
        for operator, value in (("eq", TEXTS[0]), ("exists", True), ("gt", 0)):
            found = await cw.ids(name, SearchFilter(must=[FilterCondition((field,), operator, value)]))
            cw.equal(found, set(), f"{operator} on the field {field!r}")
    for text in ("x' OR 'a'='a", '" or 1 == 1 or "', "%' OR '%", "\\' OR 1=1 --", "**", "') or true or ('"):
        cw.equal(await cw.ids(name, SearchFilter(must=[FilterCondition("s", "eq", text)])), set(), f"eq {text!r}")


# --- groups ----------------------------------------------------------------------------------------------------------

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
    await _check(
        cw, *empty, *nested, *beside, *nothing, SearchFilter(must_not=[SearchFilter(must_not=[SearchFilter()])])
    )
    cw.equal(await cw.ids(await _library(cw), None), {p.id for p in POINTS}, "no filter at all")


@clause("filters.must")
async def test_must_takes_all(cw: Conformance) -> None:
    """Check several conditions on one field, which must add up, and conditions read as more must."""
    await _check(cw, SearchFilter(must=[A, B]), SearchFilter(conditions=[A, B]), SearchFilter(must=[A], conditions=[B]))
    same = [FilterCondition("n", "ge", 5), FilterCondition("n", "le", 7), FilterCondition("n", "ne", 6)]
    await _check(cw, SearchFilter(must=same), SearchFilter(must=same[:1], conditions=same[1:]))
    for bounds in (("gt", 5, 9), ("ge", 9, 5), ("lt", 9, 5), ("le", 5, 9)):
        both = [FilterCondition("n", str(bounds[0]), bound) for bound in bounds[1:]]
        await _check(cw, SearchFilter(must=both), SearchFilter(must=both[::-1]), SearchFilter(should=both))
    await _check(cw, SearchFilter(must=[C, FilterCondition("f", "ne", "y"), FilterCondition("f", "exists")]))
    for pair in EQUALITIES:
        await _check(cw, SearchFilter(must=[FilterCondition("f", "eq", one) for one in pair]))


@clause("filters.should")
async def test_should_takes_at_least_one(cw: Conformance) -> None:
    """Check alternatives on one field and on two, beside must and must_not, and many of them."""
    for pair in EQUALITIES:
        await _check(cw, SearchFilter(should=[FilterCondition("f", "ne", one) for one in pair]))
    await _check(
        cw, SearchFilter(should=[A, OUT]), SearchFilter(should=[FilterCondition("f", "eq", v) for v in (1, "a", None)])
    )
    await _check(cw, SearchFilter(must=[A], should=[B, OUT]), SearchFilter(must=[A], should=[B, IN], must_not=[C]))
    await _check(
        cw,
        SearchFilter(must=[B], should=[OUT]),
        SearchFilter(should=[FilterCondition("n", "eq", n) for n in range(0, 40, 3)]),
    )


@clause("filters.must-not")
async def test_must_not_takes_none(cw: Conformance) -> None:
    """Check that it excludes a point with either, and that it binds no further than its own list."""
    await _check(cw, SearchFilter(must_not=[A, OUT]), SearchFilter(must=[A], must_not=[B]), SearchFilter(must_not=[C]))
    await _check(cw, SearchFilter(must=[B], must_not=[C]), SearchFilter(should=[A, OUT], must_not=[IN, NIN]))
    for one in (A, IN, FilterCondition("f", "exists"), FilterCondition("f", "is_null")):
        not_one = SearchFilter(must_not=[one])
        await _check(cw, SearchFilter(must=[one], must_not=[one]), SearchFilter(should=[one, not_one]))
        await _check(cw, SearchFilter(must=[one, SearchFilter(should=[not_one, OUT])]))
        await _check(cw, SearchFilter(must=[SearchFilter(should=[one, OUT]), SearchFilter(should=[not_one, C])]))


@clause("filters.nested")
async def test_groups_mean_what_is_written(cw: Conformance) -> None:
    """Check precedence: (A or B) and C is not A or (B and C); double negation; every list; depth 8."""
    either, both, neither = SearchFilter(should=[A, B]), SearchFilter(must=[A, B]), SearchFilter(must_not=[A, B])
    for group in (either, both, neither):
        for other in (C, IN, NIN, OUT):
            await _check(
                cw,
                SearchFilter(must=[group, other]),
                SearchFilter(should=[group, other]),
                SearchFilter(must_not=[group, other]),
            )
            await _check(
                cw,
                SearchFilter(must=[other], must_not=[group]),
                SearchFilter(must=[SearchFilter(should=[group]), other]),
            )
    await _check(
        cw,
        SearchFilter(must=[either, SearchFilter(should=[IN, OUT])]),
        SearchFilter(should=[both, SearchFilter(must=[NIN, C])]),
    )
    deep: FilterLike = A
    for level in range(8):
        deep = SearchFilter(**{("must", "should", "must_not")[level % 3]: [deep, B if level % 2 else OUT]})
    await _check(cw, deep)
    deep = A
    for level in range(7):  # no two neighbours alike, so that nothing can be flattened away
        deep = SearchFilter(must=[deep, C]) if level % 2 else SearchFilter(should=[deep, IN])
    await _check(cw, deep, SearchFilter(must_not=[deep]))


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
    await _check(cw, *spelt)
    for wrong in (
        {"must": [a], "most": []},
        {"must": [{"field": "n"}]},
        {"must": [{**a, "boost": 2}]},
        {"must": a},
        {"n": 1},
    ):
        with cw.raises(InvalidFilterError, why=repr(wrong)):
            await cw.backend.search_vectors(await _library(cw), [1, 0], search_filter=wrong)


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
    await _check_all(cw, [("n", operator, value) for operator, value in aliases])


@clause("filters.bad-operator")
@pytest.mark.parametrize("operator", ["like", "EQ", "", "=", "between", "$eq", "not", None, 5])
async def test_unknown_operators_are_refused(cw: Conformance, operator: Any) -> None:
    """Check for operators that are skipped, so that the filter matches everything."""
    with cw.raises(InvalidFilterError, UnsupportedError) as raised:
        await cw.ids(await _library(cw), SearchFilter(must=[FilterCondition("n", operator, 1)]))
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
    name = await _library(cw)
    bad = FilterCondition("n", operator, value)
    for one in (SearchFilter(must=[bad]), SearchFilter(should=[A, SearchFilter(must_not=[bad])])):
        with cw.raises(InvalidFilterError, UnsupportedError):
            await cw.backend.search_vectors(name, [1, 0], search_filter=one)


@clause("filters.bad-operand")
@pytest.mark.parametrize("field", ["", "a..b", ".a", "a.", None, 5, (), ("a", 1), ["a"], b"a"], ids=str)
async def test_malformed_fields_are_refused(cw: Conformance, field: Any) -> None:
    """Check that an empty segment is not guessed at; groups that are no lists are refused alike."""
    name = await _library(cw)
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
    await _check_all(cw, [("f", "in", values), ("n", "in", list(range(0, 1024, 4)))])
    await _check(cw, SearchFilter(should=[FilterCondition("n", "eq", n) for n in range(0, 128, 2)]))
    await _check(cw, SearchFilter(must=[FilterCondition("n", "ne", n) for n in range(0, 128, 2)]))
    mixed = [FilterCondition("n", "gt", n) if n % 2 else FilterCondition("f", "le", n) for n in range(64)]
    await _check(cw, SearchFilter(should=mixed), SearchFilter(must_not=mixed[60:], should=mixed[:60]))
    name = await cw.collection([point(n, [1, n], {f"w{n}": n}) for n in range(64)])
    wide = [FilterCondition(f"w{n}", "ge", 0) for n in range(64)]
    cw.equal(await cw.ids(name, SearchFilter(should=wide)), set(range(64)), "64 alternatives, each with a point")
    cw.equal(await cw.ids(name, SearchFilter(must_not=wide[:63])), {63}, "63 exclusions, each with a point")
    if cw.claims("supports_contains"):
        await _check_all(cw, [("s", "contains", "x" * 256), ("s", "contains", "%" * 256)])
    deep: FilterLike = A
    for level in range(min(limits.max_filter_depth, 200)):
        deep = SearchFilter(must=[deep]) if level % 2 else SearchFilter(should=[deep, OUT])
    await _check(cw, deep)
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
            await cw.ids(await _library(cw), one)


# --- selectivity, and generated filters ------------------------------------------------------------------------------


@clause("filters.applied")
async def test_filters_bind_before_the_cut(cw: Conformance) -> None:
    """Check for a filter after the top-k: the points that match are the farthest, at every selectivity."""

    async def make() -> str:
        near = [point(n, [1, n / 100], {"near": True, "share": n % 200}) for n in range(580)]
        far = [point(1_000 + n, [-1, n / 1_000], {"near": False, "rare": n < 3}) for n in range(20)]
        return await cw.collection(near + far)

    name = await cw.fixture("selectivity", make)
    far = SearchFilter(must=[FilterCondition("near", "eq", False)])
    for limit, expected in ((1, 1), (5, 5), (20, 20), (100, 20)):
        found = await cw.backend.search_vectors(name, [1, 0], limit=limit, search_filter=far)
        cw.equal(len(found), expected, f"limit={limit} with 20 points that match")
        cw.true(
            all(hit.payload == {"near": False, "rare": hit.id < 1_003} for hit in found), "points that match", found
        )
    rare = SearchFilter(must=[FilterCondition("rare", "eq", True)])
    cw.equal(
        {hit.id for hit in await cw.backend.search_vectors(name, [1, 0], limit=3, search_filter=rare)},
        {1_000, 1_001, 1_002},
    )
    for share in (1, 20, 100):
        one = SearchFilter(must=[FilterCondition("share", "lt", share)])
        found = await cw.backend.search_vectors(name, [1, 0], limit=10, search_filter=one)
        expected_ids = [n for n in range(580) if n % 200 < share][:10]
        cw.equal([hit.id for hit in found], expected_ids, f"{share / 2} % of the near points match")
    none = SearchFilter(must=[FilterCondition("near", "eq", "neither")])
    cw.equal(await cw.backend.search_vectors(name, [1, 0], search_filter=none), [])


@clause("filters.generated")
def test_generated_filters(cw: Conformance) -> None:
    """Check the filter in the message against the contract's plain reading; it is the smallest found that fails."""
    world = dataclasses.replace(
        strategies.WORLD, contains=cw.claims("supports_contains"), datetimes=cw.claims("supports_datetime_ranges")
    )
    maker = Maker(random.Random(cw.seed), world)  # noqa: S311 - reproducible, not secret
    points = [point(n, [1, n / 10], maker.payload() if n % 20 else None) for n in range(60)]
    name = cw.run(cw.fixture("generated", lambda: cw.collection(points)))

    @generated(cw, strategies.filters(world))
    def agree(one: FilterLike) -> None:
        expected = set(oracle.selected(points, one))
        got = cw.run(cw.ids(name, one))
        if got != expected:
            wrong = {str(p.id): p.payload for p in points if p.id in got ^ expected}
            cw.violated(sorted(map(str, expected)), sorted(map(str, got)), f"the filter {one!r} is wrong on {wrong}")

    agree()


@clause("filters.generated", "scores.order")
async def test_generated_searches(cw: Conformance) -> None:
    """Check filter, limit and threshold together, on payloads with many odd fields, for each metric."""
    loaded: dict[int, str] = {}
    cases = strategies.generate(
        cw.seed,
        cw.cases,
        metrics=cw.metrics,
        contains=cw.claims("supports_contains"),
        datetimes=cw.claims("supports_datetime_ranges"),
        per_collection=max(25, cw.cases // len(cw.metrics)),
    )
    for case in cases:
        made = case.collection
        if made.number not in loaded:
            loaded[made.number] = await cw.collection(made.points, dimension=made.dimension, metric=made.metric)
        results = await cw.backend.search_vectors(
            loaded[made.number], case.query, case.limit, case.search_filter, case.threshold
        )
        problem = oracle.check_ranking(
            results, made.points, case.query, made.metric, case.limit, case.search_filter, case.threshold
        )
        if problem:
            cw.violated("the contract's ranking", [(hit.id, hit.score) for hit in results], problem)
