"""What the kit adds to the console command ``codeweaver-backends``."""

from __future__ import annotations

import typer

from codeweaver_conformance.cli.certifying import certify, verify
from codeweaver_conformance.cli.choosing import choose
from codeweaver_conformance.cli.comparing import bench, compare
from codeweaver_conformance.cli.starting import new

__all__ = ["app", "bench", "certify", "choose", "compare", "new", "verify"]

app = typer.Typer(
    help="Choose among engines, measure them, certify them, and write new ones.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,  # locals may hold secrets
)
"""All of it by itself. The command finds each by the entry points of ``codeweaver.commands``."""
for _command in (choose, compare, bench, certify, verify, new):
    app.command()(_command)
