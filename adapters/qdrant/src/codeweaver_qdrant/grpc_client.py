"""Points by gRPC, in the messages themselves: the client's models cost more than the server's work on them."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from qdrant_client import grpc

from codeweaver_backends.sdk import (
    EMPTY_ROW,
    Batch,
    FloatMatrix,
    Order,
    Page,
    Projection,
    Slot,
    SparseRow,
    SparseRows,
)
from codeweaver_qdrant.client import DEFINITION, Placement, ServerClient
from codeweaver_qdrant.dialect import BOUNDS, QdrantDialect
from codeweaver_qdrant.schema import (
    TERMS,
    Collection,
    EngineId,
    Nearest,
    engine_id,
    stored_payloads,
    stored_slots,
    stored_vectors,
    wanted_fields,
    wanted_vectors,
)

__all__ = ["GrpcClient", "GrpcDialect"]


class GrpcDialect(QdrantDialect):
    """Conditions of the protocol buffers."""

    def __init__(self, *, substring: bool) -> None:
        self._substring = substring

    def has_any(self, terms: Sequence[str]) -> Any:
        return _field(TERMS, match=grpc.Match(text_any=" ".join(terms)))

    def in_order(self, key: str, order: Order, bound: int) -> Any:
        return _field(key, range=grpc.Range(**{BOUNDS[order]: float(bound)}))

    def holds_text(self, key: str, text: str) -> Any:
        return _field(key, match=grpc.Match(substring=text) if self._substring else grpc.Match(text=text))

    def group(self, *, must: Sequence[Any] = (), should: Sequence[Any] = (), must_not: Sequence[Any] = ()) -> Any:
        return grpc.Filter(must=_conditions(must), should=_conditions(should), must_not=_conditions(must_not))


def _field(key: str, **test: Any) -> Any:
    return grpc.Condition(field=grpc.FieldCondition(key=key, **test))


def _conditions(parts: Iterable[Any]) -> list[Any]:
    return [grpc.Condition(filter=part) if isinstance(part, grpc.Filter) else part for part in parts]


class _Found(NamedTuple):
    id: EngineId
    payload: dict[str, Any]
    vector: dict[str, Any]
    score: float = 0.0


class GrpcClient(ServerClient):
    """Requests and answers in the protocol's messages."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.dialect = GrpcDialect(substring=self.matches_substrings)
        logging.getLogger("asyncio").addFilter(_is_worth_telling)
        asked = self._read_consistency
        self._consistency = (
            grpc.ReadConsistency(factor=asked)
            if isinstance(asked, int)
            else grpc.ReadConsistency(type=grpc.ReadConsistencyType.Value(asked.capitalize()))
        )
        self._ordering = grpc.WriteOrdering(type=grpc.WriteOrderingType.Value(self._write_ordering.capitalize()))

    def _of_write(self, collection: Collection) -> dict[str, Any]:
        own = {"ordering": self._ordering} if collection.is_replicated else {}
        return {"collection_name": collection.engine_name, "wait": True, **own}

    def _of_read(self, collection: Collection) -> dict[str, Any]:
        own = {"read_consistency": self._consistency} if collection.is_replicated else {}
        return {"collection_name": collection.engine_name, **own}

    async def placement(self, collection: Collection) -> Placement:
        """Where the copies of the collection's shards are."""
        request = grpc.CollectionClusterInfoRequest(collection_name=collection.engine_name)
        told = await self.ask(self._client.grpc_collections.CollectionClusterInfo(request))
        copies = [*told.local_shards, *told.remote_shards]
        return Placement(bool(told.remote_shards), sum(one.state != grpc.ReplicaState.Active for one in copies))

    async def upsert(self, collection: Collection, part: Batch) -> None:
        """Write or replace points."""
        metric = collection.settings.metric
        vectors, kept = stored_vectors(part, metric)
        request = grpc.UpsertPoints(**self._of_write(collection))
        payloads, slots = stored_payloads(part, kept), stored_slots(collection, part)
        for point_id, vector, stored, rows in zip(part.ids, _packed(vectors), payloads, slots, strict=True):
            point = request.points.add()
            _set_id(point.id, engine_id(point_id))
            named = point.vectors.vectors
            if rows:
                named.MergeFromString(_EMPTY_SLOTS)  # as bytes: most collections have nothing else
            named.vectors[metric.value].dense.MergeFromString(vector)
            for slot, row in rows.items():
                if row:
                    _set_sparse(named.vectors[slot].sparse, row)
            for key, value in stored.items():
                _set_value(point.payload[key], value)
        await self.ask(self._client.grpc_points.Upsert(request))

    async def write_slot(self, collection: Collection, slot: Slot, ids: list[EngineId], rows: SparseRows) -> None:
        """Replace a sparse vector of points."""
        request = grpc.UpdatePointVectors(**self._of_write(collection))
        for point_id, row in zip(ids, rows, strict=True):
            point = request.points.add()
            _set_id(point.id, point_id)
            _set_sparse(point.vectors.vectors.vectors[slot.value].sparse, row)
        await self.ask(self._client.grpc_points.UpdateVectors(request))

    async def read_definition(self, collection: Collection) -> bytes | None:
        """The definition of the sparse index as it is now, asked for after every write: in half of the models' time."""
        request = grpc.GetCollectionInfoRequest(collection_name=collection.engine_name)
        metadata = (await self.ask(self._client.grpc_collections.Get(request))).result.config.metadata
        return metadata[DEFINITION].string_value.encode() if DEFINITION in metadata else None

    async def delete(self, collection: Collection, ids: list[EngineId]) -> None:
        """Delete points."""
        await self._delete(collection, grpc.PointsSelector(points=grpc.PointsIdsList(ids=_point_ids(ids))))

    async def delete_matching(self, collection: Collection, condition: Any) -> int:
        """Delete the points that match, and tell how many."""
        count = await self.count(collection, condition)
        await self._delete(collection, grpc.PointsSelector(filter=condition or grpc.Filter()))
        return count

    async def _delete(self, collection: Collection, selector: Any) -> None:
        request = grpc.DeletePoints(points=selector, **self._of_write(collection))
        await self.ask(self._client.grpc_points.Delete(request))

    async def count(self, collection: Collection, condition: Any) -> int:
        """How many points match."""
        request = grpc.CountPoints(filter=condition, exact=True, **self._of_read(collection))
        response = await self.ask(self._client.grpc_points.Count(request))
        count: int = response.result.count
        return count

    async def search(self, collection: Collection, nearest: Nearest) -> Sequence[_Found]:
        """The nearest points that match."""
        condition, parameters = nearest.condition, grpc.SearchParams(exact=nearest.exact)
        if nearest.looked_at is not None:
            has_vector = grpc.HasVectorCondition(has_vector=nearest.using)
            condition = condition or grpc.Filter(must=[grpc.Condition(has_vector=has_vector)])
            always = grpc.AcornSearchParams(enable=True, max_selectivity=1.0)
            parameters = grpc.SearchParams(hnsw_ef=nearest.looked_at, acorn=always)
        request = grpc.QueryPoints(
            **self._of_read(collection),
            query=grpc.Query(nearest=_input(nearest.vector)),
            using=nearest.using,
            filter=condition,
            limit=nearest.limit,
            params=parameters,
            **_selectors(nearest.projection, nearest.projection.vectors and [nearest.using]),
        )
        response = await self.ask(self._client.grpc_points.Query(request))
        return [_found(point, point.score) for point in response.result]

    async def retrieve(self, collection: Collection, ids: list[EngineId], projection: Projection) -> Sequence[_Found]:
        """The points of these ids."""
        selectors = _selectors(projection, wanted_vectors(collection, projection))
        request = grpc.GetPoints(ids=_point_ids(ids), **self._of_read(collection), **selectors)
        response = await self.ask(self._client.grpc_points.Get(request))
        return [_found(point) for point in response.result]

    async def scroll(
        self, collection: Collection, start: EngineId | None, page: Page, condition: Any
    ) -> tuple[Sequence[_Found], EngineId | None]:
        """A page in the order of the engine's ids, and the id that the next one starts with."""
        request = grpc.ScrollPoints(
            **self._of_read(collection),
            filter=condition,
            offset=None if start is None else _point_ids([start])[0],
            limit=page.limit,
            **_selectors(page.projection, wanted_vectors(collection, page.projection)),
        )
        response = await self.ask(self._client.grpc_points.Scroll(request))
        following = _id(response.next_page_offset) if response.HasField("next_page_offset") else None
        return [_found(point) for point in response.result], following


def _is_worth_telling(record: logging.LogRecord) -> bool:
    """Not so gRPC's own race: it wakes the loops of all threads by one socket, and all but one find nothing there."""
    error = record.exc_info[1] if record.exc_info else None
    frames = traceback.extract_tb(error.__traceback__) if isinstance(error, OSError) else []
    return not any("PollerCompletionQueue" in frame.name for frame in frames)


# --- messages --------------------------------------------------------------------------------------------------------


def _packed(matrix: FloatMatrix) -> Iterable[bytes]:
    """Each vector as the bytes of a ``DenseVector`` message: its one field is the little-endian floats themselves."""
    row_bytes = 4 * matrix.shape[1]
    head, size = b"\x0a", row_bytes
    while size > 127:
        head, size = head + bytes((size & 127 | 128,)), size >> 7
    head += bytes((size,))
    data = matrix.astype("<f4", copy=False).tobytes()
    return (head + data[start : start + row_bytes] for start in range(0, len(data), row_bytes))


def _input(vector: FloatMatrix | SparseRow) -> Any:
    message = grpc.VectorInput()
    if isinstance(vector, SparseRow):
        _set_sparse(message.sparse, vector)
    else:
        [packed] = _packed(vector[np.newaxis])
        message.dense.MergeFromString(packed)
    return message


def _set_sparse(target: Any, row: SparseRow) -> None:
    target.SetInParent()  # an empty one too is one
    if row:
        target.indices.extend(row.indices.tolist())
        target.values.extend(row.weights.tolist())


def _empty_slots() -> bytes:
    message = grpc.NamedVectors()
    for slot in Slot:
        _set_sparse(message.vectors[slot.value].sparse, EMPTY_ROW)
    return bytes(message.SerializeToString())


_EMPTY_SLOTS: Final = _empty_slots()


def _set_id(target: Any, value: EngineId) -> None:
    if isinstance(value, int):
        target.num = value
    else:
        target.uuid = value


def _point_ids(ids: Iterable[EngineId]) -> list[Any]:
    return [grpc.PointId(num=one) if isinstance(one, int) else grpc.PointId(uuid=one) for one in ids]


def _set_value(target: Any, value: str | int | list[int]) -> None:
    if type(value) is str:
        target.string_value = value
    elif type(value) is int:
        target.integer_value = value
    else:
        for element in value:  # type: ignore[union-attr]
            target.list_value.values.add().integer_value = element


def _selectors(projection: Projection, vectors: list[str] | Literal[False]) -> dict[str, Any]:
    fields = grpc.PayloadIncludeSelector(fields=wanted_fields(projection))
    named = grpc.WithVectorsSelector(include=grpc.VectorsSelector(names=vectors)) if vectors else None
    return {"with_payload": grpc.WithPayloadSelector(include=fields), "with_vectors": named}


def _id(message: Any) -> EngineId:
    value: EngineId = message.num if message.HasField("num") else message.uuid
    return value


def _found(point: Any, score: float = 0.0) -> _Found:
    payload = {key: value.string_value for key, value in point.payload.items()}
    return _Found(_id(point.id), payload, _vectors(point.vectors.vectors.vectors), score)


def _vectors(named: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: vector.sparse if vector.HasField("sparse") else vector.dense.data or vector.data
        for name, vector in named.items()
    }
