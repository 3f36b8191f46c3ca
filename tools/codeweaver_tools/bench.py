"""What an adapter costs: the adapter beside its engine's bare client, in one run, turn by turn.

``python -m codeweaver_tools.bench --target NAME --bare FILE`` loads the same points through the bare client (a
``Bare`` class in the file, which uses that engine as a good user of it would: typed columns, one scalar index) and
through the adapter, in alternation, then asks both the same searches in alternation. Both do the whole job: a
collection is replaced, index and all, and a search reads id, score and payload. Rows are merged into
``reports/bench.json``, see ``docs/reports.md``. Absolute seconds are of this machine at this moment.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import importlib.util
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from codeweaver_backends.factory import CodeWeaverFactory
from codeweaver_backends.testing import NotProvisioned, Target, find_targets
from codeweaver_backends.types import FilterCondition, FloatMatrix, SearchFilter, VectorPoint
from codeweaver_conformance.certificate import clients_of

__all__ = ["Timings", "alternate", "main", "make_points"]

DIMENSION: Final = 384
LANGUAGES: Final = ("python", "rust", "go", "java", "c")
LIMIT: Final = 10
NAME: Final = "bench"
FEW: Final = 20_000
"""Up to so many points they are ingested several times, and as objects too."""
INGESTS: Final = 6
REPORT: Final = Path("reports/bench.json")

Call: TypeAlias = Callable[[int], Awaitable[Any]]
Timings: TypeAlias = npt.NDArray[np.float64]
"""Wall-clock and CPU seconds, a row for each turn."""


def make_points(count: int, seed: int = 7) -> tuple[list[str], FloatMatrix, list[dict[str, Any]]]:
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


async def alternate(calls: Mapping[str, Call], turns: int, warm_up: int) -> dict[str, Timings]:
    """Wall-clock and CPU seconds of each call in each turn. Who begins a turn changes, and so who comes after whom."""
    order = list(calls)
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in order}
    for turn in range(warm_up + turns):
        for name in order:
            wall, cpu = time.perf_counter(), time.process_time()
            await calls[name](turn)
            taken[name].append((time.perf_counter() - wall, time.process_time() - cpu))
        order.append(order.pop(0))
    return {name: np.array(rows[warm_up:]) for name, rows in taken.items()}


def _row(operation: str, ours: Timings, theirs: Timings) -> dict[str, Any]:
    """Medians. A ratio is that of the turns: what the machine does beside is in both halves of a turn."""
    ratio, cpu_ratio = np.median(ours / theirs, axis=0).round(3).tolist()
    seconds, cpu_seconds = np.median(ours, axis=0).tolist()
    bare_seconds, bare_cpu_seconds = np.median(theirs, axis=0).tolist()
    return {
        "operation": operation,
        "seconds": seconds,
        "bare_seconds": bare_seconds,
        "ratio": ratio,
        "cpu_seconds": cpu_seconds,
        "bare_cpu_seconds": bare_cpu_seconds,
        "cpu_ratio": cpu_ratio,
        "turns": len(ours),
        "load": round(os.getloadavg()[0], 1),
    }


async def _ingests(backend: Any, bare: Any, count: int) -> list[dict[str, Any]]:
    """A collection is replaced by a new one with an index and all points, on both sides, several times where few."""
    capabilities = await backend.get_capabilities()
    options = {"payload_indexes": {"language": "keyword"}} if capabilities.supports_payload_indexes else {}
    ids, matrix, payloads = make_points(count)
    few = count <= FEW
    points = [VectorPoint(*row) for row in zip(ids, matrix.tolist(), payloads, strict=True)] if few else []

    async def replace() -> None:
        if NAME in await backend.list_collections():
            await backend.delete_collection(NAME)
        await backend.create_collection(NAME, DIMENSION, **options)

    async def by_points(_: int) -> None:
        await replace()
        await backend.upsert_vectors(NAME, points)

    async def by_columns(_: int) -> None:
        await replace()
        await backend.upsert_batch(NAME, ids, matrix, payloads)

    async def by_client(_: int) -> None:
        await bare.ingest(ids, matrix, payloads)

    ways = {"points": by_points, "columns": by_columns} if few else {"columns": by_columns}
    gc.collect()
    gc.freeze()  # all these points, which the collector of garbage would visit again and again
    taken = await alternate({**ways, "": by_client}, *((INGESTS, 1) if few else (1, 0)))
    return [_row(f"ingest {way} {count}", taken[way], taken[""]) for way in ways]


async def _searches(backend: Any, bare: Any, count: int, turns: int) -> list[dict[str, Any]]:
    """The same searches of both: of all points, by a field that was declared, and by one that was not."""
    rng = np.random.default_rng(11)
    queries = rng.standard_normal((64, DIMENSION)).astype(np.float32).tolist()
    rows = []
    for operation, test in (
        ("search", {}),
        ("search declared", {"language": "rust"}),
        ("search undeclared", {"module": "package7"}),
    ):
        chosen = SearchFilter(must=[FilterCondition(field, "eq", value) for field, value in test.items()])

        async def by_adapter(turn: int, chosen: SearchFilter | None = chosen if test else None) -> set[Any]:
            return {hit.id for hit in await backend.search_vectors(NAME, queries[turn % 64], LIMIT, chosen)}

        async def by_client(turn: int, test: dict[str, str] = test) -> set[Any]:
            return set(await bare.search(queries[turn % 64], LIMIT, **test))

        if different := await by_adapter(0) ^ await by_client(0):  # their ratio would say nothing
            sys.exit(f"{operation}: the adapter and the bare client disagree, on {sorted(map(str, different))}")
        taken = await alternate({"adapter": by_adapter, "client": by_client}, turns, max(3, turns // 10))
        rows.append(_row(f"{operation} {count}", taken["adapter"], taken["client"]))
    return rows


async def measure(target: Target, settings: dict[str, Any], bare: Any, count: int, turns: int) -> list[dict[str, Any]]:
    """Every row of one target."""
    async with CodeWeaverFactory().create_backend(target.backend, **settings) as backend:
        rows = await _ingests(backend, bare, count)
        rows += await _searches(backend, bare, count, turns)
        await backend.delete_collection(NAME)
        server = getattr(backend, "server_version", None)
    versions = {**clients_of(type(backend).__module__), **({"server": str(server)} if server else {})}
    about = {"day": datetime.now(UTC).date().isoformat(), "versions": versions}
    return [{"engine": target.backend, "target": target.name, **row, **about} for row in rows]


async def _run(target: Target, bare_file: Path, count: int, turns: int) -> list[dict[str, Any]]:
    with target.provide() as settings:
        bare = load_bare(bare_file)()
        await bare.open(settings)
        try:
            return await measure(target, settings, bare, count, turns)
        finally:
            await bare.close()


def _publish(rows: list[dict[str, Any]], report: Path) -> None:
    known = json.loads(report.read_text(encoding="utf-8"))["rows"] if report.is_file() else []
    replaced = {(row["target"], row["operation"]) for row in rows}
    merged = [row for row in known if (row["target"], row["operation"]) not in replaced] + rows
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(json.dumps({"rows": merged}, indent=1) + "\n", encoding="utf-8")
    table = Table("target", "operation", "adapter ms", "bare ms", "ratio", "of CPU time", "load", box=None)
    for row in rows:
        milliseconds = (f"{row[key] * 1_000:.2f}" for key in ("seconds", "bare_seconds"))
        ratios = (f"{row[key]:.2f}" for key in ("ratio", "cpu_ratio"))
        table.add_row(row["target"], row["operation"], *milliseconds, *ratios, str(row["load"]))
    Console().print(table)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", required=True)
    parser.add_argument("--bare", type=Path, required=True, help="a file with a class Bare")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--turns", type=int, default=150, help="of each search")
    parser.add_argument("--report", type=Path, default=REPORT, help="the file that the rows are merged into")
    given = parser.parse_args()
    target = find_targets().get(given.target)
    if target is None:
        sys.exit(f"no target is named {given.target!r}")
    try:
        rows = asyncio.run(_run(target, given.bare, given.count, given.turns))
    except NotProvisioned as reason:
        Console().print(f"[bold red]NOT MEASURED[/] {given.target}: {reason}")
        return
    _publish(rows, given.report)


if __name__ == "__main__":
    main()
