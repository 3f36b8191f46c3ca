"""The index over the vectors: the rows in parts, each around a centre. A search reads the parts nearest to the query.

The distances are those of a scan, and rows that were written since are scanned. So a search that reads all parts is
exact, and cheaper than a scan of the table; and only which parts are read is to be decided.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any, Final

from codeweaver_backends.sdk.plan import SearchIndex, Way, plan, wants_index
from codeweaver_backends.sdk.requests import CollectionSettings, Query
from codeweaver_backends.types import DistanceMetric
from codeweaver_lancedb.schema import DISTANCE_TYPES

if TYPE_CHECKING:
    from lancedb.table import AsyncTable

__all__ = ["ALL_PARTS", "Cut"]

ALL_PARTS: Final = 100_000
"""More parts than there may be: a table without an index is scanned, whatever is said of parts."""
_ROWS: Final = 20_000
"""Rows from which on reading all parts is cheaper than a scan."""
_ROWS_PER_PART: Final = 4_096
_SHARE: Final = 0.5
"""Of the parts, those that a search reads that needs not be exact."""
_LOOKED_AT: Final = 100
"""A limit of more than one row in twice so many is answered exactly: its rows lie in too many parts."""
_PARTS_KEY: Final = "codeweaver-parts"
_NAME: Final = "vector_idx"


class Cut:
    """The index of one table."""

    def __init__(self, settings: CollectionSettings, table: AsyncTable, exact_size: int) -> None:
        self._settings = settings
        self._table = table
        self._exact_size = exact_size
        self._least = min(_ROWS, exact_size)
        self._missing = 0
        self._seen = 0

    # --- searching ---

    async def way(self, query: Query) -> tuple[Way, int, int]:
        """How a search is answered; by reading so many parts; of a table of so many rows."""
        # Under the dot product what is nearest lies in no one place: long vectors are near to every query.
        is_near = self._settings.metric is not DistanceMetric.DOT_PRODUCT
        if is_near and not query.exact and not query.is_filtered:
            parts = await self._parts()
            if parts:
                size = await self._table.count_rows()
                way = plan(size, query, SearchIndex(self._exact_size, size // _LOOKED_AT, takes_filters=False))
                return way, ceil(_SHARE * query.effort * parts), size
        return Way.EXACT, ALL_PARTS, 0

    async def _parts(self) -> int:
        """How many parts there are, or a few more; 0 where there is no index, or none that is known."""
        metadata = (await self._table.schema()).field("vector").metadata or {}
        return int(metadata.get(_PARTS_KEY.encode(), 0))

    async def rows(self) -> int:
        """How many rows the index holds."""
        stats = await self._table.index_stats(_NAME)
        return 0 if stats is None else int(stats.num_indexed_rows)

    # --- upkeep, in turn ---

    def note(self, rows: int) -> None:
        """Rows were written, which the index does not hold."""
        self._missing += rows

    @property
    def is_due(self) -> bool:
        """Whether so many rows were written that the index may have to be built."""
        return self._missing >= max(self._least, self._seen) // 4

    async def survey(self, rows: int) -> None:
        """See how many of the rows the index does not hold."""
        stats = await self._table.index_stats(_NAME)
        self._seen = rows
        self._missing = rows if stats is None else int(stats.num_unindexed_rows)

    async def build(self, *, now: bool = False) -> bool:
        """Build the index where it is time; ``now``: where a single row is missing. Tells whether it has built."""
        rows, parts = await self._table.count_rows(), await self._parts()
        if rows <= self._least or not self._is_wanted(parts, now=now):
            self._missing = 0
            return False
        await self.survey(rows)
        wanted = self._wanted_parts(rows)
        is_stale = self._missing >= max(self._least, rows) // 4 or wanted >= 2 * max(1, parts)
        if not (is_stale or (now and self._missing)):
            return False
        if wanted >= parts:  # a search that believes in more parts than there are reads more
            await self._tell(wanted)
        await self._table.create_index("vector", config=self._config(wanted), replace=True)
        if wanted < parts:
            await self._tell(wanted)
        self._missing = 0
        return True

    def _is_wanted(self, parts: int, *, now: bool) -> bool:
        """A table of before there was the option gets an index when it is asked for, and keeps it."""
        if self._settings.vector_index is None:
            return now or bool(parts)
        return wants_index(self._settings)

    def _wanted_parts(self, rows: int) -> int:
        option = self._settings.vector_index
        return min(rows, (option.numbers if option else {}).get("partitions", max(1, rows // _ROWS_PER_PART)))

    async def _tell(self, parts: int) -> None:
        await self._table.update_field_metadata({"path": "vector", "metadata": {_PARTS_KEY: str(parts)}})

    def _config(self, parts: int) -> Any:
        from lancedb.index import IvfFlat

        metric: Any = DISTANCE_TYPES[self._settings.metric]
        return IvfFlat(distance_type=metric, num_partitions=parts)
