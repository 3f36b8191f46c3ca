"""Copies carry sparse vectors and the definition of the sparse index, and say where a target cannot have them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from codeweaver_backends import HybridStrategy, MemoryBackend, MemoryConfig, VectorPoint
from codeweaver_backends.memory.plugin import CAPABILITIES
from codeweaver_backends.transfer import TransferRefusedError, copy, export_points, import_points
from codeweaver_backends.transfer.comparing import same_sparse

INDEX = {"fields": ["text", ("meta", "a.b")], "index_type": "bm25", "average_length": 20}
TOLD = {
    "fields": [("text",), ("meta", "a.b")],
    "index_type": "bm25",
    "average_length": 20.0,
    "term_statistics": "code",
}


class Plain(MemoryBackend):
    """Without hybrid search."""

    @property
    def capabilities(self) -> Any:
        return CAPABILITIES.model_copy(update={"supports_hybrid_search": False})


def memory(kind: type[MemoryBackend] = MemoryBackend) -> MemoryBackend:
    return kind(MemoryConfig())


async def filled(*, with_vectors: bool = True, with_index: bool = True) -> MemoryBackend:
    backend = memory()
    await backend.create_collection("code", 2)
    if with_index:
        await backend.create_sparse_index("code", INDEX["fields"], "bm25", average_length=20)  # type: ignore[arg-type]
    words = ("parse", "json", "socket", "zip")
    await backend.upsert_vectors(
        "code",
        [
            VectorPoint(
                i,
                [1.0, i + 0.5],
                {"text": f"{words[i % 4]} number {i}", "meta": {"a.b": words[i % 3]}},
                {7: 0.1 + i, "term": 2.0} if with_vectors and i % 2 else None,  # type: ignore[dict-item]
            )
            for i in range(40)
        ],
    )
    return backend


def outcomes(report: Any) -> dict[str, str]:
    [told] = report.collections
    return {check.name: check.outcome for check in told.checks}


async def sparse_of(backend: Any, name: str = "code") -> dict[Any, Any]:
    page = await backend.scroll_vectors(name, limit=100, with_vectors=True)
    return {point.id: point.sparse_vector for point in page.points}


def test_the_info_tells_the_index() -> None:
    async def scenario() -> None:
        backend = await filled()
        info = await backend.get_collection_info("code")
        assert info.sparse_index == TOLD
        again = memory()
        await again.create_collection("code", 2)
        assert (await again.get_collection_info("code")).sparse_index is None
        await again.create_sparse_index("code", **info.sparse_index)
        assert (await again.get_collection_info("code")).sparse_index == TOLD
        await again.create_sparse_index("code", ["text"], "keyword")
        told = (await again.get_collection_info("code")).sparse_index
        assert told == {"fields": [("text",)], "index_type": "keyword"}

    asyncio.run(scenario())


async def text_search(backend: Any, text: str) -> list[tuple[Any, float]]:
    hits = await backend.hybrid_search("code", [1.0, 1.0], text, 5, HybridStrategy.LINEAR, alpha=0.0)
    return [(hit.id, round(hit.score, 5)) for hit in hits]


def test_a_copy_carries_both() -> None:
    async def scenario() -> None:
        source, target = await filled(), memory()
        report = await copy(source, target)
        assert report.ok
        assert outcomes(report)["sparse vectors"] == outcomes(report)["sparse index"] == "passed"
        assert outcomes(report)["hybrid"] == "passed"
        assert await sparse_of(source) == await sparse_of(target)
        assert (await target.get_collection_info("code")).sparse_index == TOLD
        assert await text_search(source, "parse socket") == await text_search(target, "parse socket") != []

    asyncio.run(scenario())


def test_a_target_without_them_is_refused_or_told() -> None:
    async def scenario() -> None:
        target = memory(Plain)
        with pytest.raises(TransferRefusedError, match="the point 1 has a sparse vector, and the target takes none"):
            await copy(await filled(), target)
        assert await target.list_collections() == []
        report = await copy(await filled(with_vectors=False), target)
        assert report.ok
        assert "the sparse index is not made" in " ".join(report.collections[0].notes)
        assert "hybrid" not in outcomes(report)

    asyncio.run(scenario())


@pytest.mark.parametrize("by_file", [False, True])
@pytest.mark.parametrize("kind", [MemoryBackend, Plain])
def test_sparse_vectors_are_left_out_when_asked(tmp_path: Path, by_file: bool, kind: type[MemoryBackend]) -> None:
    async def scenario() -> None:
        source, target, file = await filled(), memory(kind), tmp_path / "it.parquet"
        if by_file:
            await export_points(source, file)
            report = await import_points(file, target, sparse_vectors=False)
        else:
            report = await copy(source, target, sparse_vectors=False)
        assert report.ok
        assert "20 points had a sparse vector, which was left out as asked" in report.collections[0].notes
        assert not any((await sparse_of(target)).values())
        assert any((await sparse_of(source)).values()), "what was read is not changed"

    asyncio.run(scenario())


def test_sparse_vectors_that_were_lost_are_told_or_repaired() -> None:
    class Forgetting(MemoryBackend):
        times = 1

        async def upsert_vectors(self, name: str, vectors: Any) -> None:
            if self.times:
                vectors = [VectorPoint(one.id, one.vector, one.payload) for one in vectors]
            self.times = max(0, self.times - 1)
            await super().upsert_vectors(name, vectors)

    async def scenario() -> None:
        source = await filled()
        once = await copy(source, memory(Forgetting))
        assert once.ok
        assert once.collections[0].rewritten == 20
        always = memory(Forgetting)
        always.times = 1_000  # type: ignore[attr-defined]
        report = await copy(source, always)
        assert outcomes(report)["sparse vectors"] == outcomes(report)["hybrid"] == "failed"
        assert outcomes(report)["vectors"] == "passed"

    asyncio.run(scenario())


def test_an_interrupted_creation_still_gets_its_index(tmp_path: Path) -> None:
    class Interrupted(MemoryBackend):
        async def create_sparse_index(self, *args: Any, **kwargs: Any) -> None:
            raise ConnectionError("lost")

    async def scenario() -> None:
        source, first = await filled(), memory(Interrupted)
        with pytest.raises(ConnectionError):
            await copy(source, first, journal=tmp_path / "journal")
        second = MemoryBackend(MemoryConfig(store=first._store))
        report = await copy(source, second, journal=tmp_path / "journal")
        assert report.ok
        assert (await second.get_collection_info("code")).sparse_index == TOLD

    asyncio.run(scenario())


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
def test_files_carry_both(tmp_path: Path, ending: str) -> None:
    async def scenario() -> None:
        source, target, file = await filled(), memory(), tmp_path / f"it.{ending}"
        exported = outcomes(await export_points(source, file))
        assert exported["sparse vectors"] == exported["sparse index"] == "passed"
        found = outcomes(await import_points(file, target))
        assert found.keys() == {"count", "ids", "payloads", "vectors", "sparse vectors", "sparse index"}
        assert set(found.values()) == {"passed"}
        assert await sparse_of(source) == await sparse_of(target)
        assert await text_search(source, "json zip") == await text_search(target, "json zip")
        with pytest.raises(TransferRefusedError, match="has a sparse vector"):
            await import_points(file, memory(Plain))

    asyncio.run(scenario())


def test_a_sparse_index_that_reads_nothing_is_told() -> None:
    async def scenario() -> None:
        source = await filled(with_index=False)
        await source.create_sparse_index("code", ["text", "titel", ("meta", "a.b")], "bm25")
        report = await copy(source, memory())
        assert report.ok
        assert report.collections[0].notes == ["the sparse index reads titel, where no point has a text"]

    asyncio.run(scenario())


def test_a_wrong_sparse_vector_is_told_with_its_row(tmp_path: Path) -> None:
    async def scenario() -> None:
        file = tmp_path / "it.jsonl"
        await export_points(await filled(), file)
        lines = file.read_text().splitlines()
        lines[2] = lines[2].replace('"7":', '"7":-')
        file.write_text("\n".join(lines))
        with pytest.raises(TransferRefusedError, match="row 2: the sparse vector must have"):
            await import_points(file, memory())

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (None, {}, True),
        ({7: 0.1}, {"7": 0.1}, True),
        ({7: 0.1}, {7: 0.1 + 1e-9}, True),
        ({7: 0.1}, {7: 0.1001}, False),
        ({7: 0.1}, {8: 0.1}, False),
        ({7: 0.1}, None, False),
        ({"term": 1.0, 7: 0.0}, {"term": 1.0}, True),
    ],
)
def test_sparse_vectors_are_compared_to_float32(first: Any, second: Any, same: bool) -> None:
    assert same_sparse(first, second) is same


class Indexing(MemoryBackend):
    """With an index over the vectors, as far as definitions go."""

    @property
    def capabilities(self) -> Any:
        return CAPABILITIES.model_copy(update={"index_kinds": ["hnsw"]})


@pytest.mark.parametrize("by_file", [False, True])
def test_the_vector_index_comes_across_or_is_told(tmp_path: Path, by_file: bool) -> None:
    async def carry(source: Any, target: Any) -> Any:
        if not by_file:
            return await copy(source, target)
        file = tmp_path / "it.jsonl"
        await export_points(source, file, overwrite=True)
        return await import_points(file, target)

    async def scenario() -> None:
        source = memory(Indexing)
        await source.create_collection("code", 2, vector_index={"kind": "hnsw"})
        await source.upsert_vectors("code", [VectorPoint(1, [1.0, 2.0])])
        wanted = (await source.get_collection_info("code")).vector_index
        assert wanted != "exact"
        target = memory(Indexing)
        assert (await carry(source, target)).ok
        assert (await target.get_collection_info("code")).vector_index == wanted
        report = await carry(source, memory())
        assert report.ok
        assert report.collections[0].notes == ["the vector index (hnsw) is not made: the target offers none"]

    asyncio.run(scenario())
