"""What the formats of files have in common: where a point's parts stand, what a header says, how rows are read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from codeweaver_backends.transfer.report import TransferRefusedError
from codeweaver_backends.types import DistanceMetric, VectorPoint

__all__ = ["FORMAT", "Columns", "Header", "Reader"]

FORMAT: Final = "codeweaver-points/1"
"""The layout of the rows and of the header; a change of either is another number."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Where a file of others keeps what a point is made of."""

    id: str = "id"
    vector: str = "vector"
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
    def read(cls, content: dict[str, Any], file: Path) -> Header:
        """What ``as_json`` has made. Raises ``TransferRefusedError`` for another version."""
        if content.get("format") != FORMAT:
            raise TransferRefusedError(
                [f"{file.name}: the format {content.get('format')!r} is unknown; this version reads {FORMAT!r}"]
            )
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
            raise TransferRefusedError([f"{file.name}: the header is damaged: {error}"]) from None


class Reader(Protocol):
    """One format's way to read a file, row by row. Rows are counted from 1 in messages."""

    header: Header | None

    def rows(self, start: int, size: int) -> Iterator[list[VectorPoint]]:
        """Points from that row on (0 is the first), in lists of at most ``size``."""
        ...
