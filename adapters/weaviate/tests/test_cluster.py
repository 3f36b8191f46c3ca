"""Several nodes: that what one node was told every node tells, and what is refused while one is away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

import pytest

from codeweaver_backends.checking import check_backend
from codeweaver_backends.errors import BackendConnectionError, BackendError
from codeweaver_backends.sdk import CollectionSettings
from codeweaver_backends.testing import NotProvisioned
from codeweaver_backends.types import DistanceMetric, VectorPoint
from codeweaver_weaviate import WeaviateBackend, WeaviateConfig, WeaviatePlugin, schema
from codeweaver_weaviate.testing import Server, cluster, find_binary

_NUMBERS = count()
REPLICATED = {"engine_options": {"replicationConfig.factor": 2}}


def test_a_setting_that_breaks_the_contract_is_warned_of() -> None:
    for fewer in ("one", "quorum"):
        assert "may miss" in WeaviatePlugin.validate_config({"write_consistency": fewer}).warnings[0]
    assert not WeaviatePlugin.validate_config({"write_consistency": "all", "read_consistency": "all"}).warnings
    assert not WeaviatePlugin.validate_config({"write_consistency": 2}).is_valid


def test_copies_of_a_collection_are_levelled_out() -> None:
    settings = CollectionSettings("c", 2, DistanceMetric.COSINE, engine_options={"replicationConfig.factor": 2})
    collection = schema.new_collection(settings)
    definition = schema.class_definition(collection)
    levelled = {"factor": 2, "asyncEnabled": True, "deletionStrategy": "TimeBasedResolution"}
    assert definition["replicationConfig"] == levelled
    assert schema.collection_of("c", definition) == collection
    alone = schema.new_collection(CollectionSettings("c", 2, DistanceMetric.COSINE))
    assert "replicationConfig" not in schema.class_definition(alone)
    assert not alone.is_replicated


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


def _backends(nodes: Sequence[Server], **other: Any) -> list[WeaviateBackend]:
    return [WeaviateBackend(WeaviateConfig(**{**one.settings, "timeout": 30, **REPLICATED, **other})) for one in nodes]


async def test_what_one_node_was_told_every_node_tells(nodes: list[Server], name: str) -> None:
    first, *others = _backends(nodes)
    async with first, others[0], others[1]:
        await first.create_collection(name, 2, DistanceMetric.EUCLIDEAN)
        for step in range(20):
            await first.upsert_vectors(name, [VectorPoint(n, [step, n], {"step": step}) for n in range(20)])
            for other in others:
                assert {point.payload["step"] for point in await other.get_vectors(name, range(20))} == {step}
                assert await other.count_vectors(name, {"field": "step", "operator": "eq", "value": step}) == 20
                [nearest] = await other.search_vectors(name, [step, 7], 1)
                assert nearest.id == 7
        await first.delete_vectors(name, range(20))
        assert [await other.count_vectors(name) for other in others] == [0, 0]
        await first.delete_collection(name)


async def _cluster_step(backend: WeaviateBackend) -> tuple[str, str]:
    [step] = [step for step in (await check_backend(backend)).steps if step.name == "cluster"]
    return step.outcome, step.detail


async def test_a_check_tells_what_a_cluster_does_not_keep(nodes: list[Server]) -> None:
    [kept] = _backends(nodes[:1])
    [alone] = _backends(nodes[:1], engine_options={})
    [fewer] = _backends(nodes[:1], write_consistency="quorum")
    async with kept, alone, fewer:
        assert (await _cluster_step(kept))[0] == "ok"
        outcome, detail = await _cluster_step(alone)
        assert (outcome, "on one node only" in detail) == ("warning", True)
        outcome, detail = await _cluster_step(fewer)
        assert (outcome, "may miss" in detail) == ("warning", True)


async def test_a_node_that_is_away_stops_writes_and_no_reads(nodes: list[Server], name: str) -> None:
    [backend] = _backends(nodes[:1])
    points = [VectorPoint(n, [1, n], {"n": n}) for n in range(60)]
    async with backend:
        await backend.create_collection(name, 2)
        await backend.upsert_vectors(name, points)
        nodes[2].kill()
        assert len(await backend.get_vectors(name, range(60))) == 60
        assert await backend.count_vectors(name, {"field": "n", "operator": "lt", "value": 10}) == 10
        with pytest.raises(BackendConnectionError) as raised:
            await backend.upsert_vectors(name, points)
        assert raised.value.ids
        nodes[2].restart()
        end = time.monotonic() + 60
        while True:
            try:
                await backend.upsert_vectors(name, points)
                break
            except BackendError:
                assert time.monotonic() < end, "writes are refused though the node is back"
                await asyncio.sleep(0.5)
        [back] = _backends(nodes[2:])
        async with back:
            assert len(await back.get_vectors(name, range(60))) == 60
