"""Payload: options that are not kept, and what is done to the caller's own points."""

from __future__ import annotations

import dataclasses
import datetime
import uuid
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from codeweaver_backends.capabilities import Limits
from codeweaver_backends.sdk.lifetime import operation
from codeweaver_backends.sdk.requests import Batch
from codeweaver_backends.types import SearchResult, VectorPoint
from codeweaver_tools.defects.payload import deep
from codeweaver_tools.defects.registry import plant
from codeweaver_tools.defects.rig import Collection, Rig, rewritten

# --- with_payload -----------------------------------------------------------------------------------------------------


class _Projected(Rig):
    """The option ``with_payload`` is given to the engine as ``asked`` says."""

    asked: ClassVar[staticmethod[[Any], Any]]

    async def search_vectors(self, *args: Any, with_payload: Any = True, **kwargs: Any) -> list[SearchResult]:
        return await super().search_vectors(*args, with_payload=self.asked(with_payload), **kwargs)


@plant("pay-list-ignored", "A list of keys in with_payload returns the whole payload.", side="above")
class _ListIgnored(_Projected):
    asked = staticmethod(lambda asked: True if isinstance(asked, list) and asked and asked != [1] else asked)


@plant("pay-list-empty-is-all", "An empty list in with_payload returns the whole payload.", side="above")
class _ListEmptyIsAll(_Projected):
    asked = staticmethod(lambda asked: True if asked == [] else asked)


@plant("pay-false-ignored", "with_payload=False returns the payload.", side="above")
class _FalseIgnored(_Projected):
    asked = staticmethod(lambda asked: True if asked is False else asked)


@plant("pay-list-nulls", "A key that a payload lacks comes back as null where with_payload names it.")
class _ListNulls(Rig):
    async def search_vectors(self, *args: Any, with_payload: Any = True, **kwargs: Any) -> list[SearchResult]:
        results = await super().search_vectors(*args, with_payload=with_payload, **kwargs)
        for result in results if isinstance(with_payload, list) else ():
            result.payload = {key: (result.payload or {}).get(key) for key in with_payload}
        return results


@plant("pay-list-as-paths", "The keys of with_payload are read as dotted paths.")
class _ListAsPaths(Rig):
    async def search_vectors(self, *args: Any, with_payload: Any = True, **kwargs: Any) -> list[SearchResult]:
        results = await super().search_vectors(*args, with_payload=with_payload, **kwargs)
        for result in results if isinstance(with_payload, list) else ():
            payload = result.payload or {}
            result.payload = {key: payload[key] for key in payload if key in with_payload and "." not in key}
        return results


# --- what is done to the caller's points ------------------------------------------------------------------------------


class _Received(Rig):
    """The batch is changed before it is judged."""

    @staticmethod
    def received(vectors: list[VectorPoint]) -> list[VectorPoint]:
        return vectors

    @operation
    async def upsert_vectors(self, collection_name: str, vectors: list[VectorPoint]) -> None:
        if isinstance(vectors, list) and all(isinstance(one, VectorPoint) for one in vectors):
            vectors = self.received(vectors)
        await super().upsert_vectors(collection_name, vectors)


def _judged(points: list[VectorPoint], change: Callable[[Any], Any]) -> list[VectorPoint]:
    return [
        dataclasses.replace(one, payload=deep(dict(one.payload), change)) if isinstance(one.payload, Mapping) else one
        for one in points
    ]


@plant("pay-unsupported-dropped", "Values that JSON cannot say are dropped.", side="above")
class _UnsupportedDropped(_Received):
    @staticmethod
    def received(vectors: list[VectorPoint]) -> list[VectorPoint]:
        plain = (str, int, float, bool, type(None), list, dict)
        return _judged(
            vectors,
            lambda value: (
                {key: one for key, one in value.items() if isinstance(one, plain)} if isinstance(value, dict) else value
            ),
        )


@plant("pay-unsupported-as-text", "Datetimes, UUIDs and sets are stored as their text.", side="above")
class _UnsupportedAsText(_Received):
    @staticmethod
    def received(vectors: list[VectorPoint]) -> list[VectorPoint]:
        odd = (datetime.date, uuid.UUID, set, bytes)
        return _judged(vectors, lambda value: str(value) if isinstance(value, odd) else value)


@plant("pay-nan-as-null", "NaN and infinity are stored as null.", side="above")
class _NanAsNull(_Received):
    @staticmethod
    def received(vectors: list[VectorPoint]) -> list[VectorPoint]:
        return _judged(
            vectors, lambda value: None if isinstance(value, float) and not abs(value) < float("inf") else value
        )


@plant("pay-int-keys", "Keys that are integers become text.", side="above")
class _IntKeys(_Received):
    @staticmethod
    def received(vectors: list[VectorPoint]) -> list[VectorPoint]:
        return _judged(
            vectors,
            lambda value: {str(key): one for key, one in value.items()} if isinstance(value, dict) else value,
        )


@plant("pay-int-wrapped", "Integers beyond 64 bits wrap around.", side="above")
class _IntWrapped(_Received):
    @staticmethod
    def received(vectors: list[VectorPoint]) -> list[VectorPoint]:
        return _judged(vectors, lambda value: (value + 2**63) % 2**64 - 2**63 if type(value) is int else value)


@plant("pay-first-decides", "If the first point of a batch has no payload, the others lose theirs.", side="above")
class _FirstDecides(_Received):
    @staticmethod
    def received(vectors: list[VectorPoint]) -> list[VectorPoint]:
        if vectors and not vectors[0].payload:
            return [dataclasses.replace(one, payload={}) for one in vectors]
        return vectors


@plant("pay-first-schema", "Keys that the first point of a batch lacks are dropped from the others.", side="above")
class _FirstSchema(_Received):
    @staticmethod
    def received(vectors: list[VectorPoint]) -> list[VectorPoint]:
        keys = set(vectors[0].payload or ()) if vectors else set()
        if not keys or not all(isinstance(one.payload, dict | None) for one in vectors):
            return vectors
        kept = [{key: value for key, value in (one.payload or {}).items() if key in keys} for one in vectors]
        return [dataclasses.replace(one, payload=payload) for one, payload in zip(vectors, kept, strict=True)]


@plant("pay-columns-filled", "Each point of a batch gets the keys of all others, as nulls.")
class _ColumnsFilled(Rig):
    def _write_all(self, collection: Collection, batch: Batch) -> None:
        keys = {key: None for payload in batch.payloads for key in payload}
        super()._write_all(collection, rewritten(batch, lambda payload: keys | payload))


@plant("pay-input-mutated", "Writing leaves the adapter's own key in the caller's payload.", side="above")
class _InputMutated(Rig):
    @operation
    async def upsert_vectors(self, collection_name: str, vectors: list[VectorPoint]) -> None:
        await super().upsert_vectors(collection_name, vectors)
        for one in vectors:
            if isinstance(one.payload, dict):
                one.payload["_id"] = one.id


@plant("pay-size-unchecked", "A payload above the declared size is taken.")
class _SizeUnchecked(Rig):
    @operation
    async def upsert_vectors(self, collection_name: str, vectors: list[VectorPoint]) -> None:
        kept = self.claims
        self.claims = kept.model_copy(update={"limits": Limits(max_payload_bytes=2**30)})
        try:
            await super().upsert_vectors(collection_name, vectors)
        finally:
            self.claims = kept


@plant("pay-size-less-than-declared", "A payload of the declared size is refused: the engine takes half of it.")
class _SizeLess(Rig):
    @operation
    async def upsert_vectors(self, collection_name: str, vectors: list[VectorPoint]) -> None:
        kept = self.claims
        self.claims = kept.model_copy(update={"limits": Limits(max_payload_bytes=2**19)})
        try:
            await super().upsert_vectors(collection_name, vectors)
        finally:
            self.claims = kept
