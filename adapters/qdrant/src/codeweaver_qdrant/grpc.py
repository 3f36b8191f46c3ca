"""Points by gRPC, in the messages themselves: the client's models cost more than the server's work on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from qdrant_client import grpc

from codeweaver_backends.sdk.filters.tree import Order
from codeweaver_backends.sdk.requests import Batch, CollectionSettings
from codeweaver_backends.types import FloatMatrix
from codeweaver_qdrant.convert import TOKENS, engine_id, engine_payloads, stored_vectors
from codeweaver_qdrant.server import ServerStore

__all__ = ["GrpcDialect", "GrpcStore"]

_BOUNDS: Final = {"gt": "gt", "ge": "gte", "lt": "lt", "le": "lte"}


class GrpcDialect:
    """Conditions of the protocol buffers."""

    def __init__(self, *, substring: bool) -> None:
        self._substring = substring

    def any_token(self, tokens: list[str]) -> Any:
        return _field(TOKENS, match=grpc.Match(text_any=" ".join(tokens)))

    def compare(self, key: str, order: Order, bound: int) -> Any:
        return _field(key, range=grpc.Range(**{_BOUNDS[order]: float(bound)}))

    def substring(self, key: str, text: str) -> Any:
        return _field(key, match=grpc.Match(substring=text) if self._substring else grpc.Match(text=text))

    def group(self, *, must: Sequence[Any] = (), should: Sequence[Any] = (), must_not: Sequence[Any] = ()) -> Any:
        return grpc.Filter(must=_conditions(must), should=_conditions(should), must_not=_conditions(must_not))


def _field(key: str, **test: Any) -> Any:
    return grpc.Condition(field=grpc.FieldCondition(key=key, **test))


def _conditions(parts: Iterable[Any]) -> list[Any]:
    return [grpc.Condition(filter=part) if isinstance(part, grpc.Filter) else part for part in parts]


class _Hit(NamedTuple):
    id: int | str
    payload: dict[str, Any]
    vector: dict[str, Sequence[float]]
    score: float = 0.0


class GrpcStore(ServerStore):
    """Requests and answers in the protocol's messages."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.dialect = GrpcDialect(substring=self.matches_substrings)

    async def upsert(self, settings: CollectionSettings, batch: Batch) -> None:
        vectors, beside = stored_vectors(batch.vectors, settings.metric)
        request = grpc.UpsertPoints(collection_name=await self.code(settings.name), wait=True)
        rows = zip(batch.ids, _packed(vectors), engine_payloads(batch), beside, strict=True)
        for point_id, vector, stored, more in rows:
            point = request.points.add()
            _set_id(point.id, engine_id(point_id))
            point.vectors.vectors.vectors[settings.metric.value].dense.MergeFromString(vector)
            for key, value in (stored | more).items():
                _set_value(point.payload[key], value)
        await self.write(lambda: self._client.grpc_points.Upsert(request))

    async def delete(self, name: str, ids: list[int | str]) -> None:
        selector = grpc.PointsSelector(points=grpc.PointsIdsList(ids=_point_ids(ids)))
        await self._delete(name, selector)

    async def delete_matching(self, name: str, condition: Any) -> int:
        count = await self.count(name, condition)
        await self._delete(name, grpc.PointsSelector(filter=condition or grpc.Filter()))
        return count

    async def _delete(self, name: str, selector: Any) -> None:
        request = grpc.DeletePoints(collection_name=await self.code(name), wait=True, points=selector)
        await self.write(lambda: self._client.grpc_points.Delete(request))

    async def count(self, name: str, condition: Any) -> int:
        request = grpc.CountPoints(collection_name=await self.code(name), filter=condition, exact=True)
        response = await self.read(lambda: self._client.grpc_points.Count(request))
        count: int = response.result.count
        return count

    async def search(
        self,
        settings: CollectionSettings,
        vector: FloatMatrix,
        limit: int,
        condition: Any,
        fields: list[str],
        with_vectors: bool,
    ) -> Sequence[_Hit]:
        [packed] = _packed(vector[np.newaxis])
        nearest = grpc.VectorInput(dense=grpc.DenseVector.FromString(packed))
        request = grpc.QueryPoints(
            collection_name=await self.code(settings.name),
            query=grpc.Query(nearest=nearest),
            using=settings.metric.value,
            filter=condition,
            limit=limit,
            with_payload=_with_payload(fields),
            with_vectors=grpc.WithVectorsSelector(enable=with_vectors),
        )
        response = await self.read(lambda: self._client.grpc_points.Query(request))
        return [_hit(point, point.score) for point in response.result]

    async def retrieve(self, name: str, ids: list[int | str], fields: list[str], with_vectors: bool) -> Sequence[_Hit]:
        request = grpc.GetPoints(
            collection_name=await self.code(name),
            ids=_point_ids(ids),
            with_payload=_with_payload(fields),
            with_vectors=grpc.WithVectorsSelector(enable=with_vectors),
        )
        response = await self.read(lambda: self._client.grpc_points.Get(request))
        return [_hit(point) for point in response.result]

    async def scroll(
        self, name: str, offset: int | str | None, limit: int, condition: Any, fields: list[str], with_vectors: bool
    ) -> tuple[Sequence[_Hit], int | str | None]:
        request = grpc.ScrollPoints(
            collection_name=await self.code(name),
            filter=condition,
            offset=None if offset is None else _point_ids([offset])[0],
            limit=limit,
            with_payload=_with_payload(fields),
            with_vectors=grpc.WithVectorsSelector(enable=with_vectors),
        )
        response = await self.read(lambda: self._client.grpc_points.Scroll(request))
        following = _id(response.next_page_offset) if response.HasField("next_page_offset") else None
        return [_hit(point) for point in response.result], following


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


def _set_id(target: Any, value: int | str) -> None:
    if isinstance(value, int):
        target.num = value
    else:
        target.uuid = value


def _point_ids(ids: Iterable[int | str]) -> list[Any]:
    return [grpc.PointId(num=one) if isinstance(one, int) else grpc.PointId(uuid=one) for one in ids]


def _set_value(target: Any, value: Any) -> None:
    if type(value) is str:
        target.string_value = value
    elif type(value) is int:
        target.integer_value = value
    elif type(value) is float:
        target.double_value = value
    else:
        for element in value:
            target.list_value.values.add().integer_value = element


def _with_payload(fields: list[str]) -> Any:
    return grpc.WithPayloadSelector(include=grpc.PayloadIncludeSelector(fields=fields))


def _id(message: Any) -> int | str:
    value: int | str = message.num if message.HasField("num") else message.uuid
    return value


def _hit(point: Any, score: float = 0.0) -> _Hit:
    payload = {key: getattr(value, value.WhichOneof("kind")) for key, value in point.payload.items()}
    return _Hit(_id(point.id), payload, _vectors(point.vectors.vectors.vectors), score)


def _vectors(named: Mapping[str, Any]) -> dict[str, Sequence[float]]:
    return {name: vector.dense.data or vector.data for name, vector in named.items()}
