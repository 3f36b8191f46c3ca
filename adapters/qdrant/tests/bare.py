"""The engine's own clients, used directly and well: what the adapter's cost is compared with."""

from __future__ import annotations

import asyncio
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np

_NAME = "bare"
_ROWS = 256


class Bare:
    """One of the two below, by the settings."""

    async def open(self, settings: dict[str, Any]) -> None:
        self._engine: _BareEdge | _BareServer = _BareEdge(settings) if "path" in settings else _BareServer(settings)

    async def ingest(self, ids: list[str], vectors: np.ndarray, payloads: list[dict[str, Any]]) -> None:
        await self._engine.ingest(ids, vectors, payloads)

    async def search(
        self, vector: list[float], limit: int, *, language: str | None = None, module: str | None = None
    ) -> list[str]:
        tests = {"language": language, "module": module}
        return await self._engine.search(vector, limit, {key: one for key, one in tests.items() if one is not None})

    async def close(self) -> None:
        await self._engine.close()


def _chunks(ids: list[str], vectors: np.ndarray, payloads: list[dict[str, Any]]) -> Iterator[tuple[Any, Any, Any]]:
    for start in range(0, len(ids), _ROWS):
        part = slice(start, start + _ROWS)
        # Qdrant takes UUIDs only: the caller's id travels in the payload.
        own = [str(uuid.uuid5(uuid.NAMESPACE_OID, one)) for one in ids[part]]
        yield (
            own,
            vectors[part].tolist(),
            [{"id": one, **rest} for one, rest in zip(ids[part], payloads[part], strict=True)],
        )


class _BareEdge:
    def __init__(self, settings: dict[str, Any]) -> None:
        import qdrant_edge

        self._edge = qdrant_edge
        self._folder = Path(settings["path"]) / _NAME
        self._shard: Any = None

    async def ingest(self, ids: list[str], vectors: np.ndarray, payloads: list[dict[str, Any]]) -> None:
        edge = self._edge
        await self.close()
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        vector = edge.EdgeVectorParams(size=vectors.shape[1], distance=edge.Distance.Cosine)
        self._shard = edge.EdgeShard.create(str(self._folder), edge.EdgeConfig(vectors=vector))
        self._shard.update(edge.UpdateOperation.create_field_index("language", edge.PayloadSchemaType.Keyword))
        for chunk in _chunks(ids, vectors, payloads):
            points = [edge.Point(*point) for point in zip(*chunk, strict=True)]
            self._shard.update(edge.UpdateOperation.upsert_points(points))
            await asyncio.sleep(0)

    async def search(self, vector: list[float], limit: int, tests: dict[str, str]) -> list[str]:
        edge = self._edge
        must = [edge.FieldCondition(key, match=edge.MatchValue(one)) for key, one in tests.items()]
        request = edge.QueryRequest(
            limit=limit,
            query=edge.Query.Nearest(vector),
            filter=edge.Filter(must=must) if must else None,
            with_payload=True,
        )
        return [hit.payload["id"] for hit in self._shard.query(request)]

    async def close(self) -> None:
        if self._shard is not None:
            self._shard.close()


class _BareServer:
    def __init__(self, settings: dict[str, Any]) -> None:
        from qdrant_client import AsyncQdrantClient

        self._client = AsyncQdrantClient(
            url=settings.get("url"),
            host=None if settings.get("url") else "127.0.0.1",
            port=settings.get("port", 6333),
            grpc_port=settings["grpc_port"],
            prefer_grpc=settings["transport"] == "grpc",
            check_compatibility=False,
            timeout=60,
            limits=httpx.Limits(max_connections=16, max_keepalive_connections=16),
        )

    async def ingest(self, ids: list[str], vectors: np.ndarray, payloads: list[dict[str, Any]]) -> None:
        from qdrant_client import models

        await self._client.delete_collection(_NAME)
        await self._client.create_collection(
            _NAME,
            vectors_config=models.VectorParams(size=vectors.shape[1], distance=models.Distance.COSINE),
            optimizers_config=models.OptimizersConfigDiff(indexing_threshold=1_000_000),  # exact, as the adapter is
        )
        await self._client.create_payload_index(_NAME, "language", models.PayloadSchemaType.KEYWORD)
        for chunk in _chunks(ids, vectors, payloads):
            points = [
                models.PointStruct(id=one, vector=vector, payload=payload)
                for one, vector, payload in zip(*chunk, strict=True)
            ]
            await self._client.upsert(_NAME, points, wait=True)

    async def search(self, vector: list[float], limit: int, tests: dict[str, str]) -> list[str]:
        from qdrant_client import models

        must = [models.FieldCondition(key=key, match=models.MatchValue(value=one)) for key, one in tests.items()]
        response = await self._client.query_points(
            _NAME, vector, query_filter=models.Filter(must=must) if must else None, limit=limit, with_payload=True
        )
        return [hit.payload["id"] for hit in response.points]

    async def close(self) -> None:
        await self._client.close()
