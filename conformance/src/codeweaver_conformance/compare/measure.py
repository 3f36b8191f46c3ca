"""One engine's run: write everything, ask everything, judge the answers, time the searches."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing, nullcontext, suppress
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import numpy as np

from codeweaver_backends import (
    BackendCapabilities,
    CollectionNotFoundError,
    ColumnarBackend,
    SearchResult,
    VectorPoint,
)
from codeweaver_backends.protocols import implements
from codeweaver_backends.testing import NotProvisioned
from codeweaver_conformance.compare.dataset import Dataset
from codeweaver_conformance.compare.engines import Engine
from codeweaver_conformance.compare.identifiers import RANKINGS, Ranking, rank_identifiers
from codeweaver_conformance.compare.latency import Latency
from codeweaver_conformance.compare.reading import Progress
from codeweaver_conformance.compare.usage import disk_used, memory_used
from codeweaver_conformance.compare.workload import LIMIT, Answer, Search, Workload, searches_of

__all__ = ["Measurement", "UnfitError", "judge", "measure"]

_BATCH: Final = 2_000
_ROUNDS: Final = 3
_BUDGET: Final = 6.0
"""Seconds after which no further round of searches begins; each is asked once whatever it takes."""


class UnfitError(Exception):
    """The connected engine gives less than what is needed; the message says what."""


@dataclass(slots=True)
class Measurement:
    """What became of one engine. After a failure ``error`` says what, and the rest is as far as it came."""

    engine: str
    error: str | None = None
    is_missing: bool = False
    """Whether the error is that the engine is not there to be measured."""
    is_unfit: bool = False
    """Whether the error is that the connected engine gives less than what is needed."""
    server_version: str | None = None
    capabilities: BackendCapabilities | None = None
    """As the connected engine states them."""
    points: int = 0
    ingest_seconds: float | None = None
    columnar: bool = False
    indexes: Mapping[str, str] = field(default_factory=dict)
    """The payload fields that were declared."""
    unfiltered: Latency | None = None
    filtered: Latency | None = None
    concurrent: Latency | None = None
    """Where searches were asked at once: of the unfiltered ones."""
    searches_per_second: float | None = None
    """Where searches were asked at once: how many were answered in a second."""
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
    memory_bytes: int | None = None
    """By how much the process and those that it started grew, where each engine has a process of its own."""
    has_server_memory: bool = False
    """Whether ``memory_bytes`` holds a server's, too."""

    @property
    def points_per_second(self) -> float | None:
        """How fast the points were written."""
        return self.points / self.ingest_seconds if self.ingest_seconds else None

    @property
    def exact_size(self) -> int | None:
        """Up to how many points the engine promises exact answers."""
        return self.capabilities.limits.exact_size if self.capabilities else None

    def as_json(self) -> dict[str, Any]:
        """Everything but the answers."""
        return {
            "error": self.error,
            "server_version": self.server_version,
            "points": self.points,
            "ingest": {
                "seconds": self.ingest_seconds,
                "points_per_second": self.points_per_second,
                "columnar": self.columnar,
            },
            "indexes": dict(self.indexes),
            "exact_size": self.exact_size,
            "unfiltered": _searches(self.unfiltered, self.recall),
            "filtered": _searches(self.filtered, self.filtered_recall),
            "concurrent": _searches(self.concurrent, None) | {"per_second": self.searches_per_second},
            "filters": self.by_filter,
            "inexact": self.inexact,
            "altered": self.altered,
            "disk_bytes": self.disk_bytes,
            "memory_bytes": self.memory_bytes,
            "sparse_index_seconds": self.sparse_index_seconds,
            "rankings": {name: {**one.latency.as_json(), "mrr": one.mrr} for name, one in self.rankings.items()},
        }


def _searches(latency: Latency | None, recall: float | None) -> dict[str, Any]:
    told = latency.as_json() if latency else {"p50": None, "p95": None, "p99": None, "searches": 0}
    return {**told, "recall": recall}


def measure(
    engine: Engine,
    data: Dataset,
    keep: Path | None,
    progress: Progress,
    *,
    concurrency: int = 1,
    refuse: Callable[[BackendCapabilities], Sequence[str]] = lambda _: (),
) -> Measurement:
    """Run one engine. Whatever goes wrong with it is its result, not ours.

    ``keep`` is a folder for the data of embedded engines that outlives the run. ``refuse`` is asked what stands against
    the claims of the connected engine before anything is written.
    """
    result, memory = Measurement(engine.name), memory_used().bytes
    try:
        with engine.provide(keep) as settings:
            asyncio.run(_Run(engine, data, keep, progress, result, concurrency, refuse, memory).run(settings))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001 - also the panics of native engines, which are no Exception
        result.error = str(error) or type(error).__name__
        result.is_missing = isinstance(error, NotProvisioned)
        result.is_unfit = isinstance(error, UnfitError)
    return result


def judge(result: Measurement, workload: Workload) -> None:
    """Hold the answers against the exact ones."""
    if result.error is not None:
        return
    judged = list(zip(workload.searches, result.answers, strict=True))
    recalls = [workload.recall(search, answer) for search, answer in judged]
    plain = len(workload.unfiltered)
    result.recall = float(np.mean(recalls[:plain]))
    result.filtered_recall = float(np.mean(recalls[plain:])) if recalls[plain:] else None
    result.inexact = sum(not workload.is_exact(search, answer) for search, answer in judged)


@dataclass(slots=True)
class _Run:
    engine: Engine
    data: Dataset
    keep: Path | None
    progress: Progress
    result: Measurement
    concurrency: int
    refuse: Callable[[BackendCapabilities], Sequence[str]]
    memory: int
    """What was used before the engine was there."""
    collection: str = field(init=False)

    async def run(self, settings: dict[str, Any]) -> None:
        keep = self.keep is not None and settings.get("path") == self.keep / self.engine.name
        # Data that is kept can be found again; on a shared server the name is nobody else's.
        self.collection = "codeweaver-compare" if keep else f"codeweaver-compare-{uuid4().hex[:12]}"
        backend = self.engine.create(settings)
        async with aclosing(backend) if hasattr(backend, "aclose") else nullcontext(backend):
            await self._connect(backend)
            if keep:
                await self._drop(backend)
            try:
                await self._ingest(backend)
                await self._ask_all(backend)
                self._note_memory()
                self.result.disk_bytes = disk_used(settings.get("path"))
                await self._rank(backend)
            except BaseException:
                with suppress(Exception):  # the first failure is the one to tell
                    await self._drop(backend)
                raise
            if not keep:
                await self._drop(backend)

    async def _connect(self, backend: Any) -> None:
        ask = getattr(backend, "get_capabilities", None)
        claims = await ask() if ask is not None else None
        claims = claims if isinstance(claims, BackendCapabilities) else self.engine.claims
        self.result.capabilities = claims
        version = getattr(backend, "server_version", None)
        self.result.server_version = version if isinstance(version, str) else None
        if reasons := self.refuse(claims):
            raise UnfitError("; ".join(reasons))

    async def _drop(self, backend: Any) -> None:
        with suppress(CollectionNotFoundError):
            await backend.delete_collection(self.collection)

    def _note_memory(self) -> None:
        now = memory_used()
        grown = max(0, now.bytes - self.memory)
        self.result.memory_bytes = max(self.result.memory_bytes or 0, grown)
        self.result.has_server_memory = now.processes > 1

    # --- writing ---

    async def _ingest(self, backend: Any) -> None:
        data, result = self.data, self.result
        claims = result.capabilities or self.engine.claims
        if claims.supports_payload_indexes:
            result.indexes = {name: kind for name, kind in data.indexes.items() if kind in claims.payload_index_types}
        options = {"payload_indexes": result.indexes} if result.indexes else {}
        result.columnar = claims.supports_columnar and implements(backend, ColumnarBackend)
        write = self._write_columns if result.columnar else self._write_points
        self.progress.begin(f"{self.engine.name}: writing", len(data))
        await backend.create_collection(self.collection, data.dimension, data.metric, **options)
        begun = time.perf_counter()
        for start in range(0, len(data), _BATCH):
            batch = slice(start, start + _BATCH)
            await write(backend, batch)
            self.progress.advance(len(data.ids[batch]))
        result.ingest_seconds = time.perf_counter() - begun
        self._note_memory()
        await asyncio.sleep(claims.limits.visibility)
        result.points = (await backend.get_collection_info(self.collection)).vector_count
        if result.points != len(data):
            raise RuntimeError(f"{len(data)} points were written and {result.points} are there")

    async def _write_columns(self, backend: Any, batch: slice) -> None:
        data = self.data
        await backend.upsert_batch(
            self.collection, list(data.ids[batch]), data.vectors[batch], list(data.payloads[batch])
        )

    async def _write_points(self, backend: Any, batch: slice) -> None:
        data = self.data
        columns = zip(data.ids[batch], data.vectors[batch].tolist(), data.payloads[batch], strict=True)
        await backend.upsert_vectors(self.collection, [VectorPoint(*row) for row in columns])

    # --- searching ---

    async def _search(self, backend: Any, search: Search) -> list[SearchResult]:
        named = search.filter
        found: list[SearchResult] = await backend.search_vectors(
            self.collection, self.data.query_vectors[search.query].tolist(), LIMIT, named.filter if named else None
        )
        return found

    async def _ask_all(self, backend: Any) -> None:
        result = self.result
        unfiltered, filtered = searches_of(self.data)
        for search in unfiltered:  # what is timed is a warm engine
            await self._search(backend, search)
        seconds, plain = await self._ask(backend, "searches", unfiltered)
        result.unfiltered = Latency.of(seconds)
        restricted: list[list[SearchResult]] = []
        if filtered:
            seconds, restricted = await self._ask(backend, "filtered searches", filtered)
            result.filtered = Latency.of(seconds)
        for named in self.data.filters:
            own = [took for took, search in zip(seconds, cycle(filtered), strict=False) if search.filter is named]
            result.by_filter[named.label] = float(np.median(own))
        if self.concurrency > 1:
            await self._ask_at_once(backend, unfiltered)
        result.answers = [[(hit.id, hit.score) for hit in found] for found in (*plain, *restricted)]
        written = {(type(point_id), point_id): row for row, point_id in enumerate(self.data.ids)}
        result.altered = sum(
            not self._is_intact(hit, written.get((type(hit.id), hit.id)))
            for found in (*plain, *restricted)
            for hit in found
        )

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

    async def _ask_at_once(self, backend: Any, searches: Sequence[Search]) -> None:
        """Keep so many searches under way, until each was asked a few times."""
        left = list(searches) * max(_ROUNDS, math.ceil(4 * self.concurrency / len(searches)))
        seconds: list[float] = []
        self.progress.begin(f"{self.engine.name}: {self.concurrency} searches at once", len(left))

        async def work() -> None:
            while left:
                search, begun = left.pop(), time.perf_counter()
                await self._search(backend, search)
                seconds.append(time.perf_counter() - begun)
                self.progress.advance()

        begun = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(self.concurrency):
                group.create_task(work())
        self.result.searches_per_second = len(seconds) / (time.perf_counter() - begun)
        self.result.concurrent = Latency.of(seconds)

    async def _rank(self, backend: Any) -> None:
        identifiers, result = self.data.identifiers, self.result
        if identifiers is not None and result.capabilities and result.capabilities.supports_hybrid_search:
            self.progress.begin(f"{self.engine.name}: hybrid searches", len(RANKINGS))
            found = await rank_identifiers(backend, self.collection, identifiers, self.progress.advance)
            result.sparse_index_seconds, result.rankings = found

    def _is_intact(self, hit: SearchResult, row: int | None) -> bool:
        return row is not None and _spelt(hit.payload) == _spelt(self.data.payloads[row])


def _spelt(payload: object) -> str:
    """As text, in which 1, 1.0 and true are three things. To Python they are one."""
    return json.dumps(payload or {}, sort_keys=True)
