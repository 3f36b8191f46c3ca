"""The tables behind collections: a catalogue with a row for each, and a table of points for each row.

A collection's table is named after a number that is never given again, so what belonged to a deleted collection cannot
be taken for its successor's. Deleting takes the name out of the catalogue's row: that is undone by a rollback and holds
up no reader, as dropping the table would. The table itself is dropped afterwards.
"""

# ruff: noqa: S608 - what is put into statements here are our own names; every value is a parameter

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import orjson

from codeweaver_backends.sdk.index.facts import Path
from codeweaver_backends.sdk.requests import CollectionSettings
from codeweaver_backends.types import DistanceMetric
from codeweaver_pgvector.convert import COLUMNS
from codeweaver_pgvector.filters import DeclaredField, column_of

__all__ = ["Collection", "Schema"]

_OPERATORS: Final = {
    DistanceMetric.COSINE: "<=>",
    DistanceMetric.DOT_PRODUCT: "<#>",
    DistanceMetric.EUCLIDEAN: "<->",
    DistanceMetric.MANHATTAN: "<+>",
}
_PENDING: Final = 65_536
"""KiB that the index over payloads puts off to the server's maintenance, which is not in the way of writes."""
_ROW: Final = 8_000
"""Bytes of a row that surely fit a page."""


@dataclass(frozen=True)
class Collection:
    """A collection as the catalogue has it."""

    settings: CollectionSettings
    number: int
    schema: str
    catalogue: str
    table_name: str

    @property
    def table(self) -> str:
        """Its table's name, qualified."""
        return f'"{self.schema}".{self.table_name}'

    @property
    def operator(self) -> str:
        """pgvector's distance of the collection's metric; less is nearer."""
        return _OPERATORS[self.settings.metric]

    @cached_property
    def declared(self) -> dict[Path, DeclaredField]:
        """The columns of the declared fields."""
        fields = self.settings.payload_indexes.items()
        return {tuple(name.split(".")): DeclaredField(f"f{at}", kind) for at, (name, kind) in enumerate(fields)}

    # --- statements on points; a condition's parameters come after those of the statement ---

    def counting(self, where: str) -> str:
        """How many points there are."""
        return f"select count(*) from {self.table} where {where}"

    def search(self, where: str, *, with_payload: bool, with_vectors: bool) -> str:
        """The nearest points, none if the collection was deleted; parameters are query vector, limit and number."""
        shown = _shown(with_payload=with_payload, with_vectors=with_vectors)
        there = f"(select name is not null from {self.catalogue} where number = $3::bigint)"
        distance = f"vec {self.operator} $1 as distance from {self.table} where {there} and {where}"
        # What is shown is computed outside, for the points that were found. Carrying it through the sort of a few
        # points is cheaper than fetching it afterwards; that is the other way round where all points are sorted.
        if where == "true":
            nearest, source = f"select id, {distance}", f"join {self.table} using (id)"
        else:
            carried = "id" + ", doc, raw" * with_payload + ", vec, given" * with_vectors
            nearest, source = f"select {carried}, {distance}", ""
        return (
            f"select {shown}, distance from ({nearest} order by distance limit $2::bigint) as nearest {source}"
            " order by distance"
        )

    def selection(self, where: str, *, with_payload: bool, with_vectors: bool) -> str:
        """The points of a condition."""
        shown = _shown(with_payload=with_payload, with_vectors=with_vectors)
        return f"select {shown} from {self.table} where {where}"

    @property
    def existence(self) -> str:
        """Whether there is any of these points; the parameter is a list of codes of ids."""
        return f"select exists (select from {self.table} where id = any($1::text[])) as found"

    # Writers of the same points lock them in the order of their ids: so one waits for the other, and never both.

    @property
    def locking(self) -> str:
        """Lock these points; the parameter is a list of codes of ids."""
        return f"select from {self.table} where id = any($1::text[]) order by id for no key update"

    def deletion(self, where: str) -> str:
        """Delete the points of a condition."""
        return (
            f"with doomed as (select id from {self.table} where {where} order by id for update)"
            f" delete from {self.table} using doomed where {self.table_name}.id = doomed.id"
        )

    @property
    def merge(self) -> str:
        """Insert or replace points, which come by ids; parameters are a list for each of ``COLUMNS``."""
        columns = ", ".join(COLUMNS)
        replaced = ", ".join(f"{column} = excluded.{column}" for column in COLUMNS[1:])
        return (
            f"insert into {self.table} ({columns}) select * from unnest"
            "($1::text[], $2::vector[], $3::vector[], $4::jsonb[], $5::text[], $6::jsonb[])"
            f" on conflict (id) do update set {replaced}"
        )

    def creation(self) -> Iterator[str]:
        """The statements that create the table and its indexes."""
        table, dimension = self.table, self.settings.dimension
        generated = "".join(f", {column}" for column in self._generated_columns())
        # Vectors are read in full by each search: they stay in the row where a page can hold it, and a payload is
        # moved out of the row only where it is larger than a couple of kilobytes.
        in_row = 4 * dimension + 32 * len(self.declared) + 256 <= _ROW
        target = min(_ROW, 4 * dimension + 2_048)
        yield (
            f'create table {table} (id text collate "C" primary key, vec vector({dimension}) not null,'
            f" given vector({dimension}), doc jsonb not null, raw text, ts jsonb{generated})"
            f" with (toast_tuple_target = {target})"
        )
        yield f"alter table {table} alter column vec set storage {'plain' if in_row else 'external'}"
        yield f"create index on {table} using gin (doc jsonb_path_ops) with (gin_pending_list_limit = {_PENDING})"
        for one in self.declared.values():
            yield f"create index on {table} ({one.column})"

    def _generated_columns(self) -> Iterator[str]:
        for path, one in self.declared.items():
            kind = 'text collate "C"' if one.type == "text" else one.type
            yield f"{one.column} {kind} generated always as ({column_of(path, one)}) stored"


def _shown(*, with_payload: bool, with_vectors: bool) -> str:
    payload = "coalesce(raw, doc::text)" if with_payload else "null::text"
    vector = "coalesce(given, vec)::real[]" if with_vectors else "null::real[]"
    return f"id, {payload} as payload, {vector} as vector"


@dataclass(frozen=True)
class Schema:
    """The schema of a backend's tables, and the statements on its catalogue."""

    name: str

    @property
    def catalogue(self) -> str:
        """The catalogue's name, qualified."""
        return f'"{self.name}".codeweaver_collections'

    def table(self, number: int) -> str:
        """The name of a collection's table."""
        return f"codeweaver_points_{number}"

    @property
    def preparation(self) -> tuple[str, ...]:
        """What makes a database ready. The lock is for those who do it at the same time."""
        return (
            "select pg_advisory_xact_lock(hashtext('codeweaver-pgvector'))",
            "create extension if not exists vector",
            f'create schema if not exists "{self.name}"',
            f'create table if not exists {self.catalogue} (name text collate "C" unique,'
            " number bigint generated always as identity primary key, dimension integer not null,"
            " metric text not null, payload_indexes text not null)",
        )

    @property
    def insertion(self) -> str:
        """A new row (see ``row``); gives its number, or nothing if the name is taken."""
        return (
            f"insert into {self.catalogue} (name, dimension, metric, payload_indexes) values ($1, $2, $3, $4)"
            " on conflict (name) do nothing returning number"
        )

    def selection(self, *, lock: bool) -> str:
        """The row of a name; locked, it cannot be deleted before the transaction ends."""
        return (
            f"select number, dimension, metric, payload_indexes from {self.catalogue} where name = $1"
            + " for key share" * lock
        )

    @property
    def names(self) -> str:
        """The names of all collections."""
        return f"select name from {self.catalogue} where name is not null order by name"

    @property
    def removed(self) -> str:
        """The numbers of deleted collections whose tables are still there."""
        return f"select number from {self.catalogue} where name is null"

    def disposal(self, number: int) -> str:
        """Drop the table of a deleted collection, unless someone is still using it for more than a moment."""
        return (
            f'set local lock_timeout = 100; drop table if exists "{self.name}".{self.table(number)};'
            f" delete from {self.catalogue} where number = {number}"
        )

    @property
    def removal(self) -> str:
        """Take the name out of its row."""
        return f"update {self.catalogue} set name = null where name = $1 returning number"

    def row(self, settings: CollectionSettings) -> tuple[object, ...]:
        """The parameters of ``insertion``."""
        indexes = orjson.dumps(list(settings.payload_indexes.items())).decode()
        return settings.name, settings.dimension, settings.metric.value, indexes

    def collection(self, settings: CollectionSettings, number: int) -> Collection:
        """The collection of these settings and this number."""
        return Collection(settings, number, self.name, self.catalogue, self.table(number))

    def read(self, name: str, row: Any) -> Collection:
        """The collection of a row of the catalogue."""
        indexes = dict(orjson.loads(row["payload_indexes"]))
        settings = CollectionSettings(name, row["dimension"], DistanceMetric(row["metric"]), indexes)
        return self.collection(settings, row["number"])
