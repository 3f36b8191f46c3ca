"""A server in trouble, slow, gone or without room: errors come in time and name the points, nothing stored is lost."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from codeweaver_backends import (
    BackendConnectionError,
    BackendError,
    BackendTimeoutError,
    EngineError,
    VectorPoint,
)
from codeweaver_backends.testing import NotProvisioned, ServerProcess, free_ports, small_disk
from codeweaver_pgvector import PgvectorBackend, PgvectorConfig
from codeweaver_pgvector.testing import cluster, settings_at

TIMEOUT = 2.0


def backend_at(port: int, **settings: Any) -> PgvectorBackend:
    return PgvectorBackend(PgvectorConfig(**{**settings_at(port), "timeout": TIMEOUT, **settings}))


def points(start: int, stop: int) -> list[VectorPoint]:
    return [VectorPoint(n, [1.0, float(n)], {"text": f"{n} " * 200}) for n in range(start, stop)]


@asynccontextmanager
async def slowed(target: int) -> AsyncIterator[tuple[int, list[float]]]:
    """A way to the server whose every answer takes a while longer, once there is a time in the list."""
    delays: list[float] = []
    tasks: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, slowly: bool) -> None:
        try:
            while data := await reader.read(65_536):
                if slowly and delays:
                    await asyncio.sleep(delays[0])
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", target)
        for one in (pump(reader, server_writer, slowly=False), pump(server_reader, writer, slowly=True)):
            task = asyncio.create_task(one)
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield listener.sockets[0].getsockname()[1], delays
    finally:
        listener.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("in_transaction", [False, True])
def test_a_write_ends_in_time_however_many_statements_it_has(port: int, in_transaction: bool) -> None:
    async def run() -> None:
        async with slowed(port) as (way, delays), backend_at(way) as backend:
            await backend.create_collection("slow", 2, exist_ok=True)
            await backend.upsert_vectors("slow", points(0, 10))
            calls: list[Callable[[], Awaitable[Any]]] = [
                lambda: backend.upsert_vectors("slow", points(100, 300)),
                lambda: backend.delete_vectors("slow", [1]),
                lambda: backend.delete_by_filter("slow", {"field": "text", "operator": "eq", "value": "x"}),
            ]
            for call in calls:
                if in_transaction:
                    transaction = await backend.begin_transaction()
                    assert await backend.count_vectors("slow") == 10
                delays.append(TIMEOUT * 0.45)
                start = time.monotonic()
                with pytest.raises(BackendTimeoutError):
                    await call()
                assert time.monotonic() - start < TIMEOUT * 1.4
                delays.clear()
                if in_transaction:
                    await backend.rollback_transaction(transaction)

    asyncio.run(run())


def test_a_failed_write_names_all_of_its_points(port: int) -> None:
    async def run() -> None:
        async with (
            slowed(port) as (way, delays),
            backend_at(way, lock_timeout=0.2) as backend,
            backend_at(port) as other,
        ):
            await backend.create_collection("named", 2, exist_ok=True)
            await backend.upsert_vectors("named", points(0, 100))
            expected: set[int | str] = set(range(100))
            async with other.transaction() as tx:
                await tx.upsert_vectors("named", points(99, 100))
                with pytest.raises(BackendError) as locked:
                    await backend.upsert_vectors("named", points(0, 100))
            assert set(locked.value.ids) == expected
            assert not locked.value.state_unknown
            delays.append(10)
            for call in (
                backend.upsert_vectors("named", points(0, 100)),
                backend.delete_vectors("named", list(range(100))),
            ):
                with pytest.raises(BackendTimeoutError) as late:
                    await call
                assert set(late.value.ids) == expected
            delays.clear()
        [nowhere] = free_ports(1)
        async with backend_at(nowhere) as backend:
            with pytest.raises(BackendConnectionError) as lost:
                await backend.upsert_vectors("named", points(0, 100))
            assert set(lost.value.ids) == expected
            assert not lost.value.state_unknown

    asyncio.run(run())


# --- no room ---------------------------------------------------------------------------------------------------------


def test_a_full_disk_loses_nothing_that_was_acknowledged() -> None:
    [port] = free_ports(1)
    options = [word for name in ("max_wal_size", "min_wal_size") for word in ("-c", f"{name}=32MB")]
    try:
        with small_disk(160) as disk, cluster(port, *options, folder=disk) as server:
            asyncio.run(_fill(backend_at(port, timeout=20.0), disk, server))
    except NotProvisioned as reason:
        pytest.skip(str(reason))


async def _fill(backend: PgvectorBackend, disk: Path, server: ServerProcess) -> None:
    acknowledged: set[int] = set()

    async def write(start: int) -> BackendError | None:
        try:
            await backend.upsert_vectors("full", points(start, start + 500))
        except BackendError as error:
            return error if set(error.ids) == set(range(start, start + 500)) else BackendError("other points are named")
        acknowledged.update(range(start, start + 500))
        return None

    async with backend:
        await backend.create_collection("full", 2)
        assert await write(0) is None
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(max(0, os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize - (4 << 20))))
        errors = [await write(start) for start in range(1_000, 21_000, 500)]
        assert any(isinstance(error, EngineError | BackendConnectionError) for error in errors)
        ballast.unlink()
        deadline = time.monotonic() + 30
        while (error := await write(50_000)) is not None:  # a server whose log had no room starts again
            assert time.monotonic() < deadline, error
            if isinstance(error, BackendConnectionError):
                server.restart(30)
            await asyncio.sleep(0.2)
        server.restart(30)
        found = {one.id for one in (await backend.scroll_vectors("full", limit=100_000, with_payload=False)).points}
        assert acknowledged <= found
        assert len(acknowledged) >= 1_000
