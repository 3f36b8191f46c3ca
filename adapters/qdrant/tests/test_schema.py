"""Points in and out, without an engine."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeweaver_backends.capabilities import Limits
from codeweaver_backends.errors import InvalidOptionError, InvalidVectorError
from codeweaver_backends.sdk import ALWAYS, Batch, CollectionSettings, Projection, Query, encode_payload
from codeweaver_backends.types import DistanceMetric, PointId
from codeweaver_qdrant.backend import _cursor, _position
from codeweaver_qdrant.dialect import instant_parts, number_parts
from codeweaver_qdrant.schema import (
    TERMS,
    engine_id,
    hits_of,
    indexed_fields,
    points_of,
    query_vector,
    stored_payloads,
    stored_vectors,
    wanted_fields,
)

EVERYTHING = Projection(True, True)


def batch_of(payloads: list[dict[str, Any]], ids: list[PointId] | None = None, matrix: Any = None) -> Batch:
    vectors = np.ones((len(payloads), 1), dtype=np.float32) if matrix is None else matrix
    texts = [encode_payload(payload, Limits()) for payload in payloads]
    return Batch(ids or list(range(len(payloads))), vectors, list(payloads), texts)


def query_of(vector: Any, threshold: float | None = None) -> Query:
    return Query(vector, 10, ALWAYS, threshold, Projection(False))


def test_a_payload_is_stored_with_what_filters_ask_of_it() -> None:
    payload = {"a": "b c", "n": [1, 0.1, 7], "when": "2024-05-01T12:00:00.000001Z", "o": {"z": None}, "l": [None, True]}
    [stored] = stored_payloads(batch_of([payload], ["id"]), [""])
    expected = "a!sb%20c a!S n!L n!n1 n!N n!n0.1 n!n7 when!s2024-05-01T12:00:00.000001Z when!S when!T o!O o.z!Z"
    assert stored.pop(TERMS) == f"{expected} l!L l!z l!b1"
    tenth, seven = number_parts(0.1), number_parts(7)
    assert stored == {
        "d": encode_payload(payload, Limits()).decode(),
        "i": "id",
        "ska": "b c",
        "nkn": [tenth.stored, seven.stored],
        f"mkn_{tenth.high:x}": tenth.low,
        "skwhen": payload["when"],
        "tkwhen": instant_parts(1_714_564_800_000_001).stored,
        f"ukwhen_{1_714_564_800_000:x}": 1,
    }


def test_what_shares_an_integer_is_told_apart_beside_it() -> None:
    one, other = 2**53 + 1, 2**53 + 3
    [stored] = stored_payloads(batch_of([{"n": [other, one, one]}]), [""])
    first, second = number_parts(one), number_parts(other)
    assert first.high == second.high
    assert stored["nkn"] == [first.stored, second.stored]
    assert stored[f"mkn_{first.high:x}"] == [first.low, second.low]


def test_declared_fields_are_indexed_where_values_are_compared() -> None:
    kinds = {"k": "keyword", "a.i": "integer", "f": "float", "b": "bool", "d": "datetime"}
    settings = CollectionSettings("c", 2, DistanceMetric.COSINE, kinds)
    assert dict(indexed_fields(settings)) == {"skk": "text", "nka_2ei": "order", "nkf": "order", "tkd": "order"}


@pytest.mark.parametrize("metric", DistanceMetric)
@given(data=st.data())
def test_vectors_come_back(metric: DistanceMetric, data: st.DataObject) -> None:
    floats = st.floats(-(2.0**59), 2.0**59, width=32)
    rows = data.draw(st.lists(st.lists(floats, min_size=3, max_size=3).filter(any), min_size=1, max_size=5))
    matrix = np.array(rows, dtype=np.float32)
    batch = batch_of([{}] * len(rows), None, matrix)
    vectors, kept = stored_vectors(batch, metric)
    for given_row, row, stored in zip(matrix, vectors, stored_payloads(batch, kept), strict=True):
        if metric is DistanceMetric.COSINE:
            assert abs(float(np.linalg.norm(row.astype(np.float64))) - 1) < 1e-6
        record = SimpleNamespace(id=1, payload=stored, vector={metric.value: row.tolist()})
        [point] = points_of([record], metric, EVERYTHING)
        np.testing.assert_allclose(point.vector, given_row, rtol=1e-6)


def test_ordinary_vectors_need_nothing_beside_them() -> None:
    rng = np.random.default_rng(1)
    matrix = rng.standard_normal((50, 64)).astype(np.float32)
    unit = (matrix / np.linalg.norm(matrix, axis=1, keepdims=True)).astype(np.float32)
    for metric, rows in ((DistanceMetric.COSINE, unit), (DistanceMetric.EUCLIDEAN, matrix)):
        assert stored_vectors(batch_of([{}] * 50, None, rows), metric)[1] == [""] * 50


def test_a_query_is_normalised_whatever_its_length() -> None:
    for length in (1e-30, 1.0, 1e30):
        vector = np.array([3 * length, 4 * length], dtype=np.float32)
        assert query_vector(query_of(vector), DistanceMetric.COSINE).tolist() == pytest.approx([0.6, 0.8])
    short = np.array([3, 4], dtype=np.float32)
    assert query_vector(query_of(short), DistanceMetric.DOT_PRODUCT) is short


def test_vectors_whose_sums_would_overflow_are_refused() -> None:
    matrix = np.array([[1.0, 2.0], [1e18, 1e18]], dtype=np.float32)
    stored_vectors(batch_of([{}, {}], None, matrix), DistanceMetric.COSINE)
    stored_vectors(batch_of([{}], None, matrix[:1]), DistanceMetric.EUCLIDEAN)
    with pytest.raises(InvalidVectorError, match="'b'"):
        stored_vectors(batch_of([{}, {}], ["a", "b"], matrix), DistanceMetric.EUCLIDEAN)
    with pytest.raises(InvalidVectorError, match="query_vector"):
        query_vector(query_of(matrix[1]), DistanceMetric.DOT_PRODUCT)


def test_results_have_the_contracts_scores() -> None:
    def score(metric: DistanceMetric, raw: float) -> float:
        hit = SimpleNamespace(id=7, payload={"d": "{}"}, vector=None, score=raw)
        [result] = hits_of([hit], query_of(None), metric)
        return result.score

    assert score(DistanceMetric.COSINE, 1.0000001) == 1.0
    assert score(DistanceMetric.DOT_PRODUCT, -3.5) == -3.5
    assert score(DistanceMetric.EUCLIDEAN, 1.0) == score(DistanceMetric.MANHATTAN, 1.0) == 0.5


def test_hits_below_the_threshold_are_left_out() -> None:
    found = [SimpleNamespace(id=one, payload={}, vector=None, score=float(one)) for one in (3, 2, 1)]
    hits = hits_of(found, query_of(None, threshold=2.0), DistanceMetric.DOT_PRODUCT)
    assert [hit.id for hit in hits] == [3, 2]


def test_only_what_is_asked_for_is_read() -> None:
    assert wanted_fields(Projection(False, False)) == ["i"]
    assert wanted_fields(Projection((), True)) == ["i", "d", "v"]
    record = SimpleNamespace(id=1, payload={}, vector=None)
    [point] = points_of([record], DistanceMetric.COSINE, Projection(False, False))
    assert (point.id, point.vector, point.payload) == (1, None, None)


def test_ids() -> None:
    assert engine_id(2**63 - 1) == 2**63 - 1
    assert len({engine_id(one) for one in ("1", "a", "A", "00000000-0000-0000-0000-000000000001")}) == 4


@pytest.mark.parametrize("following", [0, 1, 2**63 - 1, "0123456789abcdef0123456789abcdef"])
def test_cursors_come_back(following: int | str) -> None:
    assert _position(_cursor(following)) == following


@pytest.mark.parametrize("foreign", ["1", "qdrant-", "qdrant-x", f"qdrant-{2**63}", "qdrant-01", "qdrant-1\n"])
def test_foreign_cursors_are_refused(foreign: str) -> None:
    with pytest.raises(InvalidOptionError):
        _position(foreign)


@given(st.integers(1, 20_000))
def test_vectors_are_packed_as_the_message_packs_them(dimension: int) -> None:
    grpc = pytest.importorskip("codeweaver_qdrant.grpc_client")
    message = pytest.importorskip("qdrant_client.grpc").DenseVector
    row = np.arange(dimension, dtype=np.float32)[np.newaxis]
    [packed] = grpc._packed(row)
    assert list(message.FromString(packed).data[-3:]) == row[0, -3:].tolist()
