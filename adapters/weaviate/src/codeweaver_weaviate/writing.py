"""Writing and deleting.

The server stores an object first and indexes it afterwards, and acknowledges a batch while some of it is still in
buffers of its own. So every write is followed by a flush. A call that ends early all the same (a crash, a timeout, a
cancellation) leaves objects that are stored and in no index: writing them again heals them, by the stamp, and so does
``repair``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Final

from grpc.aio import AioRpcError

from codeweaver_backends.errors import (
    BackendAuthenticationError,
    BackendConnectionError,
    BackendError,
    CollectionNotFoundError,
    EngineError,
)
from codeweaver_backends.sdk import Batch, Node
from codeweaver_backends.types import PointId
from codeweaver_weaviate.client import BatchDeleteReply, BatchDeleteRequest, BatchObjectsReply, Connection
from codeweaver_weaviate.dialect import NOBODY, everything, ids_filter, look_up, narrowed
from codeweaver_weaviate.errors import SHARD_READ_ONLY, is_forbidden, is_missing, is_read_only
from codeweaver_weaviate.schema import Collection, point_uuid, write_request

__all__ = ["Progress", "Timed", "delete_ids", "delete_matching", "write"]

_HEAD_START: Final = 0.001
"""Seconds in which a message leaves, before the next one is prepared and holds the event loop."""

Timed = Callable[[], AbstractAsyncContextManager[Any]]
"""Bounds one request."""


@dataclass(slots=True)
class Progress:
    """How far the write of a batch has come."""

    flushed: int = 0
    """Points at the beginning of the batch that are written for certain."""
    sent: int = 0
    """Points at the beginning of the batch that were sent to the server."""


async def write(
    connection: Connection,
    collection: Collection,
    parts: Sequence[Batch],
    *,
    progress: Progress,
    timed: Timed,
    translated: Callable[[Exception], BackendError],
) -> None:
    """Write the parts of a batch; what is acknowledged outlives a crash of the server's process.

    While one part is under way, the request of the next one is prepared. The last one's time includes the flush.
    """
    request = write_request(collection, parts[0])
    before = 0
    try:
        for position, part in enumerate(parts, start=1):
            async with timed():
                sending = asyncio.ensure_future(connection.write(request))
                before, progress.sent = progress.sent, progress.sent + len(part)
                try:
                    if position < len(parts):
                        await asyncio.sleep(_HEAD_START)
                        request = write_request(collection, parts[position])
                    _judge(await sending, part.ids)
                finally:
                    sending.cancel()
                progress.flushed = before  # a batch has the ones before it flushed, but not all of its own
                if position == len(parts):
                    await _flush(connection, collection)
    except Exception as error:
        ids = [point_id for part in parts for point_id in part.ids]
        failure = translated(error)
        is_first = progress.flushed == before
        is_refused = is_first and not failure.state_unknown
        if failure.ids and (is_refused or await _is_flushed(connection, collection, timed)):
            failure.ids += tuple(ids[progress.sent :])
        else:
            failure.ids = tuple(ids[progress.flushed :])
            failure.state_unknown = not is_first or isinstance(failure, BackendConnectionError | EngineError)
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
    nothing = look_up((NOBODY,))
    request = BatchDeleteRequest(collection=collection.engine_name, filters=nothing, dry_run=True)
    await _check(connection, collection, await connection.delete(request))


async def _is_flushed(connection: Connection, collection: Collection, timed: Timed) -> bool:
    try:
        async with timed():
            await _flush(connection, collection)
    except (BackendError, AioRpcError, TimeoutError):
        return False
    return True


# --- deleting --------------------------------------------------------------------------------------------------------


async def delete_ids(connection: Connection, collection: Collection, ids: Sequence[PointId]) -> None:
    """Delete the points of these ids, as many as one request takes."""
    request = BatchDeleteRequest(collection=collection.engine_name, filters=ids_filter(map(point_uuid, ids)))
    await _check(connection, collection, await connection.delete(request))


async def delete_matching(connection: Connection, collection: Collection, node: Node, timed: Timed) -> int:
    """Delete the points that match, in as many calls as the server's maximum makes necessary."""
    request = BatchDeleteRequest(collection=collection.engine_name, filters=narrowed(node) or everything())
    deleted = 0
    while True:
        async with timed():
            reply = await connection.delete(request)
            await _check(connection, collection, reply)
        deleted += reply.successful
        if not reply.successful or reply.matches <= reply.successful:
            return deleted


async def _check(connection: Connection, collection: Collection, reply: BatchDeleteReply) -> None:
    """Raise if something was not deleted. The server does not say why; a full disk is asked for."""
    if reply.failed:
        read_only = await connection.is_read_only(collection.engine_name)
        reason = "the collection is read-only, as on a disk that is too full" if read_only else "no reason was given"
        message = f"the server failed to delete points: {reason}"
        raise BackendConnectionError(message, state_unknown=not read_only or reply.successful > 0)
