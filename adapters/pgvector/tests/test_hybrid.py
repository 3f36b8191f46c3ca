"""Sparse vectors on a real server, beyond what the kit asks: the table that comes late, locks, and what is stored."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from codeweaver_backends import BackendError, ConflictError, InvalidVectorError, VectorPoint
from codeweaver_pgvector import PgvectorBackend, PgvectorConfig
from codeweaver_pgvector.slots import MOST_TERMS

Settings = dict[str, Any]


@asynccontextmanager
async def opened(settings: Settings, **more: Any) -> AsyncIterator[PgvectorBackend]:
    """A backend with the empty collection "a"."""
    async with PgvectorBackend(PgvectorConfig(**{**settings, **more})) as backend:
        for name in await backend.list_collections():
            await backend.delete_collection(name)
        await backend.create_collection("a", 2)
        yield backend


def point(point_id: int, sparse: dict[Any, float] | None = None, text: str = "") -> VectorPoint:
    return VectorPoint(point_id, [1.0, point_id / 10], {"t": text}, sparse)


async def found(backend: PgvectorBackend, query: dict[Any, float] | str) -> set[Any]:
    hits = await backend.hybrid_search("a", [1.0, 0.0], query, 1_000, alpha=0.0, hybrid_strategy="linear")
    return {hit.id for hit in hits}


async def slot_tables(settings: Settings) -> list[str]:
    names = ("host", "port", "user", "password", "database")
    connection = await asyncpg.connect(**{name: settings[name] for name in names if name in settings})
    try:
        tables = "select tablename from pg_tables where schemaname = $1 and tablename like 'codeweaver_slots_%'"
        return [row[0] for row in await connection.fetch(tables, settings["db_schema"])]
    finally:
        await connection.close()


def test_a_collection_has_a_table_of_sparse_vectors_when_it_has_some(settings: Settings) -> None:
    async def run() -> None:
        async with opened(settings) as backend, PgvectorBackend(PgvectorConfig(**settings)) as other:
            await backend.upsert_vectors("a", [point(n) for n in range(100)])
            for one in (backend, other):  # both know the collection as it is now
                assert (await one.get_vectors("a", [1]))[0].sparse_vector is None
                assert await found(one, {"x": 1.0}) == set()
            assert await slot_tables(settings) == []
            await backend.upsert_vectors("a", [point(1, {"x": 1.0}), point(2)])
            assert len(await slot_tables(settings)) == 1
            assert [one.sparse_vector is None for one in await other.get_vectors("a", [1, 2])] == [False, True]
            assert await found(other, {"x": 1.0}) == {1}
            await other.upsert_vectors("a", [point(1)])
            assert await found(backend, {"x": 1.0}) == set()
            await backend.delete_collection("a")
            assert await slot_tables(settings) == []

    asyncio.run(run())


def test_a_scroll_sees_what_came_after_its_handle(settings: Settings) -> None:
    async def run() -> None:
        async with opened(settings) as backend, PgvectorBackend(PgvectorConfig(**settings)) as other:
            await backend.upsert_vectors("a", [point(1)])
            assert len((await other.scroll_vectors("a")).points) == 1
            await backend.update_sparse_vectors("a", [point(1, {7: 2.0})])
            page = await other.scroll_vectors("a", with_vectors=True)
            assert page.points[0].sparse_vector == {7: 2.0}

    asyncio.run(run())


@pytest.mark.parametrize("many", [1, 100])
def test_of_those_who_write_the_first_sparse_vectors_at_once_all_succeed(settings: Settings, many: int) -> None:
    async def run() -> None:
        async with opened(settings, lock_timeout=10.0) as backend:
            batches = [[point(n * many + m, {"x": 1.0, n: 1.0}) for m in range(many)] for n in range(8)]
            indexes = [backend.create_sparse_index("a", ["t"]) for _ in range(2)]
            await asyncio.gather(*(backend.upsert_vectors("a", one) for one in batches), *indexes)
            assert await found(backend, {"x": 1.0}) == set(range(8 * many))
            assert await found(backend, {3: 1.0}) == set(range(3 * many, 4 * many))

    asyncio.run(run())


def test_who_replaces_points_unaware_of_sparse_vectors_leaves_none(settings: Settings) -> None:
    async def run() -> None:
        async with opened(settings, lock_timeout=10.0) as backend:
            await backend.upsert_vectors("a", [point(1)])
            async with backend.transaction() as tx:
                await tx.upsert_vectors("a", [point(2)])  # it has looked the collection up, and may write on
                outside = contextvars.Context()
                late = asyncio.create_task(backend.upsert_vectors("a", [point(1, {"x": 1.0})]), context=outside)
                await asyncio.sleep(0.3)
                assert not late.done()
                await tx.upsert_vectors("a", [point(1)])
            await late
            assert await found(backend, {"x": 1.0}) == {1}

    asyncio.run(run())


def test_points_written_while_an_index_is_made_have_their_texts(settings: Settings) -> None:
    async def run() -> None:
        async with opened(settings, lock_timeout=10.0) as backend, PgvectorBackend(PgvectorConfig(**settings)) as other:
            await backend.upsert_vectors("a", [point(n, text="old") for n in range(2_500)])
            written = 0

            async def write() -> None:
                nonlocal written
                while not made.done():
                    await other.upsert_vectors("a", [point(10_000 + written, text="word"), point(written, text="word")])
                    written += 1

            made = asyncio.create_task(backend.create_sparse_index("a", ["t"]))
            await write()
            await made
            assert written > 1
            hits = await backend.hybrid_search("a", [1.0, 0.0], "word", 10_000, alpha=0.0, hybrid_strategy="linear")
            assert {hit.id for hit in hits} == {*range(written), *range(10_000, 10_000 + written)}
            old = await backend.hybrid_search("a", [1.0, 0.0], "old", 10_000, alpha=0.0, hybrid_strategy="linear")
            assert {hit.id for hit in old} == set(range(written, 2_500))

    asyncio.run(run())


def test_a_definition_waits_for_writers_and_writers_for_a_definition(settings: Settings) -> None:
    async def run() -> None:
        async with opened(settings) as backend, PgvectorBackend(PgvectorConfig(**settings)) as other:
            async with backend.transaction() as tx:
                await tx.upsert_vectors("a", [point(1, text="word")])
                with pytest.raises(ConflictError):
                    await other.create_sparse_index("a", ["t"])
            with pytest.raises(BackendError, match="needs a sparse index"):
                await other.hybrid_search("a", [1.0, 0.0], "word")
            late = await backend.begin_transaction()
            assert await backend.count_vectors("a") == 1  # it sees the data as of now
            await other.create_sparse_index("a", ["t"])
            with pytest.raises(ConflictError):
                await backend.upsert_vectors("a", [point(2, text="word")])
            await backend.rollback_transaction(late)
            assert await found(backend, "word") == {1}

    asyncio.run(run())


def test_an_index_may_be_made_in_a_transaction(settings: Settings) -> None:
    async def run() -> None:
        async with opened(settings) as backend, PgvectorBackend(PgvectorConfig(**settings)) as other:
            await backend.upsert_vectors("a", [point(n, text="word") for n in range(3)])
            for is_committed in (False, True):
                transaction = await backend.begin_transaction()
                await backend.create_sparse_index("a", ["t"])
                await backend.upsert_vectors("a", [point(7, text="word")])
                assert await found(backend, "word") == {0, 1, 2, 7}
                with pytest.raises(BackendError, match="needs a sparse index"):
                    await other.hybrid_search("a", [1.0, 0.0], "word")
                if is_committed:
                    await backend.commit_transaction(transaction)
                else:
                    await backend.rollback_transaction(transaction)
            assert await found(other, "word") == {0, 1, 2, 7}

    asyncio.run(run())


def test_a_slot_that_somebody_changed_since_is_a_conflict(settings: Settings) -> None:
    async def run() -> None:
        async with opened(settings) as backend, PgvectorBackend(PgvectorConfig(**settings)) as other:
            await backend.upsert_vectors("a", [point(1, {"x": 1.0}), point(2)])
            for late in (1, 2):
                transaction = await backend.begin_transaction()
                assert await backend.count_vectors("a") == 2
                await other.update_sparse_vectors("a", [point(late, {"y": 1.0})])
                with pytest.raises(ConflictError):
                    await backend.upsert_vectors("a", [point(late)])
                await backend.rollback_transaction(transaction)
                assert await found(backend, {"y": 1.0}) == set(range(1, late + 1))

    asyncio.run(run())


def test_as_many_terms_as_the_type_takes(settings: Settings) -> None:
    async def run() -> None:
        async with opened(settings) as backend:
            terms = [3_000, MOST_TERMS]  # more than a row of a page holds
            await backend.upsert_vectors("a", [point(n, dict.fromkeys(range(n), 0.5)) for n in terms])
            for n, one in zip(terms, await backend.get_vectors("a", terms), strict=True):
                assert one.sparse_vector == dict.fromkeys(range(n), 0.5)
            assert await found(backend, dict.fromkeys(range(2_999, MOST_TERMS), 1.0)) == set(terms)
            assert await found(backend, {MOST_TERMS - 1: 1.0}) == {MOST_TERMS}
            many = dict.fromkeys(range(MOST_TERMS + 1), 1.0)
            for call in (
                backend.upsert_vectors("a", [point(1, many)]),
                backend.update_sparse_vectors("a", [point(3_000, many)]),
                found(backend, many),
            ):
                with pytest.raises(InvalidVectorError, match="16001 terms"):
                    await call
            assert await backend.count_vectors("a") == 2

    asyncio.run(run())
