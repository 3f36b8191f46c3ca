"""What is stored: the columns of a collection, its settings, the rows of its points, and where the engines differ.

The name of the vector's column holds a random incarnation: a writer or a search that still believes in a collection
that was deleted and created again names a column that is not there any more, and fails.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import orjson

from codeweaver_backends.capabilities import BackendCapabilities
from codeweaver_backends.errors import LimitExceededError, UnsupportedError
from codeweaver_backends.sdk.hybrid.vectors import SparseRows
from codeweaver_backends.sdk.index.codes import encode_id
from codeweaver_backends.sdk.index.facts import Path
from codeweaver_backends.sdk.index.terms import Column, Entries, entries_of, spans
from codeweaver_backends.sdk.requests import Batch, CollectionSettings, Slot
from codeweaver_backends.sdk.vectors import unit_vectors
from codeweaver_backends.types import DistanceMetric, PointId, Scalar, SparseVector
from codeweaver_milvus.dialect import (
    CODE,
    MARK,
    NO_HIGH,
    NO_LOW,
    ArrayDialect,
    Columns,
    Declared,
    MilvusDialect,
    TextDialect,
    range_key,
    range_name,
)
from codeweaver_milvus.library import AsyncMilvusClient, CollectionSchema, DataType
from codeweaver_milvus.plugin import CAPABILITIES

__all__ = ["LITE", "METRICS", "Schema", "Traits", "key_of", "sparse_vector", "sparse_vectors", "traits_of"]

LAYOUT: Final = 3
"""Counts the changes of what is stored."""
METRICS: Final = {
    DistanceMetric.COSINE: "IP",
    DistanceMetric.EUCLIDEAN: "L2",
    DistanceMetric.DOT_PRODUCT: "IP",
}
"""What Milvus computes; vectors of a cosine are stored with length 1."""

_PROPERTY: Final = "codeweaver"
_KEY_BYTES: Final = 1 + 512 * 9
"""A string id of 512 characters, each of them coded as three of three bytes."""
_MAX_COLUMNS: Final = 64
_TEXT_BYTES: Final = 65_535
_SMALL: Final = 3_072
"""Bytes of JSON that no limit refuses: of each of them comes one term at most, and 18 bytes of range keys."""


def key_of(point_id: PointId) -> str:
    """The primary key of a point."""
    return encode_id(point_id, CODE)


# --- engines ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Traits:
    """What tells one kind of engine from the others. A difference goes here or into a dialect, into no branch."""

    dialect: type[MilvusDialect]
    dynamic: bool
    """Range keys are dynamic fields, and so is any name that the engine does not know: it is not refused."""
    capabilities: BackendCapabilities
    """What is claimed and enforced."""
    text_bytes: int = _TEXT_BYTES
    """The longest text of a column."""
    flush_rows: int | None = None
    """Unflushed rows that make a flush pay before the next read; ``None``: it never does."""
    flush_bytes: int = 32 << 20
    """Unflushed bytes that call for a flush of ours, before the engine starts one in the middle of a read."""
    max_terms: int | None = None
    """Terms of one point."""
    max_ranges_bytes: int | None = None
    """Range keys of one point, as JSON."""
    page: Mapping[str, str] = field(default_factory=dict)
    """Options of a query that make its rows come in the order of their ids."""
    partial_update: bool = False
    """An upsert may name some columns only; without that a row is read and written as a whole."""


_ITERATOR: Final = {"iterator": "True", "reduce_stop_for_best": "True"}
_SERVER_LIMITS: Final = CAPABILITIES.limits.model_copy(update={"max_payload_bytes": 65_500})
_SERVER_CLAIMS: Final = CAPABILITIES.model_copy(update={"replace_is_atomic": False, "limits": _SERVER_LIMITS})

LITE: Final = Traits(
    TextDialect,
    dynamic=True,
    capabilities=CAPABILITIES.model_copy(update={"engine_options": {}}),
    text_bytes=1 << 30,
    flush_rows=500,
    page=_ITERATOR,
    partial_update=True,
)
_SERVER: Final = Traits(
    ArrayDialect,
    dynamic=False,
    capabilities=_SERVER_CLAIMS,
    max_terms=4_096,
    max_ranges_bytes=65_536,
    page=_ITERATOR,
    partial_update=True,
)
_WHOLE_ROWS: Final = replace(_SERVER, partial_update=False)
_WITHOUT_SPARSE: Final = replace(
    _WHOLE_ROWS,
    capabilities=_SERVER_CLAIMS.model_copy(update={"supports_hybrid_search": False}),
    max_terms=None,
    page={},
)
_SERVERS: Final = (((2, 6, 2), _SERVER), ((2, 4, 0), _WHOLE_ROWS), ((2, 3, 0), _WITHOUT_SPARSE))
"""The first whose version is not above the server's is the server's."""


def traits_of(version: str) -> Traits:
    """The traits of the engine that states this version."""
    if version.startswith("milvus_lite"):
        return LITE
    match = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", version)
    found = tuple(int(part or 0) for part in match.groups()) if match else ()
    for least, traits in _SERVERS:
        if found >= least:
            return traits
    oldest = ".".join(map(str, _SERVERS[-1][0][:2]))
    raise UnsupportedError(f"Milvus {version} is not supported; the oldest is {oldest}")


# --- columns ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Schema:
    """The columns of one collection: beside ``id`` and ``payload_json``, under a cosine, ``kept`` for ``restored``."""

    settings: CollectionSettings
    incarnation: str
    traits: Traits
    vector: str
    dialect: MilvusDialect
    slots: Mapping[Slot, str]
    """The columns of sparse vectors; none in a collection that was made where they are not, or not yet, supported."""
    definition: bytes | None = None
    """Of the sparse index, as it was when the collection was described."""

    @classmethod
    def of(
        cls,
        settings: CollectionSettings,
        traits: Traits,
        incarnation: str | None = None,
        *,
        has_slots: bool | None = None,
        definition: bytes | None = None,
    ) -> Schema:
        """The schema of a collection, a new incarnation unless one is named."""
        mark = incarnation or secrets.token_hex(4)
        if has_slots is None:
            has_slots = traits.capabilities.supports_hybrid_search
        slots = {slot: f"{slot.value}_{mark}" for slot in Slot} if has_slots else {}
        declared = {}
        for number, (name, kind) in enumerate(settings.payload_indexes.items()):
            instant = {"datetime": True, "integer": False, "float": False}.get(kind)
            values, low, high = (f"{column}{number}_{mark}" for column in "clh")
            declared[tuple(name.split("."))] = Declared(values, low, high, instant)
        count = 6 + len(slots) + sum(1 if one.instant is None else 3 for one in declared.values())
        if count > _MAX_COLUMNS:
            raise LimitExceededError(
                f"payload_indexes need {count} columns; at most {_MAX_COLUMNS} are possible", limit="payload_indexes"
            )
        columns = Columns(f"f_{mark}", "$meta" if traits.dynamic else f"r_{mark}", declared)
        return cls(settings, mark, traits, f"v_{mark}", traits.dialect(columns), slots, definition)

    @classmethod
    def described(cls, name: str, description: Mapping[str, Any], traits: Traits) -> Schema | None:
        """The schema that ``describe_collection`` tells of; ``None`` for a collection that is not ours.

        Raises ``UnsupportedError`` for one of another layout.
        """
        properties = description.get("properties", {})
        found = CollectionSettings.from_json(name, properties.get(_PROPERTY), LAYOUT)
        if found is None:
            return None
        settings, own = found
        mark = own["incarnation"]
        definition = properties.get(_definition_property(mark))
        return cls.of(
            settings,
            traits,
            mark,
            has_slots=own.get("slots", False),
            definition=None if definition is None else definition.encode(),
        )

    @property
    def restores(self) -> bool:
        """Whether vectors are stored in another form than they were given."""
        return self.settings.metric is DistanceMetric.COSINE

    def properties(self) -> dict[str, str]:
        """What is kept with the collection, for ``described``."""
        return {_PROPERTY: self.settings.to_json(LAYOUT, incarnation=self.incarnation, slots=bool(self.slots))}

    def definition_properties(self, definition: bytes) -> dict[str, str]:
        """The property that holds a sparse index' definition. In another incarnation nobody reads it."""
        return {_definition_property(self.incarnation): definition.decode()}

    def slot(self, slot: Slot) -> str:
        """The column of a slot. Raises ``UnsupportedError`` for a collection that has none."""
        try:
            return self.slots[slot]
        except KeyError:
            raise UnsupportedError(
                f"the collection {self.settings.name!r} was made without columns for sparse vectors, which Milvus adds"
                " to no collection: copy its points into a new one",
                capability="supports_hybrid_search",
            ) from None

    @property
    def indexes(self) -> dict[str, tuple[str, str]]:
        """The type and the metric of each vector column's index."""
        dense = {self.vector: ("FLAT", METRICS[self.settings.metric])}
        return dense | dict.fromkeys(self.slots.values(), ("SPARSE_INVERTED_INDEX", "IP"))

    def fields(self) -> CollectionSchema:
        """The columns, as the client takes them."""
        columns, terms = self.dialect.columns, self.dialect.terms_field
        schema = AsyncMilvusClient.create_schema(enable_dynamic_field=self.traits.dynamic)
        schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=_KEY_BYTES)
        schema.add_field(self.vector, DataType.FLOAT_VECTOR, dim=self.settings.dimension)
        schema.add_field("payload_json", DataType.VARCHAR, max_length=self.traits.text_bytes)
        schema.add_field(columns.terms, **terms)
        for column in self.slots.values():
            schema.add_field(column, DataType.SPARSE_FLOAT_VECTOR)
        if self.restores:
            schema.add_field("kept", DataType.VARCHAR, max_length=_TEXT_BYTES)
        if not self.traits.dynamic:
            schema.add_field(columns.ranges, DataType.JSON)
        for one in columns.declared.values():
            schema.add_field(one.values, **terms)
            if one.instant is not None:
                schema.add_field(one.low, DataType.VARCHAR, max_length=32)
                schema.add_field(one.high, DataType.VARCHAR, max_length=32)
        return schema

    @property
    def names(self) -> list[str]:
        """The columns."""
        return [one.name for one in self.fields().fields]

    # --- rows ---

    def check(self, batch: Batch) -> None:
        """Refuse what the collection has no columns for, before anything is written.

        That are sparse vectors, and a payload of more terms or range keys than the engine holds.
        """
        traits = self.traits
        if batch.sparse is not None and len(batch.sparse.indices):
            self.slot(Slot.SPARSE)
        large = [row for row, text in enumerate(batch.payload_json) if len(text) > _SMALL]
        if not large or (traits.max_terms is None and traits.max_ranges_bytes is None):
            return
        payloads = [batch.payloads[row] for row in large]
        entries = entries_of(payloads, self.dialect.spelling)
        for terms, ranges in zip(entries.terms(MARK), _ranges(entries, len(payloads)), strict=True):
            if traits.max_terms is not None and len(terms) > traits.max_terms:
                raise LimitExceededError(
                    f"payload has {len(terms)} facts; the engine holds {traits.max_terms}", limit="max_payload_bytes"
                )
            size = len(orjson.dumps(ranges))
            if traits.max_ranges_bytes is not None and size > traits.max_ranges_bytes:
                raise LimitExceededError(
                    f"the payload's numbers and instants take {size} bytes; the engine holds {traits.max_ranges_bytes}",
                    limit="max_payload_bytes",
                )

    def rows(self, batch: Batch) -> list[dict[str, Any]]:
        """The rows of points, as the client takes them."""
        columns, stored = self.dialect.columns, self.dialect.stored
        entries = entries_of(batch.payloads, self.dialect.spelling)
        vectors, kept = unit_vectors(batch.vectors) if self.restores else (batch.vectors, [])
        ranges = _ranges(entries, len(batch))
        rows: list[dict[str, Any]] = [
            {"id": key_of(point_id), self.vector: vector, "payload_json": text.decode(), columns.terms: stored(terms)}
            for point_id, vector, text, terms in zip(
                batch.ids, vectors.tolist(), batch.payload_json, entries.joined, strict=True
            )
        ]
        if self.restores:
            for row, text in zip(rows, kept, strict=True):
                row["kept"] = text
        for slot, column in self.slots.items():
            for row, vector in zip(rows, sparse_vectors(batch.slot(slot), len(batch)), strict=True):
                row[column] = vector
        for path, one in columns.declared.items():
            self._declare(rows, path, one, batch.payloads, ranges)
        for row, own in zip(rows, ranges, strict=True):
            if self.traits.dynamic:
                row.update(own)
            else:
                row[columns.ranges] = own
        return rows

    def _declare(
        self,
        rows: list[dict[str, Any]],
        path: Path,
        declared: Declared,
        payloads: Sequence[Mapping[str, Any]],
        ranges: Sequence[Mapping[str, str]],
    ) -> None:
        stored, value = self.dialect.stored, self.dialect.spelling.value
        for row, payload in zip(rows, payloads, strict=True):
            row[declared.values] = stored(MARK.join(map(value, _scalars_at(payload, path))))
        if declared.instant is not None:
            low = range_name(path, instant=declared.instant, high=False)
            high = range_name(path, instant=declared.instant, high=True)
            for row, own in zip(rows, ranges, strict=True):
                row[declared.low], row[declared.high] = own.get(low, NO_LOW), own.get(high, NO_HIGH)


def _definition_property(incarnation: str) -> str:
    return f"{_PROPERTY}_index_{incarnation}"


# --- sparse vectors --------------------------------------------------------------------------------------------------

_ABSENT: Final = {(1 << 32) - 2: 1.0}
"""Stands for no sparse vector, as engines refuse an empty one. No query names this index, the last that they take."""


def sparse_vectors(rows: SparseRows | None, count: int) -> list[dict[int, float]]:
    """``count`` sparse vectors as they are stored."""
    return [_ABSENT] * count if rows is None else [row.as_dict() or _ABSENT for row in rows]


def sparse_vector(stored: Mapping[int, float]) -> SparseVector | None:
    """The sparse vector of a point, as it was given."""
    return None if stored.keys() == _ABSENT.keys() else dict(stored)


# --- payloads --------------------------------------------------------------------------------------------------------


def _ranges(entries: Entries, count: int) -> list[dict[str, str]]:
    """The range keys of each point."""
    found: list[dict[str, str]] = [{} for _ in range(count)]
    kinds: Sequence[tuple[bool, Mapping[Path, Column[Any]]]] = ((False, entries.numbers), (True, entries.instants))
    for instant, columns in kinds:
        for path, column in columns.items():
            low, high = (range_name(path, instant=instant, high=end) for end in (False, True))
            for row, least, greatest in spans(column):
                own = found[row]
                own[low] = key = range_key(least, instant=instant)
                own[high] = key if least is greatest else range_key(greatest, instant=instant)
    return found


def _scalars_at(payload: Mapping[str, Any], path: Path) -> list[Scalar]:
    """The scalar at a path, or those in the list there."""
    value: Any = payload
    for key in path:
        if not isinstance(value, Mapping) or key not in value:
            return []
        value = value[key]
    found = value if isinstance(value, list | tuple) else [value]
    return [one for one in found if one is None or isinstance(one, str | int | float)]
