"""A call's use of a collection: what it knows of it, and where its queries run."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

from codeweaver_backends.sdk.handles import CollectionUse, Intent
from codeweaver_backends.sdk.requests import CollectionSettings
from codeweaver_pgvector.client import Queries, UnitOfWork
from codeweaver_pgvector.graph import Touched
from codeweaver_pgvector.schema import Table

if TYPE_CHECKING:
    from codeweaver_pgvector.backend import PgvectorBackend

__all__ = ["BoundCollection", "UseInTransaction"]


@dataclass(slots=True)
class BoundCollection:
    """A collection, and where the queries of a call on it run."""

    table: Table
    queries: Queries

    @property
    def settings(self) -> CollectionSettings:
        """What the collection was created with."""
        return self.table.settings

    @property
    def incarnation(self) -> str:
        """The number of its table."""
        return str(self.table.number)

    @property
    def unit(self) -> UnitOfWork:
        """The transaction of a call that writes."""
        assert isinstance(self.queries, UnitOfWork)  # noqa: S101 - so it is looked up for writes
        return self.queries

    def touch(self, rows: int = 0) -> None:
        """The call has written so many points, or deleted some: what follows, follows from its commit."""
        self.unit.touched.setdefault(self.table.number, Touched(self.table)).rows += rows


class UseInTransaction(CollectionUse[BoundCollection]):
    """A call's use of a collection by one attempt, in a transaction in which the collection is looked up, too."""

    def __init__(
        self,
        backend: PgvectorBackend,
        name: str,
        intent: Intent,
        begin: Callable[[], AbstractAsyncContextManager[UnitOfWork]],
    ) -> None:
        super().__init__(backend, backend._handles, name, intent, timeout=backend.config.timeout, retries=0)
        self._backend = backend
        self._begin = begin

    async def __aenter__(self) -> BoundCollection:
        async with AsyncExitStack() as stack:
            unit = await stack.enter_async_context(self._begin())
            if self._intent is Intent.WRITE:
                async with unit.bounded():
                    found = await self._backend._found(unit, self._name, "for share")
            else:
                await stack.enter_async_context(unit.bounded())
                found = await self._backend._found(unit, self._name)
            self._stack = stack.pop_all()
        return found

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        return bool(await self._stack.__aexit__(kind, error, trace))
