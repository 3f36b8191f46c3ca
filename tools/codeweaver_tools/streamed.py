"""What a stream of points costs: time per point as the collection grows, and memory while it runs."""

from __future__ import annotations

import resource
import sys
import time
import tracemalloc
from collections.abc import AsyncIterator, Iterable, Iterator
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, Final

from codeweaver_backends.types import VectorPoint

__all__ = ["BATCH", "stream"]

BATCH: Final = 5_000
"""Points that are written at once."""
PARTS: Final = 10
"""The stream is looked at so many times."""
_MEGABYTE: Final = 1e6


async def stream(backend: Any, name: str, points: Iterable[VectorPoint], count: int) -> dict[str, Any]:
    """Stream ``count`` points into a collection, and tell what each tenth of them took.

    ``wall_us`` and ``cpu_us`` are microseconds a point, by the clock and of this process. Between the first tenth and
    the last, which are not slowed down by it, every allocation of Python's and numpy's is traced: ``held_mb`` is the
    most that was held at once in each of these eight tenths, of what was allocated since the first. ``arrow_mb`` is the
    most that Arrow had for Python when a batch was written, and ``process_mb`` the most that the process had grown by
    in each tenth, the engine's share included where the engine runs in it.
    """
    marks = [(time.perf_counter(), time.process_time())]
    held: list[float] = []
    process: list[float] = []
    before = most = _resident()
    most_arrow = 0

    def progress(written: int) -> None:
        nonlocal most, most_arrow
        most, most_arrow = max(most, _resident()), max(most_arrow, _arrow())
        if written * PARTS < count * len(marks):
            return
        marks.append((time.perf_counter(), time.process_time()))
        process.append(_megabytes(most - before))
        most = 0
        if len(marks) == 2:
            tracemalloc.start()
        elif len(marks) <= PARTS:
            held.append(_megabytes(tracemalloc.get_traced_memory()[1]))
            tracemalloc.reset_peak()
            if len(marks) == PARTS:
                tracemalloc.stop()

    try:
        await backend.stream_upsert_vectors(name, _lists(iter(points)), BATCH, progress=progress)
    finally:
        tracemalloc.stop()
    taken = [
        tuple(1e6 * PARTS * (after - begun) / count for begun, after in zip(*pair, strict=True))
        for pair in pairwise(marks)
    ]
    return {
        "batch": BATCH,
        "wall_us": [round(wall, 2) for wall, _ in taken],
        "cpu_us": [round(cpu, 2) for _, cpu in taken],
        "held_mb": held,
        "arrow_mb": _megabytes(most_arrow),
        "process_mb": process,
    }


async def _lists(points: Iterator[VectorPoint]) -> AsyncIterator[list[VectorPoint]]:
    while some := list(islice(points, BATCH)):
        yield some


def _resident() -> int:
    """Bytes of memory that the process has now. Linux tells it."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


def _arrow() -> int:
    """Bytes that pyarrow has, where it is loaded at all."""
    pyarrow: Any = sys.modules.get("pyarrow")
    return pyarrow.total_allocated_bytes() if pyarrow is not None else 0


def _megabytes(count: float) -> float:
    return round(count / _MEGABYTE, 1)
