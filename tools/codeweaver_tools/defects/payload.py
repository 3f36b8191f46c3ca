"""Payload: dropped, retyped, renamed, shared."""

from __future__ import annotations

import dataclasses
import datetime
import json
import struct
import unicodedata
from collections.abc import Callable
from typing import Any, ClassVar

from codeweaver_backends.sdk.requests import Batch
from codeweaver_backends.types import Payload, SearchResult
from codeweaver_tools.defects.registry import plant
from codeweaver_tools.defects.rig import Collection, Rig


def deep(value: Any, change: Callable[[Any], Any]) -> Any:
    """``change`` applied to every scalar and container, outermost first."""
    value = change(value)
    if isinstance(value, dict):
        return {key: deep(inner, change) for key, inner in value.items()}
    return [deep(inner, change) for inner in value] if isinstance(value, list) else value


class _Values(Rig):
    """Every value is stored as ``change`` gives it."""

    change: ClassVar[staticmethod[[Any], Any]]

    def stored(self, payload: Payload) -> Payload:
        return {key: deep(value, self.change) for key, value in payload.items()}


class _Keys(Rig):
    """Every key is stored as ``rename`` gives it."""

    rename: ClassVar[staticmethod[[Any], Any]]

    def stored(self, payload: Payload) -> Payload:
        return {self.rename(key): value for key, value in payload.items()}


def _without_nulls(value: Any) -> Any:
    return {key: one for key, one in value.items() if one is not None} if isinstance(value, dict) else value


@plant("pay-none-dropped", "Keys whose value is null disappear.")
class _NoneDropped(Rig):
    def stored(self, payload: Payload) -> Payload:
        stored: Payload = deep(payload, _without_nulls)
        return stored


@plant("pay-none-as-text", "Null comes back as the text 'None'.")
class _NoneAsText(_Values):
    change = staticmethod(lambda value: "None" if value is None else value)


@plant("pay-nested-stringified", "Objects and lists come back as JSON text.")
class _NestedStringified(_Values):
    change = staticmethod(lambda value: json.dumps(value) if isinstance(value, dict | list) else value)


@plant("pay-list-joined", "Lists of strings come back as one string.")
class _ListJoined(_Values):
    change = staticmethod(
        lambda value: ", ".join(map(str, value)) if isinstance(value, list) and len(value) > 1 else value
    )


@plant("pay-mixed-list-retyped", "The elements of a list all take the type of the first.")
class _MixedListRetyped(_Values):
    change = staticmethod(
        lambda value: [str(one) for one in value] if isinstance(value, list) and "1" in map(str, value) else value
    )


@plant("pay-empty-dropped", "Empty lists, objects and strings come back as null.")
class _EmptyDropped(_Values):
    change = staticmethod(lambda value: None if value in ([], {}, "") else value)


@plant("pay-deep-cut", "What is nested deeper than four levels comes back as text.")
class _DeepCut(Rig):
    def stored(self, payload: Payload) -> Payload:
        def cut(value: Any, depth: int) -> Any:
            if isinstance(value, dict | list) and depth > 4:
                return json.dumps(value)
            if isinstance(value, dict):
                return {key: cut(one, depth + 1) for key, one in value.items()}
            return [cut(one, depth + 1) for one in value] if isinstance(value, list) else value

        stored: Payload = cut(payload, 1)
        return stored


@plant("pay-int-to-float", "Integers come back as floats.")
class _IntToFloat(_Values):
    change = staticmethod(lambda value: float(value) if type(value) is int else value)


@plant("pay-float-to-int", "Integral floats come back as integers.")
class _FloatToInt(_Values):
    change = staticmethod(
        lambda value: int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**63 else value
    )


@plant("pay-int-over-double", "Integers beyond 2^53 lose their last digits.")
class _IntOverDouble(_Values):
    change = staticmethod(lambda value: min(int(float(value)), 2**63 - 1) if type(value) is int else value)


@plant("pay-float32", "Floats are kept in single precision.")
class _Float32(_Values):
    change = staticmethod(
        lambda value: (
            struct.unpack("f", struct.pack("f", value))[0] if isinstance(value, float) and abs(value) < 1e38 else value
        )
    )


@plant("pay-bool-as-int", "true and false come back as 1 and 0.")
class _BoolAsInt(_Values):
    change = staticmethod(lambda value: int(value) if isinstance(value, bool) else value)


@plant("pay-json-text-parsed", "Strings that look like JSON come back parsed.")
class _JsonTextParsed(Rig):
    def shown(self, result: SearchResult) -> SearchResult:
        def parsed(value: Any) -> Any:
            try:
                return json.loads(value) if isinstance(value, str) and value[:1] in "[{" else value
            except ValueError:
                return value

        return dataclasses.replace(result, payload={key: parsed(one) for key, one in (result.payload or {}).items()})


@plant("pay-date-normalised", "Strings that are instants come back in UTC.")
class _DateNormalised(_Values):
    @staticmethod
    def change(value: Any) -> Any:
        try:
            moment = datetime.datetime.fromisoformat(value)
            return value if moment.tzinfo is None else moment.astimezone(datetime.UTC).isoformat()
        except (TypeError, ValueError):
            return value


@plant("pay-nul-cut", "Strings end at the first NUL.")
class _NulCut(_Values):
    change = staticmethod(lambda value: value.partition("\0")[0] if isinstance(value, str) else value)


@plant("pay-composed", "Strings are stored in Unicode's composed form.")
class _Composed(_Values):
    change = staticmethod(lambda value: unicodedata.normalize("NFC", value) if isinstance(value, str) else value)


@plant("pay-long-cut", "Strings are cut after 8,191 characters.")
class _LongCut(_Values):
    change = staticmethod(lambda value: value[:8_191] if isinstance(value, str) else value)


@plant("pay-key-case", "The first letter of a key is lower-cased.")
class _KeyCase(_Keys):
    rename = staticmethod(lambda key: key[:1].lower() + key[1:])


@plant("pay-key-dots", "Dots in keys become underscores.")
class _KeyDots(_Keys):
    rename = staticmethod(lambda key: key.replace(".", "_"))


@plant("pay-key-empty", "The empty key is dropped.")
class _KeyEmpty(Rig):
    def stored(self, payload: Payload) -> Payload:
        return {key: value for key, value in payload.items() if key}


@plant("pay-key-unflattened", "A key with a dot comes back as a nested object.")
class _KeyUnflattened(Rig):
    def shown(self, result: SearchResult) -> SearchResult:
        payload: Payload = {}
        for key, value in (result.payload or {}).items():
            head, dot, tail = key.partition(".")
            payload[head if dot else key] = {tail: value} if dot else value
        return dataclasses.replace(result, payload=payload)


@plant("pay-reserved-key", "The user's keys id, vector and text are taken for the adapter's own and stripped.")
class _ReservedKey(Rig):
    def shown(self, result: SearchResult) -> SearchResult:
        payload = {key: one for key, one in (result.payload or {}).items() if key not in ("id", "vector", "text")}
        return dataclasses.replace(result, payload=payload)


@plant("pay-reserved-overwritten", "The engine's distance comes back under the user's key _distance.")
class _ReservedOverwritten(Rig):
    def shown(self, result: SearchResult) -> SearchResult:
        payload = result.payload or {}
        return dataclasses.replace(result, payload=payload | ({"_distance": 0.0} if "_distance" in payload else {}))


@plant("pay-none-is-none", "A point without payload comes back with None and with {} where it was {}.")
class _NoneIsNone(Rig):
    def shown(self, result: SearchResult) -> SearchResult:
        return dataclasses.replace(result, payload=result.payload or None)


@plant("pay-aliased-in", "The store keeps the caller's payload: changing it changes what is stored.")
class _AliasedIn(Rig):
    def _write_all(self, collection: Collection, batch: Batch) -> None:
        super()._write_all(collection, batch)
        for point_id, payload in zip(batch.ids, batch.payloads, strict=True):
            collection.points[point_id].payload = payload  # type: ignore[assignment]

    def shown(self, result: SearchResult) -> SearchResult:
        for collection in self._collections.values():
            point = collection.points.get(result.id)
            if point and result.payload and result.payload.keys() == point.payload.keys():
                return dataclasses.replace(result, payload=dict(point.payload))
        return result


@plant("pay-aliased-out", "A returned payload is the stored one: changing it changes the store.")
class _AliasedOut(Rig):
    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._cache: dict[Any, Payload] = {}

    def shown(self, result: SearchResult) -> SearchResult:
        key = (result.id, tuple(result.payload or ()))
        return dataclasses.replace(result, payload=self._cache.setdefault(key, result.payload or {}))

    def _write_all(self, collection: Collection, batch: Batch) -> None:
        self._cache.clear()
        super()._write_all(collection, batch)
