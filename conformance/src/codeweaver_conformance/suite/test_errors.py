"""Errors: of an engine that is not there, and of callers who ask for what cannot be."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from codeweaver_backends.errors import (
    BackendAuthenticationError,
    BackendConnectionError,
    BackendError,
    CollectionNotFoundError,
    InvalidInputError,
    InvalidNameError,
    UnsupportedError,
)
from codeweaver_backends.types import FilterCondition, SearchFilter
from codeweaver_conformance.clause import clause
from codeweaver_conformance.network import PATIENCE, closed_port, fault_of, impatient, silent_port
from codeweaver_conformance.session import Conformance, point
from codeweaver_conformance.suite.calls import A, claimed_calls, every_call, wrong_calls

SECRET = "s3cr3t-conformance-key"  # noqa: S105 - a marker to look for


@clause("errors.connection")
async def test_an_unreachable_engine_is_told(cw: Conformance) -> None:
    """Check for empty answers, for failures told as "not found", and for the client's own exceptions."""
    backend = cw.at_port(closed_port(), **impatient(cw.subject))
    for label, call in claimed_calls(cw, backend, cw.new_name()).items():
        with cw.raises(BackendConnectionError, why=label) as raised:
            await asyncio.wait_for(call(), 60)
        fault = fault_of(raised.error)
        cw.true(fault is None, f"{label}: an error that the network caused", repr(fault))


@clause("errors.timeout")
async def test_a_silent_engine_ends_every_call_in_time(cw: Conformance) -> None:
    """Check that the configured timeout reaches every call; a silent server must not hang one."""
    with silent_port() as silent:
        backend, began = cw.at_port(silent.port, **impatient(cw.subject)), time.monotonic()
        base, asked = every_call(backend, ""), 0
        for label, call in claimed_calls(cw, backend, cw.new_name()).items():
            if label not in base and time.monotonic() - began > _LONG_ENOUGH:
                continue
            took = await _took(cw, label, call)
            asked += 1
            cw.true(silent.connections, "an attempt to connect to the engine", f"{label} raised, and none was made")
            cw.true(
                took < PATIENCE * 3 + 5,
                f"an end within the timeout of {PATIENCE} s, generously",
                f"{label}: {took:.1f} s",
            )
        cw.tell(f"{asked} calls were asked of a silent engine")
        if "timeout" in cw.subject.config_fields:
            patient = cw.at_port(silent.port, **{**impatient(cw.subject), "timeout": _LONGER})
            # The time of a machine that has much to do is no promise of the backend's: the shortest of three counts.
            took = float("inf")
            for _ in range(3):
                took = min(took, await _took(cw, "a search", lambda: patient.search_vectors("none", [1, 0])))
                if took < _LONGER * 1.6:
                    break
            cw.true(took < _LONGER * 1.6, f"an end within the timeout of {_LONGER} s", f"a search: {took:.1f} s")


_LONG_ENOUGH = 45.0
"""Seconds after which no more calls are asked of a silent engine: some clients take their time with each."""
_LONGER = 3
"""A timeout, in seconds, that is long beside all else that a call does."""


async def _took(cw: Conformance, label: str, call: Callable[[], Awaitable[Any]]) -> float:
    """How long it took until a call failed by the network's fault."""
    started = time.monotonic()
    with cw.raises(BackendConnectionError, why=label) as raised:
        await asyncio.wait_for(call(), 60)
    fault = fault_of(raised.error)
    cw.true(fault is None, f"{label}: an error that the network caused", repr(fault))
    return time.monotonic() - started


@clause("errors.authentication")
async def test_refused_credentials_are_told(cw: Conformance) -> None:
    """Check for retries of what cannot succeed, for empty answers, and for a health check that only connects."""
    backend = cw.fresh(**dict.fromkeys(cw.subject.credentials, "no such key"))
    for label, call in claimed_calls(cw, backend, cw.new_name()).items():
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
    if cw.subject.has_server:
        backend = cw.at_port(closed_port(), **impatient(cw.subject), **secret)
    else:
        backend = cw.fresh(**secret)
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


@clause("errors.order")
async def test_what_is_wrong_is_refused_before_the_collection_is_looked_up(cw: Conformance) -> None:
    """Check on a missing collection: a mistake is told, and not hidden behind the other."""
    for label, call in wrong_calls(cw, cw.new_name("missing")).items():
        with cw.raises(InvalidInputError, UnsupportedError, why=label):
            await call()


@clause("errors.order")
async def test_a_name_is_refused_by_every_call(cw: Conformance) -> None:
    """Check that nothing is looked up by a name that no collection can have."""
    for label, call in every_call(cw.backend, "a\nb").items():
        if label != "list_collections":
            with cw.raises(InvalidNameError, why=label):
                await call()


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
