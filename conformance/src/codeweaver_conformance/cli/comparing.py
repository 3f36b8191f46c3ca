"""``compare`` and ``bench``: engines side by side, or one deployment by itself, on data and queries of the user's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from codeweaver_backends.cli.output import FAILED, AsJSON, ConfigFile, print_json, print_table, say, telling
from codeweaver_backends.types import DistanceMetric
from codeweaver_conformance.cli.shared import (
    CERTIFICATES,
    Certificates,
    Fields,
    IdColumn,
    PayloadColumn,
    Queries,
    QueryFile,
    Settings,
    SourcePath,
    VectorColumn,
    columns_of,
    progress_bars,
)
from codeweaver_conformance.compare.engines import default_engines, parse_settings, resolve_engines
from codeweaver_conformance.compare.latency import Latency
from codeweaver_conformance.compare.measure import Measurement, judge, measure
from codeweaver_conformance.compare.ranking import megabytes, milliseconds
from codeweaver_conformance.compare.reading import Source, read_source
from codeweaver_conformance.compare.report import Report
from codeweaver_conformance.compare.workload import LIMIT, Workload

__all__ = ["bench", "compare"]

_PARTS = ("unfiltered", "filtered", "concurrent")


def compare(
    targets: Annotated[
        list[str] | None,
        typer.Argument(help="Targets, plugins or deployments; default: every installed engine that needs no server."),
    ] = None,
    source: SourcePath = None,
    limit_chunks: Annotated[int | None, typer.Option(min=1, help="At most so many points, evenly chosen.")] = None,
    query: Queries = None,
    queries: QueryFile = None,
    settings: Settings = None,
    data: Annotated[
        Path | None, typer.Option(help="Keep the data of embedded engines in this folder; default: a temporary one.")
    ] = None,
    certificates: Certificates = None,
    config: ConfigFile = None,
    as_json: AsJSON = False,
    svg_file: Annotated[Path | None, typer.Option("--svg", metavar="FILE", hidden=True)] = None,
) -> None:
    """Search the same data on every engine, and hold their answers, speed and size side by side.

    It is the quick look; ``choose`` asks what is needed, measures more, and ranks. Exit status 1 if an engine failed or
    its answers are not the exact ones; 2 for a mistake in what was asked for.
    """
    # A picture has a width of its own; a terminal and a pipe have theirs.
    console = Console(stderr=as_json, record=svg_file is not None, width=100 if svg_file else None)
    with telling(as_json):
        named, left_out = (targets, {}) if targets else default_engines()
        engines = resolve_engines(named, parse_settings(settings or []), config)
        with progress_bars() as progress:
            found = read_source(Source(source, query or (), queries, limit=limit_chunks), progress)
            workload = Workload(found)
            measurements = [measure(engine, found, data, progress) for engine in engines]
        if not targets:  # nobody asked for one that cannot be had
            left_out |= {one.engine: str(one.error) for one in measurements if one.is_missing}
            measurements = [one for one in measurements if not one.is_missing]
            engines = [one for one in engines if one.name not in left_out]
        for one in measurements:
            judge(one, workload)
        report = Report(workload, engines, measurements, [CERTIFICATES, *(certificates or [])])
        if as_json:
            print_json(report.as_json())
        for name, reason in left_out.items():
            console.print(Text(f"{name} is left out: {reason}", "dim"))
        report.show(console)
        if svg_file:
            svg_file.parent.mkdir(parents=True, exist_ok=True)
            console.save_svg(str(svg_file), title="codeweaver-backends compare")
    if not report.ok:
        raise typer.Exit(FAILED)


def bench(
    deployment: Annotated[str, typer.Argument(help="A deployment, backend:key=value,…, or a target.")],
    source: SourcePath = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many points, evenly chosen.")] = None,
    query: Queries = None,
    queries: QueryFile = None,
    metric: Annotated[DistanceMetric | None, typer.Option(help="Of data that does not say it; else cosine.")] = None,
    concurrency: Annotated[int, typer.Option(min=1, max=256, help="Ask so many searches at once, too.")] = 1,
    id_column: IdColumn = None,
    vector_column: VectorColumn = None,
    payload_column: PayloadColumn = None,
    field: Fields = None,
    config: ConfigFile = None,
    as_json: AsJSON = False,
) -> None:
    """Measure a deployment with data and queries of yours, in a collection of its own, which is removed.

    Exit status 1 if it failed, or altered a payload; 2 for a mistake in what was asked for.
    """
    with telling(as_json, "interrupted; the collection was removed"):
        [engine] = resolve_engines([deployment], {}, config)
        columns = columns_of(id_column, vector_column, payload_column, field)
        with progress_bars() as progress:
            found = read_source(Source(source, query or (), queries, columns, metric, limit), progress)
            result = measure(engine, found, None, progress, concurrency=concurrency)
        judge(result, Workload(found))
        is_ok = result.error is None and not result.altered
        if as_json:
            told = {"title": found.title, **found.about, "metric": found.metric.value, "notes": list(found.notes)}
            print_json({"ok": is_ok, "deployment": engine.name, "data": told, **result.as_json()})
        else:
            _show(result, found.title, found.metric, found.notes)
    if not is_ok:
        raise typer.Exit(FAILED)


def _show(result: Measurement, title: str, metric: DistanceMetric, notes: Any) -> None:
    say(f"{result.engine}: {title}, {metric.value}", "bold")
    if result.error is not None:
        say(f"failed: {result.error}", "red")
    rows = [_row(part, getattr(result, part)) for part in _PARTS if getattr(result, part)]
    recalls = {"unfiltered": result.recall, "filtered": result.filtered_recall}
    table = [[part, *cells, "" if recalls.get(part) is None else f"{recalls[part]:.3f}"] for part, *cells in rows]
    if table:
        print_table(["searches", "timed", "p50", "p95", "p99", f"recall@{LIMIT}"], table)
        say("")
    if result.points_per_second:
        manner = "by columns" if result.columnar else "point by point"
        say(f"written: {result.points:,} points, {result.points_per_second:,.0f}/s, {manner}")
    if result.searches_per_second:
        say(f"at once: {result.searches_per_second:,.0f} searches/s")
    if result.disk_bytes is not None:
        say(f"disk: {megabytes(result.disk_bytes)}")
    if result.altered:
        say(f"{result.altered} payloads are not what was written", "red")
    for note in notes:
        say(note, "dim")


def _row(part: str, latency: Latency) -> list[str]:
    return [part, f"{latency.searches:,}", *(milliseconds(one) for one in (latency.p50, latency.p95, latency.p99))]
