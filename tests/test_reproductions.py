"""Reproductions: the program of a failure tells a faulty backend from a correct one, whoever made the calls."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from codeweaver_tools.defects import load

DEFECTS = {
    "num-get-id-double": "calls of one task",
    "sec-metric": "two instances",
    "con-not-durable": "an instance after another",
    "tx-dirty-read-task": "two tasks, one of them in a transaction",
    "tx-wait-for": "a call that waits in its task's transaction",
}
"""What the suite finds by what."""


def _run(folder: Path, *command: str) -> str:
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=os.environ, capture_output=True, text=True, check=False, timeout=300
    )
    return done.stdout + done.stderr


def _said(folder: Path, program: str) -> str:
    """What a program prints, without what is another each time."""
    (folder / "program.py").write_text(program, encoding="utf-8")
    said = _run(folder, "program.py").replace(str(folder), "")
    return re.sub(r"[0-9a-f]{32}|0x[0-9a-f]+|line \d+", "", said)


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_reproduction_fails_again(tmp_path: Path, defect: str) -> None:
    """What the suite found, the program shows: made of a correct backend it prints something else."""
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    areas = ",".join(load()[defect].areas) or "transactions"
    suite = ("-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--pyargs", "codeweaver_conformance.suite")
    options = (f"--cw-backend={load()[defect].reference}", f"--cw-first={areas}", "--cw-shrink=0", "--cw-steps=20")
    said = _run(tmp_path, *suite, *options)
    programs = list((tmp_path / "reports" / "reproductions").rglob("*.py"))
    assert len(programs) == 1, said[-2_000:]
    program = programs[0].read_text(encoding="utf-8")
    attribute = defect.replace("-", "_")
    correct = program.replace("from codeweaver_tools.defects import", "from codeweaver_tools.defects.rig import")
    correct = re.sub(rf"\b{attribute}\b", "RigPlugin", correct).replace(f"'{defect}'", "'memory'")
    assert correct != program
    shown, expected = _said(tmp_path, program), _said(tmp_path, correct)
    assert "SyntaxError" not in shown
    assert "NameError" not in shown
    assert shown != expected, program
