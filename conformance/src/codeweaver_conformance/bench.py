"""What an adapter costs: the adapter beside its engine's bare client, in one run, turn by turn.

``python -m codeweaver_conformance.bench --target NAME --bare FILE`` loads the same points through the bare client (a
``Bare`` class in the file: typed columns, one scalar index, as a good user of that engine would) and through the
adapter, then asks both the same searches in alternation. Rows ``{engine, target, operation, seconds, bare_seconds,
ratio}`` are merged into ``reports/bench.json``. Ratios are of medians for searches and of minima for ingest; absolute
seconds are of this machine at this moment.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from codeweaver_backends.factory import CodeWeaverFactory
from codeweaver_backends.testing import NotProvisioned, find_targets
from codeweaver_backends.types import FilterCondition, SearchFilter, VectorPoint

__all__ = ["main", "make_points"]

DIMENSION = 384
LANGUAGES = ("python", "rust", "go", "java", "c")
REPORT = Path("reports/bench.json")


def make_points(
    count: int, seed: int = 7
) -> tuple[list[str], np.ndarray[Any, np.dtype[np.float32]], list[dict[str, Any]]]:
    """Ids, a matrix of shape ``(count, 384)`` and code-search payloads; 20 languages-and-modules combinations."""
    rng = np.random.default_rng(seed)
    matrix = rng.standard_normal((count, DIMENSION)).astype(np.float32)
    payloads = [
        {
            "path": f"src/package{n % 50}/module{n % 400}.py",
            "module": f"package{n % 50}",
            "name": f"function_{n}",
            "kind": "class" if n % 5 == 0 else "function",
            "language": LANGUAGES[n % len(LANGUAGES)],
            "line": n % 900,
            "lines": 3 + n % 60,
            "has_doc": n % 3 == 0,
            "tags": ["io", "text"] if n % 4 == 0 else ["net"],
        }
        for n in range(count)
    ]
    return [f"point-{n}" for n in range(count)], matrix, payloads


def load_bare(file: Path) -> Any:
    """The ``Bare`` class of a file."""
    spec = importlib.util.spec_from_file_location("codeweaver_bare", file)
    if spec is None or spec.loader is None:
        sys.exit(f"{file} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Bare


async def _timed(call: Callable[[], Awaitable[Any]]) -> tuple[float, Any]:
    started = time.perf_counter()
    result = await call()
    return time.perf_counter() - started, result


async def _turns(
    first: Callable[[int], Awaitable[Any]], second: Callable[[int], Awaitable[Any]], turns: int
) -> tuple[float, float]:
    """Median seconds of two calls made in alternation; the first tenth is warm-up."""
    seconds: tuple[list[float], list[float]] = ([], [])
    warm_up = max(3, turns // 10)
    for turn in range(turns + warm_up):
        for column, call in enumerate((first, second) if turn % 2 else (second, first)):
            took, _ = await _timed(partial(call, turn))
            if turn >= warm_up:
                seconds[column if turn % 2 else 1 - column].append(took)
    return statistics.median(seconds[0]), statistics.median(seconds[1])


async def measure(
    settings: dict[str, Any], backend_name: str, bare: Any, count: int, turns: int
) -> list[dict[str, Any]]:
    """Every row of one target."""
    ids, matrix, payloads = make_points(count)
    rows: list[dict[str, Any]] = []

    def add(operation: str, seconds: float, bare_seconds: float) -> None:
        rows.append(
            {
                "operation": operation,
                "seconds": seconds,
                "bare_seconds": bare_seconds,
                "ratio": round(seconds / bare_seconds, 3),
            }
        )

    async with CodeWeaverFactory().create_backend(backend_name, **settings) as backend:
        capabilities = await backend.get_capabilities()
        options = {"payload_indexes": {"language": "keyword"}} if capabilities.supports_payload_indexes else {}
        lists = [row.tolist() for row in matrix]
        points = [VectorPoint(*row) for row in zip(ids, lists, payloads, strict=True)]
        by_points, by_columns, bare_ingest = [], [], []
        for name in ("bench-points", "bench-columns", "bench-points-2", "bench-columns-2"):
            took, _ = await _timed(lambda: bare.ingest(ids, matrix, payloads))
            bare_ingest.append(took)
            await backend.create_collection(name, DIMENSION, **options)
            if "points" in name:
                took, _ = await _timed(lambda name=name: backend.upsert_vectors(name, points))  # type: ignore[misc]
                by_points.append(took)
            else:
                took, _ = await _timed(lambda name=name: backend.upsert_batch(name, ids, matrix, payloads))  # type: ignore[misc]
                by_columns.append(took)
            if name != "bench-columns":
                await backend.delete_collection(name)
        add(f"ingest points {count}", min(by_points), min(bare_ingest))
        add(f"ingest columns {count}", min(by_columns), min(bare_ingest))
        rng = np.random.default_rng(11)
        queries = [rng.standard_normal(DIMENSION).astype(np.float32).tolist() for _ in range(64)]
        for operation, field in (("search", None), ("search declared", "language"), ("search undeclared", "module")):
            value = "rust" if field == "language" else "package7"
            chosen = SearchFilter(must=[FilterCondition(field, "eq", value)]) if field else None
            keywords = {field: value} if field else {}
            await _same(backend, bare, queries[0], chosen, keywords, operation)
            ours, theirs = await _turns(
                lambda turn, chosen=chosen: backend.search_vectors("bench-columns", queries[turn % 64], 10, chosen),  # type: ignore[misc]
                lambda turn, keywords=keywords: bare.search(queries[turn % 64], 10, **keywords),  # type: ignore[misc]
                turns,
            )
            add(f"{operation} {count}", ours, theirs)
        await backend.delete_collection("bench-columns")
    return rows


async def _same(backend: Any, bare: Any, query: list[float], chosen: Any, keywords: dict[str, Any], what: str) -> None:
    """A ratio of two different answers would say nothing."""
    ours = {hit.id for hit in await backend.search_vectors("bench-columns", query, 10, chosen)}
    theirs = set(await bare.search(query, 10, **keywords))
    if ours != theirs:
        sys.exit(f"{what}: the adapter and the bare client disagree, on {sorted(map(str, ours ^ theirs))}")


async def _run(target_name: str, bare_file: Path, count: int, turns: int) -> int:
    target = find_targets().get(target_name)
    if target is None:
        sys.exit(f"no target is named {target_name!r}")
    try:
        with target.provide() as settings:
            bare = load_bare(bare_file)()
            await bare.open(settings)
            try:
                rows = await measure(settings, target.backend, bare, count, turns)
            finally:
                await bare.close()
    except NotProvisioned as reason:
        Console().print(f"[bold red]NOT MEASURED[/] {target_name}: {reason}")
        return 0
    _publish([{"engine": target.backend, "target": target_name, **row} for row in rows])
    return 0


def _publish(rows: list[dict[str, Any]]) -> None:
    known = json.loads(REPORT.read_text())["rows"] if REPORT.is_file() else []
    replaced = {(row["target"], row["operation"]) for row in rows}
    merged = [row for row in known if (row["target"], row["operation"]) not in replaced] + rows
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(json.dumps({"rows": merged}, indent=2) + "\n")
    table = Table("target", "operation", "adapter ms", "bare ms", "ratio", box=None)
    for row in rows:
        milliseconds = (f"{row[key] * 1_000:.2f}" for key in ("seconds", "bare_seconds"))
        table.add_row(row["target"], row["operation"], *milliseconds, f"{row['ratio']:.2f}")
    Console().print(table)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", required=True)
    parser.add_argument("--bare", type=Path, required=True, help="a file with a class Bare")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--turns", type=int, default=150)
    arguments = parser.parse_args()
    raise SystemExit(asyncio.run(_run(arguments.target, arguments.bare, arguments.count, arguments.turns)))


if __name__ == "__main__":
    main()
