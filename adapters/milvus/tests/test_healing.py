"""What others left behind on the same store: halves are finished, and what is not ours is left alone."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from codeweaver_backends.errors import CollectionExistsError, CollectionNotFoundError, UnsupportedError
from codeweaver_backends.sdk.requests import CollectionSettings
from codeweaver_backends.types import DistanceMetric, FilterCondition, VectorPoint
from codeweaver_milvus import MilvusConfig
from codeweaver_milvus.backend import MilvusBackend
from codeweaver_milvus.schema import Schema


@pytest.fixture
def backend(tmp_path: Path) -> MilvusBackend:
    return MilvusBackend(MilvusConfig(path=tmp_path / "lite.db"))


def _schema(backend: MilvusBackend, name: str) -> Schema:
    return Schema.of(CollectionSettings(name, 2, DistanceMetric.EUCLIDEAN), backend._client.traits)


async def _made(backend: MilvusBackend, name: str, properties: dict[str, str] | None = None) -> None:
    """A collection that was created and nothing else; it says whose it is, or it does not."""
    fields = _schema(backend, "any").fields()
    await backend._client._call("create_collection", f"cw_{name}", schema=fields, properties=properties)


def test_a_collection_that_was_released_is_loaded_again(backend: MilvusBackend) -> None:
    async def scenario() -> None:
        async with backend:
            await backend.create_collection("here", 2)
            await backend.upsert_vectors("here", [VectorPoint(1, [1, 2], {"n": 1})])
            for call in (
                lambda: backend.search_vectors("here", [1, 2]),
                lambda: backend.get_vectors("here", [1]),
                lambda: backend.count_vectors("here", FilterCondition("n", "eq", 1)),
                lambda: backend.get_collection_info("here"),
            ):
                await backend._client._client.release_collection("cw_here")
                assert await call()

    asyncio.run(scenario())


def test_a_collection_that_was_half_made_is_finished(backend: MilvusBackend) -> None:
    async def scenario() -> None:
        async with backend:
            await backend.list_collections()
            schema = _schema(backend, "half")
            await backend._client._call(
                "create_collection", "cw_half", schema=schema.fields(), properties=schema.properties()
            )
            await backend.upsert_vectors("half", [VectorPoint("a", [1, 2])])
            [hit] = await backend.search_vectors("half", [1, 4])
            assert (hit.id, hit.score) == ("a", pytest.approx(1 / 3))

    asyncio.run(scenario())


def test_a_collection_that_others_made_is_left_alone(backend: MilvusBackend) -> None:
    async def scenario() -> None:
        async with backend:
            await backend.list_collections()
            await _made(backend, "foreign")
            assert await backend.list_collections() == []
            with pytest.raises(CollectionNotFoundError):
                await backend.search_vectors("foreign", [1, 2])
            with pytest.raises(CollectionNotFoundError):
                await backend.delete_collection("foreign")
            with pytest.raises(CollectionExistsError):
                await backend.create_collection("foreign", 2)

    asyncio.run(scenario())


def test_a_collection_of_another_layout_is_listed_and_refused(backend: MilvusBackend) -> None:
    async def scenario() -> None:
        async with backend:
            await backend.list_collections()
            await _made(backend, "newer", {"codeweaver": '{"layout": 99}'})
            assert await backend.list_collections() == ["newer"]
            with pytest.raises(UnsupportedError, match="'newer' has layout 99"):
                await backend.search_vectors("newer", [1, 2])
            with pytest.raises(CollectionExistsError):
                await backend.create_collection("newer", 2)
            await backend.delete_collection("newer")
            assert await backend.list_collections() == []

    asyncio.run(scenario())
