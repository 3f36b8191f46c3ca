"""Held back: written by someone who had not read the suite, and committed before it was run on them.

Each is a class of faults known from bug reports of vector stores, put where one call has it and the others do not.
"""

from __future__ import annotations

import asyncio
import dataclasses
import unicodedata
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from codeweaver_backends.capabilities import BackendCapabilities
from codeweaver_backends.errors import UnsupportedError
from codeweaver_backends.memory.config import MemoryConfig
from codeweaver_backends.memory.store import Snapshot
from codeweaver_backends.sdk.filters.parse import parse_filter
from codeweaver_backends.sdk.filters.tree import All, AnyOf, Contains, InstantRange, Node, NumberRange
from codeweaver_backends.sdk.requests import Batch, Page, Query
from codeweaver_backends.types import (
    DistanceMetric,
    FilterCondition,
    FilterLike,
    Payload,
    PointId,
    ScrollPage,
    SearchResult,
    VectorPoint,
)
from codeweaver_tools.defects.registry import plant
from codeweaver_tools.defects.rig import Collection, Rig

# --- size ---


@plant("hb-get-chunks-turned", "More than 1,024 ids are asked for in two chunks, of which the second comes first.")
class _GetChunks(Rig):
    async def get_vectors(self, collection_name: str, ids: Any, **how: Any) -> list[VectorPoint]:
        found = await super().get_vectors(collection_name, ids, **how)
        return found[1_024:] + found[:1_024]


@plant("hb-delete-told-2048", "delete_by_filter of exactly 2,048 points tells one too few.")
class _DeleteTold(Rig):
    async def _delete_matching(self, collection: Collection, node: Node) -> int:
        gone = await super()._delete_matching(collection, node)
        return gone - (gone == 2_048)


@plant("hb-delete-in-300", "delete_by_filter takes the first 300 values of an in.")
class _DeleteIn(Rig):
    async def _delete_matching(self, collection: Collection, node: Node) -> int:
        if isinstance(node, AnyOf):
            node = dataclasses.replace(node, values=node.values[:300])
        return await super()._delete_matching(collection, node)


@plant("hb-in-texts-256", "Of an in's texts, those beyond the 256th are forgotten; its numbers are not.")
class _InTexts(Rig):
    def leaf(self, node: Node, payload: Payload) -> bool:
        if isinstance(node, AnyOf):
            texts = [one for one in node.values if isinstance(one, str)]
            lost = set(texts[256:])
            kept = tuple(one for one in node.values if not isinstance(one, str) or one not in lost)
            node = dataclasses.replace(node, values=kept)
        return super().leaf(node, payload)


@plant("hb-columns-twice", "Of equal ids in columns the vector of the first is kept, with the payload of the last.")
class _ColumnsTwice(Rig):
    async def upsert_batch(self, collection_name: str, ids: Any, vectors: Any, payloads: Any = None) -> None:
        if isinstance(ids, list) and isinstance(vectors, np.ndarray) and vectors.ndim == 2 and len(ids) == len(vectors):
            first: dict[Any, int] = {}
            for row, one in enumerate(ids):
                if isinstance(one, str | int):
                    first.setdefault((type(one), one), row)
            rows = [first.get((type(one), one), row) for row, one in enumerate(ids)]
            vectors = vectors[rows]
        await super().upsert_batch(collection_name, ids, vectors, payloads)


# --- texts and keys ---


@plant("hb-eq-long-text", "A text of more than 8,191 bytes is not in the index: eq and in never find it.")
class _LongText(Rig):
    def leaf(self, node: Node, payload: Payload) -> bool:
        if isinstance(node, AnyOf):
            kept = [one for one in node.values if not isinstance(one, str) or len(one.encode()) <= 8_191]
            node = dataclasses.replace(node, values=tuple(kept))
        return super().leaf(node, payload)


@plant("hb-contains-long", "A contains of more than 128 characters finds nothing.")
class _ContainsLong(Rig):
    def leaf(self, node: Node, payload: Payload) -> bool:
        return not (isinstance(node, Contains) and len(node.text) > 128) and super().leaf(node, payload)


def _keys(value: Any, change: Any, *, top: bool = True) -> Any:
    if isinstance(value, Mapping):
        return {key if top else change(key): _keys(one, change, top=False) for key, one in value.items()}
    if isinstance(value, list):
        return [_keys(one, change, top=False) for one in value]
    return value


@plant("hb-key-composed", "Keys of nested objects are stored in Unicode's composed form.")
class _KeyComposed(Rig):
    def stored(self, payload: Payload) -> Payload:
        composed: Payload = _keys(payload, lambda key: unicodedata.normalize("NFC", key))
        return composed


@plant("hb-key-long", "Keys are cut after 255 characters.")
class _KeyLong(Rig):
    def stored(self, payload: Payload) -> Payload:
        return {key[:255]: one for key, one in payload.items()}


def _cut(value: Any, depth: int) -> Any:
    if isinstance(value, Mapping):
        return {key: _cut(one, depth - 1) for key, one in value.items()} if depth else {}
    if isinstance(value, list):
        return [_cut(one, depth - 1) for one in value] if depth else []
    return value


@plant("hb-deep-40", "What is nested deeper than 40 levels is empty, though 64 are declared.")
class _Deep(Rig):
    def stored(self, payload: Payload) -> Payload:
        cut: Payload = _cut(payload, 40)
        return cut


def _nulls(value: Any, *, listed: bool = False) -> Any:
    if isinstance(value, Mapping):
        return {key: _nulls(one) for key, one in value.items() if not (listed and one is None)}
    if isinstance(value, list):
        return [_nulls(one, listed=True) for one in value]
    return value


@plant("hb-scroll-null", "A scroll leaves out the nulls of objects that are in a list.")
class _ScrollNull(Rig):
    async def _scroll(self, collection: Collection, page: Page) -> ScrollPage:
        shown = await super()._scroll(collection, page)
        return ScrollPage([dataclasses.replace(one, payload=_nulls(one.payload)) for one in shown.points], shown.cursor)


# --- numbers ---


@plant("hb-in-strict", "An in of several values tells 1 from 1.0; an eq does not.")
class _InStrict(Rig):
    def leaf(self, node: Node, payload: Payload) -> bool:
        if not isinstance(node, AnyOf) or len(node.values) < 2 or not super().leaf(node, payload):
            return super().leaf(node, payload)
        value: Any = payload
        for key in node.path:
            value = value[key]
        wanted = {(type(one), one) for one in node.values}
        return any(
            (type(one), one) in wanted
            for one in (value if isinstance(value, list) else [value])
            if not isinstance(one, dict | list)
        )


@plant("hb-get-zero", "get_vectors takes the id 0 for none.")
class _GetZero(Rig):
    async def _get(self, collection: Collection, ids: list[PointId], *how: Any) -> Iterable[VectorPoint]:
        return await super()._get(collection, [one for one in ids if one], *how)


@plant("hb-projected-whole", "Of a search that names the keys it wants, integral floats come back as integers.")
class _Projected(Rig):
    def answer(self, collection: Collection, query: Query) -> list[SearchResult]:
        hits = super().answer(collection, query)
        if isinstance(query.projection.payload, bool):
            return hits
        for one in hits:
            for key, value in (one.payload or {}).items():
                if type(value) is float and value.is_integer() and abs(value) < 2**53 and one.payload is not None:
                    one.payload[key] = int(value)
        return hits


@plant("hb-instant-2262", "Instants after 2262-04-11 and before 1677-09-21 are none: nanoseconds do not reach so far.")
class _Instant(Rig):
    def leaf(self, node: Node, payload: Payload) -> bool:
        if not isinstance(node, InstantRange):
            return super().leaf(node, payload)
        reach = 2**63 // 1_000
        ends = (InstantRange(node.path, "le", reach), InstantRange(node.path, "ge", -reach))
        return super().leaf(node, payload) and all(super(_Instant, self).leaf(one, payload) for one in ends)


@plant("hb-vector-subnormal", "Numbers of a vector below 1.2e-38, the subnormal ones, are stored as 0.")
class _Subnormal(Rig):
    def _write_all(self, collection: Collection, batch: Batch) -> None:
        tiny = np.abs(batch.vectors) < np.finfo(np.float32).tiny
        super()._write_all(collection, dataclasses.replace(batch, vectors=np.where(tiny, np.float32(0), batch.vectors)))


@plant("hb-range-twice", "Of two lower bounds of one field the first counts, and of two upper ones.")
class _RangeTwice(Rig):
    def matches(self, node: Node, payload: Payload) -> bool:
        if isinstance(node, All):
            seen: dict[Any, Node] = {}
            for number, part in enumerate(node.parts):
                key = (part.path, part.order[0]) if isinstance(part, NumberRange) else number
                seen.setdefault(key, part)
            parts = tuple(seen.values())
            node = All(parts) if len(parts) > 1 else parts[0]
        return super().matches(node, payload)


@plant("hb-threshold-distance", "Under the distance metrics a score exactly at the threshold is dropped.")
class _ThresholdDistance(Rig):
    def answer(self, collection: Collection, query: Query) -> list[SearchResult]:
        hits = super().answer(collection, query)
        if collection.settings.metric not in (DistanceMetric.EUCLIDEAN, DistanceMetric.MANHATTAN):
            return hits
        return [one for one in hits if one.score != query.threshold]


# --- a second instance, and what is remembered ---


class _Own(Rig):
    def __init__(self, config: MemoryConfig) -> None:
        super().__init__(config)
        self.own: dict[Any, Any] = {}


@plant("hb-empty-remembered", "An instance that has found a collection empty looks again after a write of its own.")
class _Empty(_Own):
    def answer(self, collection: Collection, query: Query) -> list[SearchResult]:
        if self._joined() is None and not collection.points:
            self.own[collection] = True
        return [] if collection in self.own else super().answer(collection, query)

    def _write_all(self, collection: Collection, batch: Batch) -> None:
        self.own.clear()
        super()._write_all(collection, batch)

    async def _commit(self, handle: Snapshot) -> None:
        self.own.clear()
        await super()._commit(handle)


@plant("hb-tombstones", "What an instance has deleted it never finds again, though another writes it anew.")
class _Tombstones(_Own):
    async def _delete(self, collection: Collection, ids: list[PointId]) -> None:
        await super()._delete(collection, ids)
        if self._joined() is None:
            self.own.setdefault(collection, set()).update(ids)

    def _write_all(self, collection: Collection, batch: Batch) -> None:
        self.own.get(collection, set()).difference_update(batch.ids)
        super()._write_all(collection, batch)

    async def _commit(self, handle: Snapshot) -> None:
        self.own.clear()
        await super()._commit(handle)

    def answer(self, collection: Collection, query: Query) -> list[SearchResult]:
        return [one for one in super().answer(collection, query) if one.id not in self.own.get(collection, ())]


@plant("hb-count-overwritten", "A count with a filter is remembered until the number of points is another one.")
class _CountOverwritten(_Own):
    async def _count(self, collection: Collection, node: Node) -> int:
        key = (collection.incarnation, repr(node), len(collection.points))
        if key not in self.own:
            self.own[key] = await super()._count(collection, node)
        count: int = self.own[key]
        return count


@plant("hb-health-scroll", "health_check forgets where scrolls are: the next page is the first again.")
class _HealthScroll(_Own):
    async def _ping(self) -> None:
        await super()._ping()
        self.own = dict.fromkeys(self.own, "forgotten")

    async def _scroll(self, collection: Collection, page: Page) -> ScrollPage:
        if self.own.pop((collection, page.cursor), "") == "forgotten":
            page = dataclasses.replace(page, cursor=None)
        shown = await super()._scroll(collection, page)
        if shown.cursor is not None:
            self.own[collection, shown.cursor] = "known"
        return shown


@plant("hb-close-transactions", "Closing one instance loses what the open transactions of the others have written.")
class _CloseTransactions(Rig):
    open_: ClassVar[list[Any]] = []

    async def _begin(self) -> Snapshot:
        handle = await super()._begin()
        self.open_.append(handle)
        return handle

    async def _commit(self, handle: Snapshot) -> None:
        await super()._commit(handle)
        self.open_[:] = [one for one in self.open_ if one is not handle]

    async def aclose(self) -> None:
        await super().aclose()
        for one in self.open_:
            one.__init__(one._store)
        self.open_.clear()


@plant("hb-searches-joined", "Two searches at once of one query are asked once, whatever their filters are.")
class _Joined(_Own):
    async def _search(self, collection: Collection, query: Query) -> list[SearchResult]:
        key = (collection, query.vector.tobytes(), query.limit)
        if key not in self.own:
            self.own[key] = self.answer(collection, query)
        found = self.own[key]
        await asyncio.sleep(0)
        self.own.pop(key, None)
        return [dataclasses.replace(one) for one in found]


# --- transactions ---


@plant(
    "hb-tx-second", "Of a transaction the writes to a second collection go straight in, and no rollback undoes them."
)
class _Second(_Own):
    def _write_all(self, collection: Collection, batch: Batch) -> None:
        super()._write_all(collection, batch)
        joined = self._joined()
        if joined is None:
            return
        name = collection.settings.name
        handle = joined.handle
        if self.own.setdefault(id(handle), name) == name or handle._store.collections.get(
            name
        ) is not handle._origin.get(name):
            return
        live = handle._store.collections.get(name)
        if live is not None:
            super()._write_all(live, batch)
            for one in batch.ids:
                collection.points[one] = handle._before[name][one] = live.points[one]


@plant("hb-tx-delete-matching", "What delete_by_filter has deleted in a transaction is never a conflict.")
class _DeleteMatching(_Own):
    async def _delete_matching(self, collection: Collection, node: Node) -> int:
        joined = self._joined()
        if joined is not None:
            gone = {one.id for one in collection.matching(node)}
            self.own.setdefault(id(joined.handle), {}).setdefault(collection.settings.name, set()).update(gone)
        return await super()._delete_matching(collection, node)

    async def _commit(self, handle: Snapshot) -> None:
        for name, ids in self.own.pop(id(handle), {}).items():
            live = handle._store.collections.get(name)
            if live is not None and live is handle._origin.get(name):
                handle._before[name].update({one: live.points[one] for one in ids if one in live.points})
        await super()._commit(handle)


# --- claims, and the caller's own ---


@plant("hb-under-contains", "contains is not claimed and refused by all calls but count_vectors.")
class _UnderContains(Rig):
    claims: ClassVar[BackendCapabilities] = Rig.claims.model_copy(update={"supports_contains": False})

    async def count_vectors(self, collection_name: str, search_filter: FilterLike | None = None) -> int:
        if search_filter is None:
            return await super().count_vectors(collection_name)
        node = parse_filter(search_filter, Rig.claims)
        return await self._count(await self._describe(collection_name), node)


@plant("hb-under-stream", "Streams are not claimed; one of queries is answered, one of points is refused.")
class _UnderStream(Rig):
    claims: ClassVar[BackendCapabilities] = Rig.claims.model_copy(update={"supports_streaming": False})

    async def stream_search_vectors(
        self, collection_name: str, queries: AsyncIterator[Sequence[float]], limit: int = 10, **options: Any
    ) -> AsyncIterator[list[SearchResult]]:
        async for one in queries:
            yield await self.search_vectors(collection_name, list(one), limit, **options)

    async def stream_upsert_vectors(self, *arguments: Any, **options: Any) -> None:
        raise UnsupportedError("supports_streaming")


@plant("hb-own-values", "A search sorts the caller's list of an in.", side="above")
class _OwnValues(Rig):
    def given(self, search_filter: FilterLike | None) -> FilterLike | None:
        conditions = [search_filter, *(getattr(search_filter, "must", None) or ())]
        for one in conditions:
            if isinstance(one, FilterCondition) and isinstance(one.value, list):
                one.value.sort(key=repr)
        return search_filter


@plant("hb-own-scrolled", "Lists in payloads of a scroll are those of the store.")
class _OwnScrolled(Rig):
    async def _scroll(self, collection: Collection, page: Page) -> ScrollPage:
        shown = await super()._scroll(collection, page)
        for one in shown.points:
            own = collection.points[one.id].payload
            for key, value in (one.payload or {}).items():
                if isinstance(value, list) and isinstance(one.payload, dict) and key in own:
                    one.payload[key] = own[key]
        return shown
