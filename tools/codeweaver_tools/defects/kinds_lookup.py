"""Look-ups that fail and are taken for an answer, in the calls that the base profile does not have."""

from __future__ import annotations

from typing import Any

from codeweaver_backends.errors import BackendAuthenticationError, BackendConnectionError, CollectionNotFoundError
from codeweaver_backends.types import FilterLike, ScrollPage, VectorPoint
from codeweaver_tools.defects.registry import plant
from codeweaver_tools.defects.scanning import ScanningBackend


@plant("lok-get", "A get that fails finds nothing.")
class _Get(ScanningBackend):
    async def get_vectors(self, *arguments: Any, **options: Any) -> list[VectorPoint]:
        try:
            return await super().get_vectors(*arguments, **options)
        except BackendConnectionError:
            return []


@plant("lok-count", "A count that fails is 0.")
class _Count(ScanningBackend):
    async def count_vectors(self, collection_name: str, search_filter: FilterLike | None = None) -> int:
        try:
            return await super().count_vectors(collection_name, search_filter)
        except BackendConnectionError:
            return 0


@plant("lok-scroll-first", "A scroll that fails is at its end.")
class _Scroll(ScanningBackend):
    async def scroll_vectors(self, *arguments: Any, **options: Any) -> ScrollPage:
        try:
            return await super().scroll_vectors(*arguments, **options)
        except BackendConnectionError:
            return ScrollPage([])


@plant("lok-scroll-later", "A scroll that fails after its first page is at its end.")
class _ScrollLater(ScanningBackend):
    async def scroll_vectors(self, *arguments: Any, **options: Any) -> ScrollPage:
        try:
            return await super().scroll_vectors(*arguments, **options)
        except BackendConnectionError:
            if options.get("cursor") is None:
                raise
            return ScrollPage([])


@plant("lok-delete-by-filter", "A delete by filter that fails has deleted nothing, and says so.")
class _DeleteByFilter(ScanningBackend):
    async def delete_by_filter(self, collection_name: str, search_filter: FilterLike) -> int:
        try:
            return await super().delete_by_filter(collection_name, search_filter)
        except BackendConnectionError:
            return 0


@plant("lok-columns", "Columns that cannot be written are told as written.")
class _Columns(ScanningBackend):
    async def upsert_batch(self, *arguments: Any, **options: Any) -> None:
        try:
            await super().upsert_batch(*arguments, **options)
        except BackendConnectionError:
            return


@plant("lok-count-missing", "A count that the server cannot answer is told as a missing collection.")
class _CountMissing(ScanningBackend):
    async def count_vectors(self, collection_name: str, search_filter: FilterLike | None = None) -> int:
        try:
            return await super().count_vectors(collection_name, search_filter)
        except BackendConnectionError as error:
            raise CollectionNotFoundError("the collection does not exist") from error


@plant("lok-get-refused", "With a refused key a get finds nothing.")
class _GetRefused(ScanningBackend):
    async def get_vectors(self, *arguments: Any, **options: Any) -> list[VectorPoint]:
        try:
            return await super().get_vectors(*arguments, **options)
        except BackendAuthenticationError:
            return []


@plant("lok-missing-count", "A count of a missing collection is 0.")
class _MissingCount(ScanningBackend):
    async def count_vectors(self, collection_name: str, search_filter: FilterLike | None = None) -> int:
        try:
            return await super().count_vectors(collection_name, search_filter)
        except CollectionNotFoundError:
            return 0
