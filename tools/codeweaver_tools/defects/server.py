"""A small engine behind a socket: JSON lines in front of a memory store, asked for a key.

It exists so that health, timeouts, errors and lost answers can be broken one at a time. One line is one request, an
object of ``key``, ``call``, ``transaction`` and ``arguments``; one line is the answer: ``{"ok": …}`` or ``{"error":
[kind, message]}``. Nothing is judged here: that is the client's part, as with any engine.
"""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import orjson

from codeweaver_backends.errors import (
    BackendError,
    CollectionExistsError,
    CollectionNotFoundError,
    ConflictError,
    TransactionError,
)
from codeweaver_backends.memory.config import MemoryConfig
from codeweaver_backends.sdk.filters import tree as filters
from codeweaver_backends.sdk.filters.tree import Node
from codeweaver_backends.sdk.requests import Batch, Projection, Query
from codeweaver_backends.types import DistanceMetric
from codeweaver_conformance.network import served
from codeweaver_tools.defects.rig import Rig

__all__ = ["KEY", "LINE", "read_node", "serving", "write_node"]

KEY = "the-key-of-the-reference-server"
LINE = 2**28
"""The longest line, in bytes."""
_KINDS: dict[type[BackendError], str] = {
    CollectionNotFoundError: "missing",
    CollectionExistsError: "exists",
    ConflictError: "conflict",
    TransactionError: "ended",
}


def write_node(node: Node) -> dict[str, Any]:
    """A filter tree as JSON."""
    fields = {one.name: getattr(node, one.name) for one in dataclasses.fields(node)}
    if "parts" in fields:
        fields["parts"] = [write_node(part) for part in fields["parts"]]
    if "leaf" in fields:
        fields["leaf"] = write_node(fields["leaf"])
    return {"node": type(node).__name__, **fields}


def read_node(data: dict[str, Any]) -> Node:
    """The filter tree of ``write_node``."""
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
        self._rig._write_all(collection, Batch(ids, matrix, [{}] * len(ids), [one.encode() for one in documents]))

    async def begin(self) -> str:
        return await self._rig.begin_transaction()

    async def commit(self, transaction: str) -> None:
        await self._rig.commit_transaction(transaction)

    async def rollback(self, transaction: str) -> None:
        await self._rig.rollback_transaction(transaction)

    async def erase(self, name: str, ids: list[Any]) -> None:
        await self._rig.delete_vectors(name, ids)

    def search(
        self, name: str, vector: list[float], limit: int, node: dict[str, Any], threshold: float | None
    ) -> list[Any]:
        query = Query(np.array(vector, dtype=np.float32), limit, read_node(node), threshold, Projection(True, True))
        hits = self._rig.answer(self._rig._collection(name), query)
        return [[one.id, one.score, one.payload, one.vector] for one in hits]


class _Server:
    def __init__(self) -> None:
        self._engine = _Engine()
        self._open: dict[str, contextvars.Context] = {}
        """The contexts of transactions, in which their requests are answered."""

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, to its end."""
        while line := await reader.readline():
            writer.write(orjson.dumps(await self._answer(orjson.loads(line))) + b"\n")
            await writer.drain()

    async def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        if request["key"] != KEY:
            return {"error": ["refused", "wrong key"]}
        try:
            return {"ok": await self._done(request["call"], request["arguments"], request["transaction"])}
        except BackendError as error:
            return {"error": [_KINDS[type(error)], error.message]}

    async def _done(self, call: str, arguments: list[Any], transaction: str | None) -> Any:
        if transaction is not None and transaction not in self._open:
            raise TransactionError("no open transaction has this id")
        context = self._open[transaction] if transaction is not None else contextvars.Context()
        if call in ("commit", "rollback"):
            self._open.pop(arguments[0], None)
        result = await asyncio.create_task(self._made(call, arguments), context=context)
        if call == "begin":
            self._open[result] = context
        return result

    async def _made(self, call: str, arguments: list[Any]) -> Any:
        result = getattr(self._engine, call)(*arguments)
        return await result if asyncio.iscoroutine(result) else result


def serving() -> AbstractContextManager[int]:
    """Run an engine in a thread of its own; entered, it gives its port."""
    return served(_Server().talk, LINE)
