"""The memory backend: a few things that the conformance kit does not ask of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from codeweaver_backends.config import BackendConfig
from codeweaver_backends.errors import (
    BackendClosedError,
    BackendConnectionError,
    BackendError,
    BackendTimeoutError,
    CollectionNotFoundError,
    InvalidDimensionError,
    InvalidOptionError,
    RateLimitError,
)
from codeweaver_backends.memory import MemoryBackend, MemoryConfig, MemoryStore
from codeweaver_backends.sdk.lifetime import BaseBackend, operation
from codeweaver_backends.types import DistanceMetric, FilterCondition, VectorPoint

POINTS = [VectorPoint(n, [n + 1.0, 1.0], {"n": n, "deep": {"list": [n]}}) for n in range(5)]


def run(use: Callable[[MemoryBackend], Awaitable[Any]]) -> Any:
    """Use a backend with a collection ``c`` of five points."""

    async def whole() -> Any:
        async with MemoryBackend(MemoryConfig()) as backend:
            await backend.create_collection("c", 2, DistanceMetric.DOT_PRODUCT)
            await backend.upsert_vectors("c", POINTS)
            return await use(backend)

    return asyncio.run(whole())


def test_backends_with_one_store_see_the_same_points() -> None:
    async def use() -> None:
        store = MemoryStore()
        one, other = (MemoryBackend(MemoryConfig(store=store)) for _ in range(2))
        await one.create_collection("c", 2)
        await other.upsert_vectors("c", [VectorPoint("a", [1, 0])])
        assert (await one.get_collection_info("c")).vector_count == 1
        assert await MemoryBackend(MemoryConfig()).list_collections() == []

    asyncio.run(use())
    with pytest.raises(InvalidOptionError, match="store must be a MemoryStore"):
        MemoryBackend(MemoryConfig(store={}))


def test_nothing_is_shared_with_the_caller() -> None:
    async def use(backend: MemoryBackend) -> None:
        vector, payload = np.array([9, 9], np.float32), {"list": [1]}
        await backend.upsert_vectors("c", [VectorPoint("a", vector, payload)])
        vector[:] = 0
        payload["list"].append(2)
        (point,) = await backend.get_vectors("c", ["a"])
        assert (point.vector, point.payload) == ([9.0, 9.0], {"list": [1]})
        point.payload["list"].append(3)  # type: ignore[index]
        assert await backend.count_vectors("c", FilterCondition("list", "eq", 3)) == 0

    run(use)


def test_a_scroll_survives_what_is_written_meanwhile() -> None:
    async def use(backend: MemoryBackend) -> list[Any]:
        page = await backend.scroll_vectors("c", limit=2)
        await backend.upsert_vectors("c", [VectorPoint(0, [7, 7]), VectorPoint(3, [8, 8])])
        await backend.delete_vectors("c", [2])
        found = [point.id for point in page.points]
        while page.cursor:
            page = await backend.scroll_vectors("c", limit=2, cursor=page.cursor)
            found += [point.id for point in page.points]
        return found

    assert run(use) == [0, 1, 3, 4]


@pytest.mark.parametrize("cursor", ["x", "-1", "1.5", "²"])
def test_a_foreign_cursor_is_refused(cursor: str) -> None:
    async def use(backend: MemoryBackend) -> None:
        with pytest.raises(InvalidOptionError, match="cursor"):
            await backend.scroll_vectors("c", cursor=cursor)

    run(use)


def test_an_error_says_where_it_arose() -> None:
    async def use(backend: MemoryBackend) -> None:
        with pytest.raises(CollectionNotFoundError) as missing:
            await backend.get_collection_info("missing")
        assert str(missing.value) == "memory get_collection_info on 'missing': the collection does not exist"
        with pytest.raises(InvalidDimensionError) as wrong:
            await backend.search_vectors(query_vector=[1], collection_name="c")
        assert (wrong.value.backend, wrong.value.operation, wrong.value.collection) == ("memory", "search_vectors", "c")

    run(use)


def test_closed_is_closed() -> None:
    async def use() -> None:
        backend = MemoryBackend(MemoryConfig())
        assert await backend.health_check()
        await backend.aclose()
        await backend.aclose()
        assert not await backend.health_check()
        with pytest.raises(BackendClosedError):
            await backend.list_collections()

    asyncio.run(use())


# --- the base class of adapters --------------------------------------------------------------------------------------


class Probe(BaseBackend):
    """Counts, and fails as it is told."""

    name = "probe"
    _holds_nothing = True

    def __init__(self, failure: Exception | None = None) -> None:
        super().__init__(BackendConfig(timeout=0.05))
        self.failure = failure
        self.log: list[str] = []

    async def _connect(self) -> None:
        await asyncio.sleep(0)
        self.log.append("connect")

    async def _disconnect(self) -> None:
        self.log.append("disconnect")

    async def _ping(self) -> None:
        await asyncio.sleep(3600)

    def _translate_error(self, error: Exception) -> BackendError | None:
        return RateLimitError("slow down", retry_after=1) if isinstance(error, LookupError) else None

    @operation
    async def work(self, collection_name: str) -> str:
        if self.failure:
            raise self.failure
        return collection_name


def test_concurrent_first_use_connects_once() -> None:
    async def use() -> list[str]:
        async with Probe() as probe:
            assert await asyncio.gather(*(probe.work(str(n)) for n in range(5))) == ["0", "1", "2", "3", "4"]
        unused = Probe()
        await unused.aclose()
        assert unused.log == []
        return probe.log

    assert asyncio.run(use()) == ["connect", "disconnect"]


@pytest.mark.parametrize(
    ("failure", "expected", "words"),
    [
        (KeyError("x"), RateLimitError, "probe work on 'c': slow down"),
        (TimeoutError(), BackendTimeoutError, "probe work on 'c': no answer within 0.05 s"),
        (
            OSError("unplugged"),
            BackendConnectionError,
            "probe work on 'c': the engine cannot be reached: OSError: unplugged",
        ),
    ],
)
def test_an_engines_error_becomes_the_contracts(failure: Exception, expected: type[Exception], words: str) -> None:
    with pytest.raises(expected) as raised:
        asyncio.run(Probe(failure).work("c"))
    assert type(raised.value) is expected
    assert str(raised.value) == words
    assert raised.value.__cause__ is failure


def test_a_silent_engine_is_not_healthy_and_does_not_hang() -> None:
    assert asyncio.run(Probe().health_check()) is False


def test_another_event_loop_is_refused_clearly() -> None:
    probe = Probe()
    asyncio.run(probe.work("c"))
    with pytest.raises(BackendClosedError, match="one backend per event loop"):
        asyncio.run(probe.work("c"))


def test_the_memory_backend_works_on_any_loop() -> None:
    backend = MemoryBackend(MemoryConfig())
    asyncio.run(backend.create_collection("c", 2))
    assert asyncio.run(backend.list_collections()) == ["c"]
