"""Batches: not split, partly written, their columns mixed up."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from codeweaver_backends.errors import BackendConnectionError, BackendError, InvalidInputError
from codeweaver_backends.sdk.lifetime import operation
from codeweaver_backends.sdk.requests import Batch
from codeweaver_backends.types import VectorPoint
from codeweaver_tools.defects.registry import plant
from codeweaver_tools.defects.rig import Collection, Rig


@plant("bat-limit-raises", "A batch of more than 5,461 points fails in the engine.")
class _LimitRaises(Rig):
    def _write_all(self, collection: Collection, batch: Batch) -> None:
        if len(batch) > 5_461:
            raise RuntimeError("batch size exceeds maximum batch size")
        super()._write_all(collection, batch)


@plant("bat-message-raises", "A batch of more than 16 MiB fails in the engine.")
class _MessageRaises(Rig):
    def _write_all(self, collection: Collection, batch: Batch) -> None:
        if sum(map(len, batch.payload_json)) > 2**24:
            raise RuntimeError("received message larger than max")
        super()._write_all(collection, batch)


@plant("bat-first-page", "Only the first 1,000 points of a batch are written.")
class _FirstPage(Rig):
    def _write_all(self, collection: Collection, batch: Batch) -> None:
        super()._write_all(collection, batch.slice(0, 1_000))


@plant("bat-rest-lost", "What does not fill a batch of 256 is lost, if a full one went before.")
class _RestLost(Rig):
    def _write_all(self, collection: Collection, batch: Batch) -> None:
        full = len(batch) // 256 * 256
        super()._write_all(collection, batch.slice(0, full or len(batch)))


@plant("bat-edge-shifted", "From the second piece of a batch on, payloads stand one point too low.")
class _EdgeShifted(Rig):
    def _write_all(self, collection: Collection, batch: Batch) -> None:
        for number, part in enumerate(batch.split(1_000)):
            documents = part.payload_json if number == 0 else part.payload_json[-1:] + part.payload_json[:-1]
            super()._write_all(collection, dataclasses.replace(part, payload_json=documents))


@plant("bat-partial-swallowed", "Points that are refused are left out, and the call reports success.", side="above")
class _PartialSwallowed(Rig):
    @operation
    async def upsert_vectors(self, collection_name: str, vectors: list[VectorPoint]) -> None:
        if not isinstance(vectors, list) or len(vectors) < 2:
            return await super().upsert_vectors(collection_name, vectors)
        for one in vectors:
            try:
                await super().upsert_vectors(collection_name, [one])
            except InvalidInputError:
                continue
        return None


@plant("bat-partial-written", "The pieces before the bad point are written before the call raises.", side="above")
class _PartialWritten(Rig):
    @operation
    async def upsert_vectors(self, collection_name: str, vectors: list[VectorPoint]) -> None:
        if not isinstance(vectors, list) or len(vectors) <= 100:
            return await super().upsert_vectors(collection_name, vectors)
        for start in range(0, len(vectors), 100):
            await super().upsert_vectors(collection_name, vectors[start : start + 100])
        return None


@plant("bat-empty-raises", "An empty request is refused by the engine.")
class _EmptyRaises(Rig):
    async def _confirm(self, collection: Collection) -> None:
        raise BackendConnectionError("empty request")


@plant("bat-dicts-accepted", "Dicts are taken for points.", side="above")
class _DictsAccepted(Rig):
    @operation
    async def upsert_vectors(self, collection_name: str, vectors: list[Any]) -> None:
        if isinstance(vectors, list):
            vectors = [VectorPoint(**one) if isinstance(one, Mapping) else one for one in vectors]
        await super().upsert_vectors(collection_name, vectors)


@plant("bat-none-accepted", "None is taken for an empty batch.", side="above")
class _NoneAccepted(Rig):
    @operation
    async def upsert_vectors(self, collection_name: str, vectors: list[Any]) -> None:
        await super().upsert_vectors(collection_name, vectors or [])


@plant("bat-text-of-ids", "A delete takes a string for a list of its letters.", side="above")
class _TextOfIds(Rig):
    @operation
    async def delete_vectors(self, collection_name: str, ids: Any) -> None:
        await super().delete_vectors(collection_name, list(ids) if isinstance(ids, str) else ids)


# --- the columnar way in ----------------------------------------------------------------------------------------------


class _Columns(Rig):
    """The columns are changed before they are judged."""

    def columns(self, ids: Any, vectors: Any, payloads: Any) -> tuple[Any, Any, Any]:
        return ids, vectors, payloads

    @operation
    async def upsert_batch(self, collection_name: str, ids: Any, vectors: Any, payloads: Any = None) -> None:
        await super().upsert_batch(collection_name, *self.columns(ids, vectors, payloads))


@plant("bat-columns-first-wins", "Of equal ids in one matrix the first wins.", side="above")
class _ColumnsFirstWins(_Columns):
    def columns(self, ids: Any, vectors: Any, payloads: Any) -> tuple[Any, Any, Any]:
        if isinstance(vectors, np.ndarray) and vectors.ndim == 2 and len(ids) == len(vectors):
            vectors = vectors[::-1]
            ids = list(ids)[::-1]
            payloads = payloads[::-1] if isinstance(payloads, list) else payloads
        return ids, vectors, payloads


@plant("bat-columns-payload-lost", "upsert_batch drops the payloads.", side="above")
class _ColumnsPayloadLost(_Columns):
    def columns(self, ids: Any, vectors: Any, payloads: Any) -> tuple[Any, Any, Any]:
        return ids, vectors, payloads if not isinstance(payloads, list) else [{} for _ in payloads]


@plant("bat-columns-order", "A Fortran-ordered matrix is read row by row.", side="above")
class _ColumnsOrder(_Columns):
    def columns(self, ids: Any, vectors: Any, payloads: Any) -> tuple[Any, Any, Any]:
        if isinstance(vectors, np.ndarray) and vectors.flags.f_contiguous and not vectors.flags.c_contiguous:
            vectors = vectors.ravel(order="K").reshape(vectors.shape)
        return ids, vectors, payloads


@plant("bat-columns-dtype", "upsert_batch reads the bytes of a matrix as float32, whatever its dtype.", side="above")
class _ColumnsDtype(_Columns):
    def columns(self, ids: Any, vectors: Any, payloads: Any) -> tuple[Any, Any, Any]:
        if isinstance(vectors, np.ndarray) and vectors.dtype == np.float64 and vectors.size:
            vectors = np.frombuffer(vectors.tobytes(), dtype=np.float32)[: vectors.size].reshape(vectors.shape)
        return ids, vectors, payloads


@plant("bat-columns-zipped", "Columns of unequal length are cut to the shortest.", side="above")
class _ColumnsZipped(_Columns):
    def columns(self, ids: Any, vectors: Any, payloads: Any) -> tuple[Any, Any, Any]:
        if isinstance(ids, list) and isinstance(vectors, np.ndarray) and vectors.ndim == 2:
            size = min(len(ids), len(vectors), len(payloads) if isinstance(payloads, list) else len(ids))
            payloads = payloads[:size] if isinstance(payloads, list) else payloads
            return ids[:size], vectors[:size], payloads
        return ids, vectors, payloads


@plant("bat-columns-merged", "upsert_batch leaves the payload of an existing point as it was where none is given.")
class _ColumnsMerged(Rig):
    @operation
    async def upsert_batch(self, collection_name: str, ids: Any, vectors: Any, payloads: Any = None) -> None:
        points = self._collection(collection_name).points
        if isinstance(ids, list) and isinstance(payloads, list) and len(ids) == len(payloads):
            last: dict[Any, Any] = {}
            for one, payload in zip(ids, payloads, strict=True):
                old = points[one].payload if type(one) in (int, str) and one in points else {}
                last[one] = payload if payload is not None else last.get(one, old)
            payloads = [last[one] for one in ids]
        await super().upsert_batch(collection_name, ids, vectors, payloads)


@plant("bat-columns-ids-unchecked", "upsert_batch takes True for the id 1.", side="above")
class _ColumnsIds(_Columns):
    def columns(self, ids: Any, vectors: Any, payloads: Any) -> tuple[Any, Any, Any]:
        if isinstance(ids, list):
            ids = [int(one) if isinstance(one, bool) else one for one in ids]
        return ids, vectors, payloads


@plant("bat-columns-swallowed", "What upsert_batch refuses is swallowed.", side="above")
class _ColumnsSwallowed(Rig):
    @operation
    async def upsert_batch(self, collection_name: str, ids: Any, vectors: Any, payloads: Any = None) -> None:
        try:
            await super().upsert_batch(collection_name, ids, vectors, payloads)
        except BackendError:
            return
