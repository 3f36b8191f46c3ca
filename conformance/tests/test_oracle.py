"""The oracle against the contract, sentence by sentence, by hand; and against the core, on generated cases."""

from __future__ import annotations

import ast
import inspect
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest

from codeweaver_backends.memory.plugin import CAPABILITIES
from codeweaver_backends.metrics import scores
from codeweaver_backends.sdk.filters.evaluate import matches as memory_matches
from codeweaver_backends.sdk.filters.parse import parse_filter
from codeweaver_backends.types import DistanceMetric, FilterCondition, SearchFilter, SearchResult, VectorPoint
from codeweaver_conformance import oracle
from codeweaver_conformance.oracle import check_ranking, json_equal, matches, rank, score, selected, tolerance
from codeweaver_conformance.strategies import generate

MISSING = object()
YES, NO = True, False


def holds(operator: str, operand: Any, value: Any) -> bool:
    """Whether a field of this value meets the condition."""
    payload = {} if value is MISSING else {"f": value}
    return matches(SearchFilter(must=[FilterCondition("f", operator, operand)]), payload)


def test_it_imports_nothing_of_the_suite_but_types() -> None:
    imports = [node for node in ast.walk(ast.parse(inspect.getsource(oracle))) if isinstance(node, ast.ImportFrom)]
    ours = [node.module for node in imports if node.module and node.module.startswith("codeweaver")]
    assert ours == ["codeweaver_backends.types"]


# --- eq, ne: JSON equality with a scalar -----------------------------------------------------------------------------

EQUAL = [
    ("a", "a", YES),
    ("a", "A", NO),
    ("é", "e\u0301", NO),
    ("", "", YES),
    # bool, number and string never equal each other
    (1, True, NO),
    (0, False, NO),
    (1, "1", NO),
    (True, "true", NO),
    (True, True, YES),
    (False, True, NO),
    (None, "null", NO),
    (0, None, NO),
    # 1 == 1.0, by exact value
    (1, 1.0, YES),
    (1.0, 1, YES),
    (0, -0.0, YES),
    (2**53 + 1, float(2**53), NO),
    (2**53, float(2**53), YES),
    (2**63 - 1, float(2**63), NO),
    (0.1, 0.1, YES),
    (0.3, 0.30000000000000004, NO),
    # eq null matches a null, not a missing field
    (None, None, YES),
    (None, MISSING, NO),
    ("a", MISSING, NO),
    # on a list, some element equals
    ("a", ["b", "a"], YES),
    ("a", ["b"], NO),
    ("a", [], NO),
    (None, [1, None], YES),
    (None, [], NO),
    (1, [True, "1", 1.0], YES),
    (1, [True, "1"], NO),
    ("a", [["a"]], NO),
    ("a", {"a": "a"}, NO),
    (0, {}, NO),
]


@pytest.mark.parametrize(("operand", "value", "expected"), EQUAL)
def test_eq_and_ne(operand: Any, value: Any, expected: bool) -> None:
    assert holds("eq", operand, value) is expected
    assert holds("==", operand, value) is expected
    # "ne is exactly not eq, so it matches points without the field"
    assert holds("ne", operand, value) is not expected
    assert holds("!=", operand, value) is not expected
    # "some value equals": eq is in with one value
    assert holds("in", [operand], value) is expected
    assert holds("nin", (operand,), value) is not expected
    assert holds("not_in", [operand], value) is not expected


IN = [
    ([], "a", NO),
    ([], MISSING, NO),
    ([1, "a", None], "a", YES),
    ([1, "a", None], None, YES),
    ([1, "a", None], MISSING, NO),
    ([1, "a", None], True, NO),
    ([1, "a"], ["x", 1.0], YES),
    ([1, "a"], ["x", [1]], NO),
]


@pytest.mark.parametrize(("operand", "value", "expected"), IN)
def test_in_and_nin(operand: Any, value: Any, expected: bool) -> None:
    assert holds("in", operand, value) is expected
    assert holds("nin", operand, value) is not expected


# --- gt, ge, lt, le --------------------------------------------------------------------------------------------------

NOON = "2024-05-01T12:00:00Z"
RANGES = [
    # numbers against numbers, by exact value: (operand, value, gt, ge, lt, le)
    (1, 2, YES, YES, NO, NO),
    (1, 1.0, NO, YES, NO, YES),
    (1, 0.5, NO, NO, YES, YES),
    (2**53, 2**53 + 1, YES, YES, NO, NO),
    (float(2**53), 2**53 + 1, YES, YES, NO, NO),
    (2**53 + 1, float(2**53), NO, NO, YES, YES),
    (2**63 - 1, float(2**63), YES, YES, NO, NO),
    (0, -0.0, NO, YES, NO, YES),
    (0, 5e-324, YES, YES, NO, NO),
    # other values do not match
    (0, True, NO, NO, NO, NO),
    (0, "1", NO, NO, NO, NO),
    (0, None, NO, NO, NO, NO),
    (0, MISSING, NO, NO, NO, NO),
    (0, {"x": 1}, NO, NO, NO, NO),
    (0, [], NO, NO, NO, NO),
    # on a list, some element
    (0, ["x", -1, 1], YES, YES, YES, YES),
    (0, [[1]], NO, NO, NO, NO),
    (0, [True, None], NO, NO, NO, NO),
    # instants
    (NOON, "2024-05-01T12:00:01Z", YES, YES, NO, NO),
    (NOON, "2024-05-01T14:00:00+02:00", NO, YES, NO, YES),
    (NOON, "2024-05-01t12:00:00z", NO, YES, NO, YES),
    (NOON, "2024-05-01T12:00:00-00:00", NO, YES, NO, YES),
    (NOON, "2024-05-01T12:00:00.000001Z", YES, YES, NO, NO),
    (NOON, "2024-05-01T12:00:00.0000009Z", NO, YES, NO, YES),
    (NOON, "2024-05-01T11:59:59.9999999Z", NO, NO, YES, YES),
    (NOON, "2024-05-02T00:30:00+14:00", NO, NO, YES, YES),
    (NOON, ["x", "2024-05-01T12:00:00.5Z"], YES, YES, NO, NO),
    (NOON, "2024-05-01T12:00:00", NO, YES, NO, YES),
    (NOON, "2024-05-01T12:00:00.5", YES, YES, NO, NO),
    (NOON, "2024-05-01", NO, NO, YES, YES),
    (NOON, "2024-05-02", YES, YES, NO, NO),
    ("2024-05-01", "2024-05-01T00:00:00Z", NO, YES, NO, YES),
    ("2024-05-01", "2024-05-01T00:00:00+00:01", NO, NO, YES, YES),
    ("2024-05-01T12:00:00", "2024-05-01T14:00:00+02:00", NO, YES, NO, YES),
    (NOON, 1, NO, NO, NO, NO),
    (0, NOON, NO, NO, NO, NO),
    (datetime(2024, 5, 1, 12, tzinfo=UTC), NOON, NO, YES, NO, YES),
    (datetime(2024, 5, 1, 12, tzinfo=timezone(timedelta(hours=2))), NOON, YES, YES, NO, NO),
    ("0001-01-01T00:00:00+23:59", "0001-01-01T00:00:00Z", YES, YES, NO, NO),
    ("9999-12-31T23:59:59-23:59", "9999-12-31T23:59:59Z", NO, NO, YES, YES),
]


@pytest.mark.parametrize(("operand", "value", "gt", "ge", "lt", "le"), RANGES)
def test_ranges(operand: Any, value: Any, gt: bool, ge: bool, lt: bool, le: bool) -> None:
    expected = {"gt": gt, ">": gt, "ge": ge, ">=": ge, "gte": ge, "lt": lt, "<": lt, "le": le, "<=": le, "lte": le}
    assert {operator: holds(operator, operand, value) for operator in expected} == expected


NO_INSTANTS = [
    "2024-05",
    "2024-05-01T",
    "2024-05-01Z",
    "2023-02-29",
    "2024-05-01 12:00:00",
    "2024-05-01 12:00:00Z",
    "2024-05-01T12:00Z",
    "2024-05-01T12:00:00+0200",
    "2024-05-01T24:00:00Z",
    "2024-05-01T12:00:60Z",
    "2023-02-29T00:00:00Z",
    "0000-01-01T00:00:00Z",
    "2024-05-01T12:00:00.Z",
    "2024-05-01T12:00:00,5Z",
    "2024-05-01T12:00:00+24:00",
    "2024-05-01T12:00:00+02:60",
    "2024-05-01T12:00:00Z\n",
    " 2024-05-01T12:00:00Z",
    "٢٠٢٤-05-01T12:00:00Z",
    "",
]


@pytest.mark.parametrize("text", NO_INSTANTS)
def test_what_is_no_instant_is_neither_matched_nor_an_operand(text: str) -> None:
    assert not any(holds(operator, NOON, text) for operator in ("gt", "ge", "lt", "le"))
    with pytest.raises(ValueError, match="refuses"):
        holds("ge", text, NOON)


# --- contains, exists, is_null, regex --------------------------------------------------------------------------------

CONTAINS = [
    ("b", "abc", YES),
    ("B", "abc", NO),
    ("", "", YES),
    ("", "abc", YES),
    ("%", "50%", YES),
    ("5_", "50%", NO),
    ("*", "abc", NO),
    ("\x00", "a\x00b", YES),
    ("\n", "a\\nb", NO),
    ("é", "e\u0301", NO),
    # membership of a list: an element, not a part of one
    ("a", ["a", "b"], YES),
    ("a", ["ab"], NO),
    ("", ["a"], NO),
    ("", [""], YES),
    (1, [1.0], YES),
    (1, [True], NO),
    (None, [None], YES),
    (1, [[1]], NO),
    # nothing else matches
    (1, 1, NO),
    ("1", 1, NO),
    (1, "1", NO),
    (None, None, NO),
    ("a", {"a": 1}, NO),
    ("", None, NO),
    ("", MISSING, NO),
    (None, MISSING, NO),
]


@pytest.mark.parametrize(("operand", "value", "expected"), CONTAINS)
def test_contains(operand: Any, value: Any, expected: bool) -> None:
    assert holds("contains", operand, value) is expected


@pytest.mark.parametrize("value", [None, [], {}, "", 0, False, "a", [None]])
def test_exists_if_the_key_is_there(value: Any) -> None:
    assert holds("exists", True, value)
    assert holds("exists", None, value)
    assert not holds("exists", False, value)
    assert not holds("exists", True, MISSING)
    assert holds("exists", False, MISSING)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, YES), ([None], NO), ([], NO), ("", NO), (0, NO), (False, NO), ("null", NO), ({}, NO), (MISSING, NO)],
)
def test_is_null_if_the_key_is_there_and_null(value: Any, expected: bool) -> None:
    assert holds("is_null", True, value) is expected
    assert holds("is_null", None, value) is expected
    assert holds("is_null", False, value) is not expected


def test_regex_is_an_unanchored_search_in_strings_only() -> None:
    assert holds("regex", "b+c", "abbcd")
    assert not holds("regex", "^b", "abbcd")
    assert not holds("regex", "a", ["a"])
    assert not holds("regex", "1", 1)
    assert not holds("regex", "", MISSING)


def test_an_unknown_operator_is_no_operator() -> None:
    with pytest.raises(ValueError, match="no operator '='"):
        holds("=", 1, 1)


# --- groups and paths ------------------------------------------------------------------------------------------------


def has(field: str, value: Any = True) -> FilterCondition:
    """A condition that is true where the payload says so."""
    return FilterCondition(field, "eq", value)


@pytest.mark.parametrize("a", [True, False])
@pytest.mark.parametrize("b", [True, False])
@pytest.mark.parametrize("c", [True, False])
def test_groups(a: bool, b: bool, c: bool) -> None:
    payload = {"a": a, "b": b, "c": c}
    a_, b_, c_ = has("a"), has("b"), has("c")
    table: list[tuple[Any, bool]] = [
        (SearchFilter(must=[a_, b_]), a and b),
        (SearchFilter(must=[a_], conditions=[b_]), a and b),
        (SearchFilter(should=[a_, b_]), a or b),
        (SearchFilter(must=[c_], should=[a_, b_]), c and (a or b)),
        (SearchFilter(must_not=[a_, b_]), not a and not b),
        (SearchFilter(must=[a_], must_not=[b_], should=[c_]), a and not b and c),
        (SearchFilter(must=[SearchFilter(should=[a_, b_]), c_]), (a or b) and c),
        (SearchFilter(should=[SearchFilter(must=[a_, b_]), c_]), (a and b) or c),
        (SearchFilter(must_not=[SearchFilter(must=[a_, b_])]), not (a and b)),
        (SearchFilter(must_not=[SearchFilter(must_not=[a_])]), a),
        (SearchFilter(must_not=[SearchFilter(should=[a_, b_], must_not=[c_])]), not ((a or b) and not c)),
        ({"must": [{"field": "a", "operator": "eq", "value": True}], "should": [{"must": [b_]}, c_]}, a and (b or c)),
    ]
    for number, (search_filter, expected) in enumerate(table):
        assert matches(search_filter, payload) is expected, number


@pytest.mark.parametrize("empty", [None, SearchFilter(), {}, SearchFilter(must=[], should=[], must_not=[])])
def test_an_empty_filter_is_no_restriction_at_every_level(empty: Any) -> None:
    assert matches(empty, {})
    assert matches(empty, None)
    if empty is not None:
        assert matches(SearchFilter(must=[empty]), {})
        assert matches(SearchFilter(should=[empty, has("a")]), {})
        assert not matches(SearchFilter(must_not=[empty]), {})


PATHS = [
    ("a", {"a": 1}, YES),
    ("a.b", {"a": {"b": 1}}, YES),
    ("a.b", {"a.b": 1}, NO),
    (("a.b",), {"a.b": 1}, YES),
    (("a.b",), {"a": {"b": 1}}, NO),
    (("a", "b"), {"a": {"b": 1}}, YES),
    # never into lists; digits are ordinary keys
    ("a.b", {"a": [{"b": 1}]}, NO),
    ("a.0", {"a": [1]}, NO),
    ("a.0", {"a": {"0": 1}}, YES),
    ("0", {"0": 1}, YES),
    (("",), {"": 1}, YES),
    (("a", ""), {"a": {"": 1}}, YES),
    ("A", {"a": 1}, NO),
    ("it's", {"it's": 1}, YES),
    ("a.b", {"a": None}, NO),
    ("a.b", {"a": "b"}, NO),
]


@pytest.mark.parametrize(("field", "payload", "expected"), PATHS)
def test_paths(field: Any, payload: dict[str, Any], expected: bool) -> None:
    assert matches(SearchFilter(must=[FilterCondition(field, "eq", 1)]), payload) is expected
    assert matches(SearchFilter(must=[FilterCondition(field, "exists", True)]), payload) is expected


@pytest.mark.parametrize("group", ["must", "should", "must_not"])
@pytest.mark.parametrize("operator", ["eq", "ne", "contains"])
@pytest.mark.parametrize("pair", [(1, True), (0, False), (1, 1.0), (None, False), (1, "1")])
def test_the_core_does_not_take_one_operand_for_another(group: str, operator: str, pair: tuple[Any, Any]) -> None:
    search_filter = SearchFilter(**{group: [FilterCondition("f", operator, operand) for operand in pair]})
    node = parse_filter(search_filter, CAPABILITIES)
    for value in (*pair, [pair[0]], [pair[1]], list(pair)):
        assert memory_matches(node, {"f": value}) is matches(search_filter, {"f": value}), value


def test_the_core_reads_generated_filters_as_the_oracle_does() -> None:
    for seed in (1, 2):
        for case in generate(seed, 1_000):
            node = parse_filter(case.search_filter, CAPABILITIES)
            for point in case.collection.points:
                expected = matches(case.search_filter, point.payload)
                got = memory_matches(node, point.payload or {})
                assert got is expected, (case.search_filter, point.payload, node)


# --- scores ----------------------------------------------------------------------------------------------------------

SCORES = [
    (DistanceMetric.COSINE, [1, 0], [5, 0], 1.0),
    (DistanceMetric.COSINE, [1, 0], [-2, 0], -1.0),
    (DistanceMetric.COSINE, [3, 4], [4, 3], 24 / 25),
    (DistanceMetric.DOT_PRODUCT, [3, 4], [4, 3], 24.0),
    (DistanceMetric.DOT_PRODUCT, [1, 0], [-2, 7], -2.0),
    (DistanceMetric.EUCLIDEAN, [0, 0], [3, 4], 1 / 6),
    (DistanceMetric.EUCLIDEAN, [1, 1], [1, 1], 1.0),
    (DistanceMetric.MANHATTAN, [0, 0], [3, -4], 1 / 8),
]


@pytest.mark.parametrize(("metric", "query", "vector", "expected"), SCORES)
def test_scores(metric: DistanceMetric, query: list[int], vector: list[int], expected: float) -> None:
    assert score(metric, query, vector) == pytest.approx(expected, rel=1e-15)


def test_cosine_is_clamped() -> None:
    vector = [0.1, 0.2, 0.30000001]
    assert -1.0 <= score(DistanceMetric.COSINE, vector, [-3 * x for x in vector]) <= -1 + 1e-12


def test_vectors_are_float32() -> None:
    assert score(DistanceMetric.DOT_PRODUCT, [0.1], [1.0]) == float(np.float32(0.1))
    assert score(DistanceMetric.DOT_PRODUCT, np.array([0.1], np.float32), (1,)) == float(np.float32(0.1))


def test_dot_products_tolerance_is_scaled_by_the_norms() -> None:
    assert tolerance(DistanceMetric.DOT_PRODUCT, [300, 400], [0.6, 0.8]) == pytest.approx(5e-3)
    assert tolerance(DistanceMetric.DOT_PRODUCT, [0.1, 0], [0.1, 0]) == 1e-5
    assert tolerance(DistanceMetric.EUCLIDEAN, [300, 400], [0.6, 0.8]) == 1e-5


@pytest.mark.parametrize("metric", DistanceMetric)
def test_the_cores_formulas_agree(metric: DistanceMetric) -> None:
    for case in generate(3, 30, metrics=[metric], per_collection=10):
        matrix = np.array([point.vector for point in case.collection.points], np.float32)
        for point, got in zip(
            case.collection.points, scores(metric, np.array(case.query, np.float32), matrix).tolist(), strict=True
        ):
            assert abs(got - score(metric, case.query, point.vector)) < 1e-12 * max(1, abs(got))


# --- rankings --------------------------------------------------------------------------------------------------------

DOT = DistanceMetric.DOT_PRODUCT
POINTS = [
    VectorPoint("a", [3.0], {"n": 1}),
    VectorPoint("b", [2.0], {"n": 2}),
    VectorPoint("c", [2.0], {"n": 2}),
    VectorPoint(1, [1.0]),
    VectorPoint("1", [0.0]),
]


def check(*hits: tuple[Any, Any], limit: int = 10, n: int | None = None, threshold: float | None = None) -> str | None:
    """What is wrong with these hits of a search for [1.0]."""
    search_filter = SearchFilter(must=[FilterCondition("n", "eq", n)]) if n is not None else None
    results = [SearchResult(point_id, value) for point_id, value in hits]
    return check_ranking(results, POINTS, [1.0], DOT, limit, search_filter, threshold)


def test_rank_filters_before_the_cut() -> None:
    assert rank(POINTS, [1.0], DOT) == [("a", 3.0), ("b", 2.0), ("c", 2.0), (1, 1.0), ("1", 0.0)]
    assert rank(POINTS, [1.0], DOT, limit=1, search_filter=SearchFilter(must=[has("n", 2)])) == [("b", 2.0)]
    assert rank(POINTS, [1.0], DOT, threshold=2.0) == [("a", 3.0), ("b", 2.0), ("c", 2.0)]
    assert selected(POINTS, SearchFilter(must=[has("n", 2)])) == ["b", "c"]


def test_right_answers() -> None:
    assert check(("a", 3.0), ("b", 2.0), ("c", 2.0), (1, 1.0), ("1", 0.0)) is None
    assert check(("a", 3.0), ("c", 2.0), ("b", 2.0), (1, 1.0), ("1", 0.0)) is None, "ties come in any order"
    assert check(("a", 3.0), ("c", 2.0), limit=2) is None, "any of the tied at the cut"
    assert check(("b", 2.00001), ("c", 1.99999), n=2) is None, "within the tolerance"
    assert check(("a", 3.0), ("b", 2.0), ("c", 2.0), threshold=2.0) is None, "a threshold is inclusive"
    assert check(("a", 3.0), ("c", 2.000001), threshold=2.000001) is None, "near the threshold in or out"
    assert check(("a", 3.0), threshold=2.000001) is None, "near the threshold in or out"
    assert check(limit=0) is None
    assert check(n=7) is None


@pytest.mark.parametrize(
    ("words", "hits", "options"),
    [
        ("2 results came back, more than the limit of 1", [("a", 3.0), ("b", 2.0)], {"limit": 1}),
        ("result 1 is 'x', and no such point was stored", [("x", 3.0)], {}),
        ("result 1 is True, and no such point was stored", [(True, 1.0)], {}),
        ("result 2 is 'a', which came before", [("a", 3.0), ("a", 3.0)], {}),
        ("which the filter does not select: its payload is {'n': 1}", [("a", 3.0)], {"n": 2}),
        ("with the score 2.9; expected 3 ± 3e-05", [("a", 2.9)], {}),
        ("with the score nan; expected 3", [("a", float("nan"))], {}),
        ("with the score '3', which is no number", [("a", "3")], {}),
        ("with the score 2.0, below the threshold of 2.5", [("a", 3.0), ("b", 2.0)], {"threshold": 2.5}),
        ("not best first", [("b", 2.0), ("a", 3.0)], {}),
        ("not best first", [("b", 1.999999), ("c", 2.0)], {"n": 2}),
        ("'c' (score 2 ± 2e-05) is missing, while 2 results", [("a", 3.0), ("b", 2.0)], {}),
        ("is missing, while 0 results came back for a limit of 10", [], {"n": 2}),
        ("'a' (score 3 ± 3e-05) is missing, while the worse 'b' (score 2", [("b", 2.0), ("c", 2.0)], {"limit": 2}),
        ("'c' (score 2", [("a", 3.0), ("b", 2.0)], {"threshold": 1.5}),
    ],
)
def test_wrong_answers_are_told_in_words(words: str, hits: list[tuple[Any, Any]], options: dict[str, Any]) -> None:
    said = check(*hits, **options)
    assert said is not None
    assert words in said


# --- payloads --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ({"a": 1, "b": [None, "x"]}, {"b": [None, "x"], "a": 1}, YES),
        ({"a": 0.0}, {"a": -0.0}, YES),
        ([1, (2, 3)], [1, [2, 3]], YES),
        ({"a": 1}, {"a": 1.0}, NO),
        ({"a": 1}, {"a": True}, NO),
        ({"a": 0}, {"a": False}, NO),
        ({"a": 1.0}, {"a": np.float64(1.0)}, NO),
        ({"a": None}, {}, NO),
        ({"a": []}, {"a": {}}, NO),
        ([1, 2], [2, 1], NO),
        ([1], [1, 1], NO),
        ({"a": "1"}, {"a": 1}, NO),
        ({"é": 1}, {"e\u0301": 1}, NO),
        (2**53 + 1, 2**53, NO),
    ],
)
def test_json_equal(one: Any, other: Any, expected: bool) -> None:
    assert json_equal(one, other) is expected
    assert json_equal(other, one) is expected
