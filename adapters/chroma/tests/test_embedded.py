"""One database per folder in this process: shared by its backends, closed with the last of them."""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from codeweaver_backends.errors import BackendConnectionError
from codeweaver_backends.types import DistanceMetric, FilterCondition, SearchFilter, VectorPoint
from codeweaver_chroma import ChromaBackend, ChromaConfig
from codeweaver_chroma.embedded import FOLDERS

DESCRIPTORS = Path("/proc/self/fd")


def test_backends_of_one_process_see_each_others_points(tmp_path: Path) -> None:
    """Chroma's own clients of one folder do not, after a thousand writes."""

    async def run() -> None:
        one = ChromaBackend(ChromaConfig(path=tmp_path / "x"))
        other = ChromaBackend(ChromaConfig(path=tmp_path / "y" / ".." / "x"))
        await one.create_collection("c", 4)
        rng = np.random.default_rng(0)
        for turn, backend in enumerate((one, other, one, other)):
            ids = list(range(turn * 700, turn * 700 + 700))
            await backend.upsert_batch("c", ids, rng.standard_normal((700, 4)))
            for reader in (one, other):
                assert len(await reader.search_vectors("c", [1, 0, 0, 0], 10_000)) == len(ids) * (turn + 1)
        assert len(FOLDERS._folders) == 1
        await one.aclose()
        assert (await other.get_collection_info("c")).vector_count == 2_800
        await other.aclose()

    asyncio.run(run())
    assert not FOLDERS._folders


@pytest.mark.skipif(not DESCRIPTORS.is_dir(), reason="no /proc")
def test_closing_gives_everything_back(tmp_path: Path) -> None:
    async def run(number: int) -> tuple[int, int]:
        async with ChromaBackend(ChromaConfig(path=tmp_path / str(number))) as backend:
            await backend.create_collection("c", 2)
            await backend.upsert_vectors("c", [VectorPoint(1, [1, 0])])
            await backend.search_vectors("c", [1, 0])
        gc.collect()
        return threading.active_count(), len(os.listdir(DESCRIPTORS))

    async def rounds() -> list[tuple[int, int]]:
        return [await run(number) for number in range(6)]

    *_, before, _, _, after = asyncio.run(rounds())
    assert after <= before


@pytest.mark.parametrize("metric", [DistanceMetric.COSINE, DistanceMetric.EUCLIDEAN])
def test_points_that_the_graph_does_not_reach_are_found(tmp_path: Path, metric: DistanceMetric) -> None:
    """Chroma's answer to a search for all of these points lacks dozens of them."""

    async def run() -> None:
        async with ChromaBackend(ChromaConfig(path=tmp_path)) as backend:
            await backend.create_collection("line", 2, metric)
            await backend.upsert_vectors("line", [VectorPoint(n, [1, n], {"k": n % 5}) for n in range(1_000)])
            for limit in (1_000, 10):
                for start in (0, 500, 999):
                    hits = await backend.search_vectors("line", [1, start], limit)
                    assert hits[0].score > 1 - 1e-5
                    assert len({hit.id for hit in hits}) == limit
            some = SearchFilter(must=[FilterCondition("k", "eq", 2)])
            assert len(await backend.search_vectors("line", [1, 0], 1_000, some)) == 200

    asyncio.run(run())


def test_no_write_into_a_deleted_folder_is_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "index"

    async def run() -> None:
        backend = ChromaBackend(ChromaConfig(path=path))
        await backend.create_collection("c", 2)
        shutil.rmtree(path)
        for call in (
            backend.upsert_vectors("c", [VectorPoint(1, [1, 0])]),
            backend.create_collection("d", 2),
            backend.delete_vectors("c", [1]),
            backend.count_vectors("c"),
        ):
            with pytest.raises(BackendConnectionError, match="deleted or replaced"):
                await call
        assert not await backend.health_check()
        await backend.aclose()
        async with ChromaBackend(ChromaConfig(path=path)) as another:
            await another.create_collection("c", 2)

    asyncio.run(run())


def test_a_backend_is_closed_from_any_loop_or_forgotten(tmp_path: Path) -> None:
    def opened() -> ChromaBackend:
        backend = ChromaBackend(ChromaConfig(path=tmp_path))
        assert asyncio.run(backend.list_collections()) == []
        return backend

    asyncio.run(opened().aclose())
    forgotten = [opened()]
    with pytest.warns(ResourceWarning, match="never closed"):
        forgotten.clear()
    assert not FOLDERS._folders
    assert not [one for one in threading.enumerate() if one.name.startswith("codeweaver-chroma")]


def test_a_replaced_point_has_nothing_of_the_old_one(tmp_path: Path) -> None:
    """Chroma's upsert keeps metadata of keys that the new point lacks: no filter may see them."""
    old = {"n": 5, "big": 2**60 + 1, "at": "2024-01-01T00:00:00Z", "list": [1, 2**60 + 3], "text": "x"}
    wanted = [
        FilterCondition("n", "gt", 1),
        FilterCondition("big", "ge", 2**60),
        FilterCondition("at", "lt", "2025-01-01T00:00:00Z"),
        FilterCondition("list", "gt", 2**60),
        FilterCondition("text", "exists", True),
    ]

    async def run() -> None:
        async with ChromaBackend(ChromaConfig(path=tmp_path)) as backend:
            await backend.create_collection("c", 2)
            for new in ({}, {"n": "5"}, {"n": [0]}, {"n": None, "big": [], "at": {}, "list": 0}):
                await backend.upsert_vectors("c", [VectorPoint(1, [1, 0], old)])
                assert [await backend.count_vectors("c", one) for one in wanted] == [1] * 5
                await backend.upsert_vectors("c", [VectorPoint(1, [0, 1], new)])
                assert [await backend.count_vectors("c", one) for one in wanted[:4]] == [0] * 4
                assert await backend.count_vectors("c", wanted[4]) == 0
                none = SearchFilter(must_not=[*wanted])
                assert [hit.score for hit in await backend.search_vectors("c", [0, 1], 10, none)] == [1.0]
                assert [one.payload for one in await backend.get_vectors("c", [1])] == [new]

    asyncio.run(run())
