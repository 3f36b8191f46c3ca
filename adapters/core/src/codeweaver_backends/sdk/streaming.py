"""Streams: points written, and queries answered, as their source gives them, in memory that does not grow.

Two rules keep them honest. The source is asked for more only once the batch before the last is written, so that a slow
engine slows the source down. And what the source raises is the source's: it reaches the caller as it is, which is why
the loops here are no ``operation``; only the step before them, that judges the arguments, is one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable
from contextlib import aclosing, asynccontextmanager
from typing import Any, Final, Protocol, TypeVar

from codeweaver_backends.capabilities import BackendCapabilities
from codeweaver_backends.errors import BackendError, InvalidOptionError
from codeweaver_backends.protocols import VectorBackend
from codeweaver_backends.sdk.calls import SEARCHES_AT_ONCE
from codeweaver_backends.sdk.handles import CollectionUse, Intent
from codeweaver_backends.sdk.lifetime import operation
from codeweaver_backends.sdk.validate import validate_batch_size, validate_limit, validate_name
from codeweaver_backends.types import SearchResult, VectorLike, VectorPoint

__all__ = ["BATCHES_HELD", "StreamingCalls"]

Item = TypeVar("Item")

BATCHES_HELD: Final = 2
"""Batches in memory, at most: one is written while the next is gathered, from the list that the source gave last."""


class _Template(VectorBackend, Protocol):
    """What the streams ask of the template."""

    @property
    def capabilities(self) -> BackendCapabilities: ...

    def _use(self, name: str, intent: Intent) -> CollectionUse[Any]: ...

    async def _confirm(self, collection: Any) -> None: ...

    async def _stream_upsert_vectors(
        self, collection_name: str, vector_stream: object, batch_size: object, progress: object
    ) -> int: ...

    async def _stream_search_vectors(self, collection_name: str, query_stream: object, limit: object) -> None: ...


class StreamingCalls:
    """The calls of ``StreamingBackend``, made of ``upsert_vectors`` and ``search_vectors``."""

    async def stream_upsert_vectors(
        self: _Template,
        collection_name: str,
        vector_stream: AsyncIterable[Iterable[VectorPoint]],
        batch_size: int = 100,
        *,
        progress: Callable[[int], object] | None = None,
    ) -> None:
        """Upsert what the stream gives, in order, in batches of ``batch_size`` points, whatever the size of its lists.

        One batch is written while the next is gathered; the stream waits where the engine lags. ``progress`` is called
        after each batch with the number of points written so far. Nothing is asked of the stream where the arguments
        are refused or the collection is missing, and it is closed in the end.

        What the stream raises is raised, the same object, once all that it gave before is written. A write that fails
        ends the call at once: its error's ``acknowledged`` is the number of points written before, from the beginning
        of the stream, and its ``ids`` name those that are not.
        """
        size = await self._stream_upsert_vectors(collection_name, vector_stream, batch_size, progress)
        acknowledged = 0

        async def write(batch: list[VectorPoint]) -> None:
            nonlocal acknowledged
            try:
                await self.upsert_vectors(collection_name, batch)
            except BackendError as error:
                error.operation, error.acknowledged = "stream_upsert_vectors", acknowledged
                raise
            acknowledged += len(batch)
            if progress is not None:
                progress(acknowledged)

        of_the_source: Exception | None = None
        of_a_write: BaseException | None = None
        try:
            # The source is read here, in the caller's task; a write that fails interrupts it, however long it waits.
            async with asyncio.TaskGroup() as group:
                try:
                    writing: asyncio.Task[None] | None = None
                    async with aclosing(_batches(vector_stream, size)) as batches:
                        async for batch in batches:
                            if writing is not None:
                                await asyncio.wait({writing})  # its failure is the group's
                            writing = group.create_task(write(batch))
                except Exception as error:  # noqa: BLE001 - raised below, when what the source gave before is written
                    of_the_source = error
        except BaseExceptionGroup as failures:
            of_a_write = failures.exceptions[0]
        # Not in a handler: an error that is raised in one gets a context, and with "from None" loses its cause.
        if of_a_write is not None:
            if of_the_source is not None:
                of_a_write.add_note(f"the stream had raised {of_the_source!r}")
            raise of_a_write
        if of_the_source is not None:
            raise of_the_source

    async def stream_search_vectors(
        self: _Template, collection_name: str, query_stream: AsyncIterable[VectorLike], limit: int = 10
    ) -> AsyncGenerator[list[SearchResult], None]:
        """Answer each query of the stream as ``search_vectors`` does: one list of results per query, in their order.

        Several searches are under way at once, and none is begun beyond the eighth that is not taken. An answer is
        given as soon as it is there, also while the stream waits for it before its next query. What the stream raises
        is raised, the same object, after the answers to what it gave before. Close the generator where you leave it
        early (``contextlib.aclosing``): it closes the stream, and ends the searches.
        """
        await self._stream_search_vectors(collection_name, query_stream, limit)
        places = asyncio.Semaphore(SEARCHES_AT_ONCE)
        answers: asyncio.Queue[asyncio.Task[list[SearchResult]] | None] = asyncio.Queue()
        searches: set[asyncio.Task[Any]] = set()

        async def search(query: VectorLike) -> list[SearchResult]:
            try:
                return await self.search_vectors(collection_name, query, limit)
            except BackendError as error:
                error.operation = "stream_search_vectors"
                raise

        async def ask() -> None:
            try:
                async with _reading(query_stream) as queries:
                    async for query in queries:
                        await places.acquire()
                        searches.add(task := asyncio.create_task(search(query)))
                        answers.put_nowait(task)
            finally:
                answers.put_nowait(None)

        asking = asyncio.create_task(ask())  # the source as a whole is read in one task, beside the answers
        try:
            while (task := await answers.get()) is not None:
                answer = await task
                searches.discard(task)
                places.release()
                yield answer
            await asking
        finally:
            for left in (asking, *searches):
                left.cancel()
            await asyncio.gather(asking, *searches, return_exceptions=True)

    # --- the arguments, judged before anything is asked of the source ---

    @operation(claim="supports_streaming")
    async def _stream_upsert_vectors(
        self: _Template, collection_name: str, vector_stream: object, batch_size: object, progress: object
    ) -> int:
        name, size = validate_name(collection_name), validate_batch_size(batch_size)
        _check_stream(vector_stream, "vector_stream", "lists of points")
        if progress is not None and not callable(progress):
            raise InvalidOptionError(f"progress must be a function or None, not a {type(progress).__name__}")
        await _confirm(self, name, Intent.WRITE)
        return size

    @operation(claim="supports_streaming")
    async def _stream_search_vectors(
        self: _Template, collection_name: str, query_stream: object, limit: object
    ) -> None:
        name = validate_name(collection_name)
        validate_limit(limit, self.capabilities.limits)
        _check_stream(query_stream, "query_stream", "vectors")
        await _confirm(self, name, Intent.SEARCH)


def _check_stream(stream: object, name: str, items: str) -> None:
    if not isinstance(stream, AsyncIterable):
        raise InvalidOptionError(f"{name} must be an asynchronous iterable of {items}, not a {type(stream).__name__}")


async def _confirm(template: _Template, name: str, intent: Intent) -> None:
    use = template._use(name, intent)
    while True:
        async with use as collection:
            await template._confirm(collection)
            return


@asynccontextmanager
async def _reading(stream: AsyncIterable[Item]) -> AsyncIterator[AsyncIterator[Item]]:
    """The stream's items; closed in the end, so that its own ``finally`` runs now and not when it is collected."""
    items = aiter(stream)
    try:
        yield items
    finally:
        close = getattr(items, "aclose", None)
        if close is not None:
            await close()


async def _batches(stream: AsyncIterable[object], size: int) -> AsyncGenerator[list[VectorPoint], None]:
    """What the stream gives in lists of ``size`` points, then the rest; then the stream's error, if it ends by one."""
    gathered: Any = []
    failure: Exception | None = None
    try:
        async with _reading(stream) as chunks:
            async for chunk in chunks:
                if not isinstance(chunk, Iterable):  # its write refuses it, as it refuses a list of something else
                    if gathered:
                        yield gathered
                    gathered = chunk
                    break
                for point in chunk:
                    gathered.append(point)
                    if len(gathered) == size:
                        yield gathered
                        gathered = []
    except Exception as error:  # noqa: BLE001 - raised below, when what it gave before was passed on
        failure = error
    if gathered != []:
        yield gathered
    if failure is not None:
        raise failure
