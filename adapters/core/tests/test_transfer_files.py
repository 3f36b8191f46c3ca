"""Files of points: ours there and back, read by others, and what others have."""

from __future__ import annotations

import asyncio
import datetime
import decimal
import json
import os
import uuid
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from codeweaver_backends import (
    CollectionNotFoundError,
    DistanceMetric,
    InvalidOptionError,
    MemoryBackend,
    MemoryConfig,
    VectorPoint,
)
from codeweaver_backends.transfer import Columns, TransferError, TransferRefusedError, export_points, import_points
from codeweaver_backends.transfer.parquet import arrow_schema

Answer = TypeVar("Answer")
ENDINGS = ("parquet", "jsonl")


def run(work: Coroutine[Any, Any, Answer]) -> Answer:
    return asyncio.run(work)


def memory() -> MemoryBackend:
    return MemoryBackend(MemoryConfig())


def names(folder: Path) -> list[str]:
    return [one.name for one in folder.iterdir()]


async def filled(count: int = 2_100) -> MemoryBackend:
    backend = memory()
    await backend.create_collection("code", 5, DistanceMetric.EUCLIDEAN, payload_indexes={"n": "integer"})
    vectors = np.random.default_rng(3).normal(size=(count, 5)).astype(np.float32)
    payloads = [{"n": i, "text": "日本 \x00\n" * (i % 3), "deep": {"": [None, 1.0, True]}} for i in range(count)]
    await backend.upsert_batch("code", [i if i % 2 else f"{i}" for i in range(count)], vectors, payloads)
    return backend


async def content(backend: Any, name: str = "code") -> dict[Any, Any]:
    page = await backend.scroll_vectors(name, limit=1_000_000, with_vectors=True)
    return {(type(one.id), one.id): (list(one.vector), repr(one.payload)) for one in page.points}


@pytest.mark.parametrize("ending", ENDINGS)
def test_there_and_back(tmp_path: Path, ending: str) -> None:
    async def scenario() -> None:
        source, target, file = await filled(), memory(), tmp_path / f"it.{ending}"
        out = await export_points(source, file)
        assert out.ok
        assert [one.outcome for one in out.collections[0].checks] == ["passed"] * 4
        back = await import_points(file, target)
        assert back.ok
        assert {one.name: one.outcome for one in back.collections[0].checks} == {
            "count": "passed",
            "ids": "passed",
            "payloads": "passed",
            "vectors": "passed",
        }
        assert await content(source) == await content(target)
        info = await target.get_collection_info("code")
        assert (info.distance_metric, info.payload_indexes) == (DistanceMetric.EUCLIDEAN, {"n": "integer"})
        assert names(tmp_path) == [file.name]
        await import_points(file, target, collection="again")
        assert await content(target, "again") == await content(source)

    run(scenario())


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_empty_collection(tmp_path: Path, ending: str) -> None:
    async def scenario() -> None:
        source, target, file = memory(), memory(), tmp_path / f"it.{ending}"
        await source.create_collection("empty", 7)
        await export_points(source, file)
        report = await import_points(file, target)
        assert report.ok
        assert (await target.get_collection_info("empty")).dimension == 7

    run(scenario())


def test_others_read_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        await export_points(await filled(30), tmp_path / "it.parquet")
        await export_points(await filled(30), tmp_path / "it.jsonl")

    run(scenario())
    table = pq.read_table(tmp_path / "it.parquet")
    assert table.schema.equals(arrow_schema(5))
    assert json.loads(pq.read_metadata(tmp_path / "it.parquet").metadata[b"codeweaver"]) == {
        "format": "codeweaver-points/1",
        "collection": "code",
        "dimension": 5,
        "metric": "euclidean",
        "payload_indexes": {"n": "integer"},
        "sparse_index": None,
        "vector_index": "auto",
        "points": 30,
    }
    assert table.column("id_str").to_pylist()[:2] == ["0", None]
    assert table.column("id_int").to_pylist()[:2] == [None, 1]
    assert table.column("sparse").null_count == 30
    header, *rows = (orjson.loads(line) for line in (tmp_path / "it.jsonl").read_bytes().splitlines())
    assert (header["format"], header["points"], len(rows)) == ("codeweaver-points/1", 30, 30)
    assert np.array_equal(np.float32(rows[7]["vector"]), table.column("vector")[7].as_py())


def test_an_import_that_was_stopped_goes_on(tmp_path: Path) -> None:
    class Fragile(MemoryBackend):
        left = 1

        async def upsert_batch(self, *args: Any, **kwargs: Any) -> None:
            self.left -= 1
            if self.left < 0:
                raise ConnectionError("the cable was pulled")
            await super().upsert_batch(*args, **kwargs)

    async def scenario(ending: str) -> None:
        source, target, file = await filled(), Fragile(MemoryConfig()), tmp_path / f"it.{ending}"
        await export_points(source, file)
        with pytest.raises(ConnectionError):
            await import_points(file, target, journal=tmp_path / "journal")
        target.left = 99
        report = await import_points(file, target, journal=tmp_path / "journal")
        assert report.ok
        assert report.collections[0].resumed_at == 1_000
        assert await content(source) == await content(target)

    for ending in ENDINGS:
        run(scenario(ending))


# --- exporting: what goes wrong --------------------------------------------------------------------------------------


def test_a_file_that_is_there_is_kept(tmp_path: Path) -> None:
    async def scenario() -> None:
        file = tmp_path / "it.jsonl"
        file.write_text("precious")
        with pytest.raises(TransferRefusedError, match="there is such a file already"):
            await export_points(await filled(3), file)
        assert file.read_text() == "precious"
        assert (await export_points(await filled(3), file, overwrite=True)).ok
        assert file.read_text() != "precious"

    run(scenario())


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_full_disk_leaves_what_was_there(tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    async def scenario() -> None:
        file = tmp_path / f"it.{ending}"
        file.write_text("precious")
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(TransferError, match="cannot be written: No space left on device"):
            await export_points(await filled(3), file, overwrite=True)
        assert file.read_text() == "precious"
        assert names(tmp_path) == [file.name]

    run(scenario())


def test_a_folder_that_is_not_there_and_an_ending_that_is_unknown(tmp_path: Path) -> None:
    async def scenario() -> None:
        with pytest.raises(TransferError, match="cannot be written: No such file"):
            await export_points(await filled(3), tmp_path / "no" / "it.jsonl")
        with pytest.raises(InvalidOptionError, match=r"must end in \.parquet"):
            await export_points(await filled(3), tmp_path / "it.csv")
        source = await filled(3)
        await source.create_collection("other", 3)
        with pytest.raises(InvalidOptionError, match="which collection\\? There are: code, other"):
            await export_points(source, tmp_path / "it.jsonl")
        with pytest.raises(CollectionNotFoundError):
            await export_points(source, tmp_path / "it.jsonl", collection="none")
        report = await export_points(source, tmp_path / "it.jsonl", collection="code", dry_run=True)
        assert report.dry_run
        assert names(tmp_path) == []

    run(scenario())


def test_an_export_that_is_no_longer_the_source_is_told(tmp_path: Path) -> None:
    class Moving(MemoryBackend):
        async def get_vectors(self, *args: Any, **kwargs: Any) -> Any:
            await self.upsert_vectors("code", [VectorPoint(1, [1, 2, 3, 4, 5]), VectorPoint("new", [1, 2, 3, 4, 5])])
            return await super().get_vectors(*args, **kwargs)

    async def scenario() -> None:
        source = Moving(MemoryConfig(store=(await filled(9))._store))
        report = await export_points(source, tmp_path / "it.parquet")
        failed = {one.name for one in report.collections[0].checks if one.outcome == "failed"}
        assert failed == {"count", "payloads", "vectors"}

    run(scenario())


# --- files of others -------------------------------------------------------------------------------------------------


def foreign_table() -> pa.Table:
    return pa.table(
        {
            "key": pa.array(["a", "b", "c"]),
            "embedding": pa.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], pa.list_(pa.float64())),
            "when": pa.array([datetime.datetime(2024, 5, 1, tzinfo=datetime.UTC)] * 3),
            "price": pa.array([decimal.Decimal("1.50")] * 3),
            "tags": pa.array([["x"], [], None]),
            "n": pa.array([1, None, 3]),
        }
    )


def test_a_parquet_of_others(tmp_path: Path) -> None:
    async def scenario() -> None:
        target, file = memory(), tmp_path / "theirs.parquet"
        pq.write_table(foreign_table(), file)
        report = await import_points(
            file, target, columns=Columns("key", "embedding"), metric=DistanceMetric.DOT_PRODUCT
        )
        assert report.ok
        info = await target.get_collection_info("theirs")
        assert (info.dimension, info.distance_metric, info.vector_count) == (2, DistanceMetric.DOT_PRODUCT, 3)
        [point] = await target.get_vectors("theirs", ["b"])
        assert list(point.vector) == [3, 4]
        assert point.payload == {"when": "2024-05-01T00:00:00+00:00", "price": "1.50", "tags": [], "n": None}
        await import_points(file, target, collection="few", columns=Columns("key", "embedding", fields=["n"]))
        assert (await target.get_vectors("few", ["c"]))[0].payload == {"n": 3}

    run(scenario())


def test_json_lines_of_others(tmp_path: Path) -> None:
    async def scenario() -> None:
        target, file = memory(), tmp_path / "theirs.ndjson"
        file.write_text('{"id": 7, "vector": [1, 2], "x": {"y": 1}}\n\n{"id": "7", "vector": [0.5, 2], "x": null}\n')
        assert (await import_points(file, target)).ok
        assert [one.payload for one in await target.get_vectors("theirs", [7, "7"])] == [{"x": {"y": 1}}, {"x": None}]
        file.write_text('{"k": 7, "e": [1, 2], "meta": "{\\"a\\": 1}"}\n{"k": 8, "e": [1, 2], "meta": null}\n')
        await import_points(file, target, collection="meta", columns=Columns("k", "e", "meta"))
        assert [one.payload for one in await target.get_vectors("meta", [7, 8])] == [{"a": 1}, {}]
        columns = Columns("k", "e", fields=["meta", "titel"])
        with pytest.raises(TransferRefusedError, match="no row has 'titel'"):
            await import_points(file, target, collection="typo", columns=columns)
        assert sorted(await target.list_collections()) == ["meta", "theirs"]

    run(scenario())


def column(name: str, values: Any) -> pa.Table:
    table = foreign_table()
    return table.set_column(table.column_names.index(name), name, values)


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (foreign_table().drop_columns(["key"]), "there is no column 'key'; there are 'embedding', 'when'"),
        (column("key", pa.array(["a", "b", "a"])), "row 3: the id is that of row 1 too"),
        (column("key", pa.array(["a", "", "c"])), "row 2, column 'key': the id must be a string of 1 to 512"),
        (column("key", pa.array([1, 2, -3])), "row 3, column 'key': the id must be"),
        (column("key", pa.array([1.0, 2.0, 3.0])), "row 1, column 'key': the id must be"),
        (column("key", pa.array(["a", None, "c"])), "row 2, column 'key': the id must be"),
        (
            column("embedding", pa.array([[1.0, 2.0], [3.0, 4.0], [5.0, float("nan")]])),
            "row 3, column 'embedding': the vector holds NaN",
        ),
        (
            column("embedding", pa.array([[1.0, 2.0], [3.0, 4e200], [5.0, 1.0]])),
            "row 2, column 'embedding': the vector holds NaN, or",
        ),
        (
            column("embedding", pa.array([[1.0, 2.0], [3.0], [5.0, 1.0]])),
            "row 2, column 'embedding': the vector has 1 numbers",
        ),
        (column("embedding", pa.array([[1.0, 2.0], [0.0, 0.0], [5.0, 1.0]])), "row 2: the vector is zero"),
        (
            column("embedding", pa.array([[1.0, 2.0], None, [5.0, 1.0]])),
            "row 2, column 'embedding': there is no vector",
        ),
        (column("embedding", pa.array(["x", "y", "z"])), "column 'embedding': this is string, not a list of numbers"),
        (column("n", pa.array([1.0, float("nan"), 2.0])), "row 2, column 'n': NaN or infinity"),
        (column("n", pa.array([b"x", b"y", b"z"])), "row 1, column 'n': a bytes"),
        (foreign_table().slice(0, 0), "there are no points in it"),
    ],
)
def test_a_wrong_parquet_is_told_with_its_row_and_nothing_is_written(
    tmp_path: Path, table: pa.Table, told: str
) -> None:
    async def scenario() -> None:
        target, file = memory(), tmp_path / "theirs.parquet"
        pq.write_table(table, file)
        with pytest.raises(TransferRefusedError) as caught:
            await import_points(file, target, columns=Columns("key", "embedding"))
        assert told in str(caught.value)
        assert await target.list_collections() == []

    run(scenario())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("nonsense\n", "row 1: this is no JSON"),
        ("[1]\n", "row 1: this is no JSON object"),
        ('{"id": 1}\n', "row 1: there is no 'vector'; there are 'id'"),
        ('{"id": 1, "vector": "x"}\n', "row 1, column 'vector': this is no list"),
        ('{"id": 1, "vector": [1, "x"]}\n', "row 1, column 'vector': the vector is not of numbers"),
        ('{"id": 1, "vector": [1, null]}\n', "row 1, column 'vector': the vector is not of numbers"),
        ('{"id": 1, "vector": [1]}\n{"id": true, "vector": [1]}\n', "row 2, column 'id': the id must be"),
        ('{"id": 1, "vector": [1]}\n{"id": 1, "vector"', "row 2: this is no JSON"),
        ("", "there are no points in it"),
        ('{"format": "codeweaver-points/9", "metric": "cosine"}\n', "the format 'codeweaver-points/9' is unknown"),
        ('{"format": "codeweaver-points/1", "metric": "cosine"}\n', "the header is damaged"),
    ],
)
def test_wrong_json_lines_are_told(tmp_path: Path, text: str, told: str) -> None:
    async def scenario() -> None:
        target, file = memory(), tmp_path / "theirs.jsonl"
        file.write_text(text)
        with pytest.raises(TransferRefusedError) as caught:
            await import_points(file, target)
        assert told in str(caught.value)
        assert await target.list_collections() == []

    run(scenario())


def test_half_a_file_is_told(tmp_path: Path) -> None:
    async def scenario() -> None:
        for ending, told in (("jsonl", "2 points are in it, and 3 were written"), ("parquet", "only a part of one")):
            file = tmp_path / f"it.{ending}"
            await export_points(await filled(3), file)
            data = file.read_bytes()
            file.write_bytes(data.rpartition(b'{"id"')[0] if ending == "jsonl" else data[: len(data) // 2])
            with pytest.raises(TransferRefusedError, match=told):
                await import_points(file, memory())
        with pytest.raises(TransferRefusedError, match="cannot be read: No such file"):
            await import_points(tmp_path / "none.jsonl", memory())

    run(scenario())


def test_uuids_are_texts(tmp_path: Path) -> None:
    async def scenario() -> None:
        one, file, target = uuid.uuid4(), tmp_path / "u.parquet", memory()
        ids = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([one.bytes], pa.binary(16)))
        pq.write_table(pa.table({"id": ids, "vector": [[1.0, 2.0]]}), file)
        await import_points(file, target)
        assert [key[1] for key in await content(target, "u")] == [str(one)]

    run(scenario())
