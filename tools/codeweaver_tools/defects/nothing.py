"""Backends that must not be certified: they answer nothing, deny everything, die of faults of their own, skip tests."""

from __future__ import annotations

from typing import Any

import pytest

from codeweaver_backends.capabilities import BackendCapabilities
from codeweaver_backends.errors import UnsupportedError
from codeweaver_backends.memory.config import MemoryConfig
from codeweaver_backends.types import CollectionInfo, DistanceMetric, SearchResult
from codeweaver_tools.defects.registry import plugin_for
from codeweaver_tools.defects.rig import Rig

__all__ = ["HOPELESS", "denier", "faulty", "null", "skipper"]

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


async def _died(self: Any, *args: Any, **kwargs: Any) -> Any:
    raise AttributeError("'NoneType' object has no attribute 'client'")


class _Faulty(_Null):
    """Dies in every call of a fault of its own."""

    claims = Rig.claims
    create_collection = list_collections = delete_collection = get_collection_info = _died
    upsert_vectors = search_vectors = delete_vectors = health_check = _died


async def _skipped(self: Any, *args: Any, **kwargs: Any) -> Any:
    pytest.skip("denied as declared: everything")


class _Skipper(_Null):
    """Leaves the test by every call, so that none of them comes to anything."""

    claims = Rig.claims
    create_collection = list_collections = delete_collection = get_collection_info = _skipped
    upsert_vectors = search_vectors = delete_vectors = health_check = _skipped


null = plugin_for(_Null, "null")
denier = plugin_for(_Denier, "denier")
faulty = plugin_for(_Faulty, "faulty")
skipper = plugin_for(_Skipper, "skipper")
HOPELESS = ("null", "denier", "faulty", "skipper")
"""Their names here."""
