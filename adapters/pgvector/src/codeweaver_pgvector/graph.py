"""The index over a table's vectors: a graph, what it can answer, and how it is built beside writes.

A table with such an index would be searched by it without being asked to, and would find what the server's settings
let it find. So a search that is to be exact orders by an expression that no index serves, and one that may use the
graph brings the settings along: they are made in the statement's condition on the catalogue, which is evaluated once,
before the table is read.
"""

# ruff: noqa: S608 - what is put into statements here are our own names and numbers; every value is a parameter

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import asyncpg

from codeweaver_backends.errors import BackendError, InvalidOptionError, UnsupportedError
from codeweaver_backends.sdk.plan import LOOKED_AT, SearchIndex, wants_index
from codeweaver_backends.sdk.requests import CollectionSettings, Query
from codeweaver_backends.types import DistanceMetric

if TYPE_CHECKING:
    from codeweaver_pgvector.client import Client, Connection, Queries
    from codeweaver_pgvector.schema import Table

__all__ = ["Graphs", "State", "Touched", "check_settings"]

_CLASSES: Final = {
    DistanceMetric.COSINE: "vector_cosine_ops",
    DistanceMetric.DOT_PRODUCT: "vector_ip_ops",
    DistanceMetric.EUCLIDEAN: "vector_l2_ops",
    DistanceMetric.MANHATTAN: "vector_l1_ops",
}
_MEMORY: Final = re.compile(r"([1-9][0-9]{0,6})(MB|GB)")
_MEGABYTES: Final = {"MB": 1, "GB": 1_024}
_NAME: Final = 63
"""Bytes of the longest name that the engine keeps whole."""
_DIMENSION: Final = 2_000
"""The most dimensions that an index takes."""
_LEAST: Final = 200
"""Points that a search looks at, at least (the engine's ``ef_search``); 40, its default, finds too little."""
_MOST: Final = 1_000
"""The most that the engine lets it look at."""
_SCANNED: Final = 2_000_000
"""Points that a filtered search may pass by until it has found its limit."""
_TTL: Final = 10.0
"""Seconds for which it is believed how many points there are, and that a filter passes many of them."""
_FILTERS: Final = 256
_PAUSE: Final = 0.2
_LOCK_WAIT: Final = 1_000
"""Milliseconds to wait for a table in use before a broken index is dropped: the next build tries again."""


def check_settings(settings: CollectionSettings) -> None:
    """Refuse a graph that the engine cannot build, and options that it cannot take."""
    memory = _MEMORY.fullmatch(settings.engine_options.get("maintenance_work_mem", "1GB"))
    if memory is None or not 1 <= int(memory[1]) * _MEGABYTES[memory[2]] < 2**21:
        raise InvalidOptionError("the engine option maintenance_work_mem must be a size like 512MB, less than 2048GB")
    if len(settings.engine_options.get("tablespace", "").encode()) > _NAME:
        raise InvalidOptionError(f"the engine option tablespace must be a name of at most {_NAME} bytes")
    option = settings.vector_index
    if option is None or option.kind != "hnsw":
        return
    if settings.dimension > _DIMENSION:
        raise UnsupportedError(
            f"an index takes vectors of at most {_DIMENSION:,} dimensions, not {settings.dimension:,}",
            capability="index_kinds",
        )
    if option.numbers.get("ef_construction", _MOST) < 2 * option.numbers.get("m", 1):
        raise InvalidOptionError("ef_construction of vector_index must be at least twice m")


@dataclass(frozen=True, slots=True)
class State:
    """A table as a search finds it."""

    size: int
    """How many points there are: exact up to one above the exact size, beyond it about."""
    is_ready: bool | None
    """Whether its index can be used; ``None``: there is none."""


@dataclass(slots=True)
class Touched:
    """A table that a transaction has written to."""

    table: Table
    rows: int = 0
    """Points that were written."""


class Graphs:
    """The indexes of a server's tables, as far as this process knows them."""

    def __init__(self, client: Client, exact_size: int) -> None:
        self._client = client
        self._exact_size = exact_size
        self.index = SearchIndex(exact_size, _MOST)
        self._states: dict[int, tuple[float, State]] = {}
        self._wide: dict[tuple[Any, ...], float] = {}
        self._written: dict[int, int] = {}
        """By table: points written since it was last looked at."""
        self._builds: dict[int, asyncio.Task[None]] = {}

    # --- searching ---

    async def state(self, table: Table, queries: Queries) -> State:
        """How the table is; outside of transactions as it was a moment ago."""
        if table.settings.vector_index is not None and not wants_index(table.settings):
            return State(0, None)
        is_shared = queries is self._client
        until, known = self._states.get(table.number, (0.0, None))
        if is_shared and known is not None and until > time.monotonic():
            return known
        [row] = await queries.fetch(_state(table, self._exact_size))
        found = State(
            max(row["size"], row["estimate"]) if row["size"] > self._exact_size else row["size"], row["ready"]
        )
        if is_shared:
            self._states[table.number] = (time.monotonic() + _TTL, found)
        return found

    def looked_at(self, query: Query) -> int:
        """How many points a search looks at."""
        return min(_MOST, int(max(_LEAST, LOOKED_AT * query.limit) * query.effort))

    def settings(self, query: Query) -> str:
        """The condition that makes the settings of a search. It is true."""
        made = {
            "hnsw.ef_search": self.looked_at(query),
            "hnsw.iterative_scan": "strict_order",
            "hnsw.max_scan_tuples": _SCANNED,
        }
        return " and ".join(f"set_config('{name}', '{value}', true) is not null" for name, value in made.items())

    def is_wide(self, key: tuple[Any, ...]) -> bool:
        """Whether a filter passed many points, a moment ago."""
        return self._wide.get(key, 0.0) > time.monotonic()

    def note_wide(self, key: tuple[Any, ...]) -> None:
        """A filter passes many points."""
        if len(self._wide) >= _FILTERS:
            self._wide.clear()
        self._wide[key] = time.monotonic() + _TTL

    # --- building ---

    def touched(self, tables: Iterable[Touched]) -> None:
        """Tables were written to, and that is committed: forget what was known, and build where it may be time."""
        for one in tables:
            number = one.table.number
            self._states.pop(number, None)
            for key in [key for key in self._wide if key[0] == number]:
                del self._wide[key]
            written = self._written.get(number, 0) + one.rows
            self._written[number] = written
            if (
                one.rows
                and written > self._exact_size // 4
                and self._may_have(one.table)
                and number not in self._builds
            ):
                self._written[number] = 0
                task = asyncio.create_task(self._built(one.table))
                self._builds[number] = task
                task.add_done_callback(partial(self._ended, number))

    def _ended(self, number: int, _: asyncio.Task[None]) -> None:
        self._builds.pop(number, None)

    def _may_have(self, table: Table) -> bool:
        return wants_index(table.settings) and table.settings.dimension <= _DIMENSION

    async def _built(self, table: Table) -> None:
        # The next write tries again.
        with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError, BackendError):
            if (await self.state(table, self._client)).size > self._exact_size:
                await self.build(table)

    async def optimize(self, table: Table) -> None:
        """Build what is wanted, or what a table of before the option can have, and tidy up."""
        wanted = table.settings.vector_index is None or wants_index(table.settings)
        if wanted and table.settings.dimension <= _DIMENSION:
            self._states.pop(table.number, None)
            if (await self.state(table, self._client)).size > self._exact_size:
                await self.build(table)
        async with self._client.maintenance() as connection:
            await connection.execute(f"vacuum (analyze) {table.name}")
        self._states.pop(table.number, None)

    async def build(self, table: Table) -> None:
        """Have an index that can be used. Whoever builds the same one is waited for; one that is broken is dropped.

        Building lets reads and writes go on. It is broken off by whatever ends its connection or the server, and leaves
        an index that cannot be used: then nobody has the lock of who builds.
        """
        memory = table.settings.engine_options.get("maintenance_work_mem")
        async with self._client.maintenance() as connection:
            if memory is not None:
                await connection.execute("select set_config('maintenance_work_mem', $1, false)", memory)
            while not await self._is_there(connection, table):
                with suppress(asyncpg.DeadlockDetectedError):  # two began in the same moment, and one of them goes on
                    await connection.execute(_creation(table))
                    break
        self._states.pop(table.number, None)

    async def _is_there(self, connection: Connection, table: Table) -> bool:
        """Whether the index can be used; if not, nobody is building it, and nothing of it is left.

        Waiting for the lock would hold up who has it, and waits for every statement that is under way.
        """
        while True:
            with suppress(asyncpg.LockNotAvailableError):
                async with connection.transaction():
                    await connection.execute(f"lock table {table.name} in share update exclusive mode nowait")
                    [row] = await connection.fetch(_state(table, 0))
                    if row["ready"] is False:
                        await connection.execute(
                            f"set local lock_timeout = {_LOCK_WAIT}; drop index if exists {_name(table)}"
                        )
                return bool(row["ready"])
            await asyncio.sleep(_PAUSE)

    async def aclose(self) -> None:
        """Stop waiting for what is being built. The server, whose connection is cut already, goes on with it."""
        builds = list(self._builds.values())
        for build in builds:
            build.cancel()
        await asyncio.gather(*builds, return_exceptions=True)


def _name(table: Table) -> str:
    return f'"{table.schema}".{table.engine_name}_vec'


def _creation(table: Table) -> str:
    option = table.settings.vector_index
    numbers = option.numbers if option else {}
    m = numbers.get("m", 16)
    construction = numbers.get("ef_construction", max(64, 2 * m))
    return (
        f"create index concurrently if not exists {table.engine_name}_vec on {table.name}"
        f" using hnsw (vec {table.vectors}.{_CLASSES[table.settings.metric]})"
        f" with (m = {m}, ef_construction = {construction}){table.tablespace}"
    )


def _state(table: Table, exact_size: int) -> str:
    """How the table is; its points are counted up to one above the exact size."""
    return (
        f"select (select count(*) from (select from {table.name} limit {exact_size + 1}) as counted) as size,"
        f" (select reltuples::bigint from pg_class where oid = to_regclass('{table.name}')) as estimate,"
        f" (select indisvalid from pg_index where indexrelid = to_regclass('{_name(table)}')) as ready"
    )
