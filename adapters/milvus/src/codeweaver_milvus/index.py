"""The index over a collection's vectors: in each of the engine's segments, its rows in partitions around centres.

A search reads the partitions nearest to its query; one that reads all of them is exact, and cheaper than the scan of a
flat index. So the index serves every search, and only how much of it is read is to be decided. A segment that still
grows has no partitions and is read wholly, unless the server gives it an interim index: that one finds what it finds,
whatever is asked of it, and a server that has it gets no index of ours.
"""

from __future__ import annotations

from math import ceil
from typing import Final

from codeweaver_backends.sdk.plan import KnownSizes, SearchIndex, Way, plan
from codeweaver_backends.sdk.requests import Query
from codeweaver_backends.types import DistanceMetric
from codeweaver_milvus.client import Client, Collection

__all__ = ["partitions_read", "way_of"]

_SHARE: Final = 0.5
"""Of the partitions, those that a search reads that need not be exact."""
_LEAST: Final = 64
"""Partitions that it reads at least: half of a few large ones, whose borders are long, leaves too much out."""
_LOOKED_AT: Final = 100
"""A limit of more than one row in twice so many is answered exactly: its rows lie in too many partitions."""


async def way_of(client: Client, sizes: KnownSizes, collection: Collection, query: Query) -> tuple[Way, int]:
    """How a search is answered, in a collection of so many points."""
    # Under the dot product what is nearest lies in no one place: long vectors are near to every query.
    is_near = collection.settings.metric is not DistanceMetric.DOT_PRODUCT
    if collection.schema.partitions is None or not is_near or query.exact or query.is_filtered:
        return Way.EXACT, 0
    size = await sizes.of(collection.incarnation, lambda: client.count(collection, ""))
    exact_size = client.traits.capabilities.limits.exact_size
    return plan(size, query, SearchIndex(exact_size, size // _LOOKED_AT, takes_filters=False)), size


def partitions_read(collection: Collection, query: Query, way: Way) -> int | None:
    """The partitions of each segment that a search reads; ``None`` where there are none."""
    there = collection.schema.partitions
    if there is None or way is Way.EXACT:
        return there
    return ceil(min(there, max(_LEAST, _SHARE * there) * query.effort))
