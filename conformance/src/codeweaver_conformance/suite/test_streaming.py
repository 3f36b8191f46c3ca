"""Streams: written and answered as they come, in bounded memory, and nothing left behind."""

from __future__ import annotations

import asyncio
import gc
import inspect
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing
from typing import Any, Final

import numpy as np
import pytest

from codeweaver_backends.errors import (
    BackendError,
    CollectionNotFoundError,
    InvalidDimensionError,
    InvalidInputError,
    InvalidNameError,
)
from codeweaver_backends.types import VectorPoint
from codeweaver_conformance.caller import in_transaction
from codeweaver_conformance.clause import clause
from codeweaver_conformance.session import Conformance, point
from codeweaver_conformance.suite.calls import answered

A: Final = 100
BATCH: Final = 10
AHEAD: Final = 4
"""Batches that a backend may have taken from its source and not written, at most."""


class _SourceError(Exception):
    """The source's own, of no other kind."""


class _Source:
    """A stream of these items: how many of them were asked for, and whether it was closed."""

    def __init__(self, items: Iterable[Any], *, error: Exception | None = None, wait: bool = False) -> None:
        self.asked = 0
        self.is_closed = False
        self._items, self._error, self._wait = items, error, wait

    async def __aiter__(self) -> AsyncIterator[Any]:
        try:
            for item in self._items:
                self.asked += 1
                await asyncio.sleep(0)
                yield item
            if self._error is not None:
                raise self._error
            if self._wait:
                await asyncio.Event().wait()
        finally:
            self.is_closed = True


def lists(points: Iterable[VectorPoint], size: int = BATCH) -> Iterable[list[VectorPoint]]:
    """The points in lists of ``size``."""
    gathered: list[VectorPoint] = []
    for one in points:
        gathered.append(one)
        if len(gathered) == size:
            yield gathered
            gathered = []
    if gathered:
        yield gathered


def numbered(first: int, end: int) -> list[VectorPoint]:
    """Points whose payload tells their number."""
    return [point(n, [1, n], {"n": n}) for n in range(first, end)]


async def left_after(before: set[asyncio.Task[Any]]) -> set[asyncio.Task[Any]]:
    """Tasks that were not there before, and do not end within a second."""
    left = asyncio.all_tasks() - before
    for _ in range(100):
        if not left:
            break
        await asyncio.sleep(0.01)
        left = asyncio.all_tasks() - before
    return left


# --- writing ---------------------------------------------------------------------------------------------------------


@clause("streaming.upsert")
@pytest.mark.parametrize("batch_size", [1, 7, 100])
async def test_every_point_of_a_stream_is_written(cw: Conformance, batch_size: int) -> None:
    """Check lists that are shorter and longer than a batch, empty ones, and ones that are no lists."""
    name = await cw.collection([point(A, [1, 0], {"old": True}), point(1_000, [1, 0], {"n": "stays"})])
    points = [point(n, [1, n], {"n": n}) for n in range(150)]
    given = [points[:1], [], points[1:30], tuple(points[30:33]), iter(points[33:140]), points[140:]]
    await cw.backend.stream_upsert_vectors(name, _Source(given), batch_size)
    await cw.settle()
    expected = {n: {"n": n} for n in range(150)}
    cw.equal(await cw.payloads(name), {**expected, 1_000: {"n": "stays"}}, f"batch_size={batch_size}")
    for n in (0, 29, 30, 99, 149):
        [hit] = await cw.backend.search_vectors(name, [1, n], limit=1, with_vectors=True)
        cw.true(abs(hit.score - 1) < 1e-5, f"the vector of point {n} as it was given", hit)
    more = await cw.collection()
    await cw.backend.stream_upsert_vectors(more, _Source(lists(numbered(0, 250), 25)))
    await cw.settle()
    cw.equal(await cw.ids(more), set(range(250)), "the batch_size of the signature")


@clause("streaming.order")
@pytest.mark.parametrize("batch_size", [1, 4, 50])
async def test_the_last_of_equal_ids_wins(cw: Conformance, batch_size: int) -> None:
    """Check for batches that overtake each other: each point is written many times, and its last version is long."""
    name = await cw.collection()
    # The later a version, the smaller its payload: where writes run beside each other, the last is done first.
    versions = [point(n % 3, [1, v], {"v": v, "ballast": "x" * (4_000 - 100 * v)}) for v in range(40) for n in range(3)]
    await cw.backend.stream_upsert_vectors(name, _Source(lists(versions, 5)), batch_size)
    await cw.settle()
    found = {point_id: payload["v"] for point_id, payload in (await cw.payloads(name)).items()}
    cw.equal(found, {0: 39, 1: 39, 2: 39}, f"batch_size={batch_size}")


@clause("streaming.tail")
@pytest.mark.parametrize("size", [1, BATCH - 1, BATCH, BATCH + 1, 3 * BATCH, 3 * BATCH + 1])
async def test_what_fills_no_batch_is_written(cw: Conformance, size: int) -> None:
    """Check streams that end beside the edge of a batch."""
    name = await cw.collection()
    await cw.backend.stream_upsert_vectors(name, _Source(lists(numbered(0, size), 3)), BATCH)
    await cw.settle()
    cw.equal(await cw.ids(name), set(range(size)), f"{size} points in batches of {BATCH}")


@clause("streaming.empty")
async def test_a_stream_of_nothing_changes_nothing(cw: Conformance) -> None:
    """Check streams without a list, and with empty lists only, of points and of queries."""
    name = await cw.collection([point(A, [1, 0], {"v": 1})])
    streams: list[list[Any]] = [[], [[]], [[], [], []]]
    for items in streams:
        await cw.backend.stream_upsert_vectors(name, _Source(items))
    cw.equal(await answered(cw.backend, name, _Source([])), [], "no query")
    await cw.unchanged(name, {A: {"v": 1}})


@clause("streaming.missing")
async def test_a_missing_collection_is_told(cw: Conformance) -> None:
    """Check streams of something and of nothing."""
    missing = cw.new_name()
    streams: list[list[Any]] = [[], [[]], [[point(A, [1, 0])]]]
    for items in streams:
        with cw.raises(CollectionNotFoundError, why=f"a stream of {len(items)} lists"):
            await cw.backend.stream_upsert_vectors(missing, _Source(items))
    for queries in ([], [[1.0, 0.0]]):
        with cw.raises(CollectionNotFoundError, why=f"a stream of {len(queries)} queries"):
            await answered(cw.backend, missing, _Source(queries))
    cw.true(missing not in await cw.backend.list_collections(), "no collection made by it", missing)


@clause("streaming.refused")
async def test_bad_arguments_are_refused_before_the_stream(cw: Conformance) -> None:
    """Check sizes, limits and names of a wrong kind: not a list, not a query is taken."""
    name = await cw.collection([point(A, [1, 0], {"v": 1})])
    points, queries = _Source([[point(1, [1, 1])]]), _Source([[1.0, 0.0]])
    for size in (0, -1, True, 1.5, "3", None):
        with cw.raises(InvalidInputError, why=f"batch_size={size!r}"):
            await cw.backend.stream_upsert_vectors(name, points, size)
    for limit in (-1, True, 1.5, "3", None, cw.limits.max_limit + 1):
        with cw.raises(InvalidInputError, why=f"limit={limit!r}"):
            await answered(cw.backend, name, queries, limit)
    names: list[Any] = ["", "a\nb", 5]
    for bad in names:
        with cw.raises(InvalidNameError, InvalidInputError, why=f"name {bad!r}"):
            await cw.backend.stream_upsert_vectors(bad, points)
        with cw.raises(InvalidNameError, InvalidInputError, why=f"name {bad!r}"):
            await answered(cw.backend, bad, queries)
    cw.equal((points.asked, queries.asked), (0, 0), "lists and queries asked for")
    await cw.unchanged(name, {A: {"v": 1}})


@clause("streaming.source-error")
async def test_what_the_stream_raises_reaches_the_caller(cw: Conformance) -> None:
    """Check errors of several kinds, after full batches, after part of one, and at once."""
    for error in (_SourceError("mine"), TimeoutError("mine"), KeyError("mine"), ValueError("mine")):
        for size in (0, 2 * BATCH, 2 * BATCH + 3):
            name = await cw.collection()
            source = _Source(lists(numbered(0, size), 4), error=error)
            with cw.raises(type(error), why=f"raised by the stream after {size} points") as raised:
                await cw.backend.stream_upsert_vectors(name, source, BATCH)
            cw.true(raised.error is error, "the stream's own error, the same object", raised.error)
            await cw.settle()
            cw.equal(await cw.ids(name), set(range(size)), "what the stream gave before its error")
            await cw.backend.delete_collection(name)
    name = await cw.collection(numbered(0, 5))
    error = _SourceError("mine")
    answers: list[Any] = []
    with cw.raises(_SourceError, why="raised by the stream after 3 queries") as raised:
        await answered(cw.backend, name, _Source([[1.0, float(n)] for n in range(3)], error=error), 1, answers)
    cw.true(raised.error is error, "the stream's own error, the same object", raised.error)
    cw.equal([hits[0].id for hits in answers], [0, 1, 2], "the answers before it")


@clause("streaming.failed-write")
@pytest.mark.parametrize("bad", [2, 7])
async def test_a_failed_write_ends_the_call(cw: Conformance, bad: int) -> None:
    """Check that no batch is skipped, that a long stream is left, and that the error tells how far it came."""
    name = await cw.collection()

    def spoilt() -> Iterable[list[VectorPoint]]:
        for number in range(500):
            points = numbered(BATCH * number, BATCH * number + BATCH)
            if number == bad:
                points[5] = point(points[5].id, [1, 2, 3])
            yield points

    source = _Source(spoilt())
    with cw.raises(InvalidDimensionError, InvalidInputError, why=f"a point of 3 dimensions in list {bad}") as raised:
        await cw.backend.stream_upsert_vectors(name, source, BATCH)
    cw.true(source.asked <= bad + 1 + AHEAD, f"no list asked for beyond {bad + 1 + AHEAD}", source.asked)
    acknowledged = getattr(raised.error, "acknowledged", None)
    cw.equal(acknowledged, BATCH * bad, "acknowledged")
    await cw.settle()
    cw.equal(await cw.ids(name), set(range(BATCH * bad)), "the points that were acknowledged")
    waiting = _Source([[point(n, [1, n, n]) for n in range(BATCH)]], wait=True)
    why = "the stream waits for 10 s, and the write before has failed"
    with cw.raises(InvalidDimensionError, InvalidInputError, why=why):
        async with asyncio.timeout(10):
            await cw.backend.stream_upsert_vectors(name, waiting, BATCH)


@clause("streaming.back-pressure")
async def test_the_stream_waits_for_the_engine(cw: Conformance) -> None:
    """Check, whenever a list is asked for, how many points are there: a source may ask the backend itself."""
    name = await cw.collection()
    ahead: list[int] = []

    async def watching() -> AsyncIterator[list[VectorPoint]]:
        for number in range(40):
            await cw.settle()
            ahead.append(BATCH * number - await cw.count(name))
            yield numbered(BATCH * number, BATCH * number + BATCH)

    await cw.backend.stream_upsert_vectors(name, watching(), BATCH)
    await cw.settle()
    cw.equal(await cw.count(name), 40 * BATCH)
    cw.true(max(ahead) <= AHEAD * BATCH, f"at most {AHEAD * BATCH} points asked for and not written", ahead)


@clause("streaming.memory")
async def test_what_was_written_is_let_go(cw: Conformance) -> None:
    """Check by weak references to the vectors and lists of the stream: counted whenever a list is asked for."""
    name = await cw.collection()
    vectors: weakref.WeakSet[Any] = weakref.WeakSet()
    given: weakref.WeakSet[Any] = weakref.WeakSet()
    held: list[tuple[int, int]] = []

    def made(number: int) -> list[VectorPoint]:
        points = _List()
        for n in range(BATCH * number, BATCH * number + BATCH):
            vector = np.array([1.0, n], dtype=np.float32).view(_Vector)
            vectors.add(vector)
            points.append(VectorPoint(n, vector, {"n": n}))
        given.add(points)
        return points

    async def watching() -> AsyncIterator[list[VectorPoint]]:
        for number in range(40):
            if beyond():
                if not held:
                    gc.collect()  # a cycle holds nothing for good; it takes long, so only where something is held
                if beyond():
                    held.append((len(vectors), len(given)))
            yield made(number)

    def beyond() -> bool:
        return len(vectors) > AHEAD * BATCH or len(given) > AHEAD

    await cw.backend.stream_upsert_vectors(name, watching(), BATCH)
    cw.equal(held, [], f"more than {AHEAD * BATCH} vectors or {AHEAD} lists held, whenever a list was asked for")


class _List(list[VectorPoint]):
    """A list that can be referred to weakly."""

    __hash__ = object.__hash__  # type: ignore[assignment]


class _Vector(np.ndarray[Any, Any]):
    """An array that can be in a set: one of its own."""

    __hash__ = object.__hash__  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return self is other


@clause("streaming.progress")
async def test_progress_is_told(cw: Conformance) -> None:
    """Check that what is told is there, that it grows, and that it ends with all."""
    name = await cw.collection()
    told: list[int] = []
    there: list[tuple[int, int]] = []

    async def watching() -> AsyncIterator[list[VectorPoint]]:
        for points in lists(numbered(0, 75), 5):
            said = told[-1] if told else 0
            await cw.settle()
            there.append((said, await cw.count(name)))
            yield points

    await cw.backend.stream_upsert_vectors(name, watching(), BATCH, progress=told.append)
    cw.true(told == sorted(told) and told[-1:] == [75], "growing numbers, the last one 75", told)
    cw.true(len(told) >= 75 // BATCH, "a word after each batch", told)
    cw.true(all(said <= count for said, count in there), "no more told than is there", there)


# --- searching -------------------------------------------------------------------------------------------------------


@clause("streaming.search")
async def test_answers_are_those_of_searches_in_order(cw: Conformance) -> None:
    """Check many queries whose answers take unequally long, a default, and a limit of 0."""
    points = [point(n, [1, n / 10], {"n": n, "text": "x" * (50_000 if n < 20 else 10)}) for n in range(60)]
    name = await cw.collection(points)
    queries = [[1.0, n / 10] for n in range(60)]
    answers = await answered(cw.backend, name, _Source(queries), 1)
    cw.equal([[hit.id for hit in hits] for hits in answers], [[n] for n in range(60)], "the nearest of each query")
    cw.equal([hits[0].payload for hits in answers], [one.payload for one in points])
    some = queries[::9]
    expected = [await cw.backend.search_vectors(name, query) for query in some]
    answers = await answered(cw.backend, name, _Source(some))
    cw.equal([[hit.id for hit in hits] for hits in answers], [[hit.id for hit in hits] for hits in expected])
    cw.equal(await answered(cw.backend, name, _Source(some), 0), [[] for _ in some], "limit=0")
    with cw.raises(InvalidDimensionError, InvalidInputError, why="a query of 3 dimensions"):
        await answered(cw.backend, name, _Source([[1.0, 0.0], [1.0, 0.0, 0.0]]), 1)


@clause("streaming.dialogue")
async def test_a_stream_may_wait_for_its_answers(cw: Conformance) -> None:
    """Check a source that gives its next query when it has the answer to the one before: no list of all, no batch."""
    name = await cw.collection(numbered(0, 8))
    heard: asyncio.Queue[Any] = asyncio.Queue()

    async def asking() -> AsyncIterator[list[float]]:
        for number in range(8):
            yield [1.0, float(number)]
            cw.equal((await heard.get())[0].id, number, "the answer that the next query waits for")

    async def talk() -> None:
        answers = cw.backend.stream_search_vectors(name, asking(), 1)
        async for hits in await answers if inspect.isawaitable(answers) else answers:
            heard.put_nowait(hits)

    try:
        async with asyncio.timeout(10):
            await talk()
    except TimeoutError as error:
        if isinstance(error, BackendError):
            raise
        cw.violated("an answer before the next query", "a dead lock: none within 10 s")


# --- the end ---------------------------------------------------------------------------------------------------------


@clause("streaming.cancelled")
async def test_nothing_is_left_after_a_cancellation(cw: Conformance) -> None:
    """Check tasks and the source, where writing and searching are cancelled, or left after the first answer."""
    name = await cw.collection(numbered(0, 8))

    def endless() -> _Source:
        return _Source([1.0, float(n % 8)] for n in range(10**9))

    await cw.backend.stream_upsert_vectors(name, _Source(lists(numbered(0, 30))), BATCH)  # the client's tasks are made
    await answered(cw.backend, name, _Source([[1.0, 0.0]] * 30))
    before = asyncio.all_tasks()

    async def cancelled(call: Callable[[_Source], Awaitable[Any]], source: _Source, why: str) -> None:
        task = asyncio.ensure_future(call(source))
        for _ in range(10_000):
            if source.asked >= 8 or task.done():
                break
            await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.wait({task})
        cw.true(task.cancelled(), f"a cancelled call ({why})", task)
        cw.equal([repr(one) for one in await left_after(before)], [], f"tasks left after {why}")
        cw.true(source.is_closed, f"a closed stream ({why})", "an open one")

    def write(source: _Source) -> Awaitable[Any]:
        written: Awaitable[Any] = cw.backend.stream_upsert_vectors(name, source, 2)
        return written

    def search(source: _Source) -> Awaitable[Any]:
        return answered(cw.backend, name, source)

    await cancelled(write, _Source(numbered(n, n + 2) for n in range(10**9)), "a cancelled write of an endless stream")
    await cancelled(write, _Source(lists(numbered(0, 16), 2), wait=True), "a cancelled write of a stream that waits")
    await cancelled(search, endless(), "a cancelled search of an endless stream")
    waiting = _Source([[1.0, float(n)] for n in range(8)], wait=True)
    await cancelled(search, waiting, "a cancelled search of a stream that waits")
    source = endless()
    answers = cw.backend.stream_search_vectors(name, source, 1)
    async with aclosing(await answers if inspect.isawaitable(answers) else answers) as left_early:
        await anext(left_early)
    cw.equal([repr(one) for one in await left_after(before)], [], "tasks left after leaving early")
    cw.true(source.is_closed, "a closed stream, after leaving early", "an open one")
    await cw.backend.upsert_vectors(name, [point(A, [1, 0])])
    await cw.settle()
    cw.true(A in await cw.ids(name), "a backend that works on", "the last write is missing")


@clause("streaming.transaction")
async def test_a_stream_in_a_transaction_is_part_of_it(cw: Conformance) -> None:
    """Check that its batches, written in whatever task, are neither seen before the commit nor kept by a rollback."""
    name = await cw.collection([point(A, [1, 0])])
    for ends, expected in (("rollback", {A}), ("commit", {A, *range(35)})):
        async with in_transaction(cw.backend) as tx:
            await tx.stream_upsert_vectors(name, _Source(lists(numbered(0, 35), 4)), BATCH)
            await cw.settle()
            cw.equal(await cw.ids(name), {A}, f"outside, before the {ends}")
            cw.equal(await cw.ids(name, backend=tx), {A, *range(35)}, f"inside, before the {ends}")
            await getattr(tx, ends)()
        await cw.settle()
        cw.equal(await cw.ids(name), expected, f"after the {ends}")
