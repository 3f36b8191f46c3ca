"""Single methods that work and are not claimed, the caller's own things changed, an own fault told as another's."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from codeweaver_backends.capabilities import BackendCapabilities
from codeweaver_backends.errors import BackendConnectionError, UnsupportedError
from codeweaver_backends.sdk.filters.parse import parse_filter
from codeweaver_backends.sdk.requests import Projection
from codeweaver_backends.types import FilterLike, ScrollPage, SearchFilter, VectorPoint
from codeweaver_tools.defects.network import NetworkBackend
from codeweaver_tools.defects.registry import plant
from codeweaver_tools.defects.rig import Rig

_NO_SCAN = Rig.claims.model_copy(update={"supports_scan": False})


class _NoScan(Rig):
    claims: ClassVar[BackendCapabilities] = _NO_SCAN

    async def scroll_vectors(self, *arguments: Any, **options: Any) -> ScrollPage:
        raise UnsupportedError("supports_scan")

    async def count_vectors(self, *arguments: Any, **options: Any) -> int:
        raise UnsupportedError("supports_scan")

    async def delete_by_filter(self, *arguments: Any, **options: Any) -> int:
        raise UnsupportedError("supports_scan")

    async def get_vectors(self, *arguments: Any, **options: Any) -> list[VectorPoint]:
        raise UnsupportedError("supports_scan")


@plant("und-get", "get_vectors works, and scanning is not claimed.")
class _UnderGet(_NoScan):
    async def get_vectors(self, *arguments: Any, **options: Any) -> list[VectorPoint]:
        collection = await self._describe(arguments[0])
        return list(await self._get(collection, list(arguments[1]), Projection(vectors=True)))

    scroll_vectors = None  # type: ignore[assignment]


@plant("und-delete-by-filter", "delete_by_filter works, and is all that there is of scanning; it is not claimed.")
class _UnderDelete(_NoScan):
    async def delete_by_filter(self, *arguments: Any, **options: Any) -> int:
        node = parse_filter(arguments[1], self.capabilities)
        return await self._delete_matching(await self._describe(arguments[0]), node)

    get_vectors = None  # type: ignore[assignment]


# --- the caller's own ---


@plant("own-filter", "A search adds a condition of its own to the caller's filter.", side="above")
class _Filter(Rig):
    def given(self, search_filter: FilterLike | None) -> FilterLike | None:
        if isinstance(search_filter, SearchFilter) and isinstance(search_filter.must, list):
            search_filter.must.append(SearchFilter())
        return search_filter


@plant("own-filter-dict", "A filter given as a dict is emptied while it is read.", side="above")
class _FilterDict(Rig):
    def given(self, search_filter: FilterLike | None) -> FilterLike | None:
        if not isinstance(search_filter, dict):
            return search_filter
        kept = dict(search_filter)
        search_filter.clear()
        return kept


@plant("own-ids", "delete_vectors sorts the caller's list.", side="above")
class _Ids(Rig):
    async def delete_vectors(self, collection_name: str, ids: list[str | int]) -> None:
        await super().delete_vectors(collection_name, ids)
        if isinstance(ids, list):
            ids.sort(key=repr)


@plant("own-ids-get", "get_vectors takes repeated ids out of the caller's list.", side="above")
class _IdsGet(Rig):
    async def get_vectors(self, collection_name: str, ids: Any, **how: Any) -> list[VectorPoint]:
        found = await super().get_vectors(collection_name, ids, **how)
        if isinstance(ids, list):
            ids[:] = dict.fromkeys(ids)
        return found


@plant("own-points", "upsert_vectors leaves the caller's list empty.", side="above")
class _Points(Rig):
    async def upsert_vectors(self, collection_name: str, vectors: list[VectorPoint]) -> None:
        await super().upsert_vectors(collection_name, vectors)
        if isinstance(vectors, list):
            vectors.clear()


@plant("own-query", "A search makes the caller's query a unit vector.", side="above")
class _Query(Rig):
    async def search_vectors(self, collection_name: str, query_vector: Any, *arguments: Any, **options: Any) -> Any:
        found = await super().search_vectors(collection_name, query_vector, *arguments, **options)
        if isinstance(query_vector, list) and found:
            length = float(np.linalg.norm(query_vector))
            query_vector[:] = [float(one) / (length or 1.0) for one in query_vector]
        return found


@plant("own-matrix", "upsert_batch makes unit vectors of the caller's matrix.", side="above")
class _Matrix(Rig):
    async def upsert_batch(self, collection_name: str, ids: Any, vectors: Any, payloads: Any = None) -> None:
        await super().upsert_batch(collection_name, ids, vectors, payloads)
        if isinstance(vectors, np.ndarray) and vectors.dtype == np.float32 and vectors.flags.writeable and vectors.size:
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-30)


@plant("own-payloads", "upsert_batch writes {} into the caller's list where there was no payload.", side="above")
class _Payloads(Rig):
    async def upsert_batch(self, collection_name: str, ids: Any, vectors: Any, payloads: Any = None) -> None:
        await super().upsert_batch(collection_name, ids, vectors, payloads)
        if isinstance(payloads, list):
            payloads[:] = [{} if one is None else one for one in payloads]


# --- an own fault ---


@plant("bug-as-connection", "An unreachable server is met by an AttributeError of the adapter's own.")
class _OwnBug(NetworkBackend):
    async def ask(self, call: str, *arguments: Any) -> Any:
        try:
            return await super().ask(call, *arguments)
        except BackendConnectionError as error:
            raise error.reason.with_traceback(None) from error  # type: ignore[attr-defined]
