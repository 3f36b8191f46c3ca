"""The ids that a table may hold, in eight bytes each: whether points are new is known without asking for each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from codeweaver_backends.types import PointId

__all__ = ["KnownIds"]


class KnownIds:
    """Ids by their hashes. An id that was added is never taken for a new one; a new one rarely for one that was."""

    def __init__(self) -> None:
        self._runs: list[npt.NDArray[np.int64]] = []
        """Each sorted, and at least twice as long as the next."""

    def __len__(self) -> int:
        return sum(map(len, self._runs))

    def add(self, ids: Sequence[PointId]) -> bool:
        """Add different ids, and tell whether none of them was there."""
        if not ids:
            return True
        hashes = np.sort(np.fromiter(map(hash, ids), np.int64, len(ids)))
        is_new = not any(_holds_any(run, hashes) for run in self._runs)
        self._runs.append(hashes)
        while len(self._runs) > 1 and len(self._runs[-2]) < 2 * len(self._runs[-1]):
            two = [self._runs.pop(), self._runs.pop()]
            self._runs.append(np.sort(np.concatenate(two), kind="stable"))
        return is_new


def _holds_any(run: npt.NDArray[np.int64], hashes: npt.NDArray[np.int64]) -> bool:
    places = np.minimum(np.searchsorted(run, hashes), len(run) - 1)
    return bool((run[places] == hashes).any())
