"""Points by REST, and by the client's in-process imitation of a server."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import orjson
from qdrant_client import models

from codeweaver_backends.sdk.filters.tree import Order
from codeweaver_backends.sdk.requests import Batch, CollectionSettings
from codeweaver_backends.types import FloatMatrix
from codeweaver_qdrant.convert import TOKENS, engine_id, engine_payloads, stored_vectors
from codeweaver_qdrant.server import ServerStore

__all__ = ["LocalStore", "RestDialect", "RestStore"]

_BOUNDS = {"gt": "gt", "ge": "gte", "lt": "lt", "le": "lte"}


class RestDialect:
    """Conditions of ``qdrant_client.models``."""

    def __init__(self, *, substring: bool) -> None:
        self._substring = models.MatchSubstring if substring else None

    def any_token(self, tokens: list[str]) -> models.FieldCondition:
        return models.FieldCondition(key=TOKENS, match=models.MatchTextAny(text_any=" ".join(tokens)))

    def compare(self, key: str, order: Order, bound: int) -> models.FieldCondition:
        return models.FieldCondition(key=key, range=models.Range(**{_BOUNDS[order]: float(bound)}))

    def substring(self, key: str, text: str) -> models.FieldCondition:
        match = self._substring(substring=text) if self._substring else models.MatchText(text=text)
        return models.FieldCondition(key=key, match=match)

    def group(
        self, *, must: Sequence[Any] = (), should: Sequence[Any] = (), must_not: Sequence[Any] = ()
    ) -> models.Filter:
        return models.Filter(must=list(must) or None, should=list(should) or None, must_not=list(must_not) or None)


class LocalDialect(RestDialect):
    """The imitation has no indexes, so no tokenizer to rely on: it is given the tokens one by one."""

    def any_token(self, tokens: list[str]) -> models.FieldCondition:
        return models.FieldCondition(key=TOKENS, match=models.MatchAny(any=tokens))


class RestStore(ServerStore):
    """Requests and answers in the client's models; only what is written is encoded here."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.dialect = RestDialect(substring=self.matches_substrings)

    async def upsert(self, settings: CollectionSettings, batch: Batch) -> None:
        code = await self.code(settings.name)
        vectors, beside = stored_vectors(batch.vectors, settings.metric)
        rows = zip(batch.ids, vectors, engine_payloads(batch), beside, strict=True)
        points = [
            {
                "id": engine_id(point_id),
                "vector": {settings.metric.value: vector},
                "payload": stored | more,
            }
            for point_id, vector, stored, more in rows
        ]
        body = _EncodedPoints(orjson.dumps({"points": points}, option=orjson.OPT_SERIALIZE_NUMPY).decode())
        api = self._client.http.points_api
        await self.write(
            lambda: api.upsert_points(code, wait=True, point_insert_operations=body)  # type: ignore[arg-type]
        )

    async def delete(self, name: str, ids: list[int | str]) -> None:
        code = await self.code(name)
        await self.write(lambda: self._client.delete(code, models.PointIdsList(points=list(ids))))

    async def delete_matching(self, name: str, condition: models.Filter | None) -> int:
        code = await self.code(name)
        count = await self.count(name, condition)
        selector = models.FilterSelector(filter=condition or models.Filter())
        await self.write(lambda: self._client.delete(code, selector))
        return count

    async def count(self, name: str, condition: models.Filter | None) -> int:
        code = await self.code(name)
        return (await self.read(lambda: self._client.count(code, condition, exact=True))).count

    async def search(
        self,
        settings: CollectionSettings,
        vector: FloatMatrix,
        limit: int,
        condition: models.Filter | None,
        fields: list[str],
        with_vectors: bool,
    ) -> Sequence[models.ScoredPoint]:
        code = await self.code(settings.name)
        response = await self.read(
            lambda: self._client.query_points(
                code,
                vector.tolist(),
                using=settings.metric.value,
                query_filter=condition,
                limit=limit,
                with_payload=fields,
                with_vectors=with_vectors,
            )
        )
        return response.points

    async def retrieve(
        self, name: str, ids: list[int | str], fields: list[str], with_vectors: bool
    ) -> Sequence[models.Record]:
        code = await self.code(name)
        return await self.read(lambda: self._client.retrieve(code, ids, with_payload=fields, with_vectors=with_vectors))

    async def scroll(
        self,
        name: str,
        offset: int | str | None,
        limit: int,
        condition: models.Filter | None,
        fields: list[str],
        with_vectors: bool,
    ) -> tuple[Sequence[models.Record], Any]:
        code = await self.code(name)
        return await self.read(
            lambda: self._client.scroll(
                code,
                condition,
                limit=limit,
                offset=offset,
                with_payload=fields,
                with_vectors=with_vectors,
            )
        )


class _EncodedPoints:
    """Points that are JSON already. The client asks what it sends to write itself; its models take ten times longer."""

    def __init__(self, text: str) -> None:
        self._text = text

    def model_dump_json(self, **_: Any) -> str:
        return self._text


def _listed(stored: dict[str, Any]) -> dict[str, Any]:
    return stored | {TOKENS: stored[TOKENS].split()}


class LocalStore(RestStore):
    """The imitation answers at once, holding the event loop, and writes only what its models hold."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.dialect = LocalDialect(substring=hasattr(models, "MatchSubstring"))

    async def upsert(self, settings: CollectionSettings, batch: Batch) -> None:
        vectors, beside = stored_vectors(batch.vectors, settings.metric)
        rows = zip(batch.ids, vectors.tolist(), engine_payloads(batch), beside, strict=True)
        points = [
            models.PointStruct(
                id=engine_id(point_id),
                vector={settings.metric.value: vector},
                payload=_listed(stored) | more,
            )
            for point_id, vector, stored, more in rows
        ]
        code = await self.code(settings.name)
        await self.write(lambda: self._client.upsert(code, points))
        await asyncio.sleep(0)

    async def _create_indexes(self, settings: CollectionSettings) -> None:
        """It has none, and warns of them."""
