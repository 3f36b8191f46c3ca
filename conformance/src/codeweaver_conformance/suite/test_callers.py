"""What is the caller's: arguments that stay as they are, calls that are cut short, the loop that they run on."""

from __future__ import annotations

import asyncio
import copy
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np

from codeweaver_backends.types import FilterCondition, SearchFilter
from codeweaver_conformance.clause import clause
from codeweaver_conformance.edges import points
from codeweaver_conformance.session import Conformance

_QUERY = [3.0, 0.5, -0.25]


@clause("payload.untouched")
async def test_no_argument_is_changed(cw: Conformance) -> None:
    """Check lists of points and of ids, columns, queries, filters as objects and as dicts."""
    name = await cw.collection(dimension=3)
    batch = points("int", 0, 12)
    spelt: Any = {"must": [{"field": "g", "operator": "in", "value": [1, 2]}], "should": []}
    given: dict[str, Any] = {
        "points": batch[::-1],
        "ids": [5, "5", 3, 5, 3, 999],
        "query": list(_QUERY),
        "array": np.array(_QUERY, dtype=np.float32),
        "filter": SearchFilter(must=[FilterCondition("g", "in", [3, 1])], should=[SearchFilter()], must_not=[]),
        "dict": spelt,
        "matrix": np.array([one.vector for one in batch], dtype=np.float32),
        "column": [one.id for one in batch],
        "payloads": [one.payload if n else None for n, one in enumerate(batch)],
        "keys": ["n", "g"],
    }
    before = copy.deepcopy(given)
    await cw.backend.upsert_vectors(name, given["points"])
    for search_filter in (given["filter"], given["dict"]):
        for query in (given["query"], given["array"]):
            await cw.backend.search_vectors(
                name, query, search_filter=search_filter, score_threshold=-1.0, with_payload=given["keys"]
            )
    if cw.claims("supports_scan"):
        await cw.backend.get_vectors(name, given["ids"], with_payload=given["keys"])
        for search_filter in (given["filter"], given["dict"]):
            await cw.backend.scroll_vectors(name, search_filter=search_filter, with_payload=given["keys"])
            await cw.backend.count_vectors(name, search_filter)
            await cw.backend.delete_by_filter(name, search_filter)
    await cw.backend.delete_vectors(name, given["ids"])
    if cw.claims("supports_columnar"):
        await cw.backend.upsert_batch(name, given["column"], given["matrix"], given["payloads"])
    for label, value in given.items():
        kept = before[label]
        same = np.array_equal(value, kept) if isinstance(value, np.ndarray) else repr(value) == repr(kept)
        cw.true(same, f"the {label} as given: {kept!r}"[:300], value)


@clause("lifecycle.repeat")
async def test_a_call_that_is_cancelled_leaves_nothing(cw: Conformance) -> None:
    """Check locks, answers and tasks that a search leaves that is cancelled at any of its steps."""
    name = await cw.collection(points("int", 0, 40), dimension=3)
    first = SearchFilter(must=[FilterCondition("n", "eq", 1)])
    second = SearchFilter(must=[FilterCondition("n", "eq", 2)])
    await cw.backend.search_vectors(name, _QUERY)
    before = len(asyncio.all_tasks())
    for steps in (0, 1, 2, 3, 5, 8, 13):
        call = asyncio.create_task(cw.backend.search_vectors(name, _QUERY, search_filter=first))
        for _ in range(steps):
            await asyncio.sleep(0)
        was_over = call.done()
        call.cancel()
        ended = await asyncio.wait({call}, timeout=10)
        cw.true(not ended[1], f"an end of the call that was cancelled after {steps} steps", "it goes on")
        cw.true(was_over or call.cancelled(), "CancelledError of a call that was cancelled", "an answer or an error")
        hits = await asyncio.wait_for(cw.backend.search_vectors(name, _QUERY, search_filter=second), 20)
        cw.equal([one.id for one in hits], [2], f"the next search, after a cancellation at step {steps}")
    await asyncio.sleep(0.05)
    left = len(asyncio.all_tasks()) - before
    cw.true(left <= 1, "no task for each call that was cancelled", f"{left} more tasks")


@clause("lifecycle.repeat", "filters.applied")
async def test_searches_at_once_are_each_its_own(cw: Conformance) -> None:
    """Check searches by one vector that differ in one argument, made at once: none is given another's answer."""
    name = await cw.collection(points("int", 0, 40), dimension=3)
    filters = [None, *(SearchFilter(must=[FilterCondition("g", "eq", n)]) for n in range(4))]
    ways: list[dict[str, Any]] = [{"search_filter": one, "limit": limit} for one in filters for limit in (3, 40)]
    ways += [{"limit": 40, "score_threshold": 0.5}, {"limit": 40, "with_payload": ["g"]}, {"limit": 40}]
    alone = [await cw.backend.search_vectors(name, _QUERY, **how) for how in ways]
    for _ in range(3):
        at_once = await asyncio.gather(*(cw.backend.search_vectors(name, _QUERY, **how) for how in ways))
        for how, hits, expected in zip(ways, at_once, alone, strict=True):
            cw.equal([one.id for one in hits], [one.id for one in expected], f"{how}, beside others")
            cw.equal([one.payload for one in hits], [one.payload for one in expected], f"{how}, beside others")


@clause("health.true", "lifecycle.leaks")
async def test_health_checks_leave_no_threads(cw: Conformance) -> None:
    """Check for a thread or a connection of its own for each check."""
    for _ in range(3):
        await cw.backend.health_check()
    before = threading.active_count()
    for _ in range(12):
        cw.equal(await cw.backend.health_check(), True)
    cw.true(threading.active_count() < before + 6, "no thread for each check", threading.active_count() - before)


@clause("lifecycle.blocking", "scan.count")
async def test_no_scan_holds_the_event_loop(cw: Conformance) -> None:
    """Check the longest pause of a ticking task beside get, scroll, count and delete by filter of ordinary size."""
    name = await cw.collection(points("int", 0, 1_200), dimension=3)
    loop, pauses = asyncio.get_running_loop(), [0.0]

    async def tick() -> None:
        last = loop.time()
        while True:
            await asyncio.sleep(0.005)
            pauses.append(loop.time() - last)
            last = loop.time()

    ticking = asyncio.create_task(tick())
    try:
        calls: list[Callable[[], Awaitable[Any]]] = [
            lambda: cw.backend.count_vectors(name),
            lambda: cw.backend.scroll_vectors(name, limit=1_000),
            lambda: cw.backend.get_vectors(name, list(range(1_000))),
            lambda: cw.backend.delete_by_filter(name, SearchFilter()),
        ]
        for call in calls:
            await asyncio.sleep(0.02)
            await call()
            await asyncio.sleep(0.02)
    finally:
        ticking.cancel()
    allowed = cw.limits.blocking + 0.5
    cw.true(max(pauses) <= allowed, f"no pause beyond the declared {cw.limits.blocking} s", f"{max(pauses):.2f} s")
