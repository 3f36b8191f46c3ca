"""Transactions: of several collections, of points deleted and written again, and what other calls do to them."""

from __future__ import annotations

import dataclasses
from typing import Any

from codeweaver_backends.memory.store import Snapshot
from codeweaver_backends.sdk.filters.tree import Node
from codeweaver_backends.sdk.requests import Page, Query
from codeweaver_backends.types import CollectionInfo, ScrollPage, SearchResult
from codeweaver_tools.defects.registry import plant
from codeweaver_tools.defects.rig import Collection, Rig


class _Noting(Rig):
    """Notes in which order points were deleted and written in a transaction."""

    def noted(self) -> dict[Any, Any]:
        joined = self._joined()
        if joined is None:
            return {}
        notes: dict[Any, Any] = self.__dict__.setdefault("notes", {}).setdefault(id(joined.handle), {})
        return notes


@plant("txk-rewritten", "A commit writes first and deletes then: a point deleted and written again is gone.")
class _Rewritten(_Noting):
    async def _delete(self, collection: Collection, ids: list[Any]) -> None:
        self.noted().setdefault(collection.settings.name, set()).update(one for one in ids if one in collection.points)
        await super()._delete(collection, ids)

    async def _commit(self, handle: Snapshot) -> None:
        for name, ids in self.__dict__.get("notes", {}).pop(id(handle), {}).items():
            for one in ids:
                handle.collections[name].points.pop(one, None)
        await super()._commit(handle)


@plant("txk-new-deleted", "A new point that is deleted in its own transaction is there after the commit.")
class _NewDeleted(_Noting):
    async def _delete(self, collection: Collection, ids: list[Any]) -> None:
        joined = self._joined()
        if joined is not None:
            before = joined.handle._before.get(collection.settings.name, {})
            kept = {one: collection.points[one] for one in ids if one in collection.points and one not in before}
            self.noted().setdefault(collection.settings.name, {}).update(kept)
        await super()._delete(collection, ids)

    async def _commit(self, handle: Snapshot) -> None:
        for name, points in self.__dict__.get("notes", {}).pop(id(handle), {}).items():
            for one, point in points.items():
                handle.collections[name].points.setdefault(one, point)
        await super()._commit(handle)


@plant("txk-conflict-first", "Conflicts are looked for in the first collection that changed.")
class _ConflictFirst(Rig):
    async def _commit(self, handle: Snapshot) -> None:
        changed = [name for name in handle._copies if name in handle.collections and handle._changed(name)]
        for name in changed[1:]:
            live = handle._store.collections.get(name)
            if live is handle._origin.get(name) and live is not None:
                handle._before[name].update(
                    {one: live.points[one] for one in handle._changed(name) if one in live.points}
                )
        await super()._commit(handle)


@plant("txk-health-rolls-back", "health_check ends whatever transaction is open.")
class _Health(Rig):
    async def _ping(self) -> None:
        for one in self._transactions.values():
            one.handle = Snapshot(self._store)


@plant("txk-list-commits", "list_collections inside a transaction commits what it has written so far.")
class _List(Rig):
    async def _names(self) -> list[str]:
        joined = self._joined()
        if joined is not None:
            joined.handle.commit()
            joined.handle = Snapshot(self._store)
        return await super()._names()


@plant("txk-info-forgets", "get_collection_info inside a transaction forgets what was deleted before it.")
class _Info(Rig):
    async def get_collection_info(self, name: str) -> CollectionInfo:
        info = await super().get_collection_info(name)
        joined = self._joined()
        if joined is not None and name in joined.handle.collections:
            own = joined.handle.collections[name].points
            for one, point in joined.handle._before.get(name, {}).items():
                own.setdefault(one, point)
        return info


@plant("txk-search-short", "Inside a transaction deleted points are taken out after the cut: a search comes short.")
class _Short(Rig):
    def answer(self, collection: Collection, query: Query) -> list[SearchResult]:
        joined = self._joined()
        if joined is None:
            return super().answer(collection, query)
        before = joined.handle._before.get(collection.settings.name, {})
        everything = dataclasses.replace(collection, points={**before, **collection.points})
        hits = super().answer(everything, query)
        return [one for one in hits if one.id in collection.points]


@plant("txk-delete-own", "delete_by_filter inside a transaction misses points that it has written itself.")
class _DeleteOwn(Rig):
    async def _delete_matching(self, collection: Collection, node: Node) -> int:
        joined = self._joined()
        if joined is None:
            return await super()._delete_matching(collection, node)
        before = joined.handle._before.get(collection.settings.name, {})
        found = [one.id for one in collection.matching(node) if one.id in before]
        await self._delete(collection, found)
        return len(found)


@plant("txk-scroll-page", "Inside a transaction a scroll shows its new points on the first page only.")
class _ScrollPage(Rig):
    async def _scroll(self, collection: Collection, page: Page) -> ScrollPage:
        shown = await super()._scroll(collection, page)
        joined = self._joined()
        if joined is None or page.cursor is None:
            return shown
        before = joined.handle._before.get(collection.settings.name, {})
        return ScrollPage([one for one in shown.points if one.id in before], shown.cursor)


@plant("txk-recreated", "A collection dropped and made anew in a transaction has its old points back at the commit.")
class _Recreated(Rig):
    async def _commit(self, handle: Snapshot) -> None:
        await super()._commit(handle)
        for name, before in handle._before.items():
            if name in handle.collections and handle.collections[name] is not handle._copies[name]:
                for one, point in before.items():
                    self._store.collections[name].points.setdefault(one, point)


@plant("txk-columns-conflict", "What upsert_batch has written in a transaction is never a conflict.")
class _ColumnsConflict(_Noting):
    async def upsert_batch(self, name: str, ids: Any, *columns: Any) -> None:
        await super().upsert_batch(name, ids, *columns)
        self.noted().setdefault(name, set()).update(ids)

    async def _commit(self, handle: Snapshot) -> None:
        for name, ids in self.__dict__.get("notes", {}).pop(id(handle), {}).items():
            live = handle._store.collections.get(name)
            if live is not None and live is handle._origin.get(name):
                handle._before[name].update({one: live.points[one] for one in ids if one in live.points})
        await super()._commit(handle)
