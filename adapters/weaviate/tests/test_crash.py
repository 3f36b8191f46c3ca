"""A server that is killed under load, again and again, loses no acknowledged point and counts what a search finds.

``CODEWEAVER_TEST_WEAVIATE_KILLS`` says how often (a kill takes some ten seconds). Needs a binary.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import numpy as np
import pytest

from codeweaver_backends.errors import BackendConnectionError
from codeweaver_backends.metrics import SCORE_TOLERANCE, scores
from codeweaver_backends.types import DistanceMetric, FilterCondition, SearchFilter, VectorPoint
from codeweaver_weaviate import WeaviateBackend, WeaviateConfig
from codeweaver_weaviate.testing import Server

KILLS = int(os.environ.get("CODEWEAVER_TEST_WEAVIATE_KILLS", "2"))
NAME, DIMENSION, WRITERS, OWN, BATCH = "crash", 32, 3, 1_200, 200
Repaired = Callable[[WeaviateBackend, str], Awaitable[None]]
ODD = SearchFilter(must=[FilterCondition("version", "ge", 1), FilterCondition("odd", "eq", True)])


class Ledger:
    """What writers were told."""

    def __init__(self) -> None:
        self.calls = 0
        """Acknowledged ones."""
        self.acknowledged: dict[int, int] = {}
        """Version by id, as the last acknowledged write left it; deleted ones are not here."""
        self.open: dict[int, set[int]] = {}
        """Versions by id of writes that failed since: any may be there. A failed delete has version 0."""

    async def run(self, backend: WeaviateBackend, writer: int, chance: random.Random) -> None:
        """Write and delete this writer's own points, until the server dies."""
        own = range(writer * OWN, (writer + 1) * OWN)
        while True:
            ids = chance.sample(own, BATCH)
            version = max(self.acknowledged.get(one, 0) for one in ids) + 1
            try:
                if chance.random() < 0.15:
                    version = 0
                    await backend.delete_vectors(NAME, list(ids))
                else:
                    await backend.upsert_vectors(NAME, [_point(one, version) for one in ids])
            except BackendConnectionError as error:
                failure = error
                break
            self.calls += 1
            self._acknowledge(ids, version)
        if version and failure.state_unknown:
            assert failure.ids, "the error of a write names its points"
            self._acknowledge(set(ids) - set(failure.ids), version)
        for one in failure.ids if version else ids:
            if failure.state_unknown or not version:
                self.open.setdefault(one, set()).add(version)

    def _acknowledge(self, ids: Iterable[int], version: int) -> None:
        for one in ids:
            self.open.pop(one, None)
            self.acknowledged.pop(one, None)
            if version:
                self.acknowledged[one] = version


def _vector(point_id: int, version: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng((point_id, version)).standard_normal(DIMENSION).astype(np.float32)


def _point(point_id: int, version: int) -> VectorPoint:
    return VectorPoint(point_id, _vector(point_id, version), {"version": version, "odd": bool(point_id % 2)})


async def _round(server: Server, backend: WeaviateBackend, ledger: Ledger, chance: random.Random) -> None:
    """Kill the server, some time after every writer could write."""
    enough = ledger.calls + 2 * WRITERS
    writers = [asyncio.create_task(ledger.run(backend, one, chance)) for one in range(WRITERS)]
    while ledger.calls < enough and not any(writer.done() for writer in writers):  # noqa: ASYNC110 - of two things
        await asyncio.sleep(0.01)
    await asyncio.sleep(chance.uniform(0.0, 2.0))
    server.kill()
    await asyncio.gather(*writers)
    await asyncio.to_thread(server.start)


async def _check(backend: WeaviateBackend, ledger: Ledger, chance: random.Random, *, fresh: bool) -> None:
    """Everything acknowledged is found, as written; every way to count and to read agrees.

    Filters are asked of what was acknowledged, and by the instance that saw its writes fail also of the rest.
    """
    query = _vector(0, chance.randrange(10**6))
    count = (await backend.get_collection_info(NAME)).vector_count
    found = {hit.id: hit for hit in await backend.search_vectors(NAME, query.tolist(), 10_000, with_vectors=True)}
    for point_id, version in ledger.acknowledged.items():
        tried = ledger.open.get(point_id, set())
        if point_id not in found and 0 in tried:
            continue  # a delete that failed came to pass
        assert point_id in found, f"{point_id} was acknowledged and is not found; tried since: {tried}"
        seen = (found[point_id].payload or {})["version"]
        assert seen == version or seen in tried
    unexpected = found.keys() - ledger.acknowledged.keys() - ledger.open.keys()
    assert not unexpected, f"deleted or never written: {sorted(map(str, unexpected))[:5]}"
    assert count == len(found)
    assert await _scrolled(backend, None) == found.keys()
    odd = {one for one in found if isinstance(one, int) and one % 2}
    scrolled = await _scrolled(backend, ODD)
    assert scrolled <= odd
    assert odd - scrolled <= (ledger.open.keys() if fresh else set())
    assert await backend.count_vectors(NAME, ODD) == len(scrolled)
    assert {one.id for one in await backend.get_vectors(NAME, list(found))} == found.keys()
    ids = list(found)
    matrix = np.array([found[one].vector for one in ids], dtype=np.float32)
    for _ in range(5):
        query = _vector(1, chance.randrange(10**6))
        score = scores(DistanceMetric.COSINE, query, matrix)
        hits = await backend.search_vectors(NAME, query.tolist(), 25)
        # By score and not by id: of two points whose scores are a float32's last bit apart, either may come first.
        got = [score[ids.index(hit.id)] for hit in hits]
        np.testing.assert_allclose(got, np.sort(score)[::-1][:25], rtol=0, atol=SCORE_TOLERANCE)
        assert len({hit.id for hit in hits}) == 25


async def _scrolled(backend: WeaviateBackend, search_filter: SearchFilter | None) -> set[Any]:
    ids: list[Any] = []
    cursor = None
    while True:
        page = await backend.scroll_vectors(NAME, cursor=cursor, limit=999, search_filter=search_filter)
        ids += (point.id for point in page.points)
        cursor = page.cursor
        if cursor is None:
            assert len(set(ids)) == len(ids)
            return set(ids)


async def _survive(server: Server, kills: int, patch: pytest.MonkeyPatch, repaired: Repaired) -> None:
    chance = random.Random(20_250_101)
    ledger = Ledger()
    async with WeaviateBackend(WeaviateConfig(**server.settings)) as backend:
        await backend.create_collection(NAME, DIMENSION)
        for kill in range(kills):
            patch.setattr(WeaviateBackend, "part_points", chance.choice((BATCH // 4, BATCH)))
            await repaired(backend, NAME)
            await _round(server, backend, ledger, chance)
            async with WeaviateBackend(WeaviateConfig(**server.settings)) as fresh:
                checked = backend if kill % 2 else fresh
                await repaired(checked, NAME)
                await _check(checked, ledger, chance, fresh=checked is fresh)
        assert ledger.calls >= 2 * WRITERS * kills
        assert ledger.acknowledged


@pytest.mark.skipif(KILLS < 1, reason="CODEWEAVER_TEST_WEAVIATE_KILLS=0")
def test_no_acknowledged_point_is_lost(server: Server, monkeypatch: pytest.MonkeyPatch, repaired: Repaired) -> None:
    """Check that a write is flushed before it is acknowledged, and that what was half written is written again."""
    asyncio.run(_survive(server, KILLS, monkeypatch, repaired))
