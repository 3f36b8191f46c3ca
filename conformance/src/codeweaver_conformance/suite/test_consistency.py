"""Consistency: what was acknowledged is there, at once, for others, and beside other work."""

from __future__ import annotations

import asyncio
import time

from codeweaver_backends.types import FilterCondition, SearchFilter
from codeweaver_conformance.clause import clause
from codeweaver_conformance.session import Conformance, point

# Ids are integers wherever ids are not the matter, so that a fault of string ids fails its own tests and no others.
BASE, X, Y, SAME = range(4)

VERSION_1, VERSION_2 = FilterCondition("v", "eq", 1), FilterCondition("v", "eq", 2)


@clause("consistency.read-your-writes")
async def test_a_write_is_seen_by_the_next_call(cw: Conformance) -> None:
    """Check many times without sleeping: writes that wait for a flush, and deletes that wait for the next write."""
    name = await cw.collection([point(BASE, [1, 1])])
    for turn in range(15):
        new = 10 + turn
        await cw.backend.upsert_vectors(name, [point(new, [1, turn + 2], {"v": 1, "turn": turn})])
        await cw.settle()
        found = {hit.id for hit in await cw.backend.search_vectors(name, [1, turn + 2], limit=100)}
        cw.true(new in found, f"point {new} found by search at once", found)
        cw.equal(await cw.ids(name, SearchFilter(must=[FilterCondition("turn", "eq", turn)])), {new}, "and by filter")
        cw.equal(await cw.count(name), 2, "and counted")
        await cw.backend.delete_vectors(name, [new])
        await cw.settle()
        cw.equal(await cw.ids(name), {BASE}, "a deleted point is gone at once")
        cw.equal(await cw.count(name), 1)


@clause("consistency.overwrite")
async def test_an_overwrite_is_never_served_stale(cw: Conformance) -> None:
    """Check the same search before and after: caches of results, and filters on old values."""
    name = await cw.collection([point(X, [1, 0], {"v": 1}), point(Y, [0, 1], {"v": 0})])
    [first, _] = await cw.backend.search_vectors(name, [1, 0], limit=2)
    cw.equal([first.id, first.payload], [X, {"v": 1}])
    await cw.backend.upsert_vectors(name, [point(X, [-1, 0], {"v": 2})])
    await cw.settle()
    hits = {hit.id: hit for hit in await cw.backend.search_vectors(name, [1, 0], limit=2)}
    cw.equal(hits[X].payload, {"v": 2})
    cw.true(abs(hits[X].score + 1) < 1e-5, "score -1: the new vector", hits[X].score)
    cw.equal(await cw.ids(name, SearchFilter(must=[VERSION_1])), set(), "the old value is filtered no more")
    cw.equal(await cw.ids(name, SearchFilter(must=[VERSION_2])), {X})
    await cw.backend.delete_vectors(name, [X])
    await cw.backend.upsert_vectors(name, [point(X, [1, 0], {"v": 3})])
    await cw.settle()
    cw.equal(await cw.payloads(name), {X: {"v": 3}, Y: {"v": 0}}, "deleted and written again")


@clause("consistency.durable")
async def test_points_are_there_for_a_fresh_instance(cw: Conformance) -> None:
    """Check that a restart of the application keeps vectors, payloads, count and what filters find."""
    points = [point(n, [1, n], {"v": n % 3, "deep": {"x": [n, None, 1.0]}}) for n in range(40)]
    name = await cw.collection(points)
    await cw.backend.delete_vectors(name, [0, 1])
    await cw.backend.upsert_vectors(name, [point(2, [1, 2], {"v": "new"})])
    expected = {one.id: one.payload for one in points[3:]} | {2: {"v": "new"}}
    backend = await cw.reopen()
    cw.true(name in await backend.list_collections(), "the collection listed", await backend.list_collections())
    cw.equal(await cw.payloads(name), expected)
    cw.equal(await cw.count(name), 38)
    one = SearchFilter(must=[FilterCondition("deep.x", "eq", 7)])
    cw.equal(await cw.ids(name, one), {7}, "filters after the restart")
    [hit] = await backend.search_vectors(name, [1, 39], limit=1)
    cw.equal(hit.id, 39, "vectors after the restart")


@clause("consistency.concurrent-writes")
async def test_concurrent_writers_leave_each_id_once(cw: Conformance) -> None:
    """Check two inserts of one new id, and lost writes of different ids."""
    name = await cw.collection()
    for turn in range(3):
        same = [cw.backend.upsert_vectors(name, [point(SAME, [1, n + 1], {"v": n})]) for n in range(6)]
        other = [cw.backend.upsert_vectors(name, [point(100 + 10 * turn + n, [1, n], {"v": n})]) for n in range(6)]
        await asyncio.gather(*same, *other)
    await cw.settle()
    payloads = await cw.payloads(name)
    cw.equal(payloads.keys() - {SAME}, {100 + 10 * turn + n for turn in range(3) for n in range(6)})
    cw.true(payloads.get(SAME) in [{"v": n} for n in range(6)], "the payload of one of the writers", payloads.get(SAME))
    cw.equal(await cw.count(name), 19)
    version = (payloads[SAME])["v"]
    [hit] = await cw.backend.search_vectors(
        name,
        [1, version + 1],
        limit=1,
        search_filter=SearchFilter(must=[FilterCondition("v", "eq", version)]),
        score_threshold=1 - 1e-5,
    )
    cw.true(hit.score > 1 - 1e-5, "vector and payload of one writer", hit)


@clause("consistency.search-beside-writes")
async def test_searches_beside_writes_see_whole_points(cw: Conformance) -> None:
    """Check for "changed size during iteration", half-replaced points, and points that vanish while replaced."""
    steady = [point(1_000 + n, [1, n], {"v": "steady"}) for n in range(5)]
    name = await cw.collection([*steady, *(point(n, [1, n], {"v": 0, "w": 0}) for n in range(20))])
    end = time.monotonic() + 1.0
    stop = asyncio.Event()

    async def write() -> None:
        version = 1
        while time.monotonic() < end:
            ids = [*range(20), 5_000 + version]  # one that is new, so that the collection grows and shrinks
            await cw.backend.upsert_vectors(name, [point(n, [1, n], {"v": version, "w": version}) for n in ids])
            await cw.backend.delete_vectors(name, [4_999 + version])
            version += 1
            await asyncio.sleep(0)
        stop.set()

    async def read() -> None:
        while not stop.is_set():
            found = await cw.backend.search_vectors(name, [1, 0], limit=100)
            for hit in found:
                if hit.payload != {"v": "steady"} and hit.payload.get("v", 0) != hit.payload.get("w", 1):
                    cw.violated("a payload that was once written", hit.payload)
            ids = [hit.id for hit in found]
            cw.true(
                len(ids) == len(set(ids)) and {one.id for one in steady} <= set(ids),
                "each point once, and those nobody writes",
                ids,
            )
            if cw.capabilities.replace_is_atomic:
                cw.true(set(range(20)) <= set(ids), "points that are being replaced, too", ids)
            await asyncio.sleep(0)

    await asyncio.gather(write(), read(), read())
