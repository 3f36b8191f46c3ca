"""Sparse vectors on Milvus Lite: what a slot's update leaves alone, and collections and servers that have no slots."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from codeweaver_backends.errors import UnsupportedError
from codeweaver_backends.types import FilterCondition, VectorPoint
from codeweaver_milvus import MilvusConfig
from codeweaver_milvus.backend import MilvusBackend
from codeweaver_milvus.schema import LITE, Traits, traits_of

_POINTS = [
    VectorPoint("a", [3.0, 4.0], {"n": 1, "t": "red"}, {7: 0.5, 999_999_999: 2.0}),
    VectorPoint("b", [1.0, 0.0], {"n": 2, "t": "blue"}),
]


@pytest.fixture
def backend(tmp_path: Path) -> MilvusBackend:
    return MilvusBackend(MilvusConfig(path=tmp_path / "lite.db"))


async def _as_if(backend: MilvusBackend, traits: Traits) -> None:
    """Connect, and take the engine for another one."""
    await backend.list_collections()
    backend._client.traits = traits


@pytest.mark.parametrize("partial_update", [True, False], ids=["partial", "whole rows"])
@pytest.mark.parametrize("flushed", [False, True])
def test_an_update_replaces_one_slot_and_nothing_else(
    backend: MilvusBackend, partial_update: bool, flushed: bool
) -> None:
    async def scenario() -> None:
        async with backend:
            await _as_if(backend, replace(LITE, partial_update=partial_update))
            await backend.create_collection("c", 2)
            await backend.create_sparse_index("c", ["t"])
            await backend.upsert_vectors("c", _POINTS)
            if flushed:
                await backend._client._client.flush("cw_c")
            await backend.update_sparse_vectors(
                "c", [VectorPoint("b", [], None, {5: 1.0}), VectorPoint("a", [], None, {})]
            )
            a, b = await backend.get_vectors("c", ["a", "b"])
            assert (a.sparse_vector, b.sparse_vector) == (None, {5: 1.0})
            assert (a.vector, a.payload) == ([3.0, 4.0], {"n": 1, "t": "red"})
            [hit] = await backend.search_vectors("c", [1.0, 0.0], search_filter=FilterCondition("n", "lt", 2))
            assert hit.id == "a"
            for query, wanted in (("red", "a"), ({5: 1.0}, "b"), ({7: 1.0}, None)):
                hits = await backend.hybrid_search("c", [1.0, 0.0], query, alpha=0.0)
                assert [hit.id for hit in hits] == ([wanted] if wanted else [])

    asyncio.run(scenario())


def test_a_point_that_is_gone_does_not_come_back(backend: MilvusBackend) -> None:
    async def scenario() -> None:
        async with backend:
            await backend.create_collection("c", 2)
            await backend.upsert_vectors("c", _POINTS)
            collection = await backend._describe("c")
            await backend.delete_vectors("c", ["a"])
            column = next(iter(collection.schema.slots.values()))
            await backend._client.replace(collection, column, {"sa": {1: 1.0}, "sb": {2: 1.0}})
            assert await backend.count_vectors("c") == 1

    asyncio.run(scenario())


def test_a_collection_without_slots_is_opened_and_says_what_it_lacks(backend: MilvusBackend) -> None:
    async def scenario() -> None:
        async with backend:
            await _as_if(backend, replace(LITE, capabilities=traits_of("2.3.5").capabilities))
            await backend.create_collection("old", 2)
            await _as_if(backend, LITE)
            plain = [VectorPoint(point.id, point.vector, point.payload) for point in _POINTS]
            await backend.upsert_vectors("old", plain)
            assert [hit.id for hit in await backend.search_vectors("old", [1.0, 0.0])] == ["b", "a"]
            [point] = await backend.get_vectors("old", ["a"])
            assert point.sparse_vector is None
            for call in (
                lambda: backend.upsert_vectors("old", _POINTS),
                lambda: backend.update_sparse_vectors("old", _POINTS[:1]),
                lambda: backend.create_sparse_index("old", ["t"]),
                lambda: backend.hybrid_search("old", [1.0, 0.0], {7: 1.0}),
            ):
                with pytest.raises(UnsupportedError, match="'old' was made without columns for sparse vectors"):
                    await call()

    asyncio.run(scenario())


def test_a_server_without_sparse_vectors_denies_the_profile(backend: MilvusBackend) -> None:
    async def scenario() -> None:
        async with backend:
            await _as_if(backend, traits_of("v2.3.5-lite"))
            assert not backend.capabilities.supports_hybrid_search
            made: list[Any] = []
            backend._client._call = made.append  # type: ignore[assignment,method-assign]  # nothing may be asked
            with pytest.raises(UnsupportedError, match="supports_hybrid_search"):
                await backend.create_sparse_index("c", ["t"])
            with pytest.raises(UnsupportedError, match="sparse vectors are not supported"):
                await backend.upsert_vectors("c", _POINTS)
            assert not made

    asyncio.run(scenario())
