"""The memory backend's transactions: any interleaving of them, and collections that come and go meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeweaver_backends.errors import CollectionExistsError, CollectionNotFoundError, ConflictError, TransactionError
from codeweaver_backends.memory import MemoryBackend, MemoryConfig, MemoryStore
from codeweaver_backends.types import VectorPoint


def point(point_id: int, n: int = 0) -> VectorPoint:
    return VectorPoint(point_id, [1.0, float(n)], {"n": n})


def run(use: Callable[[MemoryBackend, MemoryBackend], Awaitable[None]]) -> None:
    """Use two backends of one store, with a collection ``c`` of the points 0 and 1."""

    async def whole() -> None:
        store = MemoryStore()
        one, other = (MemoryBackend(MemoryConfig(store=store)) for _ in range(2))
        await one.create_collection("c", 2)
        await one.upsert_vectors("c", [point(0), point(1)])
        await use(one, other)

    asyncio.run(whole())


async def content(backend: MemoryBackend, name: str = "c") -> dict[int, int]:
    """Version by id, page by page: each point comes once."""
    found: list[tuple[Any, int]] = []
    cursor: str | None = None
    while True:
        page = await backend.scroll_vectors(name, cursor=cursor, limit=2)
        found += [(one.id, (one.payload or {})["n"]) for one in page.points]
        cursor = page.cursor
        if cursor is None:
            assert len(dict(found)) == len(found)
            return dict(found)


class Someone:
    """Makes calls in a transaction or outside of one, beside a model that knows what should come of it."""

    def __init__(self, backend: MemoryBackend, live: dict[int, int]) -> None:
        self.backend, self.live = backend, live
        self.block: AbstractAsyncContextManager[MemoryBackend] | None = None
        self.view, self.before, self.own = backend, live, live

    async def begin(self) -> None:
        if self.block is None:
            self.block = self.backend.transaction()
            self.view = await self.block.__aenter__()
            self.before, self.own = dict(self.live), dict(self.live)

    async def write(self, point_id: int, n: int) -> None:
        await self.view.upsert_vectors("c", [point(point_id, n)])
        self.own[point_id] = n

    async def delete(self, point_id: int) -> None:
        await self.view.delete_vectors("c", [point_id])
        self.own.pop(point_id, None)

    async def commit(self) -> None:
        if self.block is None:
            return
        changed = [one for one in {**self.before, **self.own} if self.before.get(one) != self.own.get(one)]
        if any(self.live.get(one) != self.before.get(one) for one in changed):
            with pytest.raises(ConflictError):
                await self.block.__aexit__(None, None, None)
        else:
            await self.block.__aexit__(None, None, None)
            for one in changed:
                self.live.pop(one, None)
                if one in self.own:
                    self.live[one] = self.own[one]
        self.leave()

    async def rollback(self) -> None:
        if self.block is not None:
            assert not await self.block.__aexit__(ZeroDivisionError, ZeroDivisionError(), None)
            self.leave()

    def leave(self) -> None:
        self.block, self.view, self.before, self.own = None, self.backend, self.live, self.live


STEPS = st.lists(
    st.tuples(
        st.integers(0, 2), st.sampled_from(["begin", "write", "delete", "commit", "rollback"]), st.integers(0, 4)
    ),
    max_size=40,
)


@given(STEPS)
def test_any_interleaving_is_as_the_model_says(steps: list[tuple[int, str, int]]) -> None:
    async def use(one: MemoryBackend, other: MemoryBackend) -> None:
        live = {0: 0, 1: 0}
        people = [Someone(one, live), Someone(one, live), Someone(other, live)]
        for number, (who, what, point_id) in enumerate(steps, 1):
            someone = people[who]
            arguments = {"write": (point_id, number), "delete": (point_id,)}.get(what, ())
            await getattr(someone, what)(*arguments)
            for each in people:
                assert await content(each.view) == each.own
                assert (await each.view.get_collection_info("c")).vector_count == len(each.own)

    run(use)


def test_collections_come_and_go_with_a_transaction() -> None:
    async def use(one: MemoryBackend, other: MemoryBackend) -> None:
        async with one.transaction() as tx:
            await tx.delete_collection("c")
            await tx.create_collection("c", 3)
            await tx.create_collection("d", 2)
            await tx.upsert_vectors("d", [point(5)])
            assert await other.list_collections() == ["c"]
            assert await content(other) == {0: 0, 1: 0}
            with pytest.raises(CollectionNotFoundError):
                await other.delete_collection("d")
        assert await other.list_collections() == ["c", "d"]
        assert (await other.get_collection_info("c")).dimension == 3
        assert await content(other, "d") == {5: 0}

    run(use)


Act = Callable[[MemoryBackend], Awaitable[None]]


@pytest.mark.parametrize(
    ("inside", "meanwhile"),
    [
        (lambda tx: tx.delete_collection("c"), lambda other: other.upsert_vectors("c", [point(9)])),
        (lambda tx: tx.delete_collection("c"), lambda other: other.delete_collection("c")),
        (lambda tx: tx.upsert_vectors("c", [point(9)]), lambda other: other.delete_collection("c")),
        (lambda tx: tx.create_collection("d", 2), lambda other: other.create_collection("d", 3)),
    ],
)
def test_whoever_is_second_at_a_collection_conflicts(inside: Act, meanwhile: Act) -> None:
    async def use(one: MemoryBackend, other: MemoryBackend) -> None:
        transaction = await one.begin_transaction()
        await inside(one)
        await meanwhile(other)
        before = [
            await other.list_collections(),
            [await content(other, name) for name in await other.list_collections()],
        ]
        with pytest.raises(ConflictError) as raised:
            await one.commit_transaction(transaction)
        assert raised.value.operation == "commit_transaction"
        await one.rollback_transaction(transaction)
        with pytest.raises(TransactionError):
            await one.rollback_transaction(transaction)
        after = [await one.list_collections(), [await content(one, name) for name in await one.list_collections()]]
        assert after == before

    run(use)


def test_a_collection_that_a_transaction_leaves_alone_may_go() -> None:
    async def use(one: MemoryBackend, other: MemoryBackend) -> None:
        async with one.transaction() as tx:
            await tx.create_collection("d", 2)
            await other.delete_collection("c")
            assert await content(tx) == {0: 0, 1: 0}
            with pytest.raises(CollectionExistsError):
                await tx.create_collection("c", 2)
        assert await other.list_collections() == ["d"]

    run(use)
