"""Sparse vectors as an adapter gets them: a batch's in compressed rows, a query's as one row.

Weights are float32, finite and positive; an index stands once and in ascending order. An empty row is a point without
sparse vector: it is in no sparse leg.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from codeweaver_backends.errors import InvalidVectorError
from codeweaver_backends.sdk.hybrid.terms import INDEX_LIMIT, term_index

__all__ = ["EMPTY_ROW", "LARGEST_WEIGHT", "SMALLEST_WEIGHT", "SparseRow", "SparseRows", "sparse_row"]

SMALLEST_WEIGHT: Final = 1e-15
"""A weight below is zero, which is no entry: so that the product of two is never lost to a float32."""

LARGEST_WEIGHT: Final = 1e15
"""A weight above is refused: so that the product of two is always a float32."""


class SparseRow(NamedTuple):
    """One sparse vector."""

    indices: npt.NDArray[np.uint32]
    """Ascending, each once, below ``INDEX_LIMIT``; shape ``(entries,)``."""
    weights: npt.NDArray[np.float32]
    """Finite and positive; shape ``(entries,)``."""

    def __bool__(self) -> bool:
        return len(self.indices) > 0

    def copy(self) -> SparseRow:
        """The same, in memory of its own: a row of a batch is a view, and holds the batch."""
        return SparseRow(self.indices.copy(), self.weights.copy())

    def as_dict(self) -> dict[int, float]:
        """Index → weight."""
        return dict(zip(self.indices.tolist(), self.weights.tolist(), strict=True))


EMPTY_ROW: Final = SparseRow(np.empty(0, np.uint32), np.empty(0, np.float32))
_LOW_BITS: Final = 0xFFFF


@dataclass(frozen=True, slots=True, eq=False)
class SparseRows:
    """The sparse vectors of a batch as compressed sparse rows (CSR)."""

    offsets: npt.NDArray[np.int64]
    """Row ``i`` has the entries ``offsets[i]`` to ``offsets[i + 1]``; shape ``(rows + 1,)``."""
    indices: npt.NDArray[np.uint32]
    weights: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> SparseRow:
        start, end = self.offsets[row], self.offsets[row + 1]
        return SparseRow(self.indices[start:end], self.weights[start:end])

    def __iter__(self) -> Iterator[SparseRow]:
        for start, end in pairwise(self.offsets.tolist()):
            yield SparseRow(self.indices[start:end], self.weights[start:end])

    def take(self, rows: Sequence[int]) -> SparseRows:
        """These rows, in this order."""
        return SparseRows.of(self[row] for row in rows)

    def part(self, start: int, end: int) -> SparseRows:
        """The rows from ``start`` to ``end``, without a copy of their entries."""
        bounds = self.offsets[start : end + 1]
        entries = slice(bounds[0], bounds[-1])
        return SparseRows(bounds - bounds[0], self.indices[entries], self.weights[entries])

    def scores(self, query: SparseRow) -> npt.NDArray[np.float64]:
        """The dot product of each row with ``query``, in float64; 0 where no term is shared; shape ``(rows,)``."""
        # Most entries are of no term of the query: a table of the low bits of its indices drops nearly all of them.
        table = np.zeros(_LOW_BITS + 1, np.bool_)
        table[query.indices & _LOW_BITS] = True
        low_bits = self.indices.astype(np.intp) & _LOW_BITS  # looking up takes twice as long by another type
        entries = np.flatnonzero(table[low_bits])
        places = np.searchsorted(query.indices, self.indices[entries])
        shared = query.indices.take(places, mode="clip") == self.indices[entries]
        entries, places = entries[shared], places[shared]
        rows = np.searchsorted(self.offsets, entries, side="right") - 1
        products = self.weights[entries].astype(np.float64) * query.weights[places]
        return np.bincount(rows, products, minlength=len(self)).astype(np.float64)  # of no entry they would be integers

    @classmethod
    def of(cls, rows: Iterable[SparseRow]) -> SparseRows:
        """Rows one below the other."""
        rows = list(rows)
        offsets = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([len(row.indices) for row in rows], out=offsets[1:])
        return cls(
            offsets,
            np.concatenate([row.indices for row in rows] or [EMPTY_ROW.indices]),
            np.concatenate([row.weights for row in rows] or [EMPTY_ROW.weights]),
        )


def sparse_row(vector: object, name: str = "sparse_query") -> SparseRow:
    """A caller's sparse vector: a mapping of terms (or of indices below 10^9) to weights. ``None`` is empty.

    The weights of terms that have one index are added. A weight that is zero, or below ``SMALLEST_WEIGHT``, is no
    entry. Raises ``InvalidVectorError``, naming ``name``, for what is no mapping, for a key that is neither a string
    nor such an integer, and for a weight that is negative, not finite, above ``LARGEST_WEIGHT`` or no number.
    """
    if vector is None:
        return EMPTY_ROW
    if not isinstance(vector, Mapping):
        raise InvalidVectorError(f"{name} must be a dict of terms to weights, not a {type(vector).__name__}")
    plain = _plain_row(vector)
    if plain is not None:
        return plain
    sums: dict[int, float] = {}
    for term, weight in vector.items():
        index = _index(term, name)
        sums[index] = sums.get(index, 0.0) + _weight(weight, name)
    kept = sorted((index, weight) for index, weight in sums.items() if weight >= SMALLEST_WEIGHT)
    if any(weight > LARGEST_WEIGHT for _, weight in kept):
        raise InvalidVectorError(f"{name} must have weights of at most {LARGEST_WEIGHT:g}")
    return SparseRow(
        np.array([index for index, _ in kept], np.uint32), np.array([weight for _, weight in kept], np.float32)
    )


def _plain_row(vector: Mapping[Any, Any]) -> SparseRow | None:
    """The row of indices and floats that are as they must be, in a third of the time; ``None`` for any other vector."""
    if not vector or set(map(type, vector)) != {int} or set(map(type, vector.values())) != {float}:
        return None
    try:
        indices = np.fromiter(vector, np.int64, len(vector))
    except OverflowError:
        return None
    weights = np.fromiter(vector.values(), np.float64, len(vector))
    # So written, NaN is none of them.
    if not (
        indices.min() >= 0 and indices.max() < INDEX_LIMIT and weights.min() >= 0 and weights.max() <= LARGEST_WEIGHT
    ):
        return None
    order = np.argsort(indices)
    kept = order[weights[order] >= SMALLEST_WEIGHT]
    return SparseRow(indices[kept].astype(np.uint32), weights[kept].astype(np.float32))


def _index(term: Any, name: str) -> int:
    kind = type(term)
    if kind is str:
        try:
            return term_index(term)
        except UnicodeEncodeError:
            raise InvalidVectorError(f"{name} has a term that holds a lone surrogate") from None
    if kind is not int:
        raise InvalidVectorError(f"{name} must have strings or integers as terms, not a {kind.__name__}")
    if not 0 <= term < INDEX_LIMIT:
        raise InvalidVectorError(f"{name} must have indices of 0 to {INDEX_LIMIT - 1}")
    return int(term)


def _weight(weight: Any, name: str) -> float:
    if isinstance(weight, bool) or not isinstance(weight, int | float | np.floating | np.integer):
        raise InvalidVectorError(f"{name} must have numbers as weights, not a {type(weight).__name__}")
    try:
        value = float(weight)
    except OverflowError:
        value = float("inf")
    if not 0.0 <= value < float("inf"):  # so written, NaN is refused too
        raise InvalidVectorError(f"{name} must have weights that are finite and not negative")
    return value
