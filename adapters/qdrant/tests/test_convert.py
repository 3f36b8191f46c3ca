"""Points in and out, without an engine."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeweaver_backends.errors import InvalidOptionError, InvalidVectorError
from codeweaver_backends.sdk.index.facts import Kind
from codeweaver_backends.sdk.requests import Batch, CollectionSettings
from codeweaver_backends.sdk.validate import validate_batch
from codeweaver_backends.types import DistanceMetric, VectorPoint
from codeweaver_conformance.strategies import payloads
from codeweaver_qdrant.backend import _cursor, _offset, _parts
from codeweaver_qdrant.convert import (
    TOKENS,
    check_lengths,
    engine_id,
    engine_payload,
    engine_payloads,
    field_of,
    instant_parts,
    number_parts,
    points_of,
    query_vector,
    results_of,
    stored_vectors,
    value_tokens,
)
from codeweaver_qdrant.plugin import EDGE_CAPABILITIES

NUMBERS = st.one_of(st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False))
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=80))
PATHS = st.lists(st.text(max_size=30), min_size=1, max_size=3).map(tuple)


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
    first, second = field_of(one), field_of(other)
    for mine, theirs in zip(first, second, strict=True):
        assert (mine == theirs) is (one == other)
    assert all(key.isascii() and key.replace("_", "").isalnum() for key in first[3:])


@settings(max_examples=1_000)
@given(PATHS, SCALARS, SCALARS)
def test_values_are_told_apart_as_json_does(path: tuple[str, ...], one: Any, other: Any) -> None:
    equal = one == other and isinstance(one, bool) is isinstance(other, bool)
    assert (value_tokens(path, one) == value_tokens(path, other)) is equal
    for token in value_tokens(path, one):
        assert token.isascii()
        assert token.isprintable()
        assert " " not in token


def test_long_strings_cannot_be_forged() -> None:
    long = "x" * 65
    [token] = value_tokens(("k",), long)
    for forged in (token, token.partition("=s")[2], token[-32:]):
        assert value_tokens(("k",), forged) != [token]


def stored_by_columns(points: list[VectorPoint]) -> list[dict[str, Any]]:
    """What is stored of the payloads, after it has been compared with what is stored of each alone."""
    batch = validate_batch(points, CollectionSettings("c", 1, DistanceMetric.COSINE), EDGE_CAPABILITIES)

    def sets(stored: dict[str, Any]) -> dict[str, Any]:
        return stored | {TOKENS: sorted(stored[TOKENS].split(" "))}

    many = engine_payloads(batch)
    alone = list(map(engine_payload, batch.ids, batch.documents, batch.payloads))
    assert list(map(sets, many)) == list(map(sets, alone))
    return many


@settings(deadline=None)
@given(st.lists(payloads(), min_size=1, max_size=6), st.integers(1, 40))
def test_columns_and_rows_store_the_same(some: list[dict[str, Any]], times: int) -> None:
    many = [payload for payload in some for _ in range(times)]
    points = [VectorPoint(row if row % 3 else f"p{row}", [1.0], payload) for row, payload in enumerate(many)]
    assert len(stored_by_columns(points)) == len(many)


@pytest.mark.parametrize(
    "values",
    [
        ["a", "é b", "", "x" * 65],
        ["plain", "2024-05-01T12:00:00Z"],
        [1, 0, -1],
        [2**53 + 1, 1],
        [1.5, 0.0, -0.0],
        [0.1, 1.0],
        [True, False],
        [1, True, 1.0],
        [["a", "b c"], [], ["a"]],
        [[], []],
        [["a"], [1, None]],
        [["2024-05-01T12:00:00Z"], ["a"]],
        [{"x": 1}, {"x": "2"}],
        [None, None],
    ],
    ids=repr,
)
def test_columns_of_one_kind_store_what_rows_do(values: list[Any]) -> None:
    points = [VectorPoint(row, [1.0], {"field": values[row % len(values)], "row": row}) for row in range(40)]
    assert stored_by_columns(points)[1]["nkrow"] == number_parts(1).stored


def test_a_payload_is_stored_as_facts() -> None:
    payload = {"a": "b c", "n": [1, 0.1], "when": "2024-05-01T12:00:00.000001Z", "o": {"z": None}, "l": [None, True]}
    stored = engine_payload("id", b"{}", payload)
    expected = "a!3 a=sb%20c n!4 n=n1 n=n0.1 when!3 when=s2024-05-01T12:00:00.000001Z o!5 o.z!0 l!4 l=z l=b1"
    assert stored.pop(TOKENS) == expected
    one, tenth = number_parts(1), number_parts(0.1)
    assert stored == {
        "d": "{}",
        "i": "id",
        "ska": "b c",
        "nkn": [one.stored, tenth.stored],
        f"mkn_{tenth.high:x}": [tenth.low],
        "skwhen": payload["when"],
        "tkwhen": instant_parts(1_714_564_800_000_001).stored,
        f"ukwhen_{1_714_564_800_000:x}": [1],
    }
    assert field_of(("a",)).kinds[Kind.STRING] == "a!3"


@pytest.mark.parametrize("metric", DistanceMetric)
@given(data=st.data())
def test_vectors_come_back(metric: DistanceMetric, data: st.DataObject) -> None:
    floats = st.floats(-(2.0**100), 2.0**100, width=32)
    rows = data.draw(st.lists(st.lists(floats, min_size=3, max_size=3).filter(any), min_size=1, max_size=5))
    matrix = np.array(rows, dtype=np.float32)
    stored, beside = stored_vectors(matrix, metric)
    for given_row, row, more in zip(matrix, stored, beside, strict=True):
        if metric is DistanceMetric.COSINE:
            assert abs(float(np.linalg.norm(row.astype(np.float64))) - 1) < 1e-6
        record = SimpleNamespace(id=1, payload={"d": "{}", **more}, vector={"any": row.tolist()})
        [point] = points_of([record], True, True)
        np.testing.assert_allclose(point.vector, given_row, rtol=1e-6)


def test_unit_vectors_need_nothing_beside_them() -> None:
    rng = np.random.default_rng(1)
    matrix = rng.standard_normal((50, 64))
    matrix = (matrix / np.linalg.norm(matrix, axis=1, keepdims=True)).astype(np.float32)
    _, beside = stored_vectors(matrix, DistanceMetric.COSINE)
    assert beside == [{}] * 50


def test_a_query_is_normalised_whatever_its_length() -> None:
    for length in (1e-30, 1.0, 1e30):
        vector = np.array([3 * length, 4 * length], dtype=np.float32)
        assert query_vector(vector, DistanceMetric.COSINE).tolist() == pytest.approx([0.6, 0.8])
    assert query_vector(vector, DistanceMetric.DOT_PRODUCT) is vector


def test_vectors_whose_sums_would_overflow_are_refused() -> None:
    matrix = np.array([[1.0, 2.0], [1e18, 1e18]], dtype=np.float32)
    check_lengths(matrix, DistanceMetric.COSINE)
    check_lengths(matrix[:1], DistanceMetric.EUCLIDEAN)
    with pytest.raises(InvalidVectorError, match="'b'"):
        check_lengths(matrix, DistanceMetric.EUCLIDEAN, ["a", "b"])
    with pytest.raises(InvalidVectorError, match="query_vector"):
        check_lengths(matrix, DistanceMetric.DOT_PRODUCT)


def test_results_have_the_contracts_scores() -> None:
    def score(metric: DistanceMetric, raw: float) -> float:
        hit = SimpleNamespace(id=7, payload={"d": "{}"}, vector=None, score=raw)
        [result] = results_of([hit], metric, False, False)
        return result.score

    assert score(DistanceMetric.COSINE, 1.0000001) == 1.0
    assert score(DistanceMetric.DOT_PRODUCT, -3.5) == -3.5
    assert score(DistanceMetric.EUCLIDEAN, 1.0) == score(DistanceMetric.MANHATTAN, 1.0) == 0.5


def test_ids() -> None:
    assert engine_id(2**63 - 1) == 2**63 - 1
    assert len({engine_id(one) for one in ("1", "a", "A", "00000000-0000-0000-0000-000000000001")}) == 4


@pytest.mark.parametrize("following", [0, 1, 2**63 - 1, "0123456789abcdef0123456789abcdef"])
def test_cursors_come_back(following: int | str) -> None:
    assert _offset(_cursor(following)) == following


@pytest.mark.parametrize("foreign", ["1", "qdrant-", "qdrant-x", f"qdrant-{2**63}", "qdrant-01", "qdrant-1\n"])
def test_foreign_cursors_are_refused(foreign: str) -> None:
    with pytest.raises(InvalidOptionError):
        _offset(foreign)


def test_batches_are_cut_by_count_and_by_bytes() -> None:
    documents = [b"x" * size for size in (10, 10, 10, 900, 10, 10)]
    batch = Batch(list(range(6)), np.zeros((6, 1), dtype=np.float32), [{}] * 6, documents)
    assert [part.ids for part in _parts(batch, 2, 10_000)] == [[0, 1], [2, 3], [4, 5]]
    assert [part.ids for part in _parts(batch, 10, 200)] == [[0, 1, 2], [3], [4, 5]]
    assert list(_parts(Batch([], np.zeros((0, 1), dtype=np.float32), [], []), 2, 10)) == []


@given(st.integers(1, 20_000))
def test_vectors_are_packed_as_the_message_packs_them(dimension: int) -> None:
    grpc = pytest.importorskip("codeweaver_qdrant.grpc")
    message = pytest.importorskip("qdrant_client.grpc").DenseVector
    row = np.arange(dimension, dtype=np.float32)[np.newaxis]
    [packed] = grpc._packed(row)
    assert list(message.FromString(packed).data[-3:]) == row[0, -3:].tolist()
