"""Sources of points: which reader reads what, and every row judged before it is a point."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np

from codeweaver_backends.errors import InvalidOptionError
from codeweaver_backends.readers.layout import Columns, Header, Reader, ReadError, Rows
from codeweaver_backends.types import FloatMatrix, VectorPoint

__all__ = ["FORMATS", "PointReader", "file_format", "in_thread", "open_points", "read_points"]

FORMATS: Final = {
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".npy": "npy",
    ".npz": "npz",
}
"""By the ending of a file's name."""
_INT64_MAX: Final = 2**63 - 1
_ID_LENGTH: Final = 512
Item = TypeVar("Item")


async def read_points(
    source: Any,
    *,
    id: str | None = None,  # noqa: A002 - the name of a point's part everywhere
    vector: str | None = None,
    payload: str | Sequence[str] | None = None,
    batch_size: int = 1_000,
) -> AsyncGenerator[list[VectorPoint], None]:
    """The points of a file, a table or an array, in their order: lists of at most ``batch_size``, one at a time.

    ``source`` is the path of a file (``.parquet``, ``.arrow``, ``.feather``, ``.jsonl``, ``.ndjson``, ``.npy``,
    ``.npz``), a table in memory (of pyarrow, or of whatever else speaks Arrow: Polars, pandas, DuckDB; a
    ``RecordBatchReader`` can be read once), or a numpy array of shape ``(points, dimension)``. Files are read in a
    thread, some rows at a time.

    ``id`` and ``vector`` name columns: keys of JSON, arrays of an ``.npz``. They are ``id`` and ``vector`` if absent;
    of an ``.npz``, ``ids`` and ``vectors``. An array alone, and an ``.npz`` without ``ids``, has the rows' numbers as
    ids, from 0. ``payload`` is the name of one column that holds JSON objects or their text, or a list of columns to
    make the payload of; all other columns if absent. A file of ``export_points`` says these things itself.

    Vectors come as float32. Raises ``ReadError`` with file, row and column for what is no point: a column that is not
    there or there twice, a vector of another length than the first, NaN, an id or a value that cannot be one; and
    ``InvalidOptionError`` for a source that is none of these.
    """
    if type(batch_size) is not int or batch_size < 1:
        raise InvalidOptionError("batch_size must be an integer of at least 1")
    columns = None
    if (id, vector, payload) != (None, None, None):
        columns = Columns(id, vector, payload) if isinstance(payload, str) else Columns(id, vector, None, payload)
    reader = await asyncio.to_thread(open_points, source, columns)
    async with aclosing(in_thread(reader.points(0, batch_size))) as lists:
        async for points in lists:
            yield points


def file_format(file: Path) -> str:
    """``parquet``, ``arrow``, ``jsonl``, ``npy`` or ``npz``. Raises ``InvalidOptionError`` for another ending."""
    found = FORMATS.get(file.suffix.lower())
    if found is None:
        *most, last = FORMATS
        raise InvalidOptionError(f"{file.name!r} must end in {', '.join(most)} or {last}, which says what it is")
    return found


def open_points(source: Any, columns: Columns | None) -> PointReader:
    """Look at the beginning of a source. Raises as ``read_points`` does."""
    if isinstance(source, str | Path):
        file = Path(source)
        try:
            return PointReader(_file_reader(file, columns))
        except OSError as error:
            raise ReadError(str(file), f"cannot be read: {error.strerror or error}") from None
    if isinstance(source, np.ndarray):
        from codeweaver_backends.readers.arrays import open_array

        return PointReader(open_array(source, columns))
    if hasattr(source, "__arrow_c_stream__"):
        from codeweaver_backends.readers.arrow import open_table

        return PointReader(open_table(source, columns))
    raise InvalidOptionError(
        f"the source of points must be a path, an Arrow table or a numpy array, not a {type(source).__name__}"
    )


def _file_reader(file: Path, columns: Columns | None) -> Reader:
    kind = file_format(file)
    with file.open("rb"):  # what the system says of a file that cannot be opened is told as it says it
        pass
    if kind == "jsonl":
        from codeweaver_backends.readers.jsonl import JSONLinesReader

        return JSONLinesReader(file, columns)
    if kind in ("npy", "npz"):
        from codeweaver_backends.readers.arrays import open_npy, open_npz

        return open_npy(file, columns) if kind == "npy" else open_npz(file, columns)
    from codeweaver_backends.readers.arrow import open_arrow, open_parquet

    return open_parquet(file, columns) if kind == "parquet" else open_arrow(file, columns)


class PointReader:
    """The points of a source, each row judged: its id, and its vector by the first one's length."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.dimension = reader.header.dimension if reader.header else None
        """``None``: no row was read yet."""

    @property
    def header(self) -> Header | None:
        """What a file of ``export_points`` says of its collection."""
        return self._reader.header

    @property
    def unseen(self) -> set[str]:
        """Fields of the payload that were asked for, and that no row had so far."""
        return self._reader.unseen

    def wrong(self, row: int, what: str, column: str | None = None) -> ReadError:
        """What is said against a row, counted from 0."""
        return ReadError(self._reader.source, what, row=row + 1, column=column)

    def points(self, start: int, size: int) -> Generator[list[VectorPoint], None, None]:
        """Points from that row on (0 is the first), in lists of at most ``size``."""
        for rows in self._reader.rows(start, size):
            for offset, one in enumerate(rows.ids):
                self._judge_id(one, start + offset)
            matrix = self._matrix(rows, start)
            sparse = rows.sparse or [None] * len(rows.ids)
            yield [VectorPoint(*one) for one in zip(rows.ids, matrix, rows.payloads, sparse, strict=True)]
            start += len(rows.ids)

    def _judge_id(self, point_id: Any, row: int) -> None:
        if type(point_id) is int:
            good = 0 <= point_id <= _INT64_MAX
        else:
            good = type(point_id) is str and 1 <= len(point_id) <= _ID_LENGTH
        if not good:
            told = "the id must be a string of 1 to 512 characters or an integer of 0 … 2^63−1"
            raise self.wrong(row, told, self._reader.id)

    def _matrix(self, rows: Rows, row: int) -> FloatMatrix:
        """The vectors as float32, of one length and finite."""
        column = self._reader.vector
        given = rows.vectors
        if self.dimension is None:
            self.dimension = len(given[0])
        if not isinstance(given, np.ndarray):
            for offset, vector in enumerate(given):
                self._judge_length(len(vector), row + offset)
            given = self._numbers(given, row)
        self._judge_length(given.shape[1], row)
        with np.errstate(over="ignore"):
            matrix = np.array(given, dtype=np.float32, order="C")
        finite = np.isfinite(matrix).all(axis=1)
        if not finite.all():
            told = "the vector holds NaN, or a number beyond float32"
            raise self.wrong(row + int(np.argmin(finite)), told, column)
        return matrix

    def _judge_length(self, length: int, row: int) -> None:
        if length != self.dimension:
            told = f"the vector has {length} numbers, and the first one {self.dimension}"
            raise self.wrong(row, told, self._reader.vector)

    def _numbers(self, vectors: Sequence[Any], row: int) -> Any:
        try:
            matrix = np.asarray(vectors)
        except ValueError:
            matrix = None
        if matrix is not None and matrix.ndim == 2 and matrix.dtype.kind in "fiu":
            return matrix
        for offset, vector in enumerate(vectors):
            if not all(type(one) in (int, float) for one in vector):
                raise self.wrong(row + offset, "the vector is not of numbers", self._reader.vector)
        return np.asarray(vectors, dtype=np.float64)  # integers beyond 64 bits


async def in_thread(items: Iterator[Item]) -> AsyncGenerator[Item, None]:
    """What a blocking generator gives, each step in a thread; it is closed in the end."""
    end = object()
    step: Callable[[], Any] = lambda: next(items, end)  # noqa: E731
    try:
        while True:
            under_way = asyncio.ensure_future(asyncio.to_thread(step))
            try:
                item = await asyncio.shield(under_way)
            except asyncio.CancelledError:
                await asyncio.wait({under_way})  # a generator that runs cannot be closed
                under_way.exception()
                raise
            if item is end:
                return
            yield item
    finally:
        close = getattr(items, "close", None)
        if close is not None:
            close()
