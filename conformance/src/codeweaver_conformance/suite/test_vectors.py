"""Vectors: float32 inside, given back as they came."""

from __future__ import annotations

import array
import math
import random
from typing import Any

import numpy as np
import pytest

from codeweaver_backends.errors import InvalidDimensionError, InvalidInputError, InvalidVectorError
from codeweaver_backends.types import DistanceMetric
from codeweaver_conformance.clause import clause
from codeweaver_conformance.session import Conformance, point

# Ids are integers wherever ids are not the matter, so that a fault of string ids fails its own tests and no others.
A, B, C, ZERO, ONE = range(5)

SAMPLES = [
    [3.0, 4.0, 0.0],
    [0.1, 0.2, 0.3],
    [1e-3, -250.5, 7.0],
    [-1.0, -1.0, -1.0],
    [1e10, 1.0, -1e-10],
    [1e-18, 2e-18, 0.0],
    [1.0, 1e-38, -3e-42],  # the last two are subnormal numbers of single precision
]


def _close(got: Any, expected: list[float]) -> bool:
    return (
        isinstance(got, list)
        and len(got) == len(expected)
        and all(
            type(a) is float and math.isclose(a, float(np.float32(b)), rel_tol=1e-6)
            for a, b in zip(got, expected, strict=True)
        )
    )


@clause("vectors.round-trip")
async def test_vectors_come_back_as_given(cw: Conformance) -> None:
    """Check for unit vectors under cosine, and for halved precision."""
    rng = random.Random(cw.seed)  # noqa: S311
    samples = SAMPLES + [[rng.gauss(0, 10 ** rng.randint(-3, 3)) for _ in range(3)] for _ in range(20)]
    for metric in cw.metrics:
        name = await cw.collection([point(n, one) for n, one in enumerate(samples)], dimension=3, metric=metric)
        for got in await cw.backend.get_vectors(name, list(range(len(samples)))):
            if not _close(got.vector, samples[got.id]):
                cw.violated(samples[got.id], got.vector, f"point {got.id} under {metric.name}")


@clause("vectors.with-vectors")
async def test_vectors_are_returned_when_asked_for(cw: Conformance) -> None:
    """Check the option of a search, and that it is off by default."""
    name = await cw.collection([point(A, [3, 4], {"v": 1}), point(B, [-3, 4])])
    for result in await cw.backend.search_vectors(name, [3, 4]):
        cw.equal(result.vector, None, "not asked for")
    results = await cw.backend.search_vectors(name, [3, 4], with_vectors=True)
    found = {result.id: result.vector for result in results}
    cw.true(_close(found.get(A), [3, 4]) and _close(found.get(B), [-3, 4]), "[3.0, 4.0] and [-3.0, 4.0]", found)
    [got] = await cw.backend.get_vectors(name, [A], with_vectors=False)
    cw.true(got.vector is None or not len(got.vector), "no vector, or an empty one: none is asked for", got.vector)


@clause("vectors.dimension")
@pytest.mark.parametrize("size", [0, 1, 2, 4, 6])
async def test_another_dimension_is_refused(cw: Conformance, size: int) -> None:
    """Check for padding, cutting, and for a batch whose good part is written."""
    name = await cw.collection([point(A, [1, 0, 0], {"v": 1})], dimension=3)
    with cw.raises(InvalidDimensionError):
        await cw.backend.upsert_vectors(name, [point(B, [1, 0, 0]), point(C, [1.0] * size)])
    with cw.raises(InvalidDimensionError):
        await cw.backend.search_vectors(name, [1.0] * size)
    with cw.raises(InvalidDimensionError):
        await cw.backend.search_vectors(name, [1.0] * size, limit=0)
    await cw.unchanged(name, {A: {"v": 1}})


@clause("vectors.finite")
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e39, -3.5e38], ids=str)
@pytest.mark.parametrize("metric", [DistanceMetric.COSINE, DistanceMetric.EUCLIDEAN], ids=lambda one: one.name)
async def test_what_is_not_finite_is_refused(cw: Conformance, metric: DistanceMetric, bad: float) -> None:
    """Check that one such vector cannot poison every later search; 1e39 is infinite in float32."""
    if metric not in cw.metrics:
        metric = DistanceMetric.COSINE
    name = await cw.collection([point(A, [1, 0], {"v": 1})], metric=metric)
    with cw.raises(InvalidVectorError):
        await cw.backend.upsert_vectors(name, [point(B, [1, 0]), point(C, [1.0, bad])])
    with cw.raises(InvalidVectorError):
        await cw.backend.upsert_vectors(name, [point(C, np.array([bad, 1.0]))])
    with cw.raises(InvalidVectorError):
        await cw.backend.search_vectors(name, [bad, 1.0])
    await cw.unchanged(name, {A: {"v": 1}})


@clause("vectors.zero-cosine")
async def test_the_zero_vector_has_no_cosine(cw: Conformance) -> None:
    """Check for NaN scores, for rows that no search finds, and for what rounds to zero in float32."""
    name = await cw.collection([point(A, [1, 0], {"v": 1})])
    for zero in ([0.0, 0.0], [0, 0], [-0.0, 0.0], [1e-60, 0.0], np.zeros(2)):
        with cw.raises(InvalidVectorError):
            await cw.backend.upsert_vectors(name, [point(B, [1, 1]), point(C, zero)])
        with cw.raises(InvalidVectorError):
            await cw.backend.search_vectors(name, zero)
    await cw.unchanged(name, {A: {"v": 1}})


@clause("vectors.zero")
async def test_elsewhere_zero_is_a_vector(cw: Conformance) -> None:
    """Check that the refusal is cosine's only."""
    for metric in cw.metrics:
        if metric is DistanceMetric.COSINE:
            continue
        name = await cw.collection([point(ZERO, [0, 0]), point(ONE, [1, 0])], metric=metric)
        cw.equal({hit.id for hit in await cw.backend.search_vectors(name, [0, 0])}, {ZERO, ONE})
        scores = {hit.id: hit.score for hit in await cw.backend.search_vectors(name, [1, 0])}
        expected = 0.0 if metric is DistanceMetric.DOT_PRODUCT else 0.5
        cw.true(abs(scores.get(ZERO, -9) - expected) < 1e-5, f"{expected} under {metric.name}", scores)


@clause("vectors.kinds")
async def test_sequences_of_numbers_are_vectors_alike(cw: Conformance) -> None:
    """Check for `if vector:` on an array, and for writers that know lists of floats only."""
    kinds: list[Any] = [
        [3.0, 4.0],
        (3.0, 4.0),
        [3, 4],
        array.array("d", [3, 4]),
        array.array("f", [3, 4]),
        np.array([3, 4], dtype=np.float32),
        np.array([3, 4], dtype=np.float64),
        np.array([3, 4], dtype=np.int64),
        np.array([[9, 9], [3, 4]], dtype=np.float32)[1],
        np.array([3, 9, 4, 9], dtype=np.float32)[::2],
        [np.float32(3), np.float64(4)],
    ]
    name = await cw.collection([point(number, one) for number, one in enumerate(kinds)])
    for kind in kinds:
        hits = await cw.backend.search_vectors(name, kind, limit=100)
        cw.equal({hit.id for hit in hits}, set(range(len(kinds))))
        cw.true(all(abs(hit.score - 1) < 1e-5 for hit in hits), "score 1 for each", [hit.score for hit in hits])


@clause("vectors.not-numbers")
@pytest.mark.parametrize(
    "bad",
    [["1", "2"], "12", [None, 1.0], [[1.0], [2.0]], {0: 1.0, 1: 2.0}, None, 5, b"12", np.array(["1", "2"]), [1j, 2]],
    ids=lambda one: ascii(one)[:24],
)
async def test_anything_but_numbers_is_refused(cw: Conformance, bad: Any) -> None:
    """Check for a numpy cast that reads text as numbers."""
    name = await cw.collection([point(A, [1, 0], {"v": 1})])
    with cw.raises(InvalidInputError):
        await cw.backend.upsert_vectors(name, [point(B, [1, 0]), point(C, bad)])
    with cw.raises(InvalidInputError):
        await cw.backend.search_vectors(name, bad)
    await cw.unchanged(name, {A: {"v": 1}})
