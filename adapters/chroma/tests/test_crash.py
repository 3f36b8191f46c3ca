"""A process that is killed, the server or the one with the embedded database: what was acknowledged is there."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from codeweaver_backends.errors import BackendConnectionError, BackendError
from codeweaver_backends.types import FilterCondition, SearchFilter, VectorPoint
from codeweaver_chroma import ChromaBackend, ChromaConfig
from codeweaver_chroma.testing import RunningServer

NAME, BATCH = "kept", 150
EVEN = SearchFilter(must=[FilterCondition("n", "ge", 0), FilterCondition("even", "eq", True)])

# Each batch replaces half of the one before it, and is told of once it is acknowledged.
WRITER = f"""
import asyncio, sys
from codeweaver_backends.types import VectorPoint
from codeweaver_chroma import ChromaBackend, ChromaConfig

async def main():
    backend = ChromaBackend(ChromaConfig(path=sys.argv[1]))
    await backend.create_collection({NAME!r}, 2)
    step = 0
    while True:
        ids = range(step * {BATCH} // 2, step * {BATCH} // 2 + {BATCH})
        await backend.upsert_vectors(
            {NAME!r}, [VectorPoint(n, [1.0, n], {{"n": n, "step": step, "even": n % 2 == 0}}) for n in ids]
        )
        print(step, flush=True)
        step += 1

asyncio.run(main())
"""


def points(step: int) -> list[VectorPoint]:
    first = step * BATCH // 2
    return [VectorPoint(n, [1.0, n], {"n": n, "step": step, "even": n % 2 == 0}) for n in range(first, first + BATCH)]


async def judge(backend: ChromaBackend, acknowledged: int) -> None:
    """Every acknowledged point is there once, as written, for every way of reading.

    Of the batch after the last acknowledged one any part may be written, and a point that it was about to replace may
    be gone: that is what its error says, and writing it again heals.
    """
    last = acknowledged * BATCH // 2 + BATCH // 2
    page = await backend.scroll_vectors(NAME, limit=10_000)
    steps = {point.id: (point.payload or {})["step"] for point in page.points}
    assert page.cursor is None
    for n in range(last):
        assert steps[n] == min(n * 2 // BATCH, acknowledged), n
    assert all(n < last + BATCH for n in steps)
    await backend.upsert_vectors(NAME, points(acknowledged + 1))
    every = set(range(last + BATCH))
    assert {point.id for point in (await backend.scroll_vectors(NAME, limit=10_000)).points} == every
    assert (await backend.get_collection_info(NAME)).vector_count == len(every)
    assert {hit.id for hit in await backend.search_vectors(NAME, [1.0, 0.0], 10_000)} == every
    even = {n for n in every if n % 2 == 0}
    assert {hit.id for hit in await backend.search_vectors(NAME, [1.0, 0.0], 10_000, EVEN)} == even
    assert await backend.count_vectors(NAME, EVEN) == len(even)


@pytest.fixture
def server() -> Iterator[RunningServer]:
    with tempfile.TemporaryDirectory(prefix="codeweaver-chroma-", ignore_cleanup_errors=True) as folder:
        one = RunningServer(Path(folder))
        try:
            one.start()
            yield one
        finally:
            one.kill()


def test_a_killed_server_keeps_what_was_acknowledged(server: RunningServer) -> None:
    async def run() -> None:
        async with ChromaBackend(ChromaConfig(**server.settings)) as backend:
            await backend.create_collection(NAME, 2)
            acknowledged = -1
            grown = asyncio.Event()

            async def write() -> None:
                nonlocal acknowledged
                while True:
                    await backend.upsert_vectors(NAME, points(acknowledged + 1))
                    acknowledged += 1
                    if acknowledged == 12:  # beyond the number of points at which Chroma writes its graph
                        grown.set()

            writer = asyncio.create_task(write())
            await asyncio.wait((writer, asyncio.create_task(grown.wait())), return_when=asyncio.FIRST_COMPLETED)
            server.kill()
            with pytest.raises(BackendConnectionError) as raised:
                await writer
            assert raised.value.state_unknown
            assert set(raised.value.ids) <= {point.id for point in points(acknowledged + 1)}
            with pytest.raises(BackendError):
                await backend.list_collections()
            assert not await backend.health_check()
            await asyncio.to_thread(server.start)
            await judge(backend, acknowledged)

    asyncio.run(run())


@pytest.mark.parametrize("batches", [1, 13])
def test_a_killed_process_keeps_what_was_acknowledged(tmp_path: Path, batches: int) -> None:
    acknowledged = -1
    with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            acknowledged = int(line)
            if acknowledged == batches:
                os.kill(process.pid, signal.SIGKILL)
    assert acknowledged >= batches

    async def run() -> None:
        async with ChromaBackend(ChromaConfig(path=tmp_path)) as backend:
            await judge(backend, acknowledged)

    asyncio.run(run())


def test_another_process_is_refused(tmp_path: Path) -> None:
    command: list[Any] = [sys.executable, "-c", WRITER, str(tmp_path)]

    async def run() -> subprocess.CompletedProcess[str]:
        async with ChromaBackend(ChromaConfig(path=tmp_path)) as backend:
            await backend.list_collections()
            return await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)

    ended = asyncio.run(run())
    assert ended.returncode == 1
    assert "BackendConnectionError" in ended.stderr
    assert "open in another process" in ended.stderr
