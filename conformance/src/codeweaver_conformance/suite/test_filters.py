"""Filters: every operator, path and operand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from codeweaver_backends.errors import InvalidFilterError
from codeweaver_backends.types import FilterCondition, SearchFilter
from codeweaver_conformance.clause import clause
from codeweaver_conformance.session import Conformance
from codeweaver_conformance.suite.filter_points import (
    KEYED,
    KEYS,
    POINTS,
    TEXTS,
    VALUES,
    check,
    check_all,
    library,
)

SCALARS: list[Any] = [one for one in VALUES if not isinstance(one, list | dict)]


@clause("filters.eq")
async def test_eq_is_json_equality(cw: Conformance) -> None:
    """Check types that the engine converts: bool and 1, text and number, int and float, null and missing."""
    await check_all(cw, [("f", "eq", value) for value in [*SCALARS, 3, "zzz", 2**53 - 1, 0.1 + 0.2, 1e-300]])
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
    await check_all(cw, [("s", "eq", text) for text in nearly])


@clause("filters.ne")
async def test_ne_is_exactly_not_eq(cw: Conformance) -> None:
    """Check three-valued logic: a point without the field, or with a list, matches."""
    await check_all(cw, [("f", "ne", value) for value in SCALARS[:24]])


@clause("filters.in")
async def test_in_takes_mixed_values(cw: Conformance) -> None:
    """Check lists of several types, tuples, repetitions, and the empty list, which matches nothing."""
    lists: list[Any] = [[1, "1"], [True, None], ("a", 1.5, False), [2**53 + 1, 0.1], [1, 1, 1], ["zzz"], [], ()]
    lists += [[1, True], [True, 1], [0, False], [False, 0.0], [1, 1.0, "1", True]]
    await check_all(cw, [("f", "in", one) for one in lists])
    await check_all(cw, [("s", "in", TEXTS[:20]), ("s", "in", TEXTS[20:])])
    await check(cw, SearchFilter(should=[FilterCondition("f", "in", []), FilterCondition("f", "eq", "x")]))


@clause("filters.nin")
async def test_nin_is_exactly_not_in(cw: Conformance) -> None:
    """Check negation over mixed types, and that nin [] matches everything."""
    lists: list[Any] = [[1, "1"], [True, None], ("a", 1.5, False), ["zzz"], [], ()]
    await check_all(cw, [("f", "nin", one) for one in lists])
    await check(cw, SearchFilter(must=[FilterCondition("f", "nin", []), FilterCondition("f", "eq", "x")]))


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
    await check_all(cw, [("f", order, bound) for order in ("gt", "ge", "lt", "le") for bound in bounds])
    between = [FilterCondition("f", "gt", 0), FilterCondition("f", "lt", 5)]
    await check(cw, SearchFilter(must=between), SearchFilter(must_not=between))


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
    await check_all(cw, [("d", order, bound) for order in ("gt", "ge", "lt", "le") for bound in bounds])


@clause("filters.datetime-utc")
async def test_date_times_without_offset_and_dates_are_of_utc(cw: Conformance) -> None:
    """Check them stored, alone and in lists, and as operands, beside texts with offset and texts that are neither."""
    bounds = [
        *("2024-05-01T12:00:00", "2024-05-01", "2024-05-02", "2024-04-30", "2024-05-01T11:59:59.9999999"),
        *("2024-05-01t12:00:00.000001", "1970-01-01", "0001-01-01", "9999-12-31T23:59:59.999999"),
        *("2024-05-01T12:00:00Z", "2024-05-01T02:00:00+02:00", datetime(2024, 5, 1, tzinfo=UTC)),
    ]
    await check_all(cw, [("u", order, bound) for order in ("gt", "ge", "lt", "le") for bound in bounds])
    naive = FilterCondition("u", "ge", datetime(2024, 5, 1))  # noqa: DTZ001
    with cw.raises(InvalidFilterError):
        await cw.backend.search_vectors(await library(cw), [1, 0], search_filter=SearchFilter(must=[naive]))


@clause("filters.contains")
async def test_contains_is_a_literal_substring_or_membership(cw: Conformance) -> None:
    """Check wildcards, case, accents, the empty text, and that an element of a list is not searched inside."""
    needles = [
        "", "%", "_", "%_", ".", "*", "a.b", "'", '"', "\\", "\n", "\x00", "\x1f", "off", "OFF", "caf",
        "\u00e9", "日", " ", "  ", "x' OR", "--", "ß", "ss", "i", "[a]", "(a", "|", "^a$", "%41", "😀",
    ]  # fmt: skip
    await check_all(cw, [("s", "contains", needle) for needle in needles])
    members: list[Any] = ["", "a", "abc", "b", "bc", 1, 1.0, "1", True, False, None, 0, 5, 10, 2]
    await check_all(cw, [("f", "contains", member) for member in members])


@clause("filters.exists")
async def test_exists_means_that_the_key_is_there(cw: Conformance) -> None:
    """Check null, [], {} and "" as values, and the negation by False."""
    await check_all(cw, [("f", "exists", value) for value in (True, False, None)])
    await check_all(cw, [("missing", "exists", True), ("o.a", "exists", True), ("list", "exists", True)])


@clause("filters.is-null")
async def test_is_null_means_a_null_that_is_there(cw: Conformance) -> None:
    """Check the missing field and the list that holds null: neither is null."""
    await check_all(cw, [("f", "is_null", value) for value in (True, False, None)])
    await check_all(cw, [("missing", "is_null", True), ("f.w", "is_null", True)])


@clause("filters.regex")
async def test_regex_is_searched_unanchored(cw: Conformance) -> None:
    """Check anchors, classes, backslashes and case; values other than text do not match."""
    patterns = ["^a", "b$", "a.b", r"a\.b", "[0-9]+", r"\\", "^50", "日本", "(?i)CAF", "off|hi", "^$", "new\nline"]
    await check_all(cw, [("s", "regex", pattern) for pattern in patterns])


@clause("filters.falsy")
async def test_falsy_operands_are_operands(cw: Conformance) -> None:
    """Check for `if not value: return True`."""
    falsy: list[Any] = [0, 0.0, False, "", None]
    await check_all(cw, [("f", "eq", value) for value in falsy])
    await check_all(
        cw, [("f", "gt", 0), ("f", "le", 0), ("f", "in", [0]), ("f", "in", [False, ""]), ("f", "nin", [None])]
    )


@clause("filters.missing")
async def test_a_missing_field_matches_no_affirmed_condition(cw: Conformance) -> None:
    """Check points without payload, with an empty one, and without the field."""
    name = await library(cw)
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
    await check_all(cw, [(field, "eq", value) for field in fields for value in values])
    await check_all(cw, [(field, "exists", True) for field in fields])
    await check_all(cw, [("o.a.b", "ge", 1), ("o.a.b", "in", [2, 3]), ("o.l.b", "gt", 0)])


@clause("filters.keys")
async def test_fields_of_any_name_can_be_filtered(cw: Conformance) -> None:
    """Check keys that need quoting in the engine's language, and those the adapter uses for itself."""
    for number, key in enumerate(KEYS):
        found = await cw.ids(await library(cw), SearchFilter(must=[FilterCondition((key,), "eq", "here")]))
        cw.equal(found, {KEYED + number}, f"field {key!r}")
    await check_all(cw, [((key,), "contains", "her") for key in KEYS[:8] if cw.claims("supports_contains")])
    await check_all(cw, [((key,), "exists", True) for key in KEYS[8:]])


@clause("filters.hostile")
async def test_no_value_or_field_changes_the_meaning(cw: Conformance) -> None:
    """Check every place where a literal could end early: values, lists, needles and field names."""
    await check_all(cw, [("s", "eq", text) for text in TEXTS])
    await check_all(cw, [("s", "in", [text, "no such text"]) for text in TEXTS[::3]])
    hostile = ['s"] != "" or metadata["x', "s' OR '1'='1", "size > 0 or s", "s); --", "s.*", "s`", "$.s", "s\x00"]
    name = await library(cw)
    for field in hostile:
        for operator, value in (("eq", TEXTS[0]), ("exists", True), ("gt", 0)):
            found = await cw.ids(name, SearchFilter(must=[FilterCondition((field,), operator, value)]))
            cw.equal(found, set(), f"{operator} on the field {field!r}")
    for text in ("x' OR 'a'='a", '" or 1 == 1 or "', "%' OR '%", "\\' OR 1=1 --", "**", "') or true or ('"):
        cw.equal(await cw.ids(name, SearchFilter(must=[FilterCondition("s", "eq", text)])), set(), f"eq {text!r}")
