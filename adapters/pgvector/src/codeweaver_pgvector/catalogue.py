"""The catalogue: a row for each collection, with its settings and the number that its tables are named after.

A number is never given again, so what belonged to a deleted collection cannot be taken for its successor's. Deleting
takes the name out of the row: that is undone by a rollback and holds up no reader, as dropping the tables would. These
are dropped afterwards.
"""

# ruff: noqa: S608 - what is put into statements here are our own names; every value is a parameter

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import asyncpg

from codeweaver_backends.errors import BackendError
from codeweaver_backends.sdk.requests import CollectionSettings
from codeweaver_pgvector.client import Client

__all__ = ["LAYOUT", "Catalogue", "quoted"]

LAYOUT: Final = 3
"""Counts the changes of what is stored. Of the first, the catalogue had columns of its own for each setting."""


def quoted(name: str) -> str:
    """A name as SQL takes it, whatever it holds."""
    return '"' + name.replace('"', '""') + '"'


@dataclass(frozen=True)
class Catalogue:
    """The catalogue of a schema: its statements, and what is done with it outside of any call's transaction."""

    schema: str

    @property
    def name(self) -> str:
        """The catalogue's name, qualified."""
        return f'"{self.schema}".codeweaver_collections'

    state: ClassVar[str] = (
        "select to_regclass($1) is not null as catalogue, to_regnamespace($2) is not null as schema,"
        " exists (select from pg_extension where extname = 'vector') as extension, current_schema() is null as nowhere"
    )
    """What is there already; parameters are the names of the catalogue and of its schema."""

    def preparation(self, there: Mapping[str, Any]) -> Iterator[str]:
        """What is missing, created: who may use a schema need not have the right to create one."""
        if not there["schema"]:
            yield f'create schema "{self.schema}"'
        if not there["extension"]:
            yield "create extension vector" + f' schema "{self.schema}"' * there["nowhere"]
        if not there["catalogue"]:
            yield (
                f'create table {self.name} (name text collate "C" unique,'
                " number bigint generated always as identity primary key, settings text not null)"
            )

    @property
    def insertion(self) -> str:
        """A new row of a name and its settings; gives its number, or nothing if the name is taken."""
        return f"insert into {self.name} (name, settings) values ($1, $2) on conflict (name) do nothing {self._given}"

    def selection(self, lock: str = "") -> str:
        """The row of a name. Locked, it is neither deleted nor changed before the transaction ends.

        ``for share`` is a writer's lock, ``for update`` that of who must be the only writer.
        """
        return f"select {self._shown} from {self.name} where name = $1 {lock}"

    @property
    def _shown(self) -> str:
        # Where the extension is, is looked up with it: nobody's search path need lead there.
        where = "select nspname from pg_extension join pg_namespace on pg_namespace.oid = extnamespace"
        slots = f"to_regclass('\"{self.schema}\".codeweaver_slots_' || number) is not null"
        return f"number, settings, ({where} where extname = 'vector') as vectors, {slots} as slots"

    @property
    def _given(self) -> str:
        return f"returning {self._shown}"

    @property
    def names(self) -> str:
        """The names of all collections."""
        return f"select name from {self.name} where name is not null"

    @property
    def removed(self) -> str:
        """The numbers of deleted collections whose tables are still there."""
        return f"select number from {self.name} where name is null"

    def disposal(self, number: int) -> str:
        """Drop the tables of a deleted collection, unless someone is still using them for more than a moment."""
        tables = ", ".join(f'"{self.schema}".codeweaver_{kind}_{number}' for kind in ("points", "slots"))
        return (
            f"set local lock_timeout = 100; drop table if exists {tables};"
            f" delete from {self.name} where number = {number}"
        )

    @property
    def removal(self) -> str:
        """Take the name out of its row."""
        return f"update {self.name} set name = null where name = $1"

    @property
    def definition(self) -> str:
        """Change the settings; the parameters are those of ``insertion``."""
        return f"update {self.name} set settings = $2 where name = $1"

    def row(self, settings: CollectionSettings, **own: str) -> tuple[str, str]:
        """The parameters of ``insertion``: name and settings. ``own`` may be the definition of a ``sparse_index``."""
        return settings.name, settings.to_json(LAYOUT, **own)

    async def prepare(self, client: Client) -> None:
        """Have a catalogue."""
        names = self.name, f'"{self.schema}"'
        [there] = await client.fetch(self.state, *names)
        if there["catalogue"]:
            return
        async with client.unit_of_work() as unit:
            await unit.execute("select pg_advisory_xact_lock(hashtext('codeweaver-pgvector'))")
            [there] = await unit.fetch(self.state, *names)
            for statement in self.preparation(there):
                await unit.execute(statement)

    async def dispose(self, client: Client, seconds: float) -> None:
        """Drop the tables of deleted collections; one that is in use is left for the next time.

        The deletion was committed, so nothing that fails here is told, and no time is taken that would make it fail.
        """
        with suppress(asyncpg.PostgresError, OSError, BackendError):
            async with asyncio.timeout(seconds):
                for row in await client.fetch(self.removed):
                    with suppress(asyncpg.LockNotAvailableError):
                        async with client.unit_of_work() as unit:
                            await unit.execute(self.disposal(row["number"]))
