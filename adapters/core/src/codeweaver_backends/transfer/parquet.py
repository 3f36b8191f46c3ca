"""Parquet. Ours has these columns, and the header of ``files.Header`` as JSON under ``codeweaver`` of the metadata:

==========  =================================  ======================================================
column      type
==========  =================================  ======================================================
id_str      string, nullable                   the id, if it is a string
id_int      int64, nullable                    the id, if it is an integer; exactly one of the two is set
vector      fixed_size_list<float32>[d]        as it was given, not normalised
payload     string                             a JSON object
sparse      map<string, float32>, nullable     room for a sparse vector; null
==========  =================================  ======================================================

A file of others has columns that ``Columns`` names; what JSON has no word for is refused, but that dates and times
become RFC 3339 texts, UUIDs and decimals texts.
"""

from __future__ import annotations

import datetime
import decimal
import math
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import orjson

from codeweaver_backends.transfer.layout import Columns, Header
from codeweaver_backends.transfer.report import TransferError, TransferRefusedError
from codeweaver_backends.types import VectorPoint

try:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq
except ModuleNotFoundError:
    raise TransferError("Parquet needs pyarrow: pip install 'codeweaver-backends[parquet]'") from None

__all__ = ["ParquetReader", "ParquetWriter", "arrow_schema"]

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


class ParquetReader:
    """Reads both kinds."""

    def __init__(self, file: Path, columns: Columns | None) -> None:
        self._file = file
        try:
            opened = pq.ParquetFile(file)
        except pa.ArrowInvalid:
            raise TransferRefusedError([f"{file.name}: this is no Parquet, or only a part of one"]) from None
        with opened:
            metadata = opened.metadata.metadata or {}
            self._groups = [opened.metadata.row_group(i).num_rows for i in range(opened.metadata.num_row_groups)]
            names = list(opened.schema_arrow.names)
        ours = columns is None and _METADATA in metadata
        self.header = Header.read(orjson.loads(metadata[_METADATA]), file) if ours else None
        self._columns = columns or Columns()
        if not ours:
            self._check(names)
            self._fields = self._payload_columns(names)

    def _check(self, names: list[str]) -> None:
        given = self._columns
        wanted = (given.id, given.vector, *((given.payload,) if given.payload else ()), *(given.fields or ()))
        if missing := [name for name in wanted if name not in names]:
            raise TransferRefusedError(
                [
                    f"{self._file.name}: there is no column {', '.join(map(repr, missing))}; "
                    f"there are {', '.join(map(repr, names))}"
                ]
            )

    def _payload_columns(self, names: list[str]) -> list[str]:
        given = self._columns
        if given.payload:
            return [given.payload]
        return (
            list(given.fields) if given.fields is not None else [n for n in names if n not in (given.id, given.vector)]
        )

    def rows(self, start: int, size: int) -> Iterator[list[VectorPoint]]:
        first = 0
        while first < len(self._groups) and start >= self._groups[first]:
            start -= self._groups[first]
            first += 1
        before = sum(self._groups[:first])
        wanted = None if self.header else list(dict.fromkeys([self._columns.id, self._columns.vector, *self._fields]))
        with pq.ParquetFile(self._file) as opened:
            groups = list(range(first, len(self._groups)))
            for batch in opened.iter_batches(size, row_groups=groups, columns=wanted) if groups else ():
                kept = batch.slice(min(start, len(batch)))
                before += len(batch) - len(kept)
                start -= len(batch) - len(kept)
                if len(kept):
                    yield self._ours(kept, before) if self.header else self._theirs(kept, before)
                before += len(kept)

    def _ours(self, batch: pa.RecordBatch, row: int) -> list[VectorPoint]:
        texts, numbers = batch.column("id_str").to_pylist(), batch.column("id_int").to_pylist()
        vectors = self._matrix(batch.column("vector"), row)
        payloads = map(orjson.loads, batch.column("payload").to_pylist())
        ids = [number if text is None else text for text, number in zip(texts, numbers, strict=True)]
        sparse = [dict(one) if one else None for one in batch.column("sparse").to_pylist()]
        return [VectorPoint(*one) for one in zip(ids, vectors, payloads, sparse, strict=True)]

    def _theirs(self, batch: pa.RecordBatch, row: int) -> list[VectorPoint]:
        given = self._columns
        ids = batch.column(given.id).to_pylist()
        vectors = self._matrix(batch.column(given.vector), row)
        records = batch.select(self._fields).to_pylist()
        payloads = [self._payload(record, row + offset) for offset, record in enumerate(records)]
        ids = [str(one) if isinstance(one, uuid.UUID) else one for one in ids]
        return [VectorPoint(*one) for one in zip(ids, vectors, payloads, strict=True)]

    def _matrix(self, column: pa.Array, row: int) -> Any:
        """Vectors, one a row: a matrix where all are as long, else a list."""
        kind = column.type
        is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
        if not is_list or not (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)):
            name = self._columns.vector
            raise TransferRefusedError([f"{self._file.name}: the column {name!r} is {kind}, not a list of numbers"])
        if column.null_count:
            offset = column.is_null().to_pylist().index(True)
            raise TransferRefusedError([f"{self._file.name}, row {row + offset + 1:,}: there is no vector"])
        with np.errstate(over="ignore"):
            flat = column.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
        lengths = (
            set(pc.list_value_length(column).unique().to_pylist())
            if not pa.types.is_fixed_size_list(kind)
            else {kind.list_size}
        )
        if len(lengths) == 1:
            return flat.reshape(len(column), -1)
        return column.to_pylist()

    def _payload(self, record: dict[str, Any], row: int) -> dict[str, Any]:
        if self._columns.payload:
            found = record[self._columns.payload]
            try:
                found = orjson.loads(found) if isinstance(found, str | bytes) else found
            except ValueError:
                found = ()
            if not isinstance(found, dict | None):
                name = self._columns.payload
                raise TransferRefusedError([f"{self._file.name}, row {row + 1:,}: {name!r} is no JSON object"])
            record = found or {}
        return {name: self._json(value, name, row) for name, value in record.items()}

    def _json(self, value: Any, name: str, row: int) -> Any:
        if value is None or isinstance(value, str | bool | int):
            return value
        if isinstance(value, float) and math.isfinite(value):
            return value
        if isinstance(value, datetime.datetime | datetime.date | datetime.time):
            return value.isoformat()
        if isinstance(value, uuid.UUID | decimal.Decimal):
            return str(value)
        if isinstance(value, list):
            return [self._json(one, name, row) for one in value]
        if isinstance(value, dict):
            return {key: self._json(one, name, row) for key, one in value.items()}
        what = "NaN or infinity" if isinstance(value, float) else f"a {type(value).__name__}"
        raise TransferRefusedError(
            [f"{self._file.name}, row {row + 1:,}: the column {name!r} holds {what}, for which JSON has no word"]
        )
