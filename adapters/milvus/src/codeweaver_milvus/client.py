"""The engine's calls: one client of one event loop, and what has to be done around a call of Milvus's."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final
from weakref import WeakValueDictionary

import grpc

from codeweaver_backends.errors import (
    BackendConnectionError,
    BackendError,
    CollectionExistsError,
    CollectionNotFoundError,
    UnsupportedError,
)
from codeweaver_backends.sdk.calls import in_thread
from codeweaver_backends.sdk.folders import SharedFolder
from codeweaver_backends.sdk.forks import use_without_forks
from codeweaver_backends.sdk.handles import RecreatedError
from codeweaver_backends.sdk.names import PREFIX, decode_name, encode_name
from codeweaver_backends.sdk.requests import Batch, CollectionSettings
from codeweaver_backends.types import FloatMatrix
from codeweaver_milvus.config import MilvusConfig
from codeweaver_milvus.errors import is_missing, is_not_searchable, is_unimplemented
from codeweaver_milvus.library import AsyncMilvusClient, quietly
from codeweaver_milvus.lite import FOLDERS, Gate, Lite, Unfinished
from codeweaver_milvus.schema import Schema, Traits, traits_of

__all__ = ["Client", "Collection"]

_PAGE_ROWS: Final = 1_000
_PAGE_BYTES: Final = 16 << 20
_KEYS_PER_PAGE: Final = 8_192


@dataclass(slots=True, eq=False)
class Collection:
    """A collection as it was found."""

    schema: Schema
    engine_name: str
    gate: Gate
    seen: int = -1
    """The deletions that reads are known to see; the first read finds out what others did before."""

    @property
    def settings(self) -> CollectionSettings:
        """What the collection was created with."""
        return self.schema.settings

    @property
    def incarnation(self) -> str:
        """What tells it from its successors."""
        return self.schema.incarnation


class Client:
    """A connection to Lite or a server. No call has a time of its own: the template bounds them."""

    _server_gates: ClassVar[WeakValueDictionary[tuple[str, str, str], Gate]] = WeakValueDictionary()
    """Of the collections on servers that somebody in this process has open."""

    def __init__(
        self, config: MilvusConfig, client: AsyncMilvusClient, version: str, folder: SharedFolder[Lite] | None
    ) -> None:
        self.version = version
        self.traits: Traits = traits_of(version)
        self._config = config
        self._client = client
        self._folder = folder
        self._unfinished = Unfinished()

    # --- lifetime ---

    @classmethod
    async def connect(cls, config: MilvusConfig) -> Client:
        """Open the folder or reach the server, and see which one it is."""
        use_without_forks("gRPC")
        folder = await FOLDERS.open(config.path) if config.path else None
        client: AsyncMilvusClient | None = None
        try:
            with quietly():
                # A shared connection would stay open after close().
                client = AsyncMilvusClient(
                    folder.resource.address if folder else config.address,
                    token=config.api_key.get_secret_value() if config.api_key and not folder else "",
                    db_name=config.database,
                    dedicated=True,
                    grpc_options={} if config.uses_proxy and not folder else {"grpc.enable_http_proxy": 0},
                    **config.tls_options(),
                )
                version = await client.get_server_version(retry_times=config.retries)
            return cls(config, client, version, folder)
        except BaseException:
            if client is not None:
                await client.close()
            if folder is not None:
                await FOLDERS.close(folder)
            raise

    async def close(self) -> None:
        """Wait for what is being written, close the connection, and give back the folder."""
        try:
            await self._unfinished.wait(self._config.timeout)
            await self._client.close()
        finally:
            if self._folder is not None:
                await FOLDERS.close(self._folder)

    def abandon(self) -> None:
        """Give back the folder, without an event loop."""
        # At the end of the program threads cannot be ended any more, and the system takes the lock back.
        if self._folder is not None and not sys.is_finalizing():
            FOLDERS.release(self._folder)

    async def _call(self, method: str, *arguments: Any, **options: Any) -> Any:
        with quietly():
            # Without a timeout of its own the client counts its tries; reads are tried again by the template.
            return await getattr(self._client, method)(*arguments, retry_times=0, **options)

    async def ping(self) -> None:
        """Ask something cheap that needs the credentials."""
        await self._call("has_collection", PREFIX)
        if self._folder is not None:
            self._folder.resource.check()

    # --- collections ---

    async def names(self) -> list[str]:
        """The names of our collections; what others made under such a name is theirs."""
        decoded = (decode_name(name) for name in await self._call("list_collections"))
        named = [name for name in decoded if name is not None]
        ours = await asyncio.gather(*map(self._is_ours, named))
        return [name for name, is_ours in zip(named, ours, strict=True) if is_ours]

    async def _is_ours(self, name: str) -> bool:
        try:
            return await self.schema(name) is not None
        except UnsupportedError:  # of another layout
            return True

    async def create(self, schema: Schema) -> Collection:
        """Create the collection; of concurrent creators one succeeds."""
        engine_name = encode_name(schema.settings.name)
        gate = self._gate(engine_name)
        await self._exclusively(gate, engine_name, lambda: self._create(schema, engine_name))
        gate.unflushed_rows = gate.unflushed_bytes = 0
        return Collection(schema, engine_name, gate, seen=gate.deletions)

    async def _create(self, schema: Schema, engine_name: str) -> None:
        if await self._call("has_collection", engine_name):
            raise CollectionExistsError("the collection exists already")
        try:
            await self._call(
                "create_collection",
                engine_name,
                schema=schema.fields(),
                properties=schema.properties(),
                consistency_level="Session",
                **schema.settings.engine_options,
            )
        except Exception:
            # Another creator was faster, or the answer was lost: the incarnation tells which.
            found = await self.schema(schema.settings.name)
            if found is None:
                raise
            if found.incarnation != schema.incarnation:
                raise CollectionExistsError("the collection exists already") from None
        try:
            await self._make_searchable(schema, engine_name)
        except Exception:
            with contextlib.suppress(Exception):
                await self._call("drop_collection", engine_name)
            raise

    async def drop(self, name: str) -> None:
        """Delete the collection."""
        engine_name = encode_name(name)
        await self._exclusively(self._gate(engine_name), engine_name, lambda: self._drop(name, engine_name))

    async def _drop(self, name: str, engine_name: str) -> None:
        if not await self._is_ours(name):
            raise CollectionNotFoundError("the collection does not exist")
        await self._call("drop_collection", engine_name)

    async def describe(self, name: str) -> Collection:
        """The collection as it is now. Raises ``CollectionNotFoundError``."""
        schema = await self.schema(name)
        if schema is None:
            raise CollectionNotFoundError("the collection does not exist")
        engine_name = encode_name(name)
        return Collection(schema, engine_name, self._gate(engine_name))

    async def current(self, collection: Collection) -> Schema:
        """The collection's schema as it is now. Raises ``RecreatedError`` where it is another incarnation's."""
        schema = (await self.describe(collection.settings.name)).schema
        if schema.incarnation != collection.incarnation:
            raise RecreatedError("the collection was created again; try again")
        return schema

    async def schema(self, name: str) -> Schema | None:
        """The collection's schema, or ``None`` if there is no collection of ours."""
        try:
            description = await self._call("describe_collection", encode_name(name))
        except Exception as error:
            if is_missing(error):
                return None
            raise
        return Schema.described(name, description, self.traits)

    async def _make_searchable(self, schema: Schema, engine_name: str) -> None:
        """Index and load: also what a creator that died in the middle has left undone."""
        for column, (kind, metric) in schema.indexes.items():
            if await self._call("list_indexes", engine_name, field_name=column):
                continue
            index = self._client.prepare_index_params()
            index.add_index(column, index_type=kind, metric_type=metric)
            try:
                await self._call("create_index", engine_name, index)
            except grpc.RpcError as error:
                # Lite makes the index, and then lacks the call by which the client waits for it.
                if not is_unimplemented(error):
                    raise
        await self._call("load_collection", engine_name)

    def _gate(self, engine_name: str) -> Gate:
        database = self._config.database
        if self._folder is not None:
            return self._folder.resource.gate(database, engine_name)
        return self._server_gates.setdefault((self._config.address, database, engine_name), Gate())

    # --- writing ---

    async def _exclusively(self, gate: Gate, engine_name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Do work that must not meet a write of the same collection. On Lite it goes on without its caller."""
        if self._folder is None:
            async with gate.writing():
                await work()
        else:
            await self._unfinished.run(self._in_turn(self._folder.resource, gate, engine_name, work))

    async def _in_turn(self, lite: Lite, gate: Gate, engine_name: str, work: Callable[[], Awaitable[None]]) -> None:
        async with gate.writing():
            if gate.is_torn:
                await self._repair(lite, gate, engine_name)
            try:
                await work()
            except Exception as error:
                if not isinstance(error, BackendError) and not is_missing(error):
                    gate.is_torn = True
                    with contextlib.suppress(BackendConnectionError):
                        await self._repair(lite, gate, engine_name)
                raise
            lite.check()

    async def _repair(self, lite: Lite, gate: Gate, engine_name: str) -> None:
        """After a failed write: nothing is acknowledged until all that was acknowledged is durable again."""
        try:
            with gate.moving():
                await in_thread(lite.repair, self._config.database, engine_name)
        except Exception as error:
            raise BackendConnectionError(f"the database cannot be written: {error}") from error
        gate.is_torn = False

    async def _write(self, collection: Collection, method: str, *arguments: Any, **options: Any) -> None:
        async def work() -> None:
            await self._call(method, collection.engine_name, *arguments, **options)

        if self._folder is not None:
            await self._exclusively(collection.gate, collection.engine_name, work)
        elif collection.schema.slots:
            async with collection.gate.sharing():
                await work()
        else:
            await work()

    async def upsert(self, collection: Collection, batch: Batch, rows: list[dict[str, Any]]) -> None:
        """Write the rows of a batch."""
        await self._write(collection, "upsert", rows)
        entries = sum(len(column.indices) for column in (batch.sparse, batch.text) if column is not None)
        size = _stored_bytes(batch.vectors.nbytes, sum(map(len, batch.payload_json)), entries)
        await self._wrote(collection, len(rows), size)

    async def replace(self, collection: Collection, column: str, values: Mapping[str, dict[int, float]]) -> None:
        """Replace a sparse vector of the rows of these ids; an id that does not exist stays so."""
        gate, schema, is_partial = collection.gate, collection.schema, self.traits.partial_update
        fields = ["id", "payload_json"] if is_partial else schema.names
        rows: list[dict[str, Any]] = []

        async def work() -> None:
            # Rows are read and written again, by servers too: what others write between would be undone.
            await gate.drained()
            await self.current(collection)
            options = {"output_fields": fields, "consistency_level": "Strong"}
            rows[:] = await self._call("query", collection.engine_name, schema.dialect.among(values), **options)
            kept = ["id"] if is_partial else fields
            replaced = [{**{name: row[name] for name in kept}, column: values[row["id"]]} for row in rows]
            if replaced:
                await self._call("upsert", collection.engine_name, replaced, partial_update=is_partial)

        await self._exclusively(gate, collection.engine_name, work)
        payloads = sum(len(row["payload_json"]) for row in rows)
        vectors = 4 * collection.settings.dimension * len(rows)
        await self._wrote(collection, len(rows), _stored_bytes(vectors, payloads, sum(map(len, values.values()))))

    async def define(self, collection: Collection, definition: bytes) -> None:
        """Store the definition of the sparse index."""
        properties = collection.schema.definition_properties(definition)
        await self._exclusively(
            collection.gate,
            collection.engine_name,
            lambda: self._call("alter_collection_properties", collection.engine_name, properties),
        )

    async def _wrote(self, collection: Collection, rows: int, size: int) -> None:
        gate = collection.gate
        gate.unflushed_rows += rows
        gate.unflushed_bytes += size
        if self.traits.flush_rows is not None and gate.unflushed_bytes >= self.traits.flush_bytes:
            await self._flush(collection)

    async def delete(self, collection: Collection, keys: Sequence[str]) -> None:
        """Delete rows by their ids."""
        await self._write(collection, "delete", filter=collection.schema.dialect.among(keys))
        collection.gate.deletions += 1

    async def _flush(self, collection: Collection) -> None:
        await self._exclusively(collection.gate, collection.engine_name, lambda: self._flushed(collection))

    async def _flushed(self, collection: Collection) -> None:
        gate = collection.gate
        if gate.unflushed_rows:
            with gate.moving():
                await self._call("flush", collection.engine_name)
            gate.unflushed_rows = gate.unflushed_bytes = 0

    # --- reading ---

    async def search(
        self,
        collection: Collection,
        column: str,
        vector: FloatMatrix | dict[int, float],
        limit: int,
        expression: str,
        fields: list[str],
    ) -> list[Any]:
        """The nearest rows, by a column of vectors."""
        found = await self._read(
            collection,
            "search",
            data=[vector],
            limit=limit,
            filter=expression,
            output_fields=fields,
            anns_field=column,
            # Lite searches a collection that has no index yet, by a metric of its own.
            search_params={"metric_type": collection.schema.indexes[column][1]},
        )
        hits: list[Any] = found[0]
        return hits

    async def count(self, collection: Collection, expression: str) -> int:
        """How many rows match."""
        rows = await self._read(collection, "query", filter=expression, output_fields=["count(*)"])
        return int(rows[0]["count(*)"])

    async def by_keys(self, collection: Collection, keys: Sequence[str], fields: list[str]) -> list[dict[str, Any]]:
        """The rows of these ids, in any order."""
        rows: list[dict[str, Any]] = []
        step = self._page_rows(collection, fields)
        for start in range(0, len(keys), step):
            part = collection.schema.dialect.among(keys[start : start + step])
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

    async def _read(self, collection: Collection, method: str, **options: Any) -> Any:
        gate = collection.gate
        if self.traits.flush_rows is not None and gate.unflushed_rows >= self.traits.flush_rows:
            with contextlib.suppress(Exception):  # the disk may be full: reading is slower without, and right
                await self._flush(collection)
        # A session sees its own upserts at little cost, but servers do not tell it when they deleted something.
        deletions = gate.deletions
        options["consistency_level"] = "Session" if collection.seen == deletions else "Strong"
        try:
            found = await gate.reading(lambda: self._call(method, collection.engine_name, **options))
        except Exception as error:
            if not is_not_searchable(error):
                raise
            await self._make_searchable(collection.schema, collection.engine_name)
            found = await gate.reading(lambda: self._call(method, collection.engine_name, **options))
        collection.seen = max(collection.seen, deletions)
        return found

    def _page_rows(self, collection: Collection, fields: Sequence[str]) -> int:
        if list(fields) == ["id"]:
            return _KEYS_PER_PAGE
        if collection.schema.vector not in fields:
            return _PAGE_ROWS
        return max(1, min(_PAGE_ROWS, _PAGE_BYTES // (4 * collection.settings.dimension)))


def _stored_bytes(vectors: int, payloads: int, entries: int) -> int:
    """About what rows take before they are flushed, by the bytes of their vectors and payloads, and sparse entries."""
    return 5 * vectors // 4 + 6 * payloads + 10 * entries
