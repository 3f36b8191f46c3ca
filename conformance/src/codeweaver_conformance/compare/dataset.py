"""What is written and searched: points, queries and filters, whatever they were read from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from codeweaver_backends import FilterCondition, SearchFilter
from codeweaver_backends.types import DistanceMetric, FloatMatrix, Payload, PointId

__all__ = ["Caption", "Dataset", "Identifiers", "NamedFilter", "derive_filters", "spread"]

_LOOKED_AT: Final = 5_000
"""Payloads that filters are made of."""
_FEW: Final = 64
"""So many different values, at most, make a field one of categories."""
_WORD_LENGTH: Final = 4
_TYPES: Final = {"category": "keyword", "list": "keyword", "bool": "bool", "integer": "integer", "float": "float"}


@dataclass(frozen=True, slots=True)
class NamedFilter:
    """A filter and its name in reports."""

    label: str
    filter: SearchFilter


@dataclass(frozen=True, slots=True)
class Caption:
    """What is shown of a point to people."""

    name: str
    place: str = ""
    summary: str = ""


@dataclass(frozen=True, slots=True)
class Identifiers:
    """Searches by an identifier's words: queries, their vectors, and the id of the definition that each names."""

    queries: Sequence[str]
    vectors: FloatMatrix
    ids: Sequence[str]


@dataclass(frozen=True, slots=True)
class Dataset:
    """Points and what is asked of them. It can be pickled, for a process of an engine's own."""

    title: str
    """One line: what it is, and how much of it."""
    about: Mapping[str, Any]
    """The same for programs."""
    ids: Sequence[PointId]
    vectors: FloatMatrix
    """Of shape ``(points, dimension)``."""
    payloads: Sequence[Payload]
    queries: Sequence[str]
    """The names of the queries."""
    query_vectors: FloatMatrix
    """Of shape ``(queries, dimension)``."""
    metric: DistanceMetric = DistanceMetric.COSINE
    captions: Sequence[Caption] = ()
    """One a point, or none at all."""
    filters: Sequence[NamedFilter] = ()
    indexes: Mapping[str, str] = field(default_factory=dict)
    """The payload fields to declare, to backends that index declared fields. Others stay undeclared on purpose."""
    identifiers: Identifiers | None = None
    """Of code, where engines with hybrid search are asked for it."""
    notes: Sequence[str] = ()
    """What was done to the data that a reader of figures has to know."""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def dimension(self) -> int:
        """The length of a vector."""
        return int(self.vectors.shape[1])

    def sample(self, limit: int) -> Dataset:
        """At most so many points, evenly spread over the whole, the same ones every time. Queries stay."""
        if limit >= len(self):
            return self
        rows = spread(len(self), limit)
        return replace(
            self,
            identifiers=None,  # of some there is no definition left
            ids=[self.ids[row] for row in rows],
            vectors=np.ascontiguousarray(self.vectors[rows]),
            payloads=[self.payloads[row] for row in rows],
            captions=[self.captions[row] for row in rows] if self.captions else (),
        )

    def with_dimension(self, dimension: int) -> Dataset:
        """The vectors, repeated or cut to another length: what it costs is measured, what it means may change."""
        if dimension == self.dimension:
            return self
        columns = np.arange(dimension) % self.dimension
        named = self.identifiers
        note = f"The vectors, of dimension {self.dimension}, were repeated or cut to the dimension {dimension}."
        return replace(
            self,
            vectors=np.ascontiguousarray(self.vectors[:, columns]),
            query_vectors=np.ascontiguousarray(self.query_vectors[:, columns]),
            identifiers=named and replace(named, vectors=np.ascontiguousarray(named.vectors[:, columns])),
            notes=(*self.notes, note),
        )

    def with_filters(self) -> Dataset:
        """With filters made of its payloads."""
        filters, indexes = derive_filters(self.payloads)
        return replace(self, filters=filters, indexes=indexes)


def spread(total: int, limit: int) -> list[int]:
    """At most ``limit`` rows of ``total``, evenly spread."""
    count = min(limit, total)
    return [row * total // count for row in range(count)]


# --- filters ---------------------------------------------------------------------------------------------------------


def derive_filters(payloads: Sequence[Payload]) -> tuple[list[NamedFilter], dict[str, str]]:
    """One filter of every sort that the payloads allow, and the fields that are worth declaring, with their types.

    Equality, membership, a boolean, a range, a list's elements, a substring, a negation, nesting.
    """
    looked_at = [payloads[row] for row in spread(len(payloads), _LOOKED_AT)]
    fields = _fields(looked_at)
    simple = dict(_simple(fields))
    filters = [NamedFilter(*one) for one in _named(simple)]
    indexes = {name: _TYPES[kind] for kind, (name, _) in fields.items() if kind in _TYPES}
    return filters, indexes


def _fields(payloads: Sequence[Payload]) -> dict[str, tuple[str, list[Any]]]:
    """Per sort of field one of it, and its values: the first, and of categories the plainest."""
    columns: dict[str, list[Any]] = {}
    for payload in payloads:
        for name, value in payload.items():
            columns.setdefault(name, []).append(value)
    found: dict[str, tuple[str, list[Any]]] = {}
    for name, values in columns.items():
        if not name or "." in name or (kind := _kind(values)) is None:
            continue
        if kind not in found or (kind == "category" and _plainness(values) < _plainness(found[kind][1])):
            found[kind] = name, values
    return found


def _plainness(texts: Sequence[str | None]) -> tuple[int, int]:
    """Few different values, and short ones."""
    different = {text for text in texts if text is not None}
    return len(different), sum(map(len, different))


def _kind(values: Sequence[Any]) -> str | None:
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return "bool"
    if kinds == {int}:
        return "integer"
    if kinds and kinds <= {int, float}:
        return "float"
    if kinds == {list}:
        texts = [one for value in values if value for one in value]
        return "list" if texts and all(isinstance(one, str) for one in texts) else None
    if kinds != {str}:
        return None
    different = len(set(values))
    if different == 1:
        return None  # a filter on it would pass all points, or none
    return "category" if different <= min(_FEW, max(4, len(values) // 4)) else "text"


def _simple(fields: Mapping[str, tuple[str, list[Any]]]) -> Iterator[tuple[str, tuple[str, list[FilterCondition]]]]:
    """Per sort: a label and conditions that some points fulfil."""
    for kind, (name, values) in fields.items():
        given = [value for value in values if value is not None]
        if kind == "bool":
            yield kind, (f"{name} is true", [FilterCondition(name, "eq", True)])
        elif kind in ("integer", "float"):
            low, high = (type(given[0])(one) for one in np.percentile(given, [25, 75]))
            bounds = [FilterCondition(name, "ge", low), FilterCondition(name, "le", high)]
            shown = [f"{one:,}" if kind == "integer" else f"{one:,.4g}" for one in (low, high)]
            yield kind, (f"{name} from {' to '.join(shown)}", bounds)
        elif kind == "category":
            top = [one for one, _ in Counter(given).most_common(3)]
            yield kind, (f"{name} is {top[0]}", [FilterCondition(name, "eq", top[0])])
            yield "membership", (f"{name} is one of {len(top)}", [FilterCondition(name, "in", top)])
        elif kind == "list":
            top = [one for one, _ in Counter(text for value in given for text in value).most_common(2)]
            conditions = [FilterCondition(name, "contains", one) for one in top]
            yield kind, (f"{name} holds {' or '.join(top)}", conditions)
        elif word := _common_word(given):
            yield kind, (f"{name} contains {word!r}", [FilterCondition(name, "contains", word)])


def _common_word(texts: Sequence[str]) -> str:
    words = Counter(
        word for text in texts for word in set(_words_of(text[:400])) if len(word) >= _WORD_LENGTH and word.isascii()
    )
    return min(words, key=lambda word: (-words[word], word), default="")


def _words_of(text: str) -> list[str]:
    return "".join(letter if letter.isalpha() else " " for letter in text).split()


def _named(simple: Mapping[str, tuple[str, list[FilterCondition]]]) -> Iterator[tuple[str, SearchFilter]]:
    for kind, (label, conditions) in simple.items():
        yield label, SearchFilter(should=conditions) if kind == "list" else SearchFilter(must=conditions)
    selective = [simple[kind] for kind in ("category", "list", "text") if kind in simple]
    ranges = [simple[kind] for kind in ("integer", "float", "bool") if kind in simple]
    if selective:
        label, conditions = selective[-1]
        yield f"not: {label}", SearchFilter(must_not=conditions)
    if selective and ranges:
        (one, several), (other, bounds) = selective[0], ranges[0]
        nested = [SearchFilter(must=bounds, must_not=several), SearchFilter(must=several, must_not=[*bounds[:1]])]
        yield f"either {other}, or {one}", SearchFilter(should=nested)
