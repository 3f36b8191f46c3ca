"""Copying between real engines, also when the process is killed on the way."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codeweaver_backends import CodeWeaverFactory, DistanceMetric
from codeweaver_backends.transfer import copy, export_points, import_points

DIMENSION = 48


async def fill(backend: Any, count: int, metric: DistanceMetric = DistanceMetric.COSINE) -> None:
    await backend.create_collection("code", DIMENSION, metric)
    generator = np.random.default_rng(5)
    for start in range(0, count, 500):
        ids = [i if i % 3 else f"module.py:{i}" for i in range(start, min(start + 500, count))]
        vectors = generator.normal(size=(len(ids), DIMENSION)).astype(np.float32)
        payloads = [
            {
                "kind": ("function", "class")[i % 2],
                "text": "def naïve(): …\n" * (i % 20),
                "n": [i, float(i), None, True],
            }
            for i in range(start, start + len(ids))
        ]
        await backend.upsert_batch("code", ids, vectors, payloads)


async def content(backend: Any) -> dict[Any, Any]:
    found, cursor = {}, None
    while True:
        page = await backend.scroll_vectors("code", cursor=cursor, limit=1_000, with_vectors=True)
        for one in page.points:
            key = (type(one.id).__name__, one.id)
            assert key not in found
            found[key] = (np.asarray(one.vector, dtype=np.float32), json.dumps(one.payload, sort_keys=True))
        cursor = page.cursor
        if cursor is None:
            return found


def assert_same(first: dict[Any, Any], second: dict[Any, Any]) -> None:
    assert first.keys() == second.keys()
    for key, (vector, payload) in first.items():
        assert second[key][1] == payload, key
        assert np.allclose(second[key][0], vector, rtol=1e-6, atol=0), key


@pytest.mark.parametrize("metric", [DistanceMetric.COSINE, DistanceMetric.EUCLIDEAN])
def test_round_through_engines_and_files(tmp_path: Path, metric: DistanceMetric) -> None:
    """memory → lancedb → qdrant-edge → Parquet → lancedb → JSON lines → memory."""
    create = CodeWeaverFactory().create_backend

    async def scenario() -> None:
        async with (
            create("memory") as first,
            create("lancedb", path=tmp_path / "lance") as lance,
            create("qdrant-edge", path=tmp_path / "edge") as edge,
            create("lancedb", path=tmp_path / "again") as again,
            create("memory") as last,
        ):
            await fill(first, 1_500, metric)
            for source, target in ((first, lance), (lance, edge)):
                report = await copy(source, target)
                assert report.ok, report
                assert {one.outcome for one in report.collections[0].checks} == {"passed"}
            assert (await export_points(edge, tmp_path / "it.parquet")).ok
            assert (await import_points(tmp_path / "it.parquet", again)).ok
            assert (await export_points(again, tmp_path / "it.jsonl")).ok
            assert (await import_points(tmp_path / "it.jsonl", last)).ok
            assert_same(await content(first), await content(last))

    asyncio.run(scenario())


def written(journal: Path) -> int:
    """Points that the journal knows to be written."""
    if not journal.exists():
        return 0
    return int(json.loads(journal.read_text())["collections"].get("code", {}).get("written", 0))


@pytest.mark.parametrize(("source", "target"), [("lancedb", "qdrant-edge"), ("qdrant-edge", "lancedb")])
def test_a_copy_that_is_killed_goes_on_where_it_stopped(tmp_path: Path, source: str, target: str) -> None:
    chance, create = random.Random(7), CodeWeaverFactory().create_backend

    async def prepare() -> None:
        async with create(source, path=tmp_path / "source") as backend:
            await fill(backend, 4_000)

    async def read(name: str, folder: str) -> dict[Any, Any]:
        async with create(name, path=tmp_path / folder) as backend:
            return await content(backend)

    asyncio.run(prepare())
    journal = tmp_path / "journal"
    command = [sys.executable, "-m", "codeweaver_backends.cli", "copy", f"{source}:path={tmp_path / 'source'}"]
    command += [f"{target}:path={tmp_path / 'target'}", "--journal", str(journal), "--json", "--samples", "3"]
    kills = 0
    while kills < 4:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        before = written(journal)
        # Not before it has gone on, or it would never get to an end.
        while process.poll() is None and written(journal) <= before:
            time.sleep(0.002)
        time.sleep(chance.random() * 0.1)
        if process.poll() is not None:
            break
        process.kill()
        process.communicate()
        kills += 1
    else:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    report = json.loads(out)
    assert report["ok"]
    assert kills >= 1, "nothing was interrupted"
    assert report["collections"][0]["resumed_at"] > 0
    assert not journal.exists()
    assert_same(asyncio.run(read(source, "source")), asyncio.run(read(target, "target")))
