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

from codeweaver_backends.errors import BackendConnectionError, BackendError, CollectionNotFoundError
from codeweaver_backends.filters import Always, Node
from codeweaver_backends.types import PointId
from codeweaver_backends.validate import Batch
from codeweaver_weaviate import convert, reading
from codeweaver_weaviate.client import BatchDeleteReply, BatchDeleteRequest, BatchObjectsReply, Connection
from codeweaver_weaviate.convert import Collection
from codeweaver_weaviate.errors import is_missing
from codeweaver_weaviate.filters import everything, ids_filter, look_up, narrowed

__all__ = ["WHOLE", "Surplus", "delete_ids", "delete_matching", "repair", "write"]

_HEAD_START: Final = 0.001
"""Seconds in which a message leaves, before the next one is prepared and holds the event loop."""
_PIECE: Final = 1_000
_AT_ONCE: Final = 8
_REPAIRED_SIZE: Final = 100_000
"""Looking a collection over scans its vectors: done up to this many points."""
_PATIENCE: Final = 0.5
"""Seconds that somebody else's write is given before it is taken for one that never ended."""
_NOBODY: Final = ""
"""A token that no point has."""

Surplus = tuple[int, int]
"""How many objects more than are stored the index of facts knows, and a search would count.

A crash may leave entries in the indexes for objects that were lost. Nothing removes them, and nothing returns them.
"""
WHOLE: Final[Surplus] = (0, 0)


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
    for start in range(0, len(uuids), _PIECE):
        filters = ids_filter(uuids[start : start + _PIECE])
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


async def repair(connection: Connection, collection: Collection, known: Surplus = WHOLE) -> Surplus:
    """Have indexed what is stored and is not, or not wholly. Returns the surplus that is left for good.

    Whether anything is amiss is told by three counts; where their differences are those that an earlier repair left,
    nothing is.
    """
    surplus = await _surplus(connection, collection)
    if surplus in (WHOLE, known):
        return surplus
    stored = await _stored(connection, collection)
    suspects = await _unindexed(connection, collection, list(stored))
    if suspects:
        await asyncio.sleep(_PATIENCE)
        suspects = await _unindexed(connection, collection, suspects)
    # The objects of one batch bear one time. The last one that got anywhere may lack some facts and still be found.
    batches = {stored[uuid] for uuid in suspects}
    broken = [uuid for uuid, written in stored.items() if written in batches]
    for start in range(0, len(broken), _AT_ONCE):
        await asyncio.gather(*(_stamp(connection, collection, uuid) for uuid in broken[start : start + _AT_ONCE]))
    return await _surplus(connection, collection) if broken else surplus


async def _stamp(connection: Connection, collection: Collection, uuid: str) -> None:
    """Give an object another stamp, and so have it indexed anew; what it holds is not touched."""
    stamp = {collection.stamp: convert.new_stamp().tolist()}
    body = {"class": collection.class_name, "id": uuid, "vectors": stamp}
    try:
        await connection.request("PATCH", f"/v1/objects/{collection.class_name}/{uuid}", body)
    except httpx.HTTPStatusError as error:
        if error.response.status_code != httpx.codes.NOT_FOUND:  # deleted in the meantime
            raise


async def _surplus(connection: Connection, collection: Collection) -> Surplus:
    stored = await reading.count_stored(connection, collection)
    if not 0 < stored <= _REPAIRED_SIZE:
        return WHOLE
    known, indexed = await asyncio.gather(
        reading.count_known(connection, collection, everything()),
        reading.count_indexed(connection, collection, everything(), stored),
    )
    return known - stored, indexed - stored


async def _stored(connection: Connection, collection: Collection) -> dict[str, int]:
    """When each object was written, by its UUID."""
    stored: dict[str, int] = {}
    after = ""
    while True:
        request = reading.request(collection, _PIECE)
        request.after = after
        request.metadata.last_update_time_unix = True
        found = (await connection.search(request)).results
        stored.update((one.metadata.id, one.metadata.last_update_time_unix) for one in found)
        if len(found) < _PIECE:
            return stored
        after = found[-1].metadata.id


async def _unindexed(connection: Connection, collection: Collection, uuids: Sequence[str]) -> list[str]:
    near = convert.near(collection, convert.probe(collection))
    missing: list[str] = []
    for start in range(0, len(uuids), _PIECE):
        piece = uuids[start : start + _PIECE]
        request = reading.request(collection, len(piece), narrowed(Always(), ids_filter(piece)))
        request.near_vector.CopyFrom(near)
        found = {one.metadata.id for one in (await connection.search(request)).results}
        missing += (uuid for uuid in piece if uuid not in found)
    return missing
