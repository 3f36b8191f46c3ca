"""Vectors that an engine's float32 arithmetic would spoil: the form that is stored, and the way back.

Engines add up squares in float32: a cosine of vectors near the ends of its range comes out as nothing or as infinity,
and some engines give a vector back normalised. A cosine does not depend on lengths. So a vector is stored by its
direction (``unit_vectors``) or brought near 1 by a power of two (``scaled_vectors``), and beside it is kept, as a short
text, what ``restored`` needs to give it back:

==============  ========================================================================
``""``          the stored vector is the given one
``*2.5``        its elements are to be multiplied by 2.5
``^-70``        its elements are to be multiplied by 2 to the power of −70
``=`` + base64  the given vector itself, which the stored one could not give back
==============  ========================================================================
"""

from __future__ import annotations

import math
from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from codeweaver_backends.errors import InvalidVectorError
from codeweaver_backends.types import FloatMatrix, PointId

__all__ = ["check_lengths", "power_scaled", "restored", "scaled_vectors", "unit_vector", "unit_vectors"]

_ORDINARY: Final = 40
"""Powers of two within which the square of a length is an ordinary float32, whatever the dimension."""
_SMALLEST_NORMAL: Final = float(np.finfo(np.float32).smallest_normal)
_TOLERANCE: Final = 5e-7
"""Of an element, by which it may come back changed: four roundings to float32."""


def unit_vectors(matrix: FloatMatrix) -> tuple[FloatMatrix, list[str]]:
    """Rows of length 1, and what ``restored`` needs of each. No row may be zero.

    The dot product of such rows is their cosine, and more exact than an engine's own.
    """
    wide = matrix.astype(np.float64)
    lengths = np.sqrt(np.einsum("ij,ij->i", wide, wide))
    lengths[np.abs(lengths - 1.0) < 1e-7] = 1.0
    unit = (wide / lengths[:, np.newaxis]).astype(np.float32)
    kept = ["" if length == 1.0 else f"*{length!r}" for length in lengths.tolist()]
    with np.errstate(over="ignore"):
        error = np.abs((unit * lengths[:, np.newaxis]).astype(np.float32) - wide)
    # Beside numbers many orders of magnitude greater, small ones become subnormal: they have fewer digits, and lose
    # more of them in JSON.
    lost = (error > _TOLERANCE * np.abs(wide)) | ((np.abs(unit) < _SMALLEST_NORMAL) & (matrix != 0))
    for row in np.flatnonzero(lost.any(axis=1)).tolist():
        kept[row] = _packed(matrix[row])
    return unit, kept


def unit_vector(vector: FloatMatrix) -> FloatMatrix:
    """A query of length 1."""
    wide = vector.astype(np.float64)
    unit: FloatMatrix = (wide / math.sqrt(wide @ wide)).astype(np.float32)
    return unit


def power_scaled(matrix: FloatMatrix) -> tuple[FloatMatrix, npt.NDArray[np.int32]]:
    """The rows, those far from 1 brought to it by a power of two, and the exponents that were taken out.

    Rows whose greatest element lies within 2^±40 stay as they are, with the exponent 0: where all do, the matrix itself
    is given. ``np.ldexp(row, exponent)`` is the row as it was, but for elements that became too small. For a single
    vector the exponent has no dimension.
    """
    exponents: npt.NDArray[np.int32] = np.frexp(np.abs(matrix).max(axis=-1, initial=0.0))[1]
    exponents = np.where(np.abs(exponents) > _ORDINARY, exponents, 0)
    return np.ldexp(matrix, -exponents[..., np.newaxis]) if exponents.any() else matrix, exponents


def scaled_vectors(matrix: FloatMatrix) -> tuple[FloatMatrix, list[str]]:
    """The rows as ``power_scaled`` gives them, and what ``restored`` needs of each."""
    scaled, exponents = power_scaled(matrix)
    kept = [""] * len(matrix)
    for row in np.flatnonzero(exponents).tolist():
        exact = np.array_equal(np.ldexp(scaled[row], exponents[row]), matrix[row])
        kept[row] = f"^{exponents[row]}" if exact else _packed(matrix[row])
    return scaled, kept


def _packed(vector: FloatMatrix) -> str:
    return "=" + b64encode(vector.astype("<f4").tobytes()).decode()


def restored(vector: Any, kept: str) -> list[float]:
    """The vector as it was given, of what is stored (a sequence of numbers or an array) and what is kept beside it.

    Rounded to float32: an engine that writes JSON tells as few digits as make the same one, which are another double.
    """
    how, rest = kept[:1], kept[1:]
    if not how:
        given = np.asarray(vector, dtype=np.float32)
    elif how == "=":
        given = np.frombuffer(b64decode(rest), dtype="<f4")
    elif how == "^":
        given = np.ldexp(np.asarray(vector, dtype=np.float32), int(rest))
    else:
        given = (np.asarray(vector, dtype=np.float64) * float(rest)).astype(np.float32)
    as_list: list[float] = given.tolist()
    return as_list


def check_lengths(matrix: FloatMatrix, longest: float, ids: Sequence[PointId] = ()) -> None:
    """Refuse rows longer than ``longest``, whose float32 sums would overflow, with ``InvalidVectorError``.

    The error names the point of ``ids``, or ``query_vector`` where there are none.
    """
    if not matrix.size or max(float(matrix.max()), -float(matrix.min())) * math.sqrt(matrix.shape[1]) <= longest:
        return
    lengths = np.linalg.norm(matrix.astype(np.float64), axis=1)
    row = int(np.argmax(lengths))
    if lengths[row] > longest:
        which = f"the vector of point {ids[row]!r}" if ids else "query_vector"
        raise InvalidVectorError(f"{which} must not be longer than {longest:g} under this metric")
