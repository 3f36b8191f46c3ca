"""The example of the author's guide: an adapter of a real engine, certified as a stranger certifies one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parent / "example"


def test_sqlite_vec_is_certified(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--pyargs",
        "codeweaver_conformance.suite",
    ]
    command += ["--cw-cases=50", "--cw-steps=100"]
    command += ["--cw-backend=codeweaver_sqlite_vec.plugin:SqliteVecPlugin", "--cw-set", f"path={tmp_path / 'data'}"]
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLE)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    [file] = (tmp_path / "reports" / "certificates").glob("*.json")
    certificate = json.loads(file.read_text(encoding="utf-8"))
    failed = [name for name, one in certificate["clauses"].items() if one["outcome"] == "fail"]
    assert not failed, done.stdout[-3_000:]
    assert certificate["verdict"] == "certified"
    assert {name: one for name, one in certificate["profiles"].items() if one == "certified"}.keys() >= {
        "vector",
        "scan",
        "columnar",
    }


def test_the_example_is_as_small_as_the_guide_says() -> None:
    sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
    try:
        from count_lines import code_lines
    finally:
        del sys.path[0]
    lines = sum(code_lines(file.read_text(encoding="utf-8")) for file in EXAMPLE.rglob("*.py"))
    assert 200 <= lines <= 330
