"""Points by REST, in the client's models; only what is written is encoded here."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Final, TypeVar

import numpy as np
import orjson
from qdrant_client import models

from codeweaver_backends.sdk import (
    Batch,
    FloatMatrix,
    Order,
    Page,
    Projection,
    Slot,
    SparseRow,
    SparseRows,
    Underway,
)
from codeweaver_qdrant.client import Placement, ServerClient
from codeweaver_qdrant.dialect import BOUNDS, QdrantDialect
from codeweaver_qdrant.schema import (
    NO_TERM,
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

__all__ = ["RestClient", "RestDialect"]

T = TypeVar("T")

_EMPTIED: Final = SparseRow(np.array([NO_TERM], np.uint32), np.ones(1, np.float32))


class RestDialect(QdrantDialect):
    """Conditions of ``qdrant_client.models``."""

    def __init__(self, *, substring: bool) -> None:
        self._substring = models.MatchSubstring if substring else None

    def has_any(self, terms: Sequence[str]) -> models.FieldCondition:
        return models.FieldCondition(key=TERMS, match=models.MatchTextAny(text_any=" ".join(terms)))

    def in_order(self, key: str, order: Order, bound: int) -> models.FieldCondition:
        return models.FieldCondition(key=key, range=models.Range(**{BOUNDS[order]: float(bound)}))

    def holds_text(self, key: str, text: str) -> models.FieldCondition:
        match = self._substring(substring=text) if self._substring else models.MatchText(text=text)
        return models.FieldCondition(key=key, match=match)

    def group(
        self, *, must: Sequence[Any] = (), should: Sequence[Any] = (), must_not: Sequence[Any] = ()
    ) -> models.Filter:
        return models.Filter(must=list(must) or None, should=list(should) or None, must_not=list(must_not) or None)


class RestClient(ServerClient):
    """Requests and answers in the client's models."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.dialect = RestDialect(substring=self.matches_substrings)
        self._requests = Underway()
        asked = self._read_consistency
        self._consistency = asked if isinstance(asked, int) else models.ReadConsistencyType(asked)
        self._ordering = models.WriteOrdering(self._write_ordering)

    def _of_write(self, collection: Collection) -> dict[str, Any]:
        return {"ordering": self._ordering} if collection.is_replicated else {}

    def _of_read(self, collection: Collection) -> dict[str, Any]:
        # Not sent if it is what the server does by itself: older clients and servers know it of some requests only.
        is_said = collection.is_replicated and self._consistency != 1
        return {"consistency": self._consistency} if is_said else {}

    async def ask(self, answer: Awaitable[T]) -> T:
        return await super().ask(self._requests.answer(answer))

    async def close(self) -> None:
        await self._requests.end()
        await super().close()

    async def placement(self, collection: Collection) -> Placement:
        """Where the copies of the collection's shards are."""
        answer = await self.ask(self._client.http.distributed_api.collection_cluster_info(collection.engine_name))
        told = answer.result
        assert told is not None  # noqa: S101 - an answer without one is an error, which was raised
        states = [one.state for one in told.local_shards] + [one.state for one in told.remote_shards]
        return Placement(bool(told.remote_shards), sum(one != models.ReplicaState.ACTIVE for one in states))

    async def upsert(self, collection: Collection, part: Batch) -> None:
        """Write or replace points."""
        metric = collection.settings.metric
        vectors, kept = stored_vectors(part, metric)
        payloads, slots = stored_payloads(part, kept), stored_slots(collection, part)
        points = [
            {"id": engine_id(point_id), "vector": {metric.value: vector} | _sparse(rows), "payload": stored}
            for point_id, vector, stored, rows in zip(part.ids, vectors, payloads, slots, strict=True)
        ]
        api = self._client.http.points_api
        request = {"wait": True, "point_insert_operations": _encoded(points), **self._of_write(collection)}
        await self.ask(api.upsert_points(collection.engine_name, **request))

    async def write_slot(self, collection: Collection, slot: Slot, ids: list[EngineId], rows: SparseRows) -> None:
        """Replace a sparse vector of points."""
        points = [
            {"id": point_id, "vector": _sparse({slot.value: row or _EMPTIED})}
            for point_id, row in zip(ids, rows, strict=True)
        ]
        api = self._client.http.points_api
        request = {"wait": True, "update_vectors": _encoded(points), **self._of_write(collection)}
        await self.ask(api.update_vectors(collection.engine_name, **request))

    async def delete(self, collection: Collection, ids: list[EngineId]) -> None:
        """Delete points."""
        selector = models.PointIdsList(points=list(ids))
        await self.ask(self._client.delete(collection.engine_name, selector, **self._of_write(collection)))

    async def delete_matching(self, collection: Collection, condition: models.Filter | None) -> int:
        """Delete the points that match, and tell how many."""
        count = await self.count(collection, condition)
        selector = models.FilterSelector(filter=condition or models.Filter())
        await self.ask(self._client.delete(collection.engine_name, selector, **self._of_write(collection)))
        return count

    async def count(self, collection: Collection, condition: models.Filter | None) -> int:
        """How many points match."""
        asked = {"exact": True, **self._of_read(collection)}
        return (await self.ask(self._client.count(collection.engine_name, condition, **asked))).count

    async def search(self, collection: Collection, nearest: Nearest) -> Sequence[models.ScoredPoint]:
        """The nearest points that match."""
        condition, parameters = nearest.condition, models.SearchParams(exact=nearest.exact)
        if nearest.looked_at is not None:
            condition = condition or models.Filter(must=[models.HasVectorCondition(has_vector=nearest.using)])
            always = models.AcornSearchParams(enable=True, max_selectivity=1.0)
            parameters = models.SearchParams(hnsw_ef=nearest.looked_at, acorn=always)
        response = await self.ask(
            self._client.query_points(
                collection.engine_name,
                _query(nearest.vector),
                using=nearest.using,
                query_filter=condition,
                limit=nearest.limit,
                with_payload=wanted_fields(nearest.projection),
                with_vectors=nearest.projection.vectors and [nearest.using],
                search_params=parameters,
                **self._of_read(collection),
            )
        )
        return response.points

    async def retrieve(
        self, collection: Collection, ids: list[EngineId], projection: Projection
    ) -> Sequence[models.Record]:
        """The points of these ids."""
        return await self.ask(
            self._client.retrieve(
                collection.engine_name,
                ids,
                with_payload=wanted_fields(projection),
                with_vectors=wanted_vectors(collection, projection),
                **self._of_read(collection),
            )
        )

    async def scroll(
        self, collection: Collection, start: EngineId | None, page: Page, condition: models.Filter | None
    ) -> tuple[Sequence[models.Record], Any]:
        """A page in the order of the engine's ids, and the id that the next one starts with."""
        return await self.ask(
            self._client.scroll(
                collection.engine_name,
                condition,
                limit=page.limit,
                offset=start,
                with_payload=wanted_fields(page.projection),
                with_vectors=wanted_vectors(collection, page.projection),
                **self._of_read(collection),
            )
        )


def _sparse(rows: Mapping[str, SparseRow]) -> dict[str, Any]:
    return {slot: {"indices": row.indices, "values": row.weights} for slot, row in rows.items()}


def _query(vector: FloatMatrix | SparseRow) -> Any:
    if isinstance(vector, SparseRow):
        return models.SparseVector(indices=vector.indices.tolist(), values=vector.weights.tolist())
    return vector.tolist()


def _encoded(points: list[dict[str, Any]]) -> Any:
    return _EncodedPoints(orjson.dumps({"points": points}, option=orjson.OPT_SERIALIZE_NUMPY).decode())


class _EncodedPoints:
    """Points that are JSON already. The client asks what it sends to write itself; its models take ten times longer."""

    def __init__(self, text: str) -> None:
        self._text = text

    def model_dump_json(self, **_: Any) -> str:
        return self._text
