"""The protocol's calls, made once for every adapter: arguments are judged here, and what is left is asked of it.

A base class, not a proxy: an adapter extends ``BackendTemplate`` and writes one short method for each question. It is
never asked what has an answer already: an empty batch, no ids, a limit of 0, a filter that nothing matches.

Every call refuses in one order: what the connected backend does not claim, the name, the arguments; only then is the
collection looked up, and what depends on its settings judged.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import fields, replace
from typing import Any, ClassVar, Generic

import numpy.typing as npt

from codeweaver_backends.capabilities import BackendCapabilities
from codeweaver_backends.config import BackendConfig
from codeweaver_backends.errors import (
    BackendConnectionError,
    BackendError,
    BackendTimeoutError,
    CollectionExistsError,
    EngineError,
    RateLimitError,
    UnsupportedError,
)
from codeweaver_backends.sdk.calls import off_loop, retried
from codeweaver_backends.sdk.conveniences import Conveniences
from codeweaver_backends.sdk.filters.parse import parse_filter
from codeweaver_backends.sdk.filters.tree import Always, Never, Node
from codeweaver_backends.sdk.handles import CollectionUse, H, HandleCache, Intent, RecreatedError
from codeweaver_backends.sdk.hybrid_calls import HybridCalls
from codeweaver_backends.sdk.lifetime import operation
from codeweaver_backends.sdk.requests import Batch, CollectionSettings, HybridQuery, Page, Projection, Query
from codeweaver_backends.sdk.streaming import StreamingCalls
from codeweaver_backends.sdk.transactions import TransactionalBase
from codeweaver_backends.sdk.validate import (
    PointsDraft,
    validate_columns,
    validate_create,
    validate_ids,
    validate_name,
    validate_page,
    validate_points,
    validate_projection,
    validate_query,
)
from codeweaver_backends.types import (
    CollectionInfo,
    DistanceMetric,
    FilterLike,
    PointId,
    ScrollPage,
    SearchResult,
    VectorLike,
    VectorPoint,
)

__all__ = ["BackendTemplate"]


def _ids_of(points: Iterable[VectorPoint]) -> Iterable[PointId]:
    return [point.id for point in points]


class BackendTemplate(Conveniences, StreamingCalls, TransactionalBase[Any], HybridCalls[H], Generic[H], ABC):
    """The calls of every profile. ``H`` is an adapter's handle of a collection: ``codeweaver_backends.sdk.handles``."""

    part_points: ClassVar[int] = 1_000
    """Points of one request of a write, at most."""
    part_bytes: ClassVar[int] = 8 << 20
    """Bytes of one request of a write, about, as ``Batch.split`` weighs them."""
    json_weight: ClassVar[float] = 2.0
    """How often a payload's JSON is sent and stored, with what filters look up: see ``Batch.split``."""
    ids_at_once: ClassVar[int] = 1_000
    """Ids of one request of a deletion, at most."""
    remembers_handles: ClassVar[bool] = True
    """Whether handles are kept between calls. Not where looking one up costs nothing."""

    def __init__(self, config: BackendConfig) -> None:
        super().__init__(config)
        self._handles: HandleCache[H] = HandleCache(remembers=self.remembers_handles)

    # --- what an adapter overrides ---

    @property
    @abstractmethod
    def capabilities(self) -> BackendCapabilities:
        """What is enforced now: before the first call the plugin's claims, afterwards what this server gives."""

    @abstractmethod
    async def _create(self, settings: CollectionSettings) -> H | None:
        """Create an empty collection. Raises ``CollectionExistsError``. Its handle, if it is known already."""

    @abstractmethod
    async def _names(self) -> list[str]:
        """The names of the collections, in any order."""

    @abstractmethod
    async def _drop(self, name: str) -> None:
        """Delete a collection. Raises ``CollectionNotFoundError``."""

    @abstractmethod
    async def _describe(self, name: str) -> H:
        """Look a collection up, as it is now. Raises ``CollectionNotFoundError``."""

    def _is_stale(self, error: Exception) -> bool:
        """Whether an engine's error may come of an outdated handle. ``handles.STALE`` are known already."""
        return False

    async def _confirm(self, collection: H) -> None:
        """Fail if the collection is gone, or another one. Asked where there is nothing else to ask of the engine."""
        if (await self._describe(collection.settings.name)).incarnation != collection.incarnation:
            raise RecreatedError("the collection was created again; try again")

    async def _upsert(self, collection: H, batch: Batch) -> None:
        """Write or replace points, part by part; fail with ``_unwritten`` if not all are written."""
        written = 0
        for part in batch.split(*self._part_size(collection), json_weight=self.json_weight):
            try:
                async with self._bounded():
                    await self._upsert_part(collection, part)
            except Exception as error:
                raise self._unwritten(error, batch.ids[written:]) from error
            written += len(part)

    async def _upsert_part(self, collection: H, part: Batch) -> None:
        """Write or replace points, as many as one request takes. It is given the configured timeout."""
        raise self._not_written("_upsert_part", "upsert_vectors")

    def _part_size(self, collection: H) -> tuple[int, int]:
        """The points and bytes of one request of a write."""
        return self.part_points, self.part_bytes

    async def _delete(self, collection: H, ids: list[PointId]) -> None:
        """Delete points, of which some may not exist; fail with ``_unwritten`` if not all are gone."""
        for start in range(0, len(ids), self.ids_at_once):
            try:
                async with self._bounded():
                    await self._delete_part(collection, ids[start : start + self.ids_at_once])
            except Exception as error:
                raise self._unwritten(error, ids[start:]) from error

    async def _delete_part(self, collection: H, ids: list[PointId]) -> None:
        """Delete points, as many as one request takes. It is given the configured timeout."""
        raise self._not_written("_delete_part", "delete_vectors")

    @abstractmethod
    async def _search(self, collection: H, query: Query) -> list[SearchResult]:
        """The best points that match and pass the threshold, best first."""

    # The scan profile: where it is not claimed, only ``_size`` is asked.

    async def _delete_matching(self, collection: H, node: Node) -> int:
        """Delete the points that match, and tell how many. Bound each of its steps by ``_bounded``."""
        raise self._not_written("_delete_matching", "delete_by_filter")

    async def _get(self, collection: H, ids: list[PointId], projection: Projection) -> Iterable[VectorPoint]:
        """The points of these ids that exist, in any order."""
        raise self._not_written("_get", "get_vectors")

    async def _scroll(self, collection: H, page: Page) -> ScrollPage:
        """A page of the points that match."""
        raise self._not_written("_scroll", "scroll_vectors")

    async def _count(self, collection: H, node: Node) -> int:
        """How many points match."""
        raise self._not_written("_count", "count_vectors, and get_collection_info without _size,")

    async def _size(self, collection: H) -> int:
        """How many points there are, whoever wrote them."""
        return await self._count(collection, Always())

    async def _indexed(self, collection: H, size: int) -> int | None:
        """For how many of its ``size`` points the index over the vectors answers; ``None``: the engine estimates it."""
        return None

    async def _optimize(self, collection: H) -> None:
        """Make every point as fast to find as it will be: build the index, or what is missing of it, and tidy up.

        Asked where ``index_kinds`` are claimed. It takes as long as it takes: bound only its single steps.
        """
        raise NotImplementedError

    # --- what an adapter uses ---

    def _use(self, name: str, intent: Intent) -> CollectionUse[H]:
        """A call's use of a collection, by as many attempts as it takes."""
        config = self.config
        return CollectionUse(self, self._handles, name, intent, timeout=config.timeout, retries=config.retries)

    def _bounded(self) -> AbstractAsyncContextManager[Any]:
        """The configured time for one request: around each part of a write."""
        return asyncio.timeout(self.config.timeout)

    def _is_passing(self, error: Exception) -> bool:
        """Whether a read may be made again after this error."""
        told = self._translated(error)
        return (
            isinstance(told, BackendConnectionError | RateLimitError)
            and told.retryable
            and not isinstance(told, BackendTimeoutError)
        )

    def _unwritten(self, error: Exception, ids: Sequence[PointId]) -> BackendError:
        """The error of a write that failed before these points were written for certain."""
        told = self._translated(error)
        told.ids = tuple(ids)
        told.state_unknown = isinstance(told, BackendConnectionError | EngineError)
        return told

    # --- collections ---

    @operation
    async def create_collection(
        self, name: str, dimension: int, distance_metric: DistanceMetric | str = DistanceMetric.COSINE, **kwargs: Any
    ) -> None:
        asked = kwargs.get("engine_options")
        if self.config.engine_options and (asked is None or isinstance(asked, Mapping)):
            kwargs["engine_options"] = {**self.config.engine_options, **(asked or {})}
        exist_ok, settings = validate_create(name, dimension, distance_metric, kwargs, self.capabilities)
        try:
            async with self._bounded():
                created = await self._create(settings)
        except CollectionExistsError:
            if not exist_ok:
                raise
            async with self._bounded():
                there = (await self._describe(settings.name)).settings
            if "vector_index" not in kwargs:  # a collection that was made before there was the option is no other one
                there = replace(there, vector_index=settings.vector_index)
            if not asked:  # the configuration's are for collections that are made
                there = replace(there, engine_options=settings.engine_options)
            if there != settings:
                differing = [
                    one.name for one in fields(settings) if getattr(settings, one.name) != getattr(there, one.name)
                ]
                told = f"the collection exists already, with other settings: {', '.join(differing)}"
                raise CollectionExistsError(told) from None
        else:
            self._handles.pop(settings.name, None)
            if created is not None:
                self._handles[settings.name] = created

    @operation
    async def list_collections(self) -> list[str]:
        async with self._bounded():
            return sorted(await retried(self._names, self.config.retries, self._is_passing))

    @operation
    async def delete_collection(self, name: str) -> None:
        checked = validate_name(name)
        async with self._bounded():
            await self._drop(checked)
        self._handles.pop(checked, None)

    @operation
    async def get_collection_info(self, name: str) -> CollectionInfo:
        checked = validate_name(name)
        self._handles.pop(checked, None)  # what is told must be true now
        use = self._use(checked, Intent.READ)
        while True:
            async with use as collection:
                return await self._info(collection)

    async def _info(self, collection: H) -> CollectionInfo:
        known, size = collection.settings, await self._size(collection)
        index = await self._sparse_index(collection) if self.capabilities.supports_hybrid_search else None
        return CollectionInfo(
            known.name,
            known.dimension,
            known.metric,
            size,
            await self._indexed(collection, size),
            dict(known.payload_indexes),
            "exact" if known.vector_index is None else known.vector_index.option,
            None if index is None else index.arguments(),
            dict(known.engine_options),
        )

    @operation(claim="index_kinds")
    async def optimize_collection(self, name: str) -> CollectionInfo:
        use = self._use(validate_name(name), Intent.READ)
        while True:
            async with use as collection:
                await self._confirm(collection)
                break
        await self._optimize(collection)  # which no timeout ends
        return await self.get_collection_info(name)

    # --- writing ---

    @operation(ids=_ids_of)
    async def upsert_vectors(self, collection_name: str, vectors: Iterable[VectorPoint]) -> None:
        name = validate_name(collection_name)
        await self._write(name, await off_loop(_length(vectors), validate_points, vectors, self.capabilities))

    @operation(claim="supports_columnar", ids=list)
    async def upsert_batch(
        self,
        collection_name: str,
        ids: Sequence[PointId],
        vectors: npt.NDArray[Any],
        payloads: Sequence[Mapping[str, Any] | None] | None = None,
    ) -> None:
        name = validate_name(collection_name)
        await self._write(
            name, await off_loop(_length(ids), validate_columns, ids, vectors, payloads, self.capabilities)
        )

    async def _write(self, name: str, draft: PointsDraft) -> None:
        use = self._use(name, Intent.WRITE)
        while True:
            async with use as collection:
                batch = await off_loop(len(draft.ids), draft.on, collection.settings)
                if not len(batch):
                    await self._confirm(collection)
                elif self.capabilities.supports_hybrid_search:
                    await self._upsert_with_text(collection, batch)
                else:
                    await self._upsert(collection, batch)
                return

    @operation(ids=list)
    async def delete_vectors(self, collection_name: str, ids: Sequence[PointId]) -> None:
        name, checked = validate_name(collection_name), validate_ids(ids)
        use = self._use(name, Intent.WRITE)
        while True:
            async with use as collection:
                await (self._delete(collection, checked) if checked else self._confirm(collection))
                return

    @operation(claim="supports_scan")
    async def delete_by_filter(self, collection_name: str, search_filter: FilterLike) -> int:
        name, node = validate_name(collection_name), parse_filter(search_filter, self.capabilities)
        use = self._use(name, Intent.WRITE)
        while True:
            async with use as collection:
                if isinstance(node, Never):
                    await self._confirm(collection)
                    return 0
                return await self._delete_matching(collection, node)

    # --- reading ---

    @operation
    async def search_vectors(
        self,
        collection_name: str,
        query_vector: VectorLike,
        limit: int = 10,
        search_filter: FilterLike | None = None,
        score_threshold: float | None = None,
        **kwargs: Any,
    ) -> list[SearchResult]:
        name = validate_name(collection_name)
        draft = validate_query(query_vector, limit, search_filter, score_threshold, kwargs, self.capabilities)
        use = self._use(name, Intent.SEARCH)
        while True:
            async with use as collection:
                query = draft.on(collection.settings)
                if not query.limit or isinstance(query.filter, Never):
                    await self._confirm(collection)
                    return []
                await self._check_exact(collection, query)
                return await self._search(collection, query)

    async def _check_exact(self, collection: H, query: Query | HybridQuery) -> None:
        """Refuse an exact search that the engine cannot make: of a collection beyond the exact size."""
        claims = self.capabilities
        if query.exact and not claims.exact_search and await self._size(collection) > claims.limits.exact_size:
            raise UnsupportedError(
                f"exact search beyond {claims.limits.exact_size} points is not supported", capability="exact_search"
            )

    @operation(claim="supports_scan")
    async def get_vectors(
        self,
        collection_name: str,
        ids: Sequence[PointId],
        *,
        with_payload: bool | Sequence[str] = True,
        with_vectors: bool = True,
    ) -> list[VectorPoint]:
        name, checked = validate_name(collection_name), validate_ids(ids)
        projection = validate_projection(with_payload, with_vectors)
        use = self._use(name, Intent.READ)
        while True:
            async with use as collection:
                if not checked:
                    await self._confirm(collection)
                    return []
                found = {point.id: point for point in await self._get(collection, checked, projection)}
                return [found[point_id] for point_id in checked if point_id in found]

    @operation(claim="supports_scan")
    async def scroll_vectors(
        self,
        collection_name: str,
        *,
        cursor: str | None = None,
        limit: int = 256,
        search_filter: FilterLike | None = None,
        with_payload: bool | Sequence[str] = True,
        with_vectors: bool = False,
    ) -> ScrollPage:
        name, projection = validate_name(collection_name), validate_projection(with_payload, with_vectors)
        page = validate_page(cursor, limit, search_filter, projection, self.capabilities)
        use = self._use(name, Intent.READ)
        while True:
            async with use as collection:
                if isinstance(page.filter, Never):
                    await self._confirm(collection)
                    return ScrollPage([])
                return await self._scroll(collection, page)

    @operation(claim="supports_scan")
    async def count_vectors(self, collection_name: str, search_filter: FilterLike | None = None) -> int:
        name, node = validate_name(collection_name), parse_filter(search_filter, self.capabilities)
        use = self._use(name, Intent.READ)
        while True:
            async with use as collection:
                if isinstance(node, Never):
                    await self._confirm(collection)
                    return 0
                return await self._count(collection, node)


def _length(items: object) -> int:
    return len(items) if isinstance(items, Sequence) else 0
