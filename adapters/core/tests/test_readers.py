"""Points from files, tables and arrays: what a stream is given of them, and what is wrong with them, with its place."""

from __future__ import annotations

import asyncio
import datetime
import gc
import io
import os
import subprocess
import sys
import threading
import tracemalloc
import zipfile
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from codeweaver_backends import InvalidOptionError, MemoryBackend, MemoryConfig, VectorPoint
from codeweaver_backends.readers import ReadError, read_points
from codeweaver_backends.transfer import export_points, import_points

COUNT = 2_345
VECTORS = np.random.default_rng(5).normal(size=(COUNT, 6)).astype(np.float32)
WORDS = [f"word {n % 7}" for n in range(COUNT)]


def table() -> pa.Table:
    flat = pa.array(VECTORS.reshape(-1))
    return pa.table(
        {"id": pa.array(range(COUNT)), "vector": pa.FixedSizeListArray.from_arrays(flat, 6), "word": pa.array(WORDS)}
    )


def ipc(file: Path, make: Callable[..., Any], what: pa.Table) -> Path:
    with make(file, what.schema) as writer:
        writer.write_table(what, max_chunksize=700)
    return file


def parquet(folder: Path) -> Path:
    pq.write_table(table(), folder / "it.parquet", row_group_size=1_000)
    return folder / "it.parquet"


def arrow(folder: Path) -> Path:
    return ipc(folder / "it.arrow", pa.ipc.new_file, table())


def arrow_stream(folder: Path) -> Path:
    return ipc(folder / "streamed.arrow", pa.ipc.new_stream, table())


def json_lines(folder: Path) -> Path:
    lines = (f'{{"id": {n}, "vector": {VECTORS[n].tolist()}, "word": "{WORDS[n]}"}}' for n in range(COUNT))
    (folder / "it.jsonl").write_text("\n".join(lines))
    return folder / "it.jsonl"


def arrays(folder: Path) -> Path:
    np.savez(folder / "it.npz", vectors=VECTORS, ids=np.arange(COUNT), word=np.array(WORDS))
    return folder / "it.npz"


def compressed_arrays(folder: Path) -> Path:
    columns = np.asfortranarray(VECTORS.astype(np.float64))
    np.savez_compressed(folder / "it.npz", vectors=columns, ids=np.arange(COUNT), word=np.array(WORDS))
    return folder / "it.npz"


SOURCES: dict[str, Callable[[Path], Any]] = {
    "parquet": parquet,
    "arrow": arrow,
    "arrow stream": arrow_stream,
    "jsonl": json_lines,
    "npz": arrays,
    "npz compressed": compressed_arrays,
    "table": lambda _: table(),
    "batch": lambda _: table().combine_chunks().to_batches()[0],
    "batches": lambda _: table().to_reader(max_chunksize=800),
}


async def lists(source: Any, **options: Any) -> list[list[VectorPoint]]:
    return [points async for points in read_points(source, **options)]


def read(source: Any, **options: Any) -> list[VectorPoint]:
    return [point for some in asyncio.run(lists(source, **options)) for point in some]


def wrong(source: Any, **options: Any) -> ReadError:
    with pytest.raises(ReadError) as caught:
        read(source, **options)
    return caught.value


# --- what comes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SOURCES)
def test_every_format_gives_the_same_points(tmp_path: Path, name: str) -> None:
    some = asyncio.run(lists(SOURCES[name](tmp_path), batch_size=500))
    assert max(map(len, some)) <= 500
    points = [point for one in some for point in one]
    assert points == [VectorPoint(n, VECTORS[n], {"word": WORDS[n]}) for n in range(COUNT)]
    assert {type(point.id) for point in points} == {int}
    assert {point.vector.dtype for point in points} == {np.dtype(np.float32)}  # type: ignore[union-attr]


@pytest.mark.parametrize("name", SOURCES)
def test_a_stream_takes_it(tmp_path: Path, name: str) -> None:
    async def scenario() -> None:
        backend = MemoryBackend(MemoryConfig())
        await backend.create_collection("code", 6)
        await backend.stream_upsert_vectors("code", read_points(SOURCES[name](tmp_path)), batch_size=300)
        assert (await backend.get_collection_info("code")).vector_count == COUNT
        [last] = await backend.get_vectors("code", [COUNT - 1])
        assert np.array_equal(last.vector, VECTORS[-1])
        assert last.payload == {"word": WORDS[-1]}

    asyncio.run(scenario())


def test_an_array_alone_has_the_numbers_of_its_rows(tmp_path: Path) -> None:
    np.save(tmp_path / "it.npy", VECTORS)
    expected = [VectorPoint(n, VECTORS[n], {}) for n in range(COUNT)]
    assert read(tmp_path / "it.npy") == read(str(tmp_path / "it.npy"), batch_size=7) == read(VECTORS) == expected


def test_vectors_are_not_views_of_the_source() -> None:
    given = np.ones((3, 2), np.float32)
    points = read(given)
    given[:] = 5
    assert points == [VectorPoint(n, [1, 1], {}) for n in range(3)]


def test_columns_are_named() -> None:
    given = pa.table({"k": ["a"], "e": [[1.0, 2.0]], "n": [1], "text": ["x"], "meta": ['{"a": [1]}']})
    assert read(given, id="k", vector="e", payload=["n"]) == [VectorPoint("a", [1, 2], {"n": 1})]
    assert read(given, id="k", vector="e", payload=[]) == [VectorPoint("a", [1, 2], {})]
    assert read(given, id="k", vector="e", payload="meta") == [VectorPoint("a", [1, 2], {"a": [1]})]
    assert read(given, id="text", vector="e") == [VectorPoint("x", [1, 2], {"k": "a", "n": 1, "meta": '{"a": [1]}'})]


def test_arrays_are_named(tmp_path: Path) -> None:
    days = np.array(["2024-05-01", "2024-05-02"], "datetime64[D]")
    np.savez(tmp_path / "it.npz", e=np.ones((2, 3), ">f8"), k=np.array(["a", "b"]), day=days, pair=np.eye(2), odd=[1])
    expected = [
        VectorPoint("a", [1, 1, 1], {"day": "2024-05-01", "pair": [1.0, 0.0]}),
        VectorPoint("b", [1, 1, 1], {"day": "2024-05-02", "pair": [0.0, 1.0]}),
    ]
    assert read(tmp_path / "it.npz", id="k", vector="e", payload=["day", "pair"]) == expected
    assert "'odd': its shape is (1,), and there are 2 vectors" in str(wrong(tmp_path / "it.npz", id="k", vector="e"))


def test_a_file_of_export_points_says_itself_where_what_is(tmp_path: Path) -> None:
    points = [VectorPoint(n if n % 2 else f"{n}", [1.0, n], {"n": n, "deep": {"": [None]}}) for n in range(9)]

    async def scenario() -> None:
        backend = MemoryBackend(MemoryConfig())
        await backend.create_collection("code", 2)
        await backend.upsert_vectors("code", points)
        for ending in ("parquet", "jsonl"):
            await export_points(backend, tmp_path / f"it.{ending}")

    asyncio.run(scenario())
    by_id = {(type(point.id), point.id): point for point in points}
    for ending in ("parquet", "jsonl"):
        assert {(type(one.id), one.id): one for one in read(tmp_path / f"it.{ending}")} == by_id


def test_imports_read_all_of_these(tmp_path: Path) -> None:
    async def scenario() -> None:
        np.save(tmp_path / "plain.npy", VECTORS)
        for file in (arrow(tmp_path), arrays(tmp_path), tmp_path / "plain.npy"):
            backend = MemoryBackend(MemoryConfig())
            assert (await import_points(file, backend)).ok
            assert (await backend.get_collection_info(file.stem)).vector_count == COUNT
        with pytest.raises(InvalidOptionError, match=r"must end in \.parquet, \.jsonl or \.ndjson to be written"):
            await export_points(backend, tmp_path / "out.npy")

    asyncio.run(scenario())


# --- what is wrong ---------------------------------------------------------------------------------------------------


def swapped(row: int, vector: Any) -> list[Any]:
    rows: list[Any] = [[1.0, 2.0] for _ in range(2_000)]
    rows[row] = vector
    return rows


@pytest.mark.parametrize(
    ("vector", "told"),
    [
        ([1.0], "the vector has 1 numbers, and the first one 2"),
        ([1.0, float("nan")], "the vector holds NaN"),
        ([1.0, 1e300], "beyond float32"),
        (None, "there is no vector"),
    ],
)
def test_a_wrong_vector_is_told_with_its_place(tmp_path: Path, vector: Any, told: str) -> None:
    given = pa.table({"id": range(2_000), "vector": pa.array(swapped(1_234, vector), pa.list_(pa.float64()))})
    pq.write_table(given, tmp_path / "it.parquet", row_group_size=900)
    ipc(tmp_path / "it.arrow", pa.ipc.new_file, given)
    for source, name in (
        (tmp_path / "it.parquet", "it.parquet"),
        (tmp_path / "it.arrow", "it.arrow"),
        (given, "pyarrow Table"),
    ):
        error = wrong(source, batch_size=500)
        assert str(error).startswith(f"{name}, row 1,235, column 'vector': ")
        assert told in str(error)
        assert (error.row, error.column) == (1_235, "vector")


def test_what_comes_before_a_wrong_row_is_written(tmp_path: Path) -> None:
    np.save(tmp_path / "it.npy", np.array(swapped(1_234, [1.0, np.nan])))

    async def scenario() -> None:
        backend = MemoryBackend(MemoryConfig())
        await backend.create_collection("code", 2)
        with pytest.raises(ReadError, match=r"^it.npy, row 1,235, column 'vectors': the vector holds NaN"):
            await backend.stream_upsert_vectors("code", read_points(tmp_path / "it.npy", batch_size=400))
        assert (await backend.get_collection_info("code")).vector_count == 1_200

    asyncio.run(scenario())


TWICE = pa.Table.from_arrays(
    [pa.array([1]), pa.array([[1.0]]), pa.array([2]), pa.array([3])], ["id", "vector", "n", "n"]
)


@pytest.mark.parametrize(
    ("source", "options", "told"),
    [
        (pa.table({"id": [1]}), {}, "there is no column 'vector'; there are 'id'"),
        (table(), {"id": "key"}, "there is no column 'key'; there are 'id', 'vector', 'word'"),
        (table(), {"payload": ["word", "n"]}, "there is no column 'n'"),
        (TWICE, {}, "more than one column is named 'n'"),
        (pa.table({"id": [1], "vector": [["x"]]}), {}, "column 'vector': this is list<"),
        (pa.table({"id": [1.5], "vector": [[1.0]]}), {}, "row 1, column 'id': the id must be"),
        (pa.table({"id": [1], "vector": [[1.0]], "n": [float("inf")]}), {}, "row 1, column 'n': NaN or infinity"),
        (pa.table({"id": [1], "vector": [[1.0]], "n": ["x"]}), {"payload": "n"}, "row 1, column 'n': this is no JSON"),
        (np.ones(3), {}, "its shape is (3,) of float64, not (points, dimension) of numbers"),
        (np.ones((3, 0)), {}, "its shape is (3, 0)"),
        (np.array([["a"]]), {}, "of numbers"),
        (np.ones((3, 2)), {"id": "key"}, "their rows' numbers are the ids"),
        (np.ones((3, 2)), {"payload": "key"}, "there is no column 'key'"),
    ],
)
def test_a_wrong_source_is_told(source: Any, options: dict[str, Any], told: str) -> None:
    assert told in str(wrong(source, **options))


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("it.parquet", b"PAR1 and nothing", "this is no Parquet, or only a part of one"),
        ("it.arrow", b"nonsense", "this is no Arrow file, or only a part of one"),
        ("it.npy", b"nonsense", "it cannot be read as arrays of numbers"),
        ("it.npz", b"nonsense", "it cannot be read as arrays of numbers"),
        ("it.jsonl", b'{"id": 1, "vector": [1]}\n{"id": 2, "vector": ["2"]}', "row 2, column 'vector': the vector is"),
        ("it.jsonl", b'{"id": 1, "vector": [1]}\nnonsense', "it.jsonl, row 2: this is no JSON"),
    ],
)
def test_wrong_content_is_told(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert told in str(wrong(tmp_path / name))


def test_half_a_file_is_told(tmp_path: Path) -> None:
    for file in (parquet(tmp_path), arrow(tmp_path), arrow_stream(tmp_path), arrays(tmp_path)):
        file.write_bytes(file.read_bytes()[:20_000])
        assert str(wrong(file)).startswith(file.name)
    np.save(tmp_path / "it.npy", VECTORS)
    (tmp_path / "it.npy").write_bytes((tmp_path / "it.npy").read_bytes()[:20_000])
    assert "it.npy: it cannot be read" in str(wrong(tmp_path / "it.npy"))


def test_no_code_of_a_file_is_run(tmp_path: Path) -> None:
    np.savez(tmp_path / "it.npz", vectors=np.ones((1, 2)), n=np.array([{"a": 1}], dtype=object))
    assert "column 'n': this is object" in str(wrong(tmp_path / "it.npz"))
    np.save(tmp_path / "it.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    assert "it.npy" in str(wrong(tmp_path / "it.npy"))


def test_a_value_that_numpy_has_and_json_has_not(tmp_path: Path) -> None:
    np.savez(tmp_path / "it.npz", vectors=np.ones((3, 2)), n=np.array([1.0, 2.0, np.inf]))
    assert "it.npz, row 3, column 'n': NaN or infinity" in str(wrong(tmp_path / "it.npz"))


@pytest.mark.parametrize("source", [7, None, [VectorPoint(1, [1.0])], Path("it.csv")], ids=repr)
def test_what_is_no_source_is_refused(source: Any) -> None:
    with pytest.raises(InvalidOptionError):
        read(source)


def test_a_batch_has_a_point() -> None:
    for size in (0, True, "7"):
        with pytest.raises(InvalidOptionError, match="batch_size"):
            read(VECTORS, batch_size=size)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    for ending in ("parquet", "arrow", "jsonl", "npy", "npz"):
        assert "cannot be read: No such file" in str(wrong(tmp_path / f"none.{ending}"))


def test_without_pyarrow_tables_are_refused_and_the_rest_is_read(tmp_path: Path) -> None:
    parquet(tmp_path)
    np.save(tmp_path / "it.npy", VECTORS)
    code = """
import asyncio, sys
sys.modules["pyarrow"] = None
from codeweaver_backends.readers import read_points
async def main():
    print(sum([len(points) async for points in read_points("it.npy")]))
    async for _ in read_points("it.parquet"): pass
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == f"{COUNT}\n"
    assert "pip install 'codeweaver-backends[parquet]'" in done.stderr


# --- how it is read --------------------------------------------------------------------------------------------------

MANY = 200_000


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of 200,000 points x 64, 51 MB of vectors each; the Parquet file is one row group."""
    folder = tmp_path_factory.mktemp("large")
    matrix = np.random.default_rng(1).random((MANY, 64), np.float32)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(matrix.reshape(-1)), 64)
    content = pa.table({"id": pa.array(range(MANY)), "vector": vectors})
    pq.write_table(content, folder / "it.parquet", row_group_size=MANY)
    ipc(folder / "it.arrow", pa.ipc.new_file, content)
    np.save(folder / "it.npy", matrix)
    np.savez_compressed(folder / "it.npz", vectors=matrix)
    return folder


@pytest.mark.parametrize("ending", ["parquet", "arrow", "npy", "npz"])
def test_a_file_is_never_held_whole(large: Path, ending: str) -> None:
    async def scenario() -> int:
        count = 0
        async for points in read_points(large / f"it.{ending}"):
            count += len(points)
            held.append(tracemalloc.get_traced_memory()[0] + pool.bytes_allocated() - before)
        return count

    held: list[int] = []
    pool = pa.default_memory_pool()
    gc.collect()
    before = pool.bytes_allocated()
    tracemalloc.start()
    try:
        assert asyncio.run(scenario()) == MANY
    finally:
        tracemalloc.stop()
    assert max(held) < 16_000_000  # of 51


@pytest.mark.skipif(sys.platform != "linux", reason="Linux lists a process' files")
@pytest.mark.parametrize("name", ["parquet", "arrow", "jsonl", "npz"])
def test_a_file_that_is_left_early_is_closed(tmp_path: Path, name: str) -> None:
    file = SOURCES[name](tmp_path)

    def opened() -> bool:
        return str(file) in {os.path.realpath(link) for link in Path("/proc/self/fd").iterdir()}

    async def scenario() -> None:
        async with aclosing(read_points(file, batch_size=10)) as points:
            await anext(points)
            assert opened() or name == "arrow"  # it is mapped, and closed at once
        assert not opened()

    asyncio.run(scenario())


def test_a_file_that_is_being_read_when_it_is_cancelled(tmp_path: Path) -> None:
    """The step that is under way ends first: a generator that runs cannot be closed."""
    from codeweaver_backends.readers.points import in_thread

    reading, going_on, closed = threading.Event(), threading.Event(), []

    def blocking() -> Any:
        try:
            reading.set()
            going_on.wait(10)
            yield 1
        finally:
            closed.append(True)

    async def scenario() -> None:
        async def consume() -> None:
            async for _ in in_thread(blocking()):
                pass

        task = asyncio.create_task(consume())
        await asyncio.to_thread(reading.wait)
        task.cancel()
        await asyncio.sleep(0.05)
        assert not task.done()
        going_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())
    assert closed == [True]


def test_dates_of_tables(tmp_path: Path) -> None:
    when = datetime.datetime(2024, 5, 1, tzinfo=datetime.UTC)
    [point] = read(pa.table({"id": ["a"], "vector": [[1.0]], "when": [when]}))
    assert point.payload == {"when": "2024-05-01T00:00:00+00:00"}


def test_an_archive_with_something_else_in_it(tmp_path: Path) -> None:
    content = io.BytesIO()
    np.save(content, VECTORS)
    with zipfile.ZipFile(tmp_path / "it.npz", "w") as archive:
        archive.writestr("vectors.npy", content.getvalue())
        archive.writestr("README.txt", "words")
    assert "it.npz: it cannot be read as arrays of numbers" in str(wrong(tmp_path / "it.npz"))
