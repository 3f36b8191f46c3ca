"""Two backends that must not be certified: one that answers nothing, and one that denies everything."""

from __future__ import annotations

from typing import Any

from codeweaver_backends.capabilities import BackendCapabilities
from codeweaver_backends.errors import UnsupportedError
from codeweaver_backends.memory.config import MemoryConfig
from codeweaver_backends.types import CollectionInfo, DistanceMetric, SearchResult
from codeweaver_tools.defects.registry import plugin_for

__all__ = ["denier", "null"]

_POOR = BackendCapabilities(
    supports_filtering=False, supports_contains=False, supports_datetime_ranges=False, supported_distance_metrics=[]
)


class _Null:
    """Every answer is empty, and of the right type."""

    claims = BackendCapabilities()

    def __init__(self, config: MemoryConfig) -> None:
        self.config = config

    async def create_collection(self, *args: Any, **kwargs: Any) -> None:
        return None

    async def list_collections(self) -> list[str]:
        return []

    async def delete_collection(self, name: str) -> None:
        return None

    async def get_collection_info(self, name: str) -> CollectionInfo:
        return CollectionInfo(name, 2, DistanceMetric.COSINE, 0)

    async def upsert_vectors(self, *args: Any, **kwargs: Any) -> None:
        return None

    async def search_vectors(self, *args: Any, **kwargs: Any) -> list[SearchResult]:
        return []

    async def delete_vectors(self, *args: Any, **kwargs: Any) -> None:
        return None

    async def health_check(self) -> bool:
        return True


async def _denied(self: Any, *args: Any, **kwargs: Any) -> Any:
    raise UnsupportedError("not supported", capability="supports_filtering")


class _Denier(_Null):
    """Claims nothing, and refuses every call as unsupported."""

    claims = _POOR
    create_collection = list_collections = delete_collection = get_collection_info = _denied
    upsert_vectors = search_vectors = delete_vectors = _denied


null = plugin_for(_Null, "null")
denier = plugin_for(_Denier, "denier")
