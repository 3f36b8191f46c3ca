"""How the command speaks: results on stdout, everything else on stderr, and nothing that moves without a terminal.

``--json`` puts one JSON object on stdout; an error is one too, ``{"ok": false, "error": {"kind": …, "message": …}}``.
Colours are rich's: none without a terminal, or with ``NO_COLOR``.
"""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

import typer
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from codeweaver_backends.checking import with_cause
from codeweaver_backends.errors import (
    BackendAuthenticationError,
    BackendConnectionError,
    BackendError,
    CollectionNotFoundError,
    InvalidInputError,
    PluginError,
    UnsupportedError,
)
from codeweaver_backends.transfer import TransferRefusedError

__all__ = [
    "FAILED",
    "INTERRUPTED",
    "MISTAKE",
    "UNREACHABLE",
    "AsJSON",
    "ConfigFile",
    "flat",
    "print_json",
    "print_table",
    "say",
    "say_error",
    "say_warning",
    "telling",
]

FAILED: Final = 1
MISTAKE: Final = 2
UNREACHABLE: Final = 3
INTERRUPTED: Final = 130
_MISTAKES: Final = (InvalidInputError, PluginError, UnsupportedError, CollectionNotFoundError, TransferRefusedError)
_GAP: Final = 2

AsJSON: TypeAlias = Annotated[bool, typer.Option("--json", help="One JSON object instead of text.")]
ConfigFile: TypeAlias = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Read settings from this file and no other."),
]


def say(text: str, style: str = "") -> None:
    """A sentence of the result, in lines between words."""
    Console().print(Text(text, style, overflow="ignore"))


def say_warning(text: str) -> None:
    """Something that is allowed and not wise."""
    Console(stderr=True).print(Text.assemble(("warning: ", "bold yellow"), text), soft_wrap=True)


def say_error(text: str) -> None:
    """What went wrong."""
    Console(stderr=True).print(Text.assemble(("error: ", "bold red"), text), soft_wrap=True)


def print_json(content: object) -> None:
    """The result as JSON."""
    sys.stdout.write(json.dumps(content, indent=2, ensure_ascii=False, default=str) + "\n")


@contextmanager
def telling(as_json: bool, on_interrupt: str = "interrupted") -> Iterator[None]:
    """Tell an error in one line, and exit with its status."""
    try:
        yield
    except BackendError as error:
        if isinstance(error, TransferRefusedError):
            for obstacle in error.obstacles:
                say_error(obstacle)
        else:
            say_error(with_cause(error))
        if as_json:
            print_json({"ok": False, "error": {"kind": type(error).__name__, "message": str(error)}})
        raise typer.Exit(_status(error)) from None
    except OSError as error:  # of this machine: a journal that cannot be written, say
        say_error(str(error))
        if as_json:
            print_json({"ok": False, "error": {"kind": type(error).__name__, "message": str(error)}})
        raise typer.Exit(FAILED) from None
    except (KeyboardInterrupt, EOFError):
        say_error(on_interrupt)
        if as_json:
            print_json({"ok": False, "error": {"kind": "Interrupted", "message": on_interrupt}})
        raise typer.Exit(INTERRUPTED) from None


def _status(error: BackendError) -> int:
    if isinstance(error, BackendConnectionError | BackendAuthenticationError):
        return UNREACHABLE
    return MISTAKE if isinstance(error, _MISTAKES) else FAILED


# --- tables ----------------------------------------------------------------------------------------------------------


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]], styles: Sequence[str] = ()) -> None:
    """A table where it fits without cutting a word, else one paragraph a row. ``styles`` are of the rows."""
    console = Console()
    columns = list(zip(headings, *rows, strict=True))
    longest = [max(cell_len(word) for cell in column for word in (cell.split() or [""])) for column in columns]
    room = console.width - _GAP * (len(headings) - 1) - sum(longest)
    if room >= 0:
        # Between two columns stand one space of padding and one of the box.
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, _GAP - 1, 0, 0), show_edge=False)
        wanted = [max(map(cell_len, column)) - least for column, least in zip(columns, longest, strict=True)]
        widths = list(longest)
        # What is left goes first to those that want little of it.
        for served, place in enumerate(sorted(range(len(wanted)), key=wanted.__getitem__)):
            more = min(wanted[place], room // (len(wanted) - served))
            widths[place] += more
            room -= more
        for heading, width in zip(headings, widths, strict=True):
            table.add_column(heading, width=width)
        for position, row in enumerate(rows):
            table.add_row(*map(Text, row), style=styles[position] if styles else None)
        console.print(table)
        return
    for position, (first, *others) in enumerate(rows):
        console.print(Text(first, styles[position] if styles and styles[position] else "bold"), soft_wrap=True)
        for heading, cell in zip(headings[1:], others, strict=True):
            if cell:
                console.print(Text(_paragraph(f"{heading}: {cell}", console.width)), soft_wrap=True)


def _paragraph(text: str, width: int) -> str:
    return textwrap.fill(
        text,
        max(20, width),
        initial_indent="  ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def flat(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(map(flat, value)) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{name} ({flat(one)})" for name, one in value.items()) or "none"
    return str(value)
