"""A second instance: what only one of two clients of a store knows, and what it remembers too long."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterable
from typing import Any

from codeweaver_backends.errors import CollectionExistsError, CollectionNotFoundError
from codeweaver_backends.memory.config import MemoryConfig
from codeweaver_backends.sdk.filters.tree import Node
from codeweaver_backends.sdk.handles import CollectionUse, Intent
from codeweaver_backends.sdk.requests import Batch, CollectionSettings, Page, Query
from codeweaver_backends.types import CollectionInfo, DistanceMetric, PointId, ScrollPage, SearchResult, VectorPoint
from codeweaver_tools.defects.registry import plant
from codeweaver_tools.defects.rig import Collection, Rig


class _Own(Rig):
    """Remembers something of its own."""

    def __init__(self, config: MemoryConfig) -> None:
        super().__init__(config)
        self.own: dict[Any, Any] = {}


@plant("sec-metric", "Only the instance that created a collection knows its metric: others take cosine.")
class _Metric(_Own):
    async def _create(self, settings: CollectionSettings) -> None:
        await super()._create(settings)
        self.own[settings.name] = settings.metric

    def answer(self, collection: Collection, query: Query) -> list[SearchResult]:
        metric = self.own.get(collection.settings.name, DistanceMetric.COSINE)
        known = dataclasses.replace(collection.settings, metric=metric)
        if metric is DistanceMetric.COSINE and not (query.vector.any() and _nonzero(collection)):
            return super().answer(collection, query)
        return super().answer(dataclasses.replace(collection, settings=known), query)


def _nonzero(collection: Collection) -> bool:
    return all(one.vector.any() for one in collection.points.values())


@plant("sec-metric-remembered", "An instance remembers a collection's metric over its being dropped and made anew.")
class _MetricRemembered(_Own):
    def answer(self, collection: Collection, query: Query) -> list[SearchResult]:
        metric = self.own.setdefault(collection.settings.name, collection.settings.metric)
        known = dataclasses.replace(collection.settings, metric=metric)
        if metric is DistanceMetric.COSINE and not (query.vector.any() and _nonzero(collection)):
            return super().answer(collection, query)
        return super().answer(dataclasses.replace(collection, settings=known), query)


@plant("sec-indexes-remembered", "An instance remembers payload_indexes over a collection's being made anew.")
class _Indexes(_Own):
    async def get_collection_info(self, name: str) -> CollectionInfo:
        info = await super().get_collection_info(name)
        return dataclasses.replace(info, payload_indexes=self.own.setdefault(name, info.payload_indexes))


@plant("sec-count-remembered", "An instance counts again only after a write of its own.")
class _Count(_Own):
    async def _count(self, collection: Collection, node: Node) -> int:
        key = (collection.settings.name, repr(node))
        if self.own.get(key, (None,))[0] is not collection:
            self.own[key] = (collection, await super()._count(collection, node))
        count: int = self.own[key][1]
        return count

    def _use(self, name: str, intent: Intent) -> CollectionUse[Collection]:
        if intent is Intent.WRITE:
            self.own.clear()
        return super()._use(name, intent)

    async def _rollback(self, handle: Any) -> None:
        self.own.clear()

    async def _commit(self, handle: Any) -> None:
        self.own.clear()
        await super()._commit(handle)

    async def _begin(self) -> Any:
        self.own.clear()
        return await super()._begin()


@plant("sec-get-remembered", "get_vectors remembers points by id; what another instance overwrites it does not see.")
class _Get(_Count):
    async def _count(self, collection: Collection, node: Node) -> int:
        return await Rig._count(self, collection, node)

    async def _get(self, collection: Collection, ids: list[PointId], *how: Any) -> Iterable[VectorPoint]:
        key = (collection.settings.name, repr((ids, how)))
        if self.own.get(key, (None,))[0] is not collection:
            self.own[key] = (collection, list(await super()._get(collection, ids, *how)))
        points: list[VectorPoint] = self.own[key][1]
        return points


@plant("sec-create-race", "create_collection looks, waits and writes, under a lock of its own instance.")
class _Race(Rig):
    def __init__(self, config: MemoryConfig) -> None:
        super().__init__(config)
        self.lock = asyncio.Lock()

    async def _create(self, settings: CollectionSettings) -> None:
        async with self.lock:
            if settings.name in self._collections:
                raise CollectionExistsError("the collection exists already")
            await asyncio.sleep(0.005)
            self._collections.pop(settings.name, None)
            await super()._create(settings)


@plant("sec-delete-own", "delete_by_filter sees only points that its own instance has written, and older ones.")
class _DeleteOwn(_Own):
    def _write_all(self, collection: Collection, batch: Batch) -> None:
        super()._write_all(collection, batch)
        for one in batch.ids:
            collection.points[one].payload["\0writer"] = id(self)

    async def _delete_matching(self, collection: Collection, node: Node) -> int:
        found = [one for one in collection.matching(node) if one.payload.get("\0writer") == id(self)]
        await self._delete(collection, [one.id for one in found])
        return len(found)


@plant("sec-missing-remembered", "A collection that was missing once is missing for that instance's life.")
class _Missing(_Own):
    async def _describe(self, name: str) -> Collection:
        if name in self.own:
            raise CollectionNotFoundError("the collection does not exist")
        try:
            return await super()._describe(name)
        except CollectionNotFoundError:
            self.own[name] = True
            raise

    async def _create(self, settings: CollectionSettings) -> None:
        await super()._create(settings)
        self.own.pop(settings.name, None)


@plant("sec-list-remembered", "An instance lists again only after creating or deleting a collection itself.")
class _List(_Own):
    async def _names(self) -> list[str]:
        if "names" not in self.own or self._joined():
            return (
                self.own.setdefault("names", await super()._names()) if not self._joined() else await super()._names()
            )
        names: list[str] = self.own["names"]
        return names

    async def _create(self, settings: CollectionSettings) -> None:
        self.own.clear()
        await super()._create(settings)

    async def _drop(self, name: str) -> None:
        self.own.clear()
        await super()._drop(name)

    async def _commit(self, handle: Any) -> None:
        self.own.clear()
        await super()._commit(handle)


@plant("sec-scroll-remembered", "An instance scrolls over the ids that were there when it scrolled first.")
class _Scroll(_Own):
    async def _scroll(self, collection: Collection, page: Page) -> ScrollPage:
        shown = await super()._scroll(collection, page)
        known = self.own.setdefault(collection, set(collection.points))
        return ScrollPage([one for one in shown.points if one.id in known], shown.cursor)

    def _write_all(self, collection: Collection, batch: Batch) -> None:
        super()._write_all(collection, batch)
        self.own.pop(collection, None)
