"""Several nodes: what a request says of replicas, and that what one node was told every node tells."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from itertools import count
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from qdrant_client import grpc, models

from codeweaver_backends.checking import check_backend
from codeweaver_backends.errors import BackendConnectionError, BackendError
from codeweaver_backends.sdk import Batch, CollectionSettings, Projection
from codeweaver_backends.testing import NotProvisioned
from codeweaver_backends.types import DistanceMetric, VectorPoint
from codeweaver_qdrant import QdrantBackend, QdrantConfig, QdrantPlugin
from codeweaver_qdrant.grpc_client import GrpcClient
from codeweaver_qdrant.rest_client import RestClient
from codeweaver_qdrant.schema import Collection, Nearest
from codeweaver_qdrant.testing import Server, cluster, find_binary

_NUMBERS = count()

# --- without a server ------------------------------------------------------------------------------------------------


class Recorder:
    """Answers every method, and keeps what it was called with."""

    def __init__(self) -> None:
        self.requests: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        async def call(*args: Any, **kwargs: Any) -> Any:
            self.requests.append(kwargs or args[0])
            return SimpleNamespace(result=[], points=[], count=0)

        return call


def _collection(*, is_replicated: bool) -> Collection:
    settings = CollectionSettings("c", 2, DistanceMetric.DOT_PRODUCT)
    return Collection(settings, "1", "cw_c", has_slots=False, is_replicated=is_replicated)


def _batch() -> Batch:
    return Batch([1], np.ones((1, 2), np.float32), [{}], [b"{}"])


async def _used(client: GrpcClient | RestClient, collection: Collection) -> None:
    await client.upsert(collection, _batch())
    await client.delete(collection, [1])
    projection = Projection(vectors=False)
    await client.search(collection, Nearest("dot", np.ones(2, np.float32), 1, None, projection))
    await client.retrieve(collection, [1], projection)


async def test_a_request_by_grpc_says_what_is_set_of_collections_with_replicas() -> None:
    recorder = Recorder()
    settings: dict[str, Any] = {"timeout": 1, "lost": list, "write_ordering": "strong", "read_consistency": "quorum"}
    client = GrpcClient(SimpleNamespace(grpc_points=recorder), (1, 18, 3), **settings)  # type: ignore[arg-type]
    await _used(client, _collection(is_replicated=True))
    upsert, delete, query, get = recorder.requests
    assert upsert.ordering.type == delete.ordering.type == grpc.WriteOrderingType.Strong
    assert query.read_consistency.type == get.read_consistency.type == grpc.ReadConsistencyType.Quorum
    recorder.requests.clear()
    await _used(client, _collection(is_replicated=False))
    assert not any(
        one.HasField(field)
        for one in recorder.requests
        for field in ("ordering", "read_consistency")
        if field in one.DESCRIPTOR.fields_by_name
    )


async def test_a_request_by_rest_says_what_is_set_of_collections_with_replicas() -> None:
    recorder = Recorder()
    engine: Any = recorder
    recorder.http = SimpleNamespace(points_api=recorder)  # type: ignore[attr-defined]
    client = RestClient(engine, (1, 18, 3), timeout=1, lost=list, write_ordering="strong", read_consistency=2)
    await _used(client, _collection(is_replicated=True))
    upsert, delete, query, get = recorder.requests
    assert upsert["ordering"] == delete["ordering"] == models.WriteOrdering.STRONG
    assert query["consistency"] == get["consistency"] == 2
    recorder.requests.clear()
    await _used(client, _collection(is_replicated=False))
    assert not any({"ordering", "consistency"} & set(one) for one in recorder.requests if isinstance(one, dict))


def test_a_setting_that_breaks_the_contract_is_warned_of() -> None:
    assert "replicas" in QdrantPlugin.validate_config({"write_ordering": "weak"}).warnings[0]
    assert not QdrantPlugin.validate_config({"write_ordering": "strong", "read_consistency": "all"}).warnings
    assert not QdrantPlugin.validate_config({"read_consistency": 0}).is_valid
    assert not QdrantPlugin.validate_config({"read_consistency": "most"}).is_valid


# --- with three nodes ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def nodes() -> Iterator[list[Server]]:
    try:
        binary = find_binary()
    except NotProvisioned as reason:
        pytest.skip(f"not verified: {reason}")
    with cluster(binary) as found:
        yield found


@pytest.fixture
def name() -> str:
    """Of a collection that no other test has left behind."""
    return f"c{next(_NUMBERS)}"


def _backends(nodes: Sequence[Server], transport: str, **other: Any) -> list[QdrantBackend]:
    options = {"engine_options": {"replication_factor": 2}, "timeout": 30, **other}
    return [
        QdrantBackend(QdrantConfig(port=one.port, grpc_port=one.grpc_port, transport=transport, **options))
        for one in nodes
    ]


@pytest.mark.parametrize("transport", ["grpc", "rest"])
async def test_what_one_node_was_told_every_node_tells(nodes: list[Server], name: str, transport: str) -> None:
    first, *others = _backends(nodes, transport)
    async with first, others[0], others[1]:
        await first.create_collection(name, 2, DistanceMetric.EUCLIDEAN)
        for step in range(30):
            await first.upsert_vectors(name, [VectorPoint(n, [step, n], {"step": step}) for n in range(20)])
            for other in others:
                assert {point.payload["step"] for point in await other.get_vectors(name, range(20))} == {step}
                assert await other.count_vectors(name, {"field": "step", "operator": "eq", "value": step}) == 20
                [nearest] = await other.search_vectors(name, [step, 7], 1)
                assert nearest.id == 7
        await first.delete_vectors(name, range(20))
        assert [await other.count_vectors(name) for other in others] == [0, 0]
        await first.delete_collection(name)


async def test_a_sparse_index_that_was_defined_is_known_at_every_node(nodes: list[Server], name: str) -> None:
    backends = _backends(nodes, "grpc")
    async with backends[0], backends[1], backends[2]:
        await backends[0].create_collection(name, 2)
        await backends[0].upsert_vectors(name, [VectorPoint(1, [1, 1], {"a": "word", "b": "other"})])
        for turn in range(20):
            await backends[turn % 3].create_sparse_index(name, ["ab"[turn % 2]])
            for backend in backends:
                found = (await backend.get_collection_info(name)).sparse_index
                assert found is not None
                assert [list(field) for field in found["fields"]] == [["ab"[turn % 2]]]
        await backends[0].delete_collection(name)
        engine = backends[0]._client._client
        assert (await engine.get_aliases()).aliases == []


async def test_replicas_keep_the_same_where_all_nodes_write_the_same_points_at_once(
    nodes: list[Server], name: str
) -> None:
    backends = _backends(nodes, "grpc")

    async def write(backend: QdrantBackend, tag: str) -> None:
        for step in range(5):
            await backend.upsert_vectors(name, [VectorPoint(n, [1, n], {"by": f"{tag}-{step}"}) for n in range(20)])

    async with backends[0], backends[1], backends[2]:
        await backends[0].create_collection(name, 2)
        for turn in range(6):
            await asyncio.gather(*(write(one, f"{turn}-{number}") for number, one in enumerate(backends)))
            told = [[point.payload for point in await one.get_vectors(name, range(20))] for one in backends]
            assert told[0] == told[1] == told[2]
        await backends[0].delete_collection(name)


async def _cluster_step(backend: QdrantBackend) -> tuple[str, str]:
    [step] = [step for step in (await check_backend(backend)).steps if step.name == "cluster"]
    return step.outcome, step.detail


@pytest.mark.parametrize("transport", ["grpc", "rest"])
async def test_a_check_tells_what_a_cluster_does_not_keep(nodes: list[Server], transport: str) -> None:
    [kept] = _backends(nodes[:1], transport)
    [alone] = _backends(nodes[:1], transport, engine_options={})
    [weak] = _backends(nodes[:1], transport, write_ordering="weak")
    async with kept, alone, weak:
        assert (await _cluster_step(kept))[0] == "ok"
        outcome, detail = await _cluster_step(alone)
        assert (outcome, "on one node only" in detail) == ("warning", True)
        outcome, detail = await _cluster_step(weak)
        assert (outcome, "weak" in detail) == ("warning", True)


async def test_a_node_that_is_away_is_no_reason_to_stop(nodes: list[Server], name: str) -> None:
    """Last: what is read of all replicas cannot be read meanwhile, and is told as an error of the tree."""
    [plain] = _backends(nodes[:1], "grpc")
    [strict] = _backends(nodes[:1], "grpc", read_consistency="all", retries=0)
    points = [VectorPoint(n, [1, n]) for n in range(100)]
    async with plain, strict:
        await plain.create_collection(name, 2)
        await plain.upsert_vectors(name, points)
        assert await strict.count_vectors(name) == 100
        nodes[2].kill()
        await plain.upsert_vectors(name, points)
        assert len(await plain.get_vectors(name, range(100))) == 100
        with pytest.raises(BackendConnectionError):
            await strict.count_vectors(name)
        nodes[2].restart()
        [back] = _backends(nodes[2:], "grpc")
        async with back:
            assert len(await back.get_vectors(name, range(100))) == 100
        for _ in range(60):
            try:
                assert await strict.count_vectors(name) == 100
                break
            except BackendError:
                await asyncio.sleep(0.5)
        else:
            pytest.fail("the replicas of the node that was away are not read again")
