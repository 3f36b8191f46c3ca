"""The protocol on LanceDB's asynchronous client."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from datetime import timedelta
from functools import partial
from typing import Any, ClassVar, Final, TypeVar

from codeweaver_backends.capabilities import BackendCapabilities
from codeweaver_backends.errors import BackendError
from codeweaver_backends.sdk.cursors import cursor_after, position_of
from codeweaver_backends.sdk.filters.tree import Node
from codeweaver_backends.sdk.requests import Batch, CollectionSettings, Page, Query, WithPayload
from codeweaver_backends.sdk.template import Access, BackendTemplate
from codeweaver_backends.types import PointId, ScrollPage, SearchResult, VectorPoint
from codeweaver_lancedb.collection import Collection
from codeweaver_lancedb.config import LanceDBConfig
from codeweaver_lancedb.convert import columns_of, pieces, points_of, results_of
from codeweaver_lancedb.errors import is_vanished, scrub, translate
from codeweaver_lancedb.plugin import CAPABILITIES
from codeweaver_lancedb.tables import Tables

__all__ = ["LanceDBBackend"]

Answer = TypeVar("Answer")

_OFF_LOOP: Final = 1_000
"""Points from which on they are converted in a thread: a thousand hold the loop for some ten milliseconds."""
_IDS: Final = 1_000
"""Ids looked up or deleted in one statement."""


class LanceDBBackend(BackendTemplate[Collection]):
    """Every search reads every vector, so every search is exact."""

    name: ClassVar[str] = "lancedb"

    def __init__(self, config: LanceDBConfig) -> None:
        super().__init__(config)
        self._settings = config
        self._connection: Any = None
        self._tables: Tables
        self._opened: dict[str, Collection] = {}

    @property
    def capabilities(self) -> BackendCapabilities:
        return CAPABILITIES

    # --- lifetime ---

    async def _connect(self) -> None:
        # The import takes seconds, of which the loop must not be robbed.
        lancedb = await asyncio.to_thread(importlib.import_module, "lancedb")
        folder = self._settings.folder
        uri = self._settings.path if folder is None else str(folder)
        options = {name: secret.get_secret_value() for name, secret in self._settings.storage_options.items()}
        # An interval of zero: what another instance commits is seen by the next read.
        async with asyncio.timeout(self.config.timeout):
            self._connection = await lancedb.connect_async(
                uri, read_consistency_interval=timedelta(0), storage_options=options or None
            )
        self._tables = Tables(self._connection, uri, folder)

    async def _disconnect(self) -> None:
        for collection in self._opened.values():
            collection.table.close()  # type: ignore[no-untyped-call]
        self._opened.clear()
        self._connection.close()

    async def _ping(self) -> None:
        await self._connection.list_tables(limit=1)

    def _translate_error(self, error: Exception) -> BackendError | None:
        scrub(error, (secret.get_secret_value() for secret in self._settings.storage_options.values()))
        return translate(error)

    # --- collections ---

    async def _create(self, settings: CollectionSettings) -> None:
        async with asyncio.timeout(self.config.timeout):
            await self._tables.create(settings)

    async def _names(self) -> list[str]:
        async with asyncio.timeout(self.config.timeout):
            return await self._tables.names()

    async def _drop(self, name: str) -> None:
        async with asyncio.timeout(self.config.timeout):
            await self._tables.drop(name)
        self._forget(name)

    async def _confirm(self, collection: Collection) -> None:
        await collection.check()

    # --- writing ---

    async def _validated(self, validate: Callable[..., Batch], *arguments: Any) -> Batch:
        return await _off_loop(_length(arguments[0]), validate, *arguments)

    async def _upsert(self, collection: Collection, batch: Batch) -> None:
        written = 0
        alone, retries = self._tables.are_ours_alone, self.config.retries
        for chunk in pieces(batch):
            upsert = partial(collection.upsert, chunk, alone=alone, retries=retries)
            await self._commit(collection, upsert, batch.ids[written:])
            written += len(chunk)

    async def _delete(self, collection: Collection, ids: list[PointId]) -> None:
        for start in range(0, len(ids), _IDS):
            await self._commit(collection, partial(collection.delete_ids, ids[start : start + _IDS]), ids[start:])

    async def _delete_matching(self, collection: Collection, node: Node) -> int:
        return await self._commit(collection, partial(collection.delete_matching, node), ())

    async def _commit(
        self, collection: Collection, commit: Callable[[], Awaitable[Answer]], unwritten: Sequence[PointId]
    ) -> Answer:
        """Write in turn, and tell what was not written if that fails."""
        try:
            async with AsyncExitStack() as turn:
                async with asyncio.timeout(self.config.timeout):
                    await turn.enter_async_context(self._tables.turn(collection.settings.name))
                    answer = await commit()
                with suppress(Exception):  # what was written stays written; the upkeep is done another time
                    async with asyncio.timeout(self.config.timeout):
                        await collection.tend()
                return answer
        except Exception as error:
            if unwritten and await self._is_there(collection):
                raise self._unwritten(error, unwritten) from error
            raise

    # --- reading ---

    async def _search(self, collection: Collection, query: Query) -> list[SearchResult]:
        found = await collection.nearest(query)
        arguments = (found, collection.settings.metric, query.threshold, query.with_payload, query.with_vectors)
        return await _off_loop(found.num_rows, results_of, *arguments)

    async def _get(
        self, collection: Collection, ids: list[PointId], with_payload: WithPayload, with_vectors: bool
    ) -> list[VectorPoint]:
        columns = columns_of(collection.settings, with_payload, with_vectors)
        points: list[VectorPoint] = []
        for start in range(0, len(ids), _IDS):
            found = await collection.rows(ids[start : start + _IDS], columns)
            points += await _off_loop(found.num_rows, points_of, found, with_payload, with_vectors)
        return points

    async def _scroll(self, collection: Collection, page: Page) -> ScrollPage:
        found = await collection.page(page, position_of(page.cursor))
        shown = found.slice(0, page.limit)
        points = await _off_loop(shown.num_rows, points_of, shown, page.with_payload, page.with_vectors)
        return ScrollPage(points, cursor_after(points[-1].id) if found.num_rows > page.limit else None)

    async def _count(self, collection: Collection, node: Node) -> int:
        return await collection.count(node)

    # --- collections that others may have dropped and created again ---

    async def _on(self, name: str, work: Callable[[Collection], Awaitable[Answer]], access: Access) -> Answer:
        if access is Access.WRITE:  # a batch is many commits, of which each has its time
            return await self._on_current(name, work)
        async with asyncio.timeout(self.config.timeout):
            return await self._on_current(name, work)

    async def _on_current(self, name: str, work: Callable[[Collection], Awaitable[Answer]]) -> Answer:
        """Do the work on the collection.

        Whatever goes wrong with a cached one, a refusal by its settings included, counts only if its table is still
        there; else the collection is opened anew, and the work done on what it is now.
        """
        collection = self._opened.get(name)
        if collection is not None:
            try:
                return await work(collection)
            except Exception as error:
                if await self._is_there(collection) and not is_vanished(error):
                    raise
                self._forget(name)
        async with asyncio.timeout(self.config.timeout):
            collection = await self._tables.open(name)
        self._opened[name] = collection
        return await work(collection)

    async def _is_there(self, collection: Collection) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(self.config.timeout):
                return await collection.is_there()
        return True

    def _forget(self, name: str) -> None:
        self._opened.pop(name, None)  # not closed: another call may be using it


# --- arguments and results -------------------------------------------------------------------------------------------


def _length(items: object) -> int:
    return len(items) if isinstance(items, Sequence) else _OFF_LOOP


async def _off_loop(size: int, convert: Callable[..., Answer], *arguments: Any) -> Answer:
    return await asyncio.to_thread(convert, *arguments) if size >= _OFF_LOOP else convert(*arguments)
