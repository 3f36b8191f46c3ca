"""Collections: made, listed, described and deleted wrongly."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, ClassVar

from codeweaver_backends.errors import BackendConnectionError, CollectionExistsError, CollectionNotFoundError
from codeweaver_backends.memory.config import MemoryConfig
from codeweaver_backends.sdk.lifetime import operation
from codeweaver_backends.sdk.requests import CollectionSettings
from codeweaver_backends.sdk.validate import validate_name
from codeweaver_backends.types import DistanceMetric, PointId, SearchResult, VectorPoint
from codeweaver_tools.defects.registry import plant
from codeweaver_tools.defects.rig import Collection, Rig

_COSINE = DistanceMetric.COSINE


@plant("lif-create-wipes", "Creating an existing collection makes it anew, without its points.")
class _CreateWipes(Rig):
    @operation
    async def create_collection(
        self, name: str, dimension: int, distance_metric: DistanceMetric = _COSINE, **kwargs: Any
    ) -> None:
        self._collections.pop(name, None)
        await super().create_collection(name, dimension, distance_metric, **kwargs)


@plant("lif-create-raises-and-wipes", "Creating an existing collection raises, and empties it.")
class _CreateRaisesAndWipes(Rig):
    @operation
    async def create_collection(
        self, name: str, dimension: int, distance_metric: DistanceMetric = _COSINE, **kwargs: Any
    ) -> None:
        try:
            await super().create_collection(name, dimension, distance_metric, **kwargs)
        except CollectionExistsError:
            self._collections[name].points.clear()
            raise


@plant("lif-create-silent", "Creating an existing collection returns as if it had worked.")
class _CreateSilent(Rig):
    @operation
    async def create_collection(
        self, name: str, dimension: int, distance_metric: DistanceMetric = _COSINE, **kwargs: Any
    ) -> None:
        try:
            await super().create_collection(name, dimension, distance_metric, **kwargs)
        except CollectionExistsError:
            return


@plant("lif-create-mismatch-silent", "Creating an existing collection with another dimension or metric is no error.")
class _CreateMismatchSilent(Rig):
    @operation
    async def create_collection(
        self, name: str, dimension: int, distance_metric: DistanceMetric = _COSINE, **kwargs: Any
    ) -> None:
        known = self._collections.get(name) if isinstance(name, str) else None
        if known and (known.settings.dimension, known.settings.metric) != (dimension, distance_metric):
            return
        await super().create_collection(name, dimension, distance_metric, **kwargs)


@plant("lif-delete-noop", "delete_collection returns without deleting.")
class _DeleteNoop(Rig):
    @operation
    async def delete_collection(self, name: str) -> None:
        self._collection(name)


@plant("lif-delete-empties", "delete_collection empties the collection and leaves it.")
class _DeleteEmpties(Rig):
    @operation
    async def delete_collection(self, name: str) -> None:
        self._collection(name).points.clear()


@plant("lif-delete-wider", "delete_collection deletes every collection whose name starts so.")
class _DeleteWider(Rig):
    @operation
    async def delete_collection(self, name: str) -> None:
        await super().delete_collection(name)
        for other in [one for one in self._collections if one.startswith(name)]:
            del self._collections[other]


@plant("lif-delete-missing-silent", "Deleting a missing collection is no error.", side="above")
class _DeleteMissingSilent(Rig):
    @operation
    async def delete_collection(self, name: str) -> None:
        if validate_name(name) in self._collections:
            await super().delete_collection(name)


@plant("lif-recreate-resurrects", "A collection created again under an old name has its old points.")
class _Resurrects(Rig):
    _graves: ClassVar[dict[str, dict[Any, Any]]] = {}

    @operation
    async def delete_collection(self, name: str) -> None:
        points = self._collection(name).points
        await super().delete_collection(name)
        self._graves[name] = points

    @operation
    async def create_collection(
        self, name: str, dimension: int, distance_metric: DistanceMetric = _COSINE, **kwargs: Any
    ) -> None:
        await super().create_collection(name, dimension, distance_metric, **kwargs)
        old = self._graves.pop(name, {}).values()
        self._collections[name].points.update((one.id, one) for one in old if len(one.vector) == dimension)


class Remembering(Rig):
    """Settings are remembered by the instance, once and for ever."""

    def __init__(self, config: MemoryConfig) -> None:
        super().__init__(config)
        self._known: dict[str, CollectionSettings] = {}


@plant("lif-stale-schema", "Dimension and metric are cached by name and survive deleting and creating again.")
class _StaleSchema(Remembering):
    def _collection(self, name: str) -> Collection:
        collection = super()._collection(name)
        collection.settings = self._known.setdefault(name, collection.settings)
        return collection


@plant("lif-stale-elsewhere", "An instance does not notice that another one deleted or created a collection anew.")
class _StaleElsewhere(Remembering):
    def __init__(self, config: MemoryConfig) -> None:
        super().__init__(config)
        self._remembered: dict[str, Collection] = {}

    def _collection(self, name: str) -> Collection:
        return self._remembered.get(name) or self._remembered.setdefault(name, super()._collection(name))

    @operation
    async def delete_collection(self, name: str) -> None:
        self._remembered.pop(name, None)
        await super().delete_collection(name)
        self._remembered.pop(name, None)


@plant("lif-cross-leak", "Collections of one dimension share one table, and nothing tells them apart.")
class _CrossLeak(Rig):
    @operation
    async def create_collection(
        self, name: str, dimension: int, distance_metric: DistanceMetric = _COSINE, **kwargs: Any
    ) -> None:
        shared = [one.points for one in self._collections.values() if one.settings.dimension == dimension]
        await super().create_collection(name, dimension, distance_metric, **kwargs)
        if shared:
            self._collections[name].points = shared[0]


@plant("lif-delete-leaks", "A delete takes the ids from every collection.")
class _DeleteLeaks(Rig):
    @operation
    async def delete_vectors(self, collection_name: str, ids: Sequence[PointId]) -> None:
        await super().delete_vectors(collection_name, ids)
        for one in ids:
            for collection in self._collections.values():
                collection.points.pop(one, None)


@plant("lif-first-use-race", "Check, pause, create: of concurrent creations the last one wipes the others.")
class _FirstUseRace(Rig):
    @operation
    async def create_collection(
        self, name: str, dimension: int, distance_metric: DistanceMetric = _COSINE, **kwargs: Any
    ) -> None:
        free = isinstance(name, str) and name not in self._collections
        await asyncio.sleep(0)
        if free:
            self._collections.pop(name, None)
        await super().create_collection(name, dimension, distance_metric, **kwargs)


@plant("lif-first-use-native", "Of concurrent creations all but one fail with the engine's own error.")
class _FirstUseNative(Rig):
    @operation
    async def create_collection(
        self, name: str, dimension: int, distance_metric: DistanceMetric = _COSINE, **kwargs: Any
    ) -> None:
        free = isinstance(name, str) and name not in self._collections
        await asyncio.sleep(0)
        if free and name in self._collections:
            raise RuntimeError("table already exists")
        await super().create_collection(name, dimension, distance_metric, **kwargs)


@plant("lif-auto-create", "Writing to a missing collection creates it.", side="above")
class _AutoCreate(Rig):
    @operation
    async def upsert_vectors(self, collection_name: str, vectors: list[VectorPoint]) -> None:
        if collection_name not in self._collections and vectors:
            await self.create_collection(collection_name, len(vectors[0].vector or ()))
        await super().upsert_vectors(collection_name, vectors)


@plant("lif-missing-is-empty", "Searching a missing collection finds nothing.", side="above")
class _MissingIsEmpty(Rig):
    async def search_vectors(self, *args: Any, **kwargs: Any) -> list[SearchResult]:
        try:
            return await super().search_vectors(*args, **kwargs)
        except CollectionNotFoundError:
            return []


@plant("lif-missing-shortcut", "Writing or deleting nothing in a missing collection is no error.", side="above")
class _MissingShortcut(Rig):
    @operation
    async def upsert_vectors(self, collection_name: str, vectors: list[VectorPoint]) -> None:
        if vectors != []:
            await super().upsert_vectors(collection_name, vectors)

    @operation
    async def delete_vectors(self, collection_name: str, ids: Sequence[PointId]) -> None:
        if ids != []:
            await super().delete_vectors(collection_name, ids)


# --- closed under a running call --------------------------------------------------------------------------------------


class _Slow(Rig):
    """Searches take a moment, in which the backend may be closed."""

    async def search_vectors(self, *args: Any, **kwargs: Any) -> list[SearchResult]:
        found = await super().search_vectors(*args, **kwargs)
        await asyncio.sleep(0.01)
        if self._is_closed:
            await self.ended()
        return found

    async def ended(self) -> None:
        """What becomes of it then."""


@plant("lif-closing-cancels", "Closing cancels the searches that are under way.")
class _ClosingCancels(_Slow):
    async def ended(self) -> None:
        raise asyncio.CancelledError


@plant("lif-closing-hangs", "A search that is under way when the backend is closed never ends.")
class _ClosingHangs(_Slow):
    async def ended(self) -> None:
        await asyncio.Event().wait()


@plant("lif-closing-attribute", "A search that is under way when the backend is closed dies without its client.")
class _ClosingAttribute(_Slow):
    async def ended(self) -> None:
        raise AttributeError("'NoneType' object has no attribute 'search'")


@plant("lif-closing-retryable", "A search that is under way when the backend is closed fails as a lost connection.")
class _ClosingRetryable(_Slow):
    async def ended(self) -> None:
        raise BackendConnectionError("the connection was lost")
