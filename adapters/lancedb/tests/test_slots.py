"""Sparse legs: what is kept in memory gives the numbers of the column, and never those of another version."""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pytest

from codeweaver_backends import HybridStrategy, VectorPoint, create_backend
from codeweaver_backends.sdk.hybrid.vectors import EMPTY_ROW, SparseRow, SparseRows
from codeweaver_lancedb.slots import Postings, SlotReader, leg_of, packed, with_scores

_TERMS = 400


def _row(chance: np.random.Generator, most: int) -> SparseRow:
    indices = np.unique(chance.integers(0, _TERMS, chance.integers(0, most + 1))).astype(np.uint32) * 99_991
    return SparseRow(indices, chance.random(len(indices)).astype(np.float32) + np.float32(0.1))


def _batches(chance: np.random.Generator) -> list[pa.RecordBatch]:
    batches = []
    for number, count in enumerate((700, 1, 900)):
        values = packed(SparseRows.of(_row(chance, 30) for _ in range(count)), count)
        ids = pa.array([f"s{number}-{one}" for one in range(count)], pa.utf8())
        batches.append(pa.record_batch([ids, values], names=["id", "text"]))
    empty = packed(None, 20)
    return [*batches, pa.record_batch([pa.array([f"s-{one}" for one in range(20)]), empty], names=["id", "text"])]


@pytest.mark.parametrize("limit", [10, 5_000])
def test_postings_give_the_very_numbers_of_the_column(limit: int) -> None:
    chance = np.random.default_rng(5)
    batches = _batches(chance)
    postings = Postings(batches)
    queries = [_row(chance, 12) for _ in range(50)] + [EMPTY_ROW, SparseRow(np.array([7], np.uint32), np.ones(1, "f4"))]
    for query in queries:
        scanned = leg_of([with_scores(batch, query, limit) for batch in batches], limit)
        kept = postings.leg(query, limit)
        assert dict(zip(kept.ids, kept.scores.tolist(), strict=True)) == dict(
            zip(scanned.ids, scanned.scores.tolist(), strict=True)
        )


def test_postings_of_no_vectors_find_nothing() -> None:
    nothing = pa.record_batch([pa.array(["s1"]), packed(None, 1)], names=["id", "text"])
    assert len(Postings([nothing]).leg(SparseRow(np.array([1], np.uint32), np.ones(1, np.float32)), 10)) == 0


def test_who_asks_often_reads_no_column_until_somebody_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scans = 0
    read = SlotReader._read

    def counted(self: SlotReader, *arguments: Any) -> Any:
        nonlocal scans
        scans += 1
        return read(self, *arguments)

    async def story() -> None:
        async with (
            create_backend("lancedb", path=str(tmp_path)) as backend,
            create_backend("lancedb", path=str(tmp_path)) as other,
        ):
            await backend.create_collection("c", 2)
            await backend.create_sparse_index("c", ["t"])
            await backend.upsert_vectors("c", [VectorPoint(n, [1.0, n], {"t": f"word{n}"}) for n in range(1, 6)])

            async def found(text: str) -> list[Any]:
                return sorted(hit.id for hit in await backend.hybrid_search("c", [1.0, 0.0], text, alpha=0.0))

            for _ in range(6):
                assert await found("word3") == [3]
            assert scans == 4
            await other.upsert_vectors("c", [VectorPoint(9, [1.0, 1.0], {"t": "word3"})])
            for _ in range(6):
                assert await found("word3") == [3, 9]
            assert scans == 8
            await other.delete_vectors("c", [3])
            assert await found("word3") == [9]

    monkeypatch.setattr(SlotReader, "_read", counted)
    asyncio.run(story())


_WRITERS, _OWN, _PAUSE = 2, 40, 0.15
"""Processes, points of each, and seconds between two writes: enough for what is kept to be made, and used."""


async def _write(folder: str, writer: int) -> None:
    """Of one process: replace its own points again and again, with a weight that rises; tell what is acknowledged."""
    async with create_backend("lancedb", path=folder) as backend:
        for step in itertools.count(1):
            own = range(writer * _OWN, (writer + 1) * _OWN)
            await backend.upsert_vectors("c", [VectorPoint(n, [1.0, n], sparse_vector={7: float(step)}) for n in own])
            sys.stdout.write(f"{step}\n")
            sys.stdout.flush()
            await asyncio.sleep(_PAUSE)


def test_what_is_kept_is_of_now_while_other_processes_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scans, read = 0, SlotReader._read

    def counted(self: SlotReader, *arguments: Any) -> Any:
        nonlocal scans
        scans += 1
        return read(self, *arguments)

    told = [0] * _WRITERS

    def listen(writer: int, lines: IO[str]) -> None:
        for line in lines:
            told[writer] = int(line)

    def listen_to(ending: ExitStack, writer: int) -> None:
        command = [sys.executable, __file__, str(tmp_path), str(writer)]
        process = ending.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        ending.callback(process.kill)
        threading.Thread(target=listen, args=(writer, process.stdout), daemon=True).start()

    async def search(backend: Any) -> None:
        before = list(told)
        hits = await backend.hybrid_search("c", [1.0, 0.0], {"7": 1.0}, 100, HybridStrategy.LINEAR, alpha=0.0)
        after = list(told)
        for writer in range(_WRITERS):
            steps = {hit.score for hit in hits if hit.id // _OWN == writer}
            if not before[writer]:
                continue
            assert len(steps) == 1, "a write is one version"
            assert before[writer] <= steps.pop() <= after[writer] + 1, "what was acknowledged before is found"
            assert sum(hit.id // _OWN == writer for hit in hits) == _OWN

    async def story() -> int:
        searches = 0
        async with create_backend("lancedb", path=str(tmp_path)) as backend:
            await backend.create_collection("c", 2)
            await backend.create_sparse_index("c", ["t"])
            with ExitStack() as ending:
                for writer in range(_WRITERS):
                    listen_to(ending, writer)
                while min(told) < 20:
                    await search(backend)
                    searches += 1
                    await asyncio.sleep(0)
            for _ in range(6):
                await search(backend)
        return searches

    monkeypatch.setattr(SlotReader, "_read", counted)
    searches = asyncio.run(asyncio.wait_for(story(), 120))
    assert scans < searches, "most searches were answered by what was kept"


if __name__ == "__main__":
    asyncio.run(_write(sys.argv[1], int(sys.argv[2])))
