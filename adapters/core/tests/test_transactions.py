"""Who is in a transaction, and how it ends: what every adapter shares, over an engine that only keeps a diary."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar

import pytest

from codeweaver_backends.capabilities import BackendCapabilities
from codeweaver_backends.config import BackendConfig
from codeweaver_backends.errors import (
    BackendClosedError,
    BackendConnectionError,
    ConflictError,
    TransactionError,
)
from codeweaver_backends.sdk.lifetime import operation
from codeweaver_backends.sdk.transactions import TransactionalBase


class Diary(TransactionalBase[str]):
    """Notes what is asked of it, and in which transaction."""

    name: ClassVar[str] = "diary"
    _holds_nothing = True

    def __init__(self, config: BackendConfig | None = None) -> None:
        super().__init__(config or BackendConfig())
        self.entries: list[str] = []
        self.failure: Exception | None = None

    @property
    def capabilities(self) -> BackendCapabilities:
        return BackendCapabilities(supports_transactions=True)

    async def _begin(self) -> str:
        await asyncio.sleep(0)
        handle = f"t{len([one for one in self.entries if one.startswith('begin')]) + 1}"
        self.entries.append(f"begin {handle}")
        return handle

    async def _commit(self, handle: str) -> None:
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure
        self.entries.append(f"commit {handle}")

    async def _rollback(self, handle: str) -> None:
        await asyncio.sleep(0)
        self.entries.append(f"rollback {handle}")

    @operation
    async def write(self, text: str) -> None:
        transaction = self._joined()
        self.entries.append(f"{text} in {transaction.handle}" if transaction else text)

    @operation
    async def conflict(self) -> None:
        transaction = self._joined()
        assert transaction is not None
        transaction.ended = "another was first"
        raise ConflictError("another was first")


def run(test: Callable[[Diary], Coroutine[Any, Any, None]]) -> list[str]:
    diary = Diary()
    asyncio.run(test(diary))
    return diary.entries


def test_the_task_that_begins_is_in_it_until_it_ends() -> None:
    async def test(diary: Diary) -> None:
        for end in (diary.commit_transaction, diary.rollback_transaction):
            transaction = await diary.begin_transaction()
            await diary.write("a")
            await asyncio.create_task(diary.write("b"), context=contextvars.Context())
            await end(transaction)
            await diary.write("c")

    assert run(test) == [
        *("begin t1", "a in t1", "b", "commit t1", "c"),
        *("begin t2", "a in t2", "b", "rollback t2", "c"),
    ]


def test_whoever_awaits_it_the_caller_is_in_it() -> None:
    async def test(diary: Diary) -> None:
        transaction = await asyncio.create_task(diary.begin_transaction())
        await asyncio.create_task(diary.write("a"))
        await diary.write("b")
        await asyncio.create_task(diary.commit_transaction(transaction))
        await asyncio.create_task(diary.write("c"))
        await diary.write("d")

    assert run(test) == ["begin t1", "a in t1", "b in t1", "commit t1", "c", "d"]


def test_calls_from_outside_of_any_task_share_the_runners_context() -> None:
    diary = Diary()
    with asyncio.Runner() as runner:
        transaction = runner.run(diary.begin_transaction())
        runner.run(diary.write("a"))
        runner.run(diary.rollback_transaction(transaction))
        runner.run(diary.write("b"))
    assert diary.entries == ["begin t1", "a in t1", "rollback t1", "b"]


def test_a_task_that_outlives_its_transaction_is_refused() -> None:
    async def test(diary: Diary) -> None:
        transaction = await diary.begin_transaction()
        over = asyncio.Event()

        async def late() -> None:
            await over.wait()
            await diary.write("late")

        task = asyncio.create_task(late())
        await asyncio.sleep(0)
        await diary.commit_transaction(transaction)
        over.set()
        with pytest.raises(TransactionError, match="it was committed"):
            await task

    assert run(test) == ["begin t1", "commit t1"]


def test_transactions_do_not_nest_and_backends_do_not_share_them() -> None:
    async def test(diary: Diary) -> None:
        other = Diary()
        transaction = await diary.begin_transaction()
        another = await other.begin_transaction()
        with pytest.raises(TransactionError, match="nest"):
            await diary.begin_transaction()
        with pytest.raises(TransactionError, match="nest"):
            async with diary.transaction():
                pass
        with pytest.raises(TransactionError, match="no open"):
            await diary.commit_transaction(another)
        await other.rollback_transaction(another)
        await diary.write("a")
        await diary.commit_transaction(transaction)

    assert run(test) == ["begin t1", "a in t1", "commit t1"]


def test_each_id_is_taken_once() -> None:
    async def test(diary: Diary) -> None:
        transaction = await diary.begin_transaction()
        await diary.commit_transaction(transaction)
        for wrong in (transaction, "", None, 1, [transaction]):
            for end in (diary.commit_transaction, diary.rollback_transaction):
                with pytest.raises(TransactionError, match="no open"):
                    await end(wrong)  # type: ignore[arg-type]

    assert run(test) == ["begin t1", "commit t1"]


def test_of_two_ends_at_once_one_counts() -> None:
    async def test(diary: Diary) -> None:
        transaction = await diary.begin_transaction()
        ends = (diary.commit_transaction(transaction), diary.rollback_transaction(transaction))
        outcomes = await asyncio.gather(*ends, return_exceptions=True)
        assert [type(one) for one in outcomes] == [type(None), TransactionError]

    assert run(test) == ["begin t1", "commit t1"]


def test_what_ended_by_itself_is_refused_and_can_be_rolled_back() -> None:
    async def test(diary: Diary) -> None:
        for then in (diary.rollback_transaction, diary.commit_transaction):
            transaction = await diary.begin_transaction()
            with pytest.raises(ConflictError):
                await diary.conflict()
            with pytest.raises(TransactionError, match="another was first"):
                await diary.write("a")
            if then == diary.rollback_transaction:
                await then(transaction)
            else:
                with pytest.raises(TransactionError, match="another was first"):
                    await then(transaction)
            await diary.write("b")
        await diary.begin_transaction()
        with pytest.raises(ConflictError):
            await diary.conflict()
        await diary.rollback_transaction(await diary.begin_transaction())

    assert run(test) == ["begin t1", "b", "begin t2", "b", "begin t3", "begin t4", "rollback t4"]


def test_a_lost_answer_to_a_commit_is_unknown_and_any_other_failure_is_not() -> None:
    async def test(diary: Diary) -> None:
        diary.failure = BackendConnectionError("gone")
        transaction = await diary.begin_transaction()
        with pytest.raises(TransactionError, match="unknown") as raised:
            await diary.commit_transaction(transaction)
        assert raised.value.state_unknown
        assert raised.value.__cause__ is diary.failure
        with pytest.raises(TransactionError, match="no open"):
            await diary.rollback_transaction(transaction)

        diary.failure = ConflictError("another was first")
        transaction = await diary.begin_transaction()
        with pytest.raises(ConflictError) as conflict:
            await diary.commit_transaction(transaction)
        assert conflict.value.operation == "commit_transaction"
        await diary.rollback_transaction(transaction)

    assert run(test) == ["begin t1", "begin t2"]


def test_a_view_is_in_it_in_every_task_and_nothing_else_is() -> None:
    async def test(diary: Diary) -> None:
        async with diary.transaction() as tx, diary.transaction() as other:
            await asyncio.gather(tx.write("a"), other.write("b"), diary.write("c"))
            with pytest.raises(TransactionError, match="nest"):
                await tx.begin_transaction()
            with pytest.raises(TransactionError, match="view"):
                await tx.aclose()
        with pytest.raises(TransactionError, match="it was committed"):
            await tx.write("d")

    assert run(test) == ["begin t1", "begin t2", "a in t1", "b in t2", "c", "commit t2", "commit t1"]


def test_a_view_rolls_back_what_its_block_gives_up() -> None:
    async def block(diary: Diary) -> None:
        async with diary.transaction() as tx:
            await tx.write("a")
            raise ZeroDivisionError

    async def test(diary: Diary) -> None:
        with pytest.raises(ZeroDivisionError):
            await block(diary)
        task = asyncio.create_task(endless(diary))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def endless(diary: Diary) -> None:
        async with diary.transaction():
            await asyncio.Event().wait()

    assert run(test) == ["begin t1", "a in t1", "rollback t1", "begin t2", "rollback t2"]


def test_closing_ends_what_is_open() -> None:
    async def test(diary: Diary) -> None:
        view = diary.transaction()
        tx = await view.__aenter__()
        transaction = await diary.begin_transaction()
        await diary.aclose()
        for call in (tx.write("a"), diary.write("a"), diary.commit_transaction(transaction)):
            with pytest.raises(BackendClosedError):
                await call
        with pytest.raises(BackendClosedError):
            await view.__aexit__(None, None, None)

    assert run(test) == ["begin t1", "begin t2"]
