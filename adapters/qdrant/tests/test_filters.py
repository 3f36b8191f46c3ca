"""Filters, without an engine: translated for one that is written here, they select what the plain reading does."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeweaver_backends.sdk.filters.evaluate import matches
from codeweaver_backends.sdk.filters.parse import parse_filter
from codeweaver_backends.sdk.filters.tree import Always, Contains, Either, Never, Not, NumberRange, Order
from codeweaver_backends.sdk.payloads import encode_payload
from codeweaver_backends.types import FilterCondition, FilterLike
from codeweaver_conformance import strategies
from codeweaver_qdrant.convert import DOCUMENT, TOKENS, engine_payload, number_parts
from codeweaver_qdrant.filters import translate
from codeweaver_qdrant.plugin import CAPABILITIES

Condition = Callable[[dict[str, Any]], bool]
COMPARE = {"gt": operator.gt, "ge": operator.ge, "lt": operator.lt, "le": operator.le}


class Predicates:
    """Conditions as functions, with the meaning that the engine gives them."""

    def any_token(self, tokens: list[str]) -> Condition:
        return lambda stored: not set(tokens).isdisjoint(stored[TOKENS].split())

    def compare(self, key: str, order: Order, bound: int) -> Condition:
        assert abs(bound) * 10 < 2**53, "longer bounds are not read exactly from JSON"
        return lambda stored: any(COMPARE[order](value, bound) for value in _listed(stored.get(key, [])))

    def substring(self, key: str, text: str) -> Condition:
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


def selects(search_filter: FilterLike, payload: dict[str, Any]) -> bool:
    node = parse_filter(search_filter, CAPABILITIES)
    if isinstance(node, Always | Never):
        return isinstance(node, Always)
    stored = engine_payload(1, encode_payload(payload, CAPABILITIES.limits), payload)
    return bool(translate(node, Predicates())(stored))


@settings(max_examples=600)
@given(st.data())
def test_generated_filters_select_what_the_plain_reading_selects(data: st.DataObject) -> None:
    world = data.draw(strategies.worlds())
    payload = data.draw(strategies.payloads(world))
    search_filter = data.draw(strategies.filters(world))
    expected = matches(parse_filter(search_filter, CAPABILITIES), payload)
    assert selects(search_filter, payload) is expected


NUMBERS = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-5, 5),
    st.sampled_from([2**53, 2**53 + 1, -(2**53) - 1, 0.1, 0.30000000000000004, 5e-324, -0.0, 1e308, 2**63 - 1]),
)


@settings(max_examples=600)
@given(st.lists(NUMBERS, max_size=4), NUMBERS, st.sampled_from(sorted(COMPARE)), st.booleans())
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
        def compare(self, key: str, order: Order, bound: int) -> Condition:
            seen.append((key, order, bound))
            return super().compare(key, order, bound)

    translate(NumberRange(("x",), "gt", 10), Noting())
    assert seen == [("nkx", "ge", number_parts(10).stored + 1)]


def test_what_is_no_restriction_is_no_filter() -> None:
    assert translate(Always(), Predicates()) is None


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
    "a!3",
    "a=sb",
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
    grpc = pytest.importorskip("codeweaver_qdrant.grpc")
    rest = pytest.importorskip("codeweaver_qdrant.rest")
    node = Either((Not(NumberRange(("n",), "lt", 5)), Contains(("s",), "x")))
    message = translate(node, grpc.GrpcDialect(substring=False))
    model = translate(node, rest.RestDialect(substring=False))
    first, second = message.should
    assert first.filter.must_not[0].field.range.lte == model.should[0].must_not[0].range.lte
    assert (
        second.filter.should[0].filter.must[1].field.match.text == model.should[1].should[0].must[1].match.text == "x"
    )
    assert model.should[1].should[0].must[0].match.text_any == "s!3"


def test_documents_are_touched_by_no_filter() -> None:
    stored = engine_payload("id", b'{"d":1}', {"d": 1})
    assert stored[DOCUMENT] == '{"d":1}'
    assert selects(FilterCondition("d", "eq", 1), {"d": 1})
    assert not selects(FilterCondition("i", "exists"), {"d": 1})
