"""The arguments of searches and of pages."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from codeweaver_backends.capabilities import BackendCapabilities
from codeweaver_backends.errors import InvalidInputError, InvalidOptionError, InvalidVectorError, UnsupportedError
from codeweaver_backends.sdk.filters.parse import parse_filter
from codeweaver_backends.sdk.filters.tree import Node
from codeweaver_backends.sdk.requests import CollectionSettings, Page, Projection, Query, WithPayload
from codeweaver_backends.sdk.validate.options import flag, validate_limit, validate_options
from codeweaver_backends.sdk.validate.points import validate_vector
from codeweaver_backends.types import FilterLike

FOREIGN_CURSOR: Final = "cursor must be None or what the last page gave"
_CURSOR_LENGTH: Final = 8_192
_MOST_EFFORT: Final = 1_000_000
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def validate_projection(with_payload: object, with_vectors: object) -> Projection:
    """The options ``with_payload`` (a bool or a list of top-level keys) and ``with_vectors`` (a bool)."""
    return Projection(_wanted_payload(with_payload), flag(with_vectors, "with_vectors"))


def _wanted_payload(value: object) -> WithPayload:
    if isinstance(value, bool):
        return value
    if isinstance(value, list | tuple) and all(type(key) is str for key in value):
        return tuple(value)
    raise InvalidOptionError(f"with_payload must be a bool or a list of keys, not a {type(value).__name__}")


@dataclass(frozen=True, slots=True)
class QueryDraft:
    """A search, judged but for the vector, which depends on the collection."""

    vector: object
    limit: int
    filter: Node
    threshold: float | None
    projection: Projection
    exact: bool = False
    effort: float = 1.0
    name: str = "query_vector"
    """What the vector is called in an error."""

    def on(self, settings: CollectionSettings) -> Query:
        """The query for a collection."""
        vector = validate_vector(self.vector, settings, name=self.name)
        return Query(vector, self.limit, self.filter, self.threshold, self.projection, self.exact, self.effort)


def validate_query(
    query_vector: object,
    limit: object,
    search_filter: FilterLike | None,
    score_threshold: object,
    options: Mapping[str, Any],
    capabilities: BackendCapabilities,
    *,
    name: str = "query_vector",
) -> QueryDraft:
    """The arguments of ``search_vectors``."""
    own = ("query_vector", "limit", "search_filter", "score_threshold")
    validate_options(options, ("with_payload", "with_vectors", "exact", "effort"), own)
    if query_vector is None or isinstance(query_vector, str | bytes | bytearray | Mapping | set | bool | int | float):
        raise InvalidVectorError(f"{name} must be a sequence of numbers, not a {type(query_vector).__name__}")
    return QueryDraft(
        query_vector,
        validate_limit(limit, capabilities.limits),
        parse_filter(search_filter, capabilities),
        _threshold(score_threshold),
        validate_projection(options.get("with_payload", True), options.get("with_vectors", False)),
        flag(options.get("exact", False), "exact"),
        _effort(options.get("effort", 1.0), capabilities),
        name,
    )


def _effort(value: object, capabilities: BackendCapabilities) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.floating | np.integer):
        raise InvalidOptionError(f"effort must be a number, not a {type(value).__name__}")
    if not 1 <= value <= _MOST_EFFORT:  # so written, NaN is refused too
        raise InvalidInputError(f"effort must be a number of 1 to {_MOST_EFFORT:,}")
    if value != 1 and not capabilities.search_effort:
        raise UnsupportedError("effort is not supported", capability="search_effort")
    return float(value)


def validate_page(
    cursor: object,
    limit: object,
    search_filter: FilterLike | None,
    projection: Projection,
    capabilities: BackendCapabilities,
) -> Page:
    """The arguments of ``scroll_vectors``; a page holds at least one point."""
    if not (cursor is None or (isinstance(cursor, str) and _is_cursor(cursor))):
        raise InvalidOptionError(FOREIGN_CURSOR)
    size = validate_limit(limit, capabilities.limits)
    if size < 1:
        raise InvalidInputError("the limit of a page must be at least 1")
    return Page(cursor, size, parse_filter(search_filter, capabilities), projection)


def _is_cursor(text: str) -> bool:
    """Whether an adapter can have given it: one is made of an id, and engines take no lone surrogates."""
    return 0 < len(text) <= _CURSOR_LENGTH and not _SURROGATE.search(text)


def _threshold(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | np.floating | np.integer):
        raise InvalidOptionError(f"score_threshold must be a number, not a {type(value).__name__}")
    try:
        threshold = float(value)
    except OverflowError:
        threshold = math.inf
    if not math.isfinite(threshold):
        raise InvalidInputError("score_threshold must be finite")
    return threshold
