"""A plug-in by someone else: certified without a line of test, and not when it breaks a rule."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FOREIGN = Path(__file__).parent / "foreign"
QUICK = ("--cw-cases=20", "--cw-steps=50", "--cw-shrink=0")


def certify(folder: Path, plugin: str, *options: str) -> dict[str, str]:
    """Run the suite as a stranger does, and return the outcome of each clause; the verdict under its own name."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--pyargs", "codeweaver_conformance.suite"]
    command += [f"--cw-backend={plugin}", "--cw-set", f"path={folder / 'shelf.db'}", *QUICK, *options]
    environment = {**os.environ, "PYTHONPATH": str(FOREIGN)}
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    [file] = (folder / "reports" / "certificates").glob("*.json")
    written = json.loads(file.read_text(encoding="utf-8"))
    assert (done.returncode == 0) == (written["verdict"] == "certified"), done.stdout[-3_000:]
    return {"verdict": written["verdict"], **{name: one["outcome"] for name, one in written["clauses"].items()}}


def failed(outcomes: dict[str, str]) -> set[str]:
    return {name for name, outcome in outcomes.items() if outcome == "fail"}


def test_the_shelf_is_certified(tmp_path: Path) -> None:
    outcomes = certify(tmp_path, "shelf.plugin:ShelfPlugin")
    assert outcomes["verdict"] == "certified"
    assert failed(outcomes) == set()
    assert outcomes["filters.datetime"] == "denied"
    assert outcomes["scan.scroll"] == "denied"


@pytest.mark.parametrize(
    ("plugin", "named"),
    [
        ("Folding", {"ids.round-trip", "ids.distinct", "ids.uuid"}),
        ("Squaring", {"scores.values", "scores.order", "metrics.euclidean"}),
        ("Forgiving", {"collections.missing"}),
        ("Unfiltered", {"filters.applied", "filters.eq", "filters.must"}),
    ],
)
def test_a_broken_rule_is_named(tmp_path: Path, plugin: str, named: set[str]) -> None:
    outcomes = certify(tmp_path, f"shelf.broken:{plugin}")
    assert outcomes["verdict"] == "failed"
    assert named <= failed(outcomes)


def test_the_foreign_package_shares_no_code_with_ours() -> None:
    text = "\n".join(file.read_text(encoding="utf-8") for file in FOREIGN.rglob("*.py"))
    assert "codeweaver_backends" not in text
    assert "codeweaver_conformance" not in text
