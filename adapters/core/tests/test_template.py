"""The template: what it answers alone, what it asks the adapter, and what an adapter is told of failures."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np
import pytest

from codeweaver_backends import (
    BackendConnectionError,
    CollectionInfo,
    CollectionNotFoundError,
    DistanceMetric,
    FilterCondition,
    InvalidInputError,
    PointId,
    ScrollPage,
    SearchFilter,
    SearchResult,
    VectorPoint,
)
from codeweaver_backends.capabilities import BackendCapabilities
from codeweaver_backends.config import BackendConfig
from codeweaver_backends.memory import MemoryPlugin
from codeweaver_backends.sdk.filters.tree import Node
from codeweaver_backends.sdk.requests import Batch, CollectionSettings, Page, Query, WithPayload
from codeweaver_backends.sdk.template import Access, BackendTemplate

T = TypeVar("T")
NOTHING = SearchFilter(must=[FilterCondition("x", "in", [])])


@dataclass(frozen=True)
class Shelf:
    settings: CollectionSettings


class Recorder(BackendTemplate[Shelf]):
    """Notes what it is asked. It has one collection, ``c``, of two dimensions."""

    name: ClassVar[str] = "recorder"
    asked: list[tuple[Any, ...]]

    def __init__(self) -> None:
        super().__init__(BackendConfig())
        self.asked = []
        self.shelf = Shelf(CollectionSettings("c", 2, DistanceMetric.EUCLIDEAN))

    @property
    def capabilities(self) -> BackendCapabilities:
        return MemoryPlugin.get_capabilities()

    async def _on(self, name: str, work: Callable[[Shelf], Awaitable[T]], access: Access) -> T:
        self.asked.append((access.name,))
        if name != "c":
            raise CollectionNotFoundError("the collection does not exist")
        return await work(self.shelf)

    async def _confirm(self, collection: Shelf) -> None:
        self.asked.append(("confirm",))

    async def _names(self) -> list[str]:
        return ["b", "c", "a"]

    async def _upsert(self, collection: Shelf, batch: Batch) -> None:
        self.asked.append(("upsert", batch.ids, batch.vectors.tolist()))
        if 13 in batch.ids:
            raise self._unwritten(OSError("the way is cut"), batch.ids[1:])

    async def _delete(self, collection: Shelf, ids: list[PointId]) -> None:
        self.asked.append(("delete", ids))

    async def _delete_matching(self, collection: Shelf, node: Node) -> int:
        self.asked.append(("delete_matching", node))
        return 3

    async def _search(self, collection: Shelf, query: Query) -> list[SearchResult]:
        self.asked.append(("search", query.limit))
        return []

    async def _get(
        self, collection: Shelf, ids: list[PointId], with_payload: WithPayload, with_vectors: bool
    ) -> Iterable[VectorPoint]:
        self.asked.append(("get", ids, with_payload, with_vectors))
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
    ("call", "access", "answer"),
    [
        (lambda one: one.upsert_vectors("c", []), "WRITE", None),
        (lambda one: one.upsert_batch("c", [], np.empty((0, 2), np.float32)), "WRITE", None),
        (lambda one: one.delete_vectors("c", []), "WRITE", None),
        (lambda one: one.delete_by_filter("c", NOTHING), "WRITE", 0),
        (lambda one: one.search_vectors("c", [1, 2], 0), "SEARCH", []),
        (lambda one: one.search_vectors("c", [1, 2], search_filter=NOTHING), "SEARCH", []),
        (lambda one: one.get_vectors("c", []), "READ", []),
        (lambda one: one.scroll_vectors("c", search_filter=NOTHING), "READ", ScrollPage([])),
        (lambda one: one.count_vectors("c", NOTHING), "READ", 0),
    ],
)
def test_what_has_an_answer_already_is_not_asked(call: Ask, access: str, answer: Any) -> None:
    assert ask(call) == (answer, [(access,), ("confirm",)])


def test_an_adapter_is_given_what_was_judged() -> None:
    _, asked = ask(lambda one: one.upsert_vectors("c", iter([VectorPoint(1, [1, 2]), VectorPoint(1, [3, 4])])))  # type: ignore[arg-type]
    assert asked == [("WRITE",), ("upsert", [1], [[3.0, 4.0]])]
    assert ask(lambda one: one.delete_vectors("c", [2, "2", 2]))[1] == [("WRITE",), ("delete", [2, "2"])]
    got, asked = ask(lambda one: one.get_vectors("c", ["b", "ghost", 1, "b"], with_payload=["k"], with_vectors=False))
    assert [point.id for point in got] == ["b", 1]
    assert asked == [("READ",), ("get", ["b", "ghost", 1], ("k",), False)]


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
        lambda one: one.search_vectors("c", [1, 2], extra=1),
    ],
)
def test_what_the_settings_forbid_does_not_reach_the_adapter(call: Ask) -> None:
    backend = Recorder()
    with pytest.raises(InvalidInputError):
        asyncio.run(_awaited(call(backend)))
    assert len(backend.asked) == 1


def test_a_write_that_failed_tells_what_is_not_written() -> None:
    points = [VectorPoint(number, [1, 2]) for number in (12, 13, 14)]
    with pytest.raises(BackendConnectionError) as caught:
        ask(lambda one: one.upsert_vectors("c", points))
    assert (caught.value.ids, caught.value.state_unknown) == ((13, 14), True)
    assert (caught.value.operation, caught.value.collection) == ("upsert_vectors", "c")


def test_a_collection_is_told_by_its_settings() -> None:
    info, asked = ask(lambda one: one.get_collection_info("c"))
    assert info == CollectionInfo("c", 2, DistanceMetric.EUCLIDEAN, 5, None, {})
    assert [one[0] for one in asked] == ["READ", "confirm", "count"]
    assert ask(lambda one: one.list_collections())[0] == ["a", "b", "c"]


def test_a_missing_collection_is_missing_whatever_is_asked() -> None:
    with pytest.raises(CollectionNotFoundError):
        ask(lambda one: one.upsert_vectors("d", []))
