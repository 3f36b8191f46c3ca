"""numpy's files: one array of vectors (``.npy``), or several arrays, one a column (``.npz``); and an array in memory.

An ``.npy`` is mapped, not read. Of an ``.npz``, which may be compressed, the arrays are read side by side, some rows at
a time; but one that is stored by columns (Fortran's order) is read whole.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from codeweaver_backends.readers.layout import Columns, Header, ReadError, Rows, json_value, payload_columns

__all__ = ["ArraysReader", "open_array", "open_npy", "open_npz"]

Array: TypeAlias = npt.NDArray[Any]
_HEADERS: Final = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_NUMBERS: Final = "fiu"
_SUFFIX: Final = ".npy"


class Shape:
    """What an array is, its content apart."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.shape = shape
        self.dtype = dtype


class ArraysReader:
    """Reads arrays of as many entries as there are vectors."""

    header: Header | None = None

    def __init__(
        self,
        source: str,
        arrays: Mapping[str, Shape],
        columns: Columns | None,
        parts: Callable[[int, int, list[str]], Iterator[dict[str, Array]]],
    ) -> None:
        columns = columns or Columns()
        self.source = source
        self.unseen: set[str] = set()  # an array that is not there is refused at once
        self.vector = columns.vector or "vectors"
        self.id = columns.id or ("ids" if "ids" in arrays else None)
        self._parts = parts
        self._fields = payload_columns(columns, list(arrays), (self.id, self.vector), source)
        if columns.payload is not None:
            raise ReadError(source, "an array holds no JSON objects; name fields", column=columns.payload)
        self._judge(arrays)

    def _judge(self, arrays: Mapping[str, Shape]) -> None:
        vectors = arrays[self.vector]
        if len(vectors.shape) != 2 or not vectors.shape[1] or vectors.dtype.kind not in _NUMBERS:
            told = f"its shape is {vectors.shape} of {vectors.dtype}, not (points, dimension) of numbers"
            raise ReadError(self.source, told, column=self.vector)
        for name in filter(None, (self.id, *self._fields)):
            array = arrays[name]
            if array.shape[:1] != vectors.shape[:1]:
                told = f"its shape is {array.shape}, and there are {vectors.shape[0]:,} vectors"
                raise ReadError(self.source, told, column=name)
            if array.dtype.kind not in "biufUM":
                raise ReadError(self.source, f"this is {array.dtype}, for which JSON has no word", column=name)

    def rows(self, start: int, size: int) -> Iterator[Rows]:
        wanted = list(filter(None, (self.vector, self.id, *self._fields)))
        for part in self._parts(start, size, wanted):
            vectors = part[self.vector]
            ids = range(start, start + len(vectors)) if self.id is None else part[self.id].tolist()
            values = [self._values(part[name], name, start) for name in self._fields]
            payloads = [dict(zip(self._fields, row, strict=True)) for row in zip(*values, strict=True)]
            yield Rows(ids, vectors, payloads or [{} for _ in ids])
            start += len(vectors)

    def _values(self, array: Array, name: str, row: int) -> list[Any]:
        listed = (np.datetime_as_string(array) if array.dtype.kind == "M" else array).tolist()
        if array.dtype.kind == "f":
            return [json_value(value, self.source, row + n, name) for n, value in enumerate(listed)]
        return list(listed)


def open_array(array: Array, columns: Columns | None, source: str = "numpy array") -> ArraysReader:
    """Vectors alone."""

    def parts(start: int, size: int, wanted: list[str]) -> Iterator[dict[str, Array]]:
        for first in range(start, len(array), size):
            yield dict.fromkeys(wanted, array[first : first + size])

    if columns is not None and columns.id is not None:
        raise ReadError(source, "it has vectors alone, and their rows' numbers are the ids", column=columns.id)
    only = (columns and columns.vector) or "vectors"
    return ArraysReader(source, {only: Shape(array.shape, array.dtype)}, columns, parts)


def open_npy(file: Path, columns: Columns | None) -> ArraysReader:
    """One array."""
    with _told(file.name):
        return open_array(np.lib.format.open_memmap(file, mode="r"), columns, file.name)


def open_npz(file: Path, columns: Columns | None) -> ArraysReader:
    """Several arrays by their names."""

    def parts(start: int, size: int, wanted: list[str]) -> Iterator[dict[str, Array]]:
        with _told(file.name), zipfile.ZipFile(file) as archive, ExitStack() as stack:
            opened = {name: _Member(stack.enter_context(archive.open(name + _SUFFIX)), start) for name in wanted}
            while len(opened[wanted[0]]):
                yield {name: member.read(size) for name, member in opened.items()}

    with _told(file.name), zipfile.ZipFile(file) as archive:
        arrays = {}
        for name in archive.namelist():
            with archive.open(name) as stream:
                arrays[name.removesuffix(_SUFFIX)] = Shape(*_shape(stream)[::2])
    return ArraysReader(file.name, arrays, columns, parts)


class _Member:
    """One array of an archive, from a row on."""

    def __init__(self, stream: IO[bytes], start: int) -> None:
        (rows, *entry), is_by_columns, self._dtype = _shape(stream)
        self._stream = stream
        self._entry = entry
        self._row_bytes = int(np.prod(entry, dtype=np.int64)) * self._dtype.itemsize
        self._whole: Array | None = None
        if is_by_columns and entry:
            stream.seek(0)
            self._whole = np.lib.format.read_array(stream, allow_pickle=False)
        else:
            stream.seek(min(start, rows) * self._row_bytes, 1)
        self._row, self._rows = min(start, rows), rows

    def __len__(self) -> int:
        return self._rows - self._row

    def read(self, size: int) -> Array:
        first, self._row = self._row, min(self._row + size, self._rows)
        if self._whole is not None:
            return self._whole[first : self._row]
        content = self._stream.read((self._row - first) * self._row_bytes)
        return np.frombuffer(content, self._dtype).reshape(self._row - first, *self._entry)


def _shape(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    if version not in _HEADERS:
        raise ValueError(f"an array of the version {version}")
    shape, is_by_columns, dtype = _HEADERS[version](stream)
    return shape, is_by_columns, dtype


@contextmanager
def _told(source: str) -> Iterator[None]:
    """What is said against a file's bytes is said of the file."""
    try:
        yield
    except ReadError:
        raise
    except (ValueError, EOFError, zipfile.BadZipFile, KeyError):
        raise ReadError(source, "it cannot be read as arrays of numbers") from None
