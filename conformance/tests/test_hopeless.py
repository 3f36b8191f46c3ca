"""Backends that nobody may certify: whatever they do in place of their work, it is no pass."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from codeweaver_tools.defects.nothing import HOPELESS


@pytest.mark.parametrize("name", HOPELESS)
def test_it_is_not_certified(tmp_path: Path, name: str) -> None:
    """The whole suite: of one that answers nothing, denies everything, dies of its own faults, or skips every test."""
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    suite = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--pyargs", "codeweaver_conformance.suite")
    options = ("--cw-timeout=10", "--cw-shrink=0", "--cw-cases=5", "--tb=no", "--cw-require")
    command = (*suite, *options, f"--cw-backend=codeweaver_tools.defects.nothing:{name}")
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode in (1, 6), f"a status of failure: {done.stdout[-2_000:]}{done.stderr[-500:]}"
    assert "CERTIFIED" not in done.stdout.replace("NOT CERTIFIED", "")
    for file in (tmp_path / "reports").rglob("certificates/*.json"):
        certificate = json.loads(file.read_text(encoding="utf-8"))
        assert certificate["verdict"] in ("failed", "partial", "not-verified")
        assert "certified" not in {one["verdict"] for one in certificate["profiles"].values()}
        passed = {name for name, one in certificate["clauses"].items() if one["outcome"] == "pass"}
        assert not {one for one in passed if one.partition(".")[0] in _WORK}, "nothing of its work has passed"


_WORK = frozenset({"ids", "scores", "filters", "vectors", "metrics", "transactions", "scan", "consistency", "state"})
"""Areas of whose clauses none can hold for who does nothing."""
