"""The Milvus backend: the contract's calls, on Milvus Lite and on servers alike."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, TypeVar

import numpy as np

from codeweaver_backends.capabilities import BackendCapabilities
from codeweaver_backends.errors import BackendClosedError, BackendError, CollectionNotFoundError
from codeweaver_backends.metrics import clamp_cosine, score_of_distance
from codeweaver_backends.sdk.cursors import cursor_after, position_of
from codeweaver_backends.sdk.filters.evaluate import matches
from codeweaver_backends.sdk.filters.tree import All, Leaf, Node
from codeweaver_backends.sdk.payloads import decode_payload, project
from codeweaver_backends.sdk.requests import Batch, CollectionSettings, Page, Query, WithPayload
from codeweaver_backends.sdk.template import Access, BackendTemplate
from codeweaver_backends.types import (
    DistanceMetric,
    FloatMatrix,
    Payload,
    PointId,
    ScrollPage,
    SearchResult,
    VectorPoint,
)
from codeweaver_milvus.config import MilvusConfig
from codeweaver_milvus.convert import (
    decode_document,
    decode_id,
    encode_document,
    encode_id,
    normalised,
    restored,
)
from codeweaver_milvus.engine import Collection, Engine
from codeweaver_milvus.errors import is_engines, translate_error
from codeweaver_milvus.filters import candidates, joined, translate, untestable
from codeweaver_milvus.layout import Layout
from codeweaver_milvus.plugin import CAPABILITIES

__all__ = ["MilvusBackend"]

Result = TypeVar("Result")

_BATCH_ROWS: Final = 1_000
_BATCH_BYTES: Final = 8 << 20
_DELETED_AT_ONCE: Final = 4_096
_ROWS_WITHOUT_PAUSE: Final = 500


class MilvusBackend(BackendTemplate[Collection]):
    """Exact search: vectors are indexed flat, and every filter is applied before the cut."""

    name: ClassVar[str] = "milvus"
    config: MilvusConfig

    def __init__(self, config: MilvusConfig) -> None:
        super().__init__(config)
        self._connected: Engine | None = None

    @property
    def capabilities(self) -> BackendCapabilities:
        return self._connected.traits.capabilities if self._connected else CAPABILITIES

    @property
    def _engine(self) -> Engine:
        if self._connected is None:
            raise BackendClosedError("the backend is not connected")
        return self._connected

    async def _connect(self) -> None:
        self._connected = await Engine.connect(self.config)

    async def _disconnect(self) -> None:
        await self._engine.close()

    async def _ping(self) -> None:
        await self._engine.ping()

    def _translate_error(self, error: Exception) -> BackendError | None:
        return translate_error(error)

    async def _on(self, name: str, work: Callable[[Collection], Awaitable[Result]], access: Access) -> Result:
        collection = await self._engine.collection(name, scanned=access is Access.READ)
        try:
            return await work(collection)
        except Exception as error:
            if not is_engines(error) and not isinstance(error, CollectionNotFoundError):
                raise
            current = await self._engine.current(collection, error)
            if current is None:
                raise
        return await work(current)

    # --- collections ---

    async def _create(self, settings: CollectionSettings) -> None:
        await self._engine.create(Layout.of(settings, self._engine.traits))

    async def _names(self) -> list[str]:
        return await self._engine.names()

    async def _drop(self, name: str) -> None:
        await self._engine.drop(name)

    async def _confirm(self, collection: Collection) -> None:
        if (await self._engine.verified(collection.settings.name)).layout.mark != collection.layout.mark:
            raise CollectionNotFoundError("the collection was created again")

    async def _size(self, collection: Collection) -> int:
        return await self._engine.count(collection, strongly=True)

    # --- writing ---

    async def _upsert(self, collection: Collection, batch: Batch) -> None:
        vectors, rows, sizes = await self._rows(collection.layout, batch)
        for part in _parts(sizes):
            written = [
                {**row, collection.layout.vector: vector}
                for row, vector in zip(rows[part], vectors[part].tolist(), strict=True)
            ]
            try:
                await self._engine.upsert(collection, written, sum(sizes[part]))
            except Exception as error:
                raise self._unwritten(error, batch.ids[part.start :]) from error

    async def _rows(self, layout: Layout, batch: Batch) -> tuple[FloatMatrix, list[dict[str, Any]], list[int]]:
        """The vectors to store, the rows without them, and about how many bytes each takes: all refusals are here."""
        vectors: list[FloatMatrix] = []
        rows: list[dict[str, Any]] = []
        sizes: list[int] = []
        for chunk in batch.chunks(_ROWS_WITHOUT_PAUSE):
            matrix, scales = chunk.vectors, [""] * len(chunk)
            if layout.settings.metric is DistanceMetric.COSINE:
                matrix, scales = normalised(matrix)
            vectors.append(matrix)
            points = zip(chunk.ids, chunk.documents, scales, chunk.payloads, strict=True)
            for point_id, document, scale, payload in points:
                text = encode_document(document, scale)
                row, size = layout.row(self._engine.traits, encode_id(point_id), text, payload)
                rows.append(row)
                sizes.append(size + 5 * layout.settings.dimension)
            await asyncio.sleep(0)
        return np.concatenate(vectors or [batch.vectors]), rows, sizes

    async def _delete(self, collection: Collection, ids: list[PointId]) -> None:
        await self._delete_keys(collection, [encode_id(point_id) for point_id in ids])

    async def _delete_matching(self, collection: Collection, node: Node) -> int:
        current = await self._engine.collection(collection.settings.name, scanned=True)
        keys = await self._engine.keys(current, await self._expression(current, node))
        await self._delete_keys(current, keys)
        return len(keys)

    async def _delete_keys(self, collection: Collection, keys: Sequence[str]) -> None:
        for start in range(0, len(keys), _DELETED_AT_ONCE):
            try:
                await self._engine.delete(collection, keys[start : start + _DELETED_AT_ONCE])
            except Exception as error:
                raise self._unwritten(error, [decode_id(key) for key in keys[start:]]) from error

    # --- reading ---

    async def _search(self, collection: Collection, query: Query) -> list[SearchResult]:
        layout, vector = collection.layout, query.vector
        if layout.settings.metric is DistanceMetric.COSINE:
            vector = normalised(vector[None])[0][0]
        expression = await self._expression(collection, query.node)
        shown = _Shown(layout, query.with_payload, query.with_vectors)
        score_of = _SCORES[layout.settings.metric]
        results = []
        for hit in await self._engine.search(collection, vector, query.limit, expression, shown.fields):
            score = score_of(hit["distance"])
            if query.threshold is None or score >= query.threshold:
                results.append(SearchResult(decode_id(hit["id"]), score, *shown.parts(hit["entity"])))
        return results

    async def _get(
        self, collection: Collection, ids: list[PointId], with_payload: WithPayload, with_vectors: bool
    ) -> list[VectorPoint]:
        shown = _Shown(collection.layout, with_payload, with_vectors)
        keys = [encode_id(point_id) for point_id in ids]
        return shown.points(await self._engine.by_keys(collection, keys, shown.fields))

    async def _scroll(self, collection: Collection, page: Page) -> ScrollPage:
        last = position_of(page.cursor)
        after = "" if last is None else encode_id(last)
        shown = _Shown(collection.layout, page.with_payload, page.with_vectors)
        expression = await self._expression(collection, page.node)
        # One row more than asked for tells whether there is a next page.
        pages = self._engine.pages(collection, expression, shown.fields, after=after, limit=page.limit + 1)
        points = shown.points([row async for rows in pages for row in rows])
        more = len(points) > page.limit
        return ScrollPage(points[: page.limit], cursor_after(points[page.limit - 1].id) if more else None)

    async def _count(self, collection: Collection, node: Node) -> int:
        return await self._engine.count(collection, await self._expression(collection, node))

    # --- filters ---

    async def _expression(self, collection: Collection, node: Node) -> str:
        """The filter as an expression, after testing here what the engine cannot test."""
        layout, traits = collection.layout, self._engine.traits
        parts = node.parts if isinstance(node, All) else (node,)
        open_leaves = [dict.fromkeys(untestable(part, layout, traits)) for part in parts]
        if not any(open_leaves):
            return translate(node, layout, traits)
        self.filters_scanned += 1
        # What must hold as well, and can be tested, keeps the candidates few.
        bounds = [
            translate(part, layout, traits) for part, leaves in zip(parts, open_leaves, strict=True) if not leaves
        ]
        resolved: dict[Leaf, list[str]] = {}
        for leaf in dict.fromkeys(leaf for leaves in open_leaves for leaf in leaves):
            expression = joined("and", [*bounds, candidates(leaf, layout, traits)])
            resolved[leaf] = [
                row["id"]
                async for rows in self._engine.pages(collection, expression, ["id", "doc"])
                for row in rows
                if matches(leaf, decode_payload(decode_document(row["doc"])[0]))
            ]
        return translate(node, layout, traits, resolved)


_SCORES: Final[dict[DistanceMetric, Callable[[float], float]]] = {
    DistanceMetric.COSINE: clamp_cosine,
    DistanceMetric.DOT_PRODUCT: float,
    DistanceMetric.EUCLIDEAN: lambda squared: score_of_distance(math.sqrt(max(0.0, squared))),
}
"""From what Milvus calls a distance."""


def _parts(sizes: Sequence[int]) -> Iterator[slice]:
    """Runs of rows that one call may write."""
    start, total = 0, 0
    for position, size in enumerate(sizes):
        if position > start and (total + size > _BATCH_BYTES or position - start == _BATCH_ROWS):
            yield slice(start, position)
            start, total = position, 0
        total += size
    if start < len(sizes):
        yield slice(start, len(sizes))


@dataclass(frozen=True, slots=True)
class _Shown:
    """What of a row is asked for, and how it is read."""

    layout: Layout
    payload: WithPayload
    vectors: bool

    @property
    def fields(self) -> list[str]:
        """The columns to fetch: the document tells the scale of the vector."""
        vector = [self.layout.vector] if self.vectors else []
        return [*(["doc"] if self.payload or self.vectors else []), *vector] or ["id"]

    def parts(self, row: Mapping[str, Any]) -> tuple[Payload, list[float] | None]:
        """Payload and vector."""
        document, scale = decode_document(row["doc"]) if self.payload or self.vectors else ("{}", "")
        payload = project(decode_payload(document), self.payload)
        return payload, restored(row[self.layout.vector], scale) if self.vectors else None

    def points(self, rows: Iterable[Mapping[str, Any]]) -> list[VectorPoint]:
        """The points of rows."""
        read = ((row["id"], *self.parts(row)) for row in rows)
        return [VectorPoint(decode_id(key), vector or [], payload) for key, payload, vector in read]
