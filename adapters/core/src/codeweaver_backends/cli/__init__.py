"""The console command ``codeweaver-backends``. It needs the extra ``cli``; everything it does is a Python call too."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run it. Without typer and rich: say the install line, and exit with 2."""
    try:
        from codeweaver_backends.cli.app import app
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("rich", "typer"):
            raise
        sys.stderr.write("error: the command needs typer and rich: pip install 'codeweaver-backends[cli]'\n")
        raise SystemExit(2) from None
    app()
