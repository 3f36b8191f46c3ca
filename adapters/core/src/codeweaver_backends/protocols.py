"""The protocols a backend implements. Their signatures are fixed: plugins in the wild are written against them.

What each call *means* is the contract (``codeweaver_backends.contract``). A method that is merely the protocol's own
inherited body does not count as implemented: see ``implements``.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Literal, NamedTuple, Protocol, Self, runtime_checkable

import numpy.typing as npt

from codeweaver_backends.capabilities import BackendCapabilities
from codeweaver_backends.errors import BackendError
from codeweaver_backends.types import (
    CollectionInfo,
    DistanceMetric,
    FilterLike,
    HybridStrategy,
    PointId,
    ScrollPage,
    SearchResult,
    VectorLike,
    VectorPoint,
)

__all__ = [
    "PROFILES",
    "Backend",
    "ColumnarBackend",
    "HybridSearchBackend",
    "MaintainableBackend",
    "OptionalProfile",
    "ScannableBackend",
    "StreamingBackend",
    "TransactionalBackend",
    "VectorBackend",
    "has_method",
    "implements",
]


@runtime_checkable
class VectorBackend(Protocol):
    """Collections of points, searched by nearness: the base of every backend."""

    async def create_collection(
        self, name: str, dimension: int, distance_metric: DistanceMetric | str = DistanceMetric.COSINE, **kwargs: Any
    ) -> None:
        """Create an empty collection. ``distance_metric`` is a member or its string (``"cosine"``).

        Options: ``payload_indexes={field: type}`` where claimed; ``vector_index``, which is ``"auto"`` (an index once
        there are more points than ``Limits.exact_size``, where the engine has one), ``"exact"`` (none), or a kind that
        is claimed, ``{"kind": "hnsw", "m": 16, "ef_construction": 64}`` or ``{"kind": "ivf", "partitions": 256}``, with
        its numbers or without; ``engine_options``, of those that ``BackendCapabilities.engine_options`` names. Raises
        ``CollectionExistsError``, ``InvalidNameError``, ``InvalidDimensionError``, ``InvalidOptionError``,
        ``UnsupportedError`` for what is not claimed.
        """
        ...

    async def list_collections(self) -> list[str]:
        """Name every collection that this backend can open, in any order."""
        ...

    async def delete_collection(self, name: str) -> None:
        """Delete the collection and its points, and nothing else. Raises ``CollectionNotFoundError``."""
        ...

    async def get_collection_info(self, name: str) -> CollectionInfo:
        """Tell what is stored; the count is exact. Raises ``CollectionNotFoundError``."""
        ...

    async def upsert_vectors(self, collection_name: str, vectors: Iterable[VectorPoint]) -> None:
        """Write or wholly replace points. Of equal ids the last wins. All are written, or the call raises."""
        ...

    async def search_vectors(
        self,
        collection_name: str,
        query_vector: VectorLike,
        limit: int = 10,
        search_filter: FilterLike | None = None,
        score_threshold: float | None = None,
        **kwargs: Any,
    ) -> list[SearchResult]:
        """Return the ``limit`` best points that match, best first.

        ``search_filter`` may be a filter, a lone condition, what ``F`` builds, or a dict.
        Options: ``with_payload`` (``True``, ``False`` or a list of top-level keys), ``with_vectors`` (``bool``);
        ``exact=True`` reads every vector that matches, at any size; ``effort`` (a number of 1 or more) multiplies what
        a search by an index looks at.
        ``score_threshold`` keeps scores ``>= t``.
        """
        ...

    async def delete_vectors(self, collection_name: str, ids: Sequence[PointId]) -> None:
        """Delete points by id; unknown ids are no error."""
        ...

    async def health_check(self) -> bool:
        """Whether the engine answers and accepts us. Never raises, changes nothing."""
        ...


@runtime_checkable
class ScannableBackend(VectorBackend, Protocol):
    """Reading and deleting without a query vector."""

    async def get_vectors(
        self,
        collection_name: str,
        ids: Sequence[PointId],
        *,
        with_payload: bool | Sequence[str] = True,
        with_vectors: bool = True,
    ) -> list[VectorPoint]:
        """The points of these ids, in the order asked; unknown ids are left out, repeated ones come once."""
        ...

    async def scroll_vectors(
        self,
        collection_name: str,
        *,
        cursor: str | None = None,
        limit: int = 256,
        search_filter: FilterLike | None = None,
        with_payload: bool | Sequence[str] = True,
        with_vectors: bool = False,
    ) -> ScrollPage:
        """A page of the points that match, in an order that stays while nothing is written.

        Follow ``cursor`` until it is ``None``: every point that was there throughout comes exactly once.
        """
        ...

    async def count_vectors(self, collection_name: str, search_filter: FilterLike | None = None) -> int:
        """How many points match, exactly."""
        ...

    async def delete_by_filter(self, collection_name: str, search_filter: FilterLike) -> int:
        """Delete the points that match and return how many. A filter without restriction deletes every point."""
        ...


@runtime_checkable
class ColumnarBackend(VectorBackend, Protocol):
    """Writing columns instead of objects."""

    async def upsert_batch(
        self,
        collection_name: str,
        ids: Sequence[PointId],
        vectors: npt.NDArray[Any],
        payloads: Sequence[Mapping[str, Any] | None] | None = None,
    ) -> None:
        """As ``upsert_vectors``, from ids, one float32 matrix of shape ``(len(ids), dimension)`` and payloads."""
        ...


@runtime_checkable
class HybridSearchBackend(VectorBackend, Protocol):
    """Dense and sparse search, fused."""

    async def create_sparse_index(
        self,
        collection_name: str,
        fields: Sequence[str | Sequence[str]],
        index_type: Literal["keyword", "text", "bm25"] = "bm25",
        **kwargs: Any,
    ) -> None:
        """Index payload fields, dotted paths or tuples of keys, for text queries; points that are there too.

        Options: ``average_length`` of the texts in terms (64), ``term_statistics``, a table of one's own. Called again
        with the same arguments it heals, with others it replaces.
        """
        ...

    async def hybrid_search(
        self,
        collection_name: str,
        dense_vector: VectorLike,
        sparse_query: Mapping[str, float] | str,
        limit: int = 10,
        hybrid_strategy: HybridStrategy | str = HybridStrategy.RRF,
        alpha: float = 0.5,
        search_filter: FilterLike | None = None,
        **kwargs: Any,
    ) -> list[SearchResult]:
        """Search both legs and fuse them; ``alpha`` is the weight of the dense leg, 0 to 1.

        ``sparse_query`` is a text, for what the sparse index made of the points' texts, or a dict of term and weight,
        for ``VectorPoint.sparse_vector``. Options: ``candidates`` (100), the best points of each leg that are fused;
        ``with_payload``, ``with_vectors``, ``exact`` and ``effort`` as in a search.
        """
        ...

    async def update_sparse_vectors(self, collection_name: str, vectors: Iterable[VectorPoint]) -> None:
        """Replace the sparse vectors of existing points, and nothing else of them."""
        ...


@runtime_checkable
class MaintainableBackend(VectorBackend, Protocol):
    """Keeping a large collection fast. No right answer needs it."""

    async def optimize_collection(self, name: str) -> CollectionInfo:
        """Return when every acknowledged point is as fast to find as it will be, and tell what is stored then.

        A collection that was made without the option ``vector_index`` is given the engine's index by it.
        """
        ...


@runtime_checkable
class StreamingBackend(VectorBackend, Protocol):
    """Writing and searching without holding everything in memory."""

    async def stream_upsert_vectors(
        self, collection_name: str, vector_stream: AsyncIterable[Iterable[VectorPoint]], batch_size: int = 100
    ) -> None:
        """Upsert what the stream gives, in batches, in order."""
        ...

    def stream_search_vectors(
        self, collection_name: str, query_stream: AsyncIterable[VectorLike], limit: int = 10
    ) -> AsyncIterator[list[SearchResult]]:
        """One query vector in, one result list out, in order."""
        ...


@runtime_checkable
class TransactionalBackend(VectorBackend, Protocol):
    """Writes that become visible together or not at all."""

    async def begin_transaction(self) -> str:
        """Open a transaction for the calling task and return its id."""
        ...

    async def commit_transaction(self, transaction_id: str) -> None:
        """Make its writes visible, all at once."""
        ...

    async def rollback_transaction(self, transaction_id: str) -> None:
        """Undo its writes exactly."""
        ...


@runtime_checkable
class Backend(
    ScannableBackend,
    ColumnarBackend,
    HybridSearchBackend,
    MaintainableBackend,
    StreamingBackend,
    TransactionalBackend,
    VectorBackend,
    Protocol,
):
    """What every adapter of this project is: it has the calls of every profile, tells what it can do, and closes.

    What a backend does not claim is refused with ``UnsupportedError``: ``capabilities`` says which profiles it has.
    """

    @property
    def capabilities(self) -> BackendCapabilities:
        """What is enforced now: before the first call the plugin's claims, afterwards what this server gives."""
        ...

    @property
    def server_version(self) -> str | None:
        """The server's product and version (``"Qdrant 1.18.3"``); ``None`` in process, and before the first call."""
        ...

    async def get_capabilities(self) -> BackendCapabilities:
        """Connect if need be, and tell what this server and version give."""
        ...

    async def diagnose(self) -> BackendError | None:
        """Why ``health_check`` would say no, as the error that a call would raise; ``None`` if it says yes.

        Never raises, changes nothing.
        """
        ...

    async def aclose(self) -> None:
        """Close for good: nothing stays open, and calls raise ``BackendClosedError``. A second time is no error."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *exc_info: object) -> None: ...

    async def collection_exists(self, name: str) -> bool:
        """Whether there is a collection of this name."""
        ...

    def scan(
        self,
        collection_name: str,
        search_filter: FilterLike | None = None,
        *,
        page_size: int = 256,
        with_payload: bool | Sequence[str] = True,
        with_vectors: bool = False,
    ) -> AsyncIterator[VectorPoint]:
        """Every point that matches, page by page: ``async for point in backend.scan("docs"): …``."""
        ...

    async def search_batch(
        self,
        collection_name: str,
        query_vectors: Iterable[VectorLike],
        limit: int = 10,
        search_filter: FilterLike | None = None,
        score_threshold: float | None = None,
        **kwargs: Any,
    ) -> list[list[SearchResult]]:
        """One list of results per query vector (or row of a matrix), in their order. Fails as a whole if one fails."""
        ...

    async def stream_upsert_vectors(
        self,
        collection_name: str,
        vector_stream: AsyncIterable[Iterable[VectorPoint]],
        batch_size: int = 100,
        *,
        progress: Callable[[int], object] | None = None,
    ) -> None:
        """Upsert what the stream gives, in batches, in order; ``progress`` is told how many points are written."""
        ...

    async def set_payload(self, collection_name: str, ids: Sequence[PointId], payload: Mapping[str, Any]) -> int:
        """Set these top-level keys of the points' payloads, keep all else of them; tells how many points there are."""
        ...

    def transaction(self) -> AbstractAsyncContextManager[Self]:
        """A transaction as a block: what it gives is a view of the backend whose calls are in it."""
        ...


class OptionalProfile(NamedTuple):
    """What a backend may offer beyond ``VectorBackend``."""

    protocol: type
    claim: str
    """The field of ``BackendCapabilities`` by which a backend claims it."""
    methods: tuple[str, ...]
    """The calls that the protocol adds."""


def _optional(protocol: type, claim: str) -> OptionalProfile:
    return OptionalProfile(protocol, claim, tuple(name for name in vars(protocol) if not name.startswith("_")))


PROFILES: Final[dict[str, OptionalProfile]] = {
    "scan": _optional(ScannableBackend, "supports_scan"),
    "columnar": _optional(ColumnarBackend, "supports_columnar"),
    "hybrid": _optional(HybridSearchBackend, "supports_hybrid_search"),
    "index": _optional(MaintainableBackend, "index_kinds"),
    "streaming": _optional(StreamingBackend, "supports_streaming"),
    "transactions": _optional(TransactionalBackend, "supports_transactions"),
}
"""The optional profiles by name: a backend has one if it claims it and has a body of its own for each method."""

_PROTOCOLS = (VectorBackend, Backend, *(profile.protocol for profile in PROFILES.values()))


def has_method(backend: object, name: str) -> bool:
    """Whether ``backend`` (an instance or a class) has a body of its own for the method ``name`` of a protocol."""
    method = getattr(backend if isinstance(backend, type) else type(backend), name, None)
    return callable(method) and all(method is not getattr(protocol, name, None) for protocol in _PROTOCOLS)


def implements(backend: object, protocol: type) -> bool:
    """Whether ``backend`` (an instance or a class) has its own body for every method of ``protocol``."""
    return all(has_method(backend, name) for name in dir(protocol) if not name.startswith("_"))
