"""``new``: a plugin's project that is whole from the first minute, to be made another engine's."""

from __future__ import annotations

import keyword
import re
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated

import typer
from jinja2 import Environment, StrictUndefined

from codeweaver_backends.cli.output import AsJSON, print_json, say, telling
from codeweaver_backends.errors import InvalidOptionError
from codeweaver_backends.plugins import find_plugins
from codeweaver_backends.version import __version__ as core_version
from codeweaver_conformance.version import __version__ as kit_version

__all__ = ["new", "write_project"]

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_ENDING = ".j2"


def new(
    name: Annotated[str, typer.Argument(help="The plugin's name: lower-case letters, digits, hyphens.")],
    folder: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where to put it; default: a folder codeweaver-NAME here.")
    ] = None,
    as_json: AsJSON = False,
) -> None:
    """Start a plugin for another engine: a project that works, with its tests, to be changed step by step.

    Exit status 2 where the folder is there already, or the name cannot be one.
    """
    with telling(as_json):
        where = folder or Path(f"codeweaver-{name}")
        written = write_project(name, where)
        if as_json:
            print_json({"ok": True, "folder": str(where), "files": [str(one) for one in written]})
            return
        say(f"{where}: {len(written)} files", "bold")
        say(f"cd {where}")
        say("pip install -e '.[test]'")
        say("pytest")
        say(f"codeweaver-backends certify {name}")


def write_project(name: str, folder: Path) -> list[Path]:
    """Write the project; the paths are relative to ``folder``.

    Raises ``InvalidOptionError`` for a name that cannot be a plugin's, and where the folder is there and not empty.
    """
    package = f"codeweaver_{name.replace('-', '_')}"
    if not _NAME.fullmatch(name) or not package.isidentifier() or keyword.iskeyword(name):
        raise InvalidOptionError(f"the name {name!r} must be lower-case letters, digits and single hyphens")
    if name in find_plugins():
        raise InvalidOptionError(f"a plugin named {name!r} is installed already; choose another name")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InvalidOptionError(f"{folder}: it is there already, and not empty")
    words = name.split("-")
    values = {
        "name": name,
        "distribution": f"codeweaver-{name}",
        "package": package,
        "prefix": "".join(word.capitalize() for word in words),
        "title": " ".join(word.capitalize() for word in words),
        "core": _compatible(core_version),
        "kit": _compatible(kit_version),
    }
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)  # noqa: S701
    written = []
    for template, path in _templates(files("codeweaver_conformance") / "template_plugin", Path()):
        target = Path(str(path).replace("src/package", f"src/{package}").removesuffix(_ENDING))
        (folder / target).parent.mkdir(parents=True, exist_ok=True)
        text = environment.from_string(template.read_text(encoding="utf-8")).render(values)
        (folder / target).write_text(text, encoding="utf-8")
        written.append(target)
    return written


def _templates(folder: Traversable, path: Path) -> list[tuple[Traversable, Path]]:
    found: list[tuple[Traversable, Path]] = []
    for one in sorted(folder.iterdir(), key=lambda one: one.name):
        if one.is_dir():
            found += _templates(one, path / one.name)
        elif one.name.endswith(_ENDING):
            found.append((one, path / one.name))
    return found


def _compatible(version: str) -> str:
    """``0.1.3`` → ``>=0.1,<0.2``."""
    major, minor, *_ = version.split(".")
    return f">={major}.{minor},<{major}.{int(minor) + 1}"
