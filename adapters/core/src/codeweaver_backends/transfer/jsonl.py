"""JSON lines: one object a line.

Ours begins with a header, ``{"format": "codeweaver-points/1", …}``; then each line is
``{"id": …, "vector": […], "payload": {…}, "sparse": null}``. Numbers of vectors have the digits that make the same
float32. A file of others has no header, and keys that ``Columns`` names.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import orjson

from codeweaver_backends.transfer.layout import Columns, Header
from codeweaver_backends.transfer.report import TransferRefusedError
from codeweaver_backends.types import VectorPoint

__all__ = ["JSONLinesReader", "JSONLinesWriter"]

_HEADER_ROOM: Final = 24
"""Spaces after the header, for the count of points that is known at the end."""
_OURS: Final = Columns("id", "vector", "payload")


class JSONLinesReader:
    """Reads both kinds."""

    def __init__(self, file: Path, columns: Columns | None) -> None:
        self._file = file
        self.header: Header | None = None
        if columns is None:
            with file.open("rb") as stream:
                first = self._parse(stream.readline(), 0) if file.stat().st_size else {}
            if "format" in first and "metric" in first:
                self.header = Header.read(first, file)
        self._columns = _OURS if self.header else columns or Columns()

    def rows(self, start: int, size: int) -> Iterator[list[VectorPoint]]:
        points: list[VectorPoint] = []
        row = -1
        with self._file.open("rb") as stream:
            if self.header:
                stream.readline()
            for line in stream:
                if not line.strip():
                    continue
                row += 1
                if row < start:
                    continue
                points.append(self._point(self._parse(line, row), row))
                if len(points) == size:
                    yield points
                    points = []
        if points:
            yield points

    def _parse(self, line: bytes, row: int) -> dict[str, Any]:
        try:
            found = orjson.loads(line)
        except ValueError:
            raise self._wrong(row, "this is no JSON") from None
        if not isinstance(found, dict):
            raise self._wrong(row, "this is no JSON object")
        return found

    def _point(self, found: dict[str, Any], row: int) -> VectorPoint:
        columns = self._columns
        for name in (columns.id, columns.vector, *((columns.payload,) if columns.payload else ())):
            if name not in found:
                raise self._wrong(row, f"there is no {name!r}; there are {', '.join(map(repr, found))}")
        point_id, vector = found.pop(columns.id), found.pop(columns.vector)
        sparse = found.pop("sparse", None) if self.header else None
        if not isinstance(vector, list):
            raise self._wrong(row, f"{columns.vector!r} is no list of numbers")
        if columns.payload:
            payload = found[columns.payload]
            if isinstance(payload, str):
                payload = self._parse(payload.encode(), row)
            if not isinstance(payload, dict | None):
                raise self._wrong(row, f"{columns.payload!r} is no JSON object")
        else:
            payload = found if columns.fields is None else {name: found.get(name) for name in columns.fields}
        return VectorPoint(point_id, vector, payload or {}, sparse)

    def _wrong(self, row: int, what: str) -> TransferRefusedError:
        return TransferRefusedError([f"{self._file.name}, row {row + 1:,}: {what}"])


class JSONLinesWriter:
    """Writes ours."""

    def __init__(self, stream: IO[bytes], header: Header) -> None:
        self._stream = stream
        self._header = header
        self._points = 0
        self._room = len(orjson.dumps(header.as_json())) + _HEADER_ROOM
        stream.write(b" " * self._room + b"\n")

    def write(self, points: list[VectorPoint]) -> None:
        """Add points."""
        for point in points:
            row = {
                "id": point.id,
                "vector": np.asarray(point.vector, dtype=np.float32),
                "payload": dict(point.payload or {}),
                "sparse": dict(point.sparse_vector) if point.sparse_vector else None,
            }
            self._stream.write(orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS) + b"\n")
        self._points += len(points)

    def finish(self) -> None:
        """Put the header in its place."""
        content = {**self._header.as_json(), "points": self._points}
        self._stream.seek(0)
        self._stream.write(orjson.dumps(content).ljust(self._room))
