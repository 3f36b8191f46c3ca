"""``choose``: what to take for a deployment, and why."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from codeweaver_backends.cli.output import FAILED, AsJSON, ConfigFile, print_json, print_table, say, telling
from codeweaver_backends.errors import InvalidOptionError
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
from codeweaver_conformance.compare.choosing import Choice
from codeweaver_conformance.compare.choosing import choose as choose_backend
from codeweaver_conformance.compare.engines import Engine, all_targets, parse_settings, resolve_engines
from codeweaver_conformance.compare.page import FORMATS, HEADINGS, PROJECTED, matrix, projection, write
from codeweaver_conformance.compare.reading import Source, read_source
from codeweaver_conformance.compare.requirements import read_requirements

__all__ = ["choose"]

_AT_MOST = 20_000


def choose(
    targets: Annotated[
        list[str] | None,
        typer.Argument(help="Targets, plugins or deployments to choose among; default: everything installed."),
    ] = None,
    requirements: Annotated[
        Path | None, typer.Option("--requirements", "-r", metavar="FILE", help="A TOML file, its table requirements.")
    ] = None,
    points: Annotated[int | None, typer.Option(min=1, help="How many there will be.")] = None,
    dimension: Annotated[int | None, typer.Option(min=1, help="Of the vectors.")] = None,
    metric: Annotated[list[DistanceMetric] | None, typer.Option(help="One that is needed; may be repeated.")] = None,
    filters: Annotated[
        list[str] | None,
        typer.Option("--filter", help="equality, range, contains, datetime, regex or indexed; may be repeated."),
    ] = None,
    hybrid: Annotated[bool | None, typer.Option("--hybrid", help="Dense and sparse search, fused.")] = None,
    transactions: Annotated[bool | None, typer.Option("--transactions", help="Exact commit and rollback.")] = None,
    runs: Annotated[Literal["embedded", "server", "anywhere"] | None, typer.Option(help="Where it runs.")] = None,
    persistent: Annotated[bool | None, typer.Option("--persistent", help="Points outlive the process.")] = None,
    processes: Annotated[int | None, typer.Option(min=1, help="So many have the points open at once.")] = None,
    concurrency: Annotated[int | None, typer.Option(min=1, max=256, help="So many searches at once.")] = None,
    recall: Annotated[float | None, typer.Option(min=0, max=1, help="At least that; 1 for exact answers.")] = None,
    p95_ms: Annotated[float | None, typer.Option(help="95 of 100 searches take no longer.")] = None,
    memory_mb: Annotated[float | None, typer.Option(help="No more memory.")] = None,
    disk_mb: Annotated[float | None, typer.Option(help="No more disk.")] = None,
    prefer: Annotated[
        Literal["latency", "ingest", "memory", "disk"] | None, typer.Option(help="What counts first; else latency.")
    ] = None,
    source: SourcePath = None,
    at_most: Annotated[int, typer.Option(min=1, help="Measure with at most so many points.")] = _AT_MOST,
    query: Queries = None,
    queries: QueryFile = None,
    id_column: IdColumn = None,
    vector_column: VectorColumn = None,
    payload_column: PayloadColumn = None,
    field: Fields = None,
    settings: Settings = None,
    certificates: Certificates = None,
    report: Annotated[
        list[Path] | None,
        typer.Option("--report", "-o", metavar="FILE", help="Write it: .html, .md or .json; may be repeated."),
    ] = None,
    config: ConfigFile = None,
    as_json: AsJSON = False,
) -> None:
    """Choose a backend: reject what cannot do the job, measure the rest at two sizes, rank, and write a report.

    Options win over the table. Exit status 0 if one can do it, 1 if none can (the report says why), 2 for a mistake.
    """
    with telling(as_json, "interrupted; nothing was left behind"):
        for file in report or []:
            if file.suffix.lower() not in FORMATS:
                raise InvalidOptionError(f"{file}: a report ends in {', '.join(FORMATS)}")
        needs = read_requirements(
            requirements,
            {
                "points": points,
                "dimension": dimension,
                "metrics": metric or None,
                "filters": filters or None,
                "hybrid": hybrid,
                "transactions": transactions,
                "runs": runs,
                "persistent": persistent,
                "processes": processes,
                "concurrency": concurrency,
                "recall": recall,
                "p95_ms": p95_ms,
                "memory_mb": memory_mb,
                "disk_mb": disk_mb,
                "prefer": prefer,
            },
        )
        given = parse_settings(settings or [])
        if given and not targets:
            raise InvalidOptionError("--set belongs to engines that are named: choose NAME --set NAME.KEY=VALUE")
        engines, left_out = (resolve_engines(targets, given, config), {}) if targets else all_targets()
        columns = columns_of(id_column, vector_column, payload_column, field)
        first = needs.metrics[0] if needs.metrics else None
        with progress_bars() as progress:
            data = read_source(Source(source, query or (), queries, columns, _stated(first, source), at_most), progress)
            choice = choose_backend(
                engines,
                needs,
                data,
                progress,
                certificates=[CERTIFICATES, *(certificates or [])],
                settings=given,
                config=config,
                left_out=left_out,
                command=_command(sys.argv[1:], engines),
            )
        for file in report or []:
            write(choice, file)
        if as_json:
            print_json(choice.as_json())
        else:
            _show(choice, report or [])
    if choice.best is None:
        raise typer.Exit(FAILED)


def _stated(metric: DistanceMetric | None, source: Path | None) -> DistanceMetric | None:
    """The metric to read the data with: a file that states its own keeps it, and is measured by what is asked for."""
    return None if source is not None and source.suffix.lower() in (".parquet", ".jsonl", ".ndjson") else metric


def _command(arguments: list[str], engines: Sequence[Engine]) -> str:
    """What was typed, without the values of settings: one may be a secret."""
    names = {one.reference: one.name for one in engines if one.reference}
    shown = ["codeweaver-backends", *(names.get(one, one) for one in arguments)]
    for number, one in enumerate(shown):
        if shown[number - 1] == "--set" or one.startswith("--set="):
            key, equals, value = one.removeprefix("--set=").partition("=")
            shown[number] = one[: len(one) - len(value)] + "…" if equals else key
    return shlex.join(shown)


def _show(choice: Choice, files: list[Path]) -> None:
    say(choice.verdict, "bold green" if choice.best else "bold red")
    for number, one in enumerate(choice.ranked):
        say("")
        say(f"{number + 1}. {one.name}", "bold")
        for reason in one.reasons:
            say(f"- {reason}")
    rows: list[list[Any]] = [[row[0], *(cell.text for cell in row[1:])] for row in matrix(choice)]
    if rows:
        say("")
        print_table(HEADINGS, rows)
    if carried := projection(choice):
        say("")
        say(f"Carried on to {choice.needs.points:,} points, by how each grew; not measured:")
        print_table(PROJECTED, carried)
    against = [[one.name, "; ".join(one.rejected)] for one in choice.rejected]
    if against:
        say("")
        print_table(["cannot do it", "because"], against)
    told = choice.unverified()
    if told:
        say("")
        say("Not verified:", "yellow")
        for line in told:
            say(f"- {line}", "yellow")
    for file in files:
        say(f"written: {file}", "dim")
