"""Scan: pages that lose or repeat a point, counts and deletes that are off."""

from __future__ import annotations

import base64
from typing import Any, ClassVar

from codeweaver_backends.errors import InvalidInputError, InvalidOptionError
from codeweaver_backends.sdk.lifetime import operation
from codeweaver_backends.types import FilterCondition, FilterLike, ScrollPage, SearchFilter, VectorPoint
from codeweaver_tools.defects.registry import plant
from codeweaver_tools.defects.rig import Rig


@plant("scn-scroll-repeats", "A page begins with the last point of the page before.")
class _Repeats(Rig):
    async def scroll_vectors(self, collection_name: str, **how: Any) -> ScrollPage:
        page = await super().scroll_vectors(collection_name, **how)
        return ScrollPage(
            page.points, str(int(page.cursor) - 1) if page.cursor and len(page.points) > 1 else page.cursor
        )


@plant("scn-scroll-loses", "A point is lost at the edge of a page.")
class _Loses(Rig):
    async def scroll_vectors(self, collection_name: str, **how: Any) -> ScrollPage:
        page = await super().scroll_vectors(collection_name, **how)
        return ScrollPage(page.points, str(int(page.cursor) + 1) if page.cursor else None)


@plant("scn-scroll-first-page", "Scrolling ends after the first page.")
class _FirstPage(Rig):
    async def scroll_vectors(self, collection_name: str, **how: Any) -> ScrollPage:
        return ScrollPage((await super().scroll_vectors(collection_name, **how)).points)


@plant("scn-scroll-offset", "The cursor is an offset: deleting behind it makes the next page skip.")
class _Offset(Rig):
    async def scroll_vectors(
        self, collection_name: str, *, cursor: Any = None, limit: int = 256, **how: Any
    ) -> ScrollPage:
        if cursor is not None and not (isinstance(cursor, str) and cursor.isdecimal()):
            raise InvalidOptionError("cursor")
        await super().scroll_vectors(collection_name, limit=limit, **how)  # which judges the arguments
        points = (await super().scroll_vectors(collection_name, limit=100_000, **how)).points
        end = int(cursor or 0) + limit
        return ScrollPage(points[end - limit : end], str(end) if end < len(points) else None)


@plant("scn-scroll-filter-after", "The filter runs over a page, and an empty page ends the scroll.")
class _FilterAfter(Rig):
    async def scroll_vectors(
        self, collection_name: str, *, search_filter: FilterLike | None = None, **how: Any
    ) -> ScrollPage:
        await super().scroll_vectors(collection_name, search_filter=search_filter, **how)
        page = await super().scroll_vectors(collection_name, **how)
        wanted = await self.search_vectors(collection_name, [1.0, 1.0], 100_000, search_filter)  # type: ignore[arg-type]
        ids = [one.id for one in wanted]
        points = [one for one in page.points if one.id in ids]
        return ScrollPage(points, page.cursor if points else None)


@plant("scn-scroll-cursor-ignored", "A cursor of no page is read as the beginning.", side="above")
class _CursorIgnored(Rig):
    async def scroll_vectors(self, collection_name: str, *, cursor: Any = None, **how: Any) -> ScrollPage:
        known = isinstance(cursor, str) and cursor.isdecimal()
        return await super().scroll_vectors(collection_name, cursor=cursor if known else None, **how)


@plant("scn-scroll-cursor-bytes", "The cursor is no text.")
class _CursorBytes(Rig):
    async def scroll_vectors(self, collection_name: str, *, cursor: Any = None, **how: Any) -> ScrollPage:
        plain = base64.b64decode(cursor).decode() if isinstance(cursor, bytes) and len(cursor) > 1 else cursor
        page = await super().scroll_vectors(collection_name, cursor=plain, **how)
        encoded: Any = base64.b64encode(page.cursor.encode()) if page.cursor else None
        return ScrollPage(page.points, encoded)


@plant("scn-scroll-page-size", "A page holds 100 points at least.", side="above")
class _PageSize(Rig):
    async def scroll_vectors(self, collection_name: str, *, limit: int = 256, **how: Any) -> ScrollPage:
        return await super().scroll_vectors(
            collection_name, limit=max(limit, 100) if type(limit) is int and limit > 0 else limit, **how
        )


@plant("scn-scroll-empty-page", "A page size of 0 is taken for the default.", side="above")
class _EmptyPage(Rig):
    async def scroll_vectors(self, collection_name: str, *, limit: int = 256, **how: Any) -> ScrollPage:
        return await super().scroll_vectors(collection_name, limit=limit or 256, **how)


@plant("scn-scroll-payload-ignored", "A scroll returns whole payloads whatever with_payload says.", side="above")
class _ScrollPayload(Rig):
    async def scroll_vectors(self, collection_name: str, **how: Any) -> ScrollPage:
        return await super().scroll_vectors(collection_name, **{**how, "with_payload": True})


@plant("scn-scroll-vectors-ignored", "A scroll never returns vectors.", side="above")
class _ScrollVectors(Rig):
    async def scroll_vectors(self, collection_name: str, **how: Any) -> ScrollPage:
        return await super().scroll_vectors(collection_name, **{**how, "with_vectors": False})


@plant("scn-scroll-vectors-always", "A scroll returns vectors when nobody asked.", side="above")
class _ScrollVectorsAlways(Rig):
    async def scroll_vectors(self, collection_name: str, **how: Any) -> ScrollPage:
        return await super().scroll_vectors(collection_name, **{**how, "with_vectors": True})


@plant("scn-get-order", "get_vectors returns points in the order of the store.")
class _GetOrder(Rig):
    async def get_vectors(self, collection_name: str, ids: Any, **how: Any) -> list[VectorPoint]:
        points = await super().get_vectors(collection_name, ids, **how)
        return sorted(points, key=lambda one: self._collections[collection_name].points[one.id].serial)


@plant("scn-get-repeats", "An id asked for twice comes twice.", side="above")
class _GetRepeats(Rig):
    async def get_vectors(self, collection_name: str, ids: Any, **how: Any) -> list[VectorPoint]:
        points = {(type(one.id), one.id): one for one in await super().get_vectors(collection_name, ids, **how)}
        return [points[type(one), one] for one in ids if (type(one), one) in points]


@plant("scn-get-unknown", "An unknown id among those asked for raises.")
class _GetUnknown(Rig):
    async def get_vectors(self, collection_name: str, ids: Any, **how: Any) -> list[VectorPoint]:
        points = await super().get_vectors(collection_name, ids, **how)
        if isinstance(ids, list) and len(points) < len(set(ids)):
            raise InvalidInputError("an id is unknown")
        return points


@plant("scn-get-page", "get_vectors returns at most 1,000 points.")
class _GetPage(Rig):
    async def get_vectors(self, collection_name: str, ids: Any, **how: Any) -> list[VectorPoint]:
        return (await super().get_vectors(collection_name, ids, **how))[:1_000]


@plant("scn-get-malformed", "A malformed id is taken for an unknown one.", side="above")
class _GetMalformed(Rig):
    async def get_vectors(self, collection_name: str, ids: Any, **how: Any) -> list[VectorPoint]:
        known = [one for one in ids or [] if type(one) in (str, int) and one not in ("", -1)]
        return await super().get_vectors(collection_name, known, **how)


@plant("scn-get-truthy", "with_vectors of get_vectors is whatever is true, the text 'no' among it.", side="above")
class _GetTruthy(Rig):
    async def get_vectors(
        self, collection_name: str, ids: Any, *, with_vectors: Any = True, **how: Any
    ) -> list[VectorPoint]:
        return await super().get_vectors(collection_name, ids, with_vectors=bool(with_vectors), **how)


@plant("scn-scroll-truthy", "with_payload of scroll_vectors is whatever is true, a single key among it.", side="above")
class _ScrollTruthy(Rig):
    async def scroll_vectors(self, collection_name: str, *, with_payload: Any = True, **how: Any) -> ScrollPage:
        kept = with_payload if isinstance(with_payload, list) else bool(with_payload)
        return await super().scroll_vectors(collection_name, with_payload=kept, **how)


class _Counted(Rig):
    most: ClassVar[int]

    async def count_vectors(self, collection_name: str, search_filter: FilterLike | None = None) -> int:
        return min(self.most, await super().count_vectors(collection_name, search_filter))


@plant("scn-count-page", "A count ends at 1,000.")
class _CountPage(_Counted):
    most = 1_000


@plant("scn-count-filter-ignored", "A count forgets its filter.")
class _CountUnfiltered(Rig):
    @operation
    async def count_vectors(self, collection_name: str, search_filter: FilterLike | None = None) -> int:
        await super().count_vectors(collection_name, search_filter)
        return await super().count_vectors(collection_name)


@plant("scn-delete-count", "delete_by_filter says 0 whatever it deleted.")
class _DeleteCount(Rig):
    async def delete_by_filter(self, collection_name: str, search_filter: FilterLike) -> int:
        return await super().delete_by_filter(collection_name, search_filter) * 0


@plant("scn-delete-count-before", "delete_by_filter says how many points there were.")
class _DeleteCountBefore(Rig):
    async def delete_by_filter(self, collection_name: str, search_filter: FilterLike) -> int:
        before = await self.count_vectors(collection_name)
        await super().delete_by_filter(collection_name, search_filter)
        return before


@plant("scn-delete-page", "delete_by_filter deletes the first 1,000 points that match.")
class _DeletePage(Rig):
    @operation
    async def delete_by_filter(self, collection_name: str, search_filter: FilterLike) -> int:
        found = await self.scroll_vectors(collection_name, search_filter=search_filter, limit=1_000)
        await self.delete_vectors(collection_name, [one.id for one in found.points])
        return len(found.points)


@plant("scn-delete-bad-filter-all", "A filter that cannot be read deletes everything.", side="above")
class _DeleteAll(Rig):
    @operation
    async def delete_by_filter(self, collection_name: str, search_filter: FilterLike) -> int:
        try:
            return await super().delete_by_filter(collection_name, search_filter)
        except InvalidInputError:
            return await super().delete_by_filter(collection_name, SearchFilter())


@plant("scn-delete-empty-refused", "delete_by_filter with an empty filter deletes nothing.", side="above")
class _DeleteEmptyNothing(Rig):
    @operation
    async def delete_by_filter(self, collection_name: str, search_filter: FilterLike) -> int:
        if search_filter in (SearchFilter(), {}):
            return 0
        return await super().delete_by_filter(collection_name, search_filter)


@plant("scn-delete-prefix", "delete_by_filter takes an eq on text for a prefix.")
class _DeletePrefix(Rig):
    @operation
    async def delete_by_filter(self, collection_name: str, search_filter: FilterLike) -> int:
        deleted = await super().delete_by_filter(collection_name, search_filter)
        one = search_filter.must[0] if isinstance(search_filter, SearchFilter) and search_filter.must else None
        if isinstance(one, FilterCondition) and one.operator == "eq" and isinstance(one.value, str) and one.value:
            collection = self._collection(collection_name)
            for point in list(collection.points.values()):
                if str(point.payload.get(str(one.field), "")).startswith(one.value):
                    del collection.points[point.id]
        return deleted
