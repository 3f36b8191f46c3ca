"""Processes that are killed, the server's or the one with the embedded database: what was acknowledged is there.

Points are written, replaced and deleted, and collections created and dropped beside them. Every point is then either as
the last acknowledged call left it, or, where a call was cut short, as before or after that call: never missing, never
half replaced. ``CODEWEAVER_KILLS`` says how many kills there are.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from codeweaver_backends.errors import BackendConnectionError, BackendError
from codeweaver_backends.types import DistanceMetric, FilterCondition, SearchFilter, VectorPoint
from codeweaver_chroma import ChromaBackend, ChromaConfig
from codeweaver_chroma.mending import mend
from codeweaver_chroma.testing import chroma_server

NAME, BATCH, IDS = "kept", 150, 1_500
KILLS = int(os.environ.get("CODEWEAVER_KILLS", "3"))


def touched(step: int) -> list[int]:
    """The points of a step: a run that begins anywhere, so that most of them are there already."""
    start = step * 97 % IDS
    return [(start + offset) % IDS for offset in range(BATCH)]


def is_deletion(step: int) -> bool:
    return step % 4 == 3


def point(n: int, step: int) -> VectorPoint:
    """Of every other step the payload has a number that the others lack."""
    extra = {"even": step} if step % 2 == 0 else {"odd": [step, -step]}
    return VectorPoint(n, [float(step), float(n)], {"n": n, "step": step, **extra})


async def take(backend: ChromaBackend, step: int) -> None:
    if is_deletion(step):
        await backend.delete_vectors(NAME, touched(step))
        await backend.create_collection(f"aside-{step}", 2, exist_ok=True)  # a kill may have left it
        await backend.upsert_vectors(f"aside-{step}", [VectorPoint(1, [1, 1])])
        await backend.delete_collection(f"aside-{step}")
    else:
        await backend.upsert_vectors(NAME, [point(n, step) for n in touched(step)])


async def write(backend: ChromaBackend, first: int, tell: Callable[[int], None]) -> None:
    """Take steps for ever, and tell of each that is acknowledged."""
    step = first
    while True:
        await take(backend, step)
        tell(step)
        step += 1


class Ledger:
    """What must be there: the step that wrote each point last."""

    def __init__(self) -> None:
        self.steps: dict[int, int] = {}
        self.next = 0

    def acknowledged(self, step: int) -> None:
        for n in touched(step):
            if is_deletion(step):
                self.steps.pop(n, None)
            else:
                self.steps[n] = step
        self.next = step + 1

    async def judge(self, backend: ChromaBackend) -> None:
        """Look by every way of reading; what the step cut short has left is taken over."""
        page = await backend.scroll_vectors(NAME, limit=10_000, with_vectors=True)
        found = {one.id: one for one in page.points}
        assert len(found) == len(page.points)
        begun = set(touched(self.next))
        after = None if is_deletion(self.next) else self.next
        for n in range(IDS):
            there = found[n].payload["step"] if n in found else None
            may_be = {self.steps.get(n), *({after} if n in begun else ())}
            assert there in may_be, (n, there, may_be)
            if there is not None:
                assert found[n] == point(n, there)
        self.steps = {n: one.payload["step"] for n, one in found.items()}
        every = set(self.steps)
        assert {one.id for one in await backend.get_vectors(NAME, range(IDS))} == every
        assert (await backend.get_collection_info(NAME)).vector_count == len(every)
        assert await backend.count_vectors(NAME) == len(every)
        hits = await backend.search_vectors(NAME, [0.0, 0.0], 10_000, with_vectors=True)
        assert {hit.id for hit in hits} == every
        assert len(hits) == len(every)
        for hit in hits:
            assert hit.vector == [float(self.steps[hit.id]), float(hit.id)]
        for key, rest in (("even", 0), ("odd", 1)):
            some = SearchFilter(must=[FilterCondition(key, "ge", 0)])
            expected = {n for n, step in self.steps.items() if step % 2 == rest}
            assert {hit.id for hit in await backend.search_vectors(NAME, [0.0, 0.0], 10_000, some)} == expected
            assert await backend.count_vectors(NAME, some) == len(expected)
        for step in set(self.steps.values()):
            of_step = FilterCondition("step", "eq", step)
            expected = {n for n, last in self.steps.items() if last == step}
            assert await backend.count_vectors(NAME, of_step) == len(expected)


WRITER = """
import asyncio, sys
sys.path.insert(0, sys.argv[3])
import test_crash
from codeweaver_chroma import ChromaBackend, ChromaConfig

async def main():
    backend = ChromaBackend(ChromaConfig(path=sys.argv[1]))
    await backend.list_collections()
    print("ready", flush=True)
    await test_crash.write(backend, int(sys.argv[2]), lambda step: print(step, flush=True))

asyncio.run(main())
"""


def killed_writer(folder: Path, first: int, steps: int, delay: float) -> list[int]:
    """The steps that a writer acknowledged before it was killed, some time after so many of them."""
    command = [sys.executable, "-c", WRITER, str(folder), str(first), str(Path(__file__).parent)]
    told: list[int] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        told += [int(process.stdout.readline()) for _ in range(steps)]
        try:
            process.wait(delay)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
        told += map(int, process.stdout)
    assert process.returncode == -signal.SIGKILL
    return told


def test_a_killed_process_keeps_what_was_acknowledged(tmp_path: Path) -> None:
    ledger, chance = Ledger(), random.Random(1)

    async def judged() -> None:
        async with ChromaBackend(ChromaConfig(path=tmp_path)) as backend:
            if not ledger.next:
                await backend.create_collection(NAME, 2, DistanceMetric.EUCLIDEAN)
            assert await backend.diagnose() is None
            await ledger.judge(backend)

    asyncio.run(judged())
    for _ in range(KILLS):
        # A graph is written after every thousand points.
        for step in killed_writer(tmp_path, ledger.next, chance.randrange(5, 9), chance.uniform(0, 0.15)):
            ledger.acknowledged(step)
        asyncio.run(judged())


def test_a_killed_server_keeps_what_was_acknowledged() -> None:
    ledger, chance = Ledger(), random.Random(2)

    async def run() -> None:
        server, settings = chroma_server()
        with server:
            async with ChromaBackend(ChromaConfig(**settings)) as backend:
                await backend.create_collection(NAME, 2, DistanceMetric.EUCLIDEAN)
                for _ in range(KILLS):
                    enough = ledger.next + chance.randrange(5, 9)
                    reached = asyncio.Event()

                    def tell(step: int, enough: int = enough, reached: asyncio.Event = reached) -> None:
                        ledger.acknowledged(step)
                        if step >= enough:
                            reached.set()

                    writer = asyncio.create_task(write(backend, ledger.next, tell))
                    waiting = asyncio.create_task(reached.wait())
                    await asyncio.wait((writer, waiting), return_when=asyncio.FIRST_COMPLETED)
                    await asyncio.sleep(chance.uniform(0, 0.15))
                    await asyncio.to_thread(server.kill)
                    with pytest.raises(BackendError) as raised:
                        await writer
                    assert isinstance(raised.value, BackendConnectionError)
                    assert set(raised.value.ids) <= {*touched(ledger.next), 1}
                    assert not await backend.health_check()
                    assert not mend(server.folder / "data")
                    await asyncio.to_thread(server.start)
                    await ledger.judge(backend)

    asyncio.run(run())


# --- a list of ids that was not written to its end -------------------------------------------------------------------


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, Ledger]:
    """A folder whose graph has just been written for the second time, and what must be there."""
    ledger = Ledger()

    async def run() -> None:
        async with ChromaBackend(ChromaConfig(path=tmp_path)) as backend:
            await backend.create_collection(NAME, 2, DistanceMetric.EUCLIDEAN)
            await backend.create_collection("other", 2)
            written: set[int] = set()
            while len(written) < 2:
                await take(backend, ledger.next)
                ledger.acknowledged(ledger.next)
                written.update(one.stat().st_mtime_ns for one in lists(tmp_path))

    asyncio.run(run())
    return tmp_path, ledger


def lists(folder: Path) -> list[Path]:
    return list(folder.glob("*/index_metadata.pickle"))


@pytest.mark.parametrize("left", [0.0, 0.5])
def test_a_cut_list_of_ids_is_made_again(written: tuple[Path, Ledger], left: float) -> None:
    folder, ledger = written
    [ids] = lists(folder)
    whole = ids.read_bytes()
    ids.write_bytes(whole[: int(len(whole) * left)])

    async def run() -> None:
        async with ChromaBackend(ChromaConfig(path=folder)) as backend:
            assert await backend.diagnose() is None
            await ledger.judge(backend)
            await take(backend, ledger.next)
            ledger.acknowledged(ledger.next)
            await ledger.judge(backend)

    asyncio.run(run())


def test_a_graph_that_cannot_be_mended_is_told(written: tuple[Path, Ledger]) -> None:
    folder, _ = written
    [ids] = lists(folder)
    ids.write_bytes(b"")
    data = ids.with_name("data_level0.bin")
    os.truncate(data, data.stat().st_size // 3)

    async def run() -> None:
        async with ChromaBackend(ChromaConfig(path=folder)) as backend:
            assert "write its points again" in str(await backend.diagnose())
            for call in (backend.count_vectors(NAME), backend.search_vectors(NAME, [0.0, 1.0]), take(backend, 0)):
                with pytest.raises(BackendConnectionError, match="write its points again"):
                    await call
            assert await backend.count_vectors("other") == 0
            await backend.delete_collection(NAME)
            assert await backend.diagnose() is None
            await backend.create_collection(NAME, 2, DistanceMetric.EUCLIDEAN)
            await take(backend, 0)
            assert await backend.count_vectors(NAME) == BATCH

    asyncio.run(run())


def test_another_process_is_refused(tmp_path: Path) -> None:
    command: list[Any] = [sys.executable, "-c", WRITER, str(tmp_path), "0", str(Path(__file__).parent)]

    async def run() -> subprocess.CompletedProcess[str]:
        async with ChromaBackend(ChromaConfig(path=tmp_path)) as backend:
            await backend.list_collections()
            return await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)

    ended = asyncio.run(run())
    assert ended.returncode == 1
    assert "BackendConnectionError" in ended.stderr
    assert "open in another process" in ended.stderr
