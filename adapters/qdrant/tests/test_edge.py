"""The folder of Edge: who may open it, and what a process that dies leaves."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from codeweaver_backends.errors import (
    BackendClosedError,
    BackendConnectionError,
    CollectionExistsError,
    UnsupportedError,
)
from codeweaver_backends.testing import NotProvisioned, small_disk
from codeweaver_backends.types import DistanceMetric, VectorPoint

edge_folder = pytest.importorskip("codeweaver_qdrant.edge_folder", reason="codeweaver-qdrant[edge] is not installed")

from codeweaver_qdrant import QdrantEdgeBackend, QdrantEdgeConfig  # noqa: E402
from codeweaver_qdrant.schema import LAYOUT  # noqa: E402

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
    assert not edge_folder.FOLDERS._folders


async def test_a_call_under_way_at_the_closing_opens_nothing_again(tmp_path: Path) -> None:
    one = backend(tmp_path)
    await one.create_collection("c", 2)
    writing = asyncio.create_task(one.upsert_vectors("c", [VectorPoint(n, [1, n]) for n in range(3_000)]))
    while not await one.count_vectors("c"):
        pass
    await one.aclose()
    with pytest.raises(BackendClosedError) as raised:
        await writing
    assert 0 < len(raised.value.ids) < 3_000
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


async def test_a_folder_that_is_gone_is_unhealthy_and_takes_no_writes(tmp_path: Path) -> None:
    async with backend(tmp_path / "data") as one:
        await one.create_collection("c", 2)
        assert await one.health_check()
        (tmp_path / "data").rename(tmp_path / "moved")
        assert not await one.health_check()
        with pytest.raises(BackendConnectionError) as raised:
            await one.upsert_vectors("c", [VectorPoint(1, [1, 0])])
        assert raised.value.ids == (1,)


async def test_a_collection_of_another_layout_is_listed_and_refused_alone(tmp_path: Path) -> None:
    async with backend(tmp_path) as one:
        await one.create_collection("old", 2)
        await one.create_collection("new", 2)
    settings = tmp_path / "cw_old" / "codeweaver.json"
    settings.write_text(settings.read_text().replace(f'"layout":{LAYOUT}', '"layout":1'))
    async with backend(tmp_path) as one:
        assert await one.list_collections() == ["new", "old"]
        assert await one.count_vectors("new") == 0
        with pytest.raises(UnsupportedError, match="layout 1, of an older version"):
            await one.count_vectors("old")
        with pytest.raises(CollectionExistsError):
            await one.create_collection("old", 2)


async def test_a_call_lets_the_event_loop_go(tmp_path: Path) -> None:
    async with backend(tmp_path) as one:
        await one.create_collection("c", 2)
        turns = 0

        async def search_on() -> None:
            nonlocal turns
            while True:
                await one.search_vectors("c", [1, 0])
                turns += 1

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(search_on(), 0.2)
        assert turns


# --- a disk that fills up, a fork, a backend that is forgotten -------------------------------------------------------


async def test_where_the_disk_is_nearly_full_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = [VectorPoint(n, [1, n], {"n": n}) for n in range(3_000)]
    async with backend(tmp_path) as one:
        await one.create_collection("c", 2)
        await one.upsert_vectors("c", points[:2_500])
        with monkeypatch.context() as full:
            full.setattr(edge_folder, "_RESERVE", shutil.disk_usage(tmp_path).total + 1)
            for write in (
                one.upsert_vectors("c", points[2_500:]),
                one.delete_vectors("c", [1]),
                one.delete_by_filter("c", {"field": "n", "operator": "lt", "value": 9}),
                one.create_collection("d", 2),
            ):
                with pytest.raises(BackendConnectionError, match="MB are free on the disk"):
                    await write
            below = {"field": "n", "operator": "lt", "value": 10}
            assert await one.count_vectors("c", below) == 10, "reading goes on, without an index"
        await one.upsert_vectors("c", points[2_500:])
        assert await one.count_vectors("c") == 3_000
        assert await one.list_collections() == ["c"]


@pytest.fixture
def disk() -> Iterator[Path]:
    """A disk of 120 MB."""
    try:
        with small_disk(120) as folder:
            yield folder
    except NotProvisioned as reason:
        pytest.skip(f"not verified: {reason}")


FILLER = """
import asyncio, os, signal, sys
from codeweaver_backends import BackendConnectionError, VectorPoint
from codeweaver_qdrant import QdrantEdgeBackend, QdrantEdgeConfig

async def main():
    disk = sys.argv[1]
    backend = QdrantEdgeBackend(QdrantEdgeConfig(path=disk + "/data"))
    await backend.create_collection("c", 512)
    written = 0

    async def write():
        nonlocal written
        ids = range(written, written + 250)
        await backend.upsert_vectors("c", [VectorPoint(n, [1, *[n] * 511], {"n": n}) for n in ids])
        written += 250

    try:
        while True:
            await write()
    except BackendConnectionError as error:
        assert error.ids[0] == written and len(error.ids) == 250
    print(written, flush=True)
    os.truncate(disk + "/ballast", 0)
    for _ in range(5):
        await write()
    print(written, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def test_a_full_disk_ends_no_process_and_loses_nothing(disk: Path) -> None:
    (disk / "ballast").write_bytes(bytes(20 << 20))
    command = [sys.executable, "-c", FILLER, str(disk)]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    before, after = map(int, done.stdout.split())
    assert after == before + 1_250 > 1_250
    async with backend(disk / "data") as survivor:
        assert await survivor.count_vectors("c") == after
        some = await survivor.get_vectors("c", [0, before - 1, before, after - 1], with_vectors=False)
        assert [point.payload for point in some] == [{"n": n} for n in (0, before - 1, before, after - 1)]


def _in_child(work: Callable[[], Awaitable[str]]) -> str:
    """What work in a forked child comes to."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(writing, asyncio.run(work()).encode())  # type: ignore[arg-type]
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as stream:
        told = stream.read()
    os.waitpid(child, 0)
    return told


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_is_refused_and_harms_nothing(tmp_path: Path) -> None:
    shared = backend(tmp_path)
    asyncio.run(shared.create_collection("c", 2))
    asyncio.run(shared.upsert_vectors("c", [VectorPoint(1, [1, 0])]))

    async def inherited() -> str:
        try:
            await shared.upsert_vectors("c", [VectorPoint(2, [1, 0])])
        except BackendClosedError as error:
            return error.message
        return "written"

    async def own() -> str:
        async with backend(tmp_path) as one:
            return str(await one.diagnose())

    assert "another process" in _in_child(inherited)
    assert "open in another process" in _in_child(own)
    asyncio.run(shared.upsert_vectors("c", [VectorPoint(3, [1, 0])]))
    asyncio.run(shared.aclose())

    async def afterwards() -> str:
        async with backend(tmp_path) as one:
            return str([point.id for point in await one.get_vectors("c", [1, 2, 3])])

    assert _in_child(afterwards) == "[1, 3]"


def test_a_forgotten_backend_gives_its_folder_back(tmp_path: Path) -> None:
    with pytest.warns(ResourceWarning, match="never closed"):
        asyncio.run(backend(tmp_path).create_collection("c", 2))
    assert not edge_folder.FOLDERS._folders

    code = "import asyncio, sys; from codeweaver_qdrant import *\n"
    code += "print(asyncio.run(QdrantEdgeBackend(QdrantEdgeConfig(path=sys.argv[1])).list_collections()))"
    other = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert other.stdout == "['c']\n"


# --- what a filter costs ---------------------------------------------------------------------------------------------


async def test_many_conditions_on_fields_that_nobody_declared_hold_the_loop_for_moments(tmp_path: Path) -> None:
    points = [VectorPoint(n, [1, n], {"n": n, "s": f"text {n}", "w": "2024-05-01T12:00:00Z"}) for n in range(6_000)]
    ranges = [{"field": "n", "operator": "ge", "value": -n} for n in range(60)]
    texts = [{"field": "s", "operator": "contains", "value": f"none {n}"} for n in range(60)]
    when = {"field": "w", "operator": "ge", "value": "2024-05-01T12:00:00Z"}
    async with backend(tmp_path) as one:
        await one.create_collection("c", 2)
        await one.upsert_vectors("c", points)
        for search_filter, count in (({"must": [*ranges, when]}, 6_000), ({"should": texts}, 0)):
            assert await one.count_vectors("c", search_filter) == count
            before = time.process_time()
            assert await one.count_vectors("c", search_filter) == count
            assert time.process_time() - before < 0.15, "half a second without an index"
        schema = edge_folder.FOLDERS._folders[tmp_path].resource.find("c").shard.info().payload_schema
        assert schema.keys() == {"f", "nkn", "sks", "tkw"}
        await one.upsert_vectors("c", [VectorPoint(1, [1, 1], {"n": -100, "s": "none 7"})])
        assert await one.count_vectors("c", {"must": ranges}) == 5_999, "and what is written later is found"
        assert await one.count_vectors("c", {"should": texts}) == 1


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


def test_without_the_engine_the_line_that_installs_it_is_told() -> None:
    program = """
import sys
sys.modules["qdrant_edge"] = None
from codeweaver_backends import PluginError, create_backend
try:
    create_backend("qdrant-edge", path="here")
except PluginError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "pip install 'codeweaver-qdrant[edge]'" in run.stdout
