"""Filters, without an engine: compiled for one that is written here, they select what the plain reading does."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeweaver_backends.sdk.filters.evaluate import matches
from codeweaver_backends.sdk.filters.parse import parse_filter
from codeweaver_backends.sdk.filters.tree import (
    All,
    Always,
    Contains,
    Either,
    Exists,
    IsNull,
    Never,
    Not,
    NumberRange,
    Order,
)
from codeweaver_backends.sdk.payloads import encode_payload
from codeweaver_backends.sdk.requests import Batch
from codeweaver_backends.types import FilterCondition, FilterLike
from codeweaver_conformance import strategies
from codeweaver_qdrant.dialect import SPELLING, QdrantDialect, field_key, finer_key, instant_parts, number_parts
from codeweaver_qdrant.plugin import CAPABILITIES
from codeweaver_qdrant.schema import TERMS, stored_payloads

NUMBERS = st.one_of(st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False))
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=80))
PATHS = st.lists(st.text(max_size=30), min_size=1, max_size=3).map(tuple)
Condition = Callable[[dict[str, Any]], bool]
COMPARE = {"gt": operator.gt, "ge": operator.ge, "lt": operator.lt, "le": operator.le}


class Predicates(QdrantDialect):
    """Conditions as functions, with the meaning that the engine gives them."""

    def has_any(self, terms: Sequence[str]) -> Condition:
        return lambda stored: not set(terms).isdisjoint(stored[TERMS].split())

    def in_order(self, key: str, order: Order, bound: int) -> Condition:
        assert abs(bound) * 10 < 2**53, "longer bounds are not read exactly from JSON"
        return lambda stored: any(COMPARE[order](value, bound) for value in _listed(stored.get(key, [])))

    def holds_text(self, key: str, text: str) -> Condition:
        assert text, "engines differ on the empty text"
        return lambda stored: text in stored.get(key, "")

    def group(
        self, *, must: Sequence[Condition] = (), should: Sequence[Condition] = (), must_not: Sequence[Condition] = ()
    ) -> Condition:
        return lambda stored: (
            all(one(stored) for one in must)
            and (not should or any(one(stored) for one in should))
            and not any(one(stored) for one in must_not)
        )


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def stored_of(payload: dict[str, Any]) -> dict[str, Any]:
    batch = Batch([1], np.ones((1, 1), dtype=np.float32), [payload], [encode_payload(payload, CAPABILITIES.limits)])
    return stored_payloads(batch, [""])[0]


def selects(search_filter: FilterLike, payload: dict[str, Any]) -> bool:
    node = parse_filter(search_filter, CAPABILITIES)
    if isinstance(node, Always | Never):
        return isinstance(node, Always)
    return bool(Predicates().filter(node)(stored_of(payload)))


@settings(max_examples=600)
@given(st.data())
def test_generated_filters_select_what_the_plain_reading_selects(data: st.DataObject) -> None:
    world = data.draw(strategies.worlds())
    payload = data.draw(strategies.payloads(world))
    search_filter = data.draw(strategies.filters(world))
    expected = matches(parse_filter(search_filter, CAPABILITIES), payload)
    assert selects(search_filter, payload) is expected


OPERANDS = st.one_of(
    NUMBERS,
    st.integers(-5, 5),
    st.sampled_from([2**53, 2**53 + 1, -(2**53) - 1, 0.1, 0.30000000000000004, 5e-324, -0.0, 1e308, 2**63 - 1]),
)


@settings(max_examples=600)
@given(st.lists(OPERANDS, max_size=4), OPERANDS, st.sampled_from(sorted(COMPARE)), st.booleans())
def test_ranges_compare_by_exact_value(numbers: list[float], bound: float, order: str, alone: bool) -> None:
    value: Any = numbers[0] if alone and numbers else numbers
    expected = any(COMPARE[order](number, bound) for number in _listed(value))
    assert selects(FilterCondition("x", order, bound), {"x": value}) is expected


@pytest.mark.parametrize("order", sorted(COMPARE))
def test_neighbours_are_told_apart(order: str) -> None:
    for bound in (1.0, -1.0, 0.1, 2**53, -(2**53), 2**62 + 1):
        near = {bound, bound + 1, bound - 1, float(bound), bound * (1 + 2**-52), bound * (1 - 2**-53)}
        for number in near:
            expected = COMPARE[order](number, bound)
            assert selects(FilterCondition("x", order, bound), {"x": number}) is expected, (number, order, bound)


def test_a_plain_bound_needs_one_comparison() -> None:
    seen: list[tuple[str, str, int]] = []

    class Noting(Predicates):
        def in_order(self, key: str, order: Order, bound: int) -> Condition:
            seen.append((key, order, bound))
            return super().in_order(key, order, bound)

    Noting().filter(NumberRange(("x",), "gt", 10))
    assert seen == [("nkx", "ge", number_parts(10).stored + 1)]


def test_what_is_no_restriction_is_no_filter() -> None:
    assert Predicates().filter(Always()) is None


def test_groups_are_flat() -> None:
    """No more levels than the tree has: servers give up at 45."""

    class Groups(Predicates):
        def has_any(self, terms: Sequence[str]) -> Any:
            return "term"

        def group(self, **parts: Sequence[Any]) -> Any:
            return {kind: list(some) for kind, some in parts.items() if some}

    null, exists = IsNull(("a",)), Exists(("b",))
    assert Groups().filter(null) == {"must": ["term"]}
    assert Groups().filter(Not(null)) == {"must_not": ["term"]}
    assert Groups().filter(All((null, Not(exists)))) == {"must": ["term"], "must_not": ["term"]}
    assert Groups().filter(Either((null, Not(exists)))) == {"should": ["term", {"must_not": ["term"]}]}


HOSTILE = [
    "",
    " ",
    "a b",
    "a",
    "%",
    "%20",
    "a.b",
    "=",
    "!",
    "a!S",
    "a!sb",
    "#",
    '"',
    "\\",
    "\x00",
    "\n",
    "é",
    "\u3000",
    "x" * 65,
]


@pytest.mark.parametrize("key", HOSTILE)
@pytest.mark.parametrize("value", HOSTILE)
def test_no_key_and_no_value_is_taken_for_another(key: str, value: str) -> None:
    for other_key in HOSTILE:
        for other in HOSTILE:
            condition = FilterCondition((other_key,), "eq", other)
            assert selects(condition, {key: value}) is (key == other_key and value == other)


def test_dialects_say_the_same() -> None:
    """The clients' own conditions, read back; an engine proves what they mean."""
    grpc = pytest.importorskip("codeweaver_qdrant.grpc_client")
    rest = pytest.importorskip("codeweaver_qdrant.rest_client")
    node = Either((Not(NumberRange(("n",), "lt", 5)), Contains(("s",), "x")))
    message = grpc.GrpcDialect(substring=False).filter(node)
    model = rest.RestDialect(substring=False).filter(node)
    first, second = message.should
    assert first.filter.must_not[0].field.range.lte == model.should[0].must_not[0].range.lte
    assert (
        second.filter.should[0].filter.must[1].field.match.text == model.should[1].should[0].must[1].match.text == "x"
    )
    assert model.should[1].should[0].must[0].match.text_any == "s!S"


def test_documents_are_touched_by_no_filter() -> None:
    assert stored_of({"d": 1})["d"] == '{"d":1}'
    assert selects(FilterCondition("d", "eq", 1), {"d": 1})
    assert not selects(FilterCondition("i", "exists"), {"d": 1})


# --- spelling --------------------------------------------------------------------------------------------------------


@settings(max_examples=1_000)
@given(NUMBERS, NUMBERS)
def test_numbers_keep_their_order(one: float, other: float) -> None:
    first, second = number_parts(one), number_parts(other)
    assert (first < second) is (one < other)
    assert (first == second) is (one == other)
    assert 0 <= first.low < 2**28
    assert 0 <= first.stored * 10 < 2**53


@given(st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999))
def test_instants_fit(microseconds: int) -> None:
    parts = instant_parts(microseconds)
    assert parts.high * 1_000 + parts.low == microseconds
    assert abs(parts.stored) * 10 < 2**53


@settings(max_examples=1_000)
@given(PATHS, PATHS)
def test_paths_are_told_apart(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    spellings = (SPELLING.path, partial(field_key, kind="text"), partial(finer_key, kind="number", high=-1))
    for spell in spellings:
        assert (spell(one) == spell(other)) is (one == other)
    for key in (field_key(one, "number"), finer_key(one, "instant", -1)):
        assert re.fullmatch("[A-Za-z0-9_-]+", key), "every version addresses such a key bare"


@settings(max_examples=1_000)
@given(PATHS, SCALARS, SCALARS)
def test_values_are_told_apart_as_json_does(path: tuple[str, ...], one: Any, other: Any) -> None:
    equal = one == other and isinstance(one, bool) is isinstance(other, bool)
    assert (SPELLING.equal(path, one) == SPELLING.equal(path, other)) is equal
    for term in SPELLING.equal(path, one):
        assert term.isascii()
        assert term.isprintable()
        assert " " not in term


def test_long_strings_cannot_be_forged() -> None:
    long = "x" * 65
    [term] = SPELLING.equal(("k",), long)
    for forged in (term, term.partition("!h")[2], term.partition("!")[2]):
        assert SPELLING.equal(("k",), forged) != [term]
