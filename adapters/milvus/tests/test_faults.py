"""What goes wrong around Milvus Lite, on the real engine: disks, folders, forks, cancellations, the environment."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from codeweaver_backends.errors import BackendClosedError, BackendConnectionError, CollectionNotFoundError
from codeweaver_backends.sdk.folders import FileLock
from codeweaver_backends.types import VectorPoint
from codeweaver_milvus import MilvusConfig
from codeweaver_milvus.backend import MilvusBackend


def _points(start: int, stop: int) -> list[VectorPoint]:
    return [VectorPoint(number, [1.0, number + 0.5], {"text": "x" * 100}) for number in range(start, stop)]


def _run(program: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, timeout=300, check=False
    )


_FULL_DISK = """
import asyncio, os, resource, signal, sys
from pathlib import Path
from codeweaver_backends.errors import BackendConnectionError
from codeweaver_backends.types import VectorPoint
from codeweaver_milvus import MilvusConfig
from codeweaver_milvus.backend import MilvusBackend

def points(start, stop):
    return [VectorPoint(number, [1.0, number + 0.5], {"text": "x" * 100}) for number in range(start, stop)]

def room(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

async def main():
    path = Path(sys.argv[1])
    backend = MilvusBackend(MilvusConfig(path=path))
    await backend.create_collection("docs", 2)
    await backend.upsert_vectors("docs", points(0, 100))
    print("acknowledged", 0, 100, flush=True)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    [log] = path.rglob("wal_data_*.arrow")
    for size in map(int, sys.argv[2:]):
        room(log.stat().st_size + size if size > 0 else 512)
        for start in (100, 400):
            try:
                await backend.upsert_vectors("docs", points(start, start + 300))
            except BackendConnectionError as error:
                print("refused", type(error).__name__, flush=True)
            else:
                print("acknowledged", start, start + 300, flush=True)
        print("counted", await backend.count_vectors("docs"), flush=True)
        room(resource.RLIM_INFINITY)
        for start in range(1000, 1050, 10):
            await backend.upsert_vectors("docs", points(start, start + 10))
            print("acknowledged", start, start + 10, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the size of files cannot be limited")
@pytest.mark.parametrize("room", ["2000", "0"], ids=["the log has no room", "nothing has room"])
def test_what_is_acknowledged_around_a_full_disk_is_there_after_a_kill(tmp_path: Path, room: str) -> None:
    done = _run(_FULL_DISK, str(tmp_path / "lite.db"), room)
    words = [line.split() for line in done.stdout.splitlines()]
    assert ["refused", "BackendConnectionError"] in words, done.stderr
    wanted = {one for kind, *rest in words if kind == "acknowledged" for one in range(int(rest[0]), int(rest[1]))}
    assert set(range(1000, 1050)) <= wanted, done.stderr
    assert all(int(rest[0]) >= 100 for kind, *rest in words if kind == "counted")

    async def read() -> set[object]:
        async with MilvusBackend(MilvusConfig(path=tmp_path / "lite.db")) as backend:
            return {point.id for point in await backend.get_vectors("docs", sorted(wanted))}

    assert asyncio.run(read()) == wanted


def test_no_write_is_acknowledged_into_a_folder_that_was_deleted(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = tmp_path / "lite.db"
        async with MilvusBackend(MilvusConfig(path=path)) as backend:
            await backend.create_collection("docs", 2)
            await backend.upsert_vectors("docs", _points(0, 10))
            assert await backend.health_check()
            shutil.rmtree(path)
            with pytest.raises(BackendConnectionError):
                await backend.upsert_vectors("docs", _points(10, 20))
            assert not await backend.health_check()
            assert "deleted" in str(await backend.diagnose())
        async with MilvusBackend(MilvusConfig(path=path)) as backend:
            assert await backend.list_collections() == []

    asyncio.run(scenario())


def test_a_drop_right_after_a_cancelled_drop_finds_it_done_or_does_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with MilvusBackend(MilvusConfig(path=tmp_path / "lite.db")) as backend:
            for turn in range(20):
                await backend.create_collection("docs", 2)
                await backend.upsert_vectors("docs", _points(0, 50))
                first = asyncio.create_task(backend.delete_collection("docs"))
                await asyncio.sleep(0.0005 * turn)
                first.cancel()
                await asyncio.gather(first, return_exceptions=True)
                with contextlib.suppress(CollectionNotFoundError):
                    await backend.delete_collection("docs")
                assert await backend.list_collections() == []

    asyncio.run(scenario())


def test_closing_under_running_calls_is_told_as_such(tmp_path: Path) -> None:
    async def scenario() -> None:
        for turn in range(5):
            backend = MilvusBackend(MilvusConfig(path=tmp_path / "lite.db"))
            await backend.create_collection("docs", 2, exist_ok=True)
            await backend.upsert_vectors("docs", _points(0, 100))
            calls = [
                call
                for number in range(10)
                for call in (
                    backend.search_vectors("docs", [1.0, 2.0]),
                    backend.count_vectors("docs"),
                    backend.upsert_vectors("docs", _points(number, number + 50)),
                    backend.health_check(),
                )
            ]
            running = [asyncio.ensure_future(call) for call in calls]
            await asyncio.sleep(0.004 * turn)
            await backend.aclose()
            for outcome in await asyncio.gather(*running, return_exceptions=True):
                assert not isinstance(outcome, BaseException) or isinstance(outcome, BackendClosedError), outcome

    asyncio.run(scenario())


def test_a_forgotten_backend_gives_its_folder_back(tmp_path: Path) -> None:
    backend = MilvusBackend(MilvusConfig(path=tmp_path / "lite.db"))
    asyncio.run(backend.list_collections())
    lock = FileLock(tmp_path / "lite.db" / "codeweaver.lock")
    assert not lock.acquire()
    with pytest.warns(ResourceWarning, match="never closed"):
        del backend  # nothing else holds it
    assert lock.acquire()
    lock.release()


_FORKED = """
import asyncio, gc, os, sys, time
from codeweaver_backends.types import VectorPoint
from codeweaver_milvus import MilvusConfig
from codeweaver_milvus.backend import MilvusBackend

async def use(path):
    async with MilvusBackend(MilvusConfig(path=path)) as backend:
        await backend.create_collection("docs", 2)
        await backend.upsert_vectors("docs", [VectorPoint(1, [1.0, 2.0])])
        assert len(await backend.search_vectors("docs", [1.0, 2.0])) == 1

gc.disable()
asyncio.run(use(sys.argv[1]))
child = os.fork()
if not child:
    gc.collect()
    os._exit(7)
end = time.monotonic() + 30
while time.monotonic() < end:
    found, status = os.waitpid(child, os.WNOHANG)
    if found:
        print("ended", os.waitstatus_to_exitcode(status))
        break
    time.sleep(0.05)
else:
    os.kill(child, 9)
    print("hangs")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
def test_a_worker_forked_after_lite_was_used_can_collect_garbage(tmp_path: Path) -> None:
    done = _run(_FORKED, str(tmp_path / "lite.db"))
    assert done.stdout.split() == ["ended", "7"], done.stderr


def test_importing_leaves_the_environment_alone(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("MILVUS_URI=not an address\nSOMETHING_OF_THE_USER=1\n", encoding="utf-8")
    program = """
import os, sys
os.chdir(sys.argv[1])
sys.ps1 = ""  # dotenv looks into the working directory of an interactive program
before = dict(os.environ)
from codeweaver_milvus.backend import MilvusBackend
import dotenv, pymilvus.settings
assert dict(os.environ) == before
assert dotenv.load_dotenv.__module__ == "dotenv.main"
assert pymilvus.settings.Config.MILVUS_URI == ""
print("unchanged", os.environ["MILVUS_URI"])
"""
    done = _run(program, str(tmp_path), MILVUS_URI="nonsense:// of another program")
    assert done.stdout.startswith("unchanged nonsense://"), done.stderr


def test_no_proxy_of_the_environment_stands_before_lite(tmp_path: Path) -> None:
    program = """
import asyncio, sys
from codeweaver_milvus import MilvusConfig
from codeweaver_milvus.backend import MilvusBackend

async def main():
    async with MilvusBackend(MilvusConfig(path=sys.argv[1], timeout=20)) as backend:
        await backend.create_collection("docs", 2)
        print(await backend.list_collections())

asyncio.run(main())
"""
    proxy = "http://127.0.0.1:9"
    done = _run(
        program,
        str(tmp_path / "lite.db"),
        **dict.fromkeys(("grpc_proxy", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), proxy),
        no_proxy="",
        NO_PROXY="",
        no_grpc_proxy="",
    )
    assert done.stdout.strip() == "['docs']", done.stderr
