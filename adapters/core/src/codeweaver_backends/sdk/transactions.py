"""Transactions: which call is in which, and how each ends.

``begin_transaction`` gives an id that no other call takes. So the task that calls it is in the transaction until it
commits or rolls back: a context variable holds it, and tasks started meanwhile inherit it. The other form needs no such
rule, and is the one to prefer::

    async with backend.transaction() as tx:
        await tx.upsert_vectors(...)

Here ``tx`` is a view of the backend whose calls are in the transaction, in whatever task, and no others are. It commits
at the end of the block, and rolls back if the block raises.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Generic, Self, TypeVar
from uuid import uuid4

from codeweaver_backends.config import BackendConfig
from codeweaver_backends.errors import BackendConnectionError, BackendError, TransactionError
from codeweaver_backends.sdk.lifetime import BaseBackend, operation

__all__ = ["Transaction", "TransactionalBase"]

Handle = TypeVar("Handle")


@dataclass(eq=False, slots=True)
class Transaction(Generic[Handle]):
    """An open transaction, or one that ended by itself and was not rolled back yet."""

    handle: Handle
    """What the engine knows it by."""
    id: str = field(default_factory=lambda: uuid4().hex)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by each of its calls: an engine runs one at a time."""
    ended: str | None = None
    """Why it takes no more calls."""


@dataclass(eq=False, slots=True)
class _Scope:
    """A context's place in a transaction. It is made before the transaction is, to be seen by whoever awaits that."""

    registry: dict[str, Transaction[Any]]
    transaction: Transaction[Any] | None = None


_SCOPES: ContextVar[tuple[_Scope, ...]] = ContextVar("codeweaver_transactions", default=())
"""At most one per backend. One variable for all backends: a variable for each would never be freed."""


class TransactionalBase(BaseBackend, Generic[Handle]):
    """The transactions of an adapter, which overrides ``_begin``, ``_commit`` and ``_rollback``.

    Each of its calls asks ``_joined`` where to run. A transaction that the engine ended is to be told so by its
    ``ended``; the user's rollback of it is then no error.
    """

    def __init__(self, config: BackendConfig) -> None:
        super().__init__(config)
        self._transactions: dict[str, Transaction[Handle]] = {}
        self._parent: Self | None = None
        self._bound: Transaction[Handle] | None = None

    # --- what an adapter overrides ---

    async def _begin(self) -> Handle:
        """Begin a transaction."""
        raise self._not_written("_begin", "begin_transaction")

    async def _commit(self, handle: Handle) -> None:
        """Commit. A connection error leaves the outcome unknown; after any other nothing may be committed."""
        raise self._not_written("_commit", "commit_transaction")

    async def _rollback(self, handle: Handle) -> None:
        """Undo everything. Where the connection is lost, the engine does."""
        raise self._not_written("_rollback", "rollback_transaction")

    # --- what an adapter asks ---

    def _joined(self) -> Transaction[Handle] | None:
        """The transaction that the call is in, if any; one that has ended is refused, and never silently left."""
        scope = self._scope()
        transaction = self._bound or (scope.transaction if scope else None)
        if transaction is not None:
            self._check_open(transaction)
        return transaction

    def _check_open(self, transaction: Transaction[Handle]) -> None:
        if transaction.ended is not None:
            raise TransactionError(f"the transaction has ended: {transaction.ended}")

    # --- by id ---

    # These are no coroutine functions: what they do at once, they do in the caller's own context, also where
    # ``asyncio.wait_for`` or ``create_task`` runs the rest in another task, whose context is lost.

    def begin_transaction(self) -> Coroutine[Any, Any, str]:
        """Begin a transaction for the calling task, and for tasks it starts from now on, and return its id."""
        scope, is_nested = _Scope(self._transactions), self._is_joined()
        if not is_nested:
            self._enter_scope(scope)
        return self._begin_transaction(scope, is_nested)

    @operation(claim="supports_transactions")
    async def _begin_transaction(self, scope: _Scope, is_nested: bool) -> str:
        if is_nested or (self._scope() is not scope and self._is_joined()):
            raise TransactionError("a transaction is open already; they do not nest")
        self._enter_scope(scope)
        scope.transaction = await self._registered()
        return scope.transaction.id

    def commit_transaction(self, transaction_id: str) -> Coroutine[Any, Any, None]:
        """Make its writes visible, all at once."""
        self._leave_scope(transaction_id)
        return self._commit_transaction(transaction_id=transaction_id)

    @operation(claim="supports_transactions")
    async def _commit_transaction(self, *, transaction_id: str) -> None:
        self._leave_scope(transaction_id)
        transaction = self._transaction(transaction_id)
        async with transaction.lock:
            self._finish(transaction)
            self._check_open(transaction)
            transaction.ended = "the outcome of its commit is unknown"
            try:
                await self._commit(transaction.handle)
            except Exception as error:
                raise self._failed_commit(transaction, error) from error
            transaction.ended = "it was committed"

    def _failed_commit(self, transaction: Transaction[Handle], error: Exception) -> BackendError:
        failure = self._translated(error)
        if isinstance(failure, BackendConnectionError):
            return TransactionError(f"the outcome of the commit is unknown: {failure.message}", state_unknown=True)
        transaction.ended = "its commit failed, and nothing was written"
        self._transactions[transaction.id] = transaction
        return failure

    def rollback_transaction(self, transaction_id: str) -> Coroutine[Any, Any, None]:
        """Undo its writes exactly."""
        self._leave_scope(transaction_id)
        return self._rollback_transaction(transaction_id=transaction_id)

    @operation(claim="supports_transactions")
    async def _rollback_transaction(self, *, transaction_id: str) -> None:
        self._leave_scope(transaction_id)
        transaction = self._transaction(transaction_id)
        async with transaction.lock:
            self._finish(transaction)
            if transaction.ended is None:
                transaction.ended = "it was rolled back"
                await self._rollback(transaction.handle)

    # --- by a view ---

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Self]:
        """A transaction as a block: see the module's description."""
        view = copy.copy(self)
        view._parent, view._bound, view._holds_nothing = self, await self._bound_transaction(), True
        transaction_id = view._bound.id
        try:
            yield view
        except BaseException:
            with suppress(Exception):  # what the block raised is what to tell
                await self._rollback_transaction(transaction_id=transaction_id)
            raise
        try:
            await self._commit_transaction(transaction_id=transaction_id)
        finally:
            self._transactions.pop(transaction_id, None)  # nobody else knows it, to roll it back after a failed commit

    @operation(claim="supports_transactions")
    async def _bound_transaction(self) -> Transaction[Handle]:
        if self._is_joined():
            raise TransactionError("a transaction is open already; they do not nest")
        return await self._registered()

    # --- lifetime ---

    def _enter(self) -> None:
        if self._parent is not None:
            self._parent._enter()
        else:
            super()._enter()

    async def aclose(self) -> None:
        if self._bound is not None:
            raise TransactionError("this is a view of a backend: close the backend")
        for transaction in self._transactions.values():
            transaction.ended = transaction.ended or "the backend was closed, and nothing was written"
        await super().aclose()

    # --- the registry ---

    async def _registered(self) -> Transaction[Handle]:
        transaction = Transaction(await self._begin())
        self._transactions[transaction.id] = transaction
        return transaction

    def _transaction(self, transaction_id: object) -> Transaction[Handle]:
        known = self._transactions.get(transaction_id) if isinstance(transaction_id, str) else None
        if known is None:
            raise TransactionError("no open transaction has this id")
        return known

    def _finish(self, transaction: Transaction[Handle]) -> None:
        if self._transactions.pop(transaction.id, None) is None:
            raise TransactionError("no open transaction has this id")

    # --- the context ---

    def _scope(self) -> _Scope | None:
        return next((scope for scope in _SCOPES.get() if scope.registry is self._transactions), None)

    def _is_joined(self) -> bool:
        scope = self._scope()
        joined = self._bound or (scope.transaction if scope else None)
        return joined is not None and joined.ended is None

    def _enter_scope(self, scope: _Scope) -> None:
        left = self._scope()
        if left is not None and left.transaction is not None and left is not scope:
            self._transactions.pop(left.transaction.id, None)  # it ended by itself, and nobody asks for it any more
        _SCOPES.set((*(one for one in _SCOPES.get() if one.registry is not self._transactions), scope))

    def _leave_scope(self, transaction_id: object) -> None:
        scope = self._scope()
        if scope is not None and scope.transaction is not None and scope.transaction.id == transaction_id:
            _SCOPES.set(tuple(one for one in _SCOPES.get() if one is not scope))
