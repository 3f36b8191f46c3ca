"""What hybrid search costs: the dense leg, the sparse one and both, asked turn by turn of the same points; and ingest.

``python -m codeweaver_tools.legs --target NAME --points 10000 100000`` writes points into two collections, batch by
batch, one of which has a sparse index. A point's text is eight lines of the standard library, of some fifty terms, and
its vector is by chance; a query is a docstring's first line. Each leg is ``hybrid_search`` with an alpha of 1 or of 0,
so that it finds its 100 candidates and reads ten points. Rows are merged into ``reports/legs.json``, see
``docs/reports.md``. Milliseconds are of this machine at this moment; the ratios are of turns.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table

from codeweaver_backends.factory import CodeWeaverFactory
from codeweaver_backends.sdk.hybrid.tokenizer import tokens
from codeweaver_backends.testing import NotProvisioned, Target, find_targets
from codeweaver_backends.types import FloatMatrix
from codeweaver_conformance.certificate import clients_of
from codeweaver_conformance.compare.corpus import python_files, stdlib_folder
from codeweaver_tools.bench import Timings, alternate

__all__ = ["main", "read_texts"]

ALPHAS: Final = {"dense": 1.0, "sparse": 0.0, "both": 0.5}
DIMENSION: Final = 256
QUERIES: Final = 64
REPORT: Final = Path("reports/legs.json")
_PLAIN, _INDEXED = "legs-plain", "legs-indexed"
_BATCH: Final = 5_000
_LINES: Final = 8
_FIRST_LINE: Final = re.compile(r'"""([A-Z][^"\n]{30,})')


def read_texts(count: int) -> tuple[list[str], list[str]]:
    """So many runs of lines of the standard library, evenly taken, and docstrings' first lines to ask for them."""
    sources = [file.read_text(encoding="utf-8", errors="ignore") for file in python_files(stdlib_folder())]
    lines = [line.strip() for source in sources for line in source.splitlines() if line.strip()]
    starts = np.linspace(0, len(lines) - _LINES, count, dtype=np.int64).tolist()
    firsts = [first for source in sources for first in _FIRST_LINE.findall(source)]
    return ["\n".join(lines[at : at + _LINES]) for at in starts], firsts[:: len(firsts) // QUERIES][:QUERIES]


async def measure(target: Target, settings: dict[str, Any], count: int, turns: int) -> dict[str, Any]:
    """The row of one target and one number of points."""
    texts, queries = read_texts(count)
    chance = np.random.default_rng(7)
    matrix = chance.standard_normal((count, DIMENSION)).astype(np.float32)
    asked = list(zip(chance.standard_normal((QUERIES, DIMENSION)).tolist(), queries, strict=True))
    async with CodeWeaverFactory().create_backend(target.backend, **{**settings, "timeout": 600.0}) as backend:
        ingested = await _ingest(backend, texts, matrix)

        async def ask(alpha: float, turn: int) -> None:
            vector, text = asked[turn % QUERIES]
            if not await backend.hybrid_search(_INDEXED, vector, text, alpha=alpha):
                raise RuntimeError(f"nothing was found of {text!r}")

        calls = {name: partial(ask, alpha) for name, alpha in ALPHAS.items()}
        taken = await alternate(calls, turns, max(5, turns // 10))
        for name in (_PLAIN, _INDEXED):
            await backend.delete_collection(name)
        server = getattr(backend, "server_version", None)
    dense, sparse, both = taken.values()
    return {
        "target": target.name,
        "points": count,
        "terms": round(float(np.mean([len(tokens(text)) for text in texts[:: max(1, count // 1_000)]])), 1),
        **{name: _milliseconds(one) for name, one in taken.items()},
        "sparse_ratio": _ratio(sparse, dense),
        "both_ratio": _ratio(both, dense + sparse),
        "ingest": ingested,
        "turns": turns,
        "load": round(os.getloadavg()[0], 1),
        "day": datetime.now(UTC).date().isoformat(),
        "versions": {**clients_of(type(backend).__module__), **({"server": str(server)} if server else {})},
    }


async def _ingest(backend: Any, texts: list[str], matrix: FloatMatrix) -> dict[str, dict[str, float]]:
    """Fill both collections, and tell what a point took of each, in microseconds."""
    for name in (_PLAIN, _INDEXED):
        if name in await backend.list_collections():
            await backend.delete_collection(name)
        await backend.create_collection(name, DIMENSION)
    await backend.create_sparse_index(_INDEXED, ["text"])
    taken = {_PLAIN: np.zeros(2), _INDEXED: np.zeros(2)}
    for start in range(0, len(texts), _BATCH):
        rows = slice(start, min(len(texts), start + _BATCH))
        payloads = [{"text": text} for text in texts[rows]]
        for name in taken:
            begun = np.array([time.perf_counter(), time.process_time()])
            await backend.upsert_batch(name, list(range(rows.start, rows.stop)), matrix[rows], payloads)
            taken[name] += [time.perf_counter(), time.process_time()] - begun
    if (await backend.get_capabilities()).index_kinds:
        for name in taken:
            await backend.optimize_collection(name)
    each = {name: np.round(1e6 * both / len(texts), 1).tolist() for name, both in taken.items()}
    return {name: dict(zip(("wall", "cpu"), each[f"legs-{name}"], strict=True)) for name in ("plain", "indexed")}


def _milliseconds(taken: Timings) -> dict[str, float]:
    """Of the wall's clock the median and the least, and the median of this process' CPU time."""
    wall, cpu = 1e3 * taken.T
    return {"p50": _rounded(np.median(wall)), "min": _rounded(wall.min()), "cpu": _rounded(np.median(cpu))}


def _ratio(ours: Timings, theirs: Timings) -> dict[str, float]:
    """Medians of the turns' ratios: what the machine does beside is in both."""
    wall, cpu = np.median(ours / theirs, axis=0)
    return {"wall": _rounded(wall), "cpu": _rounded(cpu)}


def _rounded(value: Any) -> float:
    return round(float(value), 2)


def _publish(row: dict[str, Any], report: Path) -> None:
    known = json.loads(report.read_text(encoding="utf-8"))["rows"] if report.is_file() else []
    kept = [one for one in known if (one["target"], one["points"]) != (row["target"], row["points"])]
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(json.dumps({"rows": [*kept, row]}, indent=1) + "\n", encoding="utf-8")
    table = Table(
        "target", "points", *(f"{name} ms (CPU)" for name in ALPHAS), "sparse / dense", "both / sum", box=None
    )
    legs = (f"{row[name]['p50']} ({row[name]['cpu']})" for name in ALPHAS)
    ratios = (f"{row[name]['wall']} ({row[name]['cpu']})" for name in ("sparse_ratio", "both_ratio"))
    table.add_row(row["target"], f"{row['points']:,}", *legs, *ratios)
    Console().print(table, row["ingest"], row["load"])


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", required=True, choices=sorted(find_targets()))
    parser.add_argument("--points", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--turns", type=int, default=100)
    parser.add_argument("--report", type=Path, default=REPORT, help="the file that the rows are merged into")
    given = parser.parse_args()
    target = find_targets()[given.target]
    for count in given.points:
        try:
            with target.provide() as settings:
                row = asyncio.run(measure(target, dict(settings), count, given.turns))
        except NotProvisioned as reason:
            Console().print(f"[bold red]NOT MEASURED[/] {given.target}: {reason}")
            return
        _publish(row, given.report)


if __name__ == "__main__":
    main()
