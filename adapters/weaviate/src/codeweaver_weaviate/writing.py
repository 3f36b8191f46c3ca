"""Writing, deleting, and making good what a crash left half written.

The server stores an object first and indexes it afterwards, and acknowledges a batch while some of it is still in
buffers of its own. So every write is followed by a flush. A call that ends early all the same (a crash, a timeout, a
cancellation) leaves objects that are stored and in no index: writing them again heals them, by the stamp, and so does
``repair``, which a collection is given when it is opened.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final

import httpx
from grpc.aio import AioRpcError

from codeweaver_backends.errors import (
    BackendAuthenticationError,
    BackendConnectionError,
    BackendError,
    CollectionNotFoundError,
)
from codeweaver_backends.sdk.filters.tree import Always, Node
from codeweaver_backends.sdk.requests import Batch
from codeweaver_backends.types import PointId
from codeweaver_weaviate import convert, reading
from codeweaver_weaviate.client import BatchDeleteReply, BatchDeleteRequest, BatchObjectsReply, Connection
from codeweaver_weaviate.convert import Collection
from codeweaver_weaviate.errors import SHARD_READ_ONLY, is_forbidden, is_missing, is_read_only
from codeweaver_weaviate.filters import everything, ids_filter, look_up, narrowed

__all__ = ["delete_ids", "delete_matching", "repair", "write"]

_HEAD_START: Final = 0.001
"""Seconds in which a message leaves, before the next one is prepared and holds the event loop."""
_PIECE: Final = 1_000
_AT_ONCE: Final = 8
_REPAIRED_SIZE: Final = 20_000
"""Up to so many points a collection is looked over when it is opened: the server counts every one of them, thrice."""
_DOUBTED_SIZE: Final = 100_000
"""The same where there was a crash or a write that failed; then a second or two are well spent."""
_PATIENCE: Final = 0.5
"""Seconds that somebody else's write is given before it is taken for one that never ended."""
_BESIDE: Final = 1_000
"""Milliseconds between writes that a crash may have hit together."""
_NOBODY: Final = "!"
"""A token that no point has."""

Translated = Callable[[Exception], BackendError]
"""How the backend words an engine's error."""


# --- writing ---------------------------------------------------------------------------------------------------------


async def write(connection: Connection, collection: Collection, batch: Batch, translated: Translated) -> None:
    """Write a batch; what is acknowledged outlives a crash of the server's process."""
    pieces = list(convert.chunks(batch))
    request = convert.write_request(collection, pieces[0])
    flushed = sent = 0
    try:
        for position, piece in enumerate(pieces, start=1):
            sending = asyncio.ensure_future(connection.write(request))
            before, sent = sent, sent + len(piece)
            try:
                if position < len(pieces):
                    await asyncio.sleep(_HEAD_START)
                    request = convert.write_request(collection, pieces[position])
                _judge(await sending, piece.ids)
            finally:
                sending.cancel()
            flushed = before  # a batch has the ones before it flushed, but not all of its own
        await _flush(connection, collection)
    except Exception as error:
        failure = error if isinstance(error, BackendError) else translated(error)
        unharmed = flushed == before and not failure.state_unknown  # the server refused a whole batch, the first
        if failure.ids and (unharmed or await _is_flushed(connection, collection)):
            failure.ids += tuple(batch.ids[sent:])
        else:
            failure.ids, failure.state_unknown = tuple(batch.ids[flushed:]), True
        if failure is error:
            raise
        raise failure from error


def _judge(reply: BatchObjectsReply, ids: Sequence[PointId]) -> None:
    if not reply.errors:
        return
    first = reply.errors[0].error
    if is_missing(first):
        raise CollectionNotFoundError("the collection does not exist")
    if is_forbidden(first):
        raise BackendAuthenticationError(
            f"the server does not allow this with these credentials: {first[:300]}", ids=ids
        )
    # A shard that is read-only refuses a whole batch, and says so of its first object only. Where it became so in the
    # middle of one, the message begins with what could not be done any more.
    refused = ids if is_read_only(first) else [ids[one.index] for one in reply.errors]
    message = f"the server refused {len(refused)} points: {first[:300]}"
    raise BackendConnectionError(message, ids=refused, state_unknown=not first.startswith(SHARD_READ_ONLY))


async def _flush(connection: Connection, collection: Collection) -> None:
    """Have the server write its buffers, as it does at the end of any deletion, also of nothing."""
    nothing = look_up((_NOBODY,))
    request = BatchDeleteRequest(collection=collection.class_name, filters=nothing, dry_run=True)
    await _check(connection, collection, await connection.delete(request))


async def _is_flushed(connection: Connection, collection: Collection) -> bool:
    try:
        await _flush(connection, collection)
    except (BackendError, AioRpcError, TimeoutError):
        return False
    return True


# --- deleting --------------------------------------------------------------------------------------------------------


async def delete_ids(
    connection: Connection, collection: Collection, ids: Sequence[PointId], translated: Translated
) -> None:
    """Delete the points of these ids."""
    for start in range(0, len(ids), _PIECE):
        uuids = map(convert.point_uuid, ids[start : start + _PIECE])
        request = BatchDeleteRequest(collection=collection.class_name, filters=ids_filter(uuids))
        try:
            await _check(connection, collection, await connection.delete(request))
        except BackendError as error:
            error.ids = tuple(ids[start:])
            raise
        except Exception as error:
            failure = translated(error)
            failure.ids, failure.state_unknown = tuple(ids[start:]), True
            raise failure from error


async def delete_matching(connection: Connection, collection: Collection, node: Node) -> int:
    """Delete the points that match, in as many calls as the server's maximum makes necessary."""
    filters = narrowed(node) or everything()
    request = BatchDeleteRequest(collection=collection.class_name, filters=filters)
    deleted = 0
    while True:
        # Not tried again by itself: what a lost answer told could not be counted.
        reply = await connection.delete(request, retry=False)
        await _check(connection, collection, reply)
        deleted += reply.successful
        if not reply.successful or reply.matches <= reply.successful:
            return deleted


async def _check(connection: Connection, collection: Collection, reply: BatchDeleteReply) -> None:
    """Raise if something was not deleted. The server does not say why; a full disk is asked for."""
    if reply.failed:
        read_only = await connection.is_read_only(collection.class_name)
        reason = "the collection is read-only, as on a disk that is too full" if read_only else "no reason was given"
        message = f"the server failed to delete points: {reason}"
        raise BackendConnectionError(message, state_unknown=not read_only or reply.successful > 0)


# --- repairing -------------------------------------------------------------------------------------------------------


async def repair(connection: Connection, collection: Collection, doubted: set[str], *, crashed: bool) -> None:
    """Have indexed what is stored and is not, or not wholly.

    ``doubted`` are UUIDs of a write that failed: they are indexed anew in any case. What else is amiss is told by a
    glance, and joins them. Each is taken out as it is done, so that what is left is where to go on.
    """
    await _stamp_all(connection, collection, doubted)
    if await _is_whole(connection, collection, _DOUBTED_SIZE if crashed else _REPAIRED_SIZE):
        return
    stored = await _stored(connection, collection)
    suspects = await _unindexed(connection, collection, list(stored))
    if suspects:
        await asyncio.sleep(_PATIENCE)
        suspects = await _unindexed(connection, collection, suspects)
    if suspects:
        # What was written beside them may be found and still lack some facts.
        times = [stored[uuid] for uuid in suspects]
        first, last = min(times) - _BESIDE, max(times) + _BESIDE
        doubted.update(suspects, (uuid for uuid, time in stored.items() if first <= time <= last))
        await _stamp_all(connection, collection, doubted)


async def _stamp_all(connection: Connection, collection: Collection, uuids: set[str]) -> None:
    while uuids:
        some = list(islice(uuids, _AT_ONCE))
        await asyncio.gather(*(_stamp(connection, collection, uuid) for uuid in some))
        uuids.difference_update(some)


async def _stamp(connection: Connection, collection: Collection, uuid: str) -> None:
    """Give an object another stamp, and so have it indexed anew; what it holds is not touched."""
    body = {"class": collection.class_name, "id": uuid, "properties": {convert.STAMP: convert.new_stamp()}}
    try:
        await connection.request("PATCH", f"/v1/objects/{collection.class_name}/{uuid}", body)
    except httpx.HTTPStatusError as error:
        if error.response.status_code != httpx.codes.NOT_FOUND:  # deleted in the meantime
            raise


async def _is_whole(connection: Connection, collection: Collection, most: int) -> bool:
    """Whether what is stored is in every index; too many points are not looked at."""
    stored = await reading.count(connection, collection, Always())
    if not 0 < stored <= most:
        return True
    return set(await reading.count_indexed(connection, collection, stored)) == {stored}


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
        request = reading.request(collection, len(piece), narrowed(Always(), everything(), ids_filter(piece)))
        request.near_vector.CopyFrom(near)
        found = {one.metadata.id for one in (await connection.search(request)).results}
        missing += (uuid for uuid in piece if uuid not in found)
    return missing
