"""What the formats have in common: where a point's parts stand, what a header says, how rows are read."""

from __future__ import annotations

import datetime
import decimal
import math
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from codeweaver_backends.errors import BackendError
from codeweaver_backends.types import DistanceMetric

__all__ = ["FORMAT", "Columns", "Header", "ReadError", "Reader", "Rows", "json_value", "payload_columns"]

FORMAT: Final = "codeweaver-points/1"
"""The layout of the rows and of the header; a change of either is another number."""


class ReadError(BackendError, ValueError):
    """A source that cannot be read, or a row of it that is no point.

    The message names the source, the row (counted from 1) and the column; ``row`` and ``column`` have them again, where
    it is one row or one column that is wrong.
    """

    def __init__(self, source: str, what: str, *, row: int | None = None, column: str | None = None) -> None:
        where = source + ("" if row is None else f", row {row:,}") + ("" if column is None else f", column {column!r}")
        super().__init__(f"{where}: {what}")
        self.row = row
        self.column = column


@dataclass(frozen=True, slots=True)
class Columns:
    """Where a source of others keeps what a point is made of."""

    id: str | None = None
    """If absent ``id``, and of an ``.npz`` ``ids``; where that has none, and of an array alone, the rows' numbers,
    counted from 0."""
    vector: str | None = None
    """If absent ``vector``, and of an ``.npz`` ``vectors``."""
    payload: str | None = None
    """One column that is the payload: a JSON object, or its text. If absent, the payload is made of columns."""
    fields: Sequence[str] | None = None
    """The columns to make the payload of; all the others if absent."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a file of ``export_points`` says of its collection."""

    collection: str
    dimension: int
    metric: DistanceMetric
    points: int | None = None
    payload_indexes: dict[str, str] = field(default_factory=dict)
    sparse_index: dict[str, Any] | None = None
    """What ``create_sparse_index`` was given."""
    vector_index: str | dict[str, Any] = "auto"
    """What ``create_collection`` was given, where the source has a choice."""

    def as_json(self) -> dict[str, Any]:
        """As it stands in the file."""
        return {
            "format": FORMAT,
            "collection": self.collection,
            "dimension": self.dimension,
            "metric": self.metric.value,
            "payload_indexes": self.payload_indexes,
            "sparse_index": self.sparse_index,
            "vector_index": self.vector_index,
            "points": self.points,
        }

    @classmethod
    def read(cls, content: Mapping[str, Any], source: str) -> Header:
        """What ``as_json`` has made. Raises ``ReadError`` for another version."""
        if content.get("format") != FORMAT:
            raise ReadError(source, f"the format {content.get('format')!r} is unknown; this version reads {FORMAT!r}")
        try:
            metric = DistanceMetric(content["metric"])
            index = content.get("sparse_index")
            if index is not None:  # JSON has no tuples
                index = {**index, "fields": [tuple(path) for path in index["fields"]]}
            indexes = content["payload_indexes"]
            return cls(
                content["collection"],
                content["dimension"],
                metric,
                content["points"],
                indexes,
                index,
                content.get("vector_index", "auto"),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ReadError(source, f"the header is damaged: {error}") from None


@dataclass(slots=True)
class Rows:
    """Some rows as a format has them. Ids and vectors are not judged yet; payloads are JSON objects."""

    ids: Sequence[Any]
    vectors: Any
    """Of shape ``(rows, dimension)``, any real type; or a list of lists, which may differ in length."""
    payloads: Sequence[Mapping[str, Any]]
    sparse: Sequence[Any] | None = None


class Reader(Protocol):
    """One format's way to read a source."""

    header: Header | None
    source: str
    """As messages name it."""
    vector: str
    """The column of the vectors."""
    id: str | None
    """The column of the ids; ``None`` where there is none."""
    unseen: set[str]
    """Fields of the payload that were asked for, and that no row had so far."""

    def rows(self, start: int, size: int) -> Iterator[Rows]:
        """Rows from that one on (0 is the first), at most ``size`` at once. Raises ``ReadError``."""
        ...


def payload_columns(columns: Columns, names: Sequence[str], taken: Sequence[str | None], source: str) -> list[str]:
    """The columns that the payload is made of: the one that is it, those that are named, or all that are not taken.

    Raises ``ReadError`` where a column that is wanted is not there, or is there twice.
    """
    if columns.payload is not None:
        fields = [columns.payload]
    elif columns.fields is not None:
        fields = list(columns.fields)
    else:
        fields = [name for name in names if name not in taken]
    wanted = [name for name in (*taken, *fields) if name is not None]
    if missing := [name for name in dict.fromkeys(wanted) if name not in names]:
        told = ", ".join(map(repr, names)) or "none"
        raise ReadError(source, f"there is no column {', '.join(map(repr, missing))}; there are {told}")
    if twice := [name for name in dict.fromkeys(wanted) if names.count(name) > 1]:
        raise ReadError(source, f"more than one column is named {', '.join(map(repr, twice))}")
    return list(dict.fromkeys(fields))


def json_value(value: Any, source: str, row: int, column: str) -> Any:
    """A value of a column as JSON says it: dates and times become RFC 3339 texts, UUIDs and decimals texts.

    Raises ``ReadError`` for what JSON has no word for; ``row`` is counted from 0.
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, uuid.UUID | decimal.Decimal):
        return str(value)
    if isinstance(value, list):
        return [json_value(one, source, row, column) for one in value]
    if isinstance(value, dict):
        return {key: json_value(one, source, row, column) for key, one in value.items()}
    what = "NaN or infinity" if isinstance(value, float) else f"a {type(value).__name__}"
    raise ReadError(source, f"{what}, for which JSON has no word", row=row + 1, column=column)
