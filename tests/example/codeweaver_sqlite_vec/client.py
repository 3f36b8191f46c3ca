"""The file: one connection, used by one call at a time, in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import apsw
import sqlite_vec

from codeweaver_backends.sdk import in_thread
from codeweaver_sqlite_vec.schema import CATALOGUE

__all__ = ["Client"]

T = TypeVar("T")

_PATIENCE: Final = 10_000
"""Milliseconds that another process' write is waited for."""


class Client:
    """An open file."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._turn = asyncio.Lock()

    @classmethod
    async def open(cls, folder: Path) -> Client:
        """Open the file, or create it."""
        return cls(await in_thread(_connect, folder, give_back=lambda connection: connection.close()))

    async def read(self, work: Callable[[apsw.Connection], T]) -> T:
        """Do work that reads, on one state of the file."""
        return await self._run("begin", work)

    async def write(self, work: Callable[[apsw.Connection], T]) -> T:
        """Do work that writes, all of it or, where it raises, nothing."""
        return await self._run("begin immediate", work)

    async def _run(self, begin: str, work: Callable[[apsw.Connection], T]) -> T:
        async with self._turn:
            return await in_thread(_in_transaction, self._connection, begin, work)

    async def close(self) -> None:
        """Close the file when the call that runs is over."""
        async with self._turn:
            self._connection.close()


def _connect(folder: Path) -> apsw.Connection:
    folder.mkdir(parents=True, exist_ok=True)
    connection = apsw.Connection(str(folder / "points.db"))
    connection.set_busy_timeout(_PATIENCE)
    connection.enable_load_extension(True)
    connection.load_extension(sqlite_vec.loadable_path())
    connection.enable_load_extension(False)
    connection.execute("pragma journal_mode = wal")
    connection.execute(CATALOGUE)
    return connection


def _in_transaction(connection: apsw.Connection, begin: str, work: Callable[[apsw.Connection], T]) -> T:
    connection.execute(begin)
    try:
        answer = work(connection)
    except BaseException:
        connection.execute("rollback")
        raise
    connection.execute("commit")
    return answer
