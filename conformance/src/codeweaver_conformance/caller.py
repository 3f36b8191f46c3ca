"""Callers: tasks that make calls beside each other, each with a context of its own."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from codeweaver_conformance.session import Conformance

__all__ = ["Caller", "bystanders", "calling", "in_transaction"]

_PATIENCE = 5.0
"""Seconds for the rollback of what a test that failed has left open."""


class Caller:
    """A backend whose every call is made, one after another, in one task: that of somebody else.

    What is kept in the task or in its context, as a transaction is, stays there and goes nowhere else.
    """

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self._calls: asyncio.Queue[tuple[Callable[[], Awaitable[Any]], asyncio.Future[Any]]] = asyncio.Queue()
        self._task = asyncio.create_task(self._work(), context=contextvars.Context())
        self.transaction: str | None = None
        """The id of the one that is open."""

    async def _work(self) -> None:
        while True:
            call, answer = await self._calls.get()
            try:
                result = await call()
            except Exception as error:  # noqa: BLE001 - it is the answer
                if not answer.done():
                    answer.set_exception(error)
            else:
                if not answer.done():
                    answer.set_result(result)

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._backend, name)

        async def call(*arguments: Any, **options: Any) -> Any:
            answer = asyncio.get_running_loop().create_future()
            self._calls.put_nowait((lambda: method(*arguments, **options), answer))
            return await answer

        return call

    # --- in a transaction ---

    async def begin(self) -> str:
        """Begin a transaction, and remember its id."""
        transaction: str = await self.begin_transaction()
        self.transaction = transaction
        return transaction

    async def commit(self) -> None:
        """Commit it."""
        await self.commit_transaction(self.transaction)
        self.transaction = None

    async def rollback(self) -> None:
        """Roll it back."""
        await self.rollback_transaction(self.transaction)
        self.transaction = None

    async def leave(self) -> None:
        """Go, and leave nothing open."""
        if self.transaction is not None:
            self._backend = getattr(self._backend, "wrapped", self._backend)  # no part of a failure's story
            with suppress(Exception):  # the test has failed, or has said why it did not end it
                await asyncio.wait_for(self.rollback(), _PATIENCE)
        self._task.cancel()
        await asyncio.wait({self._task})


@asynccontextmanager
async def calling(backend: Any) -> AsyncIterator[Caller]:
    """Somebody else, in no transaction yet."""
    caller = Caller(backend)
    try:
        yield caller
    finally:
        await caller.leave()


@asynccontextmanager
async def in_transaction(backend: Any) -> AsyncIterator[Caller]:
    """Somebody else, in a transaction of their own; it is rolled back where they do not end it."""
    async with calling(backend) as caller:
        await caller.begin()
        yield caller


def bystanders(cw: Conformance) -> dict[str, Any]:
    """Whoever is not in the transaction of a caller: the test itself, and another instance where there may be one."""
    found = {"another task": cw.backend}
    return found | {"another instance": cw.fresh()} if cw.capabilities.supports_multiple_instances else found
