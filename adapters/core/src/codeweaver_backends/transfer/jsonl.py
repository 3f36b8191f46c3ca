"""JSON lines, written as ``readers/jsonl.py`` tells."""

from __future__ import annotations

from typing import IO, Final

import numpy as np
import orjson

from codeweaver_backends.readers.layout import Header
from codeweaver_backends.types import VectorPoint

__all__ = ["JSONLinesWriter"]

_HEADER_ROOM: Final = 24
"""Spaces after the header, for the count of points that is known at the end."""


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
