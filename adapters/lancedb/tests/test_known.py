"""The ids that a table may hold."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from codeweaver_lancedb.known import KnownIds


def test_what_was_added_is_never_new() -> None:
    known, rng = KnownIds(), np.random.default_rng(4)
    seen: set[int | str] = set()
    for _ in range(300):
        numbers = {int(n) for n in rng.integers(0, 3_000, rng.integers(1, 12))}
        ids: list[int | str] = [n if n % 2 else f"{n}" for n in numbers]
        assert known.add(ids) == seen.isdisjoint(ids)
        seen.update(ids)


@pytest.mark.parametrize("ids", [[1], ["1"], ["a", "b"], [2**63 - 1]])
def test_types_count_and_nothing_is_nothing(ids: list[int | str]) -> None:
    known = KnownIds()
    assert known.add([2, "2"])
    assert known.add([])
    assert known.add(ids)
    assert not known.add(ids)


def test_an_id_takes_eight_bytes() -> None:
    known = KnownIds()
    tracemalloc.start()
    try:
        for start in range(0, 400_000, 1_000):
            assert known.add([f"point-{n}" for n in range(start, start + 1_000)])
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(known) == 400_000
    assert held < 10 * 400_000
