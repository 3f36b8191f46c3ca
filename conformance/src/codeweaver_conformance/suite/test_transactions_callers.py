"""Transactions beside each other: who is in one, who was first, and who goes on beside it."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest

from codeweaver_backends.errors import BackendError, ConflictError, TransactionError
from codeweaver_backends.types import VectorPoint
from codeweaver_conformance.caller import Caller, bystanders, in_transaction
from codeweaver_conformance.clause import clause
from codeweaver_conformance.session import Conformance, point

X, NEW, OWN = 1, 9, 20
"""A point that is there, one that two create, and the first of those that each of them has for itself."""


def version(number: int, point_id: int = X) -> VectorPoint:
    """A point whose payload tells who wrote it."""
    return point(point_id, [1, number], {"v": number})


@clause("transactions.independent")
@pytest.mark.parametrize(
    "ends", [("commit", "rollback"), ("rollback", "commit"), ("commit", "commit")], ids=" and ".join
)
async def test_open_transactions_are_independent(cw: Conformance, ends: tuple[str, str]) -> None:
    """Check for a buffer, or a connection, that open transactions share."""
    name = await cw.collection([point(0, [1, 0])])
    backends = list(bystanders(cw).values())
    for beside in (backends[0], backends[-1]):
        async with in_transaction(cw.backend) as one, in_transaction(beside) as other:
            await one.upsert_vectors(name, [point(1, [1, 1])])
            try:
                await other.upsert_vectors(name, [point(2, [1, 2])])
            except ConflictError:  # an engine that lets one write at a time
                await other.rollback()
                await one.rollback()
                continue
            await cw.settle()
            cw.equal(await cw.ids(name, backend=one), {0, 1}, "inside the first")
            cw.equal(await cw.ids(name, backend=other), {0, 2}, "inside the second")
            await getattr(one, ends[0])()
            await getattr(other, ends[1])()
        await cw.settle()
        cw.equal(await cw.ids(name), {0} | {n + 1 for n in range(2) if ends[n] == "commit"}, "after both have ended")
        await cw.backend.delete_vectors(name, [1, 2])


# --- conflicts -------------------------------------------------------------------------------------------------------

Write = Callable[[Caller, str, int], Awaitable[None]]

WRITES: dict[str, Write] = {
    "replace": lambda tx, name, number: tx.upsert_vectors(name, [version(number)]),
    "delete": lambda tx, name, number: tx.delete_vectors(name, [X]),
    "create": lambda tx, name, number: tx.upsert_vectors(name, [version(number, NEW)]),
}


async def attempt(cw: Conformance, tx: Caller, names: list[str], write: Write, number: int) -> bool:
    """Write a point of one's own, then the one that others write too, and commit; or see that somebody was first."""
    try:
        await tx.upsert_vectors(names[1], [version(number, OWN + number)])
        await write(tx, names[0], number)
        await tx.commit()
    except ConflictError as error:
        cw.true(error.retryable, "a retryable error: another try may do better", error)
        with suppress(TransactionError):
            await tx.rollback()
        return False
    return True


def left_by(winner: str, number: int) -> dict[int, Any]:
    """The payloads after ``winner`` wrote version ``number``."""
    before = {0: {"v": 0}, X: {"v": 1}}
    after = {"replace": {X: {"v": number}}, "create": {NEW: {"v": number}}, "delete": {}}[winner]
    return {one: payload for one, payload in before.items() if winner != "delete" or one != X} | after


@clause("transactions.conflict")
@pytest.mark.parametrize("at_once", [False, True], ids=["after its commit", "at once"])
@pytest.mark.parametrize(
    "kinds",
    [("replace", "replace"), ("delete", "replace"), ("replace", "delete"), ("create", "create")],
    ids=" and ".join,
)
async def test_the_second_writer_gets_a_conflict(cw: Conformance, kinds: tuple[str, str], at_once: bool) -> None:
    """Check for a lost update, for a loser that is written in part, and that trying again works."""
    names = [await cw.collection([version(0, 0), version(1)]), await cw.collection()]
    async with in_transaction(cw.backend) as first, in_transaction(list(bystanders(cw).values())[-1]) as second:
        for tx in (first, second):
            cw.equal(await cw.ids(names[0], backend=tx), {0, X}, "read by both before anyone writes")
        tries = [attempt(cw, tx, names, WRITES[kinds[n]], n + 2) for n, tx in enumerate((first, second))]
        done = await asyncio.gather(*tries) if at_once else [await one for one in tries]
    cw.true(sum(done) == 1 and (at_once or done[0]), "one to be committed, the other to conflict", done)
    await cw.settle()
    winner, loser = done.index(True), done.index(False)
    cw.equal(await cw.payloads(names[0]), left_by(kinds[winner], winner + 2), f"{kinds[winner]} was first")
    cw.equal(await cw.ids(names[1]), {OWN + winner + 2}, "the point that the winner alone wrote, and not the loser's")
    async with in_transaction(cw.backend) as again:
        await cw.ids(names[0], backend=again)
        cw.equal(await attempt(cw, again, names, WRITES["replace"], loser + 2), True, "another try")


@clause("transactions.conflict")
async def test_a_plain_write_and_a_transaction_do_not_overwrite_each_other(cw: Conformance) -> None:
    """Check a plain write before the transaction's, and one between its write and its commit."""
    names = [await cw.collection([version(0, 0), version(1)]), await cw.collection()]
    async with in_transaction(cw.backend) as tx:
        cw.equal(await cw.ids(names[0], backend=tx), {0, X})
        await cw.backend.upsert_vectors(names[0], [version(5)])
        cw.equal(await attempt(cw, tx, names, WRITES["replace"], 2), False, "committed over what it had not seen")
    await cw.settle()
    cw.equal([await cw.payloads(names[0]), await cw.ids(names[1])], [{0: {"v": 0}, X: {"v": 5}}, set()])
    async with in_transaction(cw.backend) as tx:
        await tx.upsert_vectors(names[0], [version(6)])
        plain = asyncio.create_task(cw.backend.upsert_vectors(names[0], [version(7)]))
        # An engine may make it wait for the commit: then it is the later of the two. If it is through, it was first.
        through, _ = await asyncio.wait({plain}, timeout=0.5)
        was_first = bool(through) and plain.exception() is None
        try:
            await tx.commit()
        except ConflictError:
            committed = False
        else:
            committed = True
        try:
            await plain
        except ConflictError:
            wrote = False
        else:
            wrote = True
    cw.true(committed or wrote, "one of both written", "neither")
    cw.true(not (was_first and committed), "a conflict at the commit: the plain write was first", "a silent overwrite")
    await cw.settle()
    cw.equal((await cw.payloads(names[0]))[X], {"v": 7 if wrote else 6}, "the later of what was acknowledged")


# --- who is in it ----------------------------------------------------------------------------------------------------


@clause("transactions.task")
async def test_the_task_that_begins_is_in_it_and_its_children_are(cw: Conformance) -> None:
    """Check tasks from before, from inside, and one that outlives it; and that the task is outside afterwards."""
    name = await cw.collection([point(0, [1, 0])])
    inside, over = asyncio.Event(), asyncio.Event()

    async def early() -> Any:
        await inside.wait()
        return await cw.ids(name)

    async def late() -> None:
        await over.wait()
        await cw.backend.upsert_vectors(name, [point(8, [1, 8])])

    before = asyncio.create_task(early())
    transaction = await cw.backend.begin_transaction()
    try:
        await asyncio.gather(*(cw.backend.upsert_vectors(name, [point(n, [1, n])]) for n in (1, 2)))
        await cw.backend.upsert_vectors(name, [point(3, [1, 3])])
        outliving = asyncio.create_task(late())
        await cw.settle()
        cw.equal(await cw.ids(name), {0, 1, 2, 3}, "by the task that began")
        cw.equal(await asyncio.create_task(cw.ids(name)), {0, 1, 2, 3}, "by a task that it started")
        inside.set()
        cw.equal(await before, {0}, "by a task that was there before")
        outside = asyncio.create_task(cw.ids(name), context=contextvars.Context())
        cw.equal(await outside, {0}, "by a task with a context of its own")
        await cw.backend.commit_transaction(transaction)
    except BaseException:
        with suppress(Exception):
            await cw.backend.rollback_transaction(transaction)
        raise
    over.set()
    with cw.raises(TransactionError, why="a write by a task of a transaction that has ended"):
        await outliving
    await cw.backend.upsert_vectors(name, [point(4, [1, 4])])
    await cw.settle()
    for who, backend in bystanders(cw).items():
        cw.equal(await cw.ids(name, backend=backend), {0, 1, 2, 3, 4}, who)


@clause("transactions.awaited-elsewhere")
@pytest.mark.parametrize("how", ["wait_for", "shield"])
async def test_a_begin_that_another_task_awaits_loses_nobody(cw: Conformance, how: str) -> None:
    """Check that a write after it is not committed at once: ``shield``, and ``wait_for`` before 3.12, make a task."""
    name = await cw.collection([point(0, [1, 0])])
    outside = next(reversed(bystanders(cw).values()))
    begin = cw.backend.begin_transaction()
    is_written = is_begun = True
    try:
        transaction = await (asyncio.shield(begin) if how == "shield" else asyncio.wait_for(begin, 60))
    except TransactionError:
        is_begun = False
    else:
        try:
            await cw.backend.upsert_vectors(name, [point(1, [1, 1])])
        except TransactionError:
            is_written = False
        await cw.settle()
        seen = asyncio.create_task(cw.ids(name, backend=outside), context=contextvars.Context())
        cw.equal(await seen, {0}, "outside, before the transaction ends")
        if is_written:
            cw.equal(await cw.ids(name), {0, 1}, "inside")
        await cw.backend.rollback_transaction(transaction)
    await cw.backend.upsert_vectors(name, [point(2, [1, 2])])
    await cw.settle()
    cw.equal(await cw.ids(name, backend=outside), {0, 2}, "written outside" if is_begun else "written without one")


@clause("transactions.beside")
async def test_calls_go_on_beside_open_transactions(cw: Conformance) -> None:
    """Check for transactions that take the connections which other calls need, until these hang or time out."""
    name = await cw.collection([point(0, [1, 0])])
    async with AsyncExitStack() as stack:
        for _ in range(8):
            try:
                tx = await stack.enter_async_context(in_transaction(cw.backend))
            except BackendError:  # no more may be open
                break
            await tx.search_vectors(name, [1, 0])
        found = await asyncio.gather(*(cw.ids(name) for _ in range(24)))
        cw.equal(found, [{0}] * 24, "searches")
        await asyncio.gather(*(cw.backend.upsert_vectors(name, [point(n, [1, n])]) for n in range(1, 9)))
        await cw.settle()
        cw.equal([await cw.count(name), await cw.backend.health_check()], [9, True], "writes, count and health")
