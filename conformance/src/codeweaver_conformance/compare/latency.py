"""How long searches take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Latency"]


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds per search."""

    p50: float
    p95: float
    searches: int

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Latency:
        """The percentiles of a sample."""
        p50, p95 = np.percentile(seconds, [50, 95]).tolist()
        return cls(p50, p95, len(seconds))
