"""Transactions: ids and calls that are refused, and how one ends that nobody ends."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from codeweaver_backends.errors import (
    BackendConnectionError,
    BackendError,
    CollectionExistsError,
    CollectionNotFoundError,
    InvalidInputError,
    TransactionError,
    UnsupportedError,
)
from codeweaver_backends.types import FilterCondition, SearchFilter
from codeweaver_conformance.caller import in_transaction
from codeweaver_conformance.clause import clause
from codeweaver_conformance.session import Conformance, point
from codeweaver_conformance.suite.calls import behind_a_relay


@clause("transactions.finished")
@pytest.mark.parametrize("end", ["commit", "rollback"])
async def test_a_finished_or_unknown_id_is_refused(cw: Conformance, end: str) -> None:
    """Check that nothing is committed twice or undone late, and that another's open transaction is not touched."""
    name = await cw.collection([point(0, [1, 0], {"v": 1})])
    async with in_transaction(cw.backend) as tx:
        finished = tx.transaction
        await tx.upsert_vectors(name, [point(10, [1, 1], {"v": 2})])
        await getattr(tx, end)()
    await cw.backend.upsert_vectors(name, [point(10, [1, 2], {"v": 3})])
    await cw.settle()
    before = await cw.payloads(name)
    async with in_transaction(cw.backend) as tx:
        await tx.upsert_vectors(name, [point(11, [1, 1], {"v": 2})])
        for wrong in (finished, "no such transaction", ""):
            for refused in (cw.backend.commit_transaction, cw.backend.rollback_transaction):
                with cw.raises(TransactionError, why=f"{refused.__name__} of {wrong!r}"):
                    await refused(wrong)
            await cw.settle()
            cw.equal(await cw.payloads(name), before, f"after {wrong!r} was refused")
            cw.equal(await cw.count(name), 2)
        cw.true(11 in await cw.ids(name, backend=tx), "the open transaction as it was", await cw.ids(name, backend=tx))
        await tx.commit()
    await cw.settle()
    cw.equal(await cw.payloads(name), {**before, 11: {"v": 2}}, "after the commit of the open transaction")


@clause("transactions.nested")
async def test_a_second_begin_is_refused(cw: Conformance) -> None:
    """Check that the transaction that is open is neither committed nor lost by it."""
    name = await cw.collection([point(0, [1, 0])])
    async with in_transaction(cw.backend) as tx:
        await tx.upsert_vectors(name, [point(1, [1, 1])])
        with cw.raises(TransactionError):
            await tx.begin_transaction()
        await tx.upsert_vectors(name, [point(2, [1, 2])])
        await cw.settle()
        cw.equal(await cw.ids(name), {0}, "outside")
        cw.equal(await cw.ids(name, backend=tx), {0, 1, 2}, "inside")
        await tx.commit()
    await cw.settle()
    cw.equal(await cw.ids(name), {0, 1, 2})


@clause("transactions.refused-call")
async def test_a_refused_call_leaves_the_transaction_usable(cw: Conformance) -> None:
    """Check for batches that are half written, and for an engine that ends a transaction at its first error."""
    name = await cw.collection([point(0, [1, 0])])
    async with in_transaction(cw.backend) as tx:
        await tx.upsert_vectors(name, [point(1, [1, 1])])
        for bad in ([point(2, [1, 2]), point(3, [1, 2, 3])], [point(2, [1, 2]), point(-1, [1, 1])]):
            with cw.raises(InvalidInputError):
                await tx.upsert_vectors(name, bad)
        with cw.raises(InvalidInputError):
            await tx.search_vectors(name, [1, 0], search_filter=SearchFilter(must=[FilterCondition("v", "like", 1)]))
        missing = cw.new_name()
        for call in (tx.upsert_vectors(missing, [point(1, [1, 1])]), tx.search_vectors(missing, [1, 0])):
            with cw.raises(CollectionNotFoundError):
                await call
        with cw.raises(CollectionExistsError, UnsupportedError):
            await tx.create_collection(name, 2)
        await cw.settle()
        cw.equal(await cw.ids(name, backend=tx), {0, 1}, "inside, after the refusals")
        cw.equal(await cw.ids(name), {0}, "outside, after the refusals")
        await tx.upsert_vectors(name, [point(4, [1, 4])])
        await tx.commit()
    await cw.settle()
    cw.equal(await cw.ids(name), {0, 1, 4}, "after the commit")


# --- one that nobody ends --------------------------------------------------------------------------------------------


@clause("transactions.lost")
async def test_a_lost_connection_leaves_nothing(cw: Conformance) -> None:
    """Check that the loss is told, and that no later call of the transaction is written on its own."""
    name = await cw.collection([point(0, [1, 0])])
    with behind_a_relay(cw) as (relay, backend):
        async with in_transaction(backend) as tx:
            await tx.upsert_vectors(name, [point(1, [1, 1])])
            relay.cut()
            with cw.raises(TransactionError, BackendConnectionError):
                await tx.upsert_vectors(name, [point(2, [1, 2])])
            relay.mend()
            # An engine that does not tie a transaction to a connection may go on with it.
            with suppress(TransactionError, BackendConnectionError):
                await tx.upsert_vectors(name, [point(3, [1, 3])])
            await cw.settle()
            cw.equal(await cw.ids(name), {0}, "after the loss")
            with suppress(TransactionError, BackendConnectionError):
                await tx.rollback()
        async with in_transaction(backend) as tx:
            await tx.upsert_vectors(name, [point(4, [1, 4])])
            await tx.commit()
        async with in_transaction(backend) as tx:
            await tx.upsert_vectors(name, [point(5, [1, 5])])
            relay.cut()
            with cw.raises(TransactionError, BackendConnectionError, why="a commit that cannot arrive"):
                await tx.commit()
            relay.mend()
        await cw.settle()
        cw.equal(await cw.ids(name), {0, 4}, "the transaction after it, and no other")


@clause("transactions.lost-answer")
async def test_a_commit_whose_answer_is_lost_is_unknown(cw: Conformance) -> None:
    """Check for a loss that is told as success, or as a failure that has written nothing."""
    names = [await cw.collection([point(0, [1, 0])]) for _ in range(2)]
    with behind_a_relay(cw) as (relay, backend):
        async with in_transaction(backend) as tx:
            for name in names:
                await tx.upsert_vectors(name, [point(1, [1, 1])])
            relay.lose_the_next_answer()
            with cw.raises(BackendError) as raised:
                await tx.commit()
            relay.mend()
        await cw.settle()
        first, second = [await cw.ids(name) for name in names]
        cw.equal(first, second, "in both collections, or in none")
        if 1 in first:
            cw.true(getattr(raised.error, "state_unknown", False), "state_unknown: it was written", raised.error)


@clause("transactions.closed")
async def test_closing_leaves_nothing_of_an_open_transaction(cw: Conformance) -> None:
    """Check for a close that commits, and for a commit that works on a closed backend."""
    name = await cw.collection([point(0, [1, 0])])
    backend = await cw.reopen()
    if not hasattr(backend.wrapped, "aclose"):
        cw.not_verified("the backend has no aclose()")
    async with in_transaction(backend) as tx:
        await tx.upsert_vectors(name, [point(0, [1, 1], {"v": 2}), point(1, [1, 1])])
        await backend.aclose()
        for call in (tx.commit, lambda: tx.upsert_vectors(name, [point(2, [1, 2])])):
            with cw.raises(BackendError):
                await call()
    await cw.reopen()
    await cw.unchanged(name, {0: {}})


@clause("transactions.view")
async def test_a_view_is_a_transaction_for_every_task(cw: Conformance) -> None:
    """Check that its calls are in it whoever makes them, that no others are, and both ends of its block."""
    if not hasattr(cw.backend.wrapped, "transaction"):
        cw.not_verified("the backend has no transaction()")
    name = await cw.collection([point(0, [1, 0])])
    async with cw.backend.transaction() as view:
        await asyncio.gather(*(view.upsert_vectors(name, [point(n, [1, n])]) for n in range(1, 9)))
        await cw.settle()
        cw.equal(await cw.ids(name, backend=view), set(range(9)), "by the view")
        cw.equal(await cw.ids(name), {0}, "by the backend itself, inside of the block")
        with cw.raises(TransactionError, why="begin in a transaction"):
            await view.begin_transaction()
    await cw.settle()
    cw.equal(await cw.ids(name), set(range(9)), "after the block")
    with cw.raises(TransactionError, why="a call by the view after its block"):
        await view.upsert_vectors(name, [point(20, [1, 1])])
    with cw.raises(ZeroDivisionError, why="what the block raised"):
        async with cw.backend.transaction() as view:
            await view.delete_vectors(name, [0])
            _ = 1 / 0
    await cw.settle()
    cw.equal(await cw.ids(name), set(range(9)), "after a block that raised")
