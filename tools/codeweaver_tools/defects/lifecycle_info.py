"""Collections: listed, counted and described wrongly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

from codeweaver_backends.errors import InvalidOptionError
from codeweaver_backends.memory.config import MemoryConfig
from codeweaver_backends.memory.plugin import CAPABILITIES
from codeweaver_backends.sdk.lifetime import operation
from codeweaver_backends.sdk.requests import Batch
from codeweaver_backends.types import CollectionInfo, DistanceMetric, PointId
from codeweaver_tools.defects.lifecycle import Remembering
from codeweaver_tools.defects.registry import plant
from codeweaver_tools.defects.rig import Collection, Rig

_COSINE = DistanceMetric.COSINE


class _FirstPage(Rig):
    page: ClassVar[int]

    @operation
    async def list_collections(self) -> list[str]:
        return (await super().list_collections())[: self.page]


@plant("lif-list-truncated", "list_collections returns the first ten.")
class _ListTruncated(_FirstPage):
    page = 10


@plant("lif-list-truncated-100", "list_collections returns the first hundred.")
class _ListTruncated100(_FirstPage):
    page = 100


@plant("lif-list-twice", "list_collections names a collection once per page it stands on.")
class _ListTwice(Rig):
    @operation
    async def list_collections(self) -> list[str]:
        names = await super().list_collections()
        return names + names[9:10]


@plant("lif-list-internal", "list_collections shows the adapter's own tables.")
class _ListInternal(Rig):
    @operation
    async def list_collections(self) -> list[str]:
        return [one for name in await super().list_collections() for one in (name, f"{name}__facts")]


@plant("lif-list-used-only", "list_collections names the collections that this instance has used.")
class _ListUsedOnly(Remembering):
    def _collection(self, name: str) -> Collection:
        collection = super()._collection(name)
        self._known[name] = collection.settings
        return collection

    @operation
    async def list_collections(self) -> list[str]:
        return [one for one in await super().list_collections() if one in self._known]


@plant("lif-info-lies", "get_collection_info tells the dimension that was configured last.")
class _InfoLies(Rig):
    _last = 0

    @operation
    async def create_collection(
        self, name: str, dimension: int, distance_metric: DistanceMetric = _COSINE, **kwargs: Any
    ) -> None:
        await super().create_collection(name, dimension, distance_metric, **kwargs)
        self._last = dimension

    @operation
    async def get_collection_info(self, name: str) -> CollectionInfo:
        info = await super().get_collection_info(name)
        info.dimension = self._last
        return info


@plant("lif-info-name", "get_collection_info tells the engine's name of a collection.")
class _InfoName(Rig):
    @operation
    async def get_collection_info(self, name: str) -> CollectionInfo:
        info = await super().get_collection_info(name)
        info.name = f"cw_{name}"
        return info


@plant("lif-count-is-dimension", "vector_count is the vectors' size.")
class _CountIsDimension(Rig):
    @operation
    async def get_collection_info(self, name: str) -> CollectionInfo:
        info = await super().get_collection_info(name)
        info.vector_count = info.dimension
        return info


@plant("lif-count-stale", "vector_count counts the rows ever written.")
class _CountStale(Rig):
    _rows: ClassVar[dict[int, int]] = {}

    def _write_all(self, collection: Collection, batch: Batch) -> None:
        self._rows[id(collection.settings)] = self._rows.get(id(collection.settings), 0) + len(batch)
        super()._write_all(collection, batch)

    @operation
    async def get_collection_info(self, name: str) -> CollectionInfo:
        info = await super().get_collection_info(name)
        info.vector_count = self._rows.get(id(self._collections[name].settings), 0)
        return info


@plant("lif-count-deletes-asked", "vector_count subtracts every id that a delete names.")
class _CountDeletesAsked(Rig):
    def __init__(self, config: MemoryConfig) -> None:
        super().__init__(config)
        self._asked: dict[str, int] = {}

    @operation
    async def delete_vectors(self, collection_name: str, ids: Sequence[PointId]) -> None:
        points = self._collection(collection_name).points
        before = len(points)
        await super().delete_vectors(collection_name, ids)
        ghosts = len(set(ids)) - (before - len(points))
        self._asked[collection_name] = self._asked.get(collection_name, 0) + ghosts

    @operation
    async def get_collection_info(self, name: str) -> CollectionInfo:
        info = await super().get_collection_info(name)
        info.vector_count = max(0, info.vector_count - self._asked.get(name, 0))
        return info


class _WithOptions(Rig):
    claims = CAPABILITIES.model_copy(update={"engine_options": {"shards": "integer", "on_disk": "boolean"}})


@plant("lif-option-forgotten", "The engine's options are taken, and told by the instance that was given them alone.")
class _OptionForgotten(_WithOptions):
    def __init__(self, config: MemoryConfig) -> None:
        super().__init__(config)
        self._given: dict[str, Any] = {}

    @operation
    async def create_collection(self, name: str, *args: Any, **kwargs: Any) -> None:
        await super().create_collection(name, *args, **kwargs)
        self._given[name] = kwargs.get("engine_options", {})

    @operation
    async def get_collection_info(self, name: str) -> CollectionInfo:
        return replace(await super().get_collection_info(name), engine_options=self._given.get(name, {}))


class _Lenient(_WithOptions):
    def kept(self, options: Any) -> Any:
        """The options that are not swallowed."""
        return options

    @operation
    async def create_collection(self, name: str, *args: Any, **kwargs: Any) -> None:
        if isinstance(given := kwargs.get("engine_options"), dict):
            kwargs["engine_options"] = self.kept(given)
        await super().create_collection(name, *args, **kwargs)


@plant("lif-option-unknown", "An option that the engine does not have is taken, and has no effect.")
class _OptionUnknown(_Lenient):
    def kept(self, options: Any) -> Any:
        return {name: value for name, value in options.items() if name in self.claims.engine_options}


@plant("lif-option-type", "An option of the engine may be a text where it is an integer.")
class _OptionType(_Lenient):
    def kept(self, options: Any) -> Any:
        return {name: int(value) if isinstance(value, str) else value for name, value in options.items()}


@plant("lif-option-late", "An option of the engine that is refused leaves a collection without it.")
class _OptionLate(_WithOptions):
    @operation
    async def create_collection(self, name: str, *args: Any, **kwargs: Any) -> None:
        try:
            await super().create_collection(name, *args, **kwargs)
        except InvalidOptionError:
            await super().create_collection(name, *args, **(kwargs | {"engine_options": {}}))
            raise
