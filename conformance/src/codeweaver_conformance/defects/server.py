"""A small engine behind a socket: JSON lines in front of a memory store, asked for a key.

It exists so that health, timeouts and errors can be broken one at a time. One line is one request, ``{"key", "call",
"arguments"}``; one line is the answer, ``{"ok": …}`` or ``{"error": [kind, message]}``. Nothing is judged here: that is
the client's part, as with any engine.
"""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import orjson

from codeweaver_backends import filters
from codeweaver_backends.errors import CollectionExistsError, CollectionNotFoundError
from codeweaver_backends.filters import Node
from codeweaver_backends.memory.config import MemoryConfig
from codeweaver_backends.types import DistanceMetric
from codeweaver_backends.validate import Batch, Query
from codeweaver_conformance.defects.rig import Rig

__all__ = ["KEY", "LINE", "read_node", "serving", "write_node"]

KEY = "the-key-of-the-reference-server"
LINE = 2**28
"""The longest line, in bytes."""


def write_node(node: Node) -> dict[str, Any]:
    """A filter tree as JSON."""
    fields = {one.name: getattr(node, one.name) for one in dataclasses.fields(node)}
    if "parts" in fields:
        fields["parts"] = [write_node(part) for part in fields["parts"]]
    if "leaf" in fields:
        fields["leaf"] = write_node(fields["leaf"])
    return {"node": type(node).__name__, **fields}


def read_node(data: dict[str, Any]) -> Node:
    """The filter tree of :func:`write_node`."""
    fields: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in data.items()}
    cls = getattr(filters, fields.pop("node"))
    if "parts" in fields:
        fields["parts"] = tuple(read_node(part) for part in fields["parts"])
    if "leaf" in fields:
        fields["leaf"] = read_node(fields["leaf"])
    node: Node = cls(**fields)
    return node


class _Engine:
    """What the server can be asked to do: one method per call."""

    def __init__(self) -> None:
        self._rig = Rig(MemoryConfig())

    def ping(self) -> None:
        """Answer."""

    async def create(self, name: str, dimension: int, metric: str) -> None:
        await self._rig.create_collection(name, dimension, DistanceMetric[metric])

    async def names(self) -> list[str]:
        return await self._rig.list_collections()

    async def drop(self, name: str) -> None:
        await self._rig.delete_collection(name)

    async def describe(self, name: str) -> list[Any]:
        info = await self._rig.get_collection_info(name)
        return [info.dimension, info.distance_metric.name, info.vector_count]

    def write(self, name: str, ids: list[Any], vectors: list[Any], documents: list[str]) -> None:
        matrix = np.array(vectors, dtype=np.float32)
        collection = self._rig._collection(name)
        self._rig._write(collection, Batch(ids, matrix, [{}] * len(ids), [one.encode() for one in documents]))

    async def erase(self, name: str, ids: list[Any]) -> None:
        await self._rig.delete_vectors(name, ids)

    def search(
        self, name: str, vector: list[float], limit: int, node: dict[str, Any], threshold: float | None
    ) -> list[Any]:
        query = Query(np.array(vector, dtype=np.float32), limit, read_node(node), threshold, True, True)
        hits = self._rig.answer(self._rig._collection(name), query)
        return [[one.id, one.score, one.payload, one.vector] for one in hits]


class _Server:
    def __init__(self) -> None:
        self._engine = _Engine()
        self._clients: set[asyncio.StreamWriter] = set()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, to its end."""
        self._clients.add(writer)
        with suppress(ConnectionError):
            while line := await reader.readline():
                writer.write(orjson.dumps(await self._answer(orjson.loads(line))) + b"\n")
                await writer.drain()
        self._clients.discard(writer)
        writer.close()

    async def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        if request["key"] != KEY:
            return {"error": ["refused", "wrong key"]}
        try:
            result = getattr(self._engine, request["call"])(*request["arguments"])
            return {"ok": await result if asyncio.iscoroutine(result) else result}
        except CollectionNotFoundError:
            return {"error": ["missing", "no such collection"]}
        except CollectionExistsError:
            return {"error": ["exists", "the collection exists"]}

    def hang_up(self) -> None:
        """Close every connection."""
        for writer in self._clients:
            writer.close()


@contextmanager
def serving() -> Iterator[int]:
    """Run an engine in a thread of its own; yields its port."""
    loop = asyncio.new_event_loop()
    server = _Server()

    async def start() -> asyncio.Server:
        return await asyncio.start_server(server.talk, "127.0.0.1", 0, limit=LINE)

    listener = loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever, name="reference server", daemon=True)
    thread.start()
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        for step in (listener.close, server.hang_up, loop.stop):
            loop.call_soon_threadsafe(_quietly(step))
        thread.join()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


def _quietly(step: Callable[[], None]) -> Callable[[], None]:
    def run() -> None:
        with suppress(RuntimeError, OSError):
            step()

    return run
