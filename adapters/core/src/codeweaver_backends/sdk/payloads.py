"""Payloads: any JSON object, exact on the way in and out, or refused."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from enum import Enum
from itertools import chain
from operator import itemgetter
from typing import Any, Final

import orjson

from codeweaver_backends.capabilities import Limits
from codeweaver_backends.errors import InvalidInputError, InvalidPayloadError, LimitExceededError
from codeweaver_backends.sdk.hints import hint
from codeweaver_backends.sdk.index.keys import INT64_MAX, INT64_MIN
from codeweaver_backends.types import Payload, PointId

__all__ = ["decode_payload", "encode_payload", "encode_payloads"]

_JSON_OPTIONS: Final = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME
_LEAF_TYPES: Final = frozenset((str, bool, type(None)))


def encode_payload(payload: Mapping[str, Any] | None, limits: Limits) -> bytes:
    """A payload as compact UTF-8 JSON, or ``InvalidPayloadError`` for what JSON cannot say exactly."""
    if payload is None:
        return b"{}"
    if type(payload) is not dict:
        if not isinstance(payload, Mapping):
            raise InvalidPayloadError(f"payload must be a dict or None, not a {type(payload).__name__}")
        payload = dict(payload)
    _check_object(payload, limits.max_payload_depth)
    try:
        document = orjson.dumps(payload, option=_JSON_OPTIONS)
    except TypeError as error:
        raise InvalidPayloadError(f"payload cannot be written as JSON: {error}") from None
    if len(document) > limits.max_payload_bytes:
        raise LimitExceededError(
            f"payload has {len(document)} bytes of JSON; at most {limits.max_payload_bytes} are allowed",
            limit="max_payload_bytes",
        )
    return document


def decode_payload(document: bytes | str) -> Payload:
    """The payload of a document that ``encode_payload`` made."""
    payload: Payload = orjson.loads(document)
    return payload


def _are_plain(payloads: Sequence[Any]) -> bool:
    """Whether column by column no value can be wrong: where payloads are alike, half the price of one by one."""
    if set(map(type, payloads)) != {dict} or len(set(map(len, payloads))) != 1:
        return False
    keys = payloads[0].keys()
    try:
        return set(map(type, keys)) <= {str} and all(_is_plain(list(map(itemgetter(key), payloads))) for key in keys)
    except KeyError:
        return False


def _is_plain(values: list[Any]) -> bool:
    kinds = set(map(type, values))
    if kinds == {int}:
        return bool(min(values) >= INT64_MIN and max(values) <= INT64_MAX)
    return kinds <= _LEAF_TYPES or (kinds == {list} and set(map(type, chain.from_iterable(values))) <= _LEAF_TYPES)


def _check_object(value: Mapping[Any, Any], depth: int) -> None:
    for key, inner in value.items():
        if type(key) is not str:
            raise InvalidPayloadError(f"payload has a key of type {type(key).__name__}; keys must be strings")
        kind = type(inner)
        if kind is int:  # most of what is no text: the others are judged where there is time
            if not INT64_MIN <= inner <= INT64_MAX:
                raise _bad_integer(key)
        elif kind not in _LEAF_TYPES:
            _check_value(inner, depth, key)


def _bad_integer(key: str) -> InvalidPayloadError:
    return InvalidPayloadError(f"payload key {key!r} holds an integer outside −2^63 … 2^63−1")


def _check_value(value: Any, depth: int, key: str) -> None:
    kind = type(value)
    if kind is not list and isinstance(value, Enum):
        raise InvalidPayloadError(f"payload key {key!r} holds an Enum, which JSON cannot say{hint(kind)}")
    if isinstance(value, dict | list | tuple):
        if depth <= 1:
            raise LimitExceededError(f"payload key {key!r} is nested too deeply", limit="max_payload_depth")
        if isinstance(value, dict):
            _check_object(value, depth - 1)
        else:
            for element in value:
                if type(element) not in _LEAF_TYPES:
                    _check_value(element, depth - 1, key)
    elif isinstance(value, int):
        if not INT64_MIN <= value <= INT64_MAX:
            raise _bad_integer(key)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidPayloadError(f"payload key {key!r} holds {value!r}, which JSON cannot say")
    elif not isinstance(value, str):
        raise InvalidPayloadError(f"payload key {key!r} holds a {kind.__name__}, which JSON cannot say{hint(kind)}")


def encode_payloads(
    ids: Sequence[PointId], payloads: Sequence[Mapping[str, Any] | None], limits: Limits
) -> list[bytes]:
    """Many payloads, each as ``encode_payload`` does; an error names the point."""
    if _are_plain(payloads):
        with suppress(TypeError):  # a lone surrogate: whose, is told below
            documents = list(map(orjson.dumps, payloads))
            if max(map(len, documents)) <= limits.max_payload_bytes:
                return documents
    documents = []
    for point_id, payload in zip(ids, payloads, strict=True):
        try:
            documents.append(encode_payload(payload, limits))
        except InvalidInputError as error:
            error.args = (f"point {point_id!r}: {error.message}",)
            error.message = error.args[0]
            raise
    return documents
