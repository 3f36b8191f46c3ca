"""A live server: who may do what, and what is left of a call when the server goes away, fills up or is made smaller.

Needs a binary, which is started here; without one nothing of this is verified.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import orjson
import pytest

from codeweaver_backends.errors import (
    BackendAuthenticationError,
    BackendClosedError,
    BackendConnectionError,
    BackendTimeoutError,
    CollectionNotFoundError,
    LimitExceededError,
    UnsupportedError,
)
from codeweaver_backends.types import FilterCondition, SearchFilter, VectorPoint
from codeweaver_weaviate import WeaviateBackend, WeaviateConfig, schema
from codeweaver_weaviate.testing import Server

NAME = "live"
POINTS = [VectorPoint(n, [1.0, n], {"n": n}) for n in range(100)]
SMALL = SearchFilter(must=[FilterCondition("n", "lt", 10)])
TIMEOUT = 5.0


def _open(server: Server, **settings: Any) -> WeaviateBackend:
    return WeaviateBackend(WeaviateConfig(**{**server.settings, "timeout": TIMEOUT, **settings}))


@asynccontextmanager
async def _filled(server: Server) -> AsyncIterator[WeaviateBackend]:
    async with _open(server) as backend:
        await backend.create_collection(NAME, 2)
        await backend.upsert_vectors(NAME, POINTS)
        yield backend


async def _read(backend: WeaviateBackend) -> tuple[int, int, list[Any], int]:
    """All the ways to read, which agree: as many points, of which ten are small."""
    found = await backend.search_vectors(NAME, [1.0, 50.0], 10_000)
    small = await backend.scroll_vectors(NAME, search_filter=SMALL)
    assert {point.id for point in await backend.get_vectors(NAME, [hit.id for hit in found])} == {
        hit.id for hit in found
    }
    counted = (await backend.get_collection_info(NAME)).vector_count
    return (
        counted,
        len(found),
        sorted((point.id for point in small.points), key=str),
        await backend.count_vectors(NAME, SMALL),
    )


# --- keys ------------------------------------------------------------------------------------------------------------


def test_keys(start: Callable[..., Server]) -> None:
    """Check a wrong key, none, and one that may only read: which error, what health says, and that no key is shown."""
    server = start(
        AUTHENTICATION_APIKEY_ALLOWED_KEYS="sesame-right,sesame-reader",
        AUTHENTICATION_APIKEY_USERS="owner,reader",
        AUTHORIZATION_ADMINLIST_ENABLED="true",
        AUTHORIZATION_ADMINLIST_USERS="owner",
        AUTHORIZATION_ADMINLIST_READONLY_USERS="reader",
    )
    server.api_key = "sesame-right"

    async def main() -> None:
        async with _filled(server) as owner:
            assert await owner.health_check()
            for key in ("sesame-wrong", None):
                async with _open(server, api_key=key) as stranger:
                    assert not await stranger.health_check()
                    await _refused(stranger.list_collections(), stranger)
            async with _open(server, api_key="sesame-reader") as reader:
                assert await reader.health_check()
                assert await _read(reader) == (100, 100, list(range(10)), 10)
                await _refused(reader.upsert_vectors(NAME, [VectorPoint(1, [1.0, 1.0])]), reader)
                await _refused(reader.delete_vectors(NAME, [1]), reader)
                await _refused(reader.delete_by_filter(NAME, SMALL), reader)
                await _refused(reader.create_collection("other", 2), reader)
                await _refused(reader.delete_collection(NAME), reader)
                assert await _read(reader) == (100, 100, list(range(10)), 10)
            assert await owner.list_collections() == [NAME]

    asyncio.run(main())


async def _refused(call: Any, backend: WeaviateBackend) -> None:
    with pytest.raises(BackendAuthenticationError) as caught:
        await call
    shown = f"{caught.value!s} {caught.value!r} {caught.value.__cause__!r} {backend!r} {backend.config!r}"
    assert "sesame" not in shown


# --- a server that goes away -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [Server.stop, Server.kill])
def test_a_restart_under_an_open_backend(server: Server, end: Callable[[Server], None]) -> None:
    """Check that calls fail in time while the server is away, and that the same backend goes on when it is back."""

    async def main() -> None:
        async with _filled(server) as backend:
            end(server)
            async with asyncio.timeout(6 * TIMEOUT):
                assert not await backend.health_check()
                for call in (backend.search_vectors(NAME, [1.0, 1.0]), backend.delete_vectors(NAME, [1])):
                    with pytest.raises(BackendConnectionError):
                        await call
                with pytest.raises(BackendConnectionError):
                    await backend.upsert_vectors(NAME, [VectorPoint("late", [1.0, 1.0])])
            await asyncio.to_thread(server.start)
            assert await backend.health_check()
            assert await _read(backend) == (100, 100, list(range(10)), 10)
            await backend.upsert_vectors(NAME, [VectorPoint("late", [1.0, 1.0], {"n": 100})])
            assert (await _read(backend))[:2] == (101, 101)

    asyncio.run(main())


def test_a_server_that_hangs_during_a_write(
    server: Server, repaired: Callable[[WeaviateBackend, str], Awaitable[None]]
) -> None:
    """Check that the write ends in time, names its points, and that all is well when the server wakes up."""

    async def main() -> None:
        async with _filled(server) as backend:
            server.pause()
            async with asyncio.timeout(2 * TIMEOUT):
                with pytest.raises(BackendTimeoutError):
                    await backend.search_vectors(NAME, [1.0, 1.0])
            async with asyncio.timeout(4 * TIMEOUT):
                with pytest.raises(BackendTimeoutError) as caught:
                    await backend.upsert_vectors(NAME, [VectorPoint(n, [2.0, n], {"n": n}) for n in range(50, 150)])
            assert set(caught.value.ids) == set(range(50, 150))
            assert caught.value.state_unknown
            assert not await backend.health_check()
            server.resume()
            await repaired(backend, NAME)
            count, found, *small = await _read(backend)
            assert count == found >= 100
            assert small == [list(range(10)), 10]
            await backend.upsert_vectors(NAME, [VectorPoint(n, [2.0, n], {"n": n}) for n in range(50, 150)])
            assert await _read(backend) == (150, 150, list(range(10)), 10)

    asyncio.run(main())


def test_calls_end_in_their_time(server: Server) -> None:
    """Check each call against a server that hangs: none takes its timeout twice."""

    async def main() -> None:
        async with _filled(server) as filled, _open(server, timeout=2) as backend:
            await backend.count_vectors(NAME)
            server.pause()
            many = [VectorPoint(n, [2.0, n], {"n": n}) for n in range(500)]
            for call in (
                lambda: backend.upsert_vectors(NAME, many),
                lambda: backend.get_collection_info(NAME),
                lambda: backend.search_vectors(NAME, [1.0, 1.0]),
                lambda: backend.count_vectors(NAME, SMALL),
                lambda: backend.delete_vectors(NAME, [1]),
                backend.list_collections,
                lambda: backend.delete_collection(NAME),
            ):
                begin = time.monotonic()
                with pytest.raises(BackendTimeoutError):
                    await call()
                assert time.monotonic() - begin < 2.5
            server.resume()
            await filled.list_collections()

    asyncio.run(main())


def test_reads_go_on_while_a_write_is_repaired(
    server: Server, repaired: Callable[[WeaviateBackend, str], Awaitable[None]]
) -> None:
    """Check that after a write of 500 which timed out, reads are answered, and that the repair comes to its end."""

    async def main() -> None:
        async with _filled(server), _open(server, timeout=1.5) as backend:
            await backend.count_vectors(NAME)
            server.pause()
            with pytest.raises(BackendTimeoutError) as caught:
                await backend.upsert_vectors(NAME, [VectorPoint(n, [2.0, n], {"n": n}) for n in range(50, 550)])
            assert set(caught.value.ids) == set(range(50, 550))
            server.resume()
            for _ in range(10):
                assert {hit.id for hit in await backend.search_vectors(NAME, [1.0, 50.0], 1_000)} >= set(range(50))
                assert await backend.count_vectors(NAME, SMALL) == 10
            await repaired(backend, NAME)
            count, found, *small = await _read(backend)
            assert count == found >= 100
            assert small == [list(range(10)), 10]

    asyncio.run(main())


def test_closing_under_running_calls(server: Server) -> None:
    """Check that callers whom nobody cancelled are told that the backend was closed, with the points of a write."""

    async def main() -> None:
        async with _filled(server):
            for pause in (0.0, 0.01, 0.05):
                backend = _open(server)
                calls = [
                    asyncio.create_task(call)
                    for _ in range(5)
                    for call in (
                        backend.upsert_vectors(NAME, POINTS),
                        backend.search_vectors(NAME, [1.0, 1.0]),
                        backend.delete_vectors(NAME, [7_000]),
                        backend.get_collection_info(NAME),
                    )
                ]
                healthy = asyncio.create_task(backend.health_check())
                await asyncio.sleep(pause)
                await backend.aclose()
                ended = await asyncio.gather(*calls, return_exceptions=True)
                failures = [one for one in ended if isinstance(one, BaseException)]
                assert {type(one) for one in failures} <= {BackendClosedError}
                written = [one for one in ended[::4] if isinstance(one, BackendClosedError)]
                assert all(set(one.ids) == set(range(100)) for one in written)
                assert await healthy in (True, False)

    asyncio.run(main())


# --- a server that indexes later -------------------------------------------------------------------------------------


def test_async_indexing_is_refused(start: Callable[..., Server]) -> None:
    """Check that points which were just written are not missed in silence, and that nothing is left on the server."""
    server = start(ASYNC_INDEXING="true")

    async def main() -> None:
        async with _open(server) as backend:
            with pytest.raises(UnsupportedError, match="ASYNC_INDEXING") as caught:
                await backend.create_collection(NAME, 2)
            assert caught.value.capability == "visibility"
            assert not await backend.health_check()
        headers = {"authorization": f"Bearer {server.api_key}"}
        async with httpx.AsyncClient(headers=headers, trust_env=False) as client:
            schema_ = await client.get(f"http://127.0.0.1:{server.port}/v1/schema")
        assert schema_.json()["classes"] == []

    asyncio.run(main())


# --- a server that takes no writes -----------------------------------------------------------------------------------


def test_a_full_disk(server: Server) -> None:
    """Check what is refused, with the points' names, and that reads go on, also by who opens the collection now."""

    async def main() -> None:
        async with _filled(server) as backend:
            await _set_status(server, "READONLY")
            async with _open(server) as other:
                for one in (backend, other):
                    await _refuses_writes(one)
                    assert await _read(one) == (100, 100, list(range(10)), 10)
                    assert await one.health_check()
            await _set_status(server, "READY")
            await backend.upsert_vectors(NAME, [VectorPoint(n, [3.0, n], {"n": n}) for n in range(90, 110)])
            assert await _read(backend) == (110, 110, list(range(10)), 10)
            assert (await backend.get_vectors(NAME, [99]))[0].vector == [3.0, 99.0]

    asyncio.run(main())


async def _refuses_writes(backend: WeaviateBackend) -> None:
    """A new point and an old one beside each other, by two messages; deletions."""
    more = [VectorPoint(n, [3.0, n], {"n": -n}) for n in range(90, 1_200)]
    for call, named in (
        (backend.upsert_vectors(NAME, more), {point.id for point in more}),
        (backend.delete_vectors(NAME, [1, 2]), {1, 2}),
        (backend.delete_by_filter(NAME, SMALL), set()),
    ):
        with pytest.raises(BackendConnectionError, match="read-only") as caught:
            await call
        assert set(caught.value.ids) == named
        assert not caught.value.state_unknown


async def _set_status(server: Server, status: str) -> None:
    """What the server does by itself where the disk is too full, and what an administrator does."""
    settings = server.settings
    shards = f"http://{settings['host']}:{settings['port']}/v1/schema/{schema.class_name(NAME)}/shards"
    headers = {"authorization": f"Bearer {settings['api_key']}"}
    async with httpx.AsyncClient(headers=headers, trust_env=False) as client:
        for shard in (await client.get(shards)).json():
            (await client.put(f"{shards}/{shard['name']}", json={"status": status})).raise_for_status()


# --- limits and races ------------------------------------------------------------------------------------------------


def test_a_server_with_smaller_limits(start: Callable[..., Server]) -> None:
    """Check that what the server would cut off is refused by name, and that a deletion goes on beyond it."""
    server = start(QUERY_MAXIMUM_RESULTS="50")

    async def main() -> None:
        async with _filled(server) as backend:
            with pytest.raises(LimitExceededError) as caught:
                await backend.search_vectors(NAME, [1.0, 1.0], 51)
            assert caught.value.limit == "max_limit"
            assert len(await backend.search_vectors(NAME, [1.0, 1.0], 50)) == 50
            assert await backend.delete_by_filter(NAME, SearchFilter(must=[FilterCondition("n", "ge", 5)])) == 95
            assert await backend.count_vectors(NAME) == 5

    asyncio.run(main())


def test_more_than_the_server_deletes_at_once(server: Server) -> None:
    """Check 10,000 and more, by filter and by ids."""

    async def main() -> None:
        async with _open(server, timeout=60) as backend:
            await backend.create_collection(NAME, 2)
            many = [VectorPoint(n, [1.0, n], {"odd": bool(n % 2)}) for n in range(21_000)]
            await backend.upsert_vectors(NAME, many)
            odd = SearchFilter(must=[FilterCondition("odd", "eq", True)])
            assert await backend.count_vectors(NAME, odd) == 10_500
            assert await backend.delete_by_filter(NAME, odd) == 10_500
            assert await backend.count_vectors(NAME, odd) == 0
            await backend.delete_vectors(NAME, [point.id for point in many if point.id not in (0, 20_998)])
            assert {hit.id for hit in await backend.search_vectors(NAME, [1.0, 1.0], 10_000)} == {0, 20_998}
            assert await backend.count_vectors(NAME) == 2

    asyncio.run(main())


def test_writers_of_different_fields_and_a_deletion(server: Server) -> None:
    """Check that fields nobody declared change no schema, and that writes to what is being deleted create nothing."""

    async def main() -> None:
        async with _open(server, timeout=30) as one, _open(server, timeout=30) as other:
            for turn in range(5):
                name = f"{NAME}-{turn}"
                await one.create_collection(name, 2)
                writers = [_write_fields(backend, name, f"field{n}") for n, backend in enumerate((one, other, one))]
                await asyncio.gather(*writers)
                assert await other.count_vectors(name) == 60
                definition = await one._connection.request("GET", f"/v1/schema/{schema.class_name(name)}")
                assert {each["name"] for each in orjson.loads(definition.content)["properties"]} == {
                    "ref", "payload", "kept", "terms", "stamp",
                }  # fmt: skip
                gone = [asyncio.create_task(_write_until_gone(backend, name)) for backend in (one, other)]
                await asyncio.sleep(0.02 * turn)
                await one.delete_collection(name)
                await asyncio.gather(*gone)
                assert name not in await one.list_collections()
                with pytest.raises(CollectionNotFoundError):
                    await other.count_vectors(name)

    asyncio.run(main())


async def _write_fields(backend: WeaviateBackend, name: str, field: str) -> None:
    for n in range(20):
        await backend.upsert_vectors(name, [VectorPoint(f"{field}-{n}", [1.0, n], {f"{field}.{n}": n, "mixed": [n]})])


async def _write_until_gone(backend: WeaviateBackend, name: str) -> None:
    with suppress(CollectionNotFoundError):
        while True:
            await backend.upsert_vectors(name, [VectorPoint(n, [1.0, n], {"n": n}) for n in range(20)])
