"""Points to Arrow and back, without an engine."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeweaver_backends.errors import UnsupportedError
from codeweaver_backends.sdk.hybrid.vectors import sparse_row
from codeweaver_backends.sdk.index.facts import leaves
from codeweaver_backends.sdk.payloads import encode_payload
from codeweaver_backends.sdk.requests import Batch, CollectionSettings, Projection
from codeweaver_backends.sdk.validate import validate_points
from codeweaver_backends.types import DistanceMetric, VectorPoint
from codeweaver_conformance.oracle import json_equal
from codeweaver_conformance.strategies import payloads
from codeweaver_lancedb.facts import TOK, facts, facts_of_many
from codeweaver_lancedb.plugin import CAPABILITIES
from codeweaver_lancedb.schema import DISTANCE_TYPES, LAYOUT, columns_of, points_of, reader_of, schema_of, settings_of
from codeweaver_lancedb.slots import leg_of, with_scores

unhurried = settings(deadline=None)

INDEXES = {"lang": "keyword", "n": "integer", "meta.n": "float", "when": "datetime", "tags": "bool"}


def created(metric: DistanceMetric = DistanceMetric.COSINE, dimension: int = 3) -> CollectionSettings:
    return CollectionSettings("c", dimension, metric, INDEXES)


def batch_of(points: list[VectorPoint], judged_by: CollectionSettings) -> Batch:
    return validate_points(points, CAPABILITIES).on(judged_by)


@unhurried
@given(st.lists(payloads(), min_size=1, max_size=6), st.integers(1, 40))
def test_columns_and_rows_give_the_same_facts(some: list[dict[str, Any]], times: int) -> None:
    many = [payload for payload in some for _ in range(times)]
    payload_json = [encode_payload(payload, CAPABILITIES.limits) for payload in many]
    assert facts_of_many(many, payload_json).to_pylist() == [facts(payload) for payload in many]


@pytest.mark.parametrize(
    "values",
    [
        ["a", "é", ""],
        ["plain", "2024-05-01T12:00:00Z"],
        ["plain", "2024-05-01"],
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
        [["2024-05-01"], []],
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
    payload_json = [encode_payload(payload, CAPABILITIES.limits) for payload in many]
    assert facts_of_many(many, payload_json).to_pylist() == [facts(payload) for payload in many]


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


@pytest.mark.parametrize("metric", DISTANCE_TYPES)
def test_settings_are_read_back_from_the_schema(metric: DistanceMetric) -> None:
    made = created(metric)
    assert settings_of("c", schema_of(made)) == made
    assert settings_of("c", pa.schema([pa.field("id", pa.utf8())])) is None


def test_another_layout_is_refused_by_name() -> None:
    other = pa.schema([pa.field("id", pa.utf8())], metadata={b"codeweaver": created().to_json(LAYOUT + 1)})
    with pytest.raises(UnsupportedError, match=f"'c' has layout {LAYOUT + 1}"):
        settings_of("c", other)


@unhurried
@given(st.lists(payloads(), min_size=1, max_size=8), st.sampled_from(list(DISTANCE_TYPES)))
def test_points_come_back(some: list[dict[str, Any]], metric: DistanceMetric) -> None:
    points = [VectorPoint(row, [1e-30, -0.1 * row, 3e38], payload) for row, payload in enumerate(some)]
    made = created(metric)
    batch = batch_of(points, made)
    rows = reader_of(batch, made, schema_of(made)).read_all()
    for point, back in zip(points, points_of(rows, Projection(vectors=True)), strict=True):
        assert back.id == point.id
        assert json_equal(back.payload, point.payload)
        assert back.vector == np.array(point.vector, np.float32).tolist()


@unhurried
@given(
    st.lists(st.dictionaries(st.integers(0, 999_999_999), st.floats(1e-15, 1e15)) | st.none(), min_size=1),
    st.dictionaries(st.integers(0, 999_999_999), st.floats(1e-3, 1e3), min_size=1),
    st.integers(0, 2),
    st.integers(1, 9),
)
def test_sparse_vectors_come_back_and_are_scored(
    vectors: list[dict[int, float] | None], query: dict[int, float], skipped: int, limit: int
) -> None:
    made = created()
    vectors[0] = {**query, **(vectors[0] or {})}
    batch = batch_of([VectorPoint(row, [1, 2, 3], None, vector) for row, vector in enumerate(vectors)], made)
    rows = reader_of(batch, made, schema_of(made)).read_all()
    kept = [{key: float(np.float32(weight)) for key, weight in (one or {}).items()} for one in vectors]
    assert [point.sparse_vector for point in points_of(rows, Projection())] == [one or None for one in kept]
    some = rows.select(["id", "sparse"]).combine_chunks().to_batches()[0].slice(skipped)  # as engines give them
    asked = sparse_row(query)
    leg = leg_of([with_scores(some, asked, limit)], limit)
    weights = asked.as_dict()
    expected = {
        row: sum(weight * one[key] for key, weight in weights.items() if key in one)
        for row, one in enumerate(kept)
        if row >= skipped and one.keys() & weights.keys()
    }
    assert len(leg) == min(limit, len(expected))
    assert leg.scores.tolist() == pytest.approx(sorted(expected.values(), reverse=True)[:limit])
    assert leg.scores.tolist() == pytest.approx([expected[point_id] for point_id in leg.ids])  # type: ignore[index]


@unhurried
@given(st.lists(payloads(), min_size=1, max_size=8))
def test_what_is_not_asked_for_is_none_in_every_row(some: list[dict[str, Any]]) -> None:
    made = created()
    batch = batch_of([VectorPoint(row, [1, 2, 3], payload) for row, payload in enumerate(some)], made)
    rows = reader_of(batch, made, schema_of(made)).read_all()
    for projection in (Projection(payload=False), Projection(payload=False, vectors=True), Projection()):
        points = points_of(rows.select(columns_of(made, projection)), projection)
        assert [point.id for point in points] == batch.ids
        assert all((point.payload is None) == (projection.payload is False) for point in points)
        assert all((point.vector is None) != projection.vectors for point in points)
