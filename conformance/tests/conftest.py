"""A project that ``new`` makes, as pip would leave it, and the command in another process that finds it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from codeweaver_conformance.cli.starting import write_project


@pytest.fixture
def installed() -> Callable[..., dict[str, str]]:
    """Give it a folder, the plugin's name and, if wanted, a change of its client; it gives the environment."""
    return _installed


@pytest.fixture
def command() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Give it the environment, the working directory and the arguments."""
    return _command


def _installed(folder: Path, name: str, change: tuple[str, str] | None = None) -> dict[str, str]:
    write_project(name, folder / "project")
    [package] = (folder / "project" / "src").iterdir()
    if change:
        client = package / "client.py"
        assert change[0] in client.read_text()
        client.write_text(client.read_text().replace(*change))
    site = folder / "site"
    shutil.copytree(package, site / package.name)
    project = tomllib.loads((folder / "project" / "pyproject.toml").read_text())["project"]
    info = site / f"{package.name}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = (
        f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in entries.items())
        for group, entries in project["entry-points"].items()
    )
    (info / "entry_points.txt").write_text("\n".join(groups))
    return {**os.environ, "PYTHONPATH": str(site)}


def _command(environment: dict[str, str], folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "codeweaver_backends.cli", *map(str, arguments)]
    return subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, check=False)
