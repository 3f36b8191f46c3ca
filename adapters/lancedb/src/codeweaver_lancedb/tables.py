"""Collections as tables: their names, and who may write.

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
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

from codeweaver_backends.errors import CollectionExistsError, CollectionNotFoundError
from codeweaver_backends.sdk.names import decode_name, encode_name
from codeweaver_backends.sdk.requests import CollectionSettings
from codeweaver_lancedb.collection import Collection
from codeweaver_lancedb.convert import schema_of, settings_of
from codeweaver_lancedb.errors import is_vanished

if TYPE_CHECKING:
    from lancedb import AsyncConnection

if sys.platform != "win32":
    import fcntl

__all__ = ["Tables"]

_LOCKS: Final = ".codeweaver"
"""The folder of the lock files, beside the tables."""
_GENERATION: Final = "abcdefghijklmnopqrstuvwxyz0123456789"
_PAUSE: Final = 0.005
_process_locks: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()


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
            listed += filter(self._is_whole, page.tables)
            token = page.page_token
            if not token:
                return listed

    def _is_whole(self, table: str) -> bool:
        """Whether it can be opened: a crash while a table is dropped may leave its folder behind."""
        return self._folder is None or (self._folder / f"{table}.lance" / "_versions").is_dir()

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
            # Who waits for the lock holds the queue meanwhile: else a busy writer, who is at hand when it
            # becomes free, would take it time and again from those who look for it now and then.
            leave_queue = await self._claim(f"{encode_name(name)}.queue")
            try:
                release = await self._claim(f"{encode_name(name)}.lock")
            finally:
                leave_queue()
            try:
                yield
            finally:
                release()

    async def _claim(self, lock_name: str) -> Callable[[], None]:
        """Wait for the lock, and say how to release it."""
        while (release := self._try_claim(lock_name)) is None:  # noqa: ASYNC110 - other processes cannot wake us
            await asyncio.sleep(_PAUSE * (0.5 + secrets.randbelow(100) / 100))
        return release

    def _try_claim(self, lock_name: str) -> Callable[[], None] | None:
        if self._folder is None or sys.platform == "win32":
            lock = _process_locks.setdefault(f"{self._uri}/{lock_name}", threading.Lock())
            return lock.release if lock.acquire(blocking=False) else None
        file = self._folder / _LOCKS / lock_name
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
