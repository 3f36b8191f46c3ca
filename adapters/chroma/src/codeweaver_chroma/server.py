"""A Chroma server, by its HTTP interface of version 2.

The client's own asynchronous calls are not used: all of its clients on an event loop share one connection pool, the
headers of the first one included, so that one's key is sent for another; and no call of theirs ever times out.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

import httpx
import orjson

from codeweaver_backends.types import FloatMatrix
from codeweaver_chroma.config import ChromaConfig
from codeweaver_chroma.engine import EXACT_SIZE, Engine, Rows
from codeweaver_chroma.errors import answered
from codeweaver_chroma.filters import Where
from codeweaver_chroma.plugin import SERVER_CAPABILITIES

__all__ = ["Server"]

_PAUSE: Final = 0.1
"""Seconds before the second try; doubled each time."""
_DELETED_PER_SECOND: Final = 10_000
"""More than anybody can delete: Chroma needs a millisecond or more for a point."""


class Server(Engine):
    """One backend's connections to a server."""

    def __init__(self, config: ChromaConfig, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.capabilities = SERVER_CAPABILITIES
        self._config = config
        headers = {"content-type": "application/json"}
        if config.api_key is not None:
            headers["x-chroma-token"] = config.api_key.get_secret_value()
        self._grown: dict[str, float] = {}
        """Until when a collection cannot have shrunk to ``EXACT_SIZE`` rows, whatever others do."""
        self._client = httpx.AsyncClient(
            base_url=config.address,
            headers=headers,
            timeout=config.timeout,
            limits=httpx.Limits(max_connections=config.max_connections),
            trust_env=False,
            transport=transport,
        )
        self._collections = (
            f"/api/v2/tenants/{quote(config.tenant, safe='')}/databases/{quote(config.database, safe='')}/collections"
        )

    @classmethod
    async def connect(cls, config: ChromaConfig) -> Server:
        """See that the server answers, and accepts us."""
        server = cls(config)
        try:
            await server.ping()
        except BaseException:
            await server.close()
            raise
        return server

    async def close(self) -> None:
        await self._client.aclose()

    async def ping(self) -> None:
        await self._call("GET", f"{self._collections}?limit=1", retry=False)

    async def _call(self, method: str, path: str, body: object = None, *, retry: bool) -> Any:
        content = None if body is None else orjson.dumps(body)
        async with asyncio.timeout(self._config.timeout):
            for attempt in range(self._config.retries if retry else 0):
                try:
                    return await self._once(method, path, content)
                except httpx.TransportError as error:
                    if isinstance(error, httpx.TimeoutException):
                        raise
                await asyncio.sleep(_PAUSE * 2**attempt)
            return await self._once(method, path, content)

    async def _once(self, method: str, path: str, content: bytes | None) -> Any:
        response = answered(await self._client.request(method, path, content=content))
        return orjson.loads(response.content)

    # --- collections ---

    async def _listed(self, limit: int, offset: int) -> Sequence[Mapping[str, Any]]:
        found: Sequence[Mapping[str, Any]] = await self._call(
            "GET", f"{self._collections}?limit={limit}&offset={offset}", retry=True
        )
        return found

    async def _one(self, physical: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = await self._call("GET", f"{self._collections}/{physical}", retry=True)
        return found

    async def _create(self, physical: str, metadata: dict[str, Any], hnsw: dict[str, Any]) -> Mapping[str, Any]:
        body = {"name": physical, "metadata": metadata, "configuration": {"hnsw": hnsw}}
        made: Mapping[str, Any] = await self._call("POST", self._collections, body, retry=False)
        return made

    async def _drop(self, physical: str) -> None:
        await self._call("DELETE", f"{self._collections}/{physical}", retry=False)

    # --- points ---

    async def replace(self, collection: str, rows: Rows) -> None:
        known = (await self.get(collection, keys=rows.keys))["ids"]
        if known:
            await self.delete(collection, known)
        body = {
            "ids": rows.keys,
            "embeddings": [base64.b64encode(row.tobytes()).decode() for row in rows.vectors.astype("<f4", copy=False)],
            "metadatas": rows.metadatas,
            "uris": rows.documents,
        }
        await self._call("POST", f"{self._collections}/{collection}/add", body, retry=False)

    async def delete(self, collection: str, keys: Sequence[str]) -> None:
        self._grown.pop(collection, None)
        await self._call("POST", f"{self._collections}/{collection}/delete", {"ids": keys}, retry=False)

    async def get(
        self,
        collection: str,
        *,
        keys: Sequence[str] | None = None,
        where: Where | None = None,
        include: Sequence[str] = (),
    ) -> Mapping[str, Any]:
        body = {"ids": keys, "where": where, "include": include}
        found: Mapping[str, Any] = await self._call("POST", f"{self._collections}/{collection}/get", body, retry=True)
        return found

    async def query(
        self,
        collection: str,
        vector: FloatMatrix,
        limit: int,
        *,
        keys: Sequence[str] | None = None,
        where: Where | None = None,
        include: Sequence[str] = (),
    ) -> Mapping[str, Any]:
        body = {
            "ids": keys,
            "where": where,
            "query_embeddings": [vector.tolist()],
            "n_results": limit,
            "include": include,
        }
        found = await self._call("POST", f"{self._collections}/{collection}/query", body, retry=True)
        return {name: found[name] and found[name][0] for name in ("ids", *include)}

    async def count(self, collection: str) -> int:
        counted: int = await self._call("GET", f"{self._collections}/{collection}/count", retry=True)
        return counted

    def is_grown(self, collection: str) -> bool:
        return time.monotonic() < self._grown.get(collection, 0.0)

    async def is_small(self, collection: str) -> bool:
        asked = time.monotonic()
        beyond = await self.count(collection) - EXACT_SIZE
        self._grown[collection] = asked + beyond / _DELETED_PER_SECOND
        return beyond <= 0
