"""The backend of a Qdrant server, by whichever road answers."""

from __future__ import annotations

import asyncio
from typing import ClassVar, Final
from urllib.parse import urlsplit

from codeweaver_backends.capabilities import BackendCapabilities
from codeweaver_backends.errors import BackendConnectionError
from codeweaver_qdrant.backend import BaseQdrantBackend
from codeweaver_qdrant.client import open_client, version_of
from codeweaver_qdrant.config import QdrantConfig
from codeweaver_qdrant.grpc_client import GrpcClient
from codeweaver_qdrant.plugin import CAPABILITIES
from codeweaver_qdrant.rest_client import RestClient
from codeweaver_qdrant.schema import Collection

__all__ = ["QdrantBackend"]

_PROBE: Final = 2.0
"""Seconds that a guessed gRPC port is given to answer."""


class QdrantBackend(BaseQdrantBackend[Collection]):
    """Collections on a server."""

    name: ClassVar[str] = "qdrant"
    part_points = 256
    part_bytes = 8_000_000
    config: QdrantConfig

    def __init__(self, config: QdrantConfig) -> None:
        super().__init__(config)
        self._capabilities = CAPABILITIES
        self._server_version: str | None = None

    @property
    def capabilities(self) -> BackendCapabilities:
        return self._capabilities

    @property
    def server_version(self) -> str | None:
        """The server's own version, once connected."""
        return self._server_version

    async def _connect(self) -> None:
        client = self._client = await self._reach()
        self._server_version = f"Qdrant {'.'.join(map(str, client.version))}"
        if not client.finds_substrings:
            self._capabilities = CAPABILITIES.model_copy(update={"supports_contains": False})

    async def _reach(self) -> GrpcClient | RestClient:
        config = self.config
        if config.transport == "grpc":
            return await self._opened(GrpcClient)
        is_guess = config.grpc_port is None and urlsplit(config.address).port in (None, config.default_port)
        if config.transport == "auto" and (is_guess or config.grpc_port is not None):
            try:
                async with asyncio.timeout(min(_PROBE, config.timeout / 2)):
                    return await self._opened(GrpcClient)
            except (BackendConnectionError, TimeoutError):
                pass  # nobody speaks gRPC there: REST is the other road
        return await self._opened(RestClient)

    async def _opened(self, road: type[GrpcClient | RestClient]) -> GrpcClient | RestClient:
        client = open_client(self.config, grpc=road is GrpcClient)
        try:
            version = version_of((await client.info()).version)
        except BaseException as error:
            await client.close()
            if isinstance(error, Exception):
                raise self._translated(error) from error
            raise
        return road(client, version, timeout=self.config.timeout, lost=self._handles.clear)
