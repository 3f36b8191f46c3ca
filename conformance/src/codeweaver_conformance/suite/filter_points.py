"""Payloads that differ in one respect each, and how a filter over them is held against the oracle."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from codeweaver_backends.types import FilterCondition, FilterLike, SearchFilter, VectorPoint
from codeweaver_conformance import oracle
from codeweaver_conformance.session import Conformance, point

__all__ = ["KEYED", "KEYS", "MOMENTS", "OF_UTC", "POINTS", "TEXTS", "VALUES", "check", "check_all", "library"]

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


async def library(cw: Conformance) -> str:
    """The collection of them, written once."""
    return await cw.fixture("filters", lambda: cw.collection(POINTS))


async def check(cw: Conformance, *filters: FilterLike) -> None:
    """Each filter selects what the oracle selects."""
    name = await library(cw)
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


async def check_all(cw: Conformance, conditions: Iterable[tuple[Any, str, Any]]) -> None:
    """Each condition, and its negation by must_not."""
    for field, operator, value in conditions:
        one = FilterCondition(field, operator, value)
        await check(cw, SearchFilter(must=[one]), SearchFilter(must_not=[one]))
