"""The index over the vectors: who gets one, how much of it a search reads, and what a broken build leaves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from codeweaver_backends.errors import BackendError, UnsupportedError
from codeweaver_backends.sdk import ALWAYS, Exists, KnownSizes, Projection, Query, Way
from codeweaver_backends.sdk.requests import CollectionSettings
from codeweaver_backends.sdk.vector_index import VectorIndex
from codeweaver_backends.sdk.vectors import unit_vector
from codeweaver_backends.testing import NotProvisioned, ServerProcess
from codeweaver_backends.types import DistanceMetric
from codeweaver_milvus import MilvusConfig
from codeweaver_milvus.backend import MilvusBackend
from codeweaver_milvus.client import Collection
from codeweaver_milvus.index import partitions_read, way_of
from codeweaver_milvus.lite import Gate
from codeweaver_milvus.schema import LITE, Schema, Traits, key_of, traits_of
from codeweaver_milvus.testing import targets

SIZE, DIMENSION = 12_000, 16
MATRIX = np.random.default_rng(5).standard_normal((SIZE, DIMENSION)).astype(np.float32)
FLAT, INDEXED = traits_of("2.3.5"), traits_of("2.3.5").with_index(1_000)


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[ServerProcess, dict[str, Any]]]:
    """A server without an interim index."""
    [target] = [one for one in targets() if one.name == "milvus-server-ivf"]
    assert target.server is not None
    try:
        with target.server() as given:
            yield given
    except NotProvisioned as reason:
        pytest.skip(str(reason))


def _schema(option: VectorIndex | None, traits: Traits, metric: DistanceMetric = DistanceMetric.COSINE) -> Schema:
    return Schema.of(CollectionSettings("c", 2, metric, {}, option), traits)


@pytest.mark.parametrize(
    ("option", "traits", "partitions"),
    [
        (VectorIndex(), INDEXED, 128),
        (VectorIndex("ivf"), INDEXED, 128),
        (VectorIndex("ivf", {"partitions": 40}), INDEXED, 40),
        (VectorIndex("exact"), INDEXED, None),
        (None, INDEXED, None),
        (VectorIndex(), FLAT, None),
        (VectorIndex(), LITE, None),
    ],
)
def test_who_gets_one(option: VectorIndex | None, traits: Traits, partitions: int | None) -> None:
    schema = _schema(option, traits)
    index = schema.indexes[schema.vector]
    assert (index["index_type"], index.get("params")) == (
        ("FLAT", None) if partitions is None else ("IVF_FLAT", {"nlist": partitions})
    )
    # Whoever opens it later finds what is there, not what it would have made.
    for other in (FLAT, INDEXED):
        found = Schema.described("c", {"properties": schema.properties()}, other)
        assert found is not None
        assert found.partitions == partitions


class _Sized:
    """A client of a collection of so many rows."""

    traits = INDEXED

    def __init__(self, size: int) -> None:
        self.size, self.asked = size, 0

    async def count(self, collection: Collection, expression: str) -> int:
        self.asked += 1
        return self.size


def _query(**how: Any) -> Query:
    return Query(MATRIX[0], how.pop("limit", 10), how.pop("filter", ALWAYS), None, Projection(), **how)


@pytest.mark.parametrize(
    ("size", "partitions", "how", "expected"),
    [
        (SIZE, 160, {}, (Way.INDEXED, 80)),
        (SIZE, 160, {"effort": 1.6}, (Way.INDEXED, 128)),
        (SIZE, 160, {"effort": 1e300}, (Way.INDEXED, 160)),
        (SIZE, 100, {}, (Way.INDEXED, 64)),
        (SIZE, 100, {"effort": 1.5}, (Way.INDEXED, 96)),
        (SIZE, 40, {}, (Way.INDEXED, 40)),
        (SIZE, 160, {"exact": True}, (Way.EXACT, 160)),
        (SIZE, 160, {"filter": Exists(("a",))}, (Way.EXACT, 160)),
        (SIZE, 160, {"limit": 60}, (Way.INDEXED, 80)),
        (SIZE, 160, {"limit": 61}, (Way.EXACT, 160)),
        (1_000, 160, {"limit": 1}, (Way.EXACT, 160)),
    ],
)
def test_what_is_read_of_it(size: int, partitions: int, how: dict[str, Any], expected: tuple[Way, int]) -> None:
    async def main() -> None:
        query, client = _query(**how), _Sized(size)
        option, all_of_it = VectorIndex("ivf", {"partitions": partitions}), (Way.EXACT, partitions)
        for metric, wanted in ((DistanceMetric.EUCLIDEAN, expected), (DistanceMetric.DOT_PRODUCT, all_of_it)):
            collection = Collection(_schema(option, INDEXED, metric), "cw_c", Gate())
            way, _ = await way_of(client, KnownSizes(), collection, query)  # type: ignore[arg-type]
            assert (way, partitions_read(collection, query, way)) == wanted
        flat = Collection(_schema(VectorIndex(), FLAT), "cw_c", Gate())
        assert await way_of(client, KnownSizes(), flat, query) == (Way.EXACT, 0)  # type: ignore[arg-type]
        assert partitions_read(flat, query, Way.EXACT) is None

    asyncio.run(main())


def test_a_size_is_believed_for_a_moment() -> None:
    async def main() -> None:
        client, sizes = _Sized(SIZE), KnownSizes()
        collection = Collection(_schema(VectorIndex(), INDEXED), "cw_c", Gate())
        for _ in range(3):
            assert await way_of(client, sizes, collection, _query()) == (Way.INDEXED, SIZE)  # type: ignore[arg-type]
        assert client.asked == 1
        client.size = 900
        sizes.forget(collection.incarnation)
        assert await way_of(client, sizes, collection, _query()) == (Way.EXACT, 900)  # type: ignore[arg-type]

    asyncio.run(main())


def test_a_server_with_an_interim_index_and_lite_claim_none(tmp_path: Any) -> None:
    async def main() -> None:
        async with MilvusBackend(MilvusConfig(path=tmp_path / "a.db", interim_index=False, index_from=1_000)) as lite:
            await lite.list_collections()
            assert (lite.capabilities.index_kinds, lite.capabilities.limits.exact_size) == ([], 1_000_000)
            with pytest.raises(UnsupportedError, match="kind ivf is not supported"):
                await lite.create_collection("c", 2, vector_index={"kind": "ivf"})
            with pytest.raises(UnsupportedError, match="index_kinds"):
                await lite.optimize_collection("c")

    asyncio.run(main())
    assert not FLAT.capabilities.index_kinds
    assert not FLAT.capabilities.search_effort


def _backend(settings: dict[str, Any], **own: Any) -> MilvusBackend:
    return MilvusBackend(MilvusConfig(**{**settings, "index_from": 1_000, **own}))


def _nearest(row: int, limit: int = 10) -> list[int]:
    scores = MATRIX @ MATRIX[row] / np.linalg.norm(MATRIX, axis=1)
    return [int(one) for one in np.argsort(-scores)[:limit]]


async def _loaded(backend: MilvusBackend, name: str, **options: Any) -> None:
    await backend.create_collection(name, DIMENSION, **options)
    await backend.upsert_batch(name, list(range(SIZE)), MATRIX)


async def _found(backend: MilvusBackend, name: str, row: int, **how: Any) -> list[Any]:
    return [hit.id for hit in await backend.search_vectors(name, MATRIX[row], with_payload=False, **how)]


def test_points_are_found_while_it_is_built_and_by_whoever_opens_it(
    server: tuple[ServerProcess, dict[str, Any]],
) -> None:
    async def main() -> None:
        async with _backend(server[1]) as backend, _backend(server[1], interim_index=True) as other:
            await _loaded(backend, "built")
            building = asyncio.create_task(backend.optimize_collection("built"))
            asked = 0
            while not building.done() or asked < 20:
                assert await _found(backend, "built", asked, exact=True) == _nearest(asked)
                asked += 1
            info = await building
            assert (info.vector_count, info.vector_index, info.indexed_vector_count) == (SIZE, "auto", None)
            [index] = await backend._client._call("list_indexes", "cw_built")
            state = await backend._client._call("describe_index", "cw_built", index)
            assert (state["index_type"], state["indexed_rows"], state["pending_index_rows"]) == ("IVF_FLAT", SIZE, 0)
            # Who is not told that the server has no interim index claims none, and reads all of it.
            assert not (await other.get_capabilities()).index_kinds
            for row in range(20):
                assert await _found(other, "built", row) == _nearest(row)

    asyncio.run(main())


def test_the_engine_reads_what_it_is_told_to(server: tuple[ServerProcess, dict[str, Any]]) -> None:
    async def main() -> None:
        async with _backend(server[1]) as backend:
            await _loaded(backend, "parts", vector_index={"kind": "ivf", "partitions": 100})
            await backend.optimize_collection("parts")
            collection = await backend._describe("parts")
            vector, wanted = unit_vector(MATRIX[7]), set(map(key_of, _nearest(7, 200)))
            found = {}
            for partitions in (2, 50, 100):
                hits = await backend._client.search(
                    collection, collection.schema.vector, vector, 200, "", ["id"], partitions=partitions
                )
                found[partitions] = len(wanted & {hit["id"] for hit in hits})
            assert found[2] < found[50] < found[100] == 200, found

    asyncio.run(main())


def test_a_server_that_is_killed_while_it_builds_builds_again(server: tuple[ServerProcess, dict[str, Any]]) -> None:
    process, settings = server

    async def load() -> None:
        async with _backend(settings) as backend:
            await _loaded(backend, "killed")
            building = asyncio.create_task(backend.optimize_collection("killed"))
            await asyncio.sleep(1.0)
            assert not building.done()
            process.kill()
            await asyncio.gather(building, return_exceptions=True)

    async def ask() -> None:
        async with _backend(settings, timeout=120) as backend:
            end = time.monotonic() + 120
            while True:  # a server that has come up loads its collections for some time
                try:
                    info = await backend.optimize_collection("killed")
                    break
                except BackendError:
                    assert time.monotonic() < end
                    await asyncio.sleep(1)
            assert info.vector_count == SIZE
            for row in range(10):
                assert await _found(backend, "killed", row, exact=True) == _nearest(row)
                assert len(await _found(backend, "killed", row)) == 10

    asyncio.run(load())
    process.restart()
    asyncio.run(ask())
