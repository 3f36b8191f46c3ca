"""The template: what it answers alone, what it asks the adapter, and what an adapter is told of failures."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np
import pytest

from codeweaver_backends import (
    BackendClosedError,
    BackendConnectionError,
    BackendTimeoutError,
    CollectionExistsError,
    CollectionInfo,
    CollectionNotFoundError,
    DistanceMetric,
    EngineError,
    FilterCondition,
    InvalidInputError,
    PluginError,
    PointId,
    ScrollPage,
    SearchFilter,
    SearchResult,
    UnsupportedError,
    VectorPoint,
)
from codeweaver_backends.capabilities import BackendCapabilities
from codeweaver_backends.config import BackendConfig
from codeweaver_backends.factory import CodeWeaverFactory
from codeweaver_backends.memory import MemoryPlugin
from codeweaver_backends.plugins import DeclaredPlugin
from codeweaver_backends.sdk.filters.tree import Node
from codeweaver_backends.sdk.handles import RecreatedError
from codeweaver_backends.sdk.requests import Batch, CollectionSettings, Page, Projection, Query
from codeweaver_backends.sdk.template import BackendTemplate
from codeweaver_backends.types import BaseComponentInfo

T = TypeVar("T")
NOTHING = SearchFilter(must=[FilterCondition("x", "in", [])])


@dataclass(frozen=True)
class Shelf:
    settings: CollectionSettings
    incarnation: str = "1"


class Recorder(BackendTemplate[Shelf]):
    """Notes what it is asked. It has one collection, ``c``, of two dimensions."""

    name: ClassVar[str] = "recorder"
    any_loop: ClassVar[bool] = True
    part_points: ClassVar[int] = 2
    _holds_nothing = True

    def __init__(self, **settings: Any) -> None:
        super().__init__(BackendConfig(**settings))
        self.asked: list[tuple[Any, ...]] = []
        self.claims = MemoryPlugin.get_capabilities().model_copy(update={"supports_hybrid_search": False})
        self.shelf = Shelf(CollectionSettings("c", 2, DistanceMetric.EUCLIDEAN))
        self.failures: list[Exception] = []

    @property
    def capabilities(self) -> BackendCapabilities:
        return self.claims

    async def _create(self, settings: CollectionSettings) -> None:
        self.asked.append(("create", settings.name))
        if settings.name == "c":
            raise CollectionExistsError("the collection exists already")

    async def _drop(self, name: str) -> None:
        self.asked.append(("drop", name))

    async def _describe(self, name: str) -> Shelf:
        self.asked.append(("describe",))
        if name != "c":
            raise CollectionNotFoundError("the collection does not exist")
        return self.shelf

    async def _confirm(self, collection: Shelf) -> None:
        self.asked.append(("confirm",))

    async def _names(self) -> list[str]:
        return ["b", "c", "a"]

    async def _upsert_part(self, collection: Shelf, part: Batch) -> None:
        self.asked.append(("upsert", part.ids, part.vectors.tolist()))
        if 13 in part.ids:
            raise OSError("the way is cut")
        if 17 in part.ids:
            raise BackendConnectionError("the way is cut, says the adapter itself")

    async def _delete_part(self, collection: Shelf, ids: list[PointId]) -> None:
        self.asked.append(("delete", ids))

    async def _delete_matching(self, collection: Shelf, node: Node) -> int:
        self.asked.append(("delete_matching", node))
        return 3

    async def _search(self, collection: Shelf, query: Query) -> list[SearchResult]:
        self.asked.append(("search", query.limit, collection.incarnation))
        if self.failures:
            raise self.failures.pop(0)
        return []

    async def _get(self, collection: Shelf, ids: list[PointId], projection: Projection) -> Iterable[VectorPoint]:
        self.asked.append(("get", ids, projection.payload, projection.vectors))
        return (VectorPoint(one, []) for one in reversed(ids) if one != "ghost")

    async def _scroll(self, collection: Shelf, page: Page) -> ScrollPage:
        self.asked.append(("scroll", page.limit))
        return ScrollPage([])

    async def _count(self, collection: Shelf, node: Node) -> int:
        self.asked.append(("count", node))
        return 5


Ask = Callable[[Recorder], Awaitable[Any]]


def ask(call: Ask) -> tuple[Any, list[tuple[Any, ...]]]:
    backend = Recorder()
    return asyncio.run(_awaited(call(backend))), backend.asked


async def _awaited(call: Awaitable[T]) -> T:
    return await call


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        (lambda one: one.upsert_vectors("c", []), None),
        (lambda one: one.upsert_batch("c", [], np.empty((0, 2), np.float32)), None),
        (lambda one: one.delete_vectors("c", []), None),
        (lambda one: one.delete_by_filter("c", NOTHING), 0),
        (lambda one: one.search_vectors("c", [1, 2], 0), []),
        (lambda one: one.search_vectors("c", [1, 2], search_filter=NOTHING), []),
        (lambda one: one.get_vectors("c", []), []),
        (lambda one: one.scroll_vectors("c", search_filter=NOTHING), ScrollPage([])),
        (lambda one: one.count_vectors("c", NOTHING), 0),
    ],
)
def test_what_has_an_answer_already_is_not_asked(call: Ask, answer: Any) -> None:
    assert ask(call) == (answer, [("describe",), ("confirm",)])


def test_an_adapter_is_given_what_was_judged() -> None:
    _, asked = ask(lambda one: one.upsert_vectors("c", iter([VectorPoint(1, [1, 2]), VectorPoint(1, [3, 4])])))  # type: ignore[arg-type]
    assert asked == [("describe",), ("upsert", [1], [[3.0, 4.0]])]
    assert ask(lambda one: one.delete_vectors("c", [2, "2", 2]))[1] == [("describe",), ("delete", [2, "2"])]
    got, asked = ask(lambda one: one.get_vectors("c", ["b", "ghost", 1, "b"], with_payload=["k"], with_vectors=False))
    assert [point.id for point in got] == ["b", 1]
    assert asked == [("describe",), ("get", ["b", "ghost", 1], ("k",), False)]


@pytest.mark.parametrize(
    "call",
    [
        lambda one: one.get_vectors("c", [1], with_vectors="no"),
        lambda one: one.get_vectors("c", [True]),
        lambda one: one.delete_vectors("c", "text"),
        lambda one: one.scroll_vectors("c", limit=0),
        lambda one: one.count_vectors("c", "text"),
        lambda one: one.delete_by_filter("", SearchFilter()),
        lambda one: one.delete_collection(5),
        lambda one: one.search_vectors("missing", [1, 2], limit=-1),
        lambda one: one.search_vectors("missing", [1, 2], extra=1),
        lambda one: one.search_vectors("missing", "text"),
        lambda one: one.upsert_vectors("missing", [VectorPoint(True, [1, 2])]),
        lambda one: one.upsert_vectors("missing", [VectorPoint(1, [1, 2], {"a": {1}})]),
        lambda one: one.upsert_batch("missing", [1], np.ones((2, 2))),
        lambda one: one.create_collection("missing", 2, exist_ok=1),
    ],
)
def test_what_needs_no_settings_is_refused_before_the_collection_is_looked_up(call: Ask) -> None:
    backend = Recorder()
    with pytest.raises(InvalidInputError):
        asyncio.run(_awaited(call(backend)))
    assert not backend.asked


@pytest.mark.parametrize(
    "call",
    [
        lambda one: one.upsert_vectors("c", [VectorPoint(1, [1])]),
        lambda one: one.search_vectors("c", [1, 2, 3]),
    ],
)
def test_what_the_settings_forbid_does_not_reach_the_adapter(call: Ask) -> None:
    backend = Recorder()
    with pytest.raises(InvalidInputError):
        asyncio.run(_awaited(call(backend)))
    assert len(backend.asked) == 1


def test_a_write_that_failed_tells_what_is_not_written() -> None:
    points = [VectorPoint(number, [1, 2]) for number in (11, 12, 13, 14)]
    with pytest.raises(BackendConnectionError) as caught:
        ask(lambda one: one.upsert_vectors("c", points))
    assert (caught.value.ids, caught.value.state_unknown) == ((13, 14), True)
    assert (caught.value.operation, caught.value.collection) == ("upsert_vectors", "c")


def test_a_write_that_failed_by_an_error_of_the_tree_tells_it_too() -> None:
    with pytest.raises(BackendConnectionError, match="adapter itself") as caught:
        ask(lambda one: one.upsert_vectors("c", [VectorPoint(17, [1, 2])]))
    assert (caught.value.ids, caught.value.state_unknown) == ((17,), True)


def test_a_collection_is_told_by_its_settings() -> None:
    info, asked = ask(lambda one: one.get_collection_info("c"))
    assert info == CollectionInfo("c", 2, DistanceMetric.EUCLIDEAN, 5, None, {})
    assert [one[0] for one in asked] == ["describe", "count"]
    assert ask(lambda one: one.list_collections())[0] == ["a", "b", "c"]


def test_a_missing_collection_is_missing_whatever_is_asked() -> None:
    with pytest.raises(CollectionNotFoundError):
        ask(lambda one: one.upsert_vectors("d", []))


# --- claims, handles, attempts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claim", "call"),
    [
        ("supports_scan", lambda one: one.count_vectors("c")),
        ("supports_scan", lambda one: one.get_vectors("c", [1])),
        ("supports_columnar", lambda one: one.upsert_batch("c", [1], np.ones((1, 2)))),
        ("supports_transactions", lambda one: one.begin_transaction()),
    ],
)
def test_what_the_connected_backend_does_not_claim_is_refused_first(claim: str, call: Ask) -> None:
    backend = Recorder()
    backend.claims = backend.claims.model_copy(update={claim: False})
    with pytest.raises(UnsupportedError) as caught:
        asyncio.run(_awaited(call(backend)))
    assert caught.value.capability == claim
    assert not backend.asked


def run(backend: Recorder, *calls: Ask) -> list[Any]:
    async def all_of_them() -> list[Any]:
        return [await call(backend) for call in calls]

    return asyncio.run(all_of_them())


def search(backend: Recorder) -> Awaitable[Any]:
    return backend.search_vectors("c", [1, 2])


def test_a_collection_is_looked_up_once() -> None:
    backend = Recorder()
    run(backend, search, search)
    assert backend.asked == [("describe",), ("search", 10, "1"), ("search", 10, "1")]


@pytest.mark.parametrize("error", [CollectionNotFoundError("gone"), RecreatedError("another")])
def test_work_on_an_outdated_handle_is_done_once_more(error: Exception) -> None:
    backend = Recorder()
    run(backend, search)
    backend.shelf, backend.failures, backend.asked = Shelf(backend.shelf.settings, "2"), [error], []
    run(Recorder(), search)  # another backend's handles are its own
    assert asyncio.run(_awaited(search(backend))) == []
    assert backend.asked == [("search", 10, "1"), ("describe",), ("search", 10, "2")]


def test_an_error_of_a_handle_that_is_current_counts() -> None:
    backend = Recorder()
    run(backend, search)
    backend.failures = [CollectionNotFoundError("gone")] * 2
    with pytest.raises(CollectionNotFoundError):
        run(backend, search)


def test_a_vector_is_judged_by_the_collection_as_it_is_now() -> None:
    backend = Recorder()
    run(backend, search)
    backend.shelf = Shelf(CollectionSettings("c", 3, DistanceMetric.EUCLIDEAN), "2")
    assert run(backend, lambda one: one.search_vectors("c", [1, 2, 3])) == [[]]


def test_a_read_survives_a_lost_connection_and_a_write_does_not() -> None:
    backend = Recorder(retries=2)
    backend.failures = [OSError("cut"), OSError("cut")]
    assert run(backend, search) == [[]]
    backend.failures = [OSError("cut")] * 3
    with pytest.raises(BackendConnectionError):
        run(backend, search)
    with pytest.raises(BackendConnectionError):
        run(backend, lambda one: one.upsert_vectors("c", [VectorPoint(13, [1, 2])]))
    assert len([one for one in backend.asked if one[0] == "upsert"]) == 1


def test_a_read_as_a_whole_ends_within_the_timeout() -> None:
    backend = Recorder(timeout=0.3, retries=10)
    backend.failures = [OSError("cut")] * 20
    with pytest.raises(BackendTimeoutError):
        run(backend, search)


def test_a_fault_of_the_adapter_is_told_as_one() -> None:
    backend = Recorder()
    backend.failures = [AttributeError("no such thing")]
    with pytest.raises(EngineError) as caught:
        run(backend, search)
    assert not caught.value.retryable
    assert isinstance(caught.value.__cause__, AttributeError)


def test_a_write_that_never_reached_the_adapter_names_its_points_too() -> None:
    backend = Recorder()

    async def cut(name: str) -> Shelf:
        raise OSError("cut")

    backend._describe = cut  # type: ignore[method-assign]
    with pytest.raises(BackendConnectionError) as caught:
        run(backend, lambda one: one.upsert_vectors("c", [VectorPoint(1, [1, 2]), VectorPoint("1", [1, 2])]))
    assert (caught.value.ids, caught.value.state_unknown) == ((1, "1"), False)


def test_a_cancellation_that_somebody_asked_for_stays_one() -> None:
    async def closed_under_it() -> None:
        backend = Recorder()
        started = asyncio.Event()

        async def hang(collection: Shelf, query: Query) -> list[SearchResult]:
            started.set()
            await asyncio.sleep(60)
            return []

        backend._search = hang  # type: ignore[method-assign]
        running = asyncio.ensure_future(search(backend))
        await started.wait()
        await backend.aclose()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(closed_under_it())


def test_a_cancellation_that_nobody_asked_for_is_no_cancellation() -> None:
    backend = Recorder()

    async def given_up(collection: Shelf, query: Query) -> list[SearchResult]:
        await backend.aclose()
        raise asyncio.CancelledError

    backend._search = given_up  # type: ignore[method-assign]
    with pytest.raises(BackendClosedError):
        run(backend, search)


def test_creating_what_is_there_already() -> None:
    backend = Recorder()
    metric = DistanceMetric.EUCLIDEAN
    assert run(backend, lambda one: one.create_collection("c", 2, "euclidean", exist_ok=True)) == [None]
    with pytest.raises(CollectionExistsError, match="other settings"):
        run(Recorder(), lambda one: one.create_collection("c", 3, metric, exist_ok=True))
    with pytest.raises(CollectionExistsError):
        run(Recorder(), lambda one: one.create_collection("c", 2, metric))


class Sketch(Recorder):
    """An adapter whose author is not done."""

    def __init__(self, *claims: str) -> None:
        super().__init__()
        self.claims = BackendCapabilities(**dict.fromkeys(claims, True))

    _get = BackendTemplate._get
    _upsert_part = BackendTemplate._upsert_part


@pytest.mark.parametrize(
    ("call", "lacks"),
    [
        (lambda one: one.get_vectors("c", [1]), "Sketch does not override _get, which get_vectors needs"),
        (
            lambda one: one.upsert_vectors("c", [VectorPoint(1, [1, 2])]),
            "Sketch does not override _upsert_part, which upsert_vectors needs",
        ),
    ],
)
def test_a_question_without_an_answer_is_the_authors_error_and_named(call: Ask, lacks: str) -> None:
    with pytest.raises(EngineError, match=re.escape(lacks)):
        asyncio.run(_awaited(call(Sketch("supports_scan"))))


def test_what_is_not_claimed_needs_no_method() -> None:
    with pytest.raises(UnsupportedError) as caught:
        asyncio.run(_awaited(Sketch().get_vectors("c", [1])))
    assert caught.value.capability == "supports_scan"


def test_a_backend_that_lacks_what_every_backend_has_is_refused_by_name() -> None:
    class Bare(BackendTemplate[Shelf]):
        name = "bare"

    class Plugin(DeclaredPlugin):
        info = BaseComponentInfo(name="bare")
        capabilities = BackendCapabilities()
        backend = ""
        config = "codeweaver_backends.config:BackendConfig"

        @classmethod
        def get_backend_class(cls) -> type:
            return Bare

    factory = CodeWeaverFactory()
    factory.register_plugin(Plugin)
    with pytest.raises(PluginError, match=r"'bare' is not complete: Bare lacks _create, _describe, .*capabilities"):
        factory.create_backend("bare")
