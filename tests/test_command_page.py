"""Every command that the documents show of the console command is run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

ROOT = Path(__file__).parents[1]
FILL = """
import asyncio
import numpy as np
from codeweaver_backends.deployments import open_deployment

async def main():
    async with open_deployment("prod") as backend:
        await backend.create_collection("code", 4)
        vectors = np.random.default_rng(1).normal(size=(50, 4)).astype(np.float32)
        await backend.upsert_batch("code", list(range(50)), vectors, [{"n": i} for i in range(50)])

asyncio.run(main())
"""


def commands(page: Path) -> tuple[str, list[str]]:
    text = page.read_text(encoding="utf-8")
    [toml] = re.findall(r"```toml\n(# codeweaver.toml\n.*?)```", text, re.DOTALL)
    shown = [line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    return toml, [line.partition("#")[0].split() for line in shown if line.startswith("codeweaver-backends ")]


def run_page(page: Path, folder: Path) -> list[list[str]]:
    toml, lines = commands(page)
    (folder / "codeweaver.toml").write_text(toml, encoding="utf-8")
    for name, table in re.findall(
        r"```toml\n# (requirements.toml)\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL
    ):
        (folder / name).write_text(table, encoding="utf-8")
    theirs = [{"key": f"k{i}", "embedding": [1.0, i], "title": "x"} for i in range(3)]
    (folder / "theirs.jsonl").write_text("\n".join(map(json.dumps, theirs)))
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("CODEWEAVER_", "XDG_"))}
    environment = {**clean, "HOME": str(folder / "home")}

    def run(*command: str) -> None:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        if "--json" in command:
            assert json.loads(done.stdout)["ok"] is True

    run(sys.executable, "-c", FILL)
    for line in lines:
        run(sys.executable, "-m", "codeweaver_backends.cli", *line[1:])
    return lines


def test_the_commands_page(tmp_path: Path) -> None:
    lines = run_page(ROOT / "docs/command.md", tmp_path)
    every = {"list", "info", "check", "copy", "export", "import"}
    assert {line[1] for line in lines} == every | {"choose", "compare", "bench", "certify", "verify", "new"}
    assert "Take " in (tmp_path / "choice.md").read_text(encoding="utf-8")
    assert (tmp_path / "codeweaver-my-engine" / "pyproject.toml").is_file()


def test_the_readme(tmp_path: Path) -> None:
    lines = run_page(ROOT / "README.md", tmp_path)
    assert {line[1] for line in lines} >= {"check", "copy", "export"}
    table = pq.read_table(tmp_path / "code.parquet")
    assert sorted(table.column("id_int").to_pylist()) == list(range(50))
    assert np.asarray(table.column("vector").to_pylist()).shape == (50, 4)
