"""Parquet, written: these columns, and the header (``Header``) as JSON under ``codeweaver`` of the metadata:

==========  =================================  ======================================================
column      type
==========  =================================  ======================================================
id_str      string, nullable                   the id, if it is a string
id_int      int64, nullable                    the id, if it is an integer; exactly one of the two is set
vector      fixed_size_list<float32>[d]        as it was given, not normalised
payload     string                             a JSON object
sparse      map<string, float32>, nullable     room for a sparse vector; null
==========  =================================  ======================================================

``readers/arrow.py`` reads it.
"""

from __future__ import annotations

from typing import IO, Final

import numpy as np
import orjson

from codeweaver_backends.readers.layout import Header
from codeweaver_backends.transfer.report import TransferError
from codeweaver_backends.types import VectorPoint

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ModuleNotFoundError:
    raise TransferError("Parquet needs pyarrow: pip install 'codeweaver-backends[parquet]'") from None

__all__ = ["ParquetWriter", "arrow_schema"]

_METADATA: Final = b"codeweaver"
_GROUP_BYTES: Final = 32_000_000
"""Of vectors and payloads in one row group."""


def arrow_schema(dimension: int) -> pa.Schema:
    """The columns of version 1."""
    return pa.schema(
        [
            pa.field("id_str", pa.string()),
            pa.field("id_int", pa.int64()),
            pa.field("vector", pa.list_(pa.field("element", pa.float32(), nullable=False), dimension), nullable=False),
            pa.field("payload", pa.string(), nullable=False),
            pa.field("sparse", pa.map_(pa.string(), pa.float32())),
        ]
    )


class ParquetWriter:
    """Writes ours, a row group at a time."""

    def __init__(self, stream: IO[bytes], header: Header) -> None:
        self._schema = arrow_schema(header.dimension)
        self._header = header
        self._writer = pq.ParquetWriter(stream, self._schema, compression="zstd")
        self._batches: list[pa.RecordBatch] = []
        self._bytes = self._points = 0

    def write(self, points: list[VectorPoint]) -> None:
        """Add points."""
        if not points:
            return
        flat = np.asarray([point.vector for point in points], dtype=np.float32).reshape(-1)
        columns = [
            pa.array([point.id if isinstance(point.id, str) else None for point in points], pa.string()),
            pa.array([None if isinstance(point.id, str) else point.id for point in points], pa.int64()),
            pa.FixedSizeListArray.from_arrays(pa.array(flat), type=self._schema.field("vector").type),
            pa.array([orjson.dumps(dict(point.payload or {})).decode() for point in points], pa.string()),
            pa.array([_sparse(point) for point in points], self._schema.field("sparse").type),
        ]
        batch = pa.RecordBatch.from_arrays(columns, schema=self._schema)
        self._batches.append(batch)
        self._bytes += batch.nbytes
        self._points += len(points)
        if self._bytes >= _GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._batches:
            table = pa.Table.from_batches(self._batches)
            self._writer.write_table(table, row_group_size=len(table))
        self._batches, self._bytes = [], 0

    def finish(self) -> None:
        """Write what is left, and the header: Parquet keeps it at the end."""
        self._flush()
        content = {**self._header.as_json(), "points": self._points}
        self._writer.add_key_value_metadata({_METADATA.decode(): orjson.dumps(content).decode()})
        self._writer.close()


def _sparse(point: VectorPoint) -> list[tuple[str, float]] | None:
    return [(str(term), weight) for term, weight in point.sparse_vector.items()] if point.sparse_vector else None
