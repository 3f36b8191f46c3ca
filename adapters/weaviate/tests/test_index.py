"""The graph: which searches it answers, what a class is created with, and what becomes of it when the server dies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pytest

from codeweaver_backends import BackendConnectionError, InvalidOptionError
from codeweaver_backends.metrics import SCORE_TOLERANCE, scores
from codeweaver_backends.sdk import CollectionSettings, VectorIndex
from codeweaver_backends.types import DistanceMetric, FilterCondition, SearchFilter
from codeweaver_weaviate import WeaviateBackend, WeaviateConfig, schema
from codeweaver_weaviate.client import SearchRequest
from codeweaver_weaviate.testing import Server

SIZE, DIMENSION, FROM = 3_000, 16, 1_000
MATRIX = np.random.default_rng(5).standard_normal((SIZE, DIMENSION)).astype(np.float32)
MOST = SearchFilter(must=[FilterCondition("n", "ge", 1)])


def backend_of(server: Server, **settings: Any) -> WeaviateBackend:
    return WeaviateBackend(WeaviateConfig(**{**server.settings, "index_from": FROM, **settings}))


async def loaded(backend: WeaviateBackend, name: str, rows: int = SIZE, **options: Any) -> None:
    await backend.create_collection(name, DIMENSION, **options)
    await backend.upsert_batch(name, list(range(rows)), MATRIX[:rows], [{"n": n} for n in range(rows)])


def watched(backend: WeaviateBackend) -> list[SearchRequest]:
    """The searches by a vector that a backend makes from now on."""
    made, search = [], backend._connection.search

    async def seen(request: SearchRequest) -> Any:
        if request.HasField("near_vector"):
            made.append(request)
        return await search(request)

    backend._connection.search = seen  # type: ignore[method-assign]
    return made


def definition_of(option: str | dict[str, Any] | None) -> dict[str, Any]:
    """How the vectors of a collection with this option are defined."""
    wanted = None if option is None else VectorIndex.from_option(option)
    collection = schema.new_collection(
        CollectionSettings("c", DIMENSION, DistanceMetric.COSINE, {}, vector_index=wanted)
    )
    definition = schema.class_definition(collection)
    assert schema.collection_of("c", definition) == collection
    [vector] = definition["vectorConfig"].values()
    return dict(vector)


@pytest.mark.parametrize("option", [None, "exact"])
def test_what_is_to_be_exact_has_no_graph(option: str | None) -> None:
    vector = definition_of(option)
    assert vector["vectorIndexType"] == "flat"
    assert vector["vectorIndexConfig"] == {"distance": "cosine", "skipDefaultQuantization": True}


@pytest.mark.parametrize("option", ["auto", {"kind": "hnsw"}, {"kind": "hnsw", "m": 8, "ef_construction": 64}])
def test_a_graph_has_the_numbers_that_were_asked_for(option: Any) -> None:
    vector = definition_of(option)
    assert vector["vectorIndexType"] == "hnsw"
    numbers = {name: vector["vectorIndexConfig"].get(name) for name in ("maxConnections", "efConstruction")}
    wanted = option if isinstance(option, dict) else {}
    assert numbers == {"maxConnections": wanted.get("m"), "efConstruction": wanted.get("ef_construction")}


def test_a_graph_that_the_server_cannot_build_is_refused() -> None:
    with pytest.raises(InvalidOptionError, match="at least 4"):
        definition_of({"kind": "hnsw", "m": 3})


def test_only_searches_that_may_are_answered_by_the_graph(server: Server) -> None:
    async def main() -> None:
        async with backend_of(server) as backend:
            await loaded(backend, "large")
            await loaded(backend, "small", rows=FROM)
            await loaded(backend, "plain", vector_index="exact")
            made = watched(backend)

            async def by_graph(name: str, **how: Any) -> list[int]:
                """The limits of the requests that have no filter."""
                made.clear()
                await backend.search_vectors(name, MATRIX[0], **how)
                return [request.limit for request in made if not request.HasField("filters")]

            assert await by_graph("large") == [10]
            assert await by_graph("large", limit=1_000) == [1_000]
            assert await by_graph("large", effort=4) == [512]
            assert await by_graph("large", limit=1_001) == []
            assert await by_graph("large", effort=12) == [], "all points are as few"
            assert await by_graph("large", exact=True) == []
            assert await by_graph("large", search_filter=MOST) == []
            assert await by_graph("small") == []
            assert await by_graph("plain") == [10], "a flat index needs no filter to be exact"
            await backend.delete_vectors("large", list(range(FROM, SIZE)))
            assert await by_graph("large") == [], "what is small again"

    asyncio.run(main())


def test_a_collection_that_was_made_without_a_graph_is_exact(server: Server) -> None:
    """Check that it is known by its class; optimizing cannot give it one."""

    async def main() -> None:
        async with backend_of(server) as backend:
            settings = CollectionSettings("old", DIMENSION, DistanceMetric.COSINE, {}, vector_index=VectorIndex())
            assert await backend.health_check()
            old = replace(schema.new_collection(settings), has_graph=False)
            await backend._connection.request("POST", "/v1/schema", schema.class_definition(old))
            await backend.upsert_batch("old", list(range(SIZE)), MATRIX)
            info = await backend.optimize_collection("old")
            assert (info.vector_index, info.indexed_vector_count) == ("auto", 0)
            found = [hit.id for hit in await backend.search_vectors("old", MATRIX[0], limit=50)]
            assert found == [hit.id for hit in await backend.search_vectors("old", MATRIX[0], limit=50, exact=True)]
            score = scores(DistanceMetric.COSINE, MATRIX[0], MATRIX)
            assert sorted(found) == sorted(np.argsort(-score)[:50].tolist())

    asyncio.run(main())


def test_a_quantizer_of_the_server_leaves_scores_exact(start: Callable[..., Server]) -> None:
    server = start(DEFAULT_QUANTIZATION="rq-8")

    async def main() -> None:
        async with backend_of(server) as backend:
            await loaded(backend, "c")
            for how in ({}, {"exact": True}, {"search_filter": MOST}):
                for hit in await backend.search_vectors("c", MATRIX[1], limit=50, **how):
                    [score] = scores(DistanceMetric.COSINE, MATRIX[1], MATRIX[[int(hit.id)]])
                    assert abs(hit.score - score) <= SCORE_TOLERANCE

    asyncio.run(main())


def test_the_graph_finds_all_that_was_acknowledged_before_a_crash(server: Server) -> None:
    async def main() -> None:
        rows = np.random.default_rng(6).standard_normal((40_000, DIMENSION)).astype(np.float32)
        async with backend_of(server) as backend:
            await loaded(backend, "c")
            acknowledged = 0

            async def write() -> None:
                nonlocal acknowledged
                for start in range(0, len(rows), 200):
                    await backend.upsert_batch(
                        "c", list(range(SIZE + start, SIZE + start + 200)), rows[start : start + 200]
                    )
                    acknowledged = start + 200

            writing = asyncio.create_task(write())
            while acknowledged < 2_000:  # noqa: ASYNC110 - of a server that does not tell
                await asyncio.sleep(0.01)
            server.kill()
            with pytest.raises(BackendConnectionError):
                await writing
        await asyncio.to_thread(server.start)
        async with backend_of(server) as backend:
            matrix = np.concatenate([MATRIX, rows[:acknowledged]])
            assert (await backend.get_collection_info("c")).vector_count >= len(matrix)
            made = watched(backend)
            for number in range(0, len(matrix), 7):
                [hit] = await backend.search_vectors("c", matrix[number], limit=1)
                assert hit.id == number
            assert not any(request.HasField("filters") for request in made[-100:])

    asyncio.run(main())


@pytest.mark.parametrize("option", ["exact", "auto"])
def test_a_collection_of_several_shards_answers_as_one(server: Server, option: str) -> None:
    async def main() -> None:
        own = {"shardingConfig.desiredCount": 3, "replicationConfig.factor": 1}
        async with backend_of(server, engine_options=own) as backend:
            await loaded(backend, "c", vector_index=option)
            info = await backend.get_collection_info("c")
            assert (info.engine_options, info.vector_count) == (own, SIZE)
            definition = orjson.loads(
                (await backend._connection.request("GET", f"/v1/schema/{schema.class_name('c')}")).content
            )
            assert definition["shardingConfig"]["actualCount"] == 3
            found = await backend.search_vectors("c", MATRIX[5], limit=20, search_filter=MOST)
            expected = scores(DistanceMetric.COSINE, MATRIX[5], MATRIX)
            assert [hit.score for hit in found] == pytest.approx(np.sort(expected)[::-1][:20], abs=SCORE_TOLERANCE)
            listed = [point.id async for point in backend.scan("c")]
            assert sorted(listed) == list(range(SIZE))

    asyncio.run(main())
