"""Files of points to be imported: what they hold, and what is wrong with them before anything is written.

``codeweaver_backends.readers`` reads them, and judges each row by itself.
"""

from __future__ import annotations

from array import array
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from codeweaver_backends.capabilities import Limits
from codeweaver_backends.errors import InvalidVectorError
from codeweaver_backends.readers.layout import Columns, Header, ReadError
from codeweaver_backends.readers.points import PointReader, in_thread, open_points
from codeweaver_backends.sdk.hybrid.vectors import sparse_row
from codeweaver_backends.transfer.origin import PointPage, leave_out_sparse, payload_bytes
from codeweaver_backends.transfer.plan import no_sparse_vectors, payload_depth
from codeweaver_backends.transfer.report import OnProgress, Progress, TransferRefusedError
from codeweaver_backends.types import CollectionInfo, DistanceMetric, PointId, VectorPoint

__all__ = ["FileOrigin"]

_PAGE_BYTES: Final = 8_000_000
_LARGEST_PAGE: Final = 1_000


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

    def __init__(self, file: Path, reader: PointReader, info: CollectionInfo, *, sparse_vectors: bool = True) -> None:
        self.name = info.name
        self.left_out = 0
        self._sparse_vectors = sparse_vectors
        self._file = file
        self._reader = reader
        self._info = info
        self._size = 1
        self._bytes, self._depth, self._terms = _Extreme(), _Extreme(), _Extreme()

    @classmethod
    def open(
        cls,
        file: Path,
        columns: Columns | None,
        metric: DistanceMetric | None,
        collection: str | None,
        *,
        sparse_vectors: bool = True,
    ) -> FileOrigin:
        """Look at the beginning of the file. Raises ``TransferRefusedError`` if it is not one of points."""
        try:
            reader = open_points(file, columns)
            first = next(reader.points(0, 1), [])
        except ReadError as error:
            raise TransferRefusedError([error.message]) from None
        header = reader.header
        if header is None:
            if not first or reader.dimension is None:
                raise TransferRefusedError([f"{file.name}: there are no points in it"])
            header = Header(file.stem, reader.dimension, metric or DistanceMetric.COSINE)
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
        return cls(file, reader, info, sparse_vectors=sparse_vectors)

    async def describe(self) -> CollectionInfo:
        return self._info

    async def pages(self, cursor: str | None = None, *, with_vectors: bool = True) -> AsyncIterator[PointPage]:
        start = int(cursor or 0)
        self.left_out = 0
        async for points in self._points(start, self._size):
            start += len(points)
            if not self._sparse_vectors:
                self.left_out += leave_out_sparse(points)
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
        async for points in self._points(0, size):
            self._judge_vectors(points, row)
            for offset, point in enumerate(points):
                self._terms.see(self._judge_sparse(point, row + offset), point.id)
                hashes.append(hash((type(point.id), point.id)))
                length = payload_bytes(point.payload)
                total_bytes += length
                self._bytes.see(length, point.id)
                self._depth.see(payload_depth(point.payload or {}), point.id)
            row += len(points)
            progress(Progress("examine", self.name, row, None))
        if row and (unseen := sorted(self._reader.unseen)):
            raise TransferRefusedError([f"{self._file.name}: no row has {', '.join(map(repr, unseen))}"])
        header = self._reader.header
        if header is not None and header.points not in (None, row):
            raise TransferRefusedError(
                [f"{self._file.name}: {row:,} points are in it, and {header.points:,} were written"]
            )
        await self._refuse_repeated(hashes)
        self._info.vector_count = row
        mean = total_bytes / max(1, row) + 4 * self._info.dimension
        self._size = max(1, min(_LARGEST_PAGE, int(_PAGE_BYTES / mean)))

    async def _points(self, start: int, size: int) -> AsyncGenerator[list[VectorPoint], None]:
        try:
            async with aclosing(in_thread(self._reader.points(start, size))) as lists:
                async for points in lists:
                    yield points
        except ReadError as error:
            raise TransferRefusedError([error.message]) from None

    def _judge_sparse(self, point: VectorPoint, row: int) -> int:
        """How many entries the sparse vector has."""
        try:
            return len(sparse_row(point.sparse_vector, "the sparse vector").indices)
        except InvalidVectorError as error:
            raise self._wrong(row, error.message) from None

    def _judge_vectors(self, points: list[VectorPoint], row: int) -> None:
        if self._info.distance_metric is DistanceMetric.COSINE:
            moved = np.asarray([point.vector for point in points]).any(axis=1)
            if not moved.all():
                raise self._wrong(row + int(np.argmin(moved)), "the vector is zero, which has no cosine")

    def _wrong(self, row: int, what: str) -> TransferRefusedError:
        return TransferRefusedError([self._reader.wrong(row, what).message])

    async def _refuse_repeated(self, hashes: array[int]) -> None:
        """Ids by their hashes, eight bytes each; those that occur twice are looked at themselves."""
        ordered = np.sort(np.frombuffer(hashes, dtype=np.int64)) if hashes else np.empty(0, dtype=np.int64)
        suspects = set(ordered[1:][ordered[1:] == ordered[:-1]].tolist())
        if not suspects:
            return
        seen: dict[tuple[type, PointId], int] = {}
        row = 0
        async for points in self._points(0, _LARGEST_PAGE):
            for point in points:
                key = (type(point.id), point.id)
                if hash(key) in suspects and (before := seen.setdefault(key, row)) != row:
                    raise self._wrong(row, f"the id is that of row {before + 1:,} too; one of the two would be lost")
                row += 1

    def beyond(self, limits: Limits, *, takes_sparse: bool) -> list[str]:
        """What the points have that the target does not take; known after ``examine``."""
        is_lost = self._sparse_vectors and not takes_sparse
        refused = [no_sparse_vectors(self.name, self._terms.point)] if self._terms.value and is_lost else []
        return refused + [
            f"{self.name}: the payload of {extreme.point!r} has {what} {extreme.value:,}, and the target {most:,}"
            for what, extreme, most in (
                ("max_payload_bytes", self._bytes, limits.max_payload_bytes),
                ("max_payload_depth", self._depth, limits.max_payload_depth),
            )
            if extreme.value > most
        ]
