"""A Chroma server, by its HTTP interface of version 2.

The client's own asynchronous calls are not used: all of its clients on an event loop share one connection pool, the
headers of the first one included, so that one's key is sent for another; and no call of theirs ever times out.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

import httpx
import orjson

from codeweaver_backends.errors import BackendConnectionError
from codeweaver_backends.sdk import Underway
from codeweaver_backends.types import FloatMatrix
from codeweaver_chroma.client import Client
from codeweaver_chroma.config import ChromaConfig
from codeweaver_chroma.dialect import Where
from codeweaver_chroma.errors import NO_CHROMA, answered
from codeweaver_chroma.plugin import SERVER_CAPABILITIES
from codeweaver_chroma.schema import EXACT_SIZE, Rows

__all__ = ["ServerClient"]

_DELETED_PER_SECOND: Final = 10_000
"""More than anybody can delete: Chroma needs a millisecond or more for a point."""


class ServerClient(Client):
    """One backend's connections to a server."""

    def __init__(self, config: ChromaConfig, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.capabilities = SERVER_CAPABILITIES
        headers = {"content-type": "application/json"}
        if config.api_key is not None:
            headers["x-chroma-token"] = config.api_key.get_secret_value()
        self._grown: dict[str, float] = {}
        """Until when a collection cannot have shrunk to ``EXACT_SIZE`` rows, whatever others do."""
        self._requests = Underway()
        self._client = httpx.AsyncClient(
            base_url=config.address,
            headers=headers,
            timeout=config.timeout,
            limits=httpx.Limits(max_connections=config.max_connections),
            # Else SSL_CERT_FILE and SSL_CERT_DIR name authorities of one's own, whether there is a proxy or not.
            verify=config.tls_context() or httpx.create_ssl_context(),
            trust_env=config.uses_proxy,
            transport=transport,
        )
        self._collections = (
            f"/api/v2/tenants/{quote(config.tenant, safe='')}/databases/{quote(config.database, safe='')}/collections"
        )

    @classmethod
    async def connect(cls, config: ChromaConfig) -> ServerClient:
        """See that a Chroma server answers, and accepts us."""
        client = cls(config)
        try:
            await client.ping()
            client.version = f"Chroma {await client._call('GET', '/api/v2/version')}"
        except BaseException:
            await client.close()
            raise
        return client

    async def close(self) -> None:
        await self._requests.end()
        try:
            await self._client.aclose()
        except RuntimeError:
            # The event loop of the connections is over, and they with it.
            if not self._client.is_closed:
                raise

    async def ping(self) -> None:
        await self._listed(1, 0)

    async def _call(self, method: str, path: str, body: object = None) -> Any:
        content = None if body is None else orjson.dumps(body)
        return answered(await self._requests.answer(self._client.request(method, path, content=content)))

    # --- collections ---

    async def _listed(self, limit: int, offset: int) -> Sequence[Mapping[str, Any]]:
        found = await self._call("GET", f"{self._collections}?limit={limit}&offset={offset}")
        if not isinstance(found, list):
            raise BackendConnectionError(NO_CHROMA)
        return found

    async def _one(self, physical: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = await self._call("GET", f"{self._collections}/{physical}")
        return found

    async def _create(self, physical: str, metadata: dict[str, Any], hnsw: dict[str, Any]) -> Mapping[str, Any]:
        body = {"name": physical, "metadata": metadata, "configuration": {"hnsw": hnsw}}
        made: Mapping[str, Any] = await self._call("POST", self._collections, body)
        return made

    async def _drop(self, physical: str) -> None:
        await self._call("DELETE", f"{self._collections}/{physical}")

    # --- rows ---

    async def upsert(self, collection: str, rows: Rows) -> None:
        body = {
            "ids": rows.keys,
            "embeddings": [base64.b64encode(row.tobytes()).decode() for row in rows.vectors.astype("<f4", copy=False)],
            "metadatas": rows.metadatas,
            "uris": rows.uris,
        }
        await self._call("POST", f"{self._collections}/{collection}/upsert", body)

    async def delete(self, collection: str, keys: Sequence[str]) -> None:
        self._grown.pop(collection, None)
        await self._call("POST", f"{self._collections}/{collection}/delete", {"ids": keys})

    async def get(
        self,
        collection: str,
        *,
        keys: Sequence[str] | None = None,
        where: Where | None = None,
        include: Sequence[str] = (),
    ) -> Mapping[str, Any]:
        body = {"ids": keys, "where": where, "include": include}
        found: Mapping[str, Any] = await self._call("POST", f"{self._collections}/{collection}/get", body)
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
        found = await self._call("POST", f"{self._collections}/{collection}/query", body)
        return {name: found[name] and found[name][0] for name in ("ids", *include)}

    async def count(self, collection: str) -> int:
        counted: int = await self._call("GET", f"{self._collections}/{collection}/count")
        return counted

    def is_grown(self, collection: str) -> bool:
        return time.monotonic() < self._grown.get(collection, 0.0)

    async def is_small(self, collection: str) -> bool:
        asked = time.monotonic()
        beyond = await self.count(collection) - EXACT_SIZE
        self._grown[collection] = asked + beyond / _DELETED_PER_SECOND
        return beyond <= 0
