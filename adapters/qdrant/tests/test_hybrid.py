"""The two sparse vectors: how each client packs and reads them, when Edge adds them, what an old collection lacks."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeweaver_backends.errors import InvalidInputError, UnsupportedError
from codeweaver_backends.sdk import Batch, CollectionSettings, Projection, Slot, SparseRow, SparseRows
from codeweaver_backends.types import DistanceMetric, VectorPoint
from codeweaver_qdrant import QdrantEdgeBackend, QdrantEdgeConfig
from codeweaver_qdrant.grpc_client import GrpcClient
from codeweaver_qdrant.rest_client import RestClient
from codeweaver_qdrant.schema import NO_TERM, Collection, points_of, stored_slots, wanted_vectors

SETTINGS = CollectionSettings("c", 2, DistanceMetric.COSINE)
ONLY = {"candidates": 10, "alpha": 0.0}
"""The sparse leg alone."""


def collection(*, has_slots: bool = True) -> Collection:
    return Collection(SETTINGS, "1", "cw_c", has_slots)


def row_of(weights: dict[int, float]) -> SparseRow:
    return SparseRow(np.array(sorted(weights), np.uint32), np.array([weights[i] for i in sorted(weights)], np.float32))


def batch_of(sparse: SparseRows | None = None, text: SparseRows | None = None) -> Batch:
    return Batch([1, 2], np.ones((2, 2), np.float32), [{}, {}], [b"{}", b"{}"], sparse, text)


weights = st.dictionaries(st.integers(0, 10**9 - 1), st.floats(2.0**-49, 2.0**49, width=32), max_size=40)


# --- without an engine -----------------------------------------------------------------------------------------------


def test_a_point_is_never_written_without_both() -> None:
    rows = SparseRows.of([row_of({7: 1.0}), row_of({})])
    for batch, first in (
        (batch_of(), [{}, {}]),
        (batch_of(rows), [{7: 1.0}, {}]),
        (batch_of(None, rows), [{}, {7: 1.0}]),
    ):
        one, other = stored_slots(collection(), batch)
        assert [one["sparse"].as_dict(), one["text"].as_dict()] == first
        assert [other["sparse"].as_dict(), other["text"].as_dict()] == [{}, {}]
    assert list(stored_slots(collection(has_slots=False), batch_of())) == [{}, {}]


def test_texts_are_not_read() -> None:
    assert wanted_vectors(collection(), Projection(True, True)) == ["cosine", "sparse"]
    assert wanted_vectors(collection(has_slots=False), Projection(True, True)) == ["cosine"]
    assert wanted_vectors(collection(), Projection(True, False)) is False


class Service:
    """Keeps what it is asked, and says that all went well."""

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        async def answer(*args: Any, **kwargs: Any) -> Any:
            self.asked[name] = args[0] if args and not kwargs else kwargs
            return SimpleNamespace(result=[], points=[])

        return answer


async def sent(road: type[GrpcClient | RestClient], rows: SparseRows) -> tuple[Any, Any]:
    """What a road sends to write two points with these sparse vectors, and to replace their texts by them."""
    service = Service()
    engine: Any = SimpleNamespace(grpc_points=service, http=SimpleNamespace(points_api=service))
    client = road(engine, (1, 18, 3), timeout=1, lost=lambda: None)
    await client.upsert(collection(), batch_of(rows))
    await client.write_slot(collection(), Slot.TEXT, [1, 2], rows)
    return tuple(service.asked.values())  # type: ignore[return-value]


@given(weights, weights)
def test_sparse_vectors_by_grpc(one: dict[int, float], other: dict[int, float]) -> None:
    written, replaced = asyncio.run(sent(GrpcClient, SparseRows.of([row_of(one), row_of(other)])))
    for given_row, point, update in zip((one, other), written.points, replaced.points, strict=True):
        named = point.vectors.vectors.vectors
        assert set(named) == {"cosine", "sparse", "text"}
        assert set(update.vectors.vectors.vectors) == {"text"}
        for message in (named["sparse"], update.vectors.vectors.vectors["text"]):
            assert message.WhichOneof("vector") == "sparse"  # an empty one too
            assert dict(zip(message.sparse.indices, message.sparse.values, strict=True)) == given_row
        assert named["text"].WhichOneof("vector") == "sparse"
        assert not named["text"].sparse.indices


@given(weights, weights)
def test_sparse_vectors_by_rest(one: dict[int, float], other: dict[int, float]) -> None:
    written, replaced = asyncio.run(sent(RestClient, SparseRows.of([row_of(one), row_of(other)])))
    written = json.loads(written["point_insert_operations"].model_dump_json())["points"]
    replaced = json.loads(replaced["update_vectors"].model_dump_json())["points"]
    for given_row, point, update in zip((one, other), written, replaced, strict=True):
        assert point["vector"]["text"] == {"indices": [], "values": []}
        assert set(update["vector"]) == {"text"}
        for found, expected in (
            (point["vector"]["sparse"], given_row),
            (update["vector"]["text"], given_row or {NO_TERM: 1.0}),  # it refuses an empty one here
        ):
            values = np.array(found["values"], np.float32).tolist()
            assert dict(zip(found["indices"], values, strict=True)) == expected


@given(weights)
def test_sparse_vectors_come_back_as_they_are_in_float32(given_row: dict[int, float]) -> None:
    shortest = [json.loads(f"{np.float32(weight)}") for weight in given_row.values()]
    sparse = SimpleNamespace(indices=[*given_row, NO_TERM], values=[*shortest, 1.0])
    record = SimpleNamespace(id=1, payload={"d": "{}"}, vector={"cosine": [1.0, 0.0], "sparse": sparse})
    [point] = points_of([record], DistanceMetric.COSINE, Projection(True, True))
    assert point.sparse_vector == (given_row or None)


async def test_a_servers_collection_of_before_refuses_what_it_cannot_hold() -> None:
    client = GrpcClient(SimpleNamespace(), (1, 18, 3), timeout=1, lost=lambda: None)
    await client.need_slots(collection())
    with pytest.raises(UnsupportedError, match="copy it to a new one"):
        await client.need_slots(collection(has_slots=False))


# --- on Edge ---------------------------------------------------------------------------------------------------------


def edge(path: Path) -> QdrantEdgeBackend:
    pytest.importorskip("qdrant_edge", reason="codeweaver-qdrant[edge] is not installed")
    return QdrantEdgeBackend(QdrantEdgeConfig(path=path))


def has_slots(path: Path) -> bool:
    """Whether the engine's files are there."""
    return any(path.rglob("*-sparse"))


async def ids_of(backend: QdrantEdgeBackend, query: dict[str, float] | str) -> list[Any]:
    return [hit.id for hit in await backend.hybrid_search("c", [1, 1], query, **ONLY)]


async def test_edge_adds_the_vectors_when_they_are_first_needed(tmp_path: Path) -> None:
    async with edge(tmp_path) as backend:
        await backend.create_collection("c", 2)
        await backend.upsert_vectors("c", [VectorPoint(n, [1, n], {"t": "word"}) for n in range(3)])
        assert await ids_of(backend, {"a": 1.0}) == []
        with pytest.raises(InvalidInputError, match="create_sparse_index"):
            await ids_of(backend, "word")
        found = await backend.get_vectors("c", [0, 1])
        assert [point.sparse_vector for point in found] == [None, None]
        assert not has_slots(tmp_path)
    async with edge(tmp_path) as backend:
        await backend.update_sparse_vectors("c", [VectorPoint(1, None, None, {"a": 1.0})])
        await backend.create_sparse_index("c", ["t"])
        await backend.upsert_vectors("c", [VectorPoint(0, [1, 0], {"t": "other"})])
        assert has_slots(tmp_path)
    async with edge(tmp_path) as backend:  # as whoever opens the folder next finds it
        assert await ids_of(backend, {"a": 1.0}) == [1]
        assert await ids_of(backend, "word") == [1, 2]
        assert await ids_of(backend, "other") == [0]
        [point] = await backend.get_vectors("c", [1])
        assert len(point.sparse_vector or {}) == 1


async def test_points_that_are_gone_do_not_come_back_with_a_text(tmp_path: Path) -> None:
    async with edge(tmp_path) as backend:
        await backend.create_collection("c", 2)
        await backend.upsert_vectors("c", [VectorPoint(n, [1, n]) for n in range(200)])
        rows = SparseRows.of([row_of({5: 1.0})] * 220)
        await backend._write_slot(await backend._describe("c"), Slot.SPARSE, list(range(20, 240)), rows)
        assert await backend.count_vectors("c") == 200
        found = await backend.hybrid_search("c", [1, 1], {"5": 1.0}, 250, alpha=0.0, candidates=250)
        assert [hit.id for hit in found] == list(range(20, 200))


DYING = """
import asyncio, os, sys
from codeweaver_backends import VectorPoint
from codeweaver_qdrant import QdrantEdgeBackend, QdrantEdgeConfig

async def main():
    backend = QdrantEdgeBackend(QdrantEdgeConfig(path=sys.argv[1]))
    await backend.create_collection("c", 2)
    await backend.upsert_vectors("c", [VectorPoint(n, [1, n], {"t": "word"}) for n in range(300)])
    await backend.create_sparse_index("c", ["t"])
    await backend.update_sparse_vectors("c", [VectorPoint(3, None, None, {"5": 1.0})])
    os._exit(0)

asyncio.run(main())
"""


async def test_what_a_dying_process_has_acknowledged_is_there(tmp_path: Path) -> None:
    one = edge(tmp_path)
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", DYING, str(tmp_path))
    assert await process.wait() == 0
    async with one as backend:
        assert await ids_of(backend, {"5": 1.0}) == [3]
        assert len(await backend.hybrid_search("c", [1, 1], "word", 300, alpha=0.0, candidates=300)) == 300
