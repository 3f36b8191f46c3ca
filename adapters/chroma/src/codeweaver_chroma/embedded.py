"""Chroma in this process: one database per folder, opened by its first user here and closed with its last.

Chroma lets anybody open a folder, and then loses points: two who have it open do not see each other's vectors. So all
backends of this process share one database, and a lock keeps other processes out. Its calls are made one at a time, in
one thread: no reader sees the halves of a write.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import UUID

import chromadb
from chromadb.api import ServerAPI
from chromadb.config import Settings, System

from codeweaver_backends.errors import BackendConnectionError
from codeweaver_backends.sdk.folders import SharedFolder, SharedFolders
from codeweaver_backends.types import FloatMatrix
from codeweaver_chroma.client import Client
from codeweaver_chroma.dialect import Where
from codeweaver_chroma.mending import DATABASE_FILE, mend
from codeweaver_chroma.plugin import EMBEDDED_CAPABILITIES
from codeweaver_chroma.schema import EXACT_SIZE, Rows

__all__ = ["FOLDERS", "EmbeddedClient"]

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Database:
    """What this process has open in one folder, for all of its backends."""

    file: Path
    system: System
    api: Any
    worker: ThreadPoolExecutor
    damaged: dict[str, str]
    """Chroma's ids of the collections whose graph cannot be read, and why."""
    identity: tuple[int, int]
    grown: set[str] = field(default_factory=set)
    """Collections known to have more than ``EXACT_SIZE`` rows: only a deletion here can change that."""

    def check(self, collection: str | None = None) -> None:
        """Fail where the files are gone: Chroma would go on, and acknowledge what nobody will find again."""
        if _identity(self.file) != self.identity:
            raise BackendConnectionError("the folder was deleted or replaced while it was open; create a new backend")
        if collection is not None and collection in self.damaged:
            raise BackendConnectionError(self.damaged[collection])


def _identity(file: Path) -> tuple[int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _open(path: Path) -> _Database:
    damaged = mend(path)
    # The settings are ours alone: neither a file .env nor telemetry has a say.
    system = System(
        Settings(
            _env_file=None,
            anonymized_telemetry=False,
            chroma_api_impl="chromadb.api.rust.RustBindingsAPI",
            is_persistent=True,
            persist_directory=str(path),
        )
    )
    api: Any = system.instance(ServerAPI)  # type: ignore[type-abstract]
    system.start()
    file = path / DATABASE_FILE
    worker = ThreadPoolExecutor(1, thread_name_prefix="codeweaver-chroma")
    return _Database(file, system, api, worker, damaged, _identity(file) or (0, 0))


def _close(database: _Database) -> None:
    # What was begun is ended first: it may be a write.
    database.worker.shutdown(wait=True)
    database.system.stop()


FOLDERS: Final = SharedFolders(_open, _close, lock_name=".codeweaver.lock")


class EmbeddedClient(Client):
    """One backend's use of a database of this process."""

    version = f"Chroma {chromadb.__version__}"

    def __init__(self, folder: SharedFolder[_Database]) -> None:
        self.capabilities = EMBEDDED_CAPABILITIES
        self._folder = folder
        self._database = folder.resource

    @classmethod
    async def open(cls, path: Path) -> EmbeddedClient:
        """Open the folder."""
        return cls(await FOLDERS.open(path))

    async def close(self) -> None:
        await FOLDERS.close(self._folder)

    def abandon(self) -> None:
        """Close without an event loop."""
        FOLDERS.release(self._folder)

    async def _call(self, work: Callable[[Any], T], collection: str | None = None) -> T:
        database = self._database

        def act() -> T:
            database.check(collection)
            return work(database.api)

        return await asyncio.get_running_loop().run_in_executor(database.worker, act)

    async def ping(self) -> None:
        await self._call(lambda api: api.count_collections())
        for advice in self._database.damaged.values():
            raise BackendConnectionError(advice)

    # --- collections ---

    async def _listed(self, limit: int, offset: int) -> Sequence[Mapping[str, Any]]:
        found = await self._call(lambda api: api.list_collections(limit=limit, offset=offset))
        return [_as_mapping(one) for one in found]

    async def _one(self, physical: str) -> Mapping[str, Any]:
        return _as_mapping(await self._call(lambda api: api.get_collection(physical)))

    async def _create(self, physical: str, metadata: dict[str, Any], hnsw: dict[str, Any]) -> Mapping[str, Any]:
        configuration = {"hnsw": hnsw, "embedding_function": None}
        made = await self._call(
            lambda api: api.create_collection(physical, configuration=configuration, metadata=metadata)
        )
        return _as_mapping(made)

    async def _drop(self, physical: str) -> None:
        def work(api: Any) -> None:
            number = str(api.get_collection(physical).id)
            api.delete_collection(physical)
            self._database.damaged.pop(number, None)

        await self._call(work)

    # --- rows ---

    async def upsert(self, collection: str, rows: Rows) -> None:
        await self._call(
            lambda api: api._upsert(UUID(collection), rows.keys, rows.vectors, rows.metadatas, None, rows.uris),
            collection,
        )

    async def delete(self, collection: str, keys: Sequence[str]) -> None:
        def work(api: Any) -> None:
            self._database.grown.discard(collection)
            api._delete(UUID(collection), ids=list(keys))

        await self._call(work, collection)

    async def get(
        self,
        collection: str,
        *,
        keys: Sequence[str] | None = None,
        where: Where | None = None,
        include: Sequence[str] = (),
    ) -> Mapping[str, Any]:
        ids = None if keys is None else list(keys)
        return await self._call(
            lambda api: api._get(UUID(collection), ids=ids, where=where, include=list(include)), collection
        )

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
        ids = None if keys is None else list(keys)
        found = await self._call(
            lambda api: api._query(UUID(collection), vector[None], ids, limit, where, None, list(include)), collection
        )
        return {name: found[name] and found[name][0] for name in ("ids", *include)}

    async def count(self, collection: str) -> int:
        return await self._call(lambda api: int(api._count(UUID(collection))), collection)

    def is_grown(self, collection: str) -> bool:
        return collection in self._database.grown

    async def is_small(self, collection: str) -> bool:
        def work(api: Any) -> bool:
            small: bool = api._count(UUID(collection)) <= EXACT_SIZE
            if not small:
                self._database.grown.add(collection)
            return small

        return await self._call(work, collection)


def _as_mapping(model: Any) -> Mapping[str, Any]:
    return {"id": str(model.id), "name": model.name, "metadata": model.metadata}
