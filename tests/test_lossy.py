"""Set-ups of real engines that lose answers: the kit fails each by name, and the same adapters as they are by none."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

LOSSY = Path(__file__).parent / "lossy"
TESTS = "depend_on_size or before_the_cut or large_batch or large_delete"
"""The tests that have points enough."""


def failures(folder: Path, backend: str) -> set[str]:
    """The clauses that fail, of those whose tests have points enough."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--pyargs", "codeweaver_conformance.suite"]
    command += [f"--cw-backend={backend}", "--cw-set", f"path={folder / 'data'}", "-k", TESTS]
    environment = {**os.environ, "PYTHONPATH": str(LOSSY)}
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    assert "error" not in done.stdout.splitlines()[-1], done.stdout
    return set(re.findall(r"^clause ([a-z.-]+): ", done.stdout, re.MULTILINE))


@pytest.mark.parametrize(
    ("plugin", "clause"),
    [
        ("one_probe", "metrics.size"),
        ("low_ef", "metrics.size"),
        ("postfilter", "filters.applied"),
        ("page", "batches.large"),
    ],
)
def test_a_lossy_lancedb_is_failed_by_name(tmp_path: Path, plugin: str, clause: str) -> None:
    pytest.importorskip("lancedb")
    assert clause in failures(tmp_path, f"hasty_lancedb:{plugin}")


def test_a_lossy_qdrant_is_failed_by_name(tmp_path: Path) -> None:
    pytest.importorskip("qdrant_edge")
    assert "metrics.size" in failures(tmp_path, "hasty_edge:low_ef")


@pytest.mark.parametrize(("plugin", "client"), [("lancedb", "lancedb"), ("qdrant-edge", "qdrant_edge")])
def test_the_adapters_as_they_are_lose_nothing(tmp_path: Path, plugin: str, client: str) -> None:
    pytest.importorskip(client)
    assert failures(tmp_path, plugin) == set()
