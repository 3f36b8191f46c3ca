"""The session of faults: it finds nothing on engines that keep their word, and says so where a word is broken."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from codeweaver_backends import MemoryBackend, MemoryConfig, VectorPoint
from codeweaver_backends.testing import find_targets
from codeweaver_tools.faults import hostile, kills, sparse
from codeweaver_tools.faults.history import IDS, NAME, Ledger, begin, is_loss, take

STEPS = 24


def test_a_killed_process_loses_nothing() -> None:
    told = kills.run(find_targets()["qdrant-edge"], kills=1)
    assert told["acknowledged"] >= 4
    assert told["mistakes"] == []


def test_a_killed_call_of_hybrid_search_is_healed_by_its_repetition() -> None:
    told = kills.run(find_targets()["qdrant-edge"], kills=2, kind="sparse")
    assert sum(told["within"].values()) == 2
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
    assert any(map(is_loss, told)), "made good by no repetition of a call"


async def forget_in_an_index(backend: Any, ledger: Ledger) -> None:
    honest = backend.count_vectors

    async def count_vectors(name: str, condition: Any = None) -> int:
        counted: int = await honest(name, condition)
        return counted - (name == NAME and condition is not None)

    backend.count_vectors = count_vectors


def test_what_an_index_lacks_is_no_loss() -> None:
    told = asyncio.run(told_of(forget_in_an_index))
    assert told
    assert not any(map(is_loss, told)), told


async def told_of_sparse(harm: Any) -> list[str]:
    async with MemoryBackend(MemoryConfig()) as backend:
        ledger = sparse.SparseLedger()
        await sparse.begin(backend)
        for _ in range(3):
            assert await ledger.mistakes(backend) == []
        await harm(backend)
        return await ledger.mistakes(backend)


async def replace_another(backend: Any) -> None:
    await backend.update_sparse_vectors(sparse.NAME, [VectorPoint(7, [0, 0, 0], sparse_vector={7: 99.0})])


async def keep_the_old_index(backend: Any) -> None:
    async def nothing(*_: Any) -> None:
        pass

    backend.create_sparse_index = nothing


async def lose_a_point(backend: Any) -> None:
    await backend.delete_vectors(sparse.NAME, [7])


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (replace_another, "cut short: point 7 is not"),
        (keep_the_old_index, "taken again: 'gamma_11 omega3' at alpha 0.0"),
        (lose_a_point, "taken again: point 7 is not"),
    ],
)
def test_what_is_wrong_with_sparse_vectors_is_told(harm: Any, words: str) -> None:
    told = asyncio.run(told_of_sparse(harm))
    assert any(words in one for one in told), told
