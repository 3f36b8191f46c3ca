"""Transactions: the wrong task is in one, the wrong writer wins, ids are taken twice, losses are told as success."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, ClassVar, Self

from codeweaver_backends.errors import (
    BackendConnectionError,
    BackendError,
    BackendTimeoutError,
    ConflictError,
    InvalidInputError,
    TransactionError,
)
from codeweaver_backends.memory.config import MemoryConfig
from codeweaver_backends.memory.store import Snapshot
from codeweaver_backends.sdk.lifetime import operation
from codeweaver_backends.sdk.transactions import Transaction
from codeweaver_backends.types import PointId, SearchResult, VectorPoint
from codeweaver_tools.defects.network import NetworkBackend
from codeweaver_tools.defects.registry import plant
from codeweaver_tools.defects.rig import Point, Rig
from codeweaver_tools.defects.transactions import parts

# --- ids -------------------------------------------------------------------------------------------------------------


@plant("tx-finished-accepted", "A commit of a finished or unknown id is no error.")
class _FinishedAccepted(Rig):
    async def commit_transaction(self, transaction_id: str) -> None:
        with suppress(TransactionError):
            await super().commit_transaction(transaction_id)


@plant("tx-finished-rolled-back", "A rollback of a finished or unknown id is no error.")
class _FinishedRolledBack(Rig):
    async def rollback_transaction(self, transaction_id: str) -> None:
        with suppress(TransactionError):
            await super().rollback_transaction(transaction_id)


@plant("tx-finished-again", "Committing a finished id raises, and writes what it wrote once more.")
class _FinishedAgain(Rig):
    def __init__(self, config: MemoryConfig) -> None:
        super().__init__(config)
        self._done: list[Snapshot] = []

    async def _commit(self, handle: Snapshot) -> None:
        self._done.append(handle)
        await super()._commit(handle)

    async def commit_transaction(self, transaction_id: str) -> None:
        try:
            await super().commit_transaction(transaction_id)
        except TransactionError:
            for name, collection in ((name, one) for done in self._done for name, one in done.collections.items()):
                if name in self._store.collections:
                    self._store.collections[name].points.update(collection.points)
            raise


@plant("tx-finished-ends-others", "An unknown id is refused, and whatever is open is rolled back.")
class _EndsOthers(Rig):
    def _transaction(self, transaction_id: object) -> Transaction[Snapshot]:
        if transaction_id not in self._transactions:
            for one in self._transactions.values():
                one.handle = Snapshot(self._store)
        return super()._transaction(transaction_id)


@plant("tx-nested-same", "A second begin gives the id of the transaction that is open.")
class _NestedSame(Rig):
    def begin_transaction(self) -> Coroutine[Any, Any, str]:
        scope = self._scope()
        if scope is None or scope.transaction is None or scope.transaction.ended:
            return super().begin_transaction()
        return self._same(scope.transaction.id)

    async def _same(self, transaction_id: str) -> str:
        return transaction_id


@plant("tx-nested-commits", "A second begin is refused, and commits the transaction that is open.")
class _NestedCommits(Rig):
    @operation
    async def _begin_transaction(self, scope: Any, is_nested: bool) -> str:
        if is_nested:
            for one in self._transactions.values():
                one.handle.commit()
        return await super()._begin_transaction(scope, is_nested)


@plant("tx-nested-loses", "A second begin is refused, and what the first transaction has written is lost.")
class _NestedLoses(Rig):
    @operation
    async def _begin_transaction(self, scope: Any, is_nested: bool) -> str:
        joined = self._joined() if is_nested else None
        if joined is not None:
            joined.handle = Snapshot(self._store)
        return await super()._begin_transaction(scope, is_nested)


# --- calls that are refused ------------------------------------------------------------------------------------------


@plant("tx-refused-aborts", "A call that is refused ends the transaction: the engine's current one is aborted.")
class _RefusedAborts(Rig):
    @operation
    async def upsert_vectors(self, collection_name: str, vectors: list[VectorPoint]) -> None:
        try:
            await super().upsert_vectors(collection_name, vectors)
        except BackendError:
            joined = self._joined()
            if joined is not None:
                joined.ended = "the current transaction is aborted"
            raise


@plant("tx-refused-half", "Inside a transaction a batch is written up to its first bad point.")
class _RefusedHalf(Rig):
    @operation
    async def upsert_vectors(self, collection_name: str, vectors: list[VectorPoint]) -> None:
        if self._joined() and isinstance(vectors, list):
            for one in vectors:
                await super().upsert_vectors(collection_name, [one])
        else:
            await super().upsert_vectors(collection_name, vectors)


@plant("tx-refused-forgets", "A call that is refused undoes what the transaction has written before it.")
class _RefusedForgets(Rig):
    @operation
    async def upsert_vectors(self, collection_name: str, vectors: list[VectorPoint]) -> None:
        try:
            await super().upsert_vectors(collection_name, vectors)
        except InvalidInputError:
            joined = self._joined()
            if joined is not None:
                joined.handle = Snapshot(self._store)
            raise


# --- conflicts -------------------------------------------------------------------------------------------------------


class _Careless(Snapshot):
    """Looks at nothing before it writes."""

    def _are_untouched(self, name: str, ids: list[PointId]) -> bool:
        return True

    def _merge(self, name: str, ids: list[PointId]) -> None:
        live = self._store.collections[name].points
        super()._merge(name, [one for one in ids if one in live or one in self.collections[name].points])


class _Snapshotting(Rig):
    snapshot: ClassVar[type[Snapshot]]

    async def _begin(self) -> Snapshot:
        return self.snapshot(self._store)


@plant("tx-silent-overwrite", "The last commit wins: nobody looks whether a point has changed since.")
class _SilentOverwrite(_Snapshotting):
    snapshot = _Careless


@plant("tx-conflict-deleted", "A point that was deleted since looks free: writing it again is no conflict.")
class _ConflictDeleted(_Snapshotting):
    class snapshot(_Careless):  # noqa: N801
        def _are_untouched(self, name: str, ids: list[PointId]) -> bool:
            live = self._store.collections[name].points
            return Snapshot._are_untouched(self, name, [one for one in ids if one in live])


@plant("tx-conflict-created", "Two transactions that create the same point do not conflict.")
class _ConflictCreated(_Snapshotting):
    class snapshot(_Careless):  # noqa: N801
        def _are_untouched(self, name: str, ids: list[PointId]) -> bool:
            return Snapshot._are_untouched(self, name, [one for one in ids if one in self._before[name]])


@plant("tx-conflict-delete-wins", "A delete never conflicts: it takes what was written since.")
class _ConflictDeleteWins(_Snapshotting):
    class snapshot(_Careless):  # noqa: N801
        def _are_untouched(self, name: str, ids: list[PointId]) -> bool:
            own = self.collections[name].points
            return Snapshot._are_untouched(self, name, [one for one in ids if one in own])


@plant("tx-plain-overwritten", "Transactions conflict with each other, and not with plain writes.")
class _PlainOverwritten(_Snapshotting):
    class snapshot(_Careless):  # noqa: N801
        committed: ClassVar[list[Point | None]] = []

        def _are_untouched(self, name: str, ids: list[PointId]) -> bool:
            live, before = self._store.collections[name].points, self._before[name]
            changed = [live.get(one) for one in ids if live.get(one) is not before.get(one)]
            return not any(one is None or one in self.committed for one in changed)

        def commit(self) -> None:
            super().commit()
            self.committed.extend(point for one in self.collections.values() for point in one.points.values())


@plant("tx-conflict-half", "A commit that conflicts in one collection has written the others.")
class _ConflictHalf(Rig):
    async def _commit(self, handle: Snapshot) -> None:
        failure: ConflictError | None = None
        for part in parts(handle):
            try:
                part.commit()
            except ConflictError as error:
                failure = error
        if failure:
            raise failure


@plant("tx-conflict-misnamed", "A conflict is told as a failure of the engine.")
class _ConflictMisnamed(Rig):
    async def _commit(self, handle: Snapshot) -> None:
        try:
            await super()._commit(handle)
        except ConflictError as error:
            raise BackendError("could not serialize access due to concurrent update") from error


@plant("tx-conflict-final", "A conflict says that trying again is no use.")
class _ConflictFinal(Rig):
    class _FinalError(ConflictError):
        retryable = False

    async def _commit(self, handle: Snapshot) -> None:
        try:
            await super()._commit(handle)
        except ConflictError as error:
            raise self._FinalError(error.message) from error


@plant("tx-conflict-swallowed", "A commit that conflicts returns as if it had worked.")
class _ConflictSwallowed(Rig):
    async def _commit(self, handle: Snapshot) -> None:
        with suppress(ConflictError):
            await super()._commit(handle)


# --- beside each other -----------------------------------------------------------------------------------------------


@plant("tx-shared-buffer", "Transactions that are open at once share one buffer: a commit writes it all.")
class _SharedBuffer(Rig):
    async def _begin(self) -> Snapshot:
        shared = next((one.handle for one in self._transactions.values()), None)
        return shared or await super()._begin()


@plant("tx-commit-ends-all", "A commit ends every transaction that is open: the others are lost.")
class _CommitEndsAll(Rig):
    async def _commit(self, handle: Snapshot) -> None:
        await super()._commit(handle)
        for one in self._transactions.values():
            one.ended = "it was lost"


@plant("tx-pool-starved", "Open transactions take the connections that other calls need.")
class _PoolStarved(Rig):
    def __init__(self, config: MemoryConfig) -> None:
        super().__init__(config)
        self._pool = asyncio.Semaphore(4)

    async def _take(self) -> None:
        try:
            await asyncio.wait_for(self._pool.acquire(), 0.2)
        except TimeoutError as error:
            raise BackendTimeoutError("no connection is free") from error

    async def _begin(self) -> Snapshot:
        await self._take()
        return await super()._begin()

    async def _commit(self, handle: Snapshot) -> None:
        self._pool.release()
        await super()._commit(handle)

    async def _rollback(self, handle: Snapshot) -> None:
        self._pool.release()

    @operation
    async def search_vectors(self, *args: Any, **kwargs: Any) -> list[SearchResult]:
        if self._joined():
            return await super().search_vectors(*args, **kwargs)
        await self._take()
        try:
            return await super().search_vectors(*args, **kwargs)
        finally:
            self._pool.release()


@plant("tx-writes-refused", "A plain write conflicts with whatever transaction is open.")
class _WritesRefused(Rig):
    @operation
    async def upsert_vectors(self, collection_name: str, vectors: list[VectorPoint]) -> None:
        if self._transactions and not self._joined():
            raise ConflictError("a transaction is open")
        await super().upsert_vectors(collection_name, vectors)


# --- who is in it ----------------------------------------------------------------------------------------------------


@plant("tx-wait-for", "begin_transaction joins the task that awaits it: another task's is lost, and writes go in.")
class _WaitFor(Rig):
    async def begin_transaction(self) -> str:
        return await super().begin_transaction()


@plant("tx-children-outside", "Tasks that are started inside a transaction are not in it.")
class _ChildrenOutside(Rig):
    def __init__(self, config: MemoryConfig) -> None:
        super().__init__(config)
        self._owners: dict[str, object] = {}

    async def _registered(self) -> Transaction[Snapshot]:
        transaction = await super()._registered()
        self._owners[transaction.id] = asyncio.current_task()
        return transaction

    def _joined(self) -> Transaction[Snapshot] | None:
        joined = super()._joined()
        return joined if joined and self._owners[joined.id] is asyncio.current_task() else None


@plant("tx-late-child-written", "What a task of a finished transaction writes goes straight in.")
class _LateChildWritten(Rig):
    def _joined(self) -> Transaction[Snapshot] | None:
        try:
            return super()._joined()
        except TransactionError:
            return None


@plant("tx-late-child-lost", "What a task of a finished transaction writes is acknowledged, and lost.")
class _LateChildLost(Rig):
    def _check_open(self, transaction: Transaction[Snapshot]) -> None:
        return


@plant("tx-never-left", "The task that has committed is still in the transaction.")
class _NeverLeft(Rig):
    def _leave_scope(self, transaction_id: object) -> None:
        return


@plant("tx-view-commits", "The view commits what its block has written, also where the block raises.")
class _ViewCommits(Rig):
    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Self]:
        failure: Exception | None = None
        async with super().transaction() as view:
            try:
                yield view
            except Exception as error:  # noqa: BLE001 - the defect
                failure = error
        if failure:
            raise failure


@plant("tx-view-forgets", "The view never commits.")
class _ViewForgets(Rig):
    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Self]:
        async with super().transaction() as view:
            yield view
            view._bound.handle = Snapshot(self._store)  # type: ignore[union-attr]


@plant("tx-view-everyone", "While a view is open the backend itself is in its transaction.")
class _ViewEveryone(Rig):
    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Self]:
        async with super().transaction() as view:
            self._bound = view._bound
            try:
                yield view
            finally:
                self._bound = None


# --- one that nobody ends --------------------------------------------------------------------------------------------


@plant("tx-close-commits", "Closing a backend commits what is open.")
class _CloseCommits(Rig):
    async def _disconnect(self) -> None:
        for one in self._transactions.values():
            one.handle.commit()


@plant("tx-lost-success", "A commit that cannot arrive, or whose answer is lost, is told as success.")
class _LostSuccess(NetworkBackend):
    async def _commit(self, handle: str) -> None:
        with suppress(BackendConnectionError):
            await super()._commit(handle)


@plant("tx-lost-answer-known", "A commit whose answer is lost is told as one that has written nothing.")
class _LostAnswerKnown(NetworkBackend):
    async def _commit(self, handle: str) -> None:
        try:
            await super()._commit(handle)
        except BackendConnectionError as error:
            raise TransactionError("the commit failed, and nothing was written") from error


@plant("tx-lost-writes-through", "After a lost connection the calls of its transaction go straight in.")
class _LostWritesThrough(NetworkBackend):
    _is_lost = False

    async def ask(self, call: str, *arguments: Any) -> Any:
        try:
            return await super().ask(call, *arguments)
        except BackendConnectionError:
            self._is_lost = True
            raise

    def _joined(self) -> Transaction[str] | None:
        joined = super()._joined()
        return None if self._is_lost else joined
