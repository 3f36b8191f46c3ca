"""The arguments of ``create_collection``."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from codeweaver_backends.capabilities import BackendCapabilities
from codeweaver_backends.errors import InvalidDimensionError, InvalidNameError, InvalidOptionError, UnsupportedError
from codeweaver_backends.sdk.requests import CollectionSettings
from codeweaver_backends.sdk.validate.options import flag, integer, validate_options
from codeweaver_backends.sdk.vector_index import VectorIndex
from codeweaver_backends.types import DistanceMetric


def validate_name(name: object) -> str:
    """A collection name: 1–80 bytes of UTF-8 without control characters; ``.`` and ``..`` are refused."""
    if type(name) is not str:
        raise InvalidNameError(f"a collection name must be a string, not a {type(name).__name__}")
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise InvalidNameError("a collection name must not hold a lone surrogate") from None
    if not 1 <= size <= 80:
        raise InvalidNameError(f"a collection name must have 1 to 80 bytes of UTF-8, not {size}")
    if name in (".", ".."):
        raise InvalidNameError("a collection name must not be '.' or '..'")
    if any(ord(character) < 32 or 127 <= ord(character) < 160 for character in name):
        raise InvalidNameError("a collection name must not hold control characters")
    return name


_ENGINE_TYPES: Final = {"boolean": bool, "integer": int, "text": str}


def validate_create(
    name: object,
    dimension: object,
    metric: object,
    options: Mapping[str, Any],
    capabilities: BackendCapabilities,
) -> tuple[bool, CollectionSettings]:
    """The arguments of ``create_collection``: whether it may exist already, and the settings."""
    checked = validate_name(name)
    size = integer(dimension, "dimension")
    if size < 1:
        raise InvalidDimensionError(f"dimension must be at least 1, not {size}")
    if size > capabilities.max_vector_dimension:
        raise InvalidDimensionError(f"dimension must be at most {capabilities.max_vector_dimension}, not {size}")
    metric = _metric(metric)
    if metric not in capabilities.supported_distance_metrics:
        allowed = ", ".join(one.name for one in capabilities.supported_distance_metrics)
        raise UnsupportedError(
            f"the metric {metric.name} is not supported; supported are {allowed}",
            capability="supported_distance_metrics",
        )
    validate_options(options, ("payload_indexes", "vector_index", "engine_options", "exist_ok"))
    indexes = _payload_indexes(options.get("payload_indexes"), capabilities)
    vectors = VectorIndex.judged(options.get("vector_index", "auto"), capabilities)
    return flag(options.get("exist_ok", False), "exist_ok"), CollectionSettings(
        checked, size, metric, indexes, vectors, _engine_options(options.get("engine_options"), capabilities)
    )


def _metric(value: object) -> DistanceMetric:
    if isinstance(value, DistanceMetric):
        return value
    if type(value) is str:
        with suppress(ValueError):
            return DistanceMetric(value)
    names = ", ".join(one.value for one in DistanceMetric)
    given = "another text" if isinstance(value, str) else f"a {type(value).__name__}"
    raise InvalidOptionError(f"distance_metric must be a DistanceMetric or one of {names}, not {given}")


def _payload_indexes(value: object, capabilities: BackendCapabilities) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidOptionError(f"payload_indexes must be a dict of field to type, not a {type(value).__name__}")
    if value and not capabilities.supports_payload_indexes:
        raise UnsupportedError("payload indexes are not supported", capability="supports_payload_indexes")
    for name, kind in value.items():
        if type(name) is not str or not all(name.split(".")):
            raise InvalidOptionError("a field of payload_indexes must be a dotted path without empty segments")
        try:
            name.encode()
        except UnicodeEncodeError:
            raise InvalidOptionError("a field of payload_indexes must not hold a lone surrogate") from None
        if kind not in capabilities.payload_index_types:
            allowed = ", ".join(capabilities.payload_index_types)
            raise InvalidOptionError(f"the type of the payload index on {name!r} must be one of {allowed}")
    return dict(value)


def _engine_options(value: object, capabilities: BackendCapabilities) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidOptionError(f"engine_options must be a dict of name to value, not a {type(value).__name__}")
    known = capabilities.engine_options
    if value and not known:
        names = ", ".join(map(str, value))
        raise UnsupportedError(
            f"no options are passed on to this engine, and so not {names}", capability="engine_options"
        )
    for name, given in value.items():
        if name not in known:
            raise InvalidOptionError(f"no engine option has that name; known are {', '.join(known)}")
        kind = known[name]
        if type(given) is not _ENGINE_TYPES[kind]:
            raise InvalidOptionError(f"the engine option {name} must be of type {kind}, not a {type(given).__name__}")
        if isinstance(given, int) and kind == "integer" and given < 1:
            raise InvalidOptionError(f"the engine option {name} must be at least 1")
        if isinstance(given, str) and not (given and given.isprintable()):
            raise InvalidOptionError(f"the engine option {name} must be a text of printable characters")
    return dict(value)
