"""pymilvus used directly, as a good user of it would: what the adapter is measured against."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from pymilvus import AsyncMilvusClient, DataType

_NAME = "bare"
_TEXTS = ("path", "module", "name", "kind", "language")
_FIELDS = (*_TEXTS, "line", "lines", "has_doc", "tags")
_ROWS = 1_000


class Bare:
    async def open(self, settings: dict[str, Any]) -> None:
        # The client logs a traceback for the call that Lite lacks.
        logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
        self._lite = "path" in settings
        if self._lite:
            address = str(Path(settings["path"]).with_name("bare.db"))
        else:
            address = settings.get("url") or f"http://{settings['host']}:{settings['port']}"
        self._client = AsyncMilvusClient(address, token=settings.get("api_key", ""), dedicated=True)

    async def ingest(self, ids: list[str], vectors: np.ndarray, payloads: list[dict[str, Any]]) -> None:
        if await self._client.has_collection(_NAME):
            await self._client.drop_collection(_NAME)
        schema = AsyncMilvusClient.create_schema()
        schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=512)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=vectors.shape[1])
        for name in _TEXTS:
            schema.add_field(name, DataType.VARCHAR, max_length=1_024)
        schema.add_field("line", DataType.INT64)
        schema.add_field("lines", DataType.INT64)
        schema.add_field("has_doc", DataType.BOOL)
        schema.add_field("tags", DataType.ARRAY, element_type=DataType.VARCHAR, max_capacity=64, max_length=256)
        await self._client.create_collection(_NAME, schema=schema)
        await self._index("vector", "FLAT", metric_type="COSINE")
        await self._index("language", "INVERTED" if self._lite else "Trie")
        await self._client.load_collection(_NAME)
        for start in range(0, len(ids), _ROWS):
            part = slice(start, start + _ROWS)
            points = zip(ids[part], vectors[part].tolist(), payloads[part], strict=True)
            rows = [{"id": one, "vector": vector, **payload} for one, vector, payload in points]
            await self._client.upsert(_NAME, rows)
        self._unflushed = self._lite

    async def _index(self, field: str, kind: str, **options: Any) -> None:
        index = self._client.prepare_index_params()
        index.add_index(field, index_type=kind, **options)
        try:
            await self._client.create_index(_NAME, index)
        except grpc.RpcError as error:
            # Lite makes the index, and then lacks the call by which the client waits for it.
            if error.code() is not grpc.StatusCode.UNIMPLEMENTED:
                raise

    async def search(
        self, vector: list[float], limit: int, *, language: str | None = None, module: str | None = None
    ) -> list[str]:
        if self._unflushed:
            await self._client.flush(_NAME)
            self._unflushed = False
        wanted = {"language": language, "module": module}
        tests = [f'{name} == "{value}"' for name, value in wanted.items() if value is not None]
        found = await self._client.search(
            _NAME,
            data=[vector],
            anns_field="vector",
            limit=limit,
            filter=" and ".join(tests),
            output_fields=list(_FIELDS),
            consistency_level="Session",
        )
        return [hit["id"] for hit in found[0]]

    async def close(self) -> None:
        if await self._client.has_collection(_NAME):
            await self._client.drop_collection(_NAME)
        await self._client.close()
