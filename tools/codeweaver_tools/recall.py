"""What an index gives and what it takes: recall and time of exact, default and more thorough searches, by filter.

``python -m codeweaver_tools.recall --target NAME --points 100000 --dimension 256`` loads points, optimizes the
collection, and asks the same queries in each way. Points have few degrees of freedom, as embeddings do: a mixture of
clusters and scattered points in 24 dimensions, turned into the dimension asked for, with a little noise. A filter
passes 50, 10, 1 or 0.1 % of the points, which lie apart, or 2 % that lie in one place. Rows are merged into
``reports/recall.json``. Seconds are of this machine at this moment; recall and the number of short answers are not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from codeweaver_backends.factory import CodeWeaverFactory
from codeweaver_backends.testing import find_targets
from codeweaver_backends.types import FilterCondition, FloatMatrix, SearchFilter

__all__ = ["main"]

NAME: Final = "recall"
LATENT: Final = 24
BATCH: Final = 25_000
DECLARED: Final = {"declared": "integer"}
REPORT: Final = Path("reports/recall.json")
FILTERS: Final = {
    "none": None,
    "50 %": ("every2", 0),
    "10 %": ("every10", 0),
    "1 %": ("every100", 0),
    "0.1 %": ("every1000", 0),
    "1 % declared": ("declared", 0),
    "2 % in one place": ("place", True),
}
WAYS: Final[dict[str, dict[str, Any]]] = {"exact": {"exact": True}, "auto": {}, "effort 4": {"effort": 4}}


class Data:
    """Points, queries, and which points a filter passes."""

    def __init__(self, points: int, dimension: int, queries: int, seed: int = 11) -> None:
        rng = np.random.default_rng(seed)
        centres = rng.standard_normal((200, LATENT))
        turned = np.linalg.qr(rng.standard_normal((dimension, LATENT)))[0].T

        def some(count: int) -> npt.NDArray[np.float32]:
            at = centres[rng.integers(0, len(centres), count)] + 0.3 * rng.standard_normal((count, LATENT))
            scattered = rng.random((count, 1)) < 0.5
            latent = np.where(scattered, rng.standard_normal((count, LATENT)), at)
            noise = 0.03 * rng.standard_normal((count, dimension))
            return np.asarray(latent @ turned + noise, np.float32)

        self.matrix: FloatMatrix = np.concatenate([some(min(BATCH, points - at)) for at in range(0, points, BATCH)])
        self.queries: FloatMatrix = some(queries)
        self.lengths = np.linalg.norm(self.matrix, axis=1)
        away = (centres[0] @ turned).astype(np.float32)
        order = np.argsort(-(self.matrix @ away) / self.lengths)
        self.place = np.zeros(points, dtype=np.bool_)
        self.place[order[: points // 50]] = True

    def batches(self) -> Iterator[tuple[list[int], FloatMatrix, list[dict[str, Any]]]]:
        """The points as columns."""
        for start in range(0, len(self.matrix), BATCH):
            ids = list(range(start, min(start + BATCH, len(self.matrix))))
            yield ids, self.matrix[ids[0] : ids[-1] + 1], [self.payload(n) for n in ids]

    def payload(self, n: int) -> dict[str, Any]:
        """A point's payload."""
        every = {f"every{k}": n % k for k in (2, 10, 100, 1000)}
        return {**every, "declared": n * 7 % 100, "place": bool(self.place[n])}

    def passing(self, passes: tuple[str, Any] | None) -> npt.NDArray[np.bool_]:
        """The points that a filter passes."""
        numbers = np.arange(len(self.matrix))
        if passes is None:
            return np.ones(len(numbers), dtype=np.bool_)
        field, value = passes
        if field == "place":
            return self.place
        found: npt.NDArray[np.bool_] = (
            numbers * 7 % 100 == value if field == "declared" else numbers % int(field.removeprefix("every")) == value
        )
        return found


async def measure(backend: Any, data: Data, limit: int, report: dict[str, Any], console: Console) -> None:
    """Load, optimize, ask."""
    if await backend.collection_exists(NAME):
        await backend.delete_collection(NAME)
    claims = await backend.get_capabilities()
    declared = {"payload_indexes": DECLARED} if claims.supports_payload_indexes else {}
    await backend.create_collection(NAME, data.matrix.shape[1], **declared)
    started = time.perf_counter(), time.process_time()
    for ids, matrix, payloads in data.batches():
        await backend.upsert_batch(NAME, ids, matrix, payloads)
    report["load_seconds"], report["load_cpu_seconds"] = _since(started)
    started = time.perf_counter(), time.process_time()
    info = await backend.optimize_collection(NAME) if claims.index_kinds else await backend.get_collection_info(NAME)
    report["optimize_seconds"], report["optimize_cpu_seconds"] = _since(started)
    report["points"], report["indexed"] = info.vector_count, info.indexed_vector_count
    console.print({name: value for name, value in report.items() if name != "rows"})
    for name, passes in FILTERS.items():
        allowed = data.passing(passes)
        search_filter = None if passes is None else SearchFilter(must=[FilterCondition(passes[0], "eq", passes[1])])
        for way, options in WAYS.items():
            if way == "effort 4" and not claims.search_effort:
                continue
            row = await _asked(backend, data, allowed, {"limit": limit, "search_filter": search_filter, **options})
            report["rows"].append({"filter": name, "way": way, "limit": limit, **row})
            console.print(report["rows"][-1])


async def _asked(backend: Any, data: Data, allowed: npt.NDArray[np.bool_], options: dict[str, Any]) -> dict[str, Any]:
    wanted = min(options["limit"], int(allowed.sum()))
    walls, cpu, found, short = [], time.process_time(), 0, 0
    answers = []
    for query in [data.queries[0], *data.queries]:
        start = time.perf_counter()
        answers.append(await backend.search_vectors(NAME, query, with_payload=False, **options))
        walls.append(time.perf_counter() - start)
    cpu = time.process_time() - cpu
    for query, hits in zip(data.queries, answers[1:], strict=True):
        score = np.where(allowed, data.matrix @ query / data.lengths, -np.inf)
        last = np.partition(score, -wanted)[-wanted]
        found += sum(score[hit.id] >= last - 1e-5 * abs(last) for hit in hits)
        short += len(hits) < wanted
    return {
        "recall": round(found / (wanted * len(data.queries)), 4),
        "short": short,
        "p50_ms": round(float(np.median(walls[1:])) * 1e3, 2),
        "min_ms": round(min(walls[1:]) * 1e3, 2),
        "cpu_ms": round(cpu / len(walls) * 1e3, 2),
    }


def _since(started: tuple[float, float]) -> tuple[float, float]:
    return round(time.perf_counter() - started[0], 2), round(time.process_time() - started[1], 2)


def main() -> None:
    """Measure one target and merge what came of it into the report."""
    parser = argparse.ArgumentParser(prog="python -m codeweaver_tools.recall", description=__doc__)
    parser.add_argument("--target", required=True)
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--dimension", type=int, default=256)
    parser.add_argument("--queries", type=int, default=40)
    parser.add_argument("--limit", type=int, default=10)
    parser.add_argument("--index-from", type=int, help="the exact size, if not the engine's own")
    parser.add_argument("--report", type=Path, default=REPORT)
    options = parser.parse_args()
    target, data = find_targets()[options.target], Data(options.points, options.dimension, options.queries)
    report: dict[str, Any] = {
        "target": target.name,
        "points": options.points,
        "dimension": options.dimension,
        "load": round(os.getloadavg()[0], 1),
        "rows": [],
    }
    console = Console(stderr=True)

    async def run(settings: dict[str, Any]) -> None:
        own = {} if options.index_from is None else {"index_from": options.index_from}
        backend: Any = CodeWeaverFactory().create_backend(target.backend, **{**settings, "timeout": 600.0, **own})
        async with backend:
            await measure(backend, data, options.limit, report, console)

    with target.provide() as settings:
        asyncio.run(run(settings))
    known = json.loads(options.report.read_text()) if options.report.is_file() else []
    key = ("target", "points", "dimension")
    kept = [one for one in known if [one[name] for name in key] != [report[name] for name in key]]
    options.report.parent.mkdir(parents=True, exist_ok=True)
    options.report.write_text(json.dumps([*kept, report], indent=1) + "\n", encoding="utf-8")
    _print(report)


def _print(report: dict[str, Any]) -> None:
    table = Table("filter", "way", "recall@10", "short", "p50 ms", "min ms", "CPU ms", title=f"{report['target']}")
    for row in report["rows"]:
        table.add_row(*(str(row[name]) for name in ("filter", "way", "recall", "short", "p50_ms", "min_ms", "cpu_ms")))
    Console().print(table)


if __name__ == "__main__":
    main()
