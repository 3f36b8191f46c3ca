"""Lifecycle, health and errors: opening, closing, and an engine that is not there."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
import traceback
import warnings
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from codeweaver_backends.errors import (
    BackendAuthenticationError,
    BackendClosedError,
    BackendConnectionError,
    BackendError,
    CollectionNotFoundError,
    InvalidInputError,
)
from codeweaver_backends.types import FilterCondition, SearchFilter
from codeweaver_conformance.clause import clause
from codeweaver_conformance.session import Conformance, point
from codeweaver_conformance.stub import closed_port, silent_port

# Ids are integers wherever ids are not the matter, so that a fault of string ids fails its own tests and no others.
A, B = 100, 101

SECRET = "s3cr3t-conformance-key"  # noqa: S105 - a marker to look for
PATIENCE = 1.0
"""The timeout, in seconds, given to a backend whose engine is silent."""


def every_call(backend: Any, name: str) -> dict[str, Callable[[], Awaitable[Any]]]:
    """The base protocol's calls, with valid arguments."""
    return {
        "list_collections": backend.list_collections,
        "create_collection": lambda: backend.create_collection(name, 2),
        "get_collection_info": lambda: backend.get_collection_info(name),
        "upsert_vectors": lambda: backend.upsert_vectors(name, [point(A, [1, 0])]),
        "search_vectors": lambda: backend.search_vectors(name, [1, 0]),
        "delete_vectors": lambda: backend.delete_vectors(name, [A]),
        "delete_collection": lambda: backend.delete_collection(name),
    }


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


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


@clause("lifecycle.leaks")
async def test_opening_and_closing_leaves_nothing(cw: Conformance) -> None:
    """Check tasks, warnings, threads and descriptors after several rounds; the first two are warm-up."""
    name = await cw.collection([point(A, [1, 0])])
    tasks, seen = asyncio.all_tasks(), []
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
    """Check that the check closes nothing and changes nothing."""
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


def _impatient(cw: Conformance) -> dict[str, Any]:
    known = cw.subject.config_fields
    options: dict[str, Any] = {}
    if "timeout" in known:
        options["timeout"] = 1 if known["timeout"].annotation is int else PATIENCE
    if "retries" in known:
        options["retries"] = 1
    return options


@contextmanager
def _nobody(kind: str) -> Iterator[int]:
    if kind == "closed":
        yield closed_port()
    else:
        with silent_port() as port:
            yield port


@clause("health.false", "health.bounded")
@pytest.mark.parametrize("kind", ["closed", "silent"])
async def test_health_is_false_where_nobody_answers(cw: Conformance, kind: str) -> None:
    """Check for a check that asks nobody, that raises, and that hangs."""
    with _nobody(kind) as port:
        backend = cw.at_port(port, **_impatient(cw))
        for _ in range(2):
            started = time.monotonic()
            answer = await asyncio.wait_for(backend.health_check(), 30)
            cw.equal(answer, False, f"health_check with a {kind} port")
            took = time.monotonic() - started
            cw.true(
                took < PATIENCE * 2 + 4, f"an answer within the timeout of {PATIENCE} s, generously", f"{took:.1f} s"
            )


# --- errors ----------------------------------------------------------------------------------------------------------


@clause("errors.connection")
async def test_an_unreachable_engine_is_told(cw: Conformance) -> None:
    """Check for empty answers, for failures told as "not found", and for the client's own exceptions."""
    backend = cw.at_port(closed_port(), **_impatient(cw))
    for label, call in every_call(backend, cw.new_name()).items():
        with cw.raises(BackendConnectionError, why=label):
            await asyncio.wait_for(call(), 60)


@clause("errors.timeout")
async def test_a_silent_engine_ends_every_call_in_time(cw: Conformance) -> None:
    """Check that the configured timeout reaches every call; a silent server must not hang one."""
    with silent_port() as port:
        backend = cw.at_port(port, **_impatient(cw))
        for label, call in every_call(backend, cw.new_name()).items():
            started = time.monotonic()
            with cw.raises(BackendConnectionError, why=label):
                await asyncio.wait_for(call(), 60)
            took = time.monotonic() - started
            cw.true(
                took < PATIENCE * 3 + 5,
                f"an end within the timeout of {PATIENCE} s, generously",
                f"{label}: {took:.1f} s",
            )


@clause("errors.authentication")
async def test_refused_credentials_are_told(cw: Conformance) -> None:
    """Check for retries of what cannot succeed, for empty answers, and for a health check that only connects."""
    backend = cw.fresh(**dict.fromkeys(cw.subject.credentials, "no such key"))
    name = cw.new_name()
    for label, call in every_call(backend, name).items():
        started = time.monotonic()
        with cw.raises(BackendAuthenticationError, why=label):
            await asyncio.wait_for(call(), 60)
        took = time.monotonic() - started
        cw.true(took < 5, "a refusal at once: trying again is no use", f"{label}: {took:.1f} s")
    cw.equal(await backend.health_check(), False, "health_check with a refused key")


@clause("errors.secret", "config.secret")
async def test_no_secret_is_shown(cw: Conformance) -> None:
    """Check configuration, messages, causes and tracebacks for the key."""
    secret = {cw.subject.secret_fields[0]: SECRET}
    backend = cw.at_port(closed_port(), **_impatient(cw), **secret)
    shown = [repr(backend.wrapped), str(vars(backend.wrapped).get("config", ""))]
    for call in (backend.list_collections, lambda: backend.search_vectors("x", [1, 0])):
        try:
            await asyncio.wait_for(call(), 60)
        except Exception as error:  # noqa: BLE001 - every text of it is searched
            shown += ["".join(traceback.format_exception(error)), repr(error)]
    try:
        cw.subject.create(**secret, timeout="not a number " + SECRET)
    except Exception as error:  # noqa: BLE001 - as above
        shown += ["".join(traceback.format_exception(error, limit=0)).replace("not a number " + SECRET, "")]
    for text in shown:
        cw.true(SECRET not in text, "the secret nowhere", text.replace(SECRET, "<the secret>")[:300])


@clause("errors.tree")
async def test_errors_are_of_one_tree(cw: Conformance) -> None:
    """Check that callers can catch BackendError, and ValueError for what they got wrong themselves."""
    name = await cw.collection([point(A, [1, 0])])
    wrong: list[Callable[[], Awaitable[Any]]] = [
        lambda: cw.backend.create_collection("", 2),
        lambda: cw.backend.create_collection(cw.new_name(), 0),
        lambda: cw.backend.upsert_vectors(name, [point(-1, [1, 0])]),
        lambda: cw.backend.upsert_vectors(name, [point(1, [1, 0, 0])]),
        lambda: cw.backend.upsert_vectors(name, [point(1, [1, 0], {"a": b"x"})]),
        lambda: cw.backend.search_vectors(name, [1, 0], limit=-1),
        lambda: cw.backend.search_vectors(
            name, [1, 0], search_filter=SearchFilter(must=[FilterCondition("a", "eq", [])])
        ),
        lambda: cw.backend.delete_vectors(name, [1.5]),
    ]
    for call in wrong:
        with cw.raises(InvalidInputError) as raised:
            await call()
        cw.true(
            isinstance(raised.error, BackendError) and isinstance(raised.error, ValueError),
            "BackendError and ValueError",
            raised.error,
        )
        cw.true(
            not isinstance(raised.error, BackendConnectionError | BackendAuthenticationError),
            "no failure of the engine",
            raised.error,
        )
        cw.true(len(str(raised.error)) > 10, "a message that says what is allowed", str(raised.error))


@clause("errors.unknown-option")
@pytest.mark.parametrize("option", ["filters", "top_k", "limits", "with_vector", "namespace"])
async def test_unknown_options_are_refused(cw: Conformance, option: str) -> None:
    """Check for **kwargs that swallow a misspelling."""
    name = await cw.collection([point(A, [1, 0])])
    calls: list[Callable[[], Awaitable[Any]]] = [
        lambda: cw.backend.search_vectors(name, [1, 0], **{option: 1}),
        lambda: cw.backend.create_collection(cw.new_name(), 2, **{option: 1}),
    ]
    for call in calls:
        with cw.raises(InvalidInputError) as raised:
            await call()
        cw.true(isinstance(raised.error, TypeError), "a TypeError too", type(raised.error).__mro__)


@clause("errors.located")
async def test_errors_say_where_they_arose(cw: Conformance) -> None:
    """Check backend, operation and collection of an error."""
    name = cw.new_name()
    with cw.raises(CollectionNotFoundError) as raised:
        await cw.backend.search_vectors(name, [1, 0])
    cw.equal([getattr(raised.error, part, None) for part in ("operation", "collection")], ["search_vectors", name])
    cw.true(getattr(raised.error, "backend", None), "the backend's name", raised.error)
