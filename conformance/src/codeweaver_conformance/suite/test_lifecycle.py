"""Lifecycle and health: opening, closing, and being asked how it is."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
import warnings
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from codeweaver_backends.errors import (
    BackendClosedError,
    BackendError,
)
from codeweaver_backends.types import FilterCondition, SearchFilter
from codeweaver_conformance.clause import clause
from codeweaver_conformance.network import PATIENCE, closed_port, impatient, nobody
from codeweaver_conformance.session import Conformance, point
from codeweaver_conformance.suite.calls import A, B, every_call

SECRET = "s3cr3t-conformance-key"  # noqa: S105 - a marker to look for


@clause("lifecycle.construct")
def test_a_backend_is_created_without_io(cw: Conformance) -> None:
    """Check that the constructor neither connects nor needs a running loop."""
    started = time.monotonic()
    cw.fresh()
    cw.true(time.monotonic() - started < 5, "no work in the constructor", f"{time.monotonic() - started:.1f} s")
    if cw.claims("server"):
        cw.at_port(closed_port())


@clause("lifecycle.repeat")
async def test_every_call_can_follow_every_other(cw: Conformance) -> None:
    """Check for calls that close or change a shared client, in a row and concurrently."""
    name = await cw.collection([point(n, [1, n], {"n": n}) for n in range(20)])
    backend = cw.backend
    for _ in range(2):
        await backend.health_check()
        for call in list(every_call(backend, name).values())[2:6]:
            await call()
            await call()
        await backend.list_collections()
    found = await asyncio.gather(*(backend.search_vectors(name, [1, n], limit=1) for n in range(20)))
    cw.equal([hits[0].id for hits in found], list(range(20)))


@clause("lifecycle.close")
async def test_after_closing_every_call_is_refused(cw: Conformance) -> None:
    """Check for AttributeErrors on a client that is gone, for calls that reconnect, and for a second close."""
    name = await cw.collection([point(A, [1, 0])])
    backend = await cw.reopen()
    if not hasattr(backend.wrapped, "aclose"):
        cw.not_verified("the backend has no aclose()")
    await backend.search_vectors(name, [1, 0])
    await backend.aclose()
    await backend.aclose()
    for label, call in every_call(backend, name).items():
        with cw.raises(BackendClosedError, why=label):
            await asyncio.wait_for(call(), 5)
    cw.equal(await backend.health_check(), False, "health_check of a closed backend")
    await cw.reopen()
    cw.equal(await cw.ids(name), {A}, "closing changed nothing")


@clause("lifecycle.close-running")
@pytest.mark.parametrize("moment", [0.0, 0.002, 0.02], ids=lambda moment: f"after {moment * 1000:g} ms")
async def test_calls_under_way_end_when_the_backend_is_closed(cw: Conformance, moment: float) -> None:
    """Check for calls that are cancelled with the client they run on, die of its absence, or never end."""
    points = [point(n, [1, n], {"n": n}) for n in range(200)]
    name = await cw.collection(points)
    backend = await cw.reopen()
    if not hasattr(backend.wrapped, "aclose"):
        cw.not_verified("the backend has no aclose()")
    await backend.search_vectors(name, [1, 0])

    async def searched() -> None:
        hits = await backend.search_vectors(name, [1, 0], limit=200)
        assert len(hits) == 200, f"{len(hits)} hits of 200"

    calls: dict[str, Callable[[], Awaitable[Any]]] = {
        "search_vectors": searched,
        "upsert_vectors": lambda: backend.upsert_vectors(name, [point(1_000 + n, [1, n]) for n in range(200)]),
        "get_collection_info": lambda: backend.get_collection_info(name),
        "list_collections": backend.list_collections,
    }

    async def outcome(call: Callable[[], Awaitable[Any]]) -> Exception | None:
        try:
            await call()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is judged below
            return error
        return None

    running = {asyncio.create_task(outcome(call)): label for label, call in calls.items() for _ in range(4)}
    await asyncio.sleep(moment)
    await asyncio.wait_for(backend.aclose(), 30)
    ended, hanging = await asyncio.wait(running, timeout=10)
    for task in hanging:
        task.cancel()
    await cw.reopen()  # for the tests to come, whatever is found here
    cw.equal([running[task] for task in hanging], [], "calls that have not ended ten seconds after the close")
    for task in ended:
        error = asyncio.CancelledError() if task.cancelled() else task.result()
        told = f"{running[task]}: {type(error).__name__}: {error}"
        cw.true(error is None or isinstance(error, BackendClosedError), "an answer, or BackendClosedError", told)
    cw.true(await cw.ids(name) >= {one.id for one in points}, "the points of before", "some are gone")


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


@clause("lifecycle.leaks")
async def test_opening_and_closing_leaves_nothing(cw: Conformance) -> None:
    """Check tasks, warnings, threads and descriptors after several rounds; the first two are warm-up."""
    name = await cw.collection([point(A, [1, 0])])
    tasks, seen = asyncio.all_tasks(), []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what other tests have left is not of this one
        gc.collect()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for _ in range(6):
            backend = await cw.reopen()
            if not hasattr(backend.wrapped, "aclose"):
                cw.not_verified("the backend has no aclose()")
            await backend.search_vectors(name, [1, 0])
            await backend.upsert_vectors(name, [point(B, [1, 1])])
            await backend.aclose()
            del backend
            await asyncio.sleep(0.05)
            gc.collect()
            seen.append((threading.active_count(), _descriptors()))
    await cw.reopen()
    cw.equal([str(one.message) for one in told], [], "warnings")
    cw.equal(len(asyncio.all_tasks() - tasks), 0, "tasks left behind")
    threads, descriptors = zip(*seen, strict=True)
    cw.true(threads[-1] <= threads[2] + 1, "no growing number of threads", threads)
    cw.true(descriptors[-1] <= descriptors[2] + 2, "no growing number of descriptors", descriptors)


@clause("lifecycle.loops")
async def test_a_second_event_loop_works_or_is_refused(cw: Conformance) -> None:
    """Check that the refusal is clear, and that the first loop goes on working."""
    name = await cw.collection([point(A, [1, 0])])
    await cw.backend.search_vectors(name, [1, 0])
    outcome: list[Any] = []

    def elsewhere() -> None:
        async def call() -> Any:
            return await asyncio.wait_for(cw.backend.search_vectors(name, [1, 0]), 10)

        try:
            outcome.append([hit.id for hit in asyncio.run(call())])
        except Exception as error:  # noqa: BLE001 - whatever it is, it is judged below
            outcome.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    await asyncio.to_thread(thread.join)
    [result] = outcome
    cw.true(result == [A] or isinstance(result, BackendError), f"[{A}] or a BackendError", result)
    cw.equal([hit.id for hit in await cw.backend.search_vectors(name, [1, 0])], [A], "the first loop goes on")


@clause("lifecycle.independent")
async def test_closing_one_instance_leaves_another_usable(cw: Conformance) -> None:
    """Check for a client that instances share by host or by class."""
    name = await cw.collection([point(A, [1, 0])])
    other = cw.fresh()
    cw.equal(await cw.ids(name, backend=other), {A})
    if hasattr(other.wrapped, "aclose"):
        await other.aclose()
    cw.equal(await cw.ids(name), {A})


@clause("lifecycle.blocking")
async def test_no_call_holds_the_event_loop(cw: Conformance) -> None:
    """Check the longest pause of a ticking task beside an upsert and searches of ordinary size."""
    pauses: list[float] = []

    async def tick() -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(0.005)
            now = time.monotonic()
            pauses.append(now - last)
            last = now

    points = [point(n, [float(n % 7 + 1)] * 128, {"n": n, "t": "x" * 50}) for n in range(1_000)]
    ticking = asyncio.create_task(tick())
    await asyncio.sleep(0.02)  # let it begin: a call that never awaits would not
    try:
        name = await cw.collection(points, dimension=128)
        await cw.backend.search_vectors(
            name, [1.0] * 128, search_filter=SearchFilter(must=[FilterCondition("n", "ge", 500)])
        )
        await asyncio.sleep(0.05)  # let the last pause be noticed
    finally:
        ticking.cancel()
    allowed = cw.limits.blocking + 0.5  # what a busy machine adds
    cw.true(max(pauses) <= allowed, f"no pause beyond the declared {cw.limits.blocking} s", f"{max(pauses):.2f} s")


# --- health ----------------------------------------------------------------------------------------------------------


@clause("health.true")
async def test_health_is_true_on_a_working_engine(cw: Conformance) -> None:
    """Check that the check closes nothing and changes nothing, nor did the first one of this run."""
    cw.equal(cw.made_by_health, [], "collections that the first health check made")
    name = await cw.collection([point(A, [1, 0], {"v": 1})])
    before = sorted(await cw.backend.list_collections())
    for _ in range(3):
        cw.equal(await cw.backend.health_check(), True)
    cw.equal(sorted(await cw.backend.list_collections()), before)
    await cw.unchanged(name, {A: {"v": 1}})
    answers = await asyncio.gather(*(cw.backend.health_check() if n % 4 else cw.ids(name) for n in range(24)))
    cw.equal(answers, [True if n % 4 else {A} for n in range(24)], "beside searches, which it must not disturb")
    fresh = await cw.another()
    cw.equal(await fresh.health_check(), True, "as the first call of a backend")
    cw.equal(await cw.ids(name, backend=fresh), {A})


@clause("health.false", "health.bounded")
@pytest.mark.parametrize("kind", ["closed", "silent"])
async def test_health_is_false_wherenobody_answers(cw: Conformance, kind: str) -> None:
    """Check for a check that asks nobody, that raises, and that hangs."""
    with nobody(kind) as (port, silent):
        backend = cw.at_port(port, **impatient(cw.subject))
        for _ in range(2):
            started = time.monotonic()
            answer = await asyncio.wait_for(backend.health_check(), 30)
            cw.equal(answer, False, f"health_check with a {kind} port")
            took = time.monotonic() - started
            cw.true(
                took < PATIENCE * 2 + 4, f"an answer within the timeout of {PATIENCE} s, generously", f"{took:.1f} s"
            )
        cw.true(silent is None or silent.connections, "an attempt to connect to the engine", "False, and none was made")
