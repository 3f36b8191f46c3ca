"""Which way a search goes, and what is asked again; the options that lead it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from codeweaver_backends import (
    BackendCapabilities,
    CollectionExistsError,
    DistanceMetric,
    InvalidInputError,
    InvalidOptionError,
    MemoryBackend,
    MemoryConfig,
    UnsupportedError,
    VectorPoint,
)
from codeweaver_backends.sdk import (
    ALWAYS,
    CollectionSettings,
    Exists,
    KnownSizes,
    Node,
    Projection,
    Query,
    SearchIndex,
    VectorIndex,
    Way,
    answered,
    narrow,
    plan,
    wants_index,
)

GRAPH = SearchIndex(exact_size=20_000, max_candidates=1_000)
CUT = SearchIndex(exact_size=200_000, takes_filters=False)
CLAIMS = BackendCapabilities(index_kinds=["hnsw"], exact_search=True, search_effort=True)
FILTER: Node = Exists(("a",))


def query(limit: int = 10, node: Node = ALWAYS, **how: Any) -> Query:
    return Query(np.ones(2, np.float32), limit, node, None, Projection(), **how)


@pytest.mark.parametrize(
    ("size", "asked", "index", "matching", "way"),
    [
        (10**6, query(), GRAPH, None, Way.INDEXED),
        (10**6, query(), None, None, Way.EXACT),
        (10**6, query(exact=True), GRAPH, None, Way.EXACT),
        (20_000, query(), GRAPH, None, Way.EXACT),
        (20_001, query(), GRAPH, None, Way.INDEXED),
        (10**6, query(500), GRAPH, None, Way.INDEXED),
        (10**6, query(501), GRAPH, None, Way.EXACT),
        (10**6, query(10_000), CUT, None, Way.INDEXED),
        (10**6, query(node=FILTER), CUT, 900_000, Way.EXACT),
        (10**6, query(node=FILTER), GRAPH, None, Way.INDEXED),
        (10**6, query(node=FILTER), GRAPH, 100_000, Way.EXACT),
        (10**6, query(node=FILTER), GRAPH, 100_001, Way.INDEXED),
        (50_000, query(node=FILTER), GRAPH, 20_000, Way.EXACT),
        (50_000, query(node=FILTER), GRAPH, 20_001, Way.INDEXED),
    ],
)
def test_the_way_of_a_search(
    size: int, asked: Query, index: SearchIndex | None, matching: int | None, way: Way
) -> None:
    assert plan(size, asked, index, matching=matching) is way


def test_few_points_are_those_that_are_read_as_fast() -> None:
    assert narrow(50_000, GRAPH) == 20_000
    assert narrow(10**6, GRAPH) == 100_000


@pytest.mark.parametrize(
    ("asked", "size", "found", "ways"),
    [
        (query(), 100, 10, ["indexed"]),
        (query(), 100, 9, ["indexed", "exact"]),
        (query(200), 100, 100, ["indexed"]),
        (query(200), 100, 99, ["indexed", "exact"]),
        (query(node=FILTER), 5, 5, ["indexed", "exact"]),
        (query(node=FILTER), 100, 10, ["indexed"]),
    ],
)
def test_a_short_answer_of_an_index_is_asked_for_again(asked: Query, size: int, found: int, ways: list[str]) -> None:
    taken: list[str] = []

    async def ask(way: Way) -> list[int]:
        taken.append(way.value)
        return [0] * (found if way is Way.INDEXED else 77)

    answer = asyncio.run(answered(Way.INDEXED, asked, size, ask))
    assert taken == ways
    assert len(answer) == (found if ways == ["indexed"] else 77)


def test_sizes_are_believed_until_they_are_forgotten_or_old(monkeypatch: pytest.MonkeyPatch) -> None:
    now, counted, sizes = 100.0, 0, KnownSizes()
    monkeypatch.setattr("time.monotonic", lambda: now)

    async def count() -> int:
        nonlocal counted
        counted += 1
        return counted

    async def main() -> None:
        nonlocal now
        assert [await sizes.of("a", count) for _ in range(3)] == [1, 1, 1]
        assert await sizes.of("b", count) == 2
        sizes.forget("a")
        sizes.forget("c")
        assert [await sizes.of("a", count), await sizes.of("b", count)] == [3, 2]
        now += 10.1
        assert [await sizes.of("a", count), await sizes.of("b", count)] == [4, 5]

    asyncio.run(main())


def test_an_exact_answer_is_never_asked_for_again() -> None:
    async def ask(_: Way) -> list[int]:
        taken.append(1)
        return []

    taken: list[int] = []
    assert asyncio.run(answered(Way.EXACT, query(), 100, ask)) == []
    assert taken == [1]


@pytest.mark.parametrize(
    "option", ["auto", "exact", {"kind": "hnsw"}, {"kind": "hnsw", "m": 8, "ef_construction": 200}]
)
def test_the_option_is_kept_in_the_settings(option: Any) -> None:
    vector_index = VectorIndex.judged(option, CLAIMS)
    settings = CollectionSettings("c", 2, DistanceMetric.COSINE, {}, vector_index)
    read = CollectionSettings.from_json("c", settings.to_json(1), 1)
    assert read == (settings, {})
    assert vector_index.option == option
    assert wants_index(settings) is (option != "exact")


def test_a_collection_of_before_is_exact() -> None:
    settings = CollectionSettings("c", 2, DistanceMetric.COSINE)
    assert "vector_index" not in settings.to_json(1)
    assert CollectionSettings.from_json("c", settings.to_json(1), 1) == (settings, {})
    assert not wants_index(settings)
    assert wants_index(replace(settings, vector_index=VectorIndex()))


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        5,
        "hnsw",
        "AUTO",
        {},
        {"kind": "auto"},
        {"kind": ["hnsw"]},
        {"kind": "flat"},
        {"kind": "hnsw", "partitions": 5},
        {"kind": "hnsw", "m": 1},
        {"kind": "hnsw", "m": 101},
        {"kind": "hnsw", "m": True},
        {"kind": "hnsw", "ef_construction": 64.0},
        {"kind": "ivf", "partitions": 0},
    ],
)
def test_other_options_are_refused(wrong: Any) -> None:
    with pytest.raises(InvalidOptionError, match=r"vector_index|an index of kind"):
        VectorIndex.judged(wrong, CLAIMS)


def test_an_unclaimed_kind_is_unsupported() -> None:
    with pytest.raises(UnsupportedError, match="supported are hnsw"):
        VectorIndex.judged({"kind": "ivf"}, CLAIMS)
    with pytest.raises(UnsupportedError, match=r"kind ivf is not supported$"):
        VectorIndex.judged({"kind": "ivf"}, BackendCapabilities())


class Claiming(MemoryBackend):
    """Says that it has an index, or cannot be exact; keeps what it is asked."""

    claims = BackendCapabilities()

    @property
    def capabilities(self) -> BackendCapabilities:
        return self.claims

    async def _search(self, collection: Any, query: Query) -> list[Any]:
        self.asked = query
        return await super()._search(collection, query)

    async def _optimize(self, collection: Any) -> None:
        self.optimized = collection.settings.name


async def _claiming(claims: BackendCapabilities) -> Claiming:
    backend = Claiming(MemoryConfig())
    backend.claims = claims
    await backend.create_collection("c", 2)
    await backend.upsert_vectors("c", [VectorPoint(1, [1.0, 0.0])])
    return backend


def test_exact_and_effort_reach_the_adapter() -> None:
    async def main() -> None:
        backend = await _claiming(CLAIMS)
        await backend.search_vectors("c", [1.0, 0.0])
        assert (backend.asked.exact, backend.asked.effort) == (False, 1.0)
        await backend.search_vectors("c", [1.0, 0.0], exact=True, effort=np.float32(2.5))
        assert (backend.asked.exact, backend.asked.effort) == (True, 2.5)

    asyncio.run(main())


@pytest.mark.parametrize("wrong", [{"exact": 1}, {"exact": None}, {"effort": True}, {"effort": "2"}, {"effort": None}])
def test_exact_and_effort_of_another_kind_are_refused(wrong: dict[str, Any]) -> None:
    async def main() -> None:
        backend = await _claiming(CLAIMS)
        with pytest.raises(InvalidOptionError, match=next(iter(wrong))):
            await backend.search_vectors("c", [1.0, 0.0], **wrong)

    asyncio.run(main())


@pytest.mark.parametrize("effort", [0, 0.99, -1, float("nan"), float("inf")])
def test_effort_is_a_number_of_one_or_more(effort: float) -> None:
    async def main() -> None:
        backend = await _claiming(CLAIMS)
        with pytest.raises(InvalidInputError, match="effort must be a number of 1"):
            await backend.search_vectors("c", [1.0, 0.0], effort=effort)

    asyncio.run(main())


def test_what_is_not_claimed_is_refused() -> None:
    async def main() -> None:
        backend = await _claiming(BackendCapabilities())
        assert len(await backend.search_vectors("c", [1.0, 0.0], exact=True, effort=1)) == 1, "exact as it is"
        with pytest.raises(UnsupportedError) as raised:
            await backend.search_vectors("c", [1.0, 0.0], effort=2)
        assert raised.value.capability == "search_effort"
        with pytest.raises(UnsupportedError) as raised:
            await backend.optimize_collection("c")
        assert raised.value.capability == "index_kinds"
        points = [VectorPoint(number, [1.0, number]) for number in range(2, 1_002)]
        await backend.upsert_vectors("c", points)
        with pytest.raises(UnsupportedError, match="beyond 1000 points") as raised:
            await backend.search_vectors("c", [1.0, 0.0], exact=True)
        assert raised.value.capability == "exact_search"
        await backend.search_vectors("c", [1.0, 0.0])

    asyncio.run(main())


def test_optimize_asks_the_adapter_and_tells_what_is_there() -> None:
    async def main() -> None:
        backend = await _claiming(CLAIMS)
        assert await backend.optimize_collection("c") == await backend.get_collection_info("c")
        assert backend.optimized == "c"
        assert (await backend.get_collection_info("c")).vector_index == "auto"
        await backend.create_collection("d", 2, vector_index={"kind": "hnsw", "m": 8})
        assert (await backend.get_collection_info("d")).vector_index == {"kind": "hnsw", "m": 8}

    asyncio.run(main())


def test_a_collection_of_before_is_no_other_one() -> None:
    async def main() -> None:
        backend = await _claiming(CLAIMS)
        collection = backend._collections["c"]
        collection.settings = replace(collection.settings, vector_index=None)
        await backend.create_collection("c", 2, exist_ok=True)
        assert (await backend.get_collection_info("c")).vector_index == "exact"
        with pytest.raises(CollectionExistsError):
            await backend.create_collection("c", 2, exist_ok=True, vector_index="auto")

    asyncio.run(main())


def test_options_of_the_engine_come_from_the_call_and_the_configuration() -> None:
    async def main() -> None:
        claims = BackendCapabilities(engine_options={"shards": "integer", "on_disk": "boolean", "place": "text"})
        backend = await _claiming(claims)
        backend.config = backend.config.model_copy(update={"engine_options": {"shards": 2, "on_disk": True}})
        await backend.create_collection("d", 2, engine_options={"shards": 3, "place": "here"})
        told = {"shards": 3, "on_disk": True, "place": "here"}
        assert (await backend.get_collection_info("d")).engine_options == told
        backend.config = backend.config.model_copy(update={"engine_options": {}})
        await backend.create_collection("d", 2, exist_ok=True)
        assert (await backend.get_collection_info("d")).engine_options == told
        with pytest.raises(CollectionExistsError):
            await backend.create_collection("d", 2, exist_ok=True, engine_options={"shards": 2})
        for wrong in ({"shards": 0}, {"shards": True}, {"on_disk": 1}, {"place": None}, {"other": 1}, {1: 1}, "shards"):
            with pytest.raises(InvalidOptionError):
                await backend.create_collection("e", 2, engine_options=wrong)
        assert "e" not in await backend.list_collections()
        unclaimed = await _claiming(BackendCapabilities())
        with pytest.raises(UnsupportedError) as raised:
            await unclaimed.create_collection("e", 2, engine_options={"shards": 1})
        assert raised.value.capability == "engine_options"
        await unclaimed.create_collection("e", 2, engine_options={})

    asyncio.run(main())
