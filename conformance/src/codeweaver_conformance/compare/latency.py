"""How long searches take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

__all__ = ["Latency"]

_QUANTILES: Final = (5, 25, 50, 75, 95, 99)


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds per search."""

    p50: float
    p95: float
    p99: float
    searches: int
    quantiles: tuple[float, ...]
    """5, 25, 50, 75, 95 and 99 per cent of the searches took no longer."""

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Latency:
        """The percentiles of a sample."""
        found = tuple(np.percentile(seconds, _QUANTILES).tolist())
        return cls(found[2], found[4], found[5], len(seconds), found)

    def as_json(self) -> dict[str, float]:
        """What reports have."""
        return {"p50": self.p50, "p95": self.p95, "p99": self.p99, "searches": self.searches}
