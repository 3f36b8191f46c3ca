"""Points to rows and back, without a server."""

from __future__ import annotations

import json
import struct
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeweaver_backends.errors import InvalidVectorError
from codeweaver_backends.metrics import scorer, scores
from codeweaver_backends.sdk.index.codes import decode_id, encode_id
from codeweaver_backends.sdk.index.facts import leaves
from codeweaver_backends.sdk.index.keys import parse_instant
from codeweaver_backends.sdk.payloads import encode_payload
from codeweaver_backends.sdk.requests import Batch, CollectionSettings
from codeweaver_backends.sdk.validate import validate_points
from codeweaver_backends.sdk.vectors import check_lengths
from codeweaver_backends.types import DistanceMetric, Payload, PointId, VectorPoint
from codeweaver_conformance.oracle import json_equal
from codeweaver_conformance.strategies import ids, payloads
from codeweaver_pgvector.backend import _LONGEST
from codeweaver_pgvector.dialect import CODE, json_text, path_key
from codeweaver_pgvector.plugin import CAPABILITIES
from codeweaver_pgvector.schema import (
    COLUMNS,
    columns_to_merge,
    engine_query,
    engine_vectors,
    payload_columns,
    payloads_columns,
    rows_to_copy,
)
from codeweaver_pgvector.slots import SLOT_COLUMNS, decoded, encoded, slots_to_copy

unhurried = settings(deadline=None)
hostile = st.text(st.sampled_from("\0\x01\x02\x03\x04ab'\"\\%_ é"), max_size=8)


def batch_of(points: list[VectorPoint], metric: DistanceMetric = DistanceMetric.COSINE) -> Batch:
    assert points[0].vector is not None
    dimension = len(points[0].vector)
    return validate_points(points, CAPABILITIES).on(CollectionSettings("c", dimension, metric))


def through_jsonb(document: bytes) -> Any:
    """What PostgreSQL gives back of a jsonb: numbers are decimals, and written without exponents."""
    assert b"\\u0000" not in document
    parsed = json.loads(document, parse_float=lambda text: f"<{format(Decimal(text), 'f')}>", parse_int=int)

    def number(value: Any) -> Any:
        if isinstance(value, str) and value[:1] == "<" and value[-1:] == ">":
            text = value[1:-1]
            return float(text) if "." in text else int(text)
        if isinstance(value, dict):
            return {key: number(inner) for key, inner in value.items()}
        return [number(inner) for inner in value] if isinstance(value, list) else value

    return number(parsed)


@given(ids() | hostile.filter(bool))
def test_ids_come_back(point_id: PointId) -> None:
    code = encode_id(point_id, CODE)
    assert "\0" not in code
    assert (decode_id(code, CODE), type(decode_id(code, CODE))) == (point_id, type(point_id))


@given(st.text(max_size=4))
def test_nothing_else_is_the_code_of_an_id(text: str) -> None:
    try:
        assert encode_id(decode_id(text, CODE), CODE) == text or "\x01" in text or "\0" in text
    except ValueError:
        assert not (text[:1] == "s" and len(text) > 1)


@unhurried
@given(payloads() | st.dictionaries(hostile, hostile | st.floats(allow_nan=False, allow_infinity=False)))
def test_payloads_come_back(payload: Payload) -> None:
    document = encode_payload(payload, CAPABILITIES.limits)
    doc, raw, ts = payload_columns(document)
    assert json_equal(json.loads(raw) if raw else through_jsonb(doc), json.loads(document))
    found: dict[str, list[int]] = {}
    for fact in leaves(json.loads(document)):
        instant = parse_instant(fact.value) if isinstance(fact.value, str) else None
        if instant is not None:
            found.setdefault(path_key(fact.path), []).append(instant)
    assert (json.loads(ts) if ts else {}) == found


@unhurried
@given(st.lists(payloads(), max_size=3), st.integers(1, 3))
def test_many_payloads_have_the_columns_of_each(some: list[Payload], times: int) -> None:
    documents = [encode_payload(payload, CAPABILITIES.limits) for payload in some * times]
    assert list(payloads_columns(documents)) == list(map(payload_columns, documents))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_are_compared_by_exact_value(number: float) -> None:
    document, _, _ = payload_columns(encode_payload({"n": number}, CAPABILITIES.limits))
    stored = json.loads(document, parse_float=Decimal, parse_int=Decimal)["n"]
    # Where a whole number could be between the two, they are one.
    assert stored == Decimal(number) or (float(stored) == number and not number.is_integer())
    assert Decimal(json_text(number)) == stored


@given(hostile, hostile)
def test_substrings_are_kept(text: str, part: str) -> None:
    assert (part in text) == (CODE.encode(part) in CODE.encode(text))


@unhurried
@given(st.lists(st.tuples(ids(), payloads()), min_size=1, max_size=5), st.sampled_from(list(DistanceMetric)))
def test_both_ways_in_write_the_same(some: list[tuple[PointId, Payload]], metric: DistanceMetric) -> None:
    points = [VectorPoint(one, [2.0**100, float(n), 1.0], payload) for n, (one, payload) in enumerate(some)]
    batch = batch_of(points, metric)
    codes = [encode_id(one, CODE) for one in batch.ids]
    rows = list(zip(*columns_to_merge(codes, batch, metric), strict=True))
    assert _parsed(b"".join(rows_to_copy(codes, batch, metric))) == [
        (key.encode(), vec, given, b"\1" + doc.encode(), _bytes(raw), _bytes(ts, b"\1"))
        for key, vec, given, doc, raw, ts in rows
    ]
    given_vectors = [_vector(given or vec) for _, vec, given, *_ in rows]
    assert np.array_equal(np.array(given_vectors, dtype=np.float32), batch.vectors)


@unhurried
@given(st.lists(st.dictionaries(st.integers(0, 999_999_999), st.floats(1e-15, 1e15)), min_size=1, max_size=300))
def test_sparse_vectors_come_back(vectors: list[dict[int, float]]) -> None:
    points = [VectorPoint(n, [1.0], None, dict(vector)) for n, vector in enumerate(vectors)]
    batch = batch_of(points)
    stored = encoded(batch.sparse, batch.ids)
    for vector, data in zip(vectors, stored, strict=True):
        back = decoded(data)
        assert back == ({key: float(np.float32(weight)) for key, weight in vector.items()} or None)
        assert list(back or ()) == sorted(vector)
    codes = [encode_id(one, CODE) for one in batch.ids]
    rows = _parsed(b"".join(slots_to_copy(codes, batch)), len(SLOT_COLUMNS))
    assert rows == [(code.encode(), data, None) for code, data in zip(codes, stored, strict=True)]


@pytest.mark.parametrize("exponent", [-120, -60, 0, 60, 126])
@pytest.mark.parametrize("metric", [DistanceMetric.COSINE, DistanceMetric.DOT_PRODUCT])
def test_lengths_do_not_spoil_scores(metric: DistanceMetric, exponent: int) -> None:
    random = np.random.default_rng(exponent + 1_000)
    matrix = random.standard_normal((20, 7)).astype(np.float32)
    query = np.ldexp(random.standard_normal(7).astype(np.float32) / 4, exponent).astype(np.float32)
    if metric is DistanceMetric.COSINE:
        matrix = np.ldexp(matrix / 4, exponent).astype(np.float32)
    data, factor = engine_query(query, metric)
    used, stored = np.array(_vector(data), dtype=np.float32), engine_vectors(matrix, metric)[0]
    dots = stored @ used  # in float32, as pgvector does
    if metric is DistanceMetric.COSINE:
        dots /= np.sqrt((stored * stored).sum(axis=1)) * np.sqrt((used * used).sum())
    assert np.isfinite(dots).all()
    distances = 1 - dots if metric is DistanceMetric.COSINE else -dots
    score = scorer(metric, dot="negative dot")
    got = [score(float(distance)) * factor for distance in distances]
    norms = np.linalg.norm(matrix.astype(float), axis=1) * np.linalg.norm(query.astype(float))
    scale = np.maximum(1.0, norms) if metric is DistanceMetric.DOT_PRODUCT else 1.0
    assert (np.abs(np.array(got) - scores(metric, query, matrix)) <= 1e-5 * scale).all()


def test_what_a_dot_product_cannot_add_up_is_refused() -> None:
    points = [VectorPoint("near", [1e18, 0.0]), VectorPoint("far", [0.0, -1.1e18])]
    near, both = batch_of(points[:1]), batch_of(points)
    check_lengths(near.vectors, _LONGEST, near.ids)
    with pytest.raises(InvalidVectorError, match="'far'"):
        check_lengths(both.vectors, _LONGEST, both.ids)


def _parsed(data: bytes, columns: int = len(COLUMNS)) -> list[tuple[bytes | None, ...]]:
    """The rows of a binary COPY."""
    rows, at = [], 0
    while at < len(data):
        assert struct.unpack_from(">h", data, at)[0] == columns
        at += 2
        row: list[bytes | None] = []
        for _ in range(columns):
            (size,) = struct.unpack_from(">i", data, at)
            at += 4
            row.append(None if size < 0 else data[at : at + size])
            at += max(size, 0)
        rows.append(tuple(row))
    assert at == len(data)
    return rows


def _bytes(text: str | None, before: bytes = b"") -> bytes | None:
    return None if text is None else before + text.encode()


def _vector(data: bytes) -> list[float]:
    dimension, unused = struct.unpack_from(">HH", data)
    assert unused == 0
    return list(struct.unpack_from(f">{dimension}f", data, 4))
