"""The guide's first plugin: its files are written as the page shows them, found by entry point, and certified."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/first-plugin.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r'```\w+ title="([^"]+)"\n(.*?)```', PAGE, re.DOTALL))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the page, installed as pip would: sources on the path, and the entry points of the pyproject."""
    folder = tmp_path_factory.mktemp("acme-vectors")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    described = tomllib.loads(FILES["pyproject.toml"])["project"]
    info = folder / "src" / "acme_vectors-0.1.0.dist-info"
    info.mkdir()
    needed = "".join(f"Requires-Dist: {one}\n" for one in described["dependencies"])
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: acme-vectors\nVersion: 0.1.0\n{needed}")
    points = "".join(
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in named.items())
        for group, named in described["entry-points"].items()
    )
    (info / "entry_points.txt").write_text(points, encoding="utf-8")
    return folder


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(folder / "src")}
    return subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_the_page_has_the_files_of_its_layout() -> None:
    layout = PAGE[PAGE.index("acme-vectors/\n") : PAGE.index("`pyproject.toml`: the entry")]
    assert {Path(name).name for name in FILES} == set(re.findall(r"[\w.]+\.(?:toml|py|yml)", layout))


def test_the_first_plugin_is_certified(project: Path) -> None:
    command = next(line for line in PAGE.splitlines() if "--cw-backend=acme --cw-require" in line)
    options = command.removeprefix("python ").split()
    done = run(project, *options, "-q", "-p", "no:cacheprovider", "-p", "no:asyncio", "--cw-waivers=conformance.toml")
    assert done.returncode == 0, done.stdout[-3_000:]
    [file] = (project / "reports" / "certificates").glob("acme-py*.json")
    certificate = json.loads(file.read_text(encoding="utf-8"))
    assert certificate["verdict"] == "certified"
    profiles = {name for name, verdict in certificate["profiles"].items() if verdict == "certified"}
    assert profiles == {"vector", "columnar", "streaming"}
    assert certificate["profiles"]["scan"] == "denied"
    assert certificate["environment"]["location"] == "in-process"
    assert certificate["environment"]["adapter"] == "acme-vectors 0.1.0"


def test_the_first_plugin_is_created_by_name(project: Path) -> None:
    program = """
import asyncio
from codeweaver_backends import VectorPoint, create_backend

async def main():
    async with create_backend("acme", path="data") as backend:
        await backend.create_collection("c", 2)
        await backend.upsert_vectors("c", [VectorPoint("a", [1, 0], {"n": 1}), VectorPoint(1, [0, 1])])
        print([hit.id for hit in await backend.search_vectors("c", [1, 0.1], search_filter={"must": [
            {"field": "n", "operator": "eq", "value": 1}]})])

asyncio.run(main())
"""
    done = run(project, "-c", program)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "['a']"
