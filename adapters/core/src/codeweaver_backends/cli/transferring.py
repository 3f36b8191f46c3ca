"""``copy``, ``export`` and ``import``: thin shells of ``codeweaver_backends.transfer``."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer
from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.text import Text

from codeweaver_backends.cli.inspecting import open_quietly, warn_of
from codeweaver_backends.cli.output import FAILED, AsJSON, ConfigFile, print_json, print_table, say, telling
from codeweaver_backends.deployments import Deployment, get_deployment
from codeweaver_backends.errors import InvalidOptionError
from codeweaver_backends.transfer import Columns, Progress, TransferReport, export_points, import_points
from codeweaver_backends.transfer import copy as copy_collections
from codeweaver_backends.transfer.journal import Journal
from codeweaver_backends.transfer.report import OnProgress
from codeweaver_backends.types import DistanceMetric

__all__ = ["copy", "export", "import_"]

_COLOURS = {"passed": "", "failed": "red", "not verified": "yellow"}
Where: TypeAlias = Annotated[str, typer.Argument(help="A deployment, or backend:key=value,…")]
DryRun: TypeAlias = Annotated[bool, typer.Option("--dry-run", help="Look for what stands in the way; write nothing.")]
Continue: TypeAlias = Annotated[
    bool, typer.Option("--continue", help="Write to a collection that is there already; nothing of it is deleted.")
]
WithoutSparse: TypeAlias = Annotated[
    bool, typer.Option("--without-sparse-vectors", help="Leave the points' sparse vectors out.")
]
JournalFile: TypeAlias = Annotated[
    Path | None,
    typer.Option("--journal", metavar="FILE", help="Where to note how far it is; default: in the user's state folder."),
]


def copy(
    source: Where,
    target: Where,
    collection: Annotated[
        list[str] | None, typer.Option("--collection", "-c", help="Copy this one; may be repeated. All if absent.")
    ] = None,
    new_name: Annotated[str | None, typer.Option("--as", metavar="NAME", help="Its name on the target.")] = None,
    existing: Continue = False,
    without_sparse: WithoutSparse = False,
    dry_run: DryRun = False,
    samples: Annotated[int, typer.Option(min=0, help="Searches and filters to put to both afterwards.")] = 20,
    journal: JournalFile = None,
    config: ConfigFile = None,
    as_json: AsJSON = False,
) -> None:
    """Copy collections from one backend to another, and verify what came across.

    Interrupted, also by a kill, the same command goes on where it stopped. Exit status 0 if the copy is the same, 1 if
    it is not, 2 if the target cannot hold it (then nothing was written), 3 if one of the two cannot be reached.
    """
    with telling(as_json, "interrupted; the same command goes on from here"):
        if new_name is not None and len(collection or []) != 1:
            raise InvalidOptionError("--as needs one --collection")
        names = {collection[0]: new_name} if new_name is not None and collection else {}
        ends = [get_deployment(where, config) for where in (source, target)]
        identity = _identity(*map(_place, ends), sorted(names.items()), without_sparse)
        notes = journal or _journal(identity)

        async def work(progress: OnProgress) -> TransferReport:
            async with open_quietly(source, config) as here, open_quietly(target, config) as there:
                return await copy_collections(
                    here,
                    there,
                    collections=collection,
                    names=names,
                    existing="continue" if existing else "refuse",
                    journal=None if dry_run else notes,
                    identity=identity,
                    keep_journal=True,
                    sparse_vectors=not without_sparse,
                    dry_run=dry_run,
                    samples=samples,
                    progress=progress,
                )

        report = _run(work, ends)
        report.source, report.target = ends[0].name, ends[1].name
        _tell(report, as_json)
        _end(notes, identity, report)


def export(
    source: Where,
    file: Annotated[Path, typer.Argument(help="It ends in .parquet, .jsonl or .ndjson.")],
    collection: Annotated[
        str | None, typer.Option("--collection", "-c", help="Which one, if there are several.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
    dry_run: DryRun = False,
    config: ConfigFile = None,
    as_json: AsJSON = False,
) -> None:
    """Write a collection to a Parquet or JSON lines file, and compare the file with the source.

    Exit status 0 if they are the same, 1 if not, or if the file cannot be written; 2 for a mistake.
    """
    with telling(as_json, "interrupted; no file was written"):
        end = get_deployment(source, config)

        async def work(progress: OnProgress) -> TransferReport:
            async with open_quietly(source, config) as here:
                return await export_points(
                    here, file, collection=collection, overwrite=overwrite, dry_run=dry_run, progress=progress
                )

        report = _run(work, [end])
        report.source = end.name
        _tell(report, as_json)


def import_(
    file: Annotated[Path, typer.Argument(help="It ends in .parquet, .arrow, .feather, .jsonl, .ndjson, .npy or .npz.")],
    target: Where,
    new_name: Annotated[
        str | None,
        typer.Option("--as", metavar="NAME", help="The collection to write; the one the file tells of, else its name."),
    ] = None,
    id_column: Annotated[
        str | None, typer.Option("--id", metavar="COLUMN", help="The ids of a file of others.")
    ] = None,
    vector_column: Annotated[str | None, typer.Option("--vector", metavar="COLUMN", help="Its vectors.")] = None,
    payload_column: Annotated[
        str | None, typer.Option("--payload", metavar="COLUMN", help="Its payloads: JSON objects.")
    ] = None,
    field: Annotated[
        list[str] | None,
        typer.Option("--field", metavar="COLUMN", help="A column for the payload; may be repeated. All if absent."),
    ] = None,
    metric: Annotated[DistanceMetric | None, typer.Option(help="Of a file of others; cosine if absent.")] = None,
    existing: Continue = False,
    without_sparse: WithoutSparse = False,
    dry_run: DryRun = False,
    journal: JournalFile = None,
    config: ConfigFile = None,
    as_json: AsJSON = False,
) -> None:
    """Write the points of a file to a collection, and compare them.

    The file is read whole before anything is written. Interrupted, the same command goes on where it stopped. Exit
    status 0 if what was written is the same, 1 if not, 2 for a mistake, also one in the file.
    """
    with telling(as_json, "interrupted; the same command goes on from here"):
        end = get_deployment(target, config)
        columns = None
        if id_column or vector_column or payload_column or field:
            columns = Columns(id_column, vector_column, payload_column, field or None)
        identity = _identity(
            _file_state(file), _place(end), [new_name, str(columns), metric and metric.value], without_sparse
        )
        notes = journal or _journal(identity)

        async def work(progress: OnProgress) -> TransferReport:
            async with open_quietly(target, config) as there:
                return await import_points(
                    file,
                    there,
                    collection=new_name,
                    columns=columns,
                    metric=metric,
                    existing="continue" if existing else "refuse",
                    journal=None if dry_run else notes,
                    identity=identity,
                    keep_journal=True,
                    sparse_vectors=not without_sparse,
                    dry_run=dry_run,
                    progress=progress,
                )

        report = _run(work, [end])
        report.target = end.name
        _tell(report, as_json)
        _end(notes, identity, report)


# --- the journal -----------------------------------------------------------------------------------------------------


def _place(end: Deployment) -> dict[str, str]:
    """Where it is, without secrets."""
    settings = {key: str(value) for key, value in end.shown.items()}
    if "path" in settings and "://" not in settings["path"]:
        settings["path"] = str(Path(settings["path"]).expanduser().absolute())
    return {"backend": end.backend, **settings}


def _file_state(file: Path) -> list[Any]:
    try:
        state = file.stat()
    except OSError as error:
        raise InvalidOptionError(f"{file}: {error.strerror}") from None
    return [str(file.absolute()), state.st_size, state.st_mtime_ns]


def _identity(*parts: Any) -> str:
    return json.dumps(parts, sort_keys=True, ensure_ascii=False)


def _journal(identity: str) -> Path:
    configured = Path(os.environ.get("XDG_STATE_HOME", ""))
    folder = configured if configured.is_absolute() else Path("~/.local/state").expanduser()
    return folder / "codeweaver" / f"copy-{hashlib.sha256(identity.encode()).hexdigest()[:16]}.json"


def _end(notes: Path, identity: str, report: TransferReport) -> None:
    """Forget what is done, and not before it was told: a run that is interrupted now can tell it again."""
    sys.stdout.flush()
    if not report.dry_run:
        Journal(notes, identity).end(one.collection for one in report.collections)


# --- telling ---------------------------------------------------------------------------------------------------------


class _Rate(ProgressColumn):
    """Points per second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f}/s" if task.speed else "")


@contextmanager
def _progress() -> Iterator[OnProgress]:
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=12),
        TextColumn("{task.completed:,}"),
        _Rate(),
        TimeRemainingColumn(compact=True),
    )
    with Bars(*columns, console=console, transient=True) as bars:
        tasks: dict[tuple[str, str], Any] = {}

        def show(progress: Progress) -> None:
            key = (progress.phase, progress.collection)
            if key not in tasks or progress.done < bars.tasks[-1].completed:
                for task in tasks.values():
                    bars.remove_task(task)
                tasks.clear()
                tasks[key] = bars.add_task(f"{progress.phase} {progress.collection}", total=progress.total)
            bars.update(tasks[key], completed=progress.done, total=progress.total)

        yield show


def _run(work: Any, ends: list[Deployment]) -> TransferReport:
    for end in ends:
        warn_of(end)
    with _progress() as progress:
        coroutine: Coroutine[Any, Any, TransferReport] = work(progress)
        return asyncio.run(coroutine)


def _tell(report: TransferReport, as_json: bool) -> None:
    if as_json:
        print_json(report.as_json())
    else:
        for one in report.collections:
            say(f"{report.source} → {report.target}: {one.collection}", "bold")
            what = f"{one.points:,} points of dimension {one.dimension}, {one.metric}"
            if report.dry_run:
                say(f"{what}: nothing stands in the way, nothing was written")
                continue
            rate = f", {one.written / one.seconds:,.0f}/s" if one.seconds > 0 else ""
            resumed = f", {one.resumed_at:,} by a run before" if one.resumed_at else ""
            say(f"{what}: {one.written:,} written in {one.seconds:.1f} s{rate}{resumed}")
            for note in one.notes:
                say(f"note: {note}", "yellow")
            rows = [[check.name, check.outcome, check.detail] for check in one.checks]
            print_table(["verified", "outcome", "detail"], rows, [_COLOURS[check.outcome] for check in one.checks])
    if not report.ok:
        sys.stdout.flush()
        raise typer.Exit(FAILED)
