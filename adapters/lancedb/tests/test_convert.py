"""Points to Arrow and back, without an engine."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeweaver_backends.sdk.index.facts import leaves
from codeweaver_backends.sdk.payloads import encode_payload
from codeweaver_backends.sdk.requests import Batch, CollectionSettings
from codeweaver_backends.sdk.validate import validate_batch
from codeweaver_backends.types import DistanceMetric, VectorPoint
from codeweaver_conformance.oracle import json_equal
from codeweaver_conformance.strategies import ids, payloads
from codeweaver_lancedb.convert import (
    DISTANCE_TYPES,
    comparable,
    decode_id,
    encode_id,
    pieces,
    points_of,
    reader_of,
    schema_of,
    settings_of,
)
from codeweaver_lancedb.facts import TOK, facts, facts_of_many
from codeweaver_lancedb.plugin import CAPABILITIES

unhurried = settings(deadline=None)

INDEXES = {"lang": "keyword", "n": "integer", "meta.n": "float", "when": "datetime", "tags": "bool"}


def created(metric: DistanceMetric = DistanceMetric.COSINE, dimension: int = 3) -> CollectionSettings:
    return CollectionSettings("c", dimension, metric, INDEXES)


def batch_of(points: list[VectorPoint], judged_by: CollectionSettings) -> Batch:
    return validate_batch(points, judged_by, CAPABILITIES)


@unhurried
@given(st.lists(payloads(), min_size=1, max_size=6), st.integers(1, 40))
def test_columns_and_rows_give_the_same_facts(some: list[dict[str, Any]], times: int) -> None:
    many = [payload for payload in some for _ in range(times)]
    documents = [encode_payload(payload, CAPABILITIES.limits) for payload in many]
    assert facts_of_many(many, documents).to_pylist() == [facts(payload) for payload in many]


@pytest.mark.parametrize(
    "values",
    [
        ["a", "é", ""],
        ["plain", "2024-05-01T12:00:00Z"],
        [1, 0, -1],
        [2**53, 2**53 + 1],
        [2**63 - 1, -(2**63)],
        [1.5, -0.0, 5e-324, 1.7976931348623157e308],
        [1, 1.0],
        [True, False],
        [None, None],
        [[], ["a"], ["a", "b"]],
        [["a", 1], [[]]],
        [["2024-05-01T12:00:00Z"], []],
        [{"x": 1}, {"x": 2}],
        [{"x": 1}, {"y": {}}],
        [{}, {}],
        ["\x1f", "tab\t\x00"],
        ["back\\slash", "\\u00"],
    ],
    ids=repr,
)
def test_columns_of_one_kind_give_the_facts_of_rows(values: list[Any]) -> None:
    many = [{"field": values[row % len(values)], "row": row} for row in range(130)]
    documents = [encode_payload(payload, CAPABILITIES.limits) for payload in many]
    assert facts_of_many(many, documents).to_pylist() == [facts(payload) for payload in many]


@unhurried
@given(payloads())
def test_nothing_in_a_payload_forges_a_token(payload: dict[str, Any]) -> None:
    text = facts(payload)
    instants = text.count("\x1ed")
    assert text.count(TOK) == sum(1 for _ in leaves(payload)) + instants


def test_long_paths_do_not_multiply() -> None:
    payload = {"k" * 10_000: {"l" * 10_000: list(range(100))}}
    assert len(facts(payload)) < 10_000
    assert facts(payload) != facts({"k" * 10_000: {"l" * 9_999: list(range(100))}})


@unhurried
@given(ids())
def test_ids_come_back_with_their_type(point_id: str | int) -> None:
    back = decode_id(encode_id(point_id))
    assert (type(back), back) == (type(point_id), point_id)


@pytest.mark.parametrize("metric", DISTANCE_TYPES)
def test_settings_are_read_back_from_the_schema(metric: DistanceMetric) -> None:
    made = created(metric)
    assert settings_of("c", schema_of(made)) == made
    assert settings_of("c", pa.schema([pa.field("id", pa.utf8())])) is None


@unhurried
@given(st.lists(payloads(), min_size=1, max_size=8), st.sampled_from(list(DISTANCE_TYPES)))
def test_points_come_back(some: list[dict[str, Any]], metric: DistanceMetric) -> None:
    points = [VectorPoint(row, [1e-30, -0.1 * row, 3e38], payload) for row, payload in enumerate(some)]
    made = created(metric)
    batch = batch_of(points, made)
    rows = reader_of(batch, made, schema_of(made)).read_all()
    for point, back in zip(points, points_of(rows, with_payload=True, with_vectors=True), strict=True):
        assert back.id == point.id
        assert json_equal(back.payload, point.payload)
        assert back.vector == np.array(point.vector, np.float32).tolist()


@unhurried
@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=3, max_size=3).filter(any))
def test_a_comparable_vector_points_the_same_way(numbers: list[float]) -> None:
    vector = np.array(numbers, np.float32)
    scaled = comparable(vector).astype(np.float64)
    assert 0.5 <= np.abs(scaled).max() < 1.0
    exponents = np.log2(np.abs(vector.astype(np.float64)).max() / np.abs(scaled).max())
    assert exponents == round(exponents)
    np.testing.assert_allclose(scaled, vector.astype(np.float64) / 2.0 ** round(exponents), rtol=0, atol=1e-44)


@unhurried
@given(st.lists(st.integers(2, 400), min_size=1, max_size=50), st.integers(1, 20), st.integers(50, 2_000))
def test_pieces_are_the_batch_in_order(lengths: list[int], rows: int, size: int) -> None:
    points = [VectorPoint(row, [1, row], {"x": "x" * length}) for row, length in enumerate(lengths)]
    batch = batch_of(points, created(dimension=2))
    cut = list(pieces(batch, rows, size))
    assert [point_id for piece in cut for point_id in piece.ids] == batch.ids
    assert [document for piece in cut for document in piece.documents] == batch.documents
    for piece in cut:
        weight = sum(map(len, piece.documents)) + piece.vectors.nbytes
        assert len(piece) == 1 or (len(piece) <= rows and weight <= size)
    assert list(pieces(batch_of([], created()))) == []
