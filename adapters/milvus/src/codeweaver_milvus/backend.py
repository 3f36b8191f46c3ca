"""The Milvus backend: the contract's calls, on Milvus Lite and on servers alike."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from codeweaver_backends.capabilities import BackendCapabilities
from codeweaver_backends.errors import BackendClosedError, BackendError
from codeweaver_backends.metrics import scorer
from codeweaver_backends.plugins import needs
from codeweaver_backends.sdk.calls import off_loop
from codeweaver_backends.sdk.cursors import cursor_after, position_of
from codeweaver_backends.sdk.filters.compile import compile_filter, resolve, untestable_leaves
from codeweaver_backends.sdk.filters.tree import Node
from codeweaver_backends.sdk.hybrid.fusion import Leg
from codeweaver_backends.sdk.hybrid.vectors import SparseRows
from codeweaver_backends.sdk.index.codes import decode_id
from codeweaver_backends.sdk.payloads import decode_payload
from codeweaver_backends.sdk.requests import Batch, CollectionSettings, Page, Projection, Query, Slot, SparseQuery
from codeweaver_backends.sdk.template import BackendTemplate
from codeweaver_backends.sdk.vectors import restored, unit_vector
from codeweaver_backends.types import PointId, ScrollPage, SearchResult, VectorPoint
from codeweaver_milvus.client import Client, Collection
from codeweaver_milvus.config import MilvusConfig
from codeweaver_milvus.dialect import CODE
from codeweaver_milvus.errors import is_answer, translate_error
from codeweaver_milvus.plugin import CAPABILITIES
from codeweaver_milvus.schema import Schema, key_of, sparse_vector, sparse_vectors

__all__ = ["MilvusBackend"]


class MilvusBackend(BackendTemplate[Collection]):
    """Exact search: vectors are indexed flat, and every filter is applied before the cut."""

    name: ClassVar[str] = "milvus"
    json_weight: ClassVar[float] = 6.0
    ids_at_once: ClassVar[int] = 4_096
    config: MilvusConfig

    def __init__(self, config: MilvusConfig) -> None:
        super().__init__(config)
        if config.path is not None:
            needs("milvus_lite", "codeweaver-milvus[lite]")
        self._connected: Client | None = None

    @property
    def capabilities(self) -> BackendCapabilities:
        return self._connected.traits.capabilities if self._connected else CAPABILITIES

    @property
    def server_version(self) -> str | None:
        return self._connected.version if self._connected else None

    @property
    def _client(self) -> Client:
        if self._connected is None:
            raise BackendClosedError("the backend is not connected")
        return self._connected

    async def _connect(self) -> None:
        self._connected = await Client.connect(self.config)

    async def _disconnect(self) -> None:
        await self._client.close()

    def _abandon(self) -> None:
        self._client.abandon()

    async def _ping(self) -> None:
        await self._client.ping()

    def _translate_error(self, error: Exception) -> BackendError | None:
        return translate_error(error)

    def _is_stale(self, error: Exception) -> bool:
        return is_answer(error)

    # --- collections ---

    async def _create(self, settings: CollectionSettings) -> Collection:
        return await self._client.create(Schema.of(settings, self._client.traits))

    async def _names(self) -> list[str]:
        return await self._client.names()

    async def _drop(self, name: str) -> None:
        await self._client.drop(name)

    async def _describe(self, name: str) -> Collection:
        return await self._client.describe(name)

    async def _confirm_columns(self, collection: Collection) -> None:
        """Where an unknown column is no error, a call that names no vector would take another incarnation for this."""
        if self._client.traits.dynamic:
            await self._confirm(collection)

    async def _size(self, collection: Collection) -> int:
        return await self._client.count(collection, "")

    # --- writing ---

    async def _upsert(self, collection: Collection, batch: Batch) -> None:
        await off_loop(len(batch), collection.schema.check, batch)
        await super()._upsert(collection, batch)

    async def _upsert_part(self, collection: Collection, part: Batch) -> None:
        rows = await off_loop(len(part), collection.schema.rows, part)
        await self._client.upsert(collection, part, rows)

    async def _write_slot(self, collection: Collection, slot: Slot, ids: Sequence[PointId], rows: SparseRows) -> None:
        values = dict(zip(map(key_of, ids), sparse_vectors(rows, len(ids)), strict=True))
        await self._client.replace(collection, collection.schema.slot(slot), values)

    async def _read_definition(self, collection: Collection) -> bytes | None:
        if not collection.schema.slots:
            return None
        return (await self._client.current(collection)).definition

    async def _write_definition(self, collection: Collection, definition: bytes) -> None:
        collection.schema.slot(Slot.TEXT)
        await self._client.define(collection, definition)

    async def _delete_part(self, collection: Collection, ids: list[PointId]) -> None:
        await self._client.delete(collection, list(map(key_of, ids)))

    async def _delete_matching(self, collection: Collection, node: Node) -> int:
        async with self._bounded():
            await self._confirm_columns(collection)
            pages = self._client.pages(collection, await self._expression(collection, node), ["id"])
            ids = [decode_id(row["id"], CODE) async for rows in pages for row in rows]
        await self._delete(collection, ids)
        return len(ids)

    # --- reading ---

    async def _search(self, collection: Collection, query: Query) -> list[SearchResult]:
        vector = unit_vector(query.vector) if collection.schema.restores else query.vector
        expression = await self._expression(collection, query.filter)
        reader = _Reader(collection.schema, query.projection)
        score_of = scorer(collection.settings.metric, cosine="cosine", squared=True)
        found = await self._client.search(
            collection, collection.schema.vector, vector, query.limit, expression, reader.fields
        )
        scored = ((hit, score_of(hit["distance"])) for hit in found)
        return [
            SearchResult(decode_id(hit["id"], CODE), score, *reader.parts(hit["entity"]))
            for hit, score in scored
            if query.passes(score)
        ]

    async def _search_sparse(self, collection: Collection, query: SparseQuery) -> Leg:
        column, vector = collection.schema.slot(query.slot), query.vector.as_dict()
        expression = await self._expression(collection, query.filter)
        found = await self._client.search(collection, column, vector, query.limit, expression, ["id"])
        scores = np.array([hit["distance"] for hit in found], np.float64)
        return Leg([decode_id(hit["id"], CODE) for hit in found], scores)

    async def _get(self, collection: Collection, ids: list[PointId], projection: Projection) -> list[VectorPoint]:
        await self._confirm_columns(collection)
        reader = _Reader(collection.schema, projection)
        return list(map(reader.point, await self._client.by_keys(collection, list(map(key_of, ids)), reader.fields)))

    async def _scroll(self, collection: Collection, page: Page) -> ScrollPage:
        last = position_of(page.cursor)
        await self._confirm_columns(collection)
        reader = _Reader(collection.schema, page.projection)
        # One row more than asked for tells whether there is a next page.
        pages = self._client.pages(
            collection,
            await self._expression(collection, page.filter),
            reader.fields,
            after="" if last is None else key_of(last),
            limit=page.limit + 1,
        )
        points = [reader.point(row) async for rows in pages for row in rows]
        more = len(points) > page.limit
        return ScrollPage(points[: page.limit], cursor_after(points[page.limit - 1].id) if more else None)

    async def _count(self, collection: Collection, node: Node) -> int:
        await self._confirm_columns(collection)
        return await self._client.count(collection, await self._expression(collection, node))

    # --- filters ---

    async def _expression(self, collection: Collection, node: Node) -> str:
        """The filter as an expression, after testing here what the engine cannot test. Empty: every point."""
        dialect, resolved = collection.schema.dialect, dict[Any, list[str]]()
        if untestable_leaves(node, dialect):
            self.filters_scanned += 1
            resolved = await resolve(node, dialect, lambda expression: self._payloads(collection, expression or ""))
        return compile_filter(node, dialect, resolved) or ""

    async def _payloads(self, collection: Collection, expression: str) -> AsyncIterator[tuple[str, Mapping[str, Any]]]:
        async for rows in self._client.pages(collection, expression, ["id", "payload_json"]):
            for row in rows:
                yield row["id"], decode_payload(row["payload_json"])


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads the wanted parts of rows."""

    schema: Schema
    projection: Projection

    @property
    def fields(self) -> list[str]:
        """The columns to fetch."""
        payload = ["payload_json"] if self.projection.payload is not False else []
        kept = ["kept"] if self.schema.restores else []
        sparse = [self.schema.slot(Slot.SPARSE)] if self.gives_sparse else []
        vector = [self.schema.vector, *kept, *sparse] if self.projection.vectors else []
        return [*payload, *vector] or ["id"]

    @property
    def gives_sparse(self) -> bool:
        """Whether sparse vectors are wanted, and stored."""
        return self.projection.vectors and bool(self.schema.slots)

    def parts(self, row: Mapping[str, Any]) -> tuple[Any, list[float] | None]:
        """Payload and vector."""
        payload = self.projection.payload_of(row.get("payload_json"))
        if not self.projection.vectors:
            return payload, None
        return payload, restored(row[self.schema.vector], row.get("kept", ""))

    def point(self, row: Mapping[str, Any]) -> VectorPoint:
        """The point of a row."""
        payload, vector = self.parts(row)
        sparse = sparse_vector(row[self.schema.slot(Slot.SPARSE)]) if self.gives_sparse else None
        return VectorPoint(decode_id(row["id"], CODE), vector, payload, sparse)
