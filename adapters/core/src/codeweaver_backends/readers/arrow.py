"""Tables: Parquet and Arrow files, and in memory whatever speaks Arrow (pyarrow, Polars, pandas, DuckDB, …).

Our own Parquet files have the columns of ``transfer/parquet.py``, and a header. A table of others has columns that
``Columns`` names. Files are read some rows at a time: what is held at once is a batch of the file's, or of ours.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import orjson

from codeweaver_backends.readers.layout import Columns, Header, ReadError, Rows, json_value, payload_columns

try:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq
except ModuleNotFoundError:
    raise ReadError("pyarrow", "tables need it: pip install 'codeweaver-backends[parquet]'") from None

__all__ = ["METADATA", "open_arrow", "open_parquet", "open_table"]

METADATA: Final = b"codeweaver"
"""What of a file's metadata is the header."""
_BUFFER: Final = 1 << 20
"""Bytes of a column that are read at once; a row group may be the whole file."""


class TableReader:
    """Reads both kinds, by a function that gives batches from a row on."""

    def __init__(
        self,
        source: str,
        schema: pa.Schema,
        columns: Columns | None,
        batches: Callable[[int, int, list[str]], Iterator[pa.RecordBatch]],
        metadata: dict[bytes, bytes] | None = None,
    ) -> None:
        self.source = source
        self.unseen: set[str] = set()  # a column that is not there is refused at once
        self.header: Header | None = None
        if columns is None and METADATA in (metadata or {}):
            self.header = Header.read(orjson.loads((metadata or {})[METADATA]), source)
        self._columns = columns or Columns()
        self._batches = batches
        self._id = self._columns.id or "id"
        self.id: str | None = self._id
        self.vector = self._columns.vector or "vector"
        if self.header:
            self._wanted = ["id_str", "id_int", "vector", "payload", "sparse"]
        else:
            self._fields = payload_columns(self._columns, schema.names, (self._id, self.vector), source)
            self._wanted = list(dict.fromkeys([self._id, self.vector, *self._fields]))

    def rows(self, start: int, size: int) -> Iterator[Rows]:
        with _told(self.source):
            for batch in self._batches(start, size, self._wanted):
                if len(batch):
                    yield self._ours(batch, start) if self.header else self._theirs(batch, start)
                start += len(batch)

    def _ours(self, batch: pa.RecordBatch, row: int) -> Rows:
        texts, numbers = batch.column("id_str").to_pylist(), batch.column("id_int").to_pylist()
        ids = [number if text is None else text for text, number in zip(texts, numbers, strict=True)]
        payloads = list(map(orjson.loads, batch.column("payload").to_pylist()))
        sparse = [dict(one) if one else None for one in batch.column("sparse").to_pylist()]
        return Rows(ids, self._matrix(batch.column("vector"), row), payloads, sparse)

    def _theirs(self, batch: pa.RecordBatch, row: int) -> Rows:
        ids = [str(one) if isinstance(one, uuid.UUID) else one for one in batch.column(self._id).to_pylist()]
        vectors = self._matrix(batch.column(self.vector), row)
        records = batch.select(self._fields).to_pylist()
        return Rows(ids, vectors, [self._payload(record, row + n) for n, record in enumerate(records)])

    def _matrix(self, column: pa.Array, row: int) -> Any:
        """Vectors, one a row: a matrix where all are as long, else a list."""
        if isinstance(column, pa.ExtensionArray):  # as of tensors
            column = column.storage
        kind = column.type
        is_fixed = pa.types.is_fixed_size_list(kind)
        is_list = is_fixed or pa.types.is_list(kind) or pa.types.is_large_list(kind)
        if not is_list or not (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)):
            raise ReadError(self.source, f"this is {kind}, not a list of numbers", column=self.vector)
        if column.null_count:
            nowhere = row + column.is_null().to_pylist().index(True)
            raise ReadError(self.source, "there is no vector", row=nowhere + 1, column=self.vector)
        lengths = {kind.list_size} if is_fixed else set(pc.list_value_length(column).unique().to_pylist())
        if len(lengths) != 1:
            return column.to_pylist()
        return column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), *lengths)

    def _payload(self, record: dict[str, Any], row: int) -> dict[str, Any]:
        name = self._columns.payload
        if name is not None:
            found = record[name]
            try:
                found = orjson.loads(found) if isinstance(found, str | bytes) else found
            except ValueError:
                found = ()
            if not isinstance(found, dict | None):
                raise ReadError(self.source, "this is no JSON object", row=row + 1, column=name)
            record = found or {}
        return {key: json_value(value, self.source, row, name or key) for key, value in record.items()}


@contextmanager
def _told(source: str) -> Iterator[None]:
    """What Arrow says against a file is said of the file."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise ReadError(source, f"it cannot be read: {error}") from None


def open_parquet(file: Path, columns: Columns | None) -> TableReader:
    """A Parquet file."""
    try:
        opened = pq.ParquetFile(file)
    except (pa.ArrowException, OSError):
        raise ReadError(file.name, "this is no Parquet, or only a part of one") from None
    with opened:
        metadata, schema = opened.metadata, opened.schema_arrow
    groups = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]

    def batches(start: int, size: int, wanted: list[str]) -> Iterator[pa.RecordBatch]:
        first = 0
        while first < len(groups) and start >= groups[first]:
            start -= groups[first]
            first += 1
        if first < len(groups):
            # Buffered before it is read, as is the default of some versions, a row group would be held whole.
            with pq.ParquetFile(file, buffer_size=_BUFFER, pre_buffer=False) as source:
                yield from _from(start, source.iter_batches(size, list(range(first, len(groups))), wanted))

    return TableReader(file.name, schema, columns, batches, metadata.metadata)


def open_arrow(file: Path, columns: Columns | None) -> TableReader:
    """An Arrow file (IPC), of the format with an index at its end or of the one for streams."""

    def opened() -> Any:
        mapped = pa.memory_map(str(file))
        try:
            return pa.ipc.open_file(mapped)
        except (pa.ArrowException, OSError):
            mapped.seek(0)
            return pa.ipc.open_stream(mapped)

    def batches(start: int, size: int, wanted: list[str]) -> Iterator[pa.RecordBatch]:
        with opened() as source:
            yield from _from(start, _cut(_whole(source), size, wanted))

    try:
        with opened() as source:
            schema = source.schema
    except (pa.ArrowException, OSError):
        raise ReadError(file.name, "this is no Arrow file, or only a part of one") from None
    return TableReader(file.name, schema, columns, batches)


def open_table(table: Any, columns: Columns | None) -> TableReader:
    """A table or a stream of batches in memory; a stream can be read once."""
    source = f"{type(table).__module__.partition('.')[0]} {type(table).__name__}"
    reader = table if isinstance(table, pa.RecordBatchReader) else pa.RecordBatchReader.from_stream(table)

    def batches(start: int, size: int, wanted: list[str]) -> Iterator[pa.RecordBatch]:
        return _from(start, _cut(reader, size, wanted))

    return TableReader(source, reader.schema, columns, batches)


def _whole(source: Any) -> Iterator[pa.RecordBatch]:
    if isinstance(source, pa.ipc.RecordBatchFileReader):
        return (source.get_batch(number) for number in range(source.num_record_batches))
    return iter(source)


def _cut(batches: Any, size: int, wanted: list[str]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        chosen = batch.select(wanted)
        for start in range(0, len(chosen), size):
            yield chosen.slice(start, size)


def _from(start: int, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The batches without their first rows."""
    for batch in batches:
        kept = batch.slice(min(start, len(batch)))
        start -= len(batch) - len(kept)
        if len(kept):
            yield kept
