"""A backend without ``await``: every call of the protocols, on an event loop in a thread of its own.

::

    with BlockingBackend(create_backend("lancedb", path="data")) as backend:
        backend.search_vectors("code", [0.1, 0.2, 0.3])
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from functools import wraps
from typing import Any, Concatenate, Final, ParamSpec, Self, TypeVar, cast

from codeweaver_backends.capabilities import BackendCapabilities
from codeweaver_backends.errors import BackendClosedError
from codeweaver_backends.protocols import (
    Backend,
    ColumnarBackend,
    HybridSearchBackend,
    MaintainableBackend,
    ScannableBackend,
    StreamingBackend,
    TransactionalBackend,
    VectorBackend,
)
from codeweaver_backends.types import FilterLike, SearchResult, VectorLike, VectorPoint

__all__ = ["BlockingBackend"]

Parameters = ParamSpec("Parameters")
Answer = TypeVar("Answer")
Item = TypeVar("Item")

_END: Final = object()


def _blocking(
    method: Callable[Concatenate[Any, Parameters], Awaitable[Answer]],
) -> Callable[Concatenate[BlockingBackend, Parameters], Answer]:
    """The method of a protocol as a call that waits for its answer."""
    name = cast("Any", method).__name__

    @wraps(method)
    def call(self: BlockingBackend, /, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Answer:
        answer: Answer = self._wait(lambda: getattr(self.backend, name)(*args, **kwargs))
        return answer

    return cast("Callable[Concatenate[BlockingBackend, Parameters], Answer]", call)


class BlockingBackend:
    """The calls of ``backend``, with the same arguments, answers and errors; what it lacks is an ``AttributeError``.

    Any thread may call. Each has its own place in transactions: one that it began holds its calls, and no others'.
    An interrupt (Ctrl-C) cancels the call that waits. The backend must not have been used by another event loop, unless
    it may be; after ``close`` calls raise ``BackendClosedError``.
    """

    def __init__(self, backend: VectorBackend) -> None:
        self.backend = backend
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._guard = threading.Lock()
        self._is_closed = False
        self._caller = threading.local()

    @property
    def capabilities(self) -> BackendCapabilities:
        """What is enforced now."""
        return cast("Backend", self.backend).capabilities

    @property
    def server_version(self) -> str | None:
        """The server's product and version, once something was asked of it."""
        return cast("Backend", self.backend).server_version

    # Ignored is that **kwargs could hold a keyword "self", which mypy alone minds.
    create_collection = _blocking(VectorBackend.create_collection)  # type: ignore[arg-type]
    list_collections = _blocking(VectorBackend.list_collections)
    delete_collection = _blocking(VectorBackend.delete_collection)
    get_collection_info = _blocking(VectorBackend.get_collection_info)
    upsert_vectors = _blocking(VectorBackend.upsert_vectors)
    search_vectors = _blocking(VectorBackend.search_vectors)  # type: ignore[arg-type]
    delete_vectors = _blocking(VectorBackend.delete_vectors)
    get_vectors = _blocking(ScannableBackend.get_vectors)
    scroll_vectors = _blocking(ScannableBackend.scroll_vectors)
    count_vectors = _blocking(ScannableBackend.count_vectors)
    delete_by_filter = _blocking(ScannableBackend.delete_by_filter)
    upsert_batch = _blocking(ColumnarBackend.upsert_batch)
    optimize_collection = _blocking(MaintainableBackend.optimize_collection)
    create_sparse_index = _blocking(HybridSearchBackend.create_sparse_index)  # type: ignore[arg-type]
    hybrid_search = _blocking(HybridSearchBackend.hybrid_search)  # type: ignore[arg-type]
    update_sparse_vectors = _blocking(HybridSearchBackend.update_sparse_vectors)
    begin_transaction = _blocking(TransactionalBackend.begin_transaction)
    commit_transaction = _blocking(TransactionalBackend.commit_transaction)
    rollback_transaction = _blocking(TransactionalBackend.rollback_transaction)
    get_capabilities = _blocking(Backend.get_capabilities)
    diagnose = _blocking(Backend.diagnose)
    collection_exists = _blocking(Backend.collection_exists)
    search_batch = _blocking(Backend.search_batch)  # type: ignore[arg-type]
    set_payload = _blocking(Backend.set_payload)

    def health_check(self) -> bool:
        """Whether the engine answers and accepts us. Never raises, changes nothing."""
        return not self._is_closed and self._wait(self.backend.health_check)

    def stream_upsert_vectors(
        self,
        collection_name: str,
        vector_stream: Iterable[Iterable[VectorPoint]],
        batch_size: int = 100,
        *,
        progress: Callable[[int], object] | None = None,
    ) -> None:
        """Upsert what the stream gives, in batches, in order.

        ``progress`` is called on the backend's thread, with the number of points written so far.
        """
        backend = cast("Backend", self.backend)
        told: Any = {} if progress is None else {"progress": progress}
        self._wait(lambda: backend.stream_upsert_vectors(collection_name, _fed(vector_stream), batch_size, **told))

    def stream_search_vectors(
        self, collection_name: str, query_stream: Iterable[VectorLike], limit: int = 10
    ) -> Iterator[list[SearchResult]]:
        """One query vector in, one result list out, in order."""
        backend = cast("StreamingBackend", self.backend)
        return self._each(lambda: backend.stream_search_vectors(collection_name, _fed(query_stream), limit))

    def scan(
        self,
        collection_name: str,
        search_filter: FilterLike | None = None,
        *,
        page_size: int = 256,
        with_payload: bool | Sequence[str] = True,
        with_vectors: bool = False,
    ) -> Iterator[VectorPoint]:
        """Every point that matches, page by page."""
        backend = cast("Backend", self.backend)
        options: Any = {"page_size": page_size, "with_payload": with_payload, "with_vectors": with_vectors}
        return self._each(lambda: backend.scan(collection_name, search_filter, **options))

    # --- lifetime ---

    def close(self) -> None:
        """Close the backend for good, and end the thread. A second time is no error."""
        with self._guard:
            was_closed, self._is_closed = self._is_closed, True
        if was_closed:
            return
        try:
            aclose = getattr(self.backend, "aclose", None)
            if aclose:
                self._wait(aclose, closing=True)
        finally:
            if self._loop and self._thread:
                self._loop.call_soon_threadsafe(self._loop.stop)
                self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # --- the loop ---

    def _wait(self, work: Callable[[], Awaitable[Answer]], closing: bool = False) -> Answer:
        if self._is_closed and not closing:
            raise BackendClosedError("the backend is closed")
        loop = self._running()
        if threading.current_thread() is self._thread:
            raise RuntimeError("a blocking call on the backend's own event loop would wait for itself")
        # One context for all calls of a thread: transactions are held there.
        context = self._caller.__dict__.setdefault("context", contextvars.copy_context())

        async def call() -> Answer:
            return await work()  # called here, in the context, and not by who waits

        async def within() -> Answer:
            return await loop.create_task(call(), context=context)

        future = asyncio.run_coroutine_threadsafe(within(), loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # no more than a word to who has finished; an interrupt ends the call
            raise

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._guard:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._run, name="codeweaver-backend", daemon=True)
                self._thread.start()
            return self._loop

    def _run(self) -> None:
        # The runner cancels what is left, and closes generators and the loop.
        with asyncio.Runner(loop_factory=lambda: cast("asyncio.AbstractEventLoop", self._loop)) as runner:
            runner.get_loop().run_forever()

    def _each(self, work: Callable[[], AsyncIterator[Item]]) -> Iterator[Item]:
        async def start() -> Any:
            items: Any = work()
            return await items if isinstance(items, Awaitable) else items  # the protocol allows either

        async def following(items: AsyncIterator[Item]) -> Any:
            return await anext(items, _END)

        async def finish(items: Any) -> None:
            if hasattr(items, "aclose"):
                await items.aclose()

        items = self._wait(start)
        try:
            while (item := self._wait(lambda: following(items))) is not _END:
                yield item
        finally:
            if not self._is_closed:
                self._wait(lambda: finish(items))


async def _fed(items: Iterable[Item]) -> AsyncIterator[Item]:
    """A stream of what is read in a worker thread, since to read may take its time, or a call of the backend."""
    iterator = iter(items)
    while (item := await asyncio.to_thread(next, iterator, cast("Item", _END))) is not _END:
        yield item
