"""One engine's run: write everything, ask everything, judge the answers, time the searches."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import aclosing, nullcontext, suppress
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any, Final, Protocol
from uuid import uuid4

import numpy as np

from codeweaver_backends import (
    BackendCapabilities,
    CodeWeaverFactory,
    CollectionNotFoundError,
    ColumnarBackend,
    SearchResult,
    VectorPoint,
)
from codeweaver_backends.protocols import implements
from codeweaver_conformance.compare.corpus import INDEXES
from codeweaver_conformance.compare.engines import Engine
from codeweaver_conformance.compare.identifiers import RANKINGS, Ranking, rank_identifiers
from codeweaver_conformance.compare.latency import Latency
from codeweaver_conformance.compare.workload import LIMIT, Answer, Search, Workload

__all__ = ["Measurement", "Progress", "measure"]

_BATCH: Final = 2_000
_ROUNDS: Final = 3
_BUDGET: Final = 6.0
"""Seconds after which no further round of searches begins; each is asked once whatever it takes."""


class Progress(Protocol):
    """Who is told how far it is."""

    def begin(self, what: str, total: int) -> None:
        """A new stretch of work begins."""

    def advance(self, steps: int = 1) -> None:
        """Some of it is done."""


@dataclass(slots=True)
class Measurement:
    """What became of one engine. After a failure ``error`` says what, and the rest is as far as it came."""

    engine: Engine
    error: str | None = None
    points: int = 0
    ingest_seconds: float | None = None
    columnar: bool = False
    indexes: Mapping[str, str] = field(default_factory=dict)
    """The payload fields that were declared."""
    exact_size: int | None = None
    unfiltered: Latency | None = None
    filtered: Latency | None = None
    by_filter: dict[str, float] = field(default_factory=dict)
    """Per filter, the median of its searches' seconds."""
    answers: list[Answer] = field(default_factory=list)
    """In the order of the workload's searches."""
    recall: float | None = None
    filtered_recall: float | None = None
    inexact: int | None = None
    """Searches whose answer is not the exact one."""
    altered: int | None = None
    """Results whose payload is not what was written."""
    disk_bytes: int | None = None
    sparse_index_seconds: float | None = None
    """What making the sparse index of the points took; ``None`` where there is no hybrid search."""
    rankings: Mapping[str, Ranking] = field(default_factory=dict)
    """Searches by identifiers' words, as ``RANKINGS`` names them."""

    @property
    def points_per_second(self) -> float | None:
        """How fast the points were written."""
        return self.points / self.ingest_seconds if self.ingest_seconds else None


def measure(engine: Engine, workload: Workload, data: Path | None, progress: Progress) -> Measurement:
    """Run one engine. Whatever goes wrong with it is its result, not ours."""
    result = Measurement(engine)
    try:
        with engine.provide(data) as settings:
            asyncio.run(_Run(engine, workload, data, progress, result).run(settings))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001 - also the panics of native engines, which are no Exception
        result.error = str(error) or type(error).__name__
    return result


@dataclass(slots=True)
class _Run:
    engine: Engine
    workload: Workload
    data: Path | None
    progress: Progress
    result: Measurement
    collection: str = field(init=False)

    async def run(self, settings: dict[str, Any]) -> None:
        keep = self.data is not None and settings.get("path") == self.data / self.engine.name
        # Data that is kept can be found again; on a shared server the name is nobody else's.
        self.collection = "codeweaver-compare" if keep else f"codeweaver-compare-{uuid4().hex[:12]}"
        factory = CodeWeaverFactory()
        capabilities = factory.get_capabilities(self.engine.backend)
        backend = factory.create_backend(self.engine.backend, **settings)
        async with aclosing(backend) if hasattr(backend, "aclose") else nullcontext(backend):
            if keep:
                await self._drop(backend)
            try:
                await self._ingest(backend, capabilities)
                await self._ask_all(backend)
                self.result.disk_bytes = _disk_used(settings.get("path"))
                await self._rank(backend, capabilities)
            except BaseException:
                with suppress(Exception):  # the first failure is the one to tell
                    await self._drop(backend)
                raise
            if not keep:
                await self._drop(backend)

    async def _drop(self, backend: Any) -> None:
        with suppress(CollectionNotFoundError):
            await backend.delete_collection(self.collection)

    # --- writing ---

    async def _ingest(self, backend: Any, claimed: object) -> None:
        workload, result = self.workload, self.result
        capabilities = claimed if isinstance(claimed, BackendCapabilities) else BackendCapabilities()
        if capabilities.supports_payload_indexes:
            result.indexes = {name: kind for name, kind in INDEXES.items() if kind in capabilities.payload_index_types}
        options = {"payload_indexes": result.indexes} if result.indexes else {}
        result.exact_size = capabilities.limits.exact_size
        result.columnar = capabilities.supports_columnar and implements(backend, ColumnarBackend)
        write = self._write_columns if result.columnar else self._write_points
        self.progress.begin(f"{self.engine.name}: writing", len(workload.ids))
        await backend.create_collection(self.collection, workload.vectors.shape[1], **options)
        begun = time.perf_counter()
        for start in range(0, len(workload.ids), _BATCH):
            batch = slice(start, start + _BATCH)
            await write(backend, batch)
            self.progress.advance(len(workload.ids[batch]))
        result.ingest_seconds = time.perf_counter() - begun
        await asyncio.sleep(capabilities.limits.visibility)
        result.points = (await backend.get_collection_info(self.collection)).vector_count
        if result.points != len(workload.ids):
            raise RuntimeError(f"{len(workload.ids)} points were written and {result.points} are there")

    async def _write_columns(self, backend: Any, batch: slice) -> None:
        workload = self.workload
        await backend.upsert_batch(
            self.collection, workload.ids[batch], workload.vectors[batch], workload.payloads[batch]
        )

    async def _write_points(self, backend: Any, batch: slice) -> None:
        workload = self.workload
        columns = zip(workload.ids[batch], workload.vectors[batch].tolist(), workload.payloads[batch], strict=True)
        await backend.upsert_vectors(self.collection, [VectorPoint(*row) for row in columns])

    # --- searching ---

    async def _search(self, backend: Any, search: Search) -> list[SearchResult]:
        named = search.filter
        found: list[SearchResult] = await backend.search_vectors(
            self.collection, self.workload.query_vectors[search.query], LIMIT, named.filter if named else None
        )
        return found

    async def _ask_all(self, backend: Any) -> None:
        workload, result = self.workload, self.result
        for search in workload.unfiltered:  # what is timed is a warm engine
            await self._search(backend, search)
        seconds, plain = await self._ask(backend, "searches", workload.unfiltered)
        result.unfiltered = Latency.of(seconds)
        seconds, restricted = await self._ask(backend, "filtered searches", workload.filtered)
        result.filtered = Latency.of(seconds)
        for named in workload.filters:
            own = [took for took, search in zip(seconds, cycle(workload.filtered)) if search.filter is named]
            result.by_filter[named.label] = float(np.median(own))
        result.answers = [[(hit.id, hit.score) for hit in found] for found in (*plain, *restricted)]
        result.altered = sum(not self._is_intact(hit) for found in (*plain, *restricted) for hit in found)
        judged = list(zip(workload.searches, result.answers, strict=True))
        recalls = [workload.recall(search, answer) for search, answer in judged]
        result.recall = float(np.mean(recalls[: len(plain)]))
        result.filtered_recall = float(np.mean(recalls[len(plain) :]))
        result.inexact = sum(not workload.is_exact(search, answer) for search, answer in judged)

    async def _ask(
        self, backend: Any, what: str, searches: Sequence[Search]
    ) -> tuple[list[float], list[list[SearchResult]]]:
        """Time the searches, in a few rounds unless that is long, and keep the first round's answers."""
        seconds: list[float] = []
        answers: list[list[SearchResult]] = []
        self.progress.begin(f"{self.engine.name}: {what}", len(searches) * _ROUNDS)
        deadline = time.perf_counter() + _BUDGET
        while len(seconds) < len(searches) * _ROUNDS and (not seconds or time.perf_counter() < deadline):
            for search in searches:
                begun = time.perf_counter()
                found = await self._search(backend, search)
                seconds.append(time.perf_counter() - begun)
                if len(answers) < len(searches):
                    answers.append(found)
                self.progress.advance()
        return seconds, answers

    async def _rank(self, backend: Any, claimed: object) -> None:
        told = getattr(backend, "capabilities", claimed)
        identifiers, result = self.workload.identifiers, self.result
        if identifiers is not None and getattr(told, "supports_hybrid_search", False):
            self.progress.begin(f"{self.engine.name}: hybrid searches", len(RANKINGS))
            found = await rank_identifiers(backend, self.collection, identifiers, self.progress.advance)
            result.sparse_index_seconds, result.rankings = found

    def _is_intact(self, hit: SearchResult) -> bool:
        row = self.workload.row_of.get(hit.id) if isinstance(hit.id, str) else None
        return row is not None and _spelt(hit.payload) == _spelt(self.workload.payloads[row])


def _spelt(payload: object) -> str:
    """As text, in which 1, 1.0 and true are three things. To Python they are one."""
    return json.dumps(payload, sort_keys=True)


def _disk_used(path: object) -> int | None:
    """The bytes that the files below a folder take up; ``None`` where there is no folder of this machine."""
    if not isinstance(path, str | Path) or not Path(path).is_dir():
        return None
    return sum(_allocated(file.stat()) for file in Path(path).rglob("*") if file.is_file())


def _allocated(stat: os.stat_result) -> int:
    # Blocks, where the system tells them: engines set aside sparse files that are larger than what they hold.
    return stat.st_blocks * 512 if hasattr(stat, "st_blocks") else stat.st_size
