"""One collection: an open table, what is asked of it, and its upkeep."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]

from codeweaver_backends.metrics import scores
from codeweaver_backends.sdk.filters.tree import Always, Node
from codeweaver_backends.sdk.requests import Batch, CollectionSettings, Page, Query
from codeweaver_backends.types import DistanceMetric, PointId
from codeweaver_lancedb.convert import (
    DISTANCE_TYPES,
    WORD_TYPES,
    columns_of,
    comparable,
    encode_id,
    reader_of,
)
from codeweaver_lancedb.errors import is_conflict, is_vanished
from codeweaver_lancedb.filters import literal, narrowing, to_sql

if TYPE_CHECKING:
    from lancedb.index import BTree, LabelList
    from lancedb.table import AsyncTable

__all__ = ["Collection"]

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

_RETRY_PAUSE: Final = 0.02


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

    async def check(self) -> None:
        """Fail as any call does if the table is gone: for calls that ask the engine nothing else."""
        await self.table.version()

    # --- reading ---

    async def count(self, node: Node) -> int:
        """How many rows match."""
        count: int = await self.table.count_rows(await self._where(node))
        return count

    async def nearest(self, query: Query) -> pa.Table:
        """The best rows with their ``_distance``, best first."""
        settings = self.settings
        vector = comparable(query.vector) if settings.metric is DistanceMetric.COSINE else query.vector
        columns = columns_of(settings, query.with_payload, query.with_vectors)
        # Without its metric a query is answered by squared euclidean distance, whatever the table is for.
        search = self.table.query().nearest_to(vector).distance_type(DISTANCE_TYPES[settings.metric])
        where = await self._where(query.node)
        if where is not None:
            search = search.where(where)
        found = await search.limit(query.limit).select([*columns, "_distance"]).to_arrow()
        if settings.metric is DistanceMetric.DOT_PRODUCT and not np.isfinite(found["_distance"].to_numpy()).all():
            return await self._nearest_in_doubles(query, where)
        return found

    async def _nearest_in_doubles(self, query: Query, where: str | None) -> pa.Table:
        """The answer worked out here: vectors so long that their product is beyond the engine's float32."""
        columns = columns_of(self.settings, query.with_payload, with_vectors=True)
        scan = self.table.query().select(columns)
        rows = await (scan if where is None else scan.where(where)).to_arrow()
        matrix = rows["vector"].combine_chunks().flatten().to_numpy().reshape(-1, self.settings.dimension)
        score = await asyncio.to_thread(scores, self.settings.metric, query.vector, matrix)
        best = np.argsort(-score, kind="stable")[: query.limit]
        return rows.take(pa.array(best)).append_column("_distance", pa.array(1.0 - score[best]))

    async def page(self, page: Page, after: PointId | None) -> pa.Table:
        """The rows of a page, in the order of their keys, and one more if there is one."""
        from lancedb.query import ColumnOrdering

        query = self.table.query().select(columns_of(self.settings, page.with_payload, page.with_vectors))
        where = await self._where(page.node)
        if after is not None:
            beyond = f"id > {literal(encode_id(after))}"
            where = beyond if where is None else f"({where}) AND {beyond}"
        if where is not None:
            query = query.where(where)
        return await query.order_by([ColumnOrdering(column_name="id")]).limit(page.limit + 1).to_arrow()

    async def rows(self, ids: Sequence[PointId], columns: list[str]) -> pa.Table:
        """The rows of these ids, in any order."""
        return await self.table.query().where(_among(ids)).select(columns).to_arrow()

    async def _where(self, node: Node) -> str | None:
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
                await asyncio.sleep(_RETRY_PAUSE)
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

    async def delete_ids(self, ids: Sequence[PointId]) -> int:
        """Delete the rows of these ids, and tell how many there were."""
        return await self._delete(_among(ids))

    async def delete_matching(self, node: Node) -> int:
        """Delete the rows that match, and tell how many."""
        return await self._delete(await self._where(node) or "true")

    async def _delete(self, where: str) -> int:
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


def _among(ids: Sequence[PointId]) -> str:
    return f"id IN ({','.join(literal(encode_id(point_id)) for point_id in ids)})"
