"""What an index gives and what it takes: recall and time of exact, default and more thorough searches, by filter.

``python -m codeweaver_tools.recall --target NAME --points 100000 --dimension 256`` streams points into a collection,
optimizes it, and asks the same queries in each way, then ``--searches`` more, of which only the number of points that
come back is looked at. ``--set`` gives settings, ``--loading`` those of the load alone: PostgreSQL is quicker with
``index_from`` above the number of points, and its index built at the end. Points have few degrees of freedom, as
embeddings do: a mixture of clusters and scattered points in 24 dimensions, turned into the dimension asked for, with a
little noise. A filter passes 50, 10, 1 or 0.1 % of the points, which lie apart, or 2 % that lie in one place. Rows are
merged into ``reports/recall.json``. Seconds are of this machine at this moment; recall and the number of short answers
are not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from codeweaver_backends.factory import CodeWeaverFactory
from codeweaver_backends.testing import find_targets
from codeweaver_backends.types import FilterCondition, FloatMatrix, SearchFilter, VectorPoint
from codeweaver_conformance.certificate import clients_of
from codeweaver_tools.streamed import stream

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

    def points(self) -> Iterator[VectorPoint]:
        """The points, made one by one."""
        for n, vector in enumerate(self.matrix):
            yield VectorPoint(n, vector, self.payload(n))

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


async def load(backend: Any, data: Data, report: dict[str, Any]) -> None:
    """Stream the points into a new collection."""
    if await backend.collection_exists(NAME):
        await backend.delete_collection(NAME)
    claims = await backend.get_capabilities()
    declared = {"payload_indexes": DECLARED} if claims.supports_payload_indexes else {}
    await backend.create_collection(NAME, data.matrix.shape[1], **declared)
    started = time.perf_counter(), time.process_time()
    report["stream"] = await stream(backend, NAME, data.points(), len(data.matrix))
    report["load_seconds"], report["load_cpu_seconds"] = _since(started)


async def measure(backend: Any, data: Data, limit: int, searches: int, report: dict[str, Any]) -> None:
    """Optimize, ask."""
    claims = await backend.get_capabilities()
    started = time.perf_counter(), time.process_time()
    info = await backend.optimize_collection(NAME) if claims.index_kinds else await backend.get_collection_info(NAME)
    report["optimize_seconds"], report["optimize_cpu_seconds"] = _since(started)
    report["points"], report["indexed"] = info.vector_count, info.indexed_vector_count
    _say({name: value for name, value in report.items() if name != "rows"})
    filters = {
        name: None if passes is None else SearchFilter(must=[FilterCondition(passes[0], "eq", passes[1])])
        for name, passes in FILTERS.items()
    }
    counts = {name: int(data.passing(passes).sum()) for name, passes in FILTERS.items()}
    for name, passes in FILTERS.items():
        nearest = _nearest(data, data.passing(passes), min(limit, counts[name]))
        for way, options in WAYS.items():
            if way == "effort 4" and not claims.search_effort:
                continue
            row = await _asked(backend, data, nearest, {"limit": limit, "search_filter": filters[name], **options})
            report["rows"].append({"filter": name, "way": way, "limit": limit, **row})
            _say(report["rows"][-1])
    short = 0
    for n in range(searches):
        name = list(FILTERS)[n % len(FILTERS)]
        query = data.matrix[n * 7919 % len(data.matrix)]
        hits = await backend.search_vectors(NAME, query, limit, filters[name], with_payload=False)
        short += len(hits) < min(limit, counts[name])
    report["searches"], report["short"] = searches, short


def _nearest(data: Data, allowed: npt.NDArray[np.bool_], wanted: int) -> list[npt.NDArray[np.float32]]:
    """For each query the best scores of the points that are allowed."""
    found = []
    for query in data.queries:
        score = np.where(allowed, data.matrix @ query / data.lengths, -np.inf)
        found.append(np.partition(score, -wanted)[-wanted:])
    return found


async def _asked(backend: Any, data: Data, nearest: list[Any], options: dict[str, Any]) -> dict[str, Any]:
    walls, cpu, found, short = [], time.process_time(), 0, 0
    answers = []
    for query in [data.queries[0], *data.queries]:
        start = time.perf_counter()
        answers.append(await backend.search_vectors(NAME, query, with_payload=False, **options))
        walls.append(time.perf_counter() - start)
    cpu = time.process_time() - cpu
    for query, hits, best in zip(data.queries, answers[1:], nearest, strict=True):
        last = best.min()
        rows = [hit.id for hit in hits]
        found += int((data.matrix[rows] @ query / data.lengths[rows] >= last - 1e-5 * abs(last)).sum())
        short += len(hits) < len(best)
    return {
        "recall": round(found / (len(nearest[0]) * len(data.queries)), 4),
        "short": short,
        "p50_ms": round(float(np.median(walls[1:])) * 1e3, 2),
        "min_ms": round(min(walls[1:]) * 1e3, 2),
        "cpu_ms": round(cpu / len(walls) * 1e3, 2),
    }


def _since(started: tuple[float, float]) -> tuple[float, float]:
    return round(time.perf_counter() - started[0], 2), round(time.process_time() - started[1], 2)


def _setting(text: str) -> tuple[str, Any]:
    """``KEY=VALUE``, the value as JSON or as it is."""
    name, _, value = text.partition("=")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _say(what: Any) -> None:
    Console(stderr=True).print(what)


def main() -> None:
    """Measure one target and merge what came of it into the report."""
    parser = argparse.ArgumentParser(
        prog="python -m codeweaver_tools.recall",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--target", required=True)
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--dimension", type=int, default=256)
    parser.add_argument("--queries", type=int, default=40)
    parser.add_argument("--limit", type=int, default=10)
    parser.add_argument("--searches", type=int, default=0, help="so many more are counted")
    parser.add_argument("--set", type=_setting, action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--loading", type=_setting, action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--load-only", action="store_true", help="ask nothing")
    parser.add_argument("--report", type=Path, default=REPORT)
    options = parser.parse_args()
    target, data = find_targets()[options.target], Data(options.points, options.dimension, options.queries)
    report: dict[str, Any] = {
        "target": target.name,
        "points": options.points,
        "dimension": options.dimension,
        "queries": options.queries,
        "settings": dict(options.set),
        "loading": dict(options.loading),
        "day": datetime.now(UTC).date().isoformat(),
        "load": round(os.getloadavg()[0], 1),
        "rows": [],
    }

    async def run(settings: dict[str, Any]) -> None:
        def opened(more: list[tuple[str, Any]]) -> Any:
            own = {"timeout": 600.0, **dict(options.set), **dict(more)}
            return CodeWeaverFactory().create_backend(target.backend, **settings | own)

        async with opened(options.loading) as backend:
            await load(backend, data, report)
            server = getattr(backend, "server_version", None)
            report["versions"] = {
                **clients_of(type(backend).__module__),
                **({"server": str(server)} if server else {}),
            }
        if not options.load_only:
            async with opened([]) as backend:
                await measure(backend, data, options.limit, options.searches, report)

    with target.provide() as settings:
        asyncio.run(run(dict(settings)))
    known = json.loads(options.report.read_text()) if options.report.is_file() else []
    key = ("target", "points", "dimension", "settings", "loading")
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
