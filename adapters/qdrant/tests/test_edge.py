"""The folder of Edge: who may open it, and what a process that dies leaves."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from codeweaver_backends.errors import BackendClosedError, BackendConnectionError, CollectionExistsError
from codeweaver_backends.types import DistanceMetric, VectorPoint

edge = pytest.importorskip("codeweaver_qdrant.edge", reason="codeweaver-qdrant[edge] is not installed")

from codeweaver_qdrant import QdrantEdgeBackend, QdrantEdgeConfig  # noqa: E402

WRITER = """
import asyncio, sys
from codeweaver_backends import VectorPoint
from codeweaver_qdrant import QdrantEdgeBackend, QdrantEdgeConfig

async def main():
    backend = QdrantEdgeBackend(QdrantEdgeConfig(path=sys.argv[1]))
    await backend.create_collection("c", 4)
    for start in range(0, 1_000_000, 50):
        ids = range(start, start + 50)
        await backend.upsert_vectors("c", [VectorPoint(n, [1, n, n, n], {"n": n}) for n in ids])
        print(start + 50, flush=True)

asyncio.run(main())
"""


def backend(path: Path) -> QdrantEdgeBackend:
    return QdrantEdgeBackend(QdrantEdgeConfig(path=path))


async def test_backends_of_one_process_share_the_folder(tmp_path: Path) -> None:
    first, second = backend(tmp_path), backend(tmp_path / "." / "")
    await first.create_collection("c", 2)
    with pytest.raises(CollectionExistsError):
        await second.create_collection("c", 3)
    await second.upsert_vectors("c", [VectorPoint(1, [1, 0])])
    await first.delete_collection("c")
    await first.create_collection("c", 3, DistanceMetric.EUCLIDEAN)
    await second.upsert_vectors("c", [VectorPoint(2, [1, 0, 0])])
    assert [hit.id for hit in await second.search_vectors("c", [1, 0, 0])] == [2]
    await first.aclose()
    assert await second.count_vectors("c") == 1
    with pytest.raises(BackendClosedError):
        await first.count_vectors("c")
    await second.aclose()
    assert not edge._FOLDERS


async def test_a_call_under_way_at_the_closing_opens_nothing_again(tmp_path: Path) -> None:
    one = backend(tmp_path)
    await one.create_collection("c", 2)
    writing = asyncio.create_task(one.upsert_vectors("c", [VectorPoint(n, [1, n]) for n in range(3_000)]))
    for _ in range(3):
        await asyncio.sleep(0)
    await one.aclose()
    with pytest.raises(BackendClosedError):
        await writing
    other = backend(tmp_path)
    assert 0 < await other.count_vectors("c") < 3_000
    await other.aclose()


@pytest.fixture
def process(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


async def test_another_process_is_refused_and_a_killed_one_loses_nothing(
    tmp_path: Path, process: subprocess.Popen[str]
) -> None:
    assert process.stdout is not None
    with process.stdout:
        acknowledged = [int(process.stdout.readline()) for _ in range(20)][-1]
        async with backend(tmp_path) as other:
            assert not await other.health_check()
            with pytest.raises(BackendConnectionError, match="another process"):
                await other.list_collections()
        process.kill()
        acknowledged = max([acknowledged, *(int(line) for line in process.stdout if line.endswith("\n"))])
    process.wait()
    async with backend(tmp_path) as survivor:
        count = await survivor.count_vectors("c")
        assert count >= acknowledged
        page = await survivor.scroll_vectors("c", limit=count)
        assert [(point.id, point.payload) for point in page.points] == [(n, {"n": n}) for n in range(count)]


def test_a_folder_that_was_never_finished_is_no_collection(tmp_path: Path) -> None:
    (tmp_path / "cw_half" / "shard" / "segments").mkdir(parents=True)
    (tmp_path / "others").mkdir()

    async def use() -> None:
        async with backend(tmp_path) as one:
            assert await one.list_collections() == []
            await one.create_collection("half", 2)
            assert await one.count_vectors("half") == 0
            await one.delete_collection("half")

    asyncio.run(use())
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "others"]


async def test_a_folder_that_is_gone_is_unhealthy(tmp_path: Path) -> None:
    async with backend(tmp_path / "data") as one:
        assert await one.health_check()
        (tmp_path / "data").rename(tmp_path / "moved")
        assert not await one.health_check()


def test_threads_with_loops_of_their_own_may_share_a_backend(tmp_path: Path) -> None:
    shared = backend(tmp_path)
    asyncio.run(shared.create_collection("c", 2))
    errors: list[Exception] = []

    async def work(number: int) -> None:
        for turn in range(10):
            await shared.upsert_vectors("c", [VectorPoint(f"{number}-{turn}", [number, 1])])
            await shared.search_vectors("c", [1, 1])

    def run(number: int) -> None:
        try:
            asyncio.run(work(number))
        except Exception as error:  # noqa: BLE001 - any at all is what the test is about
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert asyncio.run(shared.count_vectors("c")) == 30
    asyncio.run(shared.aclose())
