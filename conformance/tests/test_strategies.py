"""The generators: that what they make is allowed, the same everywhere, and hits."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st

from codeweaver_backends.capabilities import BackendCapabilities, Limits
from codeweaver_backends.sdk.filters.parse import parse_filter
from codeweaver_backends.sdk.payloads import encode_payload
from codeweaver_backends.sdk.requests import CollectionSettings
from codeweaver_backends.sdk.validate import validate_points, validate_vector
from codeweaver_backends.types import DistanceMetric, FilterCondition, FilterLike, SearchFilter
from codeweaver_conformance import oracle
from codeweaver_conformance.strategies import WORLD, Case, World, filters, generate, ids, payloads, vectors, worlds
from codeweaver_conformance.vocabulary import FAMILIES, IDS, OPERATORS, PATTERNS
from codeweaver_tools.differential import digest

FLOORS = {"max_filter_depth": 8, "max_filter_conditions": 64, "max_in_values": 256, "max_contains_length": 256}
PLAIN = BackendCapabilities(limits=Limits(**FLOORS, max_payload_bytes=16_384, max_payload_depth=16))
CASES = list(generate(5, 1_500))


def conditions(search_filter: FilterLike | None, depth: int = 1) -> Iterator[tuple[FilterCondition, int]]:
    """Every condition of a filter, with the number of filters around it."""
    if search_filter is None:
        return
    if isinstance(search_filter, dict):
        is_condition = "operator" in search_filter
        search_filter = FilterCondition(**search_filter) if is_condition else SearchFilter(**search_filter)
    if isinstance(search_filter, FilterCondition):
        yield search_filter, depth - 1
        return
    assert isinstance(search_filter, SearchFilter)
    for part in (search_filter.must, search_filter.should, search_filter.must_not, search_filter.conditions):
        for item in part or []:
            yield from conditions(item, depth + 1)


def test_cases_are_what_the_contract_allows_within_its_floors() -> None:
    for case in CASES:
        parse_filter(case.search_filter, PLAIN)
        if case.number % 100 == 0:
            points, metric = case.collection.points, case.collection.metric
            wanted = CollectionSettings("x", case.collection.dimension, metric)
            assert len(validate_points(list(points), PLAIN).on(wanted)) == len(points), "ids are distinct"
            assert 30 <= len(points) <= 60
            assert 4 <= case.collection.dimension <= 8


def test_the_same_seed_gives_the_same_cases_in_every_process() -> None:
    program = (
        "from codeweaver_tools.differential import digest\n"
        "from codeweaver_conformance.strategies import generate\n"
        "print(digest(generate(5, 250)))"
    )
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()
    assert digest(CASES[:200] + list(generate(5, 250))[200:]) == other
    assert digest(generate(6, 250)) != other


def test_filters_hit() -> None:
    some = 0
    for case in CASES:
        found = len(oracle.selected(case.collection.points, case.search_filter))
        some += 0 < found < len(case.collection.points)
    assert some / len(CASES) > 0.4, "the share of filters that select some of the points, and not all"


def test_every_spelling_of_every_operator_occurs_and_hits() -> None:
    asked, hit = Counter[str](), Counter[str]()
    for case in CASES:
        for condition, _ in conditions(case.search_filter):
            asked[condition.operator] += 1
            found = len(oracle.selected(case.collection.points, condition))
            hit[condition.operator] += 0 < found < len(case.collection.points)
    spellings = {one for operator, spelt in OPERATORS.items() if operator != "regex" for one in spelt}
    assert set(asked) == spellings
    assert min(asked.values()) > 50
    assert min(hit[one] / asked[one] for one in spellings) > 0.4


def test_shapes_occur() -> None:
    depths = Counter(max((depth for _, depth in conditions(case.search_filter)), default=0) for case in CASES)
    assert all(depths[depth] for depth in range(6))
    assert max(depths) == 5
    text = [repr(case.search_filter) for case in CASES]
    for shape in ("must=[]", "SearchFilter(must=None, should=None, must_not=None, conditions=None)", "{}", "datetime("):
        assert any(shape in one for one in text), shape
    assert {type(case.search_filter) for case in CASES} == {SearchFilter, dict, type(None)}
    assert {type(condition.field) for case in CASES for condition, _ in conditions(case.search_filter)} == {str, tuple}
    assert {case.collection.metric for case in CASES} == set(DistanceMetric)
    assert 0 in {case.limit for case in CASES}
    assert any(len(case.collection.points) < case.limit for case in CASES[1::2])


def test_thresholds_cut_somewhere() -> None:
    cut = 0
    for case in (asked := [case for case in CASES if case.threshold is not None]):
        points, metric = case.collection.points, case.collection.metric
        kept = len(oracle.rank(points, case.query, metric, None, None, case.threshold))
        cut += 0 < kept < len(points)
    assert cut / len(asked) > 0.6


def test_what_a_backend_denies_is_not_asked() -> None:
    plain: dict[str, Any] = {"supports_contains": False, "supports_datetime_ranges": False}
    for case in generate(8, 500, metrics=[DistanceMetric.COSINE], contains=False, datetimes=False):
        parse_filter(case.search_filter, BackendCapabilities(**plain))
        assert case.collection.metric is DistanceMetric.COSINE
    asked = {
        condition.operator for case in generate(8, 500, regex=True) for condition, _ in conditions(case.search_filter)
    }
    assert "regex" in asked


def test_the_vocabulary_is_of_different_things() -> None:
    fields = [field for family in FAMILIES for field in family]
    assert len(set(fields)) == len(fields)
    assert len(set(IDS)) == len(IDS)
    assert len(set(PATTERNS)) == len(PATTERNS)


@settings(max_examples=50, deadline=None)
@given(payload=payloads(), search_filter=filters(), point_id=ids(), vector=vectors(3))
def test_strategies_make_what_the_contract_allows(payload: Any, search_filter: Any, point_id: Any, vector: Any) -> None:
    assert oracle.json_equal(json.loads(encode_payload(payload, PLAIN.limits)), payload)
    parse_filter(search_filter, PLAIN)
    assert type(point_id) in (str, int)
    assert validate_vector(vector, CollectionSettings("x", 3, DistanceMetric.COSINE)).tolist() == vector


@pytest.mark.parametrize("hits", [True, False])
def test_strategies_hit_and_shrink(hits: bool) -> None:
    def both(pair: tuple[Any, Any]) -> bool:
        payload, search_filter = pair
        return bool(list(conditions(search_filter))) and oracle.matches(search_filter, payload) is hits

    small = World(WORLD.fields[:2])
    quiet = settings(max_examples=100, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    _, search_filter = find(st.tuples(payloads(small), filters(small)), both, settings=quiet)
    assert len(list(conditions(search_filter))) == 1


@settings(max_examples=10, deadline=None)
@given(world=worlds())
def test_worlds_have_fields_with_values(world: Any) -> None:
    assert len(world.fields) >= 8
    assert all(len(pool) >= 5 for _, pool in world.fields)


def test_cases_of_one_collection_share_it() -> None:
    assert isinstance(CASES[0], Case)
    assert len({id(case.collection) for case in CASES}) == len(CASES) / 100
    assert CASES[100].search_filter is None
    assert CASES[100].limit > len(CASES[100].collection.points)
