"""Qdrant Edge: the engine in this process, a folder per collection.

Its calls hold Python's interpreter lock, so threads would not free the event loop: they are made where they are asked
for, in portions that are short. One process at a time may have the folder open; within it all backends share what is
open, so nothing remembered can be out of date.
"""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar

import orjson
import portalocker
import qdrant_edge as edge

from codeweaver_backends.capabilities import BackendCapabilities
from codeweaver_backends.errors import (
    BackendClosedError,
    BackendConnectionError,
    CollectionExistsError,
    CollectionNotFoundError,
)
from codeweaver_backends.sdk.filters.tree import Order
from codeweaver_backends.sdk.names import decode_name, encode_name
from codeweaver_backends.sdk.requests import Batch, CollectionSettings
from codeweaver_backends.types import DistanceMetric, FloatMatrix
from codeweaver_qdrant.backend import BaseQdrantBackend
from codeweaver_qdrant.config import QdrantEdgeConfig
from codeweaver_qdrant.convert import LAYOUT, TOKENS, check_layout, engine_id, engine_payloads, field_of, stored_vectors
from codeweaver_qdrant.errors import RecreatedError
from codeweaver_qdrant.plugin import EDGE_CAPABILITIES
from codeweaver_qdrant.store import Store

__all__ = ["EdgeDialect", "EdgeStore", "QdrantEdgeBackend"]

T = TypeVar("T")

_SETTINGS: Final = "codeweaver.json"
"""Written last and removed first: a folder without it is no collection."""
_ROWS_BETWEEN_FLUSHES: Final = 5_000
_DISTANCES: Final = {
    DistanceMetric.COSINE: edge.Distance.Dot,
    DistanceMetric.DOT_PRODUCT: edge.Distance.Dot,
    DistanceMetric.EUCLIDEAN: edge.Distance.Euclid,
    DistanceMetric.MANHATTAN: edge.Distance.Manhattan,
}


class QdrantEdgeBackend(BaseQdrantBackend):
    """Collections in a folder of this machine."""

    name: ClassVar[str] = "qdrant-edge"
    any_loop: ClassVar[bool] = True
    config: QdrantEdgeConfig

    def __init__(self, config: QdrantEdgeConfig) -> None:
        super().__init__(config)

    @property
    def capabilities(self) -> BackendCapabilities:
        return EDGE_CAPABILITIES

    async def _open_store(self) -> Store:
        return EdgeStore(_Folder.open(self.config.path))


class EdgeDialect:
    """Conditions of ``qdrant_edge``."""

    def any_token(self, tokens: list[str]) -> edge.FieldCondition:
        return edge.FieldCondition(TOKENS, match=edge.MatchTextAny(" ".join(tokens)))

    def compare(self, key: str, order: Order, bound: int) -> edge.FieldCondition:
        name = {"ge": "gte", "le": "lte"}.get(order, order)
        return edge.FieldCondition(key, range=edge.RangeFloat(**{name: float(bound)}))

    def substring(self, key: str, text: str) -> edge.FieldCondition:
        return edge.FieldCondition(key, match=edge.MatchSubstring(text))

    def group(
        self, *, must: Sequence[Any] = (), should: Sequence[Any] = (), must_not: Sequence[Any] = ()
    ) -> edge.Filter:
        return edge.Filter(must=list(must) or None, should=list(should) or None, must_not=list(must_not) or None)


@dataclass(slots=True)
class _Collection:
    settings: CollectionSettings
    path: Path
    shard: edge.EdgeShard | None = None
    unflushed: int = 0

    def opened(self) -> edge.EdgeShard:
        if self.shard is None:
            self.shard = edge.EdgeShard.load(str(self.path))
        return self.shard

    def close(self) -> None:
        if self.shard is not None:
            self.shard.flush()
            self.shard.close()
            self.shard = None


@dataclass(slots=True)
class _Folder:
    """What this process has open below one path, for all of its backends and threads."""

    path: Path
    guard: portalocker.Lock
    lock: threading.RLock = field(default_factory=threading.RLock)
    collections: dict[str, _Collection] = field(default_factory=dict)
    users: int = 0
    is_closed: bool = False

    @classmethod
    def open(cls, path: Path) -> _Folder:
        """The folder, opened by the first who asks for it in this process."""
        resolved = path.expanduser().resolve()
        with _LOCK:
            folder = _FOLDERS.get(resolved)
            if folder is None:
                folder = _FOLDERS[resolved] = cls._locked(resolved)
            folder.users += 1
        return folder

    @classmethod
    def _locked(cls, path: Path) -> _Folder:
        path.mkdir(parents=True, exist_ok=True)
        guard = portalocker.Lock(path / ".lock", mode="a", timeout=0, flags=portalocker.LOCK_EX | portalocker.LOCK_NB)
        try:
            guard.acquire()
        except portalocker.LockException as error:
            raise BackendConnectionError("the folder is open in another process") from error
        try:
            return cls(path, guard, collections=_collections(path))
        except BaseException:
            guard.release()
            raise

    def close(self) -> None:
        """Close for one user; the last one closes everything."""
        with _LOCK:
            self.users -= 1
            if self.users:
                return
            del _FOLDERS[self.path]
            try:
                with self.lock:
                    self.is_closed = True
                    for collection in self.collections.values():
                        collection.close()
            finally:
                self.guard.release()

    def check_open(self) -> None:
        """A call that was under way when the folder was closed must not open a shard of it again."""
        if self.is_closed:
            raise BackendClosedError("the backend was closed")

    def create(self, settings: CollectionSettings) -> None:
        self.check_open()
        if settings.name in self.collections:
            raise CollectionExistsError("the collection exists already")
        home = self.path / encode_name(settings.name)
        shutil.rmtree(home, ignore_errors=True)  # what a process left behind that died while creating or deleting
        (home / "shard").mkdir(parents=True)
        collection = _Collection(settings, home / "shard", _create_shard(home / "shard", settings))
        draft = home / f"{_SETTINGS}.new"
        draft.write_bytes(_settings_document(settings))
        draft.replace(home / _SETTINGS)
        self.collections[settings.name] = collection

    def drop(self, name: str) -> None:
        collection = self.find(name)
        del self.collections[name]
        (collection.path.parent / _SETTINGS).unlink()
        collection.close()
        shutil.rmtree(collection.path.parent)

    def expect(self, settings: CollectionSettings) -> _Collection:
        """The collection, if it is still the one that has these settings: another backend may have made it anew."""
        collection = self.find(settings.name)
        if collection.settings != settings:
            raise RecreatedError("the collection was created again with other settings; try again")
        return collection

    def find(self, name: str) -> _Collection:
        self.check_open()
        try:
            return self.collections[name]
        except KeyError:
            raise CollectionNotFoundError("the collection does not exist") from None


_FOLDERS: Final[dict[Path, _Folder]] = {}
_LOCK: Final = threading.Lock()


def _settings_document(settings: CollectionSettings) -> bytes:
    return orjson.dumps(
        {
            "layout": LAYOUT,
            "name": settings.name,
            "dimension": settings.dimension,
            "metric": settings.metric.value,
            "payload_indexes": dict(settings.payload_indexes),
        }
    )


def _collections(path: Path) -> dict[str, _Collection]:
    found = {}
    for child in path.iterdir():
        name = decode_name(child.name)
        if name is not None and (child / _SETTINGS).is_file():
            found[name] = _Collection(_read_settings(name, child / _SETTINGS), child / "shard")
    return found


def _read_settings(name: str, path: Path) -> CollectionSettings:
    stored = orjson.loads(path.read_bytes())
    check_layout(stored["layout"])
    return CollectionSettings(name, stored["dimension"], DistanceMetric(stored["metric"]), stored["payload_indexes"])


def _create_shard(path: Path, settings: CollectionSettings) -> edge.EdgeShard:
    vector = edge.EdgeVectorParams(size=settings.dimension, distance=_DISTANCES[settings.metric])
    # One segment, which is searched by one thread: more would only wait for each other.
    config = edge.EdgeConfig(vectors={settings.metric.value: vector}, max_search_threads=1)
    shard = edge.EdgeShard.create(str(path), config)
    tokens = edge.TextIndexParams(tokenizer=edge.TokenizerType.Whitespace, lowercase=False)
    shard.update(edge.UpdateOperation.create_field_index(TOKENS, tokens))
    for dotted, kind in settings.payload_indexes.items():
        spelling = field_of(tuple(dotted.split(".")))
        if kind == "keyword":
            shard.update(edge.UpdateOperation.create_field_index(spelling.text, edge.PayloadSchemaType.Keyword))
        elif kind != "bool":
            key = spelling.instant if kind == "datetime" else spelling.number
            shard.update(edge.UpdateOperation.create_field_index(key, edge.PayloadSchemaType.Float))
    return shard


def _floats(vector: FloatMatrix) -> list[float]:
    # A view does for a list, and is read three times faster than one that has to be made.
    return memoryview(vector)  # type: ignore[arg-type,return-value]


class EdgeStore:
    """The folder, asked from an event loop. Every request is one call of the engine, made under the folder's lock."""

    batch_rows = 250
    batch_bytes = 4_000_000

    def __init__(self, folder: _Folder) -> None:
        self.dialect = EdgeDialect()
        self._folder = folder

    async def ping(self) -> None:
        if not self._folder.path.is_dir():
            raise BackendConnectionError("the folder is gone")

    async def close(self) -> None:
        self._folder.close()

    async def names(self) -> list[str]:
        return list(self._folder.collections)

    async def settings(self, name: str) -> CollectionSettings:
        return self._folder.find(name).settings

    async def create(self, settings: CollectionSettings) -> None:
        with self._folder.lock:
            self._folder.create(settings)

    async def drop(self, name: str) -> None:
        with self._folder.lock:
            self._folder.drop(name)

    async def upsert(self, settings: CollectionSettings, batch: Batch) -> None:
        vectors, beside = stored_vectors(batch.vectors, settings.metric)
        rows = zip(batch.ids, vectors, engine_payloads(batch), beside, strict=True)
        points = [
            edge.Point(engine_id(point_id), {settings.metric.value: _floats(vector)}, stored | more)
            for point_id, vector, stored, more in rows
        ]
        with self._folder.lock:
            collection = self._folder.expect(settings)
            collection.opened().update(edge.UpdateOperation.upsert_points(points))
            collection.unflushed += len(points)
            if collection.unflushed >= _ROWS_BETWEEN_FLUSHES:
                collection.opened().flush()
                collection.unflushed = 0
        await asyncio.sleep(0)

    async def delete(self, name: str, ids: list[int | str]) -> None:
        self._with_shard(name, lambda shard: shard.update(edge.UpdateOperation.delete_points(list(ids))))
        await asyncio.sleep(0)

    async def delete_matching(self, name: str, condition: edge.Filter | None) -> int:
        def delete(shard: edge.EdgeShard) -> int:
            count = shard.count(edge.CountRequest(exact=True, filter=condition))
            shard.update(edge.UpdateOperation.delete_points_by_filter(condition or edge.Filter()))
            return count

        return self._with_shard(name, delete)

    async def count(self, name: str, condition: edge.Filter | None) -> int:
        return self._with_shard(name, lambda shard: shard.count(edge.CountRequest(exact=True, filter=condition)))

    async def search(
        self,
        settings: CollectionSettings,
        vector: FloatMatrix,
        limit: int,
        condition: edge.Filter | None,
        fields: list[str],
        with_vectors: bool,
    ) -> Sequence[edge.ScoredPoint]:
        request = edge.QueryRequest(
            limit=limit,
            query=edge.Query.Nearest(_floats(vector), using=settings.metric.value),
            filter=condition,
            with_payload=fields,
            with_vector=with_vectors,
        )
        with self._folder.lock:
            return self._folder.expect(settings).opened().query(request)

    async def retrieve(
        self, name: str, ids: list[int | str], fields: list[str], with_vectors: bool
    ) -> Sequence[edge.Record]:
        def read(part: list[int | str]) -> list[edge.Record]:
            return self._with_shard(name, lambda shard: shard.retrieve(list(part), fields, with_vectors))

        records: list[edge.Record] = []
        step = self._portion(name, with_vectors)
        for start in range(0, len(ids), step):
            records += read(ids[start : start + step])
            await asyncio.sleep(0)
        return records

    async def scroll(
        self,
        name: str,
        offset: int | str | None,
        limit: int,
        condition: edge.Filter | None,
        fields: list[str],
        with_vectors: bool,
    ) -> tuple[Sequence[edge.Record], Any]:
        def read(start: Any, size: int) -> tuple[list[edge.Record], Any]:
            request = edge.ScrollRequest(start, size, condition, fields, with_vectors)
            return self._with_shard(name, lambda shard: shard.scroll(request))

        records: list[edge.Record] = []
        step = self._portion(name, with_vectors)
        while True:
            found, offset = read(offset, min(step, limit - len(records)))
            records += found
            if offset is None or len(records) >= limit:
                return records, offset
            await asyncio.sleep(0)

    def _portion(self, name: str, with_vectors: bool) -> int:
        """As many points as can be read without holding the event loop for long."""
        dimension = self._folder.find(name).settings.dimension if with_vectors else 0
        return max(1, self.batch_bytes // (4 * dimension + 4_000))

    def _with_shard(self, name: str, use: Callable[[edge.EdgeShard], T]) -> T:
        with self._folder.lock:
            return use(self._folder.find(name).opened())
