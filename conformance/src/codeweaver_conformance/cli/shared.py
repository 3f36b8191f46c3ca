"""What several of the kit's commands have in common: options of data and queries, and bars that show progress."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from codeweaver_backends.transfer import Columns

__all__ = [
    "CERTIFICATES",
    "Certificates",
    "Fields",
    "IdColumn",
    "PayloadColumn",
    "Queries",
    "QueryFile",
    "Settings",
    "SourcePath",
    "VectorColumn",
    "columns_of",
    "progress_bars",
]

CERTIFICATES: Final = Path("reports/certificates")
Certificates: TypeAlias = Annotated[
    list[Path] | None,
    typer.Option(metavar="DIR", help=f"Look for certificates here, too, beside {CERTIFICATES}; may be repeated."),
]
SourcePath: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        metavar="PATH",
        help="A folder of code and texts, or .parquet, .jsonl, .npy, .npz with vectors; default: the running "
        "interpreter's standard library.",
    ),
]
Queries: TypeAlias = Annotated[
    list[str] | None, typer.Option("--query", "-q", metavar="TEXT", help="Search for this; may be repeated.")
]
QueryFile: TypeAlias = Annotated[
    Path | None,
    typer.Option("--queries", metavar="FILE", help="Texts, one a line; of a source with vectors: vectors, too."),
]
Settings: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME.KEY=VALUE", help="A setting of an engine; may be repeated."),
]
IdColumn: TypeAlias = Annotated[str | None, typer.Option("--id", metavar="COLUMN", help="The ids of a file of others.")]
VectorColumn: TypeAlias = Annotated[str | None, typer.Option("--vector", metavar="COLUMN", help="Its vectors.")]
PayloadColumn: TypeAlias = Annotated[
    str | None, typer.Option("--payload", metavar="COLUMN", help="Its payloads: JSON objects.")
]
Fields: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--field", metavar="COLUMN", help="A column for the payload; may be repeated. All if absent."),
]


def columns_of(
    id_column: str | None, vector: str | None, payload: str | None, field: list[str] | None
) -> Columns | None:
    """Where a file of others keeps what a point is made of, if any of it was said."""
    if id_column or vector or payload or field:
        return Columns(id_column, vector, payload, field or None)
    return None


class _Progress:
    """One bar, of the stretch of work that is under way."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._task: Any = None

    def begin(self, what: str, total: int) -> None:
        """Take the bar away, what is done needs no room, and show the next."""
        if self._task is not None:
            self._bars.remove_task(self._task)
        self._task = self._bars.add_task(what, total=total)

    def advance(self, steps: int = 1) -> None:
        """Move it on."""
        self._bars.advance(self._task, steps)


@contextmanager
def progress_bars() -> Iterator[_Progress]:
    """Bars on stderr while work is done, none without a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=12), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Bars(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        yield _Progress(bars)
