"""The graph: who searches by it and who does not, who builds it, and what is left when a build is broken off."""

# ruff: noqa: S608 - names of our own

from __future__ import annotations

import asyncio
import time
from typing import Any

import asyncpg
import numpy as np
import pytest

from codeweaver_backends import InvalidOptionError, UnsupportedError
from codeweaver_backends.sdk import ALWAYS, Projection, Query
from codeweaver_pgvector import PgvectorBackend, PgvectorConfig
from codeweaver_pgvector.graph import _creation
from codeweaver_pgvector.schema import engine_query
from codeweaver_pgvector.searching import few_nearest, graph_nearest, scan_nearest
from codeweaver_pgvector.testing import settings_at

SIZE, DIMENSION = 3_000, 16
MATRIX = np.random.default_rng(5).standard_normal((SIZE, DIMENSION)).astype(np.float32)


def backend_at(port: int, **settings: Any) -> PgvectorBackend:
    return PgvectorBackend(PgvectorConfig(**{**settings_at(port), "index_from": 1_000, **settings}))


async def loaded(backend: PgvectorBackend, name: str, rows: int = SIZE, **options: Any) -> None:
    await backend.create_collection(name, DIMENSION, **options)
    await backend.upsert_batch(name, list(range(rows)), MATRIX[:rows])


async def fetched(port: int, sql: str) -> list[Any]:
    settings = settings_at(port)
    connection = await asyncpg.connect(
        host=settings["host"], port=settings["port"], user=settings["user"], database=settings.get("database")
    )
    try:
        return list(await connection.fetch(sql))
    finally:
        await connection.close()


async def indexed(backend: PgvectorBackend, name: str) -> int | None:
    return (await backend.get_collection_info(name)).indexed_vector_count


async def eventually_indexed(backend: PgvectorBackend, name: str) -> None:
    end = time.monotonic() + 60
    table = (await backend._describe(name)).table
    while not (await backend._graphs.state(table, backend._client)).is_ready:
        assert time.monotonic() < end, "the index is not built"
        backend._graphs._states.clear()
        await asyncio.sleep(0.1)


def test_only_searches_that_may_are_answered_by_the_graph(port: int) -> None:
    async def main() -> None:
        async with backend_at(port) as backend:
            await loaded(backend, "plans")
            await backend.optimize_collection("plans")
            table = (await backend._describe("plans")).table
            vector = engine_query(MATRIX[0], table.settings.metric)[0]
            query = Query(MATRIX[0], 10, ALWAYS, None, Projection())
            statements = {
                "scan": (scan_nearest(table, "true", query.projection), [vector, 10]),
                "few": (few_nearest(table, "true", query.projection, 1_001), [vector, 10]),
                "graph": (
                    graph_nearest(table, "true", query.projection, 10, backend._graphs.settings(query)),
                    [vector],
                ),
            }
            plans = {
                name: "\n".join(row[0] for row in await backend._client.fetch(f"explain {sql}", *values))
                for name, (sql, values) in statements.items()
            }
            used = {name for name, text in plans.items() if f"{table.engine_name}_vec" in text}
            assert used == {"graph"}, plans

    asyncio.run(main())


def test_the_first_write_beyond_the_exact_size_builds_it(port: int) -> None:
    async def main() -> None:
        async with backend_at(port) as backend:
            await loaded(backend, "grown", rows=1_000)
            await asyncio.sleep(0.5)
            assert await indexed(backend, "grown") == 0
            await backend.upsert_batch("grown", list(range(1_000, SIZE)), MATRIX[1_000:])
            await eventually_indexed(backend, "grown")
            assert await indexed(backend, "grown") == SIZE

    asyncio.run(main())


def test_several_that_build_at_once_build_one(port: int) -> None:
    async def main() -> None:
        async with backend_at(port) as first, backend_at(port) as second:
            await loaded(first, "several")
            infos = await asyncio.gather(*(one.optimize_collection("several") for one in (first, second, first)))
            assert {info.indexed_vector_count for info in infos} == {SIZE}
            rows = await fetched(port, "select indexname from pg_indexes where indexdef like '%hnsw%'")
            number = (await first._describe("several")).table.number
            assert sum(f"_{number}_" in row[0] for row in rows) == 1

    asyncio.run(main())


def test_what_is_left_of_a_build_that_was_broken_off_is_built_again(port: int) -> None:
    async def main() -> None:
        async with backend_at(port) as backend, backend_at(port) as writer:
            await loaded(backend, "broken")
            await eventually_indexed(backend, "broken")
            table = (await backend._describe("broken")).table
            name = f"{table.engine_name}_vec"
            await fetched(port, f'drop index "{table.schema}".{name}')
            async with writer.transaction() as view:
                await view.upsert_batch("broken", [SIZE], MATRIX[:1])  # whoever builds waits for its end
                async with backend._client.maintenance() as connection:
                    building = asyncio.create_task(connection.execute(_creation(table)))
                    there = f"select from pg_class where relname = '{name}'"
                    while not await fetched(port, there):  # noqa: ASYNC110 - the server does not wake us
                        await asyncio.sleep(0.01)
                    await fetched(port, f"select pg_cancel_backend({connection.get_server_pid()})")
                    with pytest.raises(asyncpg.QueryCanceledError):
                        await building
            assert [row[0] for row in await fetched(port, _valid(name))] == [False]
            backend._graphs._states.clear()
            assert await indexed(backend, "broken") == 0
            assert len(await backend.search_vectors("broken", MATRIX[0], limit=10)) == 10
            assert (await backend.optimize_collection("broken")).indexed_vector_count == SIZE + 1
            assert [row[0] for row in await fetched(port, _valid(name))] == [True]

    asyncio.run(main())


def _valid(name: str) -> str:
    return f"select indisvalid from pg_index join pg_class on pg_class.oid = indexrelid where relname = '{name}'"


def test_a_collection_of_before_gets_it_when_it_is_optimized(port: int) -> None:
    async def main() -> None:
        async with backend_at(port) as backend:
            await loaded(backend, "old")
            await backend.delete_collection("old")
            await loaded(backend, "old", vector_index="exact")
            catalogue = backend._catalogue.name
            await fetched(
                port, f"update {catalogue} set settings = (settings::jsonb - 'vector_index')::text where name = 'old'"
            )
            backend._handles.clear()
            assert (await backend.get_collection_info("old")).vector_index == "exact"
            assert await indexed(backend, "old") == 0
            assert (await backend.optimize_collection("old")).indexed_vector_count == SIZE

    asyncio.run(main())


def test_inside_a_transaction_nothing_is_optimized(port: int) -> None:
    async def main() -> None:
        async with backend_at(port) as backend:
            await loaded(backend, "within")
            async with backend.transaction() as view:
                with pytest.raises(UnsupportedError, match="inside a transaction"):
                    await view.optimize_collection("within")
                await view.upsert_batch("within", [SIZE], MATRIX[:1] + 1)
            assert (await backend.optimize_collection("within")).indexed_vector_count == SIZE + 1

    asyncio.run(main())


def test_a_transaction_finds_by_the_graph_what_it_wrote(port: int) -> None:
    async def main() -> None:
        async with backend_at(port) as backend:
            await loaded(backend, "own")
            await backend.optimize_collection("own")
            async with backend.transaction() as view:
                await view.delete_vectors("own", [0])
                await view.upsert_batch("own", [SIZE], MATRIX[:1])
                [hit] = await view.search_vectors("own", MATRIX[0], limit=1)
                assert hit.id == SIZE
                assert [one.id for one in await backend.search_vectors("own", MATRIX[0], limit=1)] == [0]

    asyncio.run(main())


def test_graphs_that_cannot_be_are_refused_and_others_do_without(port: int) -> None:
    async def main() -> None:
        async with backend_at(port) as backend:
            with pytest.raises(UnsupportedError, match="2,000 dimensions"):
                await backend.create_collection("wide", 2_001, vector_index={"kind": "hnsw"})
            with pytest.raises(InvalidOptionError, match="at least twice m"):
                await backend.create_collection(
                    "thin", 8, vector_index={"kind": "hnsw", "m": 40, "ef_construction": 79}
                )
            assert not {"wide", "thin"} & set(await backend.list_collections())
            await backend.create_collection("wide", 2_001)
            rows = np.random.default_rng(1).standard_normal((1_001, 2_001)).astype(np.float32)
            await backend.upsert_batch("wide", list(range(1_001)), rows)
            assert (await backend.optimize_collection("wide")).indexed_vector_count == 0
            assert (await backend.search_vectors("wide", rows[7], limit=1))[0].id == 7

    asyncio.run(main())


def test_options_of_the_engine_reach_table_and_build(port: int) -> None:
    async def main() -> None:
        own = {"tablespace": "pg_default", "maintenance_work_mem": "96MB"}
        async with backend_at(port, engine_options=own) as backend:
            await loaded(backend, "placed")
            assert (await backend.optimize_collection("placed")).engine_options == own
            assert await indexed(backend, "placed") == SIZE
            with pytest.raises(InvalidOptionError, match="tablespace names none"):
                await backend.create_collection("other", 2, engine_options={"tablespace": 'no"where'})
            with pytest.raises(InvalidOptionError, match="a size like"):
                await backend.create_collection("other", 2, engine_options={"maintenance_work_mem": "much"})
            assert "other" not in await backend.list_collections()
            # The graph of these points would not fit into the least that PostgreSQL takes, and is built all the same.
            await loaded(backend, "cramped", engine_options={"maintenance_work_mem": "1MB"})
            assert (await backend.optimize_collection("cramped")).indexed_vector_count == SIZE

    asyncio.run(main())
