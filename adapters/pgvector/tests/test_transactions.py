"""Transactions on a real server, beyond what the kit asks: locks, deadlocks, limits, and how the server ends one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from codeweaver_backends import (
    BackendError,
    BackendTimeoutError,
    CollectionNotFoundError,
    ConflictError,
    DistanceMetric,
    FilterCondition,
    SearchFilter,
    TransactionError,
    VectorPoint,
)
from codeweaver_pgvector import PgvectorBackend, PgvectorConfig

Settings = dict[str, Any]


@asynccontextmanager
async def opened(settings: Settings, **more: Any) -> AsyncIterator[PgvectorBackend]:
    """A backend with the empty collections "a" and "b"."""
    async with PgvectorBackend(PgvectorConfig(**{**settings, **more})) as backend:
        for name in await backend.list_collections():
            await backend.delete_collection(name)
        for name in ("a", "b"):
            await backend.create_collection(name, 2, DistanceMetric.EUCLIDEAN, payload_indexes={"n": "integer"})
        yield backend


def point(point_id: int, n: int = 0) -> VectorPoint:
    return VectorPoint(point_id, [1.0, float(n)], {"n": n})


def test_the_second_writer_gets_a_conflict(settings: Settings) -> None:
    async def run() -> None:
        async with opened(settings) as backend:
            await backend.upsert_vectors("a", [point(1), point(2)])
            for many in (1, 200):  # merged one by one, and copied
                async with backend.transaction() as first:
                    second = backend.transaction()
                    late = await second.__aenter__()
                    await late.upsert_vectors("b", [point(9)])
                    await first.upsert_vectors("a", [point(n, 1) for n in range(many)])
                with pytest.raises(ConflictError) as raised:
                    await late.upsert_vectors("a", [point(n, 2) for n in range(many)])
                assert raised.value.retryable
                assert set(raised.value.ids) == set(range(many))
                with pytest.raises(TransactionError, match="another transaction was first"):
                    await late.count_vectors("a")
                with pytest.raises(TransactionError):
                    await second.__aexit__(None, None, None)
                assert await backend.count_vectors("b") == 0
                assert await backend.count_vectors("a", _n_is(2)) == 0
                await backend.upsert_vectors("a", [point(0)])

    asyncio.run(run())


def test_a_held_point_is_waited_for_only_so_long(settings: Settings) -> None:
    async def run() -> None:
        async with opened(settings) as backend:
            await backend.upsert_vectors("a", [point(1)])
            async with backend.transaction() as first:
                await first.upsert_vectors("a", [point(1, 1), point(2, 1)])
                writes: list[Callable[[], Awaitable[None]]] = [
                    lambda: backend.upsert_vectors("a", [point(1, 2)]),
                    lambda: backend.upsert_vectors("a", [point(2, 2)]),
                    lambda: backend.delete_vectors("a", [1]),
                    lambda: backend.delete_collection("a"),
                ]
                for write in writes:
                    with pytest.raises(ConflictError):
                        await write()
                await backend.upsert_vectors("a", [point(3)])
                assert {one.id for one in (await backend.scroll_vectors("a")).points} == {1, 3}
            assert {one.id: one.payload for one in (await backend.scroll_vectors("a")).points} == {
                1: {"n": 1},
                2: {"n": 1},
                3: {"n": 0},
            }

    asyncio.run(run())


def test_a_deadlock_is_a_conflict_of_one(settings: Settings) -> None:
    async def run() -> None:
        async with opened(settings, lock_timeout=10) as backend:
            await backend.upsert_vectors("a", [point(1), point(2)])

            async def turn(mine: int, other: int, met: asyncio.Barrier) -> None:
                async with backend.transaction() as tx:
                    await tx.upsert_vectors("a", [point(mine, mine)])
                    await met.wait()
                    await tx.upsert_vectors("a", [point(other, mine)])

            met = asyncio.Barrier(2)
            outcomes = await asyncio.gather(turn(1, 2, met), turn(2, 1, met), return_exceptions=True)
            assert [type(one) for one in outcomes if one is not None] == [ConflictError]
            numbers = {(one.payload or {})["n"] for one in (await backend.scroll_vectors("a")).points}
            assert len(numbers) == 1

    asyncio.run(run())


def test_so_many_may_be_open_and_no_more(settings: Settings) -> None:
    async def run() -> None:
        async with opened(settings, max_connections=2, max_transactions=3, timeout=3.0) as backend:
            async with backend.transaction(), backend.transaction(), backend.transaction():
                with pytest.raises(BackendTimeoutError, match="3 transactions are open"):
                    await backend.begin_transaction()
                await backend.upsert_vectors("a", [point(1)])
            await backend.commit_transaction(await backend.begin_transaction())

    asyncio.run(run())


def test_a_collection_is_deleted_without_holding_up_others(settings: Settings) -> None:
    async def run() -> None:
        async with opened(settings) as backend, opened_again(settings) as other:
            await backend.upsert_vectors("a", [point(1)])
            assert len(await other.search_vectors("a", [1, 0])) == 1  # it knows the collection now
            async with backend.transaction() as tx, backend.transaction() as reader:
                assert await reader.count_vectors("a") == 1
                await tx.delete_collection("a")
                await tx.create_collection("a", 3)
                assert len(await tx.search_vectors("a", [1, 0, 0])) == 0
                assert len(await asyncio.wait_for(other.search_vectors("a", [1, 0]), 1)) == 1
                assert len(await asyncio.wait_for(reader.search_vectors("a", [1, 0]), 1)) == 1
            for one in (backend, other):
                assert (await one.get_collection_info("a")).dimension == 3
                assert await one.search_vectors("a", [1, 0, 0]) == []
            await backend.delete_collection("b")
            assert await _tables(settings) == {"codeweaver_collections", (await _last_table(settings))}

    asyncio.run(run())


def test_a_stale_cache_is_never_believed(settings: Settings) -> None:
    async def run() -> None:
        async with opened(settings) as backend, opened_again(settings) as other:
            await backend.upsert_vectors("a", [point(1)])
            for dimension, metric in ((3, DistanceMetric.COSINE), (2, DistanceMetric.DOT_PRODUCT)):
                query = [1.0] * (await other.get_collection_info("a")).dimension
                assert len(await other.search_vectors("a", query)) == 1
                await backend.delete_collection("a")
                with pytest.raises(CollectionNotFoundError):
                    await other.search_vectors("a", query)
                await backend.create_collection("a", dimension, metric)
                assert await other.search_vectors("a", [2.0] * dimension) == []
                await backend.upsert_vectors("a", [VectorPoint(7, [2.0] * dimension)])
                expected = 1.0 if metric is DistanceMetric.COSINE else 8.0
                assert [hit.score for hit in await other.search_vectors("a", [2.0] * dimension)] == [expected]

    asyncio.run(run())


# --- how it ends by itself -------------------------------------------------------------------------------------------


def test_a_lost_connection_ends_it_clearly(settings: Settings) -> None:
    async def run() -> None:
        async with opened(settings) as backend:
            await backend.upsert_vectors("a", [point(1)])
            for then in ("rollback", "commit", "begin"):
                transaction = await backend.begin_transaction()
                await backend.upsert_vectors("a", [point(1, 5), point(2)])
                await _cut_transactions(settings)
                with pytest.raises(TransactionError, match="lost"):
                    await backend.upsert_vectors("a", [point(3)])
                with pytest.raises(TransactionError, match="lost"):
                    await backend.count_vectors("a")
                if then == "rollback":
                    await backend.rollback_transaction(transaction)
                elif then == "commit":
                    with pytest.raises(TransactionError, match="lost") as raised:
                        await backend.commit_transaction(transaction)
                    assert not raised.value.state_unknown
                else:
                    await backend.rollback_transaction(await backend.begin_transaction())
                assert [one.payload for one in (await backend.scroll_vectors("a")).points] == [{"n": 0}]

    asyncio.run(run())


def test_a_commit_after_the_loss_fails_and_says_that_nothing_was_written(settings: Settings) -> None:
    async def run() -> None:
        async with opened(settings) as backend:
            transaction = await backend.begin_transaction()
            await backend.upsert_vectors("a", [point(1)])
            await _cut_transactions(settings)
            await asyncio.sleep(0.1)
            with pytest.raises(TransactionError) as raised:
                await backend.commit_transaction(transaction)
            assert not raised.value.state_unknown
            await backend.rollback_transaction(transaction)
            assert await backend.count_vectors("a") == 0

    asyncio.run(run())


def test_idling_too_long_ends_it_clearly(settings: Settings) -> None:
    async def run() -> None:
        async with opened(settings, idle_timeout=1.0) as backend:
            transaction = await backend.begin_transaction()
            await backend.upsert_vectors("a", [point(1)])
            await asyncio.sleep(2)
            with pytest.raises(TransactionError, match="lost"):
                await backend.upsert_vectors("a", [point(2)])
            await backend.rollback_transaction(transaction)
            assert await backend.count_vectors("a") == 0

    asyncio.run(run())


def test_a_call_that_is_cut_short_ends_it(settings: Settings) -> None:
    async def run() -> None:
        async with opened(settings, lock_timeout=20) as backend:
            async with backend.transaction() as holder:
                await holder.upsert_vectors("a", [point(1)])
                transaction = await backend.begin_transaction()
                await backend.upsert_vectors("b", [point(1)])
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(backend.upsert_vectors("a", [point(1, 2)]), 0.2)
                with pytest.raises(TransactionError, match="cut short"):
                    await backend.upsert_vectors("b", [point(2)])
                await backend.rollback_transaction(transaction)
            assert await backend.count_vectors("b") == 0
            assert await backend.count_vectors("a") == 1

    asyncio.run(run())


@pytest.mark.parametrize("arrives", [True, False])
def test_a_commit_whose_answer_is_lost_is_unknown(settings: Settings, arrives: bool) -> None:
    async def run() -> None:
        async with (
            opened(settings),
            _proxy(settings["port"]) as (port, rules),
            opened_again({**settings, "port": port}) as backend,
        ):
            transaction = await backend.begin_transaction()
            await backend.upsert_vectors("a", [point(1)])
            rules["commit"] = "forward and cut" if arrives else "cut"
            with pytest.raises(TransactionError, match="unknown") as raised:
                await backend.commit_transaction(transaction)
            assert raised.value.state_unknown
            rules.clear()
            with pytest.raises(TransactionError):
                await backend.rollback_transaction(transaction)
            assert await backend.count_vectors("a") == int(arrives)

            rules["commit"] = "forward and cut" if arrives else "cut"
            with pytest.raises(BackendError) as failed:
                await backend.upsert_vectors("b", [point(1), point(2)])
            assert failed.value.state_unknown
            assert set(failed.value.ids) == {1, 2}
            rules.clear()
            assert await backend.count_vectors("b") == 2 * arrives

    asyncio.run(run())


# --- helpers ---------------------------------------------------------------------------------------------------------


def _n_is(n: int) -> SearchFilter:
    return SearchFilter(must=[FilterCondition("n", "eq", n)])


def opened_again(settings: Settings) -> PgvectorBackend:
    return PgvectorBackend(PgvectorConfig(**settings))


async def _asked(settings: Settings, sql: str) -> list[Any]:
    names = ("host", "port", "user", "password", "database")
    connection = await asyncpg.connect(**{name: settings[name] for name in names if name in settings})
    try:
        return [row[0] for row in await connection.fetch(sql)]
    finally:
        await connection.close()


async def _cut_transactions(settings: Settings) -> None:
    await _asked(
        settings,
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where application_name = 'codeweaver-pgvector' and state = 'idle in transaction'",
    )


async def _tables(settings: Settings) -> set[str]:
    schema = settings["db_schema"]
    return set(await _asked(settings, f"select tablename from pg_tables where schemaname = '{schema}'"))  # noqa: S608


async def _last_table(settings: Settings) -> str:
    schema = settings["db_schema"]
    number = (await _asked(settings, f'select max(number) from "{schema}".codeweaver_collections'))[0]  # noqa: S608
    return f"codeweaver_points_{number}"


@asynccontextmanager
async def _proxy(target: int) -> AsyncIterator[tuple[int, dict[str, str]]]:
    """A way to the server that can be cut when a commit passes: before it arrives, or before its answer does."""
    rules: dict[str, str] = {}
    writers: list[asyncio.StreamWriter] = []

    async def pump(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, judge: Callable[[bytes], Awaitable[bool]]
    ) -> None:
        while (data := await reader.read(65_536)) and await judge(data):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", target)
        writers.extend((writer, server_writer))
        is_cut = False

        async def to_server(data: bytes) -> bool:
            nonlocal is_cut
            if rules and b"commit\0" in data:
                is_cut = True
                if rules["commit"] == "cut":
                    writer.transport.abort()
                    return False
            return True

        async def to_client(data: bytes) -> bool:
            if is_cut:
                writer.transport.abort()
            return not is_cut

        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(pump(reader, server_writer, to_server))
                both.create_task(pump(server_reader, writer, to_client))
        except* ConnectionError:
            pass
        finally:
            server_writer.close()
            writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield listener.sockets[0].getsockname()[1], rules
    finally:
        listener.close()
        for one in writers:
            one.transport.abort()
        await asyncio.sleep(0)
