"""Writing, deleting, and making good what a crash left half written.

The server stores an object first and indexes it afterwards, and acknowledges a batch while some of it is still in
buffers of its own. So every write is followed by a flush. A call that ends early all the same (a crash, a timeout, a
cancellation) leaves objects that are stored and in no index: writing them again heals them, by the stamp, and so does
:func:`repair`, which a collection is given when it is opened.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import httpx
import numpy as np
import orjson

from codeweaver_backends.errors import BackendConnectionError, BackendError, CollectionNotFoundError
from codeweaver_backends.filters import Node
from codeweaver_backends.types import PointId
from codeweaver_backends.validate import Batch, decode_payload
from codeweaver_weaviate import convert, reading
from codeweaver_weaviate.client import BatchDeleteReply, BatchDeleteRequest, BatchObjectsReply, Connection
from codeweaver_weaviate.convert import Collection
from codeweaver_weaviate.errors import is_missing
from codeweaver_weaviate.filters import everything, ids_filter, look_up, narrowed

__all__ = ["delete_ids", "delete_matching", "repair", "write"]

_HEAD_START: Final = 0.001
"""Seconds in which a message leaves, before the next one is prepared and holds the event loop."""
_DELETED: Final = 1_000
_REPAIRED_SIZE: Final = 100_000
"""Looking a collection over scans its vectors: done up to this many points."""
_PATIENCE: Final = 0.5
"""Seconds that somebody else's write is given before it is taken for one that never ended."""
_NOBODY: Final = ""
"""A token that no point has."""


# --- writing ---------------------------------------------------------------------------------------------------------


async def write(
    connection: Connection, collection: Collection, batch: Batch, translated: Callable[[Exception], BackendError]
) -> None:
    """Write a batch; what is acknowledged outlives a crash of the server's process."""
    pieces = list(convert.chunks(batch))
    request = convert.write_request(collection, pieces[0])
    written = 0
    try:
        for position, piece in enumerate(pieces, start=1):
            sending = asyncio.ensure_future(connection.write(request))
            if position < len(pieces):
                await asyncio.sleep(_HEAD_START)
                request = convert.write_request(collection, pieces[position])
            _judge(await sending, piece.ids)
            if position < len(pieces):
                written += len(piece)
        await _flush(connection, collection)
    except Exception as error:  # noqa: BLE001 - whatever it is, the caller is told which points it leaves open
        failure = error if isinstance(error, BackendError) else translated(error)
        refused = failure.ids
        failure.ids = (*refused, *batch.ids[written + len(piece) :]) if refused else tuple(batch.ids[written:])
        failure.state_unknown = True
        raise failure from (None if failure is error else error)


def _judge(reply: BatchObjectsReply, ids: Sequence[PointId]) -> None:
    if not reply.errors:
        return
    first = reply.errors[0].error
    if is_missing(first):
        raise CollectionNotFoundError("the collection does not exist")
    # A shard that is read-only refuses a whole batch, and says so of its first object only.
    refused = ids if "read-only" in first else [ids[one.index] for one in reply.errors]
    raise BackendConnectionError(f"the server refused {len(refused)} points: {first[:300]}", ids=refused)


async def _flush(connection: Connection, collection: Collection) -> None:
    """Have the server write its buffers, as it does at the end of any deletion, also of nothing."""
    nothing = look_up((_NOBODY,))
    await connection.delete(BatchDeleteRequest(collection=collection.class_name, filters=nothing, dry_run=True))


# --- deleting --------------------------------------------------------------------------------------------------------


async def delete_ids(connection: Connection, collection: Collection, ids: Sequence[PointId]) -> None:
    """Delete the points of these ids."""
    uuids = [convert.point_uuid(point_id) for point_id in ids]
    for start in range(0, len(uuids), _DELETED):
        filters = ids_filter(uuids[start : start + _DELETED])
        request = BatchDeleteRequest(collection=collection.class_name, filters=filters)
        _check(await connection.delete(request))


async def delete_matching(connection: Connection, collection: Collection, node: Node) -> int:
    """Delete the points that match, in as many calls as the server's maximum makes necessary."""
    request = BatchDeleteRequest(collection=collection.class_name, filters=narrowed(node))
    deleted = 0
    while True:
        # Not tried again by itself: what a lost answer told could not be counted.
        reply = await connection.delete(request, retry=False)
        _check(reply)
        deleted += reply.successful
        if reply.matches <= reply.successful:
            return deleted


def _check(reply: BatchDeleteReply) -> None:
    if reply.failed:
        raise BackendConnectionError(f"the server did not delete {reply.failed} points")


# --- repairing -------------------------------------------------------------------------------------------------------


async def repair(connection: Connection, collection: Collection) -> None:
    """Write again what is stored and in no index."""
    for _ in range(2):
        if await _is_whole(connection, collection):
            return
        await asyncio.sleep(_PATIENCE)
    suspects = await _unindexed(connection, collection, await _stored(connection, collection))
    if suspects:
        await asyncio.sleep(_PATIENCE)
        suspects = await _unindexed(connection, collection, suspects)
    for start in range(0, len(suspects), _DELETED):
        batch = await _stored_points(connection, collection, suspects[start : start + _DELETED])
        for piece in convert.chunks(batch):
            _judge(await connection.write(convert.write_request(collection, piece)), piece.ids)
    if suspects:
        await _flush(connection, collection)


async def _is_whole(connection: Connection, collection: Collection) -> bool:
    stored = await reading.count_stored(connection, collection)
    if not 0 < stored <= _REPAIRED_SIZE:
        return True
    known, indexed = await asyncio.gather(
        reading.count_known(connection, collection, everything()),
        reading.count_indexed(connection, collection, everything(), stored),
    )
    return stored == known == indexed


async def _stored(connection: Connection, collection: Collection) -> list[str]:
    uuids: list[str] = []
    while page := await reading.stored_after(connection, collection, uuids[-1] if uuids else "", reading.MOST - 1):
        uuids += page
    return uuids


async def _unindexed(connection: Connection, collection: Collection, uuids: list[str]) -> list[str]:
    near = convert.near(collection, convert.probe(collection))
    missing: list[str] = []
    for start in range(0, len(uuids), _DELETED):
        piece = uuids[start : start + _DELETED]
        request = reading.request(collection, len(piece), ids_filter(piece))
        request.near_vector.CopyFrom(near)
        found = {one.metadata.id for one in (await connection.search(request)).results}
        missing += (uuid for uuid in piece if uuid not in found)
    return missing


async def _stored_points(connection: Connection, collection: Collection, uuids: Sequence[str]) -> Batch:
    ids: list[PointId] = []
    vectors: list[list[float]] = []
    documents: list[bytes] = []
    for uuid in uuids:
        try:
            reply = await connection.request("GET", f"/v1/objects/{collection.class_name}/{uuid}?include=vector")
        except httpx.HTTPStatusError as error:
            if error.response.status_code == httpx.codes.NOT_FOUND:
                continue
            raise
        stored = orjson.loads(reply.content)
        ids.append(orjson.loads(stored["properties"][convert.ID]))
        vectors.append(stored["vectors"][collection.vector])
        documents.append(stored["properties"][convert.DOCUMENT].encode())
    matrix = np.array(vectors, dtype=np.float32).reshape(len(ids), collection.settings.dimension)
    return Batch(ids, matrix, [decode_payload(document) for document in documents], documents)
