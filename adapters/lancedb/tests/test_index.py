"""The cut of a table: when it is built, what is read of it, and what a broken build leaves."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import lancedb  # noqa: F401 - the first import takes seconds, which are no part of any story's time
import numpy as np
import pytest

from codeweaver_backends import CodeWeaverFactory
from codeweaver_backends.sdk import ALWAYS, Exists, Projection, Query, Way
from codeweaver_lancedb.cut import ALL_PARTS

SIZE, DIMENSION = 4_000, 8
MATRIX = np.random.default_rng(5).standard_normal((SIZE, DIMENSION)).astype(np.float32)


def backend_at(folder: Path, **settings: Any) -> Any:
    return CodeWeaverFactory().create_backend("lancedb", path=folder, **{"index_from": 1_000, **settings})


async def loaded(backend: Any, name: str, rows: int = SIZE, **options: Any) -> None:
    await backend.create_collection(name, DIMENSION, **options)
    await backend.upsert_batch(name, list(range(rows)), MATRIX[:rows])


async def indexed(backend: Any, name: str) -> int:
    return int((await backend.get_collection_info(name)).indexed_vector_count)


def query(**how: Any) -> Query:
    return Query(MATRIX[0], how.pop("limit", 10), how.pop("filter", ALWAYS), None, Projection(), **how)


def test_writes_build_it_in_the_background(tmp_path: Path) -> None:
    async def main() -> None:
        async with backend_at(tmp_path) as backend:
            await loaded(backend, "c", rows=1_000)
            await backend._handles["c"].upkeep
            assert await indexed(backend, "c") == 0, "no larger than the exact size"
            await backend.upsert_batch("c", list(range(1_000, SIZE)), MATRIX[1_000:])
            await backend._handles["c"].upkeep
            assert await indexed(backend, "c") == SIZE
            await backend.upsert_batch("c", list(range(SIZE, SIZE + 100)), MATRIX[:100])
            assert await indexed(backend, "c") == SIZE, "a few more are scanned"

    asyncio.run(main())


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({}, (Way.INDEXED, 20)),
        ({"effort": 1.6}, (Way.INDEXED, 32)),
        ({"exact": True}, (Way.EXACT, ALL_PARTS)),
        ({"filter": Exists(("a",))}, (Way.EXACT, ALL_PARTS)),
        ({"limit": 20}, (Way.INDEXED, 20)),
        ({"limit": 21}, (Way.EXACT, 20)),
    ],
)
def test_what_is_read_of_it(tmp_path: Path, how: dict[str, Any], expected: tuple[Way, int]) -> None:
    async def main() -> None:
        async with backend_at(tmp_path) as backend:
            await loaded(backend, "c", vector_index={"kind": "ivf", "partitions": 40})
            await backend.optimize_collection("c")
            assert (await backend._handles["c"].cut.way(query(**how)))[:2] == expected

    asyncio.run(main())


def test_a_search_that_reads_all_parts_is_exact_and_of_its_metric(tmp_path: Path) -> None:
    async def main() -> None:
        async with backend_at(tmp_path) as backend:
            for metric in ("cosine", "euclidean", "dot_product"):
                await loaded(backend, metric, distance_metric=metric, vector_index={"kind": "ivf", "partitions": 40})
                scanned = await backend.search_vectors(metric, MATRIX[7], limit=50)
                await backend.optimize_collection(metric)
                read = await backend.search_vectors(metric, MATRIX[7], limit=50)
                assert [hit.id for hit in read] == [hit.id for hit in scanned]
                assert np.allclose([hit.score for hit in read], [hit.score for hit in scanned], atol=1e-5)

    asyncio.run(main())


def test_it_is_built_again_where_there_is_twice_as_much(tmp_path: Path) -> None:
    async def main() -> None:
        async with backend_at(tmp_path) as backend:
            await backend.create_collection("c", DIMENSION)
            rng = np.random.default_rng(1)
            for start, parts in ((0, 2), (10_000, 4)):
                rows = rng.standard_normal((10_000, DIMENSION)).astype(np.float32)
                await backend.upsert_batch("c", list(range(start, start + 10_000)), rows)
                await backend.optimize_collection("c")
                assert await backend._handles["c"].cut._parts() == parts

    asyncio.run(main())


def test_of_several_who_optimize_one_builds(tmp_path: Path) -> None:
    async def main() -> None:
        async with backend_at(tmp_path) as first, backend_at(tmp_path) as second:
            await loaded(first, "c", vector_index={"kind": "ivf", "partitions": 10})
            infos = await asyncio.gather(*(one.optimize_collection("c") for one in (first, second, first)))
            assert {info.indexed_vector_count for info in infos} == {SIZE}
            version = await first._handles["c"].table.version()
            await second.optimize_collection("c")
            assert await first._handles["c"].table.version() == version, "there was nothing left to do"

    asyncio.run(main())


def test_a_collection_of_before_gets_it_when_it_is_optimized(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        from codeweaver_backends.sdk.requests import CollectionSettings

        async with backend_at(tmp_path) as backend:
            with monkeypatch.context() as patch:
                written = CollectionSettings.to_json
                patch.setattr(
                    CollectionSettings,
                    "to_json",
                    lambda self, layout, **own: written(
                        CollectionSettings(self.name, self.dimension, self.metric), layout, **own
                    ),
                )
                await backend.create_collection("old", DIMENSION)
            backend._handles.clear()
            await backend.upsert_batch("old", list(range(SIZE)), MATRIX)
            await backend._handles["old"].upkeep
            assert await indexed(backend, "old") == 0
            assert (await backend.optimize_collection("old")).indexed_vector_count == SIZE
        async with backend_at(tmp_path) as backend:
            await backend.upsert_batch("old", list(range(SIZE, 2 * SIZE)), MATRIX)
            await backend._handles["old"].upkeep
            assert await indexed(backend, "old") == 2 * SIZE, "and it is kept"

    asyncio.run(main())


def test_the_known_ids_survive_a_build(tmp_path: Path) -> None:
    async def main() -> None:
        async with backend_at(tmp_path) as backend:
            await loaded(backend, "c")
            await backend._handles["c"].upkeep
            collection = backend._handles["c"]
            assert await collection._are_new([SIZE]), "new rows are added, and not merged, after it"
            assert not await collection._are_new([SIZE])

    asyncio.run(main())


def test_a_process_that_is_killed_while_it_builds_harms_nothing(tmp_path: Path) -> None:
    story = f"""
        import asyncio, numpy as np, os, threading, time
        from codeweaver_backends import create_backend

        async def main():
            async with create_backend("lancedb", path={str(tmp_path)!r}, index_from=1_000) as backend:
                await backend.create_collection("c", 64, vector_index={{"kind": "ivf", "partitions": 200}})
                rows = np.random.default_rng(0).standard_normal((60_000, 64)).astype(np.float32)
                await backend.upsert_batch("c", list(range(60_000)), rows)
                print("loaded", flush=True)
                await backend.optimize_collection("c")

        asyncio.run(main())
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(story)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "loaded\n"
        process.kill()

    async def main() -> None:
        async with backend_at(tmp_path) as backend:
            rows = np.random.default_rng(0).standard_normal((60_000, 64)).astype(np.float32)
            info = await backend.get_collection_info("c")
            assert info.vector_count == 60_000
            [hit] = await backend.search_vectors("c", rows[77], limit=1)
            assert hit.id == 77
            assert (await backend.optimize_collection("c")).indexed_vector_count == 60_000
            [hit] = await backend.search_vectors("c", rows[99], limit=1)
            assert hit.id == 99

    asyncio.run(main())
