"""The blocking facade: the protocol's calls without ``await``, from any thread."""

from __future__ import annotations

import asyncio
import inspect
import signal
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from codeweaver_backends import BlockingBackend, CollectionNotFoundError, F, VectorPoint, create_backend, protocols
from codeweaver_backends.errors import BackendClosedError, InvalidVectorError

POINTS = [VectorPoint(n, [1.0, float(n)], {"n": n}) for n in range(5)]


@pytest.fixture
def backend() -> Iterator[BlockingBackend]:
    with BlockingBackend(create_backend("memory")) as made:
        made.create_collection("c", 2)
        made.upsert_vectors("c", POINTS)
        yield made


PROTOCOLS = [getattr(protocols, name) for name in protocols.__all__ if isinstance(getattr(protocols, name), type)]
METHODS = {
    name: one
    for one in reversed(PROTOCOLS)  # Backend is the first: what it declares with more options counts
    for name, call in vars(one).items()
    if not name.startswith("_") and inspect.isfunction(call) and name not in ("aclose", "transaction")
}


@pytest.mark.parametrize("name", METHODS)
def test_every_call_of_the_protocols_is_there_with_its_arguments(name: str) -> None:
    asked = inspect.signature(getattr(METHODS[name], name)).parameters.values()
    given = inspect.signature(getattr(BlockingBackend, name)).parameters.values()
    assert [(one.name, one.kind, one.default) for one in given] == [(one.name, one.kind, one.default) for one in asked]
    assert not inspect.iscoroutinefunction(inspect.unwrap(getattr(BlockingBackend, name), stop=lambda one: True))


def test_calls_answer_as_they_do_with_await(backend: BlockingBackend) -> None:
    assert backend.list_collections() == ["c"]
    assert backend.get_collection_info("c").vector_count == 5
    assert [hit.id for hit in backend.search_vectors("c", [1.0, 0.0], limit=2, search_filter=F("n") > 2)] == [3, 4]
    assert backend.get_vectors("c", [1]) == [VectorPoint(1, [1.0, 1.0], {"n": 1})]
    assert backend.count_vectors("c", F("n") < 2) == backend.delete_by_filter("c", F("n") < 2) == 2
    assert backend.health_check()
    assert backend.capabilities == backend.get_capabilities()


def test_errors_pass_unchanged(backend: BlockingBackend) -> None:
    with pytest.raises(CollectionNotFoundError) as raised:
        backend.search_vectors("none", [1.0, 0.0])
    assert (raised.value.backend, raised.value.operation, raised.value.collection) == (
        "memory",
        "search_vectors",
        "none",
    )
    with pytest.raises(InvalidVectorError):
        backend.search_vectors("c", [0.0, 0.0])


def test_a_transaction_belongs_to_its_thread(backend: BlockingBackend) -> None:
    transaction = backend.begin_transaction()
    backend.delete_vectors("c", [0, 1])
    seen: list[int] = []
    other = threading.Thread(target=lambda: seen.append(backend.count_vectors("c")))
    other.start()
    other.join()
    assert (backend.count_vectors("c"), seen) == (3, [5])
    backend.rollback_transaction(transaction)
    assert backend.count_vectors("c") == 5


def test_threads_share_one_loop(backend: BlockingBackend) -> None:
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(backend.count_vectors("c"))) for _ in range(8)]
    before = threading.active_count()
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert found == [5] * 8
    assert threading.active_count() == before


class Streams:
    """A backend whose calls take their time."""

    def __init__(self) -> None:
        self.written: list[Any] = []
        self.cancelled = self.finished = False

    async def health_check(self) -> bool:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return True

    async def stream_upsert_vectors(
        self, collection_name: str, vector_stream: AsyncIterator[list[VectorPoint]], batch_size: int = 100
    ) -> None:
        self.written += [batch async for batch in vector_stream]

    async def stream_search_vectors(
        self, collection_name: str, query_stream: AsyncIterator[list[float]], limit: int = 10
    ) -> AsyncIterator[list[Any]]:
        try:
            async for query in query_stream:
                yield [query, limit]
        finally:
            self.finished = True


def test_streams_come_from_iterables_and_are_iterators() -> None:
    engine = Streams()
    with BlockingBackend(engine) as backend:  # type: ignore[arg-type]  # it has only what is needed here
        backend.stream_upsert_vectors("c", ([point] for point in POINTS))
        assert engine.written == [[point] for point in POINTS]
        assert list(backend.stream_search_vectors("c", [[1.0], [2.0]], 3)) == [[[1.0], 3], [[2.0], 3]]
        drawn: list[float] = []

        def queries() -> Iterator[list[float]]:
            for number in range(100):
                drawn.append(number)
                yield [float(number)]

        results = backend.stream_search_vectors("c", queries())
        assert next(results) == [[0.0], 10]
        engine.finished = False
        results.close()  # type: ignore[attr-defined]  # it is a generator
        assert engine.finished
        assert len(drawn) == 1


def test_a_stream_may_ask_the_backend_itself(backend: BlockingBackend) -> None:
    engine = Streams()
    with BlockingBackend(engine) as streaming:  # type: ignore[arg-type]
        streaming.stream_upsert_vectors("c", (backend.get_vectors("c", [n]) for n in range(3)))
    assert engine.written == [[point] for point in POINTS[:3]]


@pytest.fixture
def interruptible() -> Iterator[None]:
    """An interrupt is one, also where the tests run in the background, which a shell keeps from it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_cancels_the_call() -> None:
    engine = Streams()
    with BlockingBackend(engine) as backend:  # type: ignore[arg-type]
        timer = threading.Timer(0.2, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT))
        timer.start()
        started = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            backend.health_check()
        assert time.monotonic() - started < 30
        backend.stream_upsert_vectors("c", [[]])  # and the loop goes on
        assert engine.cancelled


def test_closing_ends_the_thread_and_every_call() -> None:
    before = threading.active_count()
    inner = create_backend("memory")
    backend = BlockingBackend(inner)
    assert threading.active_count() == before, "the thread is started by the first call"
    assert backend.list_collections() == []
    assert threading.active_count() == before + 1
    backend.close()
    backend.close()
    assert threading.active_count() == before
    with pytest.raises(BackendClosedError):
        backend.list_collections()
    assert not backend.health_check()
    with pytest.raises(BackendClosedError):
        asyncio.run(inner.list_collections())


def test_a_blocking_call_on_its_own_loop_is_refused(backend: BlockingBackend) -> None:
    async def inside() -> None:
        backend.list_collections()

    with pytest.raises(RuntimeError, match="would wait for itself"):
        backend._wait(inside)
