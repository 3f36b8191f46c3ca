"""What the shelf takes and what it refuses."""

import json
import math
from collections.abc import Iterable, Mapping
from enum import Enum
from operator import index
from typing import Any

import numpy as np
from codeweaver.cw_types import (
    DistanceMetric,
    InvalidDimensionError,
    InvalidIdError,
    InvalidInputError,
    InvalidNameError,
    InvalidOptionError,
    InvalidPayloadError,
    InvalidVectorError,
    LimitExceededError,
    UnsupportedError,
)


def check_name(name: Any) -> None:
    if not isinstance(name, str):
        raise InvalidNameError("a collection is named by a string")
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise InvalidNameError("a collection's name must be encodable as UTF-8") from None
    control = any(ord(one) < 0x20 or 0x7F <= ord(one) < 0xA0 for one in name)
    if not 0 < size <= 80 or name in {".", ".."} or control:
        raise InvalidNameError("a collection's name has 1 to 80 bytes, no control characters, and is not . or ..")


def check_dimension(dimension: Any, most: int) -> int:
    size = whole(dimension, "dimension")
    if not 1 <= size <= most:
        raise InvalidDimensionError(f"dimension must be between 1 and {most}")
    return size


def check_metric(metric: Any) -> None:
    if not isinstance(metric, DistanceMetric):
        raise InvalidOptionError("distance_metric must be a DistanceMetric")


def check_options(options: Mapping[str, Any], *known: str) -> None:
    for name in options:
        if name not in known:
            raise InvalidOptionError(f"the option {name!r} is not known here")


def whole(value: Any, name: str) -> int:
    if isinstance(value, bool):
        raise InvalidOptionError(f"{name} must be an integer and no bool")
    try:
        return index(value)
    except TypeError:
        raise InvalidOptionError(f"{name} must be an integer") from None


def check_limit(limit: Any, most: int) -> int:
    count = whole(limit, "limit")
    if count < 0:
        raise InvalidInputError("limit must be 0 or more")
    if count > most:
        raise LimitExceededError(f"limit must be at most {most}", limit="max_limit")
    return count


def check_threshold(threshold: Any) -> float | None:
    if threshold is None:
        return None
    if isinstance(threshold, bool) or not isinstance(threshold, (int, float, np.number)):
        raise InvalidOptionError("score_threshold must be a number")
    if not math.isfinite(threshold):
        raise InvalidInputError("score_threshold must be finite")
    return float(threshold)


def check_keys(with_payload: Any) -> None:
    listed = isinstance(with_payload, (list, tuple)) and all(isinstance(key, str) for key in with_payload)
    if not (isinstance(with_payload, bool) or listed):
        raise InvalidOptionError("with_payload must be True, False or a list of keys")


# --- points ---------------------------------------------------------------------------------------------------------


def id_key(one: Any) -> bytes:
    """The primary key of an id: its kind and its text."""
    if type(one) is int and 0 <= one < 2**63:
        return b"i%d" % one
    if type(one) is str and 0 < len(one) <= 512:
        try:
            return b"s" + one.encode()
        except UnicodeEncodeError:
            pass
    raise InvalidIdError("an id is a string of 1 to 512 characters or an integer of 0 to 2^63-1")


def id_of(key: bytes) -> str | int:
    return int(key[1:]) if key[:1] == b"i" else key[1:].decode()


def id_keys(ids: Any) -> list[bytes]:
    if isinstance(ids, (str, bytes, Mapping)) or not isinstance(ids, Iterable):
        raise InvalidIdError("ids must be a list")
    return [id_key(one) for one in ids]


def check_sequence(vector: Any) -> None:
    if isinstance(vector, (str, bytes, Mapping)) or not hasattr(vector, "__len__"):
        raise InvalidVectorError("a vector is a sequence of numbers")


def check_vector(vector: Any, dimension: int, metric: DistanceMetric) -> np.ndarray:
    check_sequence(vector)
    if len(vector) != dimension:
        raise InvalidDimensionError(f"the vector has {len(vector)} elements, the collection's have {dimension}")
    try:
        given = np.asarray(vector)
    except ValueError:
        raise InvalidVectorError("a vector is flat") from None
    if given.dtype.kind not in "fiu" or given.shape != (dimension,):
        raise InvalidVectorError("a vector holds real numbers only")
    with np.errstate(over="ignore"):
        row = given.astype(np.float32)
    if not np.isfinite(row).all():
        raise InvalidVectorError("a vector must be finite in single precision")
    if metric is DistanceMetric.COSINE and not row.any():
        raise InvalidVectorError("the zero vector has no direction")
    return row


def payload_text(payload: Any, most: int, depth: int) -> str:
    if payload is None:
        return "{}"
    if not isinstance(payload, Mapping):
        raise InvalidPayloadError("a payload is a dict")
    _check_json(payload, depth + 1)
    text = json.dumps(payload, ensure_ascii=False, separators=(",", ":"))
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise InvalidPayloadError("a payload must be encodable as UTF-8") from None
    if size > most:
        raise LimitExceededError(f"a payload has at most {most} bytes of JSON", limit="max_payload_bytes")
    return text


def _check_json(value: Any, depth: int) -> None:
    if depth < 0:
        raise LimitExceededError("a payload is nested too deeply", limit="max_payload_depth")
    if isinstance(value, Enum):
        raise InvalidPayloadError("an Enum is no JSON")
    if isinstance(value, Mapping):
        for key, one in value.items():
            if type(key) is not str:
                raise InvalidPayloadError("the keys of a payload are strings")
            _check_json(one, depth - 1)
    elif isinstance(value, (list, tuple)):
        for one in value:
            _check_json(one, depth - 1)
    elif type(value) is int:
        if not -(2**63) <= value < 2**63:
            raise InvalidPayloadError("an integer of a payload has 64 bits")
    elif type(value) is float:
        if not math.isfinite(value):
            raise InvalidPayloadError("NaN and infinity are no JSON")
    elif value is not None and type(value) not in (str, bool):
        raise InvalidPayloadError(f"a {type(value).__name__} is no JSON")


def check_points(points: Any) -> list[Any]:
    if isinstance(points, (str, bytes, Mapping)) or not isinstance(points, Iterable):
        raise InvalidOptionError("vectors must be a list of VectorPoint")
    given = list(points)
    if not all(hasattr(one, "id") and hasattr(one, "vector") for one in given):
        raise InvalidOptionError("vectors must hold VectorPoint objects")
    if any(one.sparse_vector for one in given):
        raise UnsupportedError("the shelf has no sparse vectors", capability="supports_hybrid_search")
    return given
