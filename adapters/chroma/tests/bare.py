"""chromadb used directly, as a good user of it would: what the adapter is measured against."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import chromadb
import numpy as np
from chromadb.config import Settings

_NAME = "bare"
_ROWS = 500
_CANDIDATES = 1_000
"""As many as the adapter looks at: with Chroma's own 100 the answers would be others."""


class Bare:
    async def open(self, settings: dict[str, Any]) -> None:
        quiet = Settings(anonymized_telemetry=False)
        self._client: Any
        if "path" in settings:
            self._client = chromadb.PersistentClient(str(Path(settings["path"]).with_name("bare")), settings=quiet)
            return
        parts = urlsplit(settings.get("url") or f"http://{settings['host']}:{settings['port']}")
        self._client = chromadb.HttpClient(parts.hostname or "", parts.port or 8_000, settings=quiet)

    async def ingest(self, ids: list[str], vectors: np.ndarray, payloads: list[dict[str, Any]]) -> None:
        def act() -> None:
            if _NAME in {one.name for one in self._client.list_collections()}:
                self._client.delete_collection(_NAME)
            hnsw = {"space": "cosine", "ef_search": _CANDIDATES}
            self._collection = self._client.create_collection(
                _NAME, configuration={"hnsw": hnsw}, embedding_function=None
            )
            for start in range(0, len(ids), _ROWS):
                part = slice(start, start + _ROWS)
                self._collection.upsert(ids[part], embeddings=vectors[part], metadatas=payloads[part])

        await self._run(act)

    async def search(
        self, vector: list[float], limit: int, *, language: str | None = None, module: str | None = None
    ) -> list[str]:
        wanted = {"language": language, "module": module}
        tests = [{name: value} for name, value in wanted.items() if value is not None]
        where: Any = tests[0] if tests else None

        def act() -> Any:
            return self._collection.query(
                query_embeddings=[vector], n_results=limit, where=where, include=["metadatas", "distances"]
            )

        found = await self._run(act)
        ids: list[str] = found["ids"][0]
        return ids

    async def close(self) -> None:
        await self._run(lambda: self._client.delete_collection(_NAME))
        self._client.close()

    async def _run(self, act: Callable[[], Any]) -> Any:
        # The client blocks; an application with an event loop calls it like this.
        return await asyncio.to_thread(act)
