"""The protocol on LanceDB's asynchronous client."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, suppress
from datetime import timedelta
from functools import partial
from typing import Any, ClassVar, Final, TypeVar

import numpy.typing as npt

from codeweaver_backends.adapter import BaseBackend, operation
from codeweaver_backends.capabilities import BackendCapabilities
from codeweaver_backends.errors import BackendConnectionError, BackendError, InvalidOptionError
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
    validate_batch,
    validate_columns,
    validate_create,
    validate_ids,
    validate_name,
    validate_page,
    validate_query,
    validate_with_payload,
)
from codeweaver_lancedb.collection import Collection
from codeweaver_lancedb.config import LanceDBConfig
from codeweaver_lancedb.convert import (
    columns_of,
    decode_id,
    encode_id,
    pieces,
    points_of,
    results_of,
)
from codeweaver_lancedb.errors import is_vanished, scrub, translate
from codeweaver_lancedb.plugin import CAPABILITIES
from codeweaver_lancedb.tables import Tables

__all__ = ["LanceDBBackend"]

Answer = TypeVar("Answer")

_OFF_LOOP: Final = 1_000
"""Points from which on they are converted in a thread: a thousand hold the loop for some ten milliseconds."""
_IDS: Final = 1_000
"""Ids looked up or deleted in one statement."""
_CURSOR: Final = "after:"


class LanceDBBackend(BaseBackend):
    """Every search reads every vector, so every search is exact."""

    name: ClassVar[str] = "lancedb"

    def __init__(self, config: LanceDBConfig) -> None:
        super().__init__(config)
        self._settings = config
        self._connection: Any = None
        self._tables: Tables
        self._opened: dict[str, Collection] = {}

    @property
    def capabilities(self) -> BackendCapabilities:
        return CAPABILITIES

    # --- lifetime ---

    async def _connect(self) -> None:
        # The import takes seconds, of which the loop must not be robbed.
        lancedb = await asyncio.to_thread(importlib.import_module, "lancedb")
        folder = self._settings.folder
        uri = self._settings.path if folder is None else str(folder)
        options = {name: secret.get_secret_value() for name, secret in self._settings.storage_options.items()}
        # An interval of zero: what another instance commits is seen by the next read.
        async with asyncio.timeout(self.config.timeout):
            self._connection = await lancedb.connect_async(
                uri, read_consistency_interval=timedelta(0), storage_options=options or None
            )
        self._tables = Tables(self._connection, uri, folder)

    async def _disconnect(self) -> None:
        for collection in self._opened.values():
            collection.table.close()  # type: ignore[no-untyped-call]
        self._opened.clear()
        self._connection.close()

    async def _ping(self) -> None:
        await self._connection.list_tables(limit=1)

    def _translate_error(self, error: Exception) -> BackendError | None:
        scrub(error, (secret.get_secret_value() for secret in self._settings.storage_options.values()))
        return translate(error)

    # --- collections ---

    @operation
    async def create_collection(
        self, name: str, dimension: int, distance_metric: DistanceMetric = DistanceMetric.COSINE, **kwargs: Any
    ) -> None:
        settings = validate_create(name, dimension, distance_metric, kwargs, self.capabilities)
        async with asyncio.timeout(self.config.timeout):
            await self._tables.create(settings)

    @operation
    async def list_collections(self) -> list[str]:
        async with asyncio.timeout(self.config.timeout):
            return await self._tables.names()

    @operation
    async def delete_collection(self, name: str) -> None:
        checked = validate_name(name)
        async with asyncio.timeout(self.config.timeout):
            await self._tables.drop(checked)
        self._forget(checked)

    @operation
    async def get_collection_info(self, name: str) -> CollectionInfo:
        async def describe(collection: Collection) -> CollectionInfo:
            settings = collection.settings
            count = await collection.count()
            return CollectionInfo(
                settings.name, settings.dimension, settings.metric, count, None, dict(settings.payload_indexes)
            )

        return await self._read(name, describe)

    # --- writing ---

    @operation
    async def upsert_vectors(self, collection_name: str, vectors: list[VectorPoint]) -> None:
        points = _kept(vectors)

        async def write(collection: Collection) -> None:
            batch = await _off_loop(_size(points), validate_batch, points, collection.settings, self.capabilities)
            await self._write(collection, batch)

        await self._on(collection_name, write)

    @operation
    async def upsert_batch(
        self,
        collection_name: str,
        ids: Sequence[PointId],
        vectors: npt.NDArray[Any],
        payloads: Sequence[Payload | None] | None = None,
    ) -> None:
        columns = (_kept(ids), vectors, payloads)

        async def write(collection: Collection) -> None:
            size, settings = _size(columns[0]), collection.settings
            batch = await _off_loop(size, validate_columns, *columns, settings, self.capabilities)
            await self._write(collection, batch)

        await self._on(collection_name, write)

    async def _write(self, collection: Collection, batch: Batch) -> None:
        if not len(batch):
            await collection.check()
        written = 0
        alone, retries = self._tables.are_ours_alone, self.config.retries
        for chunk in pieces(batch):
            upsert = partial(collection.upsert, chunk, alone=alone, retries=retries)
            await self._commit(collection, upsert, batch.ids[written:])
            written += len(chunk)

    async def _commit(
        self, collection: Collection, commit: Callable[[], Awaitable[Answer]], unwritten: Sequence[PointId]
    ) -> Answer:
        """Write in turn, and tell what was not written if that fails."""
        try:
            async with AsyncExitStack() as turn:
                async with asyncio.timeout(self.config.timeout):
                    await turn.enter_async_context(self._tables.turn(collection.settings.name))
                    answer = await commit()
                with suppress(Exception):  # what was written stays written; the upkeep is done another time
                    async with asyncio.timeout(self.config.timeout):
                        await collection.tend()
                return answer
        except Exception as error:
            if unwritten and await self._is_there(collection):
                failure = self._translated(error)
                failure.ids = tuple(unwritten)
                failure.state_unknown = isinstance(failure, BackendConnectionError)
                raise failure from error
            raise

    @operation
    async def delete_vectors(self, collection_name: str, ids: list[str | int]) -> None:
        asked = _kept(ids)

        async def delete(collection: Collection) -> None:
            given = validate_ids(asked)
            if not given:
                await collection.check()
            for start in range(0, len(given), _IDS):
                delete_some = partial(collection.delete_ids, given[start : start + _IDS])
                await self._commit(collection, delete_some, given[start:])

        await self._on(collection_name, delete)

    @operation
    async def delete_by_filter(self, collection_name: str, search_filter: FilterLike) -> int:
        async def delete(collection: Collection) -> int:
            node = normalise(search_filter, self.capabilities)
            if isinstance(node, Never):
                await collection.check()
                return 0
            return await self._commit(collection, partial(collection.delete_matching, node), ())

        return await self._on(collection_name, delete)

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
        async def search(collection: Collection) -> list[SearchResult]:
            query = validate_query(
                query_vector, limit, search_filter, score_threshold, kwargs, collection.settings, self.capabilities
            )
            if not query.limit or isinstance(query.node, Never):
                await collection.check()
                return []
            found = await collection.nearest(query)
            arguments = (found, collection.settings.metric, query.threshold, query.with_payload, query.with_vectors)
            return await _off_loop(found.num_rows, results_of, *arguments)

        return await self._read(collection_name, search)

    @operation
    async def get_vectors(
        self,
        collection_name: str,
        ids: Sequence[PointId],
        *,
        with_payload: bool | Sequence[str] = True,
        with_vectors: bool = True,
    ) -> list[VectorPoint]:
        asked = _kept(ids)

        async def get(collection: Collection) -> list[VectorPoint]:
            wanted = validate_with_payload(with_payload)
            given = validate_ids(asked)
            if not given:
                await collection.check()
            columns = columns_of(collection.settings, wanted, with_vectors)
            points: dict[PointId, VectorPoint] = {}
            for start in range(0, len(given), _IDS):
                found = await collection.rows(given[start : start + _IDS], columns)
                for point in await _off_loop(found.num_rows, points_of, found, wanted, with_vectors):
                    points[point.id] = point
            return [points[point_id] for point_id in given if point_id in points]

        return await self._read(collection_name, get)

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
        async def scroll(collection: Collection) -> ScrollPage:
            page = validate_page(cursor, limit, search_filter, with_payload, with_vectors, self.capabilities)
            after = None if page.cursor is None else _key_of(page.cursor)
            if isinstance(page.node, Never):
                await collection.check()
                return ScrollPage([])
            found = await collection.page(page, after)
            shown = found.slice(0, page.limit)
            points = await _off_loop(shown.num_rows, points_of, shown, page.with_payload, page.with_vectors)
            more = found.num_rows > page.limit
            return ScrollPage(points, _CURSOR + encode_id(points[-1].id) if more else None)

        return await self._read(collection_name, scroll)

    @operation
    async def count_vectors(self, collection_name: str, search_filter: FilterLike | None = None) -> int:
        async def count(collection: Collection) -> int:
            node = normalise(search_filter, self.capabilities)
            if isinstance(node, Never):
                await collection.check()
                return 0
            return await collection.count(node)

        return await self._read(collection_name, count)

    # --- collections that others may have dropped and created again ---

    async def _read(self, name: str, work: Callable[[Collection], Awaitable[Answer]]) -> Answer:
        async with asyncio.timeout(self.config.timeout):
            return await self._on(name, work)

    async def _on(self, name: str, work: Callable[[Collection], Awaitable[Answer]]) -> Answer:
        """Do the work on the collection.

        Whatever goes wrong with a cached one, a refusal by its settings included, counts only if its table is still
        there; else the collection is opened anew, and the work done on what it is now.
        """
        checked = validate_name(name)
        collection = self._opened.get(checked)
        if collection is not None:
            try:
                return await work(collection)
            except Exception as error:
                if await self._is_there(collection) and not is_vanished(error):
                    raise
                self._forget(checked)
        async with asyncio.timeout(self.config.timeout):
            collection = await self._tables.open(checked)
        self._opened[checked] = collection
        return await work(collection)

    async def _is_there(self, collection: Collection) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(self.config.timeout):
                return await collection.is_there()
        return True

    def _forget(self, name: str) -> None:
        self._opened.pop(name, None)  # not closed: another call may be using it


# --- arguments and results -------------------------------------------------------------------------------------------


def _key_of(cursor: str) -> str:
    key = cursor.removeprefix(_CURSOR)
    if key != cursor:
        with suppress(ValueError, IndexError):
            if encode_id(decode_id(key)) == key:
                return key
    raise InvalidOptionError("cursor must be None or what the last page gave")


def _kept(items: object) -> object:
    """What an iterator gives, which can be read once: the work may have to be done twice."""
    return list(items) if isinstance(items, Iterator) else items


def _size(items: object) -> int:
    return len(items) if isinstance(items, Sequence) else _OFF_LOOP


async def _off_loop(size: int, convert: Callable[..., Answer], *arguments: Any) -> Answer:
    return await asyncio.to_thread(convert, *arguments) if size >= _OFF_LOOP else convert(*arguments)
