"""Streams of points: read whole, held whole, written out of order, errors of either side lost, tasks left behind."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable
from contextlib import suppress
from typing import Any, ClassVar

from codeweaver_backends.errors import BackendError, CollectionNotFoundError, EngineError, InvalidInputError
from codeweaver_backends.sdk.requests import Batch
from codeweaver_backends.types import VectorPoint
from codeweaver_tools.defects.registry import plant
from codeweaver_tools.defects.rig import Collection, Rig

Chunks = AsyncIterable[Iterable[VectorPoint]]


async def stream_of(*items: Any) -> AsyncIterator[Any]:
    """A stream of these items."""
    for item in items:
        yield item


# --- writing ---


@plant("str-buffers-all", "The whole stream is read into memory before the first write.", side="above")
class _BuffersAll(Rig):
    async def stream_upsert_vectors(self, collection_name: str, vector_stream: Chunks, *args: Any, **how: Any) -> None:
        await super().stream_upsert_vectors(collection_name, stream_of(), *args, **how)  # which judges the arguments
        points: list[VectorPoint] = []
        try:
            async for chunk in vector_stream:
                points += chunk
        finally:
            await super().stream_upsert_vectors(collection_name, stream_of(points), *args, **how)


@plant("str-no-back-pressure", "A worker writes from a queue without a bound; the stream is never made to wait.")
class _NoBackPressure(Rig):
    async def stream_upsert_vectors(self, collection_name: str, vector_stream: Chunks, *args: Any, **how: Any) -> None:
        await super().stream_upsert_vectors(collection_name, stream_of(), *args, **how)
        queue: asyncio.Queue[Iterable[VectorPoint] | None] = asyncio.Queue()

        async def queued() -> AsyncIterator[Iterable[VectorPoint]]:
            while (chunk := await queue.get()) is not None:
                await asyncio.sleep(0.002)  # the engine is slower than the stream
                yield chunk

        worker = asyncio.create_task(super().stream_upsert_vectors(collection_name, queued(), *args, **how))
        try:
            async for chunk in vector_stream:
                if worker.done():
                    break
                queue.put_nowait(chunk)
        finally:
            queue.put_nowait(None)
            await worker


@plant("str-keeps-written", "What was written is kept until the stream ends, to be told of then.")
class _KeepsWritten(Rig):
    async def stream_upsert_vectors(self, collection_name: str, vector_stream: Chunks, *args: Any, **how: Any) -> None:
        kept: list[VectorPoint] = []

        async def noting() -> AsyncIterator[Iterable[VectorPoint]]:
            async for chunk in vector_stream:
                points = list(chunk)
                kept.extend(points)
                yield points

        await super().stream_upsert_vectors(collection_name, noting(), *args, **how)


@plant("str-batch-error-swallowed", "A batch that fails is skipped, and the call returns as if all went in.")
class _BatchErrorSwallowed(Rig):
    async def stream_upsert_vectors(self, collection_name: str, vector_stream: Chunks, *args: Any, **how: Any) -> None:
        await super().stream_upsert_vectors(collection_name, stream_of(), *args, **how)
        async for chunk in vector_stream:
            with suppress(InvalidInputError, EngineError):
                await super().stream_upsert_vectors(collection_name, stream_of(chunk), *args, **how)


@plant("str-failure-pulls-on", "After a failed write the stream is read for a while, and its rest thrown away.")
class _PullsOn(Rig):
    async def stream_upsert_vectors(self, collection_name: str, vector_stream: Chunks, *args: Any, **how: Any) -> None:
        items = aiter(vector_stream)

        async def unclosed() -> AsyncIterator[Iterable[VectorPoint]]:
            while (chunk := await anext(items, None)) is not None:
                yield chunk

        try:
            await super().stream_upsert_vectors(collection_name, unclosed(), *args, **how)
        except InvalidInputError as error:
            for _ in range(50 if error.acknowledged else 0):
                await anext(items, None)
            raise


@plant("str-failure-waits", "A failed write is told when the stream gives its next list, however long that takes.")
class _FailureWaits(Rig):
    async def stream_upsert_vectors(self, collection_name: str, vector_stream: Chunks, *args: Any, **how: Any) -> None:
        failure: BackendError | None = None
        written = 0
        await super().stream_upsert_vectors(collection_name, stream_of(), *args, **how)
        async for chunk in vector_stream:
            if failure is not None:
                break
            points = list(chunk)
            try:
                await super().stream_upsert_vectors(collection_name, stream_of(points), *args, **how)
            except BackendError as error:
                failure, error.acknowledged = error, written
            written += len(points)
        if failure is not None:
            raise failure


class _Acknowledged(Rig):
    """The number of points that a failed stream tells is another."""

    told: ClassVar[Callable[[int], int | None]]

    async def stream_upsert_vectors(self, *args: Any, **how: Any) -> None:
        try:
            await super().stream_upsert_vectors(*args, **how)
        except BackendError as error:
            if error.acknowledged is not None:
                error.acknowledged = type(self).told(error.acknowledged)
            raise


@plant("str-acknowledged-missing", "A failed write does not tell how many points were written before.")
class _AcknowledgedMissing(_Acknowledged):
    told = lambda number: None  # noqa: E731


@plant("str-acknowledged-sent", "A failed write counts the batch that failed among the written.")
class _AcknowledgedSent(_Acknowledged):
    told = lambda number: number + 10  # noqa: E731


@plant("str-source-error-swallowed", "What the stream raises ends it, and nobody hears of it.", side="above")
class _SourceErrorSwallowed(Rig):
    async def stream_upsert_vectors(self, collection_name: str, vector_stream: Chunks, *args: Any, **how: Any) -> None:
        async def quiet() -> AsyncIterator[Iterable[VectorPoint]]:
            with suppress(Exception):
                async for chunk in vector_stream:
                    yield chunk

        await super().stream_upsert_vectors(collection_name, quiet(), *args, **how)


async def wrapped(stream: AsyncIterable[Any]) -> AsyncIterator[Any]:
    """The stream, its errors told as the engine's."""
    try:
        async for item in stream:
            yield item
    except Exception as error:
        raise EngineError("an unexpected internal error") from error


@plant("str-source-error-wrapped", "What the stream raises is told as an error of the engine.", side="above")
class _SourceErrorWrapped(Rig):
    async def stream_upsert_vectors(self, collection_name: str, vector_stream: Chunks, *args: Any, **how: Any) -> None:
        await super().stream_upsert_vectors(collection_name, wrapped(vector_stream), *args, **how)


@plant("str-source-error-copied", "What the stream raises is raised as another object of its class.", side="above")
class _SourceErrorCopied(Rig):
    async def stream_upsert_vectors(self, *args: Any, **how: Any) -> None:
        try:
            await super().stream_upsert_vectors(*args, **how)
        except BackendError:
            raise
        except Exception as error:
            raise type(error)(*error.args) from error


@plant("str-source-error-loses", "Where the stream raises, the batch that it did not fill is lost.", side="above")
class _SourceErrorLoses(Rig):
    async def stream_upsert_vectors(
        self, collection_name: str, vector_stream: Chunks, batch_size: int = 100, **how: Any
    ) -> None:
        await super().stream_upsert_vectors(collection_name, stream_of(), batch_size, **how)

        async def full() -> AsyncIterator[Iterable[VectorPoint]]:
            gathered: list[VectorPoint] = []
            async for chunk in vector_stream:
                for one in chunk:
                    gathered.append(one)
                    if len(gathered) == batch_size:
                        yield gathered
                        gathered = []
            yield gathered

        await super().stream_upsert_vectors(collection_name, full(), batch_size, **how)


@plant("str-tail-lost", "What does not fill a batch is never written.", side="above")
class _TailLost(Rig):
    async def stream_upsert_vectors(
        self, collection_name: str, vector_stream: Chunks, batch_size: int = 100, **how: Any
    ) -> None:
        await super().stream_upsert_vectors(collection_name, stream_of(), batch_size, **how)
        gathered: list[VectorPoint] = []
        async for chunk in vector_stream:
            gathered += chunk
            full = len(gathered) // batch_size * batch_size
            await super().stream_upsert_vectors(collection_name, stream_of(gathered[:full]), batch_size, **how)
            gathered = gathered[full:]


@plant("str-long-list-cut", "Of a list that is longer than a batch the rest is lost.", side="above")
class _LongListCut(Rig):
    async def stream_upsert_vectors(
        self, collection_name: str, vector_stream: Chunks, batch_size: int = 100, **how: Any
    ) -> None:
        async def cut() -> AsyncIterator[Iterable[VectorPoint]]:
            async for chunk in vector_stream:
                yield list(chunk)[:batch_size]

        await super().stream_upsert_vectors(collection_name, cut(), batch_size, **how)


@plant("str-empty-list-ends", "An empty list is taken for the end of the stream.", side="above")
class _EmptyListEnds(Rig):
    async def stream_upsert_vectors(self, collection_name: str, vector_stream: Chunks, *args: Any, **how: Any) -> None:
        async def until_empty() -> AsyncIterator[Iterable[VectorPoint]]:
            async for chunk in vector_stream:
                points = list(chunk)
                if not points:
                    return
                yield points

        await super().stream_upsert_vectors(collection_name, until_empty(), *args, **how)


@plant("str-empty-raises", "A stream that gives no point at all is an error.", side="above")
class _EmptyRaises(Rig):
    async def stream_upsert_vectors(self, collection_name: str, vector_stream: Chunks, *args: Any, **how: Any) -> None:
        given = 0

        async def counted() -> AsyncIterator[Iterable[VectorPoint]]:
            nonlocal given
            async for chunk in vector_stream:
                points = list(chunk)
                given += len(points)
                yield points

        await super().stream_upsert_vectors(collection_name, counted(), *args, **how)
        if not given:
            raise InvalidInputError("the stream is empty")


@plant("str-first-wins", "Of equal ids in a batch the first wins.", side="above")
class _FirstWins(Rig):
    async def stream_upsert_vectors(
        self, collection_name: str, vector_stream: Chunks, batch_size: int = 100, **how: Any
    ) -> None:
        async def turned() -> AsyncIterator[Iterable[VectorPoint]]:
            async for chunk in vector_stream:
                yield list(chunk)[::-1]

        await super().stream_upsert_vectors(collection_name, turned(), batch_size, **how)


@plant("str-writes-overtake", "Batches are written beside each other, and the shorter one is done first.")
class _WritesOvertake(Rig):
    async def stream_upsert_vectors(
        self, collection_name: str, vector_stream: Chunks, batch_size: int = 100, **how: Any
    ) -> None:
        await super().stream_upsert_vectors(collection_name, stream_of(), batch_size, **how)
        pair: list[list[VectorPoint]] = []

        async def write() -> None:
            for points in reversed(pair):
                await super(_WritesOvertake, self).stream_upsert_vectors(
                    collection_name, stream_of(points), batch_size, **how
                )
            pair.clear()

        async for chunk in vector_stream:
            pair.append(list(chunk))
            if len(pair) == 2:
                await write()
        await write()


@plant("str-missing-empty", "A stream of nothing to a missing collection is no error.", side="above")
class _MissingEmpty(Rig):
    async def stream_upsert_vectors(self, collection_name: str, vector_stream: Chunks, *args: Any, **how: Any) -> None:
        items = aiter(vector_stream)
        try:
            await super().stream_upsert_vectors(collection_name, stream_of(), *args, **how)
        except CollectionNotFoundError:
            if not [point async for chunk in items for point in chunk]:
                return
            raise
        await super().stream_upsert_vectors(collection_name, items, *args, **how)


@plant("str-missing-created", "A stream to a missing collection creates it.", side="above")
class _MissingCreated(Rig):
    async def stream_upsert_vectors(self, collection_name: str, *args: Any, **how: Any) -> None:
        try:
            await super().stream_upsert_vectors(collection_name, *args, **how)
        except CollectionNotFoundError:
            await self.create_collection(collection_name, 2)
            raise


@plant("str-batch-size-clamped", "A batch_size of 0 or less is taken for 1.", side="above")
class _BatchSizeClamped(Rig):
    async def stream_upsert_vectors(
        self, collection_name: str, vector_stream: Chunks, batch_size: Any = 100, **how: Any
    ) -> None:
        size = max(1, batch_size) if type(batch_size) is int else batch_size
        await super().stream_upsert_vectors(collection_name, vector_stream, size, **how)


@plant("str-refused-late", "A bad batch_size is refused once the first list was taken.", side="above")
class _RefusedLate(Rig):
    async def stream_upsert_vectors(self, collection_name: str, vector_stream: Chunks, *args: Any, **how: Any) -> None:
        items = aiter(vector_stream)
        first = await anext(items, ())

        async def again() -> AsyncIterator[Iterable[VectorPoint]]:
            yield first
            async for chunk in items:
                yield chunk

        await super().stream_upsert_vectors(collection_name, again(), *args, **how)


@plant("str-progress-ahead", "progress is told of a batch before it is written.", side="above")
class _ProgressAhead(Rig):
    async def stream_upsert_vectors(
        self, collection_name: str, vector_stream: Chunks, *args: Any, progress: Any = None
    ) -> None:
        given = 0

        async def counted() -> AsyncIterator[Iterable[VectorPoint]]:
            nonlocal given
            async for chunk in vector_stream:
                points = list(chunk)
                given += len(points)
                if progress is not None:
                    progress(given)
                yield points

        await super().stream_upsert_vectors(collection_name, counted(), *args)


@plant("str-progress-batches", "progress is told the points of a batch, and not of all so far.", side="above")
class _ProgressBatches(Rig):
    async def stream_upsert_vectors(self, *args: Any, progress: Any = None) -> None:
        last = 0

        def told(number: int) -> None:
            nonlocal last
            last, part = number, number - last
            if progress is not None:
                progress(part)

        await super().stream_upsert_vectors(*args, progress=told)


# --- the end ---


@plant("str-cancel-leaves-task", "A cancelled write leaves the task that reads the stream behind.")
class _CancelLeavesTask(Rig):
    async def stream_upsert_vectors(self, *args: Any, **how: Any) -> None:
        await asyncio.shield(asyncio.create_task(super().stream_upsert_vectors(*args, **how)))


@plant("str-cancel-swallowed", "A cancelled write returns as if it were done.")
class _CancelSwallowed(Rig):
    async def stream_upsert_vectors(self, *args: Any, **how: Any) -> None:
        with suppress(asyncio.CancelledError):
            await super().stream_upsert_vectors(*args, **how)


# --- transactions ---


def _elsewhere(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    return asyncio.create_task(work, context=contextvars.Context())


@plant("str-transaction-left", "A stream is written by a worker, which is in no transaction.")
class _TransactionLeft(Rig):
    async def stream_upsert_vectors(self, *args: Any, **how: Any) -> None:
        task = _elsewhere(super().stream_upsert_vectors(*args, **how))
        try:
            await task
        finally:
            task.cancel()
            await asyncio.wait({task})


@plant("str-payload-of-neighbour", "In a batch of a stream payloads stand one point too low.")
class _PayloadOfNeighbour(Rig):
    async def stream_upsert_vectors(self, collection_name: str, vector_stream: Chunks, *args: Any, **how: Any) -> None:
        async def shifted() -> AsyncIterator[Iterable[VectorPoint]]:
            async for chunk in vector_stream:
                points = list(chunk)
                payloads = [one.payload for one in points[-1:] + points[:-1]]
                yield [VectorPoint(one.id, one.vector, other) for one, other in zip(points, payloads, strict=True)]

        await super().stream_upsert_vectors(collection_name, shifted(), *args, **how)


@plant("str-large-batch-fails", "A batch of a stream that is larger than 64 points fails in the engine.")
class _LargeBatchFails(Rig):
    _is_streaming = False

    async def stream_upsert_vectors(self, *args: Any, **how: Any) -> None:
        self._is_streaming = True
        try:
            await super().stream_upsert_vectors(*args, **how)
        finally:
            self._is_streaming = False

    def _write_all(self, collection: Collection, batch: Batch) -> None:
        if self._is_streaming and len(batch) > 64:
            raise RuntimeError("batch size exceeds maximum batch size")
        super()._write_all(collection, batch)
