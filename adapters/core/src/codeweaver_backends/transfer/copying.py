"""Streaming collections to a backend: from another one, or from a file."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from codeweaver_backends.capabilities import BackendCapabilities, Limits
from codeweaver_backends.errors import CollectionNotFoundError, InvalidOptionError, RateLimitError, UnsupportedError
from codeweaver_backends.readers.layout import Columns
from codeweaver_backends.transfer.comparing import Comparison, compare_answers, compare_points
from codeweaver_backends.transfer.files import FileOrigin
from codeweaver_backends.transfer.journal import Entry, Journal
from codeweaver_backends.transfer.origin import BackendOrigin, Origin, PointPage, capabilities_of
from codeweaver_backends.transfer.plan import Plan, check_points, make_plan
from codeweaver_backends.transfer.report import (
    Check,
    CheckName,
    CollectionReport,
    OnProgress,
    Progress,
    TransferRefusedError,
    TransferReport,
)
from codeweaver_backends.types import CollectionInfo, DistanceMetric, VectorPoint

__all__ = ["copy", "import_points"]

Existing = Literal["refuse", "continue"]
_STORED: Final[tuple[CheckName, ...]] = ("ids", "payloads", "vectors")
_ANSWERS: Final[tuple[CheckName, ...]] = ("searches", "filters")
_RATE_LIMITED: Final = 5
_LONGEST_PAUSE: Final = 60.0


def _silent(progress: Progress) -> None:
    """Tell nobody."""


async def copy(
    source: Any,
    target: Any,
    *,
    collections: Sequence[str] | None = None,
    names: Mapping[str, str] | None = None,
    existing: Existing = "refuse",
    journal: Path | None = None,
    identity: str = "",
    keep_journal: bool = False,
    sparse_vectors: bool = True,
    dry_run: bool = False,
    samples: int = 20,
    passes: int = 3,
    progress: OnProgress = _silent,
) -> TransferReport:
    """Copy collections (all, if none is named) from one backend to another.

    ``names`` gives collections another name on the target. A collection that the target has already is refused, or
    with ``existing="continue"`` written to; then nothing is deleted from it. With ``journal``, a file, a copy that was
    interrupted, also by a kill, goes on where it stopped; ``identity`` is noted there, and a journal with another one
    is refused. At the end it is removed, or with ``keep_journal`` left to the caller, to be removed when the report has
    reached whom it is for: until then the same call compares again, and reports.

    With ``sparse_vectors=False`` the points are copied as if they had none; else a target that takes none is refused
    when a point has one. With ``dry_run`` everything that can stand in the way is looked for, and nothing is written.

    Afterwards up to ``passes`` comparisons of all points are made; each but the last writes again what differs and
    deletes what the source no longer has, until one finds no difference. Then ``samples`` searches and filters are
    put to both. A source that is written to meanwhile is not a snapshot: the target has each point as it was at some
    moment between the beginning and the last comparison, and the report says if they still differed.

    Raises ``TransferRefusedError`` before anything is written, naming all that the target cannot hold.
    """
    given, takes = await capabilities_of(source), await capabilities_of(target)
    if not given.supports_scan:
        raise UnsupportedError(
            "the source cannot be scanned, so its points cannot be listed", capability="supports_scan"
        )
    wanted = list(collections) if collections is not None else sorted(await source.list_collections())
    renamed = dict(names or {})
    if unknown := sorted(renamed.keys() - set(wanted)):
        raise InvalidOptionError(f"names are given for collections that are not copied: {', '.join(unknown)}")
    if len({renamed.get(name, name) for name in wanted}) < len(wanted):
        raise InvalidOptionError("two collections would have one name on the target")
    writer = _Writer(
        target,
        takes,
        Journal(journal, identity, is_kept=keep_journal),
        existing,
        samples,
        passes,
        progress,
        sparse_vectors,
    )
    jobs = []
    for name in wanted:
        job = await writer.prepare(
            BackendOrigin(source, name, sparse_vectors=sparse_vectors), renamed.get(name, name), given
        )
        jobs.append(job)
    report = TransferReport(_name_of(source), _name_of(target), dry_run)
    return await writer.run(jobs, report)


async def import_points(
    file: Path,
    target: Any,
    *,
    collection: str | None = None,
    columns: Columns | None = None,
    metric: DistanceMetric | None = None,
    existing: Existing = "refuse",
    journal: Path | None = None,
    identity: str = "",
    keep_journal: bool = False,
    sparse_vectors: bool = True,
    dry_run: bool = False,
    passes: int = 3,
    progress: OnProgress = _silent,
) -> TransferReport:
    """Write the points of a file (Parquet, Arrow, JSON lines, ``.npy``, ``.npz``) to a collection.

    A file of ``export_points`` says collection and metric itself; of any other, ``columns`` says where id, vector and
    payload are, and ``metric`` is cosine if absent. The file is read once before anything is written: a mistake in it
    is told with its row. Everything else is as ``copy`` does it.
    """
    origin = await asyncio.to_thread(FileOrigin.open, file, columns, metric, collection, sparse_vectors=sparse_vectors)
    await origin.examine(progress)
    takes = await capabilities_of(target)
    writer = _Writer(
        target, takes, Journal(journal, identity, is_kept=keep_journal), existing, 0, passes, progress, sparse_vectors
    )
    job = await writer.prepare(origin, origin.name, None)
    return await writer.run([job], TransferReport(str(file), _name_of(target), dry_run))


def _is_narrower(target: Limits, source: Limits) -> bool:
    """Whether the source may hold payloads that the target may not."""
    return target.max_payload_bytes < source.max_payload_bytes or target.max_payload_depth < source.max_payload_depth


def _name_of(backend: Any) -> str:
    return str(getattr(backend, "name", type(backend).__name__))


@dataclass(slots=True)
class _Job:
    origin: Origin
    name: str
    """On the target."""
    plan: Plan
    entry: Entry
    given: BackendCapabilities | None
    """Of the source, where it can be asked too."""
    started: float = 0.0

    def report(self) -> CollectionReport:
        info = self.plan.info
        return CollectionReport(
            self.origin.name,
            self.name,
            info.dimension,
            info.distance_metric.value,
            info.vector_count,
            resumed_at=self.entry.written,
            notes=list(self.plan.notes),
        )


@dataclass(slots=True)
class _Writer:
    """Writes to one target."""

    target: Any
    takes: BackendCapabilities
    journal: Journal
    existing: Existing
    samples: int
    passes: int
    progress: OnProgress
    sparse_vectors: bool

    async def prepare(self, origin: Origin, name: str, given: BackendCapabilities | None) -> _Job:
        """Find what stands in the way."""
        info = await origin.describe()
        if given is not None and not given.index_kinds:
            info.vector_index = "auto"  # it had no choice; the target may have one
        plan = make_plan(info, self.takes)
        job = _Job(origin, name, plan, self.journal.entry(origin.name), given)
        if isinstance(origin, BackendOrigin) and origin.backend is self.target and origin.name == name:
            plan.obstacles.append(f"{name}: source and target are the same collection")
        elif (there := await self._there(name)) is not None:
            self._judge_existing(job, there)
        elif job.entry.state != "new":
            # Somebody has deleted what the journal tells of.
            job.entry.state, job.entry.cursor, job.entry.written = "new", None, 0
        limits = self.takes.limits
        if isinstance(origin, FileOrigin):
            plan.obstacles += origin.beyond(limits, takes_sparse=self.takes.supports_hybrid_search)
        elif given and not plan.obstacles:
            takes_sparse = self.takes.supports_hybrid_search
            refuse_sparse = self.sparse_vectors and given.supports_hybrid_search and not takes_sparse
            if refuse_sparse or _is_narrower(limits, given.limits):
                await check_points(origin, plan, limits, self.progress, refuse_sparse=refuse_sparse)
        return job

    async def _there(self, name: str) -> CollectionInfo | None:
        with suppress(CollectionNotFoundError):
            found: CollectionInfo = await self.target.get_collection_info(name)
            return found
        return None

    def _judge_existing(self, job: _Job, there: CollectionInfo) -> None:
        info, entry = job.plan.info, job.entry
        if (there.dimension, there.distance_metric) != (info.dimension, info.distance_metric):
            job.plan.obstacles.append(
                f"{job.name}: the target's collection has dimension {there.dimension} and the metric "
                f"{there.distance_metric.value}, the source's {info.dimension} and {info.distance_metric.value}"
            )
        elif entry.state == "creating" and there.vector_count == 0:
            return  # created, and the run ended before that was noted
        elif entry.state in ("new", "creating") and self.existing == "refuse":
            job.plan.obstacles.append(
                f"{job.name}: the target has this collection already, with {there.vector_count:,} points;"
                ' continue it (existing="continue", --continue), or write to another name (names={…}, --as)'
            )

    async def run(self, jobs: list[_Job], report: TransferReport) -> TransferReport:
        """Write them all. Raises ``TransferRefusedError`` if there is an obstacle to any."""
        if obstacles := [one for job in jobs for one in job.plan.obstacles]:
            raise TransferRefusedError(obstacles)
        for job in jobs:
            job.started = time.monotonic()
            told = job.report()
            report.collections.append(told)
            if not report.dry_run:
                await self._create(job)
                await self._stream(job, told)
                await self._verify(job, told)
                if job.origin.left_out:
                    told.notes.append(
                        f"{job.origin.left_out:,} points had a sparse vector, which was left out as asked"
                    )
                told.seconds = time.monotonic() - job.started
        if not report.dry_run and report.ok:
            self.journal.end(job.origin.name for job in jobs)
        return report

    async def _create(self, job: _Job) -> None:
        entry, info = job.entry, job.plan.info
        if entry.state in ("writing", "written", "done"):
            return
        if await self._there(job.name) is None:
            entry.state, entry.is_ours = "creating", True
            self.journal.save()
            await self.target.create_collection(job.name, info.dimension, info.distance_metric, **job.plan.options)
        if entry.is_ours and job.plan.sparse_index is not None:
            # Before there are points: their texts are indexed as they are written. Done twice, it changes nothing.
            await self.target.create_sparse_index(job.name, **job.plan.sparse_index)
        entry.state = "writing"
        self.journal.save()

    # --- the first pass ---

    async def _stream(self, job: _Job, told: CollectionReport) -> None:
        entry, total = job.entry, job.plan.info.vector_count
        if entry.state != "writing":
            return
        async for page in _read_ahead(job.origin, entry):
            await self._write(job.name, page.points)
            told.written += len(page.points)
            entry.written += len(page.points)
            entry.cursor = page.cursor
            if page.cursor is None:
                entry.state = "written"
            self.journal.save()
            self.progress(Progress("write", job.origin.name, entry.written, max(total, entry.written)))

    async def _write(self, name: str, points: list[VectorPoint]) -> None:
        if not points:
            return
        for attempt in range(_RATE_LIMITED + 1):
            try:
                if self.takes.supports_columnar and not any(point.sparse_vector for point in points):
                    matrix = np.asarray([point.vector for point in points], dtype=np.float32)
                    payloads = [dict(point.payload or {}) for point in points]
                    await self.target.upsert_batch(name, [point.id for point in points], matrix, payloads)
                else:
                    # Sparse vectors have no column; points carry them.
                    await self.target.upsert_vectors(name, points)
                return
            except RateLimitError as error:
                if attempt == _RATE_LIMITED:
                    raise
                await asyncio.sleep(min(error.retry_after or 2.0**attempt, _LONGEST_PAUSE))

    # --- the passes after it ---

    async def _verify(self, job: _Job, told: CollectionReport) -> None:
        if not self.takes.supports_scan:
            told.points = (await job.origin.describe()).vector_count
            reason = "the target cannot be scanned"
            told.checks = [
                await self._counted(job, told.points),
                *(Check(name, "not verified", reason) for name in _STORED),
            ]
            return
        found = Comparison()
        while told.passes < max(1, self.passes):
            told.passes += 1
            info = await job.origin.describe()
            may_repair = told.passes < self.passes
            written = told.written
            found = await compare_points(
                job.origin,
                self.target,
                job.name,
                info.vector_count,
                self.samples,
                self.progress,
                self._repairing(job, told) if may_repair else None,
                with_sparse=self.takes.supports_hybrid_search,
                paths=job.plan.sparse_index["fields"] if job.plan.sparse_index else (),
            )
            told.rewritten += told.written - written
            removed = 0
            if may_repair and job.entry.is_ours and isinstance(job.origin, BackendOrigin):
                removed = await self._remove_deleted(job.origin, job.name, found)
                told.removed += removed
            if not found.differing and not removed:
                break
        told.points = info.vector_count
        told.checks = [await self._counted(job, found.points), *found.checks(), *await self._indexed(job)]
        if told.checks[0].outcome == "not verified":
            reason = "the target's collection has points that the source has not"
            told.checks += [Check(name, "not verified", reason) for name in _ANSWERS]
        elif job.given is not None and isinstance(job.origin, BackendOrigin):
            source = job.origin.backend, job.origin.name, job.given
            told.checks += await compare_answers(found, info, source, (self.target, job.name, self.takes))
        if found.points and found.textless:
            named = ", ".join(".".join(path) for path in sorted(found.textless))
            told.notes.append(f"the sparse index reads {named}, where no point has a text")
        if told.rewritten or told.removed:
            told.notes.append(
                f"after the first pass {told.rewritten:,} points were written again and {told.removed:,} deleted: "
                "the source was written to meanwhile, or an interrupted run had left them"
            )
        job.entry.state = "done"
        self.journal.save()

    def _repairing(self, job: _Job, told: CollectionReport) -> Any:
        async def repair(points: list[VectorPoint]) -> None:
            await self._write(job.name, points)
            told.written += len(points)

        return repair

    async def _remove_deleted(self, origin: BackendOrigin, name: str, found: Comparison) -> int:
        """Delete what the source no longer has. Asked only where the counts say that there can be any."""
        there = await self.target.get_collection_info(name)
        if there.vector_count <= found.points:
            return 0
        removed, copied = 0, BackendOrigin(self.target, name)
        async for page in copied.pages(with_vectors=False):
            ids = [point.id for point in page.points]
            known = await origin.holds(ids)
            if gone := [one for one in ids if one not in known]:
                await self.target.delete_vectors(name, gone)
                removed += len(gone)
        return removed

    async def _indexed(self, job: _Job) -> list[Check]:
        """Whether the sparse index is the source's, where there is one to be."""
        if job.plan.sparse_index is None:
            return []
        there: CollectionInfo = await self.target.get_collection_info(job.name)
        if there.sparse_index == job.plan.sparse_index:
            return [Check("sparse index", "passed", "the same definition")]
        if not job.entry.is_ours:
            return [Check("sparse index", "not verified", "the collection was there before, with an index of its own")]
        return [Check("sparse index", "failed", "the target tells another definition")]

    async def _counted(self, job: _Job, expected: int) -> Check:
        there: CollectionInfo = await self.target.get_collection_info(job.name)
        if there.vector_count == expected:
            return Check("count", "passed", f"{expected:,}")
        if self.existing == "continue" and not job.entry.is_ours and there.vector_count > expected:
            return Check(
                "count", "not verified", f"{expected:,} read; the collection had others, {there.vector_count:,} now"
            )
        return Check("count", "failed", f"{expected:,} read, {there.vector_count:,} on the target")


async def _read_ahead(origin: Origin, entry: Entry) -> AsyncIterator[PointPage]:
    """The origin's pages; the next one is read while the caller has one in hand."""
    pages = origin.pages(entry.cursor)
    reading = asyncio.ensure_future(anext(pages, None))
    try:
        try:
            page = await reading
        except InvalidOptionError:
            if entry.cursor is None:
                raise
            # The source no longer knows the place. Writing again from the beginning changes nothing.
            entry.cursor, entry.written = None, 0
            pages = origin.pages(None)
            page = await anext(pages, None)
        while page is not None:
            reading = asyncio.ensure_future(anext(pages, None))
            yield page
            page = await reading
    finally:
        reading.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await reading
        with suppress(AttributeError):
            await pages.aclose()  # type: ignore[attr-defined]
