"""JSON lines: one object a line.

Ours begins with a header, ``{"format": "codeweaver-points/1", …}``; then each line is
``{"id": …, "vector": […], "payload": {…}, "sparse": null}``. Numbers of vectors have the digits that make the same
float32. A file of others has no header, and keys that ``Columns`` names.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

import orjson

from codeweaver_backends.readers.layout import Columns, Header, ReadError, Rows

__all__ = ["JSONLinesReader"]

_OURS: Final = Columns("id", "vector", "payload")


class JSONLinesReader:
    """Reads both kinds."""

    def __init__(self, file: Path, columns: Columns | None) -> None:
        self._file = file
        self.source = file.name
        self.header: Header | None = None
        if columns is None:
            with file.open("rb") as stream:
                first = self._parsed(stream.readline(), 0) if file.stat().st_size else {}
            if "format" in first and "metric" in first:
                self.header = Header.read(first, self.source)
        self._columns = _OURS if self.header else columns or Columns()
        self._id = self._columns.id or "id"
        self.id: str | None = self._id
        self.vector = self._columns.vector or "vector"
        self.unseen: set[str] = set() if self.header else set(self._columns.fields or ())

    def rows(self, start: int, size: int) -> Iterator[Rows]:
        with self._file.open("rb") as stream:
            if self.header:
                stream.readline()
            lines = (line for line in stream if line.strip())
            numbered = islice(enumerate(lines), start, None)
            while some := list(islice(numbered, size)):
                yield self._rows([self._parsed(line, row) for row, line in some], some[0][0])

    def _parsed(self, line: bytes, row: int) -> dict[str, Any]:
        try:
            found = orjson.loads(line)
        except ValueError:
            raise ReadError(self.source, "this is no JSON", row=row + 1) from None
        if not isinstance(found, dict):
            raise ReadError(self.source, "this is no JSON object", row=row + 1)
        return found

    def _rows(self, objects: list[dict[str, Any]], row: int) -> Rows:
        payload = self._columns.payload
        ids, vectors, payloads = [], [], []
        sparse = [one.pop("sparse", None) for one in objects] if self.header else None
        for number, found in enumerate(objects, row):
            for name in (self._id, self.vector, payload):
                if name is not None and name not in found:
                    told = f"there is no {name!r}; there are {', '.join(map(repr, found))}"
                    raise ReadError(self.source, told, row=number + 1)
            ids.append(found.pop(self._id))
            vector = found.pop(self.vector)
            if not isinstance(vector, list):
                raise ReadError(self.source, "this is no list of numbers", row=number + 1, column=self.vector)
            vectors.append(vector)
            payloads.append(self._payload(found, number))
        return Rows(ids, vectors, payloads, sparse)

    def _payload(self, found: dict[str, Any], row: int) -> dict[str, Any]:
        columns = self._columns
        if columns.payload is None:
            self.unseen -= found.keys()
            return found if columns.fields is None else {name: found.get(name) for name in columns.fields}
        payload = found[columns.payload]
        if isinstance(payload, str):
            payload = self._parsed(payload.encode(), row)
        if not isinstance(payload, dict | None):
            raise ReadError(self.source, "this is no JSON object", row=row + 1, column=columns.payload)
        return payload or {}
