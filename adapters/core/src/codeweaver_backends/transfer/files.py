"""Files of points: what they hold, how a row becomes a point, and what is wrong with one before anything is written.

The formats are told by the name's ending: ``.parquet`` (``parquet.py``) and ``.jsonl`` or ``.ndjson`` (``jsonl.py``).
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np

from codeweaver_backends.capabilities import Limits
from codeweaver_backends.errors import InvalidOptionError, InvalidVectorError
from codeweaver_backends.sdk.hybrid.vectors import sparse_row
from codeweaver_backends.transfer.layout import Columns, Header, Reader
from codeweaver_backends.transfer.origin import PointPage, payload_bytes
from codeweaver_backends.transfer.plan import no_sparse_vectors, payload_depth
from codeweaver_backends.transfer.report import OnProgress, Progress, TransferRefusedError
from codeweaver_backends.types import CollectionInfo, DistanceMetric, PointId, VectorPoint

__all__ = ["FileOrigin", "file_format"]

_PAGE_BYTES: Final = 8_000_000
_LARGEST_PAGE: Final = 1_000
_INT64_MAX: Final = 2**63 - 1
_ID_LENGTH: Final = 512
Item = TypeVar("Item")


def file_format(file: Path) -> str:
    """``parquet`` or ``jsonl``. Raises ``InvalidOptionError`` for another ending."""
    ending = file.suffix.lower()
    if ending == ".parquet":
        return "parquet"
    if ending in (".jsonl", ".ndjson"):
        return "jsonl"
    raise InvalidOptionError(f"{file.name!r} must end in .parquet, .jsonl or .ndjson, which says what it is")


def _reader(file: Path, columns: Columns | None) -> Reader:
    if file_format(file) == "parquet":
        from codeweaver_backends.transfer.parquet import ParquetReader

        return ParquetReader(file, columns)
    from codeweaver_backends.transfer.jsonl import JSONLinesReader

    return JSONLinesReader(file, columns)


@dataclass(slots=True)
class _Extreme:
    """The largest of something, and whose it is."""

    value: int = 0
    point: PointId = ""

    def see(self, value: int, point: PointId) -> None:
        if value > self.value:
            self.value, self.point = value, point


class FileOrigin:
    """The points of a file."""

    def __init__(self, file: Path, reader: Reader, info: CollectionInfo) -> None:
        self.name = info.name
        self._file = file
        self._reader = reader
        self._info = info
        self._size = 1
        self._bytes, self._depth, self._terms = _Extreme(), _Extreme(), _Extreme()

    @classmethod
    def open(
        cls, file: Path, columns: Columns | None, metric: DistanceMetric | None, collection: str | None
    ) -> FileOrigin:
        """Look at the beginning of the file. Raises ``TransferRefusedError`` if it is not one of points."""
        try:
            reader = _reader(file, columns)
            first = next(reader.rows(0, 1), [])
        except OSError as error:
            raise TransferRefusedError([f"{file}: cannot be read: {error.strerror or error}"]) from None
        header = reader.header
        if header is None:
            if not first:
                raise TransferRefusedError([f"{file.name}: there are no points in it"])
            dimension = _length(first[0])
            header = Header(file.stem, dimension, metric or DistanceMetric.COSINE)
        elif metric not in (None, header.metric):
            raise TransferRefusedError([f"{file.name}: its metric is {header.metric.value}, as its header says"])
        name = collection or header.collection
        info = CollectionInfo(
            name,
            header.dimension,
            header.metric,
            0,
            payload_indexes=dict(header.payload_indexes),
            vector_index=header.vector_index,
            sparse_index=header.sparse_index,
        )
        return cls(file, reader, info)

    async def describe(self) -> CollectionInfo:
        return self._info

    async def pages(self, cursor: str | None = None, *, with_vectors: bool = True) -> AsyncIterator[PointPage]:
        start = int(cursor or 0)
        async for points in _in_thread(self._reader.rows(start, self._size)):
            start += len(points)
            if start >= self._info.vector_count:
                break
            yield PointPage(points, str(start))
        else:
            points = []
        yield PointPage(points, None)

    async def examine(self, progress: OnProgress) -> None:
        """Read it whole, and judge every row. Raises ``TransferRefusedError`` for the first that cannot be a point."""
        hashes, row, total_bytes = array("q"), 0, 0
        size = max(1, min(_LARGEST_PAGE, _PAGE_BYTES // (4 * max(1, self._info.dimension))))
        async for points in _in_thread(self._reader.rows(0, size)):
            self._judge_vectors(points, row)
            for offset, point in enumerate(points):
                self._judge_id(point.id, row + offset)
                self._terms.see(self._judge_sparse(point, row + offset), point.id)
                hashes.append(hash((type(point.id), point.id)))
                length = payload_bytes(point.payload)
                total_bytes += length
                self._bytes.see(length, point.id)
                self._depth.see(payload_depth(point.payload or {}), point.id)
            row += len(points)
            progress(Progress("examine", self.name, row, None))
        header = self._reader.header
        if header is not None and header.points not in (None, row):
            raise TransferRefusedError(
                [f"{self._file.name}: {row:,} points are in it, and {header.points:,} were written"]
            )
        await self._refuse_repeated(hashes)
        self._info.vector_count = row
        mean = total_bytes / max(1, row) + 4 * self._info.dimension
        self._size = max(1, min(_LARGEST_PAGE, int(_PAGE_BYTES / mean)))

    def _judge_id(self, point_id: Any, row: int) -> None:
        if type(point_id) is int:
            good = 0 <= point_id <= _INT64_MAX
        else:
            good = type(point_id) is str and 1 <= len(point_id) <= _ID_LENGTH
        if not good:
            raise self._wrong(row, "the id must be a string of 1 to 512 characters or an integer of 0 … 2^63−1")

    def _judge_sparse(self, point: VectorPoint, row: int) -> int:
        """How many entries the sparse vector has."""
        try:
            return len(sparse_row(point.sparse_vector, "the sparse vector").indices)
        except InvalidVectorError as error:
            raise self._wrong(row, error.message) from None

    def _judge_vectors(self, points: list[VectorPoint], row: int) -> None:
        for offset, point in enumerate(points):
            if (length := _length(point)) != self._info.dimension:
                told = f"the vector has {length} numbers, and the first one {self._info.dimension}"
                raise self._wrong(row + offset, told)
        try:
            with np.errstate(over="ignore"):
                matrix = np.asarray([point.vector for point in points], dtype=np.float32)
        except (TypeError, ValueError):
            raise self._wrong(
                row, f"in this row, or the {len(points) - 1} after it, a vector is not of numbers"
            ) from None
        finite = np.isfinite(matrix).all(axis=1)
        if not finite.all():
            raise self._wrong(row + int(np.argmin(finite)), "the vector holds NaN, or a number beyond float32")
        if self._info.distance_metric is DistanceMetric.COSINE:
            moved = matrix.any(axis=1)
            if not moved.all():
                raise self._wrong(row + int(np.argmin(moved)), "the vector is zero, which has no cosine")

    def _wrong(self, row: int, what: str) -> TransferRefusedError:
        return TransferRefusedError([f"{self._file.name}, row {row + 1:,}: {what}"])

    async def _refuse_repeated(self, hashes: array[int]) -> None:
        """Ids by their hashes, eight bytes each; those that occur twice are looked at themselves."""
        ordered = np.sort(np.frombuffer(hashes, dtype=np.int64)) if hashes else np.empty(0, dtype=np.int64)
        suspects = set(ordered[1:][ordered[1:] == ordered[:-1]].tolist())
        if not suspects:
            return
        seen: dict[tuple[type, PointId], int] = {}
        row = 0
        async for points in _in_thread(self._reader.rows(0, _LARGEST_PAGE)):
            for point in points:
                key = (type(point.id), point.id)
                if hash(key) in suspects and (before := seen.setdefault(key, row)) != row:
                    raise self._wrong(row, f"the id is that of row {before + 1:,} too; one of the two would be lost")
                row += 1

    def beyond(self, limits: Limits, *, takes_sparse: bool) -> list[str]:
        """What the points have that the target does not take; known after ``examine``."""
        refused = [no_sparse_vectors(self.name, self._terms.point)] if self._terms.value and not takes_sparse else []
        return refused + [
            f"{self.name}: the payload of {extreme.point!r} has {what} {extreme.value:,}, and the target {most:,}"
            for what, extreme, most in (
                ("max_payload_bytes", self._bytes, limits.max_payload_bytes),
                ("max_payload_depth", self._depth, limits.max_payload_depth),
            )
            if extreme.value > most
        ]


def _length(point: VectorPoint) -> int:
    return 0 if point.vector is None else len(point.vector)


async def _in_thread(items: Iterable[Item]) -> AsyncIterator[Item]:
    """What a blocking iterator gives, each step in a thread."""
    iterator, end = iter(items), object()
    step: Callable[[], Any] = lambda: next(iterator, end)  # noqa: E731
    while (item := await asyncio.to_thread(step)) is not end:
        yield item
