"""What the two backends have in common: all of the protocol, above a store that speaks to the engine."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

from codeweaver_backends.adapter import BaseBackend, operation
from codeweaver_backends.errors import (
    BackendConnectionError,
    BackendError,
    CollectionNotFoundError,
    InvalidDimensionError,
    InvalidOptionError,
    InvalidVectorError,
)
from codeweaver_backends.facts import INT64_MAX
from codeweaver_backends.filters import Never, normalise
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
from codeweaver_backends.validate import (
    Batch,
    CollectionSettings,
    Query,
    validate_batch,
    validate_columns,
    validate_create,
    validate_ids,
    validate_name,
    validate_page,
    validate_query,
    validate_with_payload,
)
from codeweaver_qdrant.convert import check_lengths, engine_id, points_of, query_vector, results_of, wanted_fields
from codeweaver_qdrant.errors import RecreatedError, translate_error
from codeweaver_qdrant.filters import translate
from codeweaver_qdrant.store import Store

__all__ = ["BaseQdrantBackend"]

T = TypeVar("T")

_IDS_PER_CALL: Final = 1_000
_CURSOR: Final = re.compile(r"qdrant-(?:(0|[1-9][0-9]{0,18})|([0-9a-f]{32}))")


class BaseQdrantBackend(BaseBackend):
    """The protocol. A subclass opens the store.

    What a collection was created with is remembered, so that a search is a single request. It is never believed
    wrongly: the vector is stored under its metric's name, so after another process has created the collection anew the
    engine refuses a request made of old settings; then, and when an argument does not fit what is remembered, the
    settings are read again.
    """

    _store: Store

    @abstractmethod
    async def _open_store(self) -> Store:
        """Open the store."""

    async def _connect(self) -> None:
        self._known: dict[str, CollectionSettings] = {}
        self._store = await self._open_store()

    async def _disconnect(self) -> None:
        await self._store.close()

    async def _ping(self) -> None:
        await self._store.ping()

    def _translate_error(self, error: Exception) -> BackendError | None:
        return translate_error(error)

    # --- collections ---

    @operation
    async def create_collection(
        self, name: str, dimension: int, distance_metric: DistanceMetric = DistanceMetric.COSINE, **kwargs: Any
    ) -> None:
        settings = validate_create(name, dimension, distance_metric, kwargs, self.capabilities)
        await self._store.create(settings)
        self._known[name] = settings

    @operation
    async def list_collections(self) -> list[str]:
        return sorted(await self._store.names())

    @operation
    async def delete_collection(self, name: str) -> None:
        self._known.pop(validate_name(name), None)
        await self._store.drop(name)

    @operation
    async def get_collection_info(self, name: str) -> CollectionInfo:
        settings = await self._read_settings(validate_name(name))
        count = await self._store.count(name, None)
        return CollectionInfo(name, settings.dimension, settings.metric, count, None, dict(settings.payload_indexes))

    async def _read_settings(self, name: str) -> CollectionSettings:
        self._known.pop(name, None)
        settings = self._known[name] = await self._store.settings(name)
        return settings

    async def _with_settings(self, name: str, action: Callable[[CollectionSettings], Awaitable[T]]) -> T:
        known = self._known.get(validate_name(name))
        if known is None:
            return await action(await self._read_settings(name))
        try:
            return await action(known)
        except (InvalidDimensionError, InvalidVectorError, RecreatedError):
            if await self._read_settings(name) == known:
                raise
        except CollectionNotFoundError:
            self._known.pop(name, None)
            raise
        return await action(self._known[name])

    # --- writing ---

    @operation
    async def upsert_vectors(self, collection_name: str, vectors: list[VectorPoint]) -> None:
        await self._with_settings(
            collection_name,
            lambda settings: self._write(settings, validate_batch(vectors, settings, self.capabilities)),
        )

    @operation
    async def upsert_batch(
        self,
        collection_name: str,
        ids: Sequence[PointId],
        vectors: npt.NDArray[Any],
        payloads: Sequence[Payload | None] | None = None,
    ) -> None:
        await self._with_settings(
            collection_name,
            lambda settings: self._write(
                settings, validate_columns(ids, vectors, payloads, settings, self.capabilities)
            ),
        )

    async def _write(self, settings: CollectionSettings, batch: Batch) -> None:
        check_lengths(batch.vectors, settings.metric, batch.ids)
        if not batch:
            await self._read_settings(settings.name)
        written = 0
        for part in _parts(batch, self._store.batch_rows, self._store.batch_bytes):
            try:
                await self._store.upsert(settings, part)
            except Exception as error:
                raise self._unfinished(error, batch.ids[written:]) from error
            written += len(part)

    @operation
    async def delete_vectors(self, collection_name: str, ids: list[str | int]) -> None:
        name, checked = validate_name(collection_name), validate_ids(ids)
        if not checked:
            await self._read_settings(name)
        for start in range(0, len(checked), _IDS_PER_CALL):
            try:
                await self._store.delete(name, [engine_id(one) for one in checked[start : start + _IDS_PER_CALL]])
            except Exception as error:
                raise self._unfinished(error, checked[start:]) from error

    def _unfinished(self, error: Exception, ids: Sequence[PointId]) -> BackendError:
        translated = self._translated(error)
        translated.ids = tuple(ids)
        translated.state_unknown = isinstance(translated, BackendConnectionError)
        return translated

    @operation
    async def delete_by_filter(self, collection_name: str, search_filter: FilterLike) -> int:
        name, node = validate_name(collection_name), normalise(search_filter, self.capabilities)
        if isinstance(node, Never):
            await self._read_settings(name)
            return 0
        return await self._store.delete_matching(name, translate(node, self._store.dialect))

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
        return await self._with_settings(
            collection_name,
            lambda settings: self._search(
                settings,
                validate_query(
                    query_vector, limit, search_filter, score_threshold, kwargs, settings, self.capabilities
                ),
            ),
        )

    async def _search(self, settings: CollectionSettings, query: Query) -> list[SearchResult]:
        check_lengths(query.vector[np.newaxis], settings.metric)
        if not query.limit or isinstance(query.node, Never):
            await self._read_settings(settings.name)
            return []
        hits = await self._store.search(
            settings,
            query_vector(query.vector, settings.metric),
            query.limit,
            translate(query.node, self._store.dialect),
            wanted_fields(query.with_payload, query.with_vectors),
            query.with_vectors,
        )
        results = results_of(hits, settings.metric, query.with_payload, query.with_vectors)
        if query.threshold is None:
            return results
        return [result for result in results if result.score >= query.threshold]

    @operation
    async def get_vectors(
        self,
        collection_name: str,
        ids: Sequence[PointId],
        *,
        with_payload: bool | Sequence[str] = True,
        with_vectors: bool = True,
    ) -> list[VectorPoint]:
        name, checked, wanted = validate_name(collection_name), validate_ids(ids), validate_with_payload(with_payload)
        if not isinstance(with_vectors, bool):
            raise InvalidOptionError(f"with_vectors must be a bool, not a {type(with_vectors).__name__}")
        if not checked:
            await self._read_settings(name)
        fields, found = wanted_fields(wanted, with_vectors), dict[PointId, VectorPoint]()
        for start in range(0, len(checked), _IDS_PER_CALL):
            asked = [engine_id(one) for one in checked[start : start + _IDS_PER_CALL]]
            records = await self._store.retrieve(name, asked, fields, with_vectors)
            found.update((point.id, point) for point in points_of(records, wanted, with_vectors))
        return [found[one] for one in checked if one in found]

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
        offset = _offset(page.cursor)
        if isinstance(page.node, Never):
            await self._read_settings(name)
            return ScrollPage([])
        records, following = await self._store.scroll(
            name,
            offset,
            page.limit,
            translate(page.node, self._store.dialect),
            wanted_fields(page.with_payload, page.with_vectors),
            page.with_vectors,
        )
        points = points_of(records, page.with_payload, page.with_vectors)
        return ScrollPage(points, None if following is None else _cursor(following))

    @operation
    async def count_vectors(self, collection_name: str, search_filter: FilterLike | None = None) -> int:
        name, node = validate_name(collection_name), normalise(search_filter, self.capabilities)
        if isinstance(node, Never):
            await self._read_settings(name)
            return 0
        return await self._store.count(name, translate(node, self._store.dialect))


def _parts(batch: Batch, rows: int, size: int) -> Iterator[Batch]:
    """The batch in parts that the engine takes, by count and by bytes; a part holds one point at least."""
    start = weight = 0
    vector_bytes = 4 * batch.vectors.shape[1]
    for row, document in enumerate(batch.documents):
        own = vector_bytes + 3 * len(document)  # the text, its strings again, its tokens
        if row > start and (row - start == rows or weight + own > size):
            yield _slice(batch, start, row)
            start, weight = row, 0
        weight += own
    if len(batch):
        yield _slice(batch, start, len(batch))


def _slice(batch: Batch, start: int, end: int) -> Batch:
    part = slice(start, end)
    return Batch(batch.ids[part], batch.vectors[part], batch.payloads[part], batch.documents[part])


def _cursor(following: int | Any) -> str:
    return f"qdrant-{str(following).replace('-', '')}"


def _offset(cursor: str | None) -> int | str | None:
    if cursor is None:
        return None
    match = _CURSOR.fullmatch(cursor)
    if match is None or int(match[1] or 0) > INT64_MAX:
        raise InvalidOptionError("cursor must be None or what the last page gave")
    return int(match[1]) if match[1] else match[2]
