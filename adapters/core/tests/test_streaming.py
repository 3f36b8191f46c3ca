"""Streams in the core: what is written when, what is held, what reaches the caller, and that nothing is left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import pytest

from codeweaver_backends import (
    BackendConnectionError,
    BlockingBackend,
    CollectionNotFoundError,
    InvalidDimensionError,
    InvalidInputError,
    InvalidOptionError,
    SearchResult,
    UnsupportedError,
    VectorPoint,
)
from codeweaver_backends.memory import MemoryBackend, MemoryConfig
from codeweaver_backends.memory.plugin import CAPABILITIES
from codeweaver_backends.memory.store import Collection
from codeweaver_backends.sdk.calls import SEARCHES_AT_ONCE
from codeweaver_backends.sdk.requests import Batch
from codeweaver_backends.sdk.streaming import BATCHES_HELD


class _Error(Exception):
    """The source's own."""


class _Gated(MemoryBackend):
    """Writes and searches wait for a gate, where there is one, and are noted."""

    def __init__(self) -> None:
        super().__init__(MemoryConfig())
        self.gate: asyncio.Event | None = None
        self.written: list[list[Any]] = []
        self.searching = 0
        self.most = 0
        self.failure: Exception | None = None

    async def _upsert(self, collection: Collection, batch: Batch) -> None:
        if self.gate is not None:
            await self.gate.wait()
        if self.failure is not None and self.written:
            raise self.failure
        self.written.append(batch.ids)
        await super()._upsert(collection, batch)

    async def _search(self, *asked: Any) -> list[SearchResult]:
        self.searching += 1
        self.most = max(self.most, self.searching)
        try:
            if self.gate is not None:
                await self.gate.wait()
            return await super()._search(*asked)
        finally:
            self.searching -= 1


def point(number: int, payload: Any = None) -> VectorPoint:
    return VectorPoint(number, [1.0, float(number)], payload)


class _Source:
    """Lists of two points: how many were asked for, and whether it was closed."""

    def __init__(self, lists: int = 1_000, error: Exception | None = None, wait: bool = False) -> None:
        self.asked = 0
        self.is_closed = False
        self._lists, self._error, self._wait = lists, error, wait

    async def __aiter__(self) -> AsyncIterator[list[VectorPoint]]:
        try:
            for number in range(self._lists):
                self.asked += 1
                await asyncio.sleep(0)
                yield [point(2 * number), point(2 * number + 1)]
            if self._error is not None:
                raise self._error
            if self._wait:
                await asyncio.Event().wait()
        finally:
            self.is_closed = True


async def rest(rounds: int = 50) -> None:
    for _ in range(rounds):
        await asyncio.sleep(0)


def run(work: Callable[[_Gated], Awaitable[None]]) -> None:
    async def main() -> None:
        backend = _Gated()
        await backend.create_collection("c", 2)
        async with asyncio.timeout(10):
            await work(backend)
        assert asyncio.all_tasks() == {asyncio.current_task()}, "no task is left"

    asyncio.run(main())


async def of(*items: Any) -> AsyncIterator[Any]:
    for item in items:
        yield item


# --- writing ---


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5, 10, 11])
def test_lists_are_cut_anew_and_the_rest_is_written(batch_size: int) -> None:
    async def work(backend: _Gated) -> None:
        told: list[int] = []
        lists = [[], [point(0)], iter([point(1), point(2), point(3)]), (), tuple(map(point, range(4, 10)))]
        await backend.stream_upsert_vectors("c", of(*lists), batch_size, progress=told.append)
        assert [one for batch in backend.written for one in batch] == list(range(10))
        assert {len(batch) for batch in backend.written[:-1]} <= {batch_size}
        ends = [*range(batch_size, 10, batch_size), 10]
        assert told == ends

    run(work)


def test_a_slow_engine_slows_the_source_down() -> None:
    async def work(backend: _Gated) -> None:
        source, backend.gate = _Source(), asyncio.Event()
        writing = asyncio.create_task(backend.stream_upsert_vectors("c", source, 10))
        await rest(500)
        assert 2 * source.asked == BATCHES_HELD * 10
        backend.gate.set()
        await writing
        assert (await backend.get_collection_info("c")).vector_count == 2_000

    run(work)


def test_what_the_source_raises_is_raised_after_what_it_gave_is_written() -> None:
    async def work(backend: _Gated) -> None:
        error = _Error("mine")
        with pytest.raises(_Error) as raised:
            await backend.stream_upsert_vectors("c", _Source(12, error), 10)
        assert raised.value is error
        assert (error.__cause__, error.__context__) == (None, None)
        assert [len(batch) for batch in backend.written] == [10, 10, 4]

    run(work)


@pytest.mark.parametrize("error", [BackendConnectionError("gone"), TimeoutError("mine"), KeyError("x")])
def test_the_source_may_raise_anything(error: Exception) -> None:
    async def work(backend: _Gated) -> None:
        with pytest.raises(type(error)) as raised:
            await backend.stream_upsert_vectors("c", _Source(1, error))
        assert raised.value is error
        assert getattr(error, "acknowledged", None) is None

    run(work)


def test_a_failed_write_ends_a_source_that_waits() -> None:
    async def work(backend: _Gated) -> None:
        source, backend.failure = _Source(10, wait=True), OSError("the engine's")
        with pytest.raises(BackendConnectionError) as raised:
            await backend.stream_upsert_vectors("c", source, 10)
        told = raised.value
        assert told.__cause__ is backend.failure
        assert (told.acknowledged, told.ids, told.operation) == (10, tuple(range(10, 20)), "stream_upsert_vectors")
        assert "acknowledged before: 10 points" in str(told)
        assert source.is_closed

    run(work)


def test_a_failed_write_stops_an_endless_source() -> None:
    async def work(backend: _Gated) -> None:
        source = _Source(10**9)

        async def spoilt() -> AsyncIterator[list[VectorPoint]]:
            async for points in source.__aiter__():
                yield points if points[0].id != 40 else [VectorPoint(40, [1.0])]

        with pytest.raises(InvalidDimensionError) as raised:
            await backend.stream_upsert_vectors("c", spoilt(), 10)
        assert raised.value.acknowledged == 40
        assert (await backend.get_collection_info("c")).vector_count == 40
        assert source.asked < 21 + 2 * 5 * BATCHES_HELD

    run(work)


def test_a_write_that_fails_after_the_source_tells_of_both() -> None:
    async def work(backend: _Gated) -> None:
        backend.failure = OSError("the engine's")
        with pytest.raises(BackendConnectionError) as raised:
            await backend.stream_upsert_vectors("c", _Source(6, _Error("mine")), 10)
        assert raised.value.acknowledged == 10
        assert raised.value.__notes__ == ["the stream had raised _Error('mine')"]

    run(work)


def test_what_is_no_list_of_points_is_refused_where_it_comes() -> None:
    async def work(backend: _Gated) -> None:
        for wrong in (point(3), 7, None, "text", {"id": 1}, [5]):
            with pytest.raises(InvalidOptionError) as raised:
                await backend.stream_upsert_vectors("c", of([point(0)], wrong), 1)
            assert raised.value.acknowledged == 1, wrong

    run(work)


def test_cancelling_leaves_nothing() -> None:
    async def work(backend: _Gated) -> None:
        for source in (_Source(), _Source(3, wait=True)):
            backend.gate = asyncio.Event()
            writing = asyncio.create_task(backend.stream_upsert_vectors("c", source, 4))
            await rest()
            writing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await writing
            assert source.is_closed
            assert not backend.written

    run(work)


def test_what_progress_raises_is_raised() -> None:
    async def work(backend: _Gated) -> None:
        def stop(acknowledged: int) -> None:
            raise _Error(acknowledged)

        with pytest.raises(_Error) as raised:
            await backend.stream_upsert_vectors("c", _Source(), 10, progress=stop)
        assert raised.value.args == (10,)

    run(work)


def test_nothing_is_asked_of_the_source_where_the_call_is_refused() -> None:
    async def work(backend: _Gated) -> None:
        source, queries = _Source(), _Source()
        for size in (0, -1, True, 1.5, None, "3"):
            with pytest.raises(InvalidInputError):
                await backend.stream_upsert_vectors("c", source, size)  # type: ignore[arg-type]
        for limit in (-1, True, 1.5, None, 10**9):
            with pytest.raises(InvalidInputError):
                await anext(backend.stream_search_vectors("c", queries, limit))  # type: ignore[arg-type]
        streams: list[Any] = [[[point(1)]], None, iter([])]
        for stream in streams:
            with pytest.raises(InvalidOptionError):
                await backend.stream_upsert_vectors("c", stream)
            with pytest.raises(InvalidOptionError):
                await anext(backend.stream_search_vectors("c", stream))
        with pytest.raises(InvalidOptionError, match="progress"):
            await backend.stream_upsert_vectors("c", source, progress=5)  # type: ignore[arg-type]
        with pytest.raises(CollectionNotFoundError) as raised:
            await backend.stream_upsert_vectors("missing", source)
        assert (raised.value.operation, raised.value.collection) == ("stream_upsert_vectors", "missing")
        with pytest.raises(CollectionNotFoundError) as raised:
            await anext(backend.stream_search_vectors("missing", queries))  # type: ignore[arg-type]
        assert (raised.value.operation, raised.value.collection) == ("stream_search_vectors", "missing")
        assert (source.asked, queries.asked) == (0, 0)

    run(work)


def test_streams_that_are_not_claimed_are_refused() -> None:
    class Poor(_Gated):
        capabilities = CAPABILITIES.model_copy(update={"supports_streaming": False})  # type: ignore[assignment]

    async def main() -> None:
        source, backend = _Source(), Poor()
        with pytest.raises(UnsupportedError):
            await backend.stream_upsert_vectors("c", source)
        with pytest.raises(UnsupportedError):
            await anext(backend.stream_search_vectors("c", source))  # type: ignore[arg-type]
        assert source.asked == 0

    asyncio.run(main())


# --- searching ---


def test_answers_come_in_order_and_searches_are_bounded() -> None:
    async def work(backend: _Gated) -> None:
        await backend.upsert_vectors("c", [point(n) for n in range(50)])
        queries, asked = [[1.0, float(n)] for n in range(50)], 0

        async def source() -> AsyncIterator[list[float]]:
            nonlocal asked
            for query in queries:
                asked += 1
                yield query

        backend.gate = asyncio.Event()
        answers = backend.stream_search_vectors("c", source(), 1)
        first = asyncio.ensure_future(anext(answers))
        await rest(200)
        assert backend.searching == SEARCHES_AT_ONCE
        assert asked == SEARCHES_AT_ONCE + 1
        backend.gate.set()
        assert [hits[0].id for hits in [await first, *[hits async for hits in answers]]] == list(range(50))
        assert backend.most == SEARCHES_AT_ONCE

    run(work)


def test_answers_that_nobody_takes_are_bounded() -> None:
    async def work(backend: _Gated) -> None:
        asked = 0

        async def source() -> AsyncIterator[list[float]]:
            nonlocal asked
            while True:
                asked += 1
                yield [1.0, 0.0]

        async with aclosing(backend.stream_search_vectors("c", source(), 1)) as answers:
            for taken in range(1, 4):
                await anext(answers)
                await rest(200)
                assert asked == taken + SEARCHES_AT_ONCE + 1

    run(work)


def test_a_dialogue_goes_on() -> None:
    async def work(backend: _Gated) -> None:
        await backend.upsert_vectors("c", [point(n) for n in range(5)])
        heard: asyncio.Queue[Any] = asyncio.Queue()

        async def source() -> AsyncIterator[list[float]]:
            for number in range(5):
                yield [1.0, float(number)]
                assert (await heard.get())[0].id == number

        async for hits in backend.stream_search_vectors("c", source(), 1):
            heard.put_nowait(hits)

    run(work)


def test_what_the_source_of_queries_raises_comes_after_the_answers() -> None:
    async def work(backend: _Gated) -> None:
        error = _Error("mine")

        async def source() -> AsyncIterator[list[float]]:
            for _ in range(3):
                yield [1.0, 0.0]
            raise error

        answers = backend.stream_search_vectors("c", source())
        assert [await anext(answers) for _ in range(3)] == [[], [], []]
        with pytest.raises(_Error) as raised:
            await anext(answers)
        assert raised.value is error

    run(work)


def test_a_search_that_fails_is_told_in_its_place_and_closes_the_source() -> None:
    async def work(backend: _Gated) -> None:
        closed = False

        async def source() -> AsyncIterator[list[float]]:
            nonlocal closed
            try:
                yield [1.0, 0.0]
                yield [1.0]
                await asyncio.Event().wait()
            finally:
                closed = True

        answers = backend.stream_search_vectors("c", source())
        assert await anext(answers) == []
        with pytest.raises(InvalidDimensionError) as raised:
            await anext(answers)
        assert raised.value.operation == "stream_search_vectors"
        assert closed

    run(work)


def test_leaving_early_ends_searches_and_closes_the_source() -> None:
    async def work(backend: _Gated) -> None:
        closed = 0

        async def source(wait: bool) -> AsyncIterator[list[float]]:
            nonlocal closed
            try:
                while True:
                    yield [1.0, 0.0]
                    if wait:
                        await asyncio.Event().wait()
            finally:
                closed += 1

        for wait in (False, True):
            async with aclosing(backend.stream_search_vectors("c", source(wait))) as answers:
                await anext(answers)
                backend.gate = asyncio.Event()
                await rest()
            backend.gate = None
        assert (closed, backend.searching) == (2, 0)
        backend.gate = asyncio.Event()
        asking = asyncio.ensure_future(anext(backend.stream_search_vectors("c", source(True))))
        await rest()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert (closed, backend.searching) == (3, 0)

    run(work)


# --- elsewhere ---


def test_streams_in_a_transaction_are_part_of_it() -> None:
    async def work(backend: _Gated) -> None:
        transaction = await backend.begin_transaction()
        await backend.stream_upsert_vectors("c", _Source(4), 3)
        assert [len(hits) async for hits in backend.stream_search_vectors("c", of([1.0, 0.0]))] == [8]
        await backend.rollback_transaction(transaction)
        assert [len(hits) async for hits in backend.stream_search_vectors("c", of([1.0, 0.0]))] == [0]
        async with backend.transaction() as tx:
            await tx.stream_upsert_vectors("c", _Source(4), 3)
            assert (await backend.get_collection_info("c")).vector_count == 0
        assert (await backend.get_collection_info("c")).vector_count == 8

    run(work)


def test_a_blocking_backend_streams() -> None:
    told: list[int] = []
    with BlockingBackend(MemoryBackend(MemoryConfig())) as backend:
        backend.create_collection("c", 2)
        backend.stream_upsert_vectors("c", ([point(n)] for n in range(10)), 4, progress=told.append)
        found = list(backend.stream_search_vectors("c", ([1.0, float(n)] for n in range(10)), 1))
    assert [hits[0].id for hits in found] == list(range(10))
    assert told == [4, 8, 10]
