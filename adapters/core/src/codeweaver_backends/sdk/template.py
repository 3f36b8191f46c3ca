"""The protocol's calls, made once for every adapter: arguments are judged here, and what is left is asked of it.

No wrapper either: an adapter extends ``BackendTemplate``, and writes one short method for each question. It is
never asked what has an answer already: an empty batch, no ids, a limit of 0, a filter that nothing matches.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from enum import Enum, auto
from typing import Any, Generic, Protocol, TypeVar

import numpy.typing as npt

from codeweaver_backends.errors import BackendConnectionError, BackendError
from codeweaver_backends.sdk.filters.parse import parse_filter
from codeweaver_backends.sdk.filters.tree import Always, Never, Node
from codeweaver_backends.sdk.lifetime import BaseBackend, operation
from codeweaver_backends.sdk.requests import Batch, CollectionSettings, Page, Query, WithPayload
from codeweaver_backends.sdk.validate import (
    validate_batch,
    validate_columns,
    validate_create,
    validate_ids,
    validate_name,
    validate_page,
    validate_query,
    validate_with_payload,
    validate_with_vectors,
)
from codeweaver_backends.types import (
    CollectionInfo,
    DistanceMetric,
    FilterLike,
    Payload,
    PointId,
    ScrollPage,
    SearchFilter,
    SearchResult,
    VectorPoint,
)

__all__ = ["Access", "BackendTemplate"]


class _Settled(Protocol):
    @property
    def settings(self) -> CollectionSettings: ...


Collection = TypeVar("Collection", bound=_Settled)
"""What an adapter knows of a collection: at least its settings."""
Answer = TypeVar("Answer")


class Access(Enum):
    """What a call is about to do with a collection."""

    SEARCH = auto()
    READ = auto()
    WRITE = auto()


class BackendTemplate(BaseBackend, Generic[Collection]):
    """The vector, scan and columnar profiles."""

    # --- what an adapter overrides ---

    async def _create(self, settings: CollectionSettings) -> None:
        """Create an empty collection. Raises ``CollectionExistsError``."""
        raise NotImplementedError

    async def _names(self) -> list[str]:
        """The names of the collections, in any order."""
        raise NotImplementedError

    async def _drop(self, name: str) -> None:
        """Delete a collection. Raises ``CollectionNotFoundError``."""
        raise NotImplementedError

    async def _on(self, name: str, work: Callable[[Collection], Awaitable[Answer]], access: Access) -> Answer:
        """Look the collection up and do the work on it. Raises ``CollectionNotFoundError``.

        Who remembers collections must not believe it wrongly: another client may have created this one anew, so that
        what fails, or is refused, by what is remembered has to be done again by what is true now.
        """
        raise NotImplementedError

    async def _confirm(self, collection: Collection) -> None:
        """Fail if the collection is gone. Asked where there is nothing else to ask of the engine."""
        raise NotImplementedError

    async def _upsert(self, collection: Collection, batch: Batch) -> None:
        """Write or replace points; fail with ``_unwritten`` if not all are written."""
        raise NotImplementedError

    async def _delete(self, collection: Collection, ids: list[PointId]) -> None:
        """Delete points, of which some may not exist; fail with ``_unwritten`` if not all are gone."""
        raise NotImplementedError

    async def _delete_matching(self, collection: Collection, node: Node) -> int:
        """Delete the points that match, and tell how many."""
        raise NotImplementedError

    async def _search(self, collection: Collection, query: Query) -> list[SearchResult]:
        """The best points that match and pass the threshold, best first."""
        raise NotImplementedError

    async def _get(
        self, collection: Collection, ids: list[PointId], with_payload: WithPayload, with_vectors: bool
    ) -> Iterable[VectorPoint]:
        """The points of these ids that exist, in any order."""
        raise NotImplementedError

    async def _scroll(self, collection: Collection, page: Page) -> ScrollPage:
        """A page of the points that match."""
        raise NotImplementedError

    async def _count(self, collection: Collection, node: Node) -> int:
        """How many points match."""
        raise NotImplementedError

    async def _size(self, collection: Collection) -> int:
        """How many points there are, whoever wrote them."""
        return await self._count(collection, Always())

    async def _validated(self, validate: Callable[..., Batch], *arguments: Any) -> Batch:
        """Judge a batch. An adapter may do it elsewhere than on the event loop."""
        return validate(*arguments)

    def _unwritten(self, error: Exception, ids: Sequence[PointId]) -> BackendError:
        """The error of a write that failed before these points were written for certain."""
        translated = error if isinstance(error, BackendError) else self._translated(error)
        translated.ids = tuple(ids)
        translated.state_unknown = isinstance(translated, BackendConnectionError)
        return translated

    # --- collections ---

    @operation
    async def create_collection(
        self, name: str, dimension: int, distance_metric: DistanceMetric = DistanceMetric.COSINE, **kwargs: Any
    ) -> None:
        await self._create(validate_create(name, dimension, distance_metric, kwargs, self.capabilities))

    @operation
    async def list_collections(self) -> list[str]:
        return sorted(await self._names())

    @operation
    async def delete_collection(self, name: str) -> None:
        await self._drop(validate_name(name))

    @operation
    async def get_collection_info(self, name: str) -> CollectionInfo:
        async def describe(collection: Collection) -> CollectionInfo:
            await self._confirm(collection)
            known, size = collection.settings, await self._size(collection)
            return CollectionInfo(known.name, known.dimension, known.metric, size, None, dict(known.payload_indexes))

        return await self._on(validate_name(name), describe, Access.READ)

    # --- writing ---

    @operation
    async def upsert_vectors(self, collection_name: str, vectors: list[VectorPoint]) -> None:
        await self._write_batch(collection_name, validate_batch, _kept(vectors))

    @operation
    async def upsert_batch(
        self,
        collection_name: str,
        ids: Sequence[PointId],
        vectors: npt.NDArray[Any],
        payloads: Sequence[Payload | None] | None = None,
    ) -> None:
        await self._write_batch(collection_name, validate_columns, _kept(ids), vectors, payloads)

    async def _write_batch(self, name: str, validate: Callable[..., Batch], *given: Any) -> None:
        async def write(collection: Collection) -> None:
            batch = await self._validated(validate, *given, collection.settings, self.capabilities)
            if len(batch):
                await self._upsert(collection, batch)
            else:
                await self._confirm(collection)

        await self._on(validate_name(name), write, Access.WRITE)

    @operation
    async def delete_vectors(self, collection_name: str, ids: list[str | int]) -> None:
        name, checked = validate_name(collection_name), validate_ids(ids)

        async def delete(collection: Collection) -> None:
            if checked:
                await self._delete(collection, checked)
            else:
                await self._confirm(collection)

        await self._on(name, delete, Access.WRITE)

    @operation
    async def delete_by_filter(self, collection_name: str, search_filter: FilterLike) -> int:
        name, node = validate_name(collection_name), parse_filter(search_filter, self.capabilities)

        async def delete(collection: Collection) -> int:
            if isinstance(node, Never):
                await self._confirm(collection)
                return 0
            return await self._delete_matching(collection, node)

        return await self._on(name, delete, Access.WRITE)

    # --- reading ---

    @operation
    async def search_vectors(
        self,
        collection_name: str,
        query_vector: list[float],
        limit: int = 10,
        search_filter: SearchFilter | None = None,
        score_threshold: float | None = None,
        **kwargs: Any,
    ) -> list[SearchResult]:
        given = (query_vector, limit, search_filter, score_threshold, kwargs)

        async def search(collection: Collection) -> list[SearchResult]:
            query = validate_query(*given, collection.settings, self.capabilities)
            if not query.limit or isinstance(query.node, Never):
                await self._confirm(collection)
                return []
            return await self._search(collection, query)

        return await self._on(validate_name(collection_name), search, Access.SEARCH)

    @operation
    async def get_vectors(
        self,
        collection_name: str,
        ids: Sequence[PointId],
        *,
        with_payload: bool | Sequence[str] = True,
        with_vectors: bool = True,
    ) -> list[VectorPoint]:
        name, checked = validate_name(collection_name), validate_ids(ids)
        shown = (validate_with_payload(with_payload), validate_with_vectors(with_vectors))

        async def get(collection: Collection) -> list[VectorPoint]:
            if not checked:
                await self._confirm(collection)
                return []
            found = {point.id: point for point in await self._get(collection, checked, *shown)}
            return [found[point_id] for point_id in checked if point_id in found]

        return await self._on(name, get, Access.READ)

    @operation
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
        name = validate_name(collection_name)
        page = validate_page(cursor, limit, search_filter, with_payload, with_vectors, self.capabilities)

        async def scroll(collection: Collection) -> ScrollPage:
            if isinstance(page.node, Never):
                await self._confirm(collection)
                return ScrollPage([])
            return await self._scroll(collection, page)

        return await self._on(name, scroll, Access.READ)

    @operation
    async def count_vectors(self, collection_name: str, search_filter: FilterLike | None = None) -> int:
        name, node = validate_name(collection_name), parse_filter(search_filter, self.capabilities)

        async def count(collection: Collection) -> int:
            if isinstance(node, Never):
                await self._confirm(collection)
                return 0
            return await self._count(collection, node)

        return await self._on(name, count, Access.READ)


def _kept(items: Any) -> Any:
    """What an iterator gives, which can be read once: the work may have to be done twice."""
    return list(items) if isinstance(items, Iterator) else items
