"""Making good, in the background, what a crash or a failed write left half written.

An object that is stored and missing in an index is found by some reads and not by others. A collection is looked over
when it is opened, and again after a failed write or a loss of the server; what is amiss is indexed anew. The first
reads wait for that a while, and later ones go on with what is whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

import httpx
from grpc.aio import AioRpcError

from codeweaver_backends.errors import BackendError
from codeweaver_backends.sdk import Always
from codeweaver_weaviate.client import Connection
from codeweaver_weaviate.dialect import everything, ids_filter, narrowed
from codeweaver_weaviate.errors import is_write_refused
from codeweaver_weaviate.reading import count, count_indexed, object_request
from codeweaver_weaviate.schema import STAMP, Collection, near, new_stamp, probe

__all__ = ["Repairs", "repair"]

_ROWS: Final = 1_000
_AT_ONCE: Final = 8
_REPAIRED_SIZE: Final = 20_000
"""Up to so many points a collection is looked over when it is opened: the server counts every one of them, thrice."""
_DOUBTED_SIZE: Final = 100_000
"""The same where there was a crash or a write that failed; then a second or two are well spent."""
_PATIENCE: Final = 0.5
"""Seconds that somebody else's write is given before it is taken for one that never ended."""
_BESIDE: Final = 1_000
"""Milliseconds between writes that a crash may have hit together."""
_PAUSE: Final = 1.0
"""Seconds after a repair that failed before the next one is begun."""
_REFUSED_PAUSE: Final = 60.0
"""The same where the server takes no writes, or none of ours: reads go on all the while."""


@dataclass(eq=False, slots=True)
class _State:
    """What is known of the wholeness of one collection."""

    incarnation: str
    is_whole: bool = False
    was_hit: bool = False
    """Whether a write failed, or the server went away, since the collection was last found whole."""
    doubted: set[str] = field(default_factory=set)
    """UUIDs of writes that failed: to be indexed anew in any case."""
    doubts: int = 0
    """How often it came into doubt."""
    running: asyncio.Task[None] | None = None
    is_awaited: bool = True
    """Whether reads wait for the repair that is running."""
    not_before: float = 0.0
    """The event loop's time of the next attempt."""


class Repairs:
    """The repairs of one backend's collections, each a task of its own. Reads wait ``patience`` seconds for one."""

    def __init__(self, connection: Connection, patience: float) -> None:
        self._connection = connection
        self._patience = patience
        self._states: dict[str, _State] = {}
        self._is_closed = False

    def is_whole(self, name: str) -> bool:
        """Whether a collection was found whole, and nothing has happened to it since."""
        return name in self._states and self._states[name].is_whole

    def created(self, collection: Collection) -> None:
        """Take note of a collection that is empty as yet."""
        self.forget(collection.settings.name)
        self._states[collection.settings.name] = _State(collection.incarnation, is_whole=True)

    def doubt(self, collection: Collection, uuids: Iterable[str]) -> None:
        """Take note of points that may be half written."""
        state = self._state(collection)
        state.doubted.update(uuids)
        _hit(state)

    def doubt_all(self) -> None:
        """Take note that the server may have crashed."""
        for state in self._states.values():
            _hit(state)

    def forget(self, name: str) -> None:
        """Let a collection be, which was deleted."""
        state = self._states.pop(name, None)
        if state is not None and state.running is not None:
            state.running.cancel()

    async def awaited(self, collection: Collection) -> None:
        """Begin to look the collection over, unless it is known to be whole, and wait for that a while."""
        state = self._state(collection)
        if state.is_whole or self._is_closed:
            return
        if state.running is None and asyncio.get_running_loop().time() >= state.not_before:
            state.is_awaited = True
            state.running = asyncio.create_task(self._run(collection, state))
        if state.running is not None and state.is_awaited:
            done, _ = await asyncio.wait({state.running}, timeout=self._patience)
            state.is_awaited = bool(done)

    async def close(self) -> None:
        """End what is running, and begin nothing more."""
        self._is_closed = True
        running = [state.running for state in self._states.values() if state.running is not None]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _state(self, collection: Collection) -> _State:
        name = collection.settings.name
        if name not in self._states or self._states[name].incarnation != collection.incarnation:
            self.forget(name)
            self._states[name] = _State(collection.incarnation)
        return self._states[name]

    async def _run(self, collection: Collection, state: _State) -> None:
        doubts = state.doubts
        try:
            await repair(self._connection, collection, state.doubted, crashed=state.was_hit)
        except (AioRpcError, httpx.HTTPError, BackendError, TimeoutError) as error:
            refused = isinstance(error, AioRpcError | httpx.HTTPStatusError) and is_write_refused(error)
            state.not_before = asyncio.get_running_loop().time() + (_REFUSED_PAUSE if refused else _PAUSE)
        else:
            state.is_whole = state.doubts == doubts
            state.was_hit = not state.is_whole
        finally:
            state.running = None


def _hit(state: _State) -> None:
    state.is_whole, state.was_hit = False, True
    state.doubts += 1
    state.not_before = 0.0


# --- one collection --------------------------------------------------------------------------------------------------


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
        # What was written beside them may be found and still lack some terms.
        times = [stored[uuid] for uuid in suspects]
        first, last = min(times) - _BESIDE, max(times) + _BESIDE
        doubted.update(suspects, (uuid for uuid, time in stored.items() if first <= time <= last))
        await _stamp_all(connection, collection, doubted)


async def _stamp_all(connection: Connection, collection: Collection, uuids: set[str]) -> None:
    while uuids:
        some = list(islice(uuids, _AT_ONCE))
        stamps = [_stamp(connection, collection, uuid) for uuid in some]
        failures = await asyncio.gather(*stamps, return_exceptions=True)
        uuids.difference_update(uuid for uuid, failure in zip(some, failures, strict=True) if failure is None)
        for failure in failures:
            if failure is not None:
                raise failure


async def _stamp(connection: Connection, collection: Collection, uuid: str) -> None:
    """Give an object another stamp, and so have it indexed anew; what it holds is not touched."""
    body = {"class": collection.engine_name, "id": uuid, "properties": {STAMP: new_stamp()}}
    path = f"/v1/objects/{collection.engine_name}/{uuid}"
    try:
        if collection.is_replicated:
            # A stamp makes the newest of what a copy has, however old: first all copies are given the newest.
            await connection.request("GET", f"{path}?consistency_level=ALL")
            path = f"{path}?consistency_level={connection.write_consistency}"
        await connection.request("PATCH", path, body)
    except httpx.HTTPStatusError as error:
        if error.response.status_code != httpx.codes.NOT_FOUND:  # deleted in the meantime
            raise


async def _is_whole(connection: Connection, collection: Collection, most: int) -> bool:
    """Whether what is stored is in every index; too many points are not looked at."""
    stored = await count(connection, collection, Always())
    if not 0 < stored <= most:
        return True
    return set(await count_indexed(connection, collection, stored)) == {stored}


async def _stored(connection: Connection, collection: Collection) -> dict[str, int]:
    """When each object was written, by its UUID."""
    stored: dict[str, int] = {}
    after = ""
    while True:
        request = object_request(collection, _ROWS)
        request.after = after
        request.metadata.last_update_time_unix = True
        found = (await connection.search(request)).results
        stored.update((one.metadata.id, one.metadata.last_update_time_unix) for one in found)
        if len(found) < _ROWS:
            return stored
        after = found[-1].metadata.id


async def _unindexed(connection: Connection, collection: Collection, uuids: Sequence[str]) -> list[str]:
    near_vector = near(collection, probe(collection))
    missing: list[str] = []
    for start in range(0, len(uuids), _ROWS):
        part = uuids[start : start + _ROWS]
        request = object_request(collection, len(part), narrowed(Always(), everything(), ids_filter(part)))
        request.near_vector.CopyFrom(near_vector)
        found = {one.metadata.id for one in (await connection.search(request)).results}
        missing += (uuid for uuid in part if uuid not in found)
    return missing
