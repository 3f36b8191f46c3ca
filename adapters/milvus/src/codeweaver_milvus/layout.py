"""The columns of one collection, and the rows that fill them.

Their names carry a random mark of the collection's incarnation: who still believes in a collection that was deleted
and created again names columns that are not there any more, and fails instead of answering by the wrong settings.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
from pymilvus import AsyncMilvusClient, CollectionSchema, DataType

from codeweaver_backends.errors import LimitExceededError
from codeweaver_backends.sdk.index.facts import Path
from codeweaver_backends.sdk.requests import CollectionSettings
from codeweaver_backends.types import DistanceMetric
from codeweaver_milvus.convert import NO_HIGH, NO_LOW, Facts, facts_of, path_code, range_name
from codeweaver_milvus.traits import Traits

__all__ = ["METRICS", "Declared", "Layout"]

METRICS: Final = {
    DistanceMetric.COSINE: "IP",
    DistanceMetric.EUCLIDEAN: "L2",
    DistanceMetric.DOT_PRODUCT: "IP",
}
"""What Milvus computes; vectors of a cosine are stored with length 1."""

_PROPERTY: Final = "codeweaver"
_KEY_BYTES: Final = 2 + 512 * 9
"""A string id of 512 characters, each of them coded as three of three bytes."""
_MAX_COLUMNS: Final = 64


@dataclass(frozen=True, slots=True)
class Declared:
    """The columns of a field that the user declared."""

    values: str
    low: str
    high: str
    instant: bool | None
    """Whether ``low`` and ``high`` are instants or numbers; ``None`` where there are none."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of one collection."""

    settings: CollectionSettings
    mark: str
    vector: str
    facts: str
    ranges: str
    declared: Mapping[Path, Declared]

    @classmethod
    def of(cls, settings: CollectionSettings, traits: Traits, mark: str | None = None) -> Layout:
        """The layout of a collection, a new incarnation unless ``mark`` names one."""
        mark = mark or secrets.token_hex(4)
        declared = {}
        for number, (name, kind) in enumerate(settings.payload_indexes.items()):
            instant = {"datetime": True, "integer": False, "float": False}.get(kind)
            values, low, high = (f"{column}{number}_{mark}" for column in "clh")
            declared[tuple(name.split("."))] = Declared(values, low, high, instant)
        ranges = "$meta" if traits.dynamic else f"r_{mark}"
        layout = cls(settings, mark, f"v_{mark}", f"f_{mark}", ranges, declared)
        columns = 5 + sum(1 if one.instant is None else 3 for one in declared.values())
        if columns > _MAX_COLUMNS:
            raise LimitExceededError(
                f"payload_indexes need {columns} columns; at most {_MAX_COLUMNS} are possible", limit="payload_indexes"
            )
        return layout

    @classmethod
    def described(cls, name: str, description: Mapping[str, Any], traits: Traits) -> Layout | None:
        """The layout that ``describe_collection`` tells of, or ``None`` for a collection that is not ours."""
        try:
            known = orjson.loads(description["properties"][_PROPERTY])
            vector = next(one for one in description["fields"] if one["name"] == f"v_{known['mark']}")
        except (KeyError, StopIteration, orjson.JSONDecodeError):
            return None
        metric, dimension = DistanceMetric(known["metric"]), int(vector["params"]["dim"])
        return cls.of(CollectionSettings(name, dimension, metric, known["payload_indexes"]), traits, known["mark"])

    def properties(self) -> dict[str, str]:
        """What is kept with the collection, for ``described``."""
        known = {
            "format": 1,
            "mark": self.mark,
            "metric": self.settings.metric.value,
            "payload_indexes": dict(self.settings.payload_indexes),
        }
        return {_PROPERTY: orjson.dumps(known).decode()}

    def schema(self, traits: Traits) -> CollectionSchema:
        """The columns, as the client takes them."""
        schema = AsyncMilvusClient.create_schema(enable_dynamic_field=traits.dynamic)
        schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=_KEY_BYTES)
        schema.add_field(self.vector, DataType.FLOAT_VECTOR, dim=self.settings.dimension)
        schema.add_field("doc", DataType.VARCHAR, max_length=traits.text_bytes)
        schema.add_field(self.facts, **traits.tokens.schema())
        if not traits.dynamic:
            schema.add_field(self.ranges, DataType.JSON)
        for one in self.declared.values():
            schema.add_field(one.values, **traits.tokens.schema())
            if one.instant is not None:
                schema.add_field(one.low, DataType.VARCHAR, max_length=32)
                schema.add_field(one.high, DataType.VARCHAR, max_length=32)
        return schema

    def row(self, traits: Traits, key: str, text: str, payload: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
        """The row of a point, without its vector, and about how many bytes it takes."""
        facts = facts_of(payload, self.declared)
        _check(facts, traits)
        if len(text) > traits.text_bytes // 4 and len(text.encode()) > traits.text_bytes:
            raise LimitExceededError(
                "the payload leaves no room for a vector of numbers so different in size", limit="max_payload_bytes"
            )
        row = {"id": key, "doc": text, self.facts: traits.tokens.store(facts.tokens)}
        if traits.dynamic:
            row.update(facts.ranges)
        else:
            row[self.ranges] = facts.ranges
        for path, one in self.declared.items():
            row[one.values] = traits.tokens.store(facts.declared.get(path, ()))
            if one.instant is not None:
                end = path_code(path).key
                row[one.low] = facts.ranges.get(range_name(end, instant=one.instant, high=False), NO_LOW)
                row[one.high] = facts.ranges.get(range_name(end, instant=one.instant, high=True), NO_HIGH)
        return row, 2 * (len(text) + sum(map(len, facts.tokens)) + 32 * len(facts.ranges))


def _check(facts: Facts, traits: Traits) -> None:
    if traits.max_tokens is not None and len(facts.tokens) > traits.max_tokens:
        raise LimitExceededError(
            f"payload has {len(facts.tokens)} facts; the engine holds {traits.max_tokens}", limit="max_payload_bytes"
        )
    # A range key takes 45 bytes at most: only very many can be too much.
    if traits.max_ranges_bytes is not None and len(facts.ranges) * 45 > traits.max_ranges_bytes:
        size = len(orjson.dumps(facts.ranges))
        if size > traits.max_ranges_bytes:
            raise LimitExceededError(
                f"the payload's numbers and instants take {size} bytes; the engine holds {traits.max_ranges_bytes}",
                limit="max_payload_bytes",
            )
