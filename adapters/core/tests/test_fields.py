"""The filter builder: it says what the same filter written by hand says."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from codeweaver_backends import F, FilterCondition, SearchFilter
from codeweaver_backends.capabilities import BackendCapabilities, Limits
from codeweaver_backends.errors import InvalidFilterError
from codeweaver_backends.sdk.filters.evaluate import matches
from codeweaver_backends.sdk.filters.parse import parse_filter

CLAIMS = BackendCapabilities(supports_regex=True)
FLOOR = BackendCapabilities(limits=Limits(max_filter_depth=8))
NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)

CONDITIONS = [
    (F("lines") < 50, FilterCondition("lines", "lt", 50)),
    (F("lines") <= 50, FilterCondition("lines", "le", 50)),
    (F("lines") > 1.5, FilterCondition("lines", "gt", 1.5)),
    (F("lines") >= NOON, FilterCondition("lines", "ge", NOON)),
    (F("lines") < 50, FilterCondition("lines", "lt", 50)),
    (F("lang") == "py", FilterCondition("lang", "eq", "py")),
    (F("lang") != "py", FilterCondition("lang", "ne", "py")),
    (F("lang") == None, FilterCondition("lang", "eq", None)),  # noqa: E711
    (F("lang").is_in(["py", "go"]), FilterCondition("lang", "in", ["py", "go"])),
    (F("lang").is_in(name for name in ("py",)), FilterCondition("lang", "in", ["py"])),
    (F("lang").not_in({"py"}), FilterCondition("lang", "nin", ["py"])),
    (F("text").contains("x"), FilterCondition("text", "contains", "x")),
    (F("text").matches("^a"), FilterCondition("text", "regex", "^a")),
    (F("a").exists(), FilterCondition("a", "exists")),
    (F("a").exists(False), FilterCondition("a", "exists", False)),
    (F("a").is_null(), FilterCondition("a", "is_null")),
    (F("a").is_null(False), FilterCondition("a", "is_null", False)),
    (F("meta.lang") == 1, FilterCondition(("meta", "lang"), "eq", 1)),
    (F("meta", "a.b") == 1, FilterCondition(("meta", "a.b"), "eq", 1)),
    (F(("a.b",)) == 1, FilterCondition(("a.b",), "eq", 1)),
]


@pytest.mark.parametrize(("built", "written"), CONDITIONS)
def test_a_comparison_is_a_condition(built: FilterCondition, written: FilterCondition) -> None:
    assert isinstance(built, FilterCondition)
    assert parse_filter(built, CLAIMS) == parse_filter(written, CLAIMS)


def built_and_written(rng: random.Random, depth: int) -> tuple[Any, Any]:
    """One filter twice: by the builder, and nested as it stands, by hand."""
    if not depth or rng.random() < 0.2:
        field, value = rng.choice("abc"), rng.randrange(4)
        builder: Callable[[], Any]
        builder, operator = rng.choice(
            [(lambda: F(field) == value, "eq"), (lambda: F(field) > value, "gt"), (lambda: F(field) != value, "ne")]
        )
        written = FilterCondition(field, operator, value)
        return (builder() if depth < 3 or rng.random() < 0.8 else ~~builder()), written
    left, right = built_and_written(rng, depth - 1), built_and_written(rng, depth - 1)
    match rng.randrange(4):
        case 0:
            return left[0] & right[0], SearchFilter(must=[left[1], right[1]])
        case 1:
            return left[0] | right[0], SearchFilter(should=[left[1], right[1]])
        case 2:
            return ~left[0], SearchFilter(must_not=[left[1]])
        case _:  # beside a filter that was written by hand
            return right[1] & left[0], SearchFilter(must=[right[1], left[1]])


def test_a_built_filter_selects_what_the_same_written_one_does() -> None:
    rng = random.Random(11)
    payloads = [{field: rng.randrange(4) for field in "abc" if rng.random() < 0.8} for _ in range(200)]
    sizes = set()
    for _ in range(500):
        built, written = built_and_written(rng, rng.randrange(5))
        trees = parse_filter(built, CLAIMS), parse_filter(written, CLAIMS)
        chosen = [[matches(tree, payload) for payload in payloads] for tree in trees]
        assert chosen[0] == chosen[1], (built, written)
        sizes.add(sum(chosen[0]))
    assert len(sizes) > 50  # the filters tell something


def test_the_trees_are_the_same_where_nothing_was_taken_apart() -> None:
    one, two, three = F("a") == 1, F("b") == 2, F("c") == 3
    written = [FilterCondition("a", "eq", 1), FilterCondition("b", "eq", 2), FilterCondition("c", "eq", 3)]
    for built, by_hand in [
        (one & two & three, SearchFilter(must=written)),
        (one | two | three, SearchFilter(should=written)),
        (~one & ~two, SearchFilter(must_not=written[:2])),
        (one & (two | three), SearchFilter(must=[written[0], SearchFilter(should=written[1:])])),
        (
            one | ~(two & three),
            SearchFilter(should=[written[0], SearchFilter(must_not=[SearchFilter(must=written[1:])])]),
        ),
        ({"field": "a", "operator": "eq", "value": 1} & two, SearchFilter(must=written[:2])),
        ({"field": "a", "operator": "eq", "value": 1} | two, SearchFilter(should=written[:2])),
    ]:
        assert parse_filter(built, CLAIMS) == parse_filter(by_hand, CLAIMS)


@pytest.mark.parametrize("combine", [lambda one, two: one & two, lambda one, two: one | two])
def test_a_chain_is_as_deep_as_one(combine: Callable[[Any, Any], Any]) -> None:
    chain: Any = F("a") == 0
    for value in range(1, 60):
        chain = combine(chain, F("a") == value)
    parse_filter(chain, FLOOR)
    assert len(chain.must or chain.should) == 60


def test_combining_changes_neither_side() -> None:
    one = (F("a") == 1) & (F("b") == 2)
    before = list(one.must or ())
    assert one & (F("c") == 3) != one
    assert one.must == before


@pytest.mark.parametrize(
    "mistake",
    [
        lambda: F("a") > 1 and F("a") < 3,
        lambda: F("a") > 1 or F("a") < 3,
        lambda: 1 < F("a") < 3,
        lambda: not F("a").exists(),
        lambda: not ((F("a") == 1) & (F("b") == 2)),
        lambda: bool(F("a")),
        lambda: F("a") and F("b"),
    ],
)
def test_truth_is_refused_with_a_hint(mistake: Callable[[], Any]) -> None:
    with pytest.raises(TypeError, match=r"Combine filters by & \| ~ instead of and, or, not"):
        mistake()


@pytest.mark.parametrize("mistake", [lambda: F("a") < 1 & F("b"), lambda: F("a") == True | F("b"), lambda: F("a") & 1])
def test_missing_parentheses_are_told(mistake: Callable[[], Any]) -> None:
    with pytest.raises(TypeError, match="needs parentheses"):
        mistake()


def test_a_wrong_operand_is_the_backends_to_refuse() -> None:
    for wrong in (F("a").is_in("py"), F("a") == F("b"), F("") == 1, F("a") < None):  # type: ignore[operator,comparison-overlap]
        with pytest.raises(InvalidFilterError):
            parse_filter(wrong, CLAIMS)


def test_a_field_shows_itself() -> None:
    assert [repr(F("a.b")), repr(F("a", "b")), repr(F(("a.b",)))] == ["F('a.b')", "F('a', 'b')", "F(('a.b',))"]
