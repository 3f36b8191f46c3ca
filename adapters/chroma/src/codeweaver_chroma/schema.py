"""What is stored: names and settings of collections, rows of points.

A row has an id (``encode_id``), a vector, a URI and metadata. Where Chroma keeps a URI stands the payload, whole, as
JSON, and before it what ``restored`` needs of the vector. The metadata are what filters look up:

==============================  ====================================================================================
key                             value
==============================  ====================================================================================
``Collection.terms_key``        the terms of the payload, a list: see ``codeweaver_backends.sdk.index.terms``
``<n``, ``>n`` + path           the least and the greatest number at the path or in the list there, as a sortable int64
``<r``, ``>r`` + path           what an integer beyond 2^53 has more than that
``<t``, ``>t`` + path           the least and the greatest instant, in microseconds
==============================  ====================================================================================

Chroma's upsert keeps the old point's metadata of keys that the new one lacks. The list of terms is always written, and
no range is asked for without the term that says it is of the point as it is now: what is kept is never looked at. So a
point is replaced in one step.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from codeweaver_backends.errors import UnsupportedError
from codeweaver_backends.sdk.index.codes import encode_id
from codeweaver_backends.sdk.index.facts import Path
from codeweaver_backends.sdk.index.terms import Column, entries_of, spans
from codeweaver_backends.sdk.names import decode_name, encode_name
from codeweaver_backends.sdk.requests import Batch, CollectionSettings
from codeweaver_backends.sdk.vectors import unit_vectors
from codeweaver_backends.types import DistanceMetric, FloatMatrix
from codeweaver_chroma.dialect import GREATEST, INSTANT, LEAST, NUMBER, REMAINDER, SPELLING, has_remainder, order_key
from codeweaver_chroma.plugin import CAPABILITIES

__all__ = [
    "EXACT_SIZE",
    "LAYOUT",
    "Collection",
    "Rows",
    "creation",
    "engine_name",
    "listed_name",
    "rows_of",
    "split_uri",
]

LAYOUT: Final = 3
"""Counts the changes of what is stored."""
EXACT_SIZE: Final = CAPABILITIES.limits.exact_size
_SPACES: Final = {DistanceMetric.COSINE: "cosine", DistanceMetric.EUCLIDEAN: "l2", DistanceMetric.DOT_PRODUCT: "ip"}
_SUFFIX: Final = ".1"
"""Chroma's names end with a letter or a digit, and coded ones may not."""
_PROPERTY: Final = "codeweaver"


@dataclass(frozen=True, slots=True)
class Collection:
    """A collection as it was described."""

    settings: CollectionSettings
    incarnation: str
    """Chroma's id of it: one that is created again under its name has another."""
    terms_key: str
    """The metadata key of its terms, and of no other's.

    When Chroma deletes a collection it leaves lists behind, and they turn up in points that are written later, anywhere
    (its issue 7594). Under another key nobody asks for them.
    """

    @classmethod
    def read(cls, found: Mapping[str, Any]) -> Collection | None:
        """The collection that Chroma tells of; ``None`` if others made it. ``UnsupportedError`` for another layout."""
        name = _name(found)
        stored = None if name is None else CollectionSettings.from_json(name, _property(found), LAYOUT)
        return None if stored is None else cls(stored[0], str(found["id"]), str(stored[1]["terms_key"]))


def engine_name(name: str) -> str:
    """What Chroma calls the collection."""
    return encode_name(name) + _SUFFIX


def creation(settings: CollectionSettings) -> tuple[dict[str, Any], dict[str, Any], str]:
    """A new collection's metadata, its parameters of the graph, and the key of its terms."""
    terms_key = f"f{secrets.token_hex(4)}"
    # A search looks at as many candidates as an exact one has to.
    hnsw = {"space": _SPACES[settings.metric], "ef_search": EXACT_SIZE}
    return {_PROPERTY: settings.to_json(LAYOUT, terms_key=terms_key)}, hnsw, terms_key


def listed_name(found: Mapping[str, Any]) -> str | None:
    """The name of a collection of ours, whatever its layout; ``None`` if others made it."""
    name = _name(found)
    try:
        known = name is not None and CollectionSettings.from_json(name, _property(found), LAYOUT) is not None
    except UnsupportedError:
        known = True
    return name if known else None


def _name(found: Mapping[str, Any]) -> str | None:
    physical = str(found["name"])
    return decode_name(physical.removesuffix(_SUFFIX)) if physical.endswith(_SUFFIX) else None


def _property(found: Mapping[str, Any]) -> str | None:
    value = (found["metadata"] or {}).get(_PROPERTY)
    return value if isinstance(value, str) else None


# --- rows ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rows:
    """Points as Chroma takes them."""

    keys: Sequence[str]
    vectors: FloatMatrix
    metadatas: Sequence[Mapping[str, Any]]
    uris: Sequence[str]


def rows_of(collection: Collection, part: Batch) -> Rows:
    """The rows of points."""
    vectors, kept = part.vectors, [""] * len(part)
    if collection.settings.metric is DistanceMetric.COSINE:
        vectors, kept = unit_vectors(vectors)
    uris = [text + payload_json.decode() for text, payload_json in zip(kept, part.payload_json, strict=True)]
    return Rows(list(map(encode_id, part.ids)), vectors, _metadatas(part.payloads, collection.terms_key), uris)


def split_uri(uri: str) -> tuple[str, str]:
    """What ``restored`` needs of the vector, and the payload's JSON."""
    kept, brace, rest = uri.partition("{")
    return kept, brace + rest


def _metadatas(payloads: Sequence[Mapping[str, Any]], terms_key: str) -> list[dict[str, Any]]:
    entries = entries_of(payloads, SPELLING)
    # Chroma has no empty lists; with None it deletes the list that an older point had there.
    metadatas: list[dict[str, Any]] = [{terms_key: terms or None} for terms in entries.terms(SPELLING.separator)]
    for path, numbers in entries.numbers.items():
        _add_numbers(metadatas, path, numbers)
    for path, instants in entries.instants.items():
        code = INSTANT + SPELLING.path(path)
        for row, least, greatest in spans(instants):
            metadatas[row][LEAST + code] = least
            metadatas[row][GREATEST + code] = greatest
    return metadatas


def _add_numbers(metadatas: Sequence[dict[str, Any]], path: Path, numbers: Column[int | float]) -> None:
    code = SPELLING.path(path)
    least_name, greatest_name = LEAST + NUMBER + code, GREATEST + NUMBER + code
    for row, least, greatest in spans(numbers):
        low = order_key(least)
        high = low if greatest is least else order_key(greatest)
        metadata = metadatas[row]
        metadata[least_name] = low[0]
        metadata[greatest_name] = high[0]
        if has_remainder(low[0]):
            metadata[LEAST + REMAINDER + code] = low[1]
        if has_remainder(high[0]):
            metadata[GREATEST + REMAINDER + code] = high[1]
