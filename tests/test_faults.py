"""The session of faults: it finds nothing on engines that keep their word, and says so where a word is broken."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from codeweaver_backends import MemoryBackend, MemoryConfig, VectorPoint
from codeweaver_backends.testing import find_targets
from codeweaver_tools.faults import hostile, kills
from codeweaver_tools.faults.history import IDS, NAME, Ledger, begin, take

STEPS = 24


def test_a_killed_process_loses_nothing() -> None:
    told = kills.run(find_targets()["qdrant-edge"], kills=1)
    assert told["acknowledged"] >= 4
    assert told["mistakes"] == []


def test_hostile_strings_are_strings() -> None:
    values = 300
    assert asyncio.run(hostile.run("memory", {}, values)) == {"values": values, "wrong": 0, "mistakes": []}


async def told_of(harm: Any) -> list[str]:
    async with MemoryBackend(MemoryConfig()) as backend:
        ledger = Ledger()
        await begin(backend)
        for step in range(STEPS):
            await take(backend, step)
            ledger.acknowledged(step)
        assert 0 < len(ledger.steps) < IDS
        await harm(backend, ledger)
        return await ledger.mistakes(backend)


async def nothing(backend: Any, ledger: Ledger) -> None:
    pass


def test_a_history_is_as_the_ledger_has_it() -> None:
    assert asyncio.run(told_of(nothing)) == []


async def lose(backend: Any, ledger: Ledger) -> None:
    await backend.delete_vectors(NAME, [next(iter(ledger.steps))])


async def bring_back(backend: Any, ledger: Ledger) -> None:
    [gone] = list({n for n in range(IDS) if n not in ledger.steps})[:1]
    await backend.upsert_vectors(NAME, [VectorPoint(gone, [1, 1, 1, 1], {"step": 0})])


async def mix(backend: Any, ledger: Ledger) -> None:
    n, step = next(iter(ledger.steps.items()))
    await backend.upsert_vectors(NAME, [VectorPoint(n, [1, 1, 1, 1], {"step": step, "n": n})])


async def keep(backend: Any, ledger: Ledger) -> None:
    await backend.create_collection(f"{NAME}-0", 4)


@pytest.mark.parametrize(
    ("harm", "words"),
    [(lose, "is of step None"), (bring_back, "not of ['None']"), (mix, "is not as step"), (keep, "collections:")],
)
def test_what_is_wrong_is_told(harm: Any, words: str) -> None:
    told = asyncio.run(told_of(harm))
    assert any(words in one for one in told), told
