"""Vectors come back as they were given, and what an engine computes with is neither too long nor too short."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from codeweaver_backends.errors import InvalidVectorError
from codeweaver_backends.sdk.vectors import (
    check_lengths,
    power_scaled,
    restored,
    scaled_vectors,
    unit_vector,
    unit_vectors,
)
from codeweaver_backends.types import FloatMatrix

FLOATS = st.one_of(
    st.floats(-10, 10, width=32),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.sampled_from([1e-45, -1e-45, 1e-38, 3.4e38, -3.4e38, 1e20, 1e-20, 0.0]),
)
MATRICES = st.lists(st.lists(FLOATS, min_size=5, max_size=5).filter(any), min_size=1, max_size=5).map(
    lambda rows: np.array(rows, np.float32)
)
EXTREMES = np.array([[2.0**100, 2.0**-60, 1, 0, 3], [1e-45, 0, 0, 0, 0], [3e38] * 5, [1, 2, 3, 4, 5]], np.float32)


def cosines(matrix: FloatMatrix) -> npt.NDArray[np.float64]:
    exact = matrix.astype(np.float64)
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    product: npt.NDArray[np.float64] = exact @ exact.T
    return product


@given(MATRICES)
@example(EXTREMES)
def test_unit_vectors(matrix: FloatMatrix) -> None:
    given_ = matrix.copy()
    unit, kept = unit_vectors(matrix)
    assert unit.dtype == np.float32
    assert np.linalg.norm(unit.astype(np.float64), axis=1) == pytest.approx(1.0, abs=1e-6)
    assert unit.astype(np.float64) @ unit.astype(np.float64).T == pytest.approx(cosines(matrix), abs=1e-6)
    assert np.array_equal(matrix, given_), "the rows that were given stay as they are"
    for stored, text, row in zip(unit, kept, matrix, strict=True):
        for form in (stored, stored.tolist()):
            assert np.allclose(np.array(restored(form, text)), row, rtol=1e-6, atol=0)
        assert np.array_equal(unit_vector(row)[np.newaxis], unit_vectors(row[np.newaxis])[0]) or "" in kept


@given(MATRICES)
@example(EXTREMES)
def test_scaled_vectors(matrix: FloatMatrix) -> None:
    given_ = matrix.copy()
    scaled, kept = scaled_vectors(matrix)
    assert scaled.dtype == np.float32
    peaks = np.abs(scaled).max(axis=1)
    assert ((peaks >= 2.0**-41) & (peaks <= 2.0**40)).all()
    assert cosines(scaled) == pytest.approx(cosines(matrix), abs=1e-6)
    assert np.array_equal(matrix, given_)
    for stored, text, row in zip(scaled, kept, matrix, strict=True):
        for form in (stored, stored.tolist()):
            assert restored(form, text) == row.tolist(), "exactly"


def test_what_is_kept_is_no_more_than_is_needed() -> None:
    kept = scaled_vectors(EXTREMES)[1]
    assert kept[0].startswith("="), "the smallest elements vanish beside 2^100"
    assert (kept[1], kept[2], kept[3]) == ("^-148", "^128", "")
    assert unit_vectors(np.array([[0.6, 0.8], [3, 4]], np.float32))[1] == ["", "*5.0"]
    assert all("{" not in text for text in [*kept, *unit_vectors(EXTREMES)[1]]), "it may stand before a JSON object"


def test_ordinary_vectors_are_not_copied() -> None:
    matrix = np.array([[1, 2], [0, 0]], np.float32)
    scaled, exponents = power_scaled(matrix)
    assert scaled is matrix
    assert exponents.tolist() == [0, 0]


def test_a_query_is_scaled_alone() -> None:
    vector = np.array([2.0**90, -(2.0**89)], np.float32)
    scaled, exponent = power_scaled(vector)
    assert scaled.tolist() == [0.5, -0.25]
    assert np.ldexp(scaled, exponent).tolist() == vector.tolist()


def test_lengths_are_checked() -> None:
    check_lengths(np.full((3, 4), 4.9e17, np.float32), 1e18)
    check_lengths(np.zeros((0, 4), np.float32), 1e18)
    long = np.array([[1, 1], [8e17, 8e17]], np.float32)
    with pytest.raises(InvalidVectorError, match="point 'b' must not be longer than 1e"):
        check_lengths(long, 1e18, ["a", "b"])
    with pytest.raises(InvalidVectorError, match="query_vector"):
        check_lengths(long[1:], 1e18)
