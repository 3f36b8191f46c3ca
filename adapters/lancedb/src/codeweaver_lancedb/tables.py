"""Collections as tables: their names, who may write, and their upkeep.

A table is named ``cw_<name>.<generation>``: a collection that is created again is another table. So a handle on the
old one fails, whoever dropped it, instead of believing old settings or writing into what was deleted.

Writers of one collection take turns, across processes too where the data is in a folder: then no merge meets another,
nor a delete, nor a compaction.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakValueDictionary

from codeweaver_backends.errors import CollectionExistsError, CollectionNotFoundError
from codeweaver_backends.filters import Always, Node
from codeweaver_backends.names import decode_name, encode_name
from codeweaver_backends.types import PointId
from codeweaver_backends.validate import Batch, CollectionSettings
from codeweaver_lancedb.convert import WORD_TYPES, reader_of, schema_of, settings_of
from codeweaver_lancedb.errors import is_conflict, is_vanished
from codeweaver_lancedb.filters import narrowing, to_sql

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped]
    from lancedb import AsyncConnection
    from lancedb.index import BTree, LabelList
    from lancedb.table import AsyncTable

if sys.platform != "win32":
    import fcntl

__all__ = ["Collection", "Tables"]

_LOCKS: Final = ".codeweaver"
"""The folder of the lock files, beside the tables."""
_GENERATION: Final = "abcdefghijklmnopqrstuvwxyz0123456789"
_PAUSE: Final = 0.02
_INDEX_FROM: Final = 5_000
"""Rows from which on an index is worth having."""
_NARROW: Final = 0.05
"""The share of the rows up to which an index is faster than a scan: what it finds is read row by row."""
_SHARE_TTL: Final = 10.0
"""Seconds for which a share is believed. A wrong one costs time, never rows."""
_FRAGMENTS: Final = 32
"""Fragments to have before they are made one; each costs a search a tenth of a millisecond."""
_ROWS_PER_FRAGMENT: Final = 2_000
"""One fragment more is borne for so many rows, since making them one rewrites every row."""
_KEEP: Final = timedelta(minutes=10)
"""How long readers of other processes may take with a version that is no longer the last."""
_KNOWN_LIMIT: Final = 500_000

_process_locks: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()


class Collection:
    """An open table, and what this process knows of it."""

    def __init__(self, settings: CollectionSettings, table: AsyncTable, schema: pa.Schema) -> None:
        self.settings = settings
        self.table = table
        self._schema = schema
        self._version = -1
        self._known: set[PointId] | None = None
        self._fragments: int | None = None
        self._unindexed = 0
        self._narrow: dict[str, tuple[float, bool]] = {}

    async def is_there(self) -> bool:
        """Whether the table has not been dropped."""
        try:
            await self.table.version()
        except Exception as error:  # noqa: BLE001 - any other failure is not an answer to this question
            return not is_vanished(error)
        return True

    # --- reading ---

    async def where(self, node: Node) -> str | None:
        """The filter as SQL, with the help of the indexes where they help. ``Never`` has none."""
        if isinstance(node, Always):
            return None
        sql = to_sql(node)
        condition = narrowing(node, self.settings.payload_indexes)
        if condition is not None and await self._is_narrow(condition):
            return f"({sql}) AND {condition}"
        return sql

    async def _is_narrow(self, condition: str) -> bool:
        now = time.monotonic()
        until, narrow = self._narrow.get(condition, (0.0, False))
        if until < now:
            total = await self.table.count_rows()
            narrow = total >= _INDEX_FROM and await self.table.count_rows(condition) <= total * _NARROW
            if len(self._narrow) >= 256:
                self._narrow.clear()
            self._narrow[condition] = (now + _SHARE_TTL, narrow)
        return narrow

    # --- writing, in turn ---

    async def upsert(self, batch: Batch, *, alone: bool, retries: int) -> None:
        """Write the points in one commit. ``alone``: nobody else can be writing."""
        new = alone and await self._are_new(batch.ids)
        for attempt in range(retries + 1):
            reader = reader_of(batch, self.settings, self._schema)
            try:
                if new:
                    result = await self.table.add(reader)
                else:
                    merge = self.table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
                    result = await merge.execute(reader)
            except RuntimeError as error:
                if attempt == retries or not is_conflict(error):
                    raise
                await asyncio.sleep(_PAUSE)
            else:
                self._version = result.version
                break
        self._fragments = None if self._fragments is None else self._fragments + 1
        self._unindexed += len(batch)

    async def _are_new(self, ids: Sequence[PointId]) -> bool:
        """Whether none of the ids can be there: then rows are added, at half the price of a merge.

        Known are the ids of a table that was empty when first written to, as long as each version is our own.
        """
        version = await self.table.version()
        if version != self._version:
            self._version = version
            self._known = None if await self.table.count_rows() else set()
        if self._known is None:
            return False
        new = self._known.isdisjoint(ids)
        self._known.update(ids)
        if len(self._known) > _KNOWN_LIMIT:
            self._known = None
        return new

    async def delete(self, where: str) -> int:
        """Delete the rows, and tell how many."""
        result = await self.table.delete(where)
        if self._known is not None and self._version + 1 == result.version:
            self._version = result.version  # ids that are gone are merged when they return
        deleted: int = result.num_deleted_rows  # type: ignore[attr-defined]
        return deleted

    async def tend(self) -> None:
        """Make many small fragments one, and bring the indexes up to date, when it is time."""
        if self._fragments is None:
            await self._survey()
        if (self._fragments or 0) < _FRAGMENTS and self._unindexed < _INDEX_FROM:
            return
        rows = await self.table.count_rows()
        if (self._fragments or 0) >= _FRAGMENTS + rows // _ROWS_PER_FRAGMENT:
            await self.table.optimize(cleanup_older_than=_KEEP)
            await self._survey()
        if self._unindexed >= max(_INDEX_FROM, rows // 4):
            await self._index()
        self._version = await self.table.version()

    async def _survey(self) -> None:
        """See how the table is, as other processes may have left it."""
        stats: Any = await self.table.stats()
        self._fragments = stats["fragment_stats"]["num_small_fragments"]
        self._unindexed = 0
        for column, _ in self._indexed_columns()[:1]:
            index = await self.table.index_stats(f"{column}_idx")
            self._unindexed = stats["num_rows"] if index is None else index.num_unindexed_rows

    async def _index(self) -> None:
        for column, config in self._indexed_columns():
            await self.table.create_index(column, config=config, replace=True)
        self._unindexed = 0

    def _indexed_columns(self) -> list[tuple[str, LabelList | BTree]]:
        from lancedb.index import BTree, LabelList

        columns: list[tuple[str, LabelList | BTree]] = []
        for number, kind in enumerate(self.settings.payload_indexes.values()):
            if kind in WORD_TYPES:
                columns.append((f"words_{number}", LabelList()))
            else:
                columns += [(f"low_{number}", BTree()), (f"high_{number}", BTree())]
        return columns


class Tables:
    """The collections of one database."""

    def __init__(self, connection: AsyncConnection, uri: str, folder: Path | None) -> None:
        self._connection = connection
        self._uri = uri
        self._folder = folder
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @property
    def are_ours_alone(self) -> bool:
        """Whether taking turns keeps out the writers of every process."""
        return self._folder is not None and sys.platform != "win32"

    async def names(self) -> list[str]:
        """Every collection. Tables that were not made by this adapter are left alone."""
        codes = {table.rpartition(".")[0] for table in await self._listed()}
        return sorted(name for name in map(decode_name, codes) if name is not None)

    async def _listed(self) -> list[str]:
        listed: list[str] = []
        token = None
        while True:
            page = await self._connection.list_tables(page_token=token)
            listed += page.tables
            token = page.page_token
            if not token:
                return listed

    async def open(self, name: str) -> Collection:
        """The collection as it is now."""
        for table_name in await self._generations(name):
            try:
                table = await self._connection.open_table(table_name)
                schema = await table.schema()
            except (ValueError, RuntimeError) as error:
                if not is_vanished(error):
                    raise
            else:
                settings = settings_of(name, schema)
                if settings is not None:
                    return Collection(settings, table, schema)
        raise CollectionNotFoundError("the collection does not exist")

    async def _generations(self, name: str) -> list[str]:
        code = encode_name(name)
        return sorted(table for table in await self._listed() if table.rpartition(".")[0] == code)

    async def create(self, settings: CollectionSettings) -> None:
        """Create an empty table. Of several who try at once, one succeeds."""
        await self._refuse_existing(settings.name)
        async with self.turn(settings.name):
            await self._refuse_existing(settings.name)
            generation = "".join(secrets.choice(_GENERATION) for _ in range(5))
            table_name = f"{encode_name(settings.name)}.{generation}"
            await self._connection.create_table(table_name, schema=schema_of(settings))

    async def _refuse_existing(self, name: str) -> None:
        with suppress(CollectionNotFoundError):
            await self.open(name)
            raise CollectionExistsError("the collection exists already")

    async def drop(self, name: str) -> None:
        """Drop the collection's table."""
        async with self.turn(name):
            await self.open(name)
            for table_name in await self._generations(name):
                await self._connection.drop_table(table_name, ignore_missing=True)

    @asynccontextmanager
    async def turn(self, name: str) -> AsyncIterator[None]:
        """Be the only writer of the collection: in this process, and in a folder among all processes."""
        async with self._turns.setdefault(name, asyncio.Lock()):
            while (release := self._claim(name)) is None:  # noqa: ASYNC110 - a lock of another process cannot wake us
                await asyncio.sleep(_PAUSE * (0.5 + secrets.randbelow(100) / 100))
            try:
                yield
            finally:
                release()

    def _claim(self, name: str) -> Callable[[], None] | None:
        """Take the lock if it is free, and say how to release it."""
        if self._folder is None or sys.platform == "win32":
            lock = _process_locks.setdefault(f"{self._uri}/{name}", threading.Lock())
            return lock.release if lock.acquire(blocking=False) else None
        file = self._folder / _LOCKS / f"{encode_name(name)}.lock"
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        return partial(os.close, descriptor)
