"""A bucket that several processes write to at once: nothing is lost, and nothing is there twice."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from codeweaver_backends.testing import NotProvisioned
from codeweaver_lancedb import LanceDBBackend, LanceDBConfig
from codeweaver_lancedb.testing import object_store

WRITERS = 4
ROUNDS = 8
OWN = 25
"""Points that a writer adds in a round."""
SHARED = 10
"""Points that all writers replace in every round."""

WRITER = """
import asyncio, json, sys
from codeweaver_backends import VectorPoint
from codeweaver_backends.errors import BackendError
from codeweaver_lancedb import LanceDBBackend, LanceDBConfig

async def write(settings, number, rounds, own, shared):
    acknowledged, refused = [], 0
    async with LanceDBBackend(LanceDBConfig(**settings)) as backend:
        for turn in range(rounds):
            first = 1_000 + (number * rounds + turn) * own
            ids = [*range(shared), *range(first, first + own)]
            points = [VectorPoint(n, [1.0, n], {"by": number, "turn": turn}) for n in ids]
            while True:
                try:
                    await backend.upsert_vectors("c", points)
                    break
                except BackendError:
                    refused += 1
            acknowledged += ids
            gone = list(range(first, first + 5))
            while True:
                try:
                    await backend.delete_vectors("c", gone)
                    break
                except BackendError:
                    refused += 1
            acknowledged = [n for n in acknowledged if n not in gone]
    print(json.dumps([acknowledged, refused]))

asyncio.run(write(*json.loads(sys.argv[1])))
"""


@pytest.fixture(scope="module")
def store() -> Iterator[dict[str, Any]]:
    try:
        with object_store() as settings:
            yield settings
    except NotProvisioned as reason:
        pytest.skip(f"not verified: {reason}")


def test_writers_of_one_bucket_lose_nothing(store: dict[str, Any]) -> None:
    async def begin() -> None:
        async with LanceDBBackend(LanceDBConfig(**store)) as backend:
            await backend.create_collection("c", 2, exist_ok=True)

    async def look() -> tuple[Counter[Any], int]:
        async with LanceDBBackend(LanceDBConfig(**store)) as backend:
            return Counter([point.id async for point in backend.scan("c")]), await backend.count_vectors("c")

    asyncio.run(begin())
    tasks = [json.dumps([store, number, ROUNDS, OWN, SHARED]) for number in range(WRITERS)]
    running = [
        subprocess.Popen([sys.executable, "-c", WRITER, task], stdout=subprocess.PIPE, text=True) for task in tasks
    ]
    told = [json.loads(process.communicate(timeout=600)[0]) for process in running]
    assert [process.returncode for process in running] == [0] * WRITERS
    expected = {n for acknowledged, _ in told for n in acknowledged}
    assert len(expected) == SHARED + WRITERS * ROUNDS * (OWN - 5)
    found, counted = asyncio.run(look())
    assert {n: times for n, times in found.items() if times > 1} == {}
    assert set(found) == expected
    assert counted == len(expected)
