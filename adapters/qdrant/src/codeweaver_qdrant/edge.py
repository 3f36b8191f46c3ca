"""The backend of Qdrant Edge."""

from __future__ import annotations

from typing import ClassVar

from codeweaver_backends.capabilities import BackendCapabilities
from codeweaver_qdrant.backend import BaseQdrantBackend
from codeweaver_qdrant.config import QdrantEdgeConfig
from codeweaver_qdrant.edge_client import EdgeClient
from codeweaver_qdrant.edge_folder import FOLDERS, EdgeCollection
from codeweaver_qdrant.plugin import EDGE_CAPABILITIES

__all__ = ["QdrantEdgeBackend"]


class QdrantEdgeBackend(BaseQdrantBackend[EdgeCollection]):
    """Collections in a folder of this machine."""

    name: ClassVar[str] = "qdrant-edge"
    any_loop: ClassVar[bool] = True
    remembers_handles: ClassVar[bool] = False
    _never_suspends: ClassVar[bool] = True
    legs_at_once: ClassVar[bool] = False
    part_points = 250
    part_bytes = 4_000_000
    config: QdrantEdgeConfig
    _client: EdgeClient

    def __init__(self, config: QdrantEdgeConfig) -> None:
        super().__init__(config)

    @property
    def capabilities(self) -> BackendCapabilities:
        return EDGE_CAPABILITIES

    async def _connect(self) -> None:
        self._client = EdgeClient(await FOLDERS.open(self.config.path))

    def _abandon(self) -> None:
        self._client.abandon()
