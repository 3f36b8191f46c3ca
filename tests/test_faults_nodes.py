"""The fault of nodes: its writers note what is acknowledged, and what a node has not kept of it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from codeweaver_backends import MemoryBackend, MemoryConfig, VectorPoint
from codeweaver_backends.errors import BackendConnectionError
from codeweaver_backends.testing import NotProvisioned, find_targets
from codeweaver_tools.faults.nodes import NAME, Writer, look, run

Harm = Callable[[MemoryBackend, Writer], Awaitable[None]]


async def _written(backend: Any, writer: Writer, steps: int) -> None:
    enough = asyncio.Event()
    writing = asyncio.create_task(writer.write(enough))
    while writer.acknowledged < steps:  # noqa: ASYNC110 - the writer tells nobody
        await asyncio.sleep(0)
    enough.set()
    await writing


async def _told_of(harm: Harm) -> list[str]:
    async with MemoryBackend(MemoryConfig()) as backend:
        await backend.create_collection(NAME, 4, "euclidean")
        writers = [Writer(backend, number) for number in range(2)]
        for writer in writers:
            await _written(backend, writer, 9)
        assert await look(backend, writers) == []
        await harm(backend, writers[0])
        return await look(backend, writers)


def _there(writer: Writer) -> int:
    return next(n for n, steps in writer.allowed.items() if None not in steps)


async def lose(backend: MemoryBackend, writer: Writer) -> None:
    await backend.delete_vectors(NAME, [_there(writer)])


async def bring_back(backend: MemoryBackend, writer: Writer) -> None:
    gone = next(n for n, steps in writer.allowed.items() if steps == {None})
    await backend.upsert_vectors(NAME, [VectorPoint(gone, [1, 1, 1, 1], {"step": 1})])


async def mix(backend: MemoryBackend, writer: Writer) -> None:
    n = _there(writer)
    [step] = writer.allowed[n]
    await backend.upsert_vectors(NAME, [VectorPoint(n, [1, 1, 1, 1], {"step": step, "n": n})])


@pytest.mark.parametrize(
    ("harm", "words"),
    [(lose, "is of step None"), (bring_back, "not of ['None']"), (mix, "is not as step")],
)
def test_what_a_node_has_not_kept_is_told(harm: Harm, words: str) -> None:
    told = asyncio.run(_told_of(harm))
    assert any(words in one for one in told), told


class Failing(MemoryBackend):
    """Does every third write, and says that it did not."""

    calls = 0

    async def upsert_vectors(self, collection_name: str, vectors: Any) -> None:
        await super().upsert_vectors(collection_name, vectors)
        type(self).calls += 1
        if self.calls % 3 == 0:
            raise BackendConnectionError("the node is gone", state_unknown=True)


def test_a_call_that_failed_may_have_been_done_until_it_is_done_again() -> None:
    async def go() -> None:
        async with Failing(MemoryConfig()) as backend:
            await backend.create_collection(NAME, 4, "euclidean")
            writer = Writer(backend, 0)
            await _written(backend, writer, 12)
            assert sum(writer.refused.values()) >= 3
            assert any(len(steps) > 1 for steps in writer.allowed.values())
            assert await look(backend, [writer]) == []
            Failing.calls = 0
            assert await writer.heal(0) == []
            assert all(len(steps) == 1 for steps in writer.allowed.values())
            assert await look(backend, [writer]) == []

    asyncio.run(go())


def test_a_target_without_nodes_is_told() -> None:
    with pytest.raises(NotProvisioned, match="no cluster"):
        run(find_targets()["memory"], 1)
