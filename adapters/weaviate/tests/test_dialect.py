"""Filter messages, evaluated here over the terms of payloads that were never stored, select what the filter means."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from codeweaver_backends.sdk.filters.compile import compile_filter
from codeweaver_backends.sdk.filters.evaluate import matches
from codeweaver_backends.sdk.filters.parse import parse_filter
from codeweaver_backends.sdk.filters.tree import Never, Node
from codeweaver_backends.sdk.index.facts import Path
from codeweaver_backends.sdk.index.keys import INT64_MAX, INT64_MIN
from codeweaver_backends.types import FilterCondition, FilterLike, Payload, SearchFilter
from codeweaver_conformance import strategies
from codeweaver_weaviate.client import Filters
from codeweaver_weaviate.dialect import EVERY, SPELLING, TERMS, WeaviateDialect, narrowed, number_key, terms_of
from codeweaver_weaviate.plugin import CAPABILITIES

UUID = "0123abcd-0000-5000-8000-000000000000"
GO_SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
NUMBERS = st.integers(INT64_MIN, INT64_MAX) | st.floats(allow_nan=False, allow_infinity=False)
PATHS = st.lists(st.text("ab.\x1f\x1e", max_size=3), min_size=1, max_size=3)
TEXT = st.text(st.characters(exclude_categories=("Cs",))) | st.text(alphabet="ab*?\n\x01\x02\x05\x1d\x1e\x1f \u3000")


def holds(filters: Filters, terms: set[str]) -> bool:
    """What the server makes of a filter: terms are trimmed, ``*`` and ``?`` have no escape and stop at a newline."""
    match filters.operator:
        case Filters.OPERATOR_AND:
            return all(holds(part, terms) for part in filters.filters)
        case Filters.OPERATOR_OR:
            return any(holds(part, terms) for part in filters.filters)
        case Filters.OPERATOR_NOT:
            [part] = filters.filters
            return not holds(part, terms)
        case Filters.OPERATOR_CONTAINS_ANY:
            assert filters.target.property == TERMS
            assert filters.value_text_array.values
            return any(value.strip(GO_SPACE) in terms for value in filters.value_text_array.values)
        case Filters.OPERATOR_LIKE:
            pattern = re.escape(filters.value_text).replace(r"\?", ".").replace(r"\*", ".*")
            return any(re.fullmatch(pattern, term) for term in terms)
    raise AssertionError(filters.operator)


def answer(node: Node, payload: Payload) -> bool:
    if isinstance(node, Never):
        return False
    filters = narrowed(node)
    return filters is None or holds(filters, stored(payload))


def stored(payload: Payload) -> set[str]:
    [terms] = terms_of([payload], [UUID])
    assert len(set(terms)) == len(terms)
    assert all(term == term.strip(GO_SPACE) for term in terms), "nothing for the server to trim"
    return set(terms)


def check(search_filter: FilterLike, payload: Payload) -> None:
    node = parse_filter(search_filter, CAPABILITIES)
    assert answer(node, payload) == matches(node, payload)


@given(st.data())
def test_filters_select_what_they_mean(data: st.DataObject) -> None:
    """Check everything at once: fields and values that hit each other, every operator, nested groups."""
    world = data.draw(strategies.worlds())
    check(data.draw(strategies.filters(world)), data.draw(strategies.payloads(world)))


@given(TEXT, TEXT, TEXT)
@example("a\nb", "\n", "")
@example("a*b", "?", "x")
def test_contains_is_literal(before: str, needle: str, after: str) -> None:
    """Check wildcards, newlines, the code's own characters, and white space at the edges."""
    condition = FilterCondition("f", "contains", needle[:256])
    check(condition, {"f": before + needle + after})
    check(condition, {"f": after})
    check(condition, {"f": [before, needle, after]})


@given(TEXT, TEXT)
@example(" a", "a")
def test_texts_are_told_apart(one: str, other: str) -> None:
    """Check that the server's trimming never makes two texts one."""
    check(FilterCondition("f", "eq", one), {"f": other})
    check(FilterCondition("f", "eq", one), {"f": one})
    check(FilterCondition((one,), "exists"), {other: 1})


@given(NUMBERS, NUMBERS, st.sampled_from(["eq", "gt", "ge", "lt", "le"]))
@example(2**53, 2**53 + 1, "gt")
@example(2**63 - 1, float(2**63), "lt")
@example(-(2**63), -float(2**63), "le")
@example(0.0, -0.0, "ge")
@example(5e-324, 0, "gt")
def test_numbers_compare_by_exact_value(value: float, bound: float, operator: str) -> None:
    """Check ints beyond 2^53 against doubles, and every sign."""
    if isinstance(bound, float) and bound.is_integer() and not INT64_MIN <= bound <= INT64_MAX:
        return
    for payload in ({"f": value}, {"f": [value, "x", None]}, {"f": bound}):
        check(FilterCondition("f", operator, bound), payload)


@given(NUMBERS, NUMBERS)
def test_number_keys_keep_the_order(one: float, other: float) -> None:
    """Check that keys, padded, compare as the numbers."""
    a, b = (number_key(value).ljust(19, "0") for value in (one, other))
    assert (a < b, a == b) == (one < other, one == other)


MOMENTS = st.datetimes(
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=-11, minutes=-30)), timezone(timedelta(hours=14))])
)


@given(MOMENTS, MOMENTS, st.sampled_from(["gt", "ge", "lt", "le"]))
@example(datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))), datetime(9999, 12, 31, tzinfo=UTC), "lt")
def test_instants_compare_as_instants(value: datetime, bound: datetime, operator: str) -> None:
    """Check offsets, microseconds, and years that the server's own dates cannot hold."""
    check(FilterCondition("f", operator, bound), {"f": value.isoformat()})
    check(FilterCondition("f", operator, bound), {"f": [value.isoformat(), 1]})
    check(FilterCondition("f", operator, bound), {"f": bound.isoformat()})


@given(PATHS, PATHS)
def test_paths_are_told_apart(one: list[str], other: list[str]) -> None:
    """Check that no key can look like a path, nor end one."""
    code = SPELLING.path(tuple(one)), SPELLING.path(tuple(other))
    assert (code[0] == code[1]) == (one == other)
    assert not code[0].startswith(code[1]) or one == other


def test_long_paths_are_short() -> None:
    """A path is repeated in every term, also in twenty of one number."""
    long: Path = ("x" * 500, "y")
    assert len(SPELLING.path(long)) < 40
    assert SPELLING.path(long) != SPELLING.path(("x" * 500, "z"))
    check(FilterCondition(long, "eq", 1), {"x" * 500: {"y": 1}})


def test_only_what_is_needed_is_asked() -> None:
    """No filter for no restriction; existing points are asked for only beside a negation."""
    positive = parse_filter(FilterCondition("a", "eq", 1), CAPABILITIES)
    negative = parse_filter(
        SearchFilter(should=[FilterCondition("a", "ne", 1), FilterCondition("b", "eq", 1)]), CAPABILITIES
    )
    assert narrowed(parse_filter(None, CAPABILITIES)) is None
    assert narrowed(positive) == compile_filter(positive, WeaviateDialect())
    guarded = narrowed(negative)
    assert guarded is not None
    assert guarded.operator == Filters.OPERATOR_AND
    assert list(guarded.filters[-1].value_text_array.values) == [EVERY]


@pytest.mark.parametrize("order", ["gt", "ge", "lt", "le"])
def test_ranges_stay_small(order: str) -> None:
    """A range is some dozens of look-ups, whatever the bound."""
    for bound in (0, 7, -1, 123456, 0.1, 2**63 - 1, -1e308):
        asked = WeaviateDialect().compare(("f",), "number", order, bound)  # type: ignore[arg-type]
        assert len(asked.value_text_array.values) < 320


@pytest.mark.parametrize("number", [0, 1, -1, 1_000_000, -1_000_000, 0.5, -0.5])
def test_everyday_numbers_leave_few_terms(number: float) -> None:
    """A number leaves a term for every digit of its key: those of round ones are cut, below zero as above."""
    assert len(number_key(number)) <= 8
