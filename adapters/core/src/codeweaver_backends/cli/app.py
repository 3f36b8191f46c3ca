"""The command's head: its own subcommands, and those that other distributions name.

A distribution adds one by an entry point of the group ``codeweaver.commands``, whose name is the subcommand's and whose
object is a typer application or a function that typer can make a command of. It is imported when it is called, or for
the overview; one that is broken is told by name and takes nothing else away.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

import typer
from typer.core import TyperGroup

from codeweaver_backends.cli import inspecting, transferring
from codeweaver_backends.cli.output import FAILED, say_error

__all__ = ["ENTRY_POINT_GROUP", "app"]

ENTRY_POINT_GROUP: Final = "codeweaver.commands"
_HELP: Final = (
    "Vector databases behind one protocol: see them, check them, move between them.\n\n"
    "Exit status: 0 all is well; 1 what was looked at is not, or did not get to an end; 2 a mistake in what was asked "
    "for, and nothing was done; 3 an engine could not be reached, or refused the credentials; 130 interrupted."
)


class Commands(TyperGroup):
    """Subcommands of ours, then those of other distributions."""

    def list_commands(self, ctx: Any) -> list[str]:
        own = super().list_commands(ctx)
        return [*own, *sorted(_contributed().keys() - set(own))]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        own = super().get_command(ctx, cmd_name)
        entry = _contributed().get(cmd_name)
        return own if own is not None or entry is None else _load(entry)


def _contributed() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=ENTRY_POINT_GROUP)}


def _load(entry: EntryPoint) -> Any:
    try:
        loaded = entry.load()
        if not isinstance(loaded, typer.Typer):
            loaded = _application(entry.name, loaded)
        command = typer.main.get_command(loaded)
    except Exception as error:  # noqa: BLE001 - another's fault must not take the other commands away
        command = typer.main.get_command(_application(entry.name, _broken(entry, error)))
    command.name = entry.name
    return command


def _application(name: str, function: Any) -> typer.Typer:
    made = typer.Typer(add_completion=False, pretty_exceptions_show_locals=False)
    made.command(name)(function)
    return made


def _broken(entry: EntryPoint, error: Exception) -> Any:
    origin = f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unknown distribution"
    text = f"the command {entry.name!r} of {origin} is broken: {type(error).__name__}: {error}"

    def tell() -> None:
        say_error(text)
        raise typer.Exit(FAILED)

    tell.__doc__ = f"(broken: {type(error).__name__})"
    return tell


app = typer.Typer(
    cls=Commands,
    help=_HELP,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,  # locals may hold secrets
)


@app.callback()
def _main() -> None:
    """Make it a group, whatever the number of its commands."""


_main.__doc__ = _HELP
app.command("list")(inspecting.list_)
app.command("info")(inspecting.info)
app.command("check")(inspecting.check)
app.command("copy")(transferring.copy)
app.command("export")(transferring.export)
app.command("import")(transferring.import_)
