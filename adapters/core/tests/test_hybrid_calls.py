"""The hybrid calls: what is asked of an adapter, whole pools, and texts that keep up with definition and payloads."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeweaver_backends import (
    BackendConnectionError,
    CollectionNotFoundError,
    ConflictError,
    HybridStrategy,
    InvalidIdError,
    InvalidInputError,
    InvalidVectorError,
    UnsupportedError,
    VectorPoint,
)
from codeweaver_backends.capabilities import BackendCapabilities, Limits
from codeweaver_backends.memory.backend import MemoryBackend
from codeweaver_backends.memory.config import MemoryConfig
from codeweaver_backends.memory.plugin import CAPABILITIES
from codeweaver_backends.memory.store import Collection, MemoryStore
from codeweaver_backends.sdk.hybrid.definition import SparseIndex
from codeweaver_backends.sdk.hybrid.fusion import Leg
from codeweaver_backends.sdk.hybrid.vectors import SparseRow, SparseRows, sparse_row
from codeweaver_backends.sdk.requests import Batch, Query, Slot, SparseQuery
from codeweaver_backends.types import PointId, SearchResult

LINEAR = HybridStrategy.LINEAR


class Backend(MemoryBackend):
    """Notes what it is asked, and may be interrupted."""

    def __init__(self, store: MemoryStore | None = None, claims: BackendCapabilities = CAPABILITIES) -> None:
        super().__init__(MemoryConfig(store=store or MemoryStore()))
        self.asked: list[Any] = []
        self.claims = claims
        self.before_slot: Callable[[], Awaitable[None]] | None = None
        self.after_upsert: Callable[[], Awaitable[None]] | None = None
        self.failing_slot = False
        self.longest = 1_000

    @property
    def capabilities(self) -> BackendCapabilities:
        return self.claims

    async def _search(self, collection: Collection, query: Query) -> list[SearchResult]:
        self.asked.append(("dense", query.limit))
        return await super()._search(collection, query)

    async def _search_sparse(self, collection: Collection, query: SparseQuery) -> Leg:
        self.asked.append((query.slot.value, query.limit))
        return await super()._search_sparse(collection, query)

    async def _upsert(self, collection: Collection, batch: Batch) -> None:
        await super()._upsert(collection, batch)
        interruption, self.after_upsert = self.after_upsert, None
        if interruption:
            await interruption()

    async def _write_slot(self, collection: Collection, slot: Slot, ids: Sequence[PointId], rows: SparseRows) -> None:
        if self.failing_slot:
            raise OSError("the way is cut")
        if any(len(row.indices) > self.longest for row in rows):
            raise InvalidVectorError("a text has too many terms")
        interruption, self.before_slot = self.before_slot, None
        if interruption:
            await interruption()
        await super()._write_slot(collection, slot, ids, rows)


def run(work: Callable[[Backend], Awaitable[Any]], **options: Any) -> Any:
    async def made() -> Any:
        backend = Backend(**options)
        await backend.create_collection("c", 2, "dot_product")
        return await work(backend)

    return asyncio.run(made())


async def found(backend: Backend, query: Any) -> set[PointId]:
    return {hit.id for hit in await backend.hybrid_search("c", [1, 0], query, 100, LINEAR, 0.0)}


def text(point_id: PointId, words: str) -> VectorPoint:
    return VectorPoint(point_id, [1.0, 0.0], {"t": words})


# --- pools -----------------------------------------------------------------------------------------------------------


def test_a_pool_is_fetched_until_its_ties_are_whole() -> None:
    async def work(backend: Backend) -> None:
        points = [VectorPoint(n, [1.0, 0.0], None, {"x": 1.0}) for n in range(500, 0, -1)]
        points += [VectorPoint(n, [0.5, 0.0], None, {"x": 0.5}) for n in range(1_000, 1_050)]
        await backend.upsert_vectors("c", points)
        hits = await backend.hybrid_search("c", [1, 0], {"x": 1}, 3, candidates=5)
        assert [hit.id for hit in hits] == [1, 2, 3]
        assert sorted(backend.asked) == [(leg, size) for leg in ("dense", "sparse") for size in (21, 84, 336, 1_344)]

    run(work)


def test_no_more_is_fetched_than_the_declared_limit() -> None:
    async def work(backend: Backend) -> None:
        await backend.upsert_vectors("c", [VectorPoint(n, [1.0, 0.0], None, {"x": 1.0}) for n in range(3_000)])
        assert len(await backend.hybrid_search("c", [1, 0], {"x": 1}, 1_000)) == 1_000
        assert max(backend.asked) == ("sparse", 1_000)

    run(work, claims=CAPABILITIES.model_copy(update={"limits": Limits(max_limit=1_000)}))


@pytest.mark.parametrize(
    ("query", "alpha", "legs"),
    [
        ({"x": 1.0}, 0.5, {"dense", "sparse"}),
        ({"x": 1.0}, 1, {"dense"}),
        ({"x": 1.0}, 0, {"sparse"}),
        ({}, 0.5, {"dense"}),
        ({}, 0.0, set()),
        ("alpha", 0.5, {"dense", "text"}),
        ("?", 0.5, {"dense"}),
        ("alpha", 1.0, {"dense"}),
    ],
)
def test_a_leg_that_does_not_count_is_not_run(query: Any, alpha: float, legs: set[str]) -> None:
    async def work(backend: Backend) -> None:
        await backend.upsert_vectors("c", [text(1, "alpha")])
        await backend.create_sparse_index("c", ["t"])
        await backend.hybrid_search("c", [1, 0], query, alpha=alpha)
        assert {leg for leg, _ in backend.asked} == legs

    run(work)


def test_an_error_of_a_leg_is_the_calls() -> None:
    async def work(backend: Backend) -> None:
        async def cut(collection: Collection, query: SparseQuery) -> Leg:
            raise OSError("the way is cut")

        backend._search_sparse = cut  # type: ignore[method-assign]
        with pytest.raises(BackendConnectionError) as caught:
            await backend.hybrid_search("c", [1, 0], {"x": 1})
        assert caught.value.operation == "hybrid_search"

    run(work)


def test_a_point_that_is_deleted_meanwhile_is_left_out() -> None:
    async def work(backend: Backend) -> None:
        await backend.upsert_vectors("c", [text(1, "a"), text(2, "b")])
        get = backend._get

        async def late(collection: Collection, ids: Any, projection: Any) -> Any:
            collection.points.pop(1)
            return await get(collection, ids, projection)

        backend._get = late  # type: ignore[method-assign]
        assert [hit.id for hit in await backend.hybrid_search("c", [1, 0], {})] == [2]

    run(work)


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        lambda one: one.hybrid_search("missing", [1, 0], {"a": -1.0}),
        lambda one: one.hybrid_search("missing", [1, 0], None),
        lambda one: one.hybrid_search("missing", [1, 0], {}, alpha=2),
        lambda one: one.hybrid_search("missing", [1, 0], {}, hybrid_strategy="best"),
        lambda one: one.hybrid_search("missing", [1, 0], {}, candidates=1),
        lambda one: one.create_sparse_index("missing", []),
        lambda one: one.update_sparse_vectors("missing", "ab"),
        lambda one: one.update_sparse_vectors("missing", [VectorPoint(1, [], None, {"a": -1.0})]),
        lambda one: one.update_sparse_vectors("missing", [VectorPoint("", [], None, {})]),
    ],
)
def test_arguments_are_judged_before_the_collection_is_looked_up(call: Callable[[Backend], Awaitable[Any]]) -> None:
    with pytest.raises(InvalidInputError):
        run(call)


@pytest.mark.parametrize(
    "call",
    [
        lambda one: one.hybrid_search("missing", [1, 0], {}),
        lambda one: one.hybrid_search("missing", [1, 0], "a", 0),
        lambda one: one.create_sparse_index("missing", ["t"]),
        lambda one: one.update_sparse_vectors("missing", []),
        lambda one: one.update_sparse_vectors("missing", [VectorPoint(1, [])]),
    ],
)
def test_a_missing_collection_is_told(call: Callable[[Backend], Awaitable[Any]]) -> None:
    with pytest.raises(CollectionNotFoundError):
        run(call)


def test_what_is_not_claimed_is_refused() -> None:
    async def work(backend: Backend) -> None:
        calls: list[Any] = [
            backend.hybrid_search("c", [1, 0], {}),
            backend.create_sparse_index("c", ["t"]),
            backend.update_sparse_vectors("c", []),
            backend.upsert_vectors("c", [VectorPoint(1, [1, 0], None, {"a": 1.0})]),
        ]
        for call in calls:
            with pytest.raises(UnsupportedError):
                await call
        await backend.upsert_vectors("c", [VectorPoint(1, [1, 0], None, {})])

    run(work, claims=CAPABILITIES.model_copy(update={"supports_hybrid_search": False}))


# --- texts keep up ---------------------------------------------------------------------------------------------------


def test_an_index_that_is_created_while_points_are_written_has_them() -> None:
    async def work(backend: Backend) -> None:
        other = Backend(backend._store)
        await backend.upsert_vectors("c", [text(1, "alpha")])
        backend.after_upsert = lambda: other.create_sparse_index("c", ["u"])
        await backend.upsert_vectors("c", [VectorPoint(2, [1, 0], {"t": "alpha", "u": "beta"})])
        assert await found(backend, "beta") == {2}
        backend.after_upsert = lambda: other.create_sparse_index("c", ["t"])
        await backend.upsert_vectors("c", [text(3, "alpha")])
        assert await found(other, "alpha") == {1, 2, 3}
        assert await found(backend, "beta") == set()

    run(work)


def test_the_definition_that_is_written_while_it_is_looked_for() -> None:
    """The backfill may be over before the point is written: then its writer sees to it."""

    async def work(backend: Backend) -> None:
        await backend.upsert_vectors("c", [text(1, "alpha")])
        other = Backend(backend._store)

        async def published_only() -> None:
            collection = other._store.collections["c"]
            await other._write_definition(collection, SparseIndex((("t",),)).to_json())

        backend.after_upsert = published_only
        await backend.upsert_vectors("c", [text(2, "alpha")])
        assert await found(backend, "alpha") == {2}

    run(work)


def test_a_point_that_changes_while_it_is_indexed_has_its_new_text() -> None:
    async def work(backend: Backend) -> None:
        await backend.upsert_vectors("c", [text(1, "old"), text(2, "old")])
        other = Backend(backend._store)

        async def meanwhile() -> None:
            await other.upsert_vectors("c", [text(1, "new")])
            await other.delete_vectors("c", [2])

        backend.before_slot = meanwhile
        await backend.create_sparse_index("c", ["t"])
        assert await found(backend, "new") == {1}
        assert await found(backend, "old") == set()
        assert (await backend.get_collection_info("c")).vector_count == 1

    run(work)


def test_points_that_never_rest_are_told() -> None:
    async def work(backend: Backend) -> None:
        await backend.upsert_vectors("c", [text(1, "old")])
        numbers = iter(range(1_000))

        async def restless() -> None:
            backend.before_slot = restless
            await Backend(backend._store).upsert_vectors("c", [text(1, f"new{next(numbers)}")])

        backend.before_slot = restless
        with pytest.raises(ConflictError):
            await backend.create_sparse_index("c", ["t"])
        backend.before_slot = None
        await backend.create_sparse_index("c", ["t"])
        assert await found(backend, "new19") == {1}

    run(work)


def test_a_backfill_that_was_cut_off_is_healed_by_another() -> None:
    async def work(backend: Backend) -> None:
        await backend.upsert_vectors("c", [text(n, "alpha") for n in range(2_500)])
        backend.failing_slot = True
        with pytest.raises(BackendConnectionError):
            await backend.create_sparse_index("c", ["t"])
        backend.failing_slot = False
        await backend.create_sparse_index("c", ["t"])
        assert len(await backend.hybrid_search("c", [1, 0], "alpha", 2_500, LINEAR, 0.0)) == 2_500

    run(work)


@pytest.mark.parametrize("is_there", [False, True], ids=["none before", "another before"])
def test_an_index_that_the_engine_cannot_hold_leaves_the_one_before(is_there: bool) -> None:
    async def work(backend: Backend) -> None:
        await backend.upsert_vectors(
            "c", [VectorPoint(n, [1.0, 0.0], {"t": "title", "body": f"w{n}"}) for n in range(1_500)]
        )
        if is_there:
            await backend.create_sparse_index("c", ["t"])
        before = (await backend.get_collection_info("c")).sparse_index
        backend.longest = 1
        with pytest.raises(InvalidVectorError):
            await backend.create_sparse_index("c", ["t", "body"])
        assert (await backend.get_collection_info("c")).sparse_index == before
        if is_there:
            assert len(await backend.hybrid_search("c", [1, 0], "title", 1_500, LINEAR, 0.0)) == 1_500
            assert await found(backend, "w7") == set()

    run(work)


def test_an_update_that_failed_tells_what_is_not_written() -> None:
    async def work(backend: Backend) -> None:
        backend.part_points = 2  # type: ignore[misc]
        await backend.upsert_vectors("c", [text(n, "a") for n in range(5)])
        write, calls = backend._write_slot, iter(range(9))

        async def second_fails(*given: Any) -> None:
            if next(calls) == 1:
                raise OSError("the way is cut")
            await write(*given)

        backend._write_slot = second_fails  # type: ignore[assignment, method-assign]
        with pytest.raises(BackendConnectionError) as caught:
            await backend.update_sparse_vectors("c", [VectorPoint(n, [], None, {"x": 1.0}) for n in range(5)])
        assert caught.value.ids == (2, 3, 4)
        assert caught.value.state_unknown
        with pytest.raises(InvalidIdError):
            await backend.update_sparse_vectors("c", [VectorPoint(9, [], None, {"x": 1.0})])
        assert await found(backend, {"x": 1.0}) == {0, 1}

    run(work)


# --- transactions of the memory backend ------------------------------------------------------------------------------


def test_an_index_of_a_transaction() -> None:
    async def work(backend: Backend) -> None:
        await backend.upsert_vectors("c", [text(1, "alpha")])
        transaction = await backend.begin_transaction()
        await backend.create_sparse_index("c", ["t"])
        assert await found(backend, "alpha") == {1}
        await backend.rollback_transaction(transaction)
        with pytest.raises(InvalidInputError):
            await backend.hybrid_search("c", [1, 0], "alpha")
        await backend.upsert_vectors("c", [text(2, "alpha")])
        async with backend.transaction() as view:
            await view.create_sparse_index("c", ["t"])
            await view.upsert_vectors("c", [text(3, "alpha")])
        assert await found(backend, "alpha") == {1, 2, 3}

    run(work)


@pytest.mark.parametrize("inside", [True, False])
def test_an_index_and_points_that_do_not_know_of_each_other_conflict(inside: bool) -> None:
    async def work(backend: Backend) -> None:
        await backend.upsert_vectors("c", [text(1, "alpha")])

        async def write(one: Any) -> None:
            await one.upsert_vectors("c", [text(2, "alpha")])

        async def index(one: Any) -> None:
            await one.create_sparse_index("c", ["t"])

        first, second = (index, write) if inside else (write, index)
        other = Backend(backend._store)
        transaction = await backend.begin_transaction()
        await first(backend)
        await second(other)
        with pytest.raises(ConflictError):
            await backend.commit_transaction(transaction)

    run(work)


# --- rows ------------------------------------------------------------------------------------------------------------

VECTORS = st.lists(st.dictionaries(st.integers(0, 200_000), st.floats(0.125, 9, width=32), max_size=6), max_size=8)
ONE = st.dictionaries(st.integers(0, 200_000) | st.sampled_from([1, 65_537, 131_073]), st.floats(0.1, 9), max_size=6)


@given(st.dictionaries(st.integers(-1, 10**9) | st.just(2**70), st.floats() | st.floats(0, 2e15), max_size=6))
def test_plain_vectors_are_read_as_any_others(vector: dict[int, float]) -> None:
    def read(given: dict[Any, Any]) -> Any:
        try:
            row = sparse_row(given)
        except InvalidVectorError as error:
            return str(error)
        return row.indices.dtype, row.indices.tolist(), row.weights.dtype, row.weights.tolist()

    assert read(vector) == read({index: np.float64(weight) for index, weight in vector.items()})


@given(VECTORS, ONE)
def test_scores_of_rows(vectors: list[dict[int, float]], asked: dict[int, float]) -> None:
    vectors = [*vectors, {1: 1.0}, {65_537: 2.0}]
    query = sparse_row(asked)
    rows = SparseRows.of(map(sparse_row, vectors))
    expected = [
        sum(weight * row.as_dict().get(index, 0.0) for index, weight in query.as_dict().items()) for row in rows
    ]
    assert rows.scores(query).tolist() == pytest.approx(expected)
    assert rows.scores(query).dtype == np.float64
    assert SparseRows.of([]).scores(query).tolist() == []


def batch(size: int) -> Batch:
    rows = SparseRows.of(sparse_row({n: 1.0, n + 1: 1.0}) for n in range(size))
    return Batch(list(range(size)), np.ones((size, 1), np.float32), [{}] * size, [b"{}"] * size, rows, rows)


def test_batches_keep_their_slots() -> None:
    def terms(part: Batch, slot: Slot) -> list[list[int]]:
        rows: Any = part.slot(slot)
        return [row.indices.tolist() for row in rows]

    whole = batch(7)
    for slot in Slot:
        assert terms(whole.take([5, 0]), slot) == [[5, 6], [0, 1]]
        assert terms(whole.slice(2, 4), slot) == [[2, 3], [3, 4]]
        assert [terms(part, slot) for part in whole.split(3)] == [
            [[0, 1], [1, 2], [2, 3]],
            [[3, 4], [4, 5], [5, 6]],
            [[6, 7]],
        ]
    assert [len(part) for part in whole.split(9, 2 * (4 + 2 + 32))] == [2, 2, 2, 1]
    bare = replace(whole, sparse=None, text=None)
    assert bare.take([1]).sparse is bare.slice(1, 2).text is None
    assert [len(part) for part in bare.split(9, 2 * (4 + 2 + 32))] == [7]


def test_a_row_is_a_pair() -> None:
    row = SparseRow(np.array([1], np.uint32), np.array([2.0], np.float32))
    assert row.copy().as_dict() == {1: 2.0}
    assert not np.shares_memory(row.copy().weights, row.weights)
