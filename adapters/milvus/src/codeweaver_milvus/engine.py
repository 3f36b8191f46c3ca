"""The engine behind the backend: one client, the collections it has open, and every call that is made of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
from pymilvus import AsyncMilvusClient

from codeweaver_backends.errors import CollectionExistsError, CollectionNotFoundError
from codeweaver_backends.sdk.names import PREFIX, decode_name, encode_name
from codeweaver_backends.sdk.requests import CollectionSettings
from codeweaver_backends.types import FloatMatrix
from codeweaver_milvus.config import MilvusConfig
from codeweaver_milvus.errors import is_missing, is_not_searchable, is_unimplemented
from codeweaver_milvus.filters import id_in
from codeweaver_milvus.layout import METRICS, Layout
from codeweaver_milvus.lite import Gate, Lite
from codeweaver_milvus.traits import Traits, traits_of

__all__ = ["Collection", "Engine"]

_PAGE_ROWS: Final = 1_000
_PAGE_BYTES: Final = 16 << 20
_KEYS_PER_PAGE: Final = 8_192


@dataclass(slots=True)
class Collection:
    """A collection that is open: described, indexed and loaded."""

    physical: str
    layout: Layout
    gate: Gate
    seen: int = -1
    """The deletions that reads are known to see; the first read finds out what others did before."""

    @property
    def settings(self) -> CollectionSettings:
        """What the collection was created with."""
        return self.layout.settings


class Engine:
    """A client of one event loop. Each of its calls ends within the configured time."""

    def __init__(self, config: MilvusConfig, client: AsyncMilvusClient, traits: Traits, lite: Lite | None) -> None:
        self.traits = traits
        self._config = config
        self._client = client
        self._lite = lite
        self._collections: dict[str, Collection] = {}

    # --- lifetime ---

    @classmethod
    async def connect(cls, config: MilvusConfig) -> Engine:
        """Open the database or reach the server, and see which one it is."""
        lite = await _opened(config.path) if config.path else None
        client: AsyncMilvusClient | None = None
        try:
            with _quietly():
                async with asyncio.timeout(config.timeout):
                    # A shared connection would stay open after close().
                    client = AsyncMilvusClient(
                        lite.address if lite else config.address,
                        token=config.api_key.get_secret_value() if config.api_key and not lite else "",
                        db_name=config.database,
                        dedicated=True,
                    )
                    version = await client.get_server_version(retry_times=config.retries)
            return cls(config, client, traits_of(version), lite)
        except BaseException:
            if client is not None:
                await client.close()
            if lite is not None:
                await asyncio.to_thread(lite.close)
            raise

    async def close(self) -> None:
        """Close the connection, and Lite where nobody else in this process uses it."""
        try:
            await self._client.close()
        finally:
            if self._lite is not None:
                await asyncio.to_thread(self._lite.close)

    async def _call(self, method: str, *arguments: Any, **options: Any) -> Any:
        with _quietly():
            async with asyncio.timeout(self._config.timeout):
                # Without a timeout of its own the client counts its tries, and ours ends them.
                return await getattr(self._client, method)(*arguments, retry_times=self._config.retries, **options)

    async def ping(self) -> None:
        """Ask something cheap that needs the credentials."""
        await self._call("has_collection", PREFIX)

    # --- collections ---

    async def names(self) -> list[str]:
        """The names of our collections; what others made under such a name is theirs."""
        decoded = (decode_name(name) for name in await self._call("list_collections"))
        named = [name for name in decoded if name is not None]
        layouts = await asyncio.gather(*map(self._described, named))
        return [name for name, layout in zip(named, layouts, strict=True) if layout is not None]

    async def create(self, layout: Layout) -> None:
        """Create the collection; of concurrent creators one succeeds."""
        name = layout.settings.name
        physical = encode_name(name)
        gate = self._gate(physical)
        async with gate.writing():
            if await self._call("has_collection", physical):
                raise CollectionExistsError("the collection exists already")
            try:
                await self._call(
                    "create_collection",
                    physical,
                    schema=layout.schema(self.traits),
                    properties=layout.properties(),
                    consistency_level="Session",
                )
            except Exception:
                # Another creator was faster, or the answer to an earlier try of ours was lost: the mark tells which.
                found = await self._described(name)
                if found is None:
                    raise
                if found.mark != layout.mark:
                    raise CollectionExistsError("the collection exists already") from None
            try:
                await self._make_searchable(physical, layout)
            except Exception:
                with contextlib.suppress(Exception):
                    await self._call("drop_collection", physical)
                raise
        self._collections[name] = Collection(physical, layout, gate, seen=gate.deletions)

    async def drop(self, name: str) -> None:
        """Delete the collection."""
        physical = encode_name(name)
        async with self._gate(physical).writing():
            self._collections.pop(name, None)
            if await self._described(name) is None:
                raise CollectionNotFoundError("the collection does not exist")
            await self._call("drop_collection", physical)

    async def collection(self, name: str, *, scanned: bool = False) -> Collection:
        """The open collection, from the cache if it is there: a call that names its columns fails if it has changed.

        Where unknown columns are no error, a call that names no vector (``scanned``) would not: there it is verified.
        """
        known = self._collections.get(name)
        if known is not None and not (scanned and self.traits.dynamic):
            return known
        return await self.verified(name)

    async def verified(self, name: str) -> Collection:
        """The open collection as it is now, whatever the cache says."""
        known, layout = self._collections.get(name), await self._described(name)
        if known is not None and layout is not None and known.layout.mark == layout.mark:
            return known
        return await self._open(name)

    async def current(self, collection: Collection, error: BaseException) -> Collection | None:
        """The collection after a call on it failed, if there is hope that the call succeeds now."""
        name = collection.layout.settings.name
        try:
            layout = await self._described(name)
        except Exception:  # noqa: BLE001 - the first error is the one to tell
            return None
        if layout is not None and layout.mark == collection.layout.mark and not is_not_searchable(error):
            return None
        return await self._open(name)

    async def _open(self, name: str) -> Collection:
        self._collections.pop(name, None)
        layout = await self._described(name)
        if layout is None:
            raise CollectionNotFoundError("the collection does not exist")
        physical = encode_name(name)
        await self._make_searchable(physical, layout)
        collection = self._collections[name] = Collection(physical, layout, self._gate(physical))
        return collection

    async def _described(self, name: str) -> Layout | None:
        try:
            description = await self._call("describe_collection", encode_name(name))
        except Exception as error:
            if is_missing(error):
                return None
            raise
        return Layout.described(name, description, self.traits)

    async def _make_searchable(self, physical: str, layout: Layout) -> None:
        """Index and load: also what a creator that died in the middle has left undone."""
        if not await self._call("list_indexes", physical, field_name=layout.vector):
            index = self._client.prepare_index_params()
            index.add_index(layout.vector, index_type="FLAT", metric_type=METRICS[layout.settings.metric])
            try:
                await self._call("create_index", physical, index)
            except grpc.RpcError as error:
                # Lite makes the index, and then lacks the call by which the client waits for it.
                if not is_unimplemented(error):
                    raise
        await self._call("load_collection", physical)

    def _gate(self, physical: str) -> Gate:
        # A gate whose past is not known may have anything to flush.
        address = self._lite.address if self._lite else self._config.address
        return Gate.of((address, self._config.database, physical), unflushed_rows=self.traits.flush_rows or 0)

    # --- writing ---

    async def upsert(self, collection: Collection, rows: list[dict[str, Any]], size: int) -> None:
        """Write rows of about ``size`` bytes."""
        gate = collection.gate
        async with gate.writing() if self._lite else contextlib.nullcontext():
            await self._call("upsert", collection.physical, rows)
        gate.unflushed_rows += len(rows)
        gate.unflushed_bytes += size
        if self.traits.flush_rows is not None and gate.unflushed_bytes >= self.traits.flush_bytes:
            await self._flush(collection)

    async def delete(self, collection: Collection, keys: Sequence[str]) -> None:
        """Delete rows by their ids."""
        async with collection.gate.writing() if self._lite else contextlib.nullcontext():
            await self._call("delete", collection.physical, filter=id_in(keys))
        collection.gate.deletions += 1

    async def _flush(self, collection: Collection) -> None:
        await collection.gate.flush(lambda: self._call("flush", collection.physical))

    # --- reading ---

    async def search(
        self, collection: Collection, vector: FloatMatrix, limit: int, expression: str, fields: list[str]
    ) -> list[Any]:
        """The nearest rows."""
        found = await self._read(
            collection,
            "search",
            data=[vector],
            limit=limit,
            filter=expression,
            output_fields=fields,
            anns_field=collection.layout.vector,
        )
        hits: list[Any] = found[0]
        return hits

    async def count(self, collection: Collection, expression: str = "", *, strongly: bool = False) -> int:
        """How many rows match; ``strongly`` also counts what others wrote just now."""
        collection.seen = -1 if strongly else collection.seen
        rows = await self._read(collection, "query", filter=expression, output_fields=["count(*)"])
        return int(rows[0]["count(*)"])

    async def by_keys(self, collection: Collection, keys: Sequence[str], fields: list[str]) -> list[dict[str, Any]]:
        """The rows of these ids, in any order."""
        rows: list[dict[str, Any]] = []
        step = self._page_rows(collection, fields)
        for start in range(0, len(keys), step):
            part = id_in(keys[start : start + step])
            rows += await self._read(collection, "query", filter=part, output_fields=fields)
        return rows

    async def pages(
        self, collection: Collection, expression: str, fields: list[str], *, after: str = "", limit: int | None = None
    ) -> AsyncIterator[list[dict[str, Any]]]:
        """Rows that match, up to ``limit``, in the order of their ids."""
        most = self._page_rows(collection, fields)
        while limit is None or limit > 0:
            size = most if limit is None else min(most, limit)
            beyond = f'id > "{after}"'
            filter_ = f"({beyond} and {expression})" if expression else beyond
            rows = await self._read(
                collection, "query", filter=filter_, output_fields=fields, limit=size, **self.traits.page
            )
            if rows:
                yield rows
            if len(rows) < size:
                return
            after = rows[-1]["id"]
            limit = limit if limit is None else limit - len(rows)

    async def keys(self, collection: Collection, expression: str) -> list[str]:
        """The ids of all rows that match."""
        return [row["id"] async for rows in self.pages(collection, expression, ["id"]) for row in rows]

    async def _read(self, collection: Collection, method: str, **options: Any) -> Any:
        if self.traits.flush_rows is not None and collection.gate.unflushed_rows >= self.traits.flush_rows:
            await self._flush(collection)
        # A session sees its own upserts at little cost, but servers do not tell it when they deleted something.
        deletions = collection.gate.deletions
        level = "Session" if collection.seen == deletions else "Strong"
        found = await collection.gate.reading(
            lambda: self._call(method, collection.physical, consistency_level=level, **options)
        )
        collection.seen = max(collection.seen, deletions)
        return found

    def _page_rows(self, collection: Collection, fields: Sequence[str]) -> int:
        if list(fields) == ["id"]:
            return _KEYS_PER_PAGE
        if collection.layout.vector not in fields:
            return _PAGE_ROWS
        return max(1, min(_PAGE_ROWS, _PAGE_BYTES // (4 * collection.layout.settings.dimension)))


async def _opened(path: Path) -> Lite:
    opening = asyncio.ensure_future(asyncio.to_thread(Lite.open, path))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        # The thread goes on and will have opened it: nobody but us can give it up then.
        opening.add_done_callback(lambda done: None if done.cancelled() or done.exception() else done.result().close())
        raise


# --- the client's log --------------------------------------------------------------------------------------------

_calling: ContextVar[bool] = ContextVar("calling", default=False)


class _OursOnly(logging.Filter):
    """Drops what the client logs of calls made here: each of its failures is raised, and told by whom it concerns."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not _calling.get()


_FILTER: Final = _OursOnly()


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    for handler in logging.getLogger("pymilvus").handlers:
        if _FILTER not in handler.filters:
            handler.addFilter(_FILTER)
    token = _calling.set(True)
    try:
        yield
    finally:
        _calling.reset(token)
