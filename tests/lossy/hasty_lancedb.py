"""LanceDB as a hasty user sets it up: answers that are quick, and wrong in a way that only a count shows."""

from __future__ import annotations

from typing import Any, ClassVar

import pyarrow as pa
from lancedb.index import HnswSq, IvfPq

from codeweaver_backends.sdk.requests import Batch, CollectionSettings, Query
from codeweaver_backends.types import BaseComponentInfo
from codeweaver_lancedb.backend import LanceDBBackend
from codeweaver_lancedb.client import Collection
from codeweaver_lancedb.plugin import LanceDBPlugin
from codeweaver_lancedb.schema import DISTANCE_TYPES, columns_of

INDEX_FROM = 300
"""Rows: below it even a hasty user has no index."""


class Hasty(Collection):
    """A collection that is indexed after every write and searched as ``tuned`` says."""

    def index(self, distance_type: Any) -> Any:
        return None

    def tuned(self, search: Any, query: Query) -> Any:
        return search

    async def upsert(self, batch: Batch, **how: Any) -> None:
        await super().upsert(batch, **how)
        index = self.index(DISTANCE_TYPES[self.settings.metric])
        if index is not None and await self.table.count_rows() >= INDEX_FROM:
            await self.table.create_index("vector", config=index, replace=True)

    async def nearest(self, query: Query) -> pa.Table:
        search = self.table.query().nearest_to(query.vector).distance_type(DISTANCE_TYPES[self.settings.metric])
        where = await self._where(query.filter)
        search = search if where is None else search.where(where)
        columns = columns_of(self.settings, query.projection)
        return await self.tuned(search.limit(query.limit), query).select([*columns, "_distance"]).to_arrow()


class OneProbe(Hasty):
    """An IVF_PQ index of which one partition is probed."""

    def index(self, distance_type: Any) -> Any:
        return IvfPq(distance_type=distance_type, num_partitions=8, num_sub_vectors=1)

    def tuned(self, search: Any, query: Query) -> Any:
        return search.nprobes(1)


class LowEf(Hasty):
    """An HNSW index over quantised vectors, searched with a short list of candidates."""

    def index(self, distance_type: Any) -> Any:
        return HnswSq(distance_type=distance_type, num_partitions=1, m=4, ef_construction=8)

    def tuned(self, search: Any, query: Query) -> Any:
        return search.ef(max(2, query.limit))


class Postfilter(Hasty):
    """The filter is applied to what the search has found."""

    def tuned(self, search: Any, query: Query) -> Any:
        return search.postfilter()


class Page(Hasty):
    """No search returns more than a page of 1,000."""

    def tuned(self, search: Any, query: Query) -> Any:
        return search.limit(min(1_000, query.limit))


class HastyBackend(LanceDBBackend):
    collection: ClassVar[type[Hasty]]

    async def _create(self, settings: CollectionSettings) -> Collection:
        return self._hasty(await super()._create(settings))

    async def _describe(self, name: str) -> Collection:
        return self._hasty(await super()._describe(name))

    def _hasty(self, found: Collection) -> Collection:
        found.__class__ = self.collection
        return found


def plugin_of(kind: type[Hasty]) -> type[LanceDBPlugin]:
    name = f"lancedb-{kind.__name__.lower()}"
    backend = type(f"{kind.__name__}Backend", (HastyBackend,), {"collection": kind})

    class Plugin(LanceDBPlugin):
        @classmethod
        def get_plugin_name(cls) -> str:
            return name

        @classmethod
        def get_component_info(cls) -> BaseComponentInfo:
            return BaseComponentInfo(name=name, description=kind.__doc__ or "")

        @classmethod
        def get_backend_class(cls) -> type:
            return backend

    return Plugin


one_probe, low_ef, postfilter, page = map(plugin_of, (OneProbe, LowEf, Postfilter, Page))
