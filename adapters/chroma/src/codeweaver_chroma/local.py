"""Chroma in this process: one database per folder, opened by its first user here and closed with its last.

Chroma lets anybody open a folder, and then loses points: two who have it open do not see each other's vectors. So all
backends of this process share one database, and a lock keeps other processes out. Its calls are made one at a time, in
one thread: no reader comes between the deletion of a point and its being added again.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import UUID

import portalocker
from chromadb.api import ServerAPI
from chromadb.config import Settings, System

from codeweaver_backends.errors import BackendConnectionError
from codeweaver_backends.types import FloatMatrix
from codeweaver_chroma.config import ChromaConfig
from codeweaver_chroma.engine import EXACT_SIZE, Engine, Rows
from codeweaver_chroma.filters import Where
from codeweaver_chroma.plugin import EMBEDDED_CAPABILITIES

__all__ = ["Local"]

Result = TypeVar("Result")

_LOCK_FILE: Final = ".codeweaver.lock"


@dataclass(slots=True)
class _Database:
    """What this process has open in one folder, for all of its backends."""

    path: Path
    guard: portalocker.Lock
    system: System
    api: Any
    worker: ThreadPoolExecutor
    grown: set[str] = field(default_factory=set)
    """Collections known to have more than ``EXACT_SIZE`` rows: only a deletion here can change that."""
    users: int = 0

    @classmethod
    def open(cls, path: Path) -> _Database:
        """The database, opened by the first who asks for it."""
        resolved = path.expanduser().resolve()
        with _LOCK:
            database = _DATABASES.get(resolved)
            if database is None:
                database = _DATABASES[resolved] = cls._locked(resolved)
            database.users += 1
        return database

    @classmethod
    def _locked(cls, path: Path) -> _Database:
        path.mkdir(parents=True, exist_ok=True)
        flags = portalocker.LOCK_EX | portalocker.LOCK_NB
        guard = portalocker.Lock(path / _LOCK_FILE, mode="a", timeout=0, flags=flags)
        try:
            guard.acquire()
        except portalocker.LockException as error:
            raise BackendConnectionError("the folder is open in another process") from error
        try:
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
            api = system.instance(ServerAPI)  # type: ignore[type-abstract]
            system.start()
        except BaseException:
            guard.release()
            raise
        return cls(path, guard, system, api, ThreadPoolExecutor(1, thread_name_prefix="codeweaver-chroma"))

    def close(self) -> None:
        """Close for one user; the last one closes everything."""
        with _LOCK:
            self.users -= 1
            if self.users:
                return
            del _DATABASES[self.path]
            try:
                # What was begun is ended first: it may be a write.
                self.worker.shutdown(wait=True)
                self.system.stop()
            finally:
                self.guard.release()


_DATABASES: Final[dict[Path, _Database]] = {}
_LOCK: Final = threading.Lock()


class Local(Engine):
    """One backend's use of a database of this process."""

    def __init__(self, config: ChromaConfig, database: _Database) -> None:
        self.capabilities = EMBEDDED_CAPABILITIES
        self._timeout = config.timeout
        self._database = database

    @classmethod
    async def open(cls, config: ChromaConfig, path: Path) -> Local:
        """Open the folder."""
        opening = asyncio.ensure_future(asyncio.to_thread(_Database.open, path))
        try:
            return cls(config, await asyncio.shield(opening))
        except asyncio.CancelledError:
            # The thread goes on and will have opened it: nobody but us can give it up then.
            opening.add_done_callback(_give_up)
            raise

    async def close(self) -> None:
        await asyncio.to_thread(self._database.close)

    async def _call(self, act: Callable[[Any], Result]) -> Result:
        database = self._database
        async with asyncio.timeout(self._timeout):
            return await asyncio.get_running_loop().run_in_executor(database.worker, act, database.api)

    async def ping(self) -> None:
        await self._call(lambda api: api.count_collections())

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
        await self._call(lambda api: api.delete_collection(physical))

    # --- points ---

    async def replace(self, collection: str, rows: Rows) -> None:
        number, keys = UUID(collection), list(rows.keys)

        def act(api: Any) -> None:
            known = api._get(number, ids=keys, include=[])["ids"]
            if known:
                api._delete(number, ids=known)
            api._add(keys, number, rows.vectors, rows.metadatas, None, rows.documents)

        await self._call(act)

    async def delete(self, collection: str, keys: Sequence[str]) -> None:
        def act(api: Any) -> None:
            self._database.grown.discard(collection)
            api._delete(UUID(collection), ids=list(keys))

        await self._call(act)

    async def get(
        self,
        collection: str,
        *,
        keys: Sequence[str] | None = None,
        where: Where | None = None,
        include: Sequence[str] = (),
    ) -> Mapping[str, Any]:
        ids = None if keys is None else list(keys)
        found: Mapping[str, Any] = await self._call(
            lambda api: api._get(UUID(collection), ids=ids, where=where, include=list(include))
        )
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
        ids = None if keys is None else list(keys)
        found = await self._call(
            lambda api: api._query(UUID(collection), vector[None], ids, limit, where, None, list(include))
        )
        return {name: found[name] and found[name][0] for name in ("ids", *include)}

    async def count(self, collection: str) -> int:
        counted: int = await self._call(lambda api: api._count(UUID(collection)))
        return counted

    def is_grown(self, collection: str) -> bool:
        return collection in self._database.grown

    async def is_small(self, collection: str) -> bool:
        def act(api: Any) -> bool:
            small: bool = api._count(UUID(collection)) <= EXACT_SIZE
            if not small:
                self._database.grown.add(collection)
            return small

        return await self._call(act)


def _give_up(opened: asyncio.Future[_Database]) -> None:
    if not opened.cancelled() and opened.exception() is None:
        opened.result().close()


def _as_mapping(model: Any) -> Mapping[str, Any]:
    return {"id": model.id, "name": model.name, "metadata": model.metadata}
