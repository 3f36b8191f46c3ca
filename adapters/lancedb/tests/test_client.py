"""What several instances do to one folder, and what keeps a table in order."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import lancedb  # noqa: F401 - the first import takes seconds, which are no part of any story's time
import numpy as np
import pytest

from codeweaver_backends import (
    BackendTimeoutError,
    CodeWeaverFactory,
    CollectionExistsError,
    CollectionNotFoundError,
    DistanceMetric,
    FilterCondition,
    InvalidDimensionError,
    InvalidInputError,
    SearchFilter,
    UnsupportedError,
    VectorPoint,
)
from codeweaver_lancedb import client, schema, slots

Backends = Callable[..., Any]


def run(folder: Path, story: Callable[[Backends], Awaitable[None]], **settings: Any) -> None:
    """Tell a story of backends that share a folder."""

    async def main() -> None:
        made = []

        def backend() -> Any:
            made.append(CodeWeaverFactory().create_backend("lancedb", path=folder, **settings))
            return made[-1]

        try:
            await story(backend)
        finally:
            for one in made:
                await one.aclose()

    asyncio.run(main())


def points(*ids: int, dimension: int = 2, **payload: Any) -> list[VectorPoint]:
    return [VectorPoint(one, [1.0, *[float(one)] * (dimension - 1)], payload) for one in ids]


def test_of_instances_that_create_at_once_one_succeeds(tmp_path: Path) -> None:
    async def story(backend: Backends) -> None:
        several = [backend() for _ in range(4)]
        for number in range(5):
            outcomes = await asyncio.gather(
                *(one.create_collection(f"c{number}", 2) for one in several * 3), return_exceptions=True
            )
            assert outcomes.count(None) == 1
            assert all(one is None or isinstance(one, CollectionExistsError) for one in outcomes)

    run(tmp_path, story)


def test_of_processes_that_create_at_once_one_succeeds(tmp_path: Path) -> None:
    script = """
import asyncio, sys
from codeweaver_backends import CodeWeaverFactory, CollectionExistsError

async def main():
    async with CodeWeaverFactory().create_backend("lancedb", path=sys.argv[1]) as backend:
        await backend.list_collections()
        print("ready", flush=True)
        sys.stdin.readline()
        for number in range(10):
            try:
                await backend.create_collection(f"c{number}", 2)
            except CollectionExistsError:
                pass
            else:
                print(number)

asyncio.run(main())
"""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    created = [number for process in processes for number in process.communicate(timeout=60)[0].split()]
    assert sorted(created, key=int) == [str(number) for number in range(10)]


def test_what_another_instance_recreated_is_opened_anew_by_every_call(tmp_path: Path) -> None:
    calls: list[Callable[[Any], Awaitable[Any]]] = [
        lambda one: one.get_collection_info("c"),
        lambda one: one.search_vectors("c", [1, 0, 0]),
        lambda one: one.search_vectors("c", [1, 0, 0], limit=0),
        lambda one: one.upsert_vectors("c", points(7, dimension=3)),
        lambda one: one.upsert_vectors("c", iter(points(7, dimension=3))),
        lambda one: one.upsert_batch("c", [7], np.ones((1, 3))),
        lambda one: one.delete_vectors("c", [1]),
        lambda one: one.delete_by_filter("c", SearchFilter()),
        lambda one: one.get_vectors("c", [1]),
        lambda one: one.scroll_vectors("c"),
        lambda one: one.count_vectors("c"),
    ]

    async def story(backend: Backends) -> None:
        stale, other = backend(), backend()
        await stale.create_collection("c", 2)
        for call in calls:
            await stale.upsert_vectors("c", points(1, dimension=(await stale.get_collection_info("c")).dimension))
            await other.delete_collection("c")
            with pytest.raises(CollectionNotFoundError):
                await call(stale)
            await other.create_collection("c", 3, DistanceMetric.DOT_PRODUCT)
            await call(stale)
            with pytest.raises(InvalidDimensionError):
                await stale.search_vectors("c", [1, 0])
            assert (await stale.get_collection_info("c")).distance_metric is DistanceMetric.DOT_PRODUCT
        assert await other.list_collections() == ["c"]

    run(tmp_path, story)


def test_instances_that_write_by_turns_leave_each_id_once(tmp_path: Path) -> None:
    async def story(backend: Backends) -> None:
        one, other = backend(), backend()
        await one.create_collection("c", 2)
        for turn in range(4):
            await one.upsert_vectors("c", points(turn, 100 + turn, by="one"))
            await other.upsert_vectors("c", points(turn, 200 + turn, by="other"))
            await other.delete_vectors("c", [100 + turn])
            await one.upsert_vectors("c", points(100 + turn, 200 + turn, by="one"))
            await asyncio.gather(*(writer.upsert_vectors("c", points(300 + turn)) for writer in (one, other) * 3))
        found = (await one.scroll_vectors("c")).points
        assert len(found) == len({point.id for point in found}) == await other.count_vectors("c") == 16
        assert await one.count_vectors("c", FilterCondition("by", "eq", "other")) == 4

    run(tmp_path, story)


def test_small_writes_are_compacted_and_indexes_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_FRAGMENTS", 4)
    monkeypatch.setattr(client, "_INDEX_FROM", 10)
    monkeypatch.setattr(client, "_NARROW", 1.0)
    monkeypatch.setattr(client, "_SHARE_TTL", 0.0)

    async def story(backend: Backends) -> None:
        one = backend()
        await one.create_collection("c", 2, payload_indexes={"word": "keyword", "number": "integer"})
        for turn in range(25):
            await one.upsert_vectors("c", points(2 * turn, 2 * turn + 1, word=f"w{turn % 5}", number=turn))
            assert await one.count_vectors("c", FilterCondition("number", "ge", turn)) == 2
        opened = one._handles["c"]
        if opened.upkeep is not None:
            await asyncio.wait([opened.upkeep])
        assert (await opened.table.stats())["fragment_stats"]["num_fragments"] <= 5
        assert {index.name for index in await opened.table.list_indices()} == {
            "words_0_idx",
            "low_1_idx",
            "high_1_idx",
        }
        where = SearchFilter(must=[FilterCondition("word", "eq", "w3"), FilterCondition("number", "lt", 10)])
        assert {hit.id for hit in await one.search_vectors("c", [1, 1], 50, where)} == {6, 7, 16, 17}
        assert await one.delete_by_filter("c", where) == 4
        assert await one.count_vectors("c") == 46

    run(tmp_path, story)


@pytest.mark.parametrize("is_indexed", [False, True])
def test_a_table_of_an_older_version_gets_columns_of_sparse_vectors(tmp_path: Path, is_indexed: bool) -> None:
    async def story(backend: Backends) -> None:
        old = backend()
        await old.create_collection("c", 2)
        await old.upsert_vectors("c", points(1, 2, 3, t="word"))
        await old._handles["c"].table.drop_columns([field.name for field in slots.SLOT_FIELDS])
        one, other = backend(), backend()
        for instance in (one, other):
            assert [point.sparse_vector for point in await instance.get_vectors("c", [1, 2])] == [None, None]
            assert await instance.hybrid_search("c", [1, 0], {"x": 1.0}, alpha=0.0) == []
            with pytest.raises(InvalidInputError, match="needs a sparse index"):
                await instance.hybrid_search("c", [1, 0], "word")
        if is_indexed:
            await one.create_sparse_index("c", ["t"])
        await one.update_sparse_vectors("c", [VectorPoint(n, [1, 0], None, {"x": 1.0, n: 2.0}) for n in (1, 2)])
        await other.upsert_vectors("c", points(1, t="word"))  # a merge that does not name the column would keep it
        assert [hit.id for hit in await other.hybrid_search("c", [1, 0], {"x": 1.0}, alpha=0.0)] == [2]
        assert (await other.scroll_vectors("c", with_vectors=True)).points[1].sparse_vector is not None
        if is_indexed:
            assert [hit.id for hit in await other.hybrid_search("c", [1, 0], "word", alpha=0.0)] == [1, 2, 3]

    run(tmp_path, story)


def test_the_definition_of_an_index_outlives_compaction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_FRAGMENTS", 4)

    async def story(backend: Backends) -> None:
        one = backend()
        await one.create_collection("c", 2)
        await one.create_sparse_index("c", ["t"])
        for turn in range(12):
            await one.upsert_vectors("c", points(turn, turn + 1, t=f"word w{turn}"))
            await one.update_sparse_vectors("c", [VectorPoint(turn, [1, 0], None, {turn: 1.0})])
        opened = one._handles["c"]
        if opened.upkeep is not None:
            await asyncio.wait([opened.upkeep])
        assert (await opened.table.stats())["fragment_stats"]["num_fragments"] <= 6
        assert len(await backend().hybrid_search("c", [1, 0], "word", 50, alpha=0.0)) == 13
        assert [hit.id for hit in await one.hybrid_search("c", [1, 0], {7: 1.0}, alpha=0.0)] == [7]

    run(tmp_path, story)


def test_a_writer_waits_no_longer_than_the_timeout(tmp_path: Path) -> None:
    async def story(backend: Backends) -> None:
        one, other = backend(), backend()
        await one.create_collection("c", 2)
        await other.get_collection_info("c")
        async with one._database.turns.turn("c"):
            with pytest.raises(BackendTimeoutError) as refused:
                await other.upsert_vectors("c", points(1, 2))
        assert refused.value.ids == (1, 2)
        await other.upsert_vectors("c", points(1, 2))
        assert await one.count_vectors("c") == 2

    run(tmp_path, story, timeout=0.3)


def test_writes_that_are_cut_off_and_repeated_leave_each_id_once(tmp_path: Path) -> None:
    async def story(backend: Backends) -> None:
        one = backend()
        await one.create_collection("c", 2)
        for turn in range(12):
            batch = points(*range(100 * turn, 100 * turn + 150), turn=turn)
            write = asyncio.create_task(one.upsert_vectors("c", batch))
            await asyncio.sleep(0.002 * turn)
            write.cancel()
            await asyncio.gather(write, return_exceptions=True)
            await one.upsert_vectors("c", batch)
        found = (await one.scroll_vectors("c", limit=5_000)).points
        assert len(found) == len({point.id for point in found}) == await one.count_vectors("c") == 1_250

    run(tmp_path, story)


def test_a_first_write_that_is_cut_off_meets_no_other_writer(tmp_path: Path) -> None:
    """The engine commits what was cut off: whoever writes the same points next must find them, and replace them."""

    async def story(backend: Backends) -> None:
        one, other = backend(), backend()
        ids, vectors = list(range(3_000)), np.ones((3_000, 32), np.float32)
        for turn in range(10):
            name = f"c{turn}"
            await one.create_collection(name, 32)
            await other.get_collection_info(name)
            write = asyncio.create_task(one.upsert_batch(name, ids, vectors))
            await asyncio.sleep(0.005 * turn)
            write.cancel()
            await asyncio.gather(write, return_exceptions=True)
            await other.upsert_batch(name, ids, vectors)
            assert await other.count_vectors(name) == 3_000

    run(tmp_path, story)


def test_who_is_out_of_time_leaves_and_the_turn_ends_with_its_work(tmp_path: Path) -> None:
    async def story(backend: Backends) -> None:
        one = backend()
        await one.create_collection("c", 2)
        finish, done = asyncio.Event(), []

        async def work() -> None:
            await finish.wait()
            done.append("first")

        async def next_work() -> None:
            done.append("second")

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await one._database.turns.take("c", work)
        following = asyncio.create_task(one._database.turns.take("c", next_work))
        waiting = asyncio.create_task(one._database.turns.take("c", next_work))
        await asyncio.sleep(0.05)
        waiting.cancel()  # it has not begun, and never will
        assert done == []
        finish.set()
        await following
        await asyncio.gather(waiting, return_exceptions=True)
        await asyncio.sleep(0.05)
        assert done == ["first", "second"]

    run(tmp_path, story)


def test_closing_waits_for_a_write_whose_caller_left(tmp_path: Path) -> None:
    async def story(backend: Backends) -> None:
        one, other = backend(), backend()
        await one.create_collection("c", 2)
        write = asyncio.create_task(one.upsert_vectors("c", points(*range(500))))
        await asyncio.sleep(0.01)
        write.cancel()
        await asyncio.gather(write, return_exceptions=True)
        await one.aclose()
        assert not one._database.turns._turns
        before = await other.count_vectors("c")
        await asyncio.sleep(0.1)
        assert await other.count_vectors("c") == before

    run(tmp_path, story)


def test_a_busy_writer_starves_nobody(tmp_path: Path) -> None:
    async def story(backend: Backends) -> None:
        busy, patient = backend(), backend()
        await busy.create_collection("c", 2)
        await patient.get_collection_info("c")
        writes = [asyncio.create_task(busy.upsert_vectors("c", points(number))) for number in range(60)]
        await asyncio.sleep(0)
        await patient.upsert_vectors("c", points(100))
        assert sum(write.done() for write in writes) < 30
        await asyncio.gather(*writes)
        assert await patient.count_vectors("c") == 61

    run(tmp_path, story)


def test_tables_that_others_made_are_left_alone(tmp_path: Path) -> None:
    async def story(backend: Backends) -> None:
        one = backend()
        await one.create_collection("c", 2)
        (tmp_path / "theirs.lance").mkdir()
        (tmp_path / "cw_dead.abcde.lance").mkdir()
        assert await one.list_collections() == ["c"]
        await one.create_collection("theirs", 2)
        await one.create_collection("dead", 2)
        await one.upsert_vectors("dead", points(1))
        assert await one.count_vectors("dead") == 1
        await one.delete_collection("theirs")
        assert (tmp_path / "theirs.lance").is_dir()

    run(tmp_path, story)


def test_in_memory_nothing_is_shared(tmp_path: Path) -> None:
    async def main() -> None:
        async with CodeWeaverFactory().create_backend("lancedb", path="memory://") as one:
            await one.create_collection("c", 2)
            await one.upsert_vectors("c", points(1, 2))
            await one.upsert_vectors("c", points(2, 3))
            assert await one.count_vectors("c") == 3
            async with CodeWeaverFactory().create_backend("lancedb", path="memory://") as other:
                assert await other.list_collections() == []

    asyncio.run(main())


def test_a_collection_of_another_layout_is_listed_refused_and_can_be_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(backend: Backends) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(schema, "LAYOUT", schema.LAYOUT - 1)
            await backend().create_collection("c", 2)
        one = backend()
        assert await one.list_collections() == ["c"]
        for call in (one.count_vectors("c"), one.create_collection("c", 2)):
            with pytest.raises(UnsupportedError, match="layout"):
                await call
        await one.delete_collection("c")
        assert await one.list_collections() == []

    run(tmp_path, story)


def test_a_folder_that_is_gone_is_not_healthy(tmp_path: Path) -> None:
    async def story(backend: Backends) -> None:
        one = backend()
        await one.create_collection("c", 2)
        shutil.rmtree(tmp_path / "data")
        assert not await one.health_check()
        with pytest.raises(CollectionNotFoundError):
            await one.upsert_vectors("c", points(1))

    run(tmp_path / "data", story)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning", "ignore:.*fork:RuntimeWarning")
def test_a_forked_child_is_refused(tmp_path: Path) -> None:
    script = """
import asyncio, os, sys, warnings
warnings.simplefilter("ignore")
from codeweaver_backends import BackendClosedError, CodeWeaverFactory, UnsupportedError

def backend():
    return CodeWeaverFactory().create_backend("lancedb", path=sys.argv[1])

async def refused(one):
    try:
        await one.list_collections()
    except (BackendClosedError, UnsupportedError) as error:
        return "fork" in str(error)

one = backend()
asyncio.run(one.create_collection("c", 2))
if os.fork():
    sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
os._exit(0 if asyncio.run(refused(one)) and asyncio.run(refused(backend())) else 1)
"""
    ended = subprocess.run([sys.executable, "-c", script, str(tmp_path)], timeout=60, check=False)
    assert ended.returncode == 0
