"""The engine's calls: collections as tables, what is asked of them.

A table is named ``cw_<name>.<incarnation>``: a collection that is created again is another table. So a handle on the
old one fails, whoever dropped it, instead of believing old settings or writing into what was deleted.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from codeweaver_backends.errors import CollectionExistsError, CollectionNotFoundError, UnsupportedError
from codeweaver_backends.metrics import scores
from codeweaver_backends.sdk.calls import retried
from codeweaver_backends.sdk.filters.tree import Node
from codeweaver_backends.sdk.forks import use_without_forks
from codeweaver_backends.sdk.hybrid.fusion import NO_LEG, Leg
from codeweaver_backends.sdk.hybrid.vectors import SparseRows
from codeweaver_backends.sdk.index.codes import encode_id
from codeweaver_backends.sdk.names import decode_name, encode_name
from codeweaver_backends.sdk.plan import Way, answered
from codeweaver_backends.sdk.requests import Batch, CollectionSettings, Page, Projection, Query, Slot, SparseQuery
from codeweaver_backends.sdk.vectors import power_scaled
from codeweaver_backends.types import DistanceMetric, PointId
from codeweaver_lancedb.cut import ALL_PARTS, Cut
from codeweaver_lancedb.dialect import literal, narrowing, to_sql
from codeweaver_lancedb.errors import is_conflict, is_missing
from codeweaver_lancedb.known import KnownIds
from codeweaver_lancedb.schema import DISTANCE_TYPES, WORD_TYPES, columns_of, reader_of, schema_of, settings_of
from codeweaver_lancedb.slots import DEFINED_BY, SLOT_FIELDS, SlotReader, definition_of, slot_reader
from codeweaver_lancedb.turns import Turns

if TYPE_CHECKING:
    from lancedb import AsyncConnection
    from lancedb.index import BTree, LabelList
    from lancedb.table import AsyncTable

__all__ = ["Collection", "Database"]

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
_KNOWN_LIMIT: Final = 4_000_000
"""Ids that are remembered of a table, in 32 MB."""


class Collection:
    """An open table, and what this process knows of it. ``alone``: writers of every process take turns."""

    def __init__(
        self,
        settings: CollectionSettings,
        incarnation: str,
        table: AsyncTable,
        schema: pa.Schema,
        *,
        alone: bool,
        exact_size: int,
    ) -> None:
        self.settings = settings
        self.cut = Cut(settings, table, exact_size)
        self.incarnation = incarnation
        self.table = table
        self._slots = SlotReader(table)
        self._schema = schema
        self._alone = alone
        self._version = -1
        self._known: KnownIds | None = None
        self._fragments: int | None = None
        self._unindexed = 0
        self._narrow: dict[str, tuple[float, bool]] = {}
        self.upkeep: asyncio.Task[None] | None = None

    # --- reading ---

    async def count(self, node: Node) -> int:
        """How many rows match."""
        count: int = await self.table.count_rows(await self._where(node))
        return count

    async def nearest(self, query: Query) -> pa.Table:
        """The best rows with their ``_distance``, best first."""
        metric = self.settings.metric
        vector = power_scaled(query.vector)[0] if metric is DistanceMetric.COSINE else query.vector
        columns = columns_of(self.settings, query.projection)
        # Without its metric a query is answered by squared euclidean distance, whatever the table is for.
        search = self.table.query().nearest_to(vector).distance_type(DISTANCE_TYPES[metric])
        where = await self._where(query.filter)
        if where is not None:
            search = search.where(where)
        search = search.limit(query.limit).select([*columns, "_distance"])
        way, parts, size = await self.cut.way(query)

        async def ask(way: Way) -> pa.Table:
            return await search.nprobes(parts if way is Way.INDEXED else ALL_PARTS).to_arrow()

        found = await answered(way, query, size, ask)
        if metric is DistanceMetric.DOT_PRODUCT and not np.isfinite(found["_distance"].to_numpy()).all():
            return await self._nearest_in_doubles(query, where)
        return found

    async def _nearest_in_doubles(self, query: Query, where: str | None) -> pa.Table:
        """The answer worked out here: vectors so long that their product is beyond the engine's float32."""
        scan = self.table.query().select(columns_of(self.settings, Projection(query.projection.payload, vectors=True)))
        rows = await (scan if where is None else scan.where(where)).to_arrow()
        matrix = rows["vector"].combine_chunks().flatten().to_numpy().reshape(-1, self.settings.dimension)
        score = await asyncio.to_thread(scores, self.settings.metric, query.vector, matrix)
        best = np.argsort(-score, kind="stable")[: query.limit]
        return rows.take(pa.array(best)).append_column("_distance", pa.array(1.0 - score[best]))

    async def page(self, page: Page, after: PointId | None) -> pa.Table:
        """The rows of a page, in the order of their keys, and one more if there is one."""
        from lancedb.query import ColumnOrdering

        query = self.table.query().select(await self._columns(page.projection))
        where = await self._where(page.filter)
        if after is not None:
            beyond = f"id > {literal(encode_id(after))}"
            where = beyond if where is None else f"({where}) AND {beyond}"
        if where is not None:
            query = query.where(where)
        return await query.order_by([ColumnOrdering(column_name="id")]).limit(page.limit + 1).to_arrow()

    async def rows(self, ids: Sequence[PointId], projection: Projection) -> pa.Table:
        """The rows of these ids, in any order."""
        return await self.table.query().where(_among(ids)).select(await self._columns(projection)).to_arrow()

    async def sharing(self, query: SparseQuery) -> Leg:
        """The best points of a slot that share a term."""
        if not await self._has_slots():
            return NO_LEG
        return await self._slots.leg(query, await self._where(query.filter))

    async def definition(self) -> bytes | None:
        """The definition of the sparse index, whoever wrote it."""
        return definition_of(await self.table.schema())

    async def _columns(self, projection: Projection) -> list[str]:
        """The columns of points."""
        columns = columns_of(self.settings, projection)
        return [*columns, Slot.SPARSE.value] if projection.vectors and await self._has_slots() else columns

    async def _has_slots(self) -> bool:
        """Whether there are columns of sparse vectors: a table of an older version may have got them meanwhile."""
        if Slot.SPARSE.value not in self._schema.names:
            self._schema = await self.table.schema()
        return Slot.SPARSE.value in self._schema.names

    async def _where(self, node: Node) -> str | None:
        """The filter as SQL, with the help of the indexes where they help; ``None`` takes every row."""
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

    async def upsert(self, batch: Batch, *, retries: int) -> None:
        """Write the points in one commit; once more where another writer, who takes no turns, won."""
        await retried(lambda: self._write(batch), retries, is_conflict)
        self._fragments = None if self._fragments is None else self._fragments + 1
        self._unindexed += len(batch)
        self.cut.note(len(batch))

    async def update(self, slot: Slot, ids: Sequence[PointId], rows: SparseRows, *, retries: int) -> None:
        """Replace a slot of the points that exist, in one commit."""
        await self._have_slots()

        async def write() -> None:
            merge = self.table.merge_insert("id").when_matched_update_all()
            self._follow((await merge.execute(slot_reader(slot, ids, rows, self._schema))).version)

        await retried(write, retries, is_conflict)
        self._fragments = None if self._fragments is None else self._fragments + 1

    async def define(self, definition: bytes) -> None:
        """Store the definition of the sparse index, for all to read."""
        await self._have_slots()
        stored = {DEFINED_BY: definition.decode()}
        result = await self.table.update_field_metadata({"path": Slot.TEXT.value, "metadata": stored})
        self._follow(result.version)

    async def _have_slots(self) -> None:
        """Have columns of sparse vectors, before anything is written: a merge keeps what it does not name."""
        if not await self._has_slots():
            await self.table.add_columns(list(SLOT_FIELDS))
            self._schema = await self.table.schema()

    async def _write(self, batch: Batch) -> None:
        await self._have_slots()
        reader = reader_of(batch, self.settings, self._schema)
        if self._alone and await self._are_new(batch.ids):
            added = await self.table.add(reader)
            self._version = added.version
        else:
            merge = self.table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
            merged = await merge.execute(reader)
            self._version = merged.version

    async def _are_new(self, ids: Sequence[PointId]) -> bool:
        """Whether none of the ids can be there: then rows are added, at half the price of a merge.

        Known are the ids of a table that was empty when first written to, as long as each version is our own.
        """
        version = await self.table.version()
        if version != self._version:
            self._version = version
            self._known = None if await self.table.count_rows() else KnownIds()
        if self._known is None:
            return False
        new = self._known.add(ids)
        if len(self._known) > _KNOWN_LIMIT:
            self._known = None
        return new

    async def delete_ids(self, ids: Sequence[PointId]) -> int:
        """Delete the rows of these ids, and tell how many there were."""
        return await self._delete(_among(ids))

    async def delete_matching(self, node: Node) -> int:
        """Delete the rows that match, and tell how many."""
        return await self._delete(await self._where(node) or "true")

    async def _delete(self, where: str) -> int:
        result = await self.table.delete(where)
        self._follow(result.version)  # ids that are gone are merged when they return
        deleted: int = result.num_deleted_rows  # type: ignore[attr-defined]
        return deleted

    def _follow(self, version: int) -> None:
        """A write that leaves the known ids as they are: the version that it made is our own, if the one before was."""
        if self._known is not None and self._version + 1 == version:
            self._version = version

    # --- upkeep, in turn ---

    @property
    def is_due(self) -> bool:
        """Whether upkeep is not under way and may have something to do."""
        if self.upkeep is not None and not self.upkeep.done():
            return False
        return self._fragments is None or self._is_time

    @property
    def _is_time(self) -> bool:
        return (self._fragments or 0) >= _FRAGMENTS or self._unindexed >= _INDEX_FROM or self.cut.is_due

    async def tend(self, *, now: bool = False) -> None:
        """Make many small fragments one, and bring the indexes up to date, when it is time, or all of it now."""
        if self._fragments is None:
            await self._survey()
        if not (now or self._is_time):
            return
        are_ours = await self.table.version() == self._version
        rows = await self.table.count_rows()
        is_scattered = (self._fragments or 0) >= _FRAGMENTS + rows // _ROWS_PER_FRAGMENT
        if is_scattered or (now and (self._fragments or 0) > 1):
            await self.table.optimize(cleanup_older_than=_KEEP)
            await self._survey()
        if self._unindexed >= max(_INDEX_FROM, rows // 4) or (now and self._unindexed):
            await self._index()
        await self.cut.build(now=now)
        if are_ours:
            self._version = await self.table.version()

    async def _survey(self) -> None:
        """See how the table is, as other processes may have left it."""
        stats: Any = await self.table.stats()
        self._fragments = stats["fragment_stats"]["num_small_fragments"]
        self._unindexed = 0
        for column, _ in self._indexed_columns()[:1]:
            index = await self.table.index_stats(f"{column}_idx")
            self._unindexed = stats["num_rows"] if index is None else index.num_unindexed_rows
        await self.cut.survey(stats["num_rows"])

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


def _among(ids: Sequence[PointId]) -> str:
    return f"id IN ({','.join(literal(encode_id(point_id)) for point_id in ids)})"


# --- the database ----------------------------------------------------------------------------------------------------

_INCARNATION: Final = "abcdefghijklmnopqrstuvwxyz0123456789"


class Database:
    """The collections of one folder or bucket."""

    def __init__(self, connection: AsyncConnection, uri: str, folder: Path | None, exact_size: int) -> None:
        self._connection = connection
        self._uri = uri
        self._exact_size = exact_size
        self._folder = folder
        self.turns = Turns(uri, folder)

    @classmethod
    async def open(cls, uri: str, folder: Path | None, options: dict[str, str], exact_size: int) -> Database:
        """Connect."""
        use_without_forks("LanceDB")
        import lancedb

        # An interval of zero: what another instance commits is seen by the next read.
        connection = await lancedb.connect_async(
            uri, read_consistency_interval=timedelta(0), storage_options=options or None
        )
        return cls(connection, uri, folder, exact_size)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()  # type: ignore[no-untyped-call]

    async def ping(self) -> None:
        """Ask for a name."""
        if self._folder is not None and not self._folder.is_dir():
            raise FileNotFoundError("the folder is gone")
        await self._connection.list_tables(limit=1)

    async def names(self) -> list[str]:
        """Every collection. Tables that were not made by this adapter are left alone."""
        codes = {table.rpartition(".")[0] for table in await self._listed()}
        return [name for name in map(decode_name, codes) if name is not None]

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

    async def describe(self, name: str) -> Collection:
        """The collection as it is now."""
        for table_name in await self._tables_of(name):
            try:
                table = await self._connection.open_table(table_name)
                schema = await table.schema()
            except (ValueError, RuntimeError) as error:
                if not is_missing(error, self._uri):
                    raise
            else:
                settings = settings_of(name, schema)
                if settings is not None:
                    return self._collection(settings, table_name, table, schema)
        raise CollectionNotFoundError("the collection does not exist")

    def _collection(
        self, settings: CollectionSettings, table_name: str, table: AsyncTable, schema: pa.Schema
    ) -> Collection:
        alone, incarnation = self._folder is not None, table_name.rpartition(".")[2]
        return Collection(settings, incarnation, table, schema, alone=alone, exact_size=self._exact_size)

    async def _tables_of(self, name: str) -> list[str]:
        code = encode_name(name)
        return sorted(table for table in await self._listed() if table.rpartition(".")[0] == code)

    async def create(self, settings: CollectionSettings) -> Collection:
        """Create an empty table. Of several who try at once, one succeeds."""
        await self._refuse_existing(settings.name)
        return await self.turns.take(settings.name, lambda: self._create(settings))

    async def _create(self, settings: CollectionSettings) -> Collection:
        await self._refuse_existing(settings.name)
        incarnation = "".join(secrets.choice(_INCARNATION) for _ in range(5))
        table_name, schema = f"{encode_name(settings.name)}.{incarnation}", schema_of(settings)
        table = await self._connection.create_table(table_name, schema=schema)
        return self._collection(settings, table_name, table, schema)

    async def _refuse_existing(self, name: str) -> None:
        with suppress(CollectionNotFoundError):
            await self.describe(name)
            raise CollectionExistsError("the collection exists already")

    async def drop(self, name: str) -> None:
        """Drop the collection's table."""
        await self.turns.take(name, lambda: self._drop(name))

    async def _drop(self, name: str) -> None:
        with suppress(UnsupportedError):  # of another layout: it can be dropped all the same
            await self.describe(name)
        for table_name in await self._tables_of(name):
            await self._connection.drop_table(table_name, ignore_missing=True)
