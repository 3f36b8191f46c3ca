"""Writing a collection to a file. The file appears when it is whole: until then it has another name."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from codeweaver_backends.errors import InvalidOptionError, UnsupportedError
from codeweaver_backends.readers.layout import Header
from codeweaver_backends.readers.points import FORMATS
from codeweaver_backends.transfer.comparing import compare_points
from codeweaver_backends.transfer.files import FileOrigin
from codeweaver_backends.transfer.jsonl import JSONLinesWriter
from codeweaver_backends.transfer.origin import BackendOrigin, capabilities_of
from codeweaver_backends.transfer.report import (
    Check,
    CollectionReport,
    OnProgress,
    Progress,
    TransferError,
    TransferRefusedError,
    TransferReport,
)

__all__ = ["export_points"]


_WRITTEN: Final = ("parquet", "jsonl")


def _silent(progress: Progress) -> None:
    """Tell nobody."""


async def export_points(
    source: Any,
    file: Path,
    *,
    collection: str | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
    progress: OnProgress = _silent,
) -> TransferReport:
    """Write a collection (the only one, if none is named) to a Parquet or JSON lines file, as its ending says.

    Afterwards the file is read again, and every point compared with the source; points that were written meanwhile are
    told as differing. Raises ``TransferRefusedError`` if the file is there already and ``overwrite`` is not set, and
    ``TransferError`` if it cannot be written: then what was there before is there still.
    """
    kind = FORMATS.get(file.suffix.lower())
    if kind not in _WRITTEN:
        raise InvalidOptionError(f"{file.name!r} must end in .parquet, .jsonl or .ndjson to be written")
    given = await capabilities_of(source)
    if not given.supports_scan:
        raise UnsupportedError(
            "the source cannot be scanned, so its points cannot be listed", capability="supports_scan"
        )
    name = collection if collection is not None else await _only(source)
    if not overwrite and await asyncio.to_thread(file.exists):
        raise TransferRefusedError([f"{file}: there is such a file already"])
    origin = BackendOrigin(source, name)
    info = await origin.describe()
    told = CollectionReport(name, str(file), info.dimension, info.distance_metric.value, info.vector_count)
    report = TransferReport(str(getattr(source, "name", type(source).__name__)), str(file), dry_run, [told])
    if dry_run:
        if kind == "parquet":
            _writer_of(kind)
        return report
    started = time.monotonic()
    indexes, index = dict(info.payload_indexes), info.vector_index if given.index_kinds else "auto"
    header = Header(name, info.dimension, info.distance_metric, None, indexes, info.sparse_index, index)
    try:
        told.written = await _write(origin, file, kind, header, progress)
    except OSError as error:
        raise TransferError(f"{file}: cannot be written: {error.strerror or error}") from error
    back = FileOrigin.open(file, None, None, None)
    await back.examine(_silent)
    found = await compare_points(
        back, source, name, told.written, 0, progress, with_sparse=given.supports_hybrid_search
    )
    told.passes = 1
    told.points = (await origin.describe()).vector_count
    counts = f"{found.points:,} in the file, {told.points:,} in the source"
    told.checks = [Check("count", "passed" if told.points == found.points else "failed", counts)]
    told.checks += found.checks()
    if info.sparse_index is not None:
        is_same = (await back.describe()).sparse_index == info.sparse_index
        detail = (
            "its definition is in the file; import makes it anew" if is_same else "the file tells another definition"
        )
        told.checks.append(Check("sparse index", "passed" if is_same else "failed", detail))
    told.seconds = time.monotonic() - started
    return report


async def _only(source: Any) -> str:
    names: list[str] = sorted(await source.list_collections())
    if len(names) != 1:
        raise InvalidOptionError(f"which collection? There are: {', '.join(names) or 'none'}")
    return names[0]


def _writer_of(kind: str) -> Any:
    if kind == "parquet":
        from codeweaver_backends.transfer.parquet import ParquetWriter

        return ParquetWriter
    return JSONLinesWriter


async def _write(origin: BackendOrigin, file: Path, kind: str, header: Header, progress: OnProgress) -> int:
    make_writer = _writer_of(kind)
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    written = 0
    try:
        with part.open("xb") as stream:
            writer = make_writer(stream, header)
            async for page in origin.pages():
                await asyncio.to_thread(writer.write, page.points)
                written += len(page.points)
                progress(Progress("write", origin.name, written, None))
            writer.finish()
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(file)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    return written
