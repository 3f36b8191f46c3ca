"""The table of the matrix: what a run was of is told by its certificate and its folder, and a later run replaces it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from codeweaver_tools import matrix

CERTIFICATE = Path(__file__).parents[1] / "docs" / "certificates" / "memory.json"


def certified(folder: Path, session: str, python: str, day: str) -> None:
    told = json.loads(CERTIFICATE.read_text(encoding="utf-8"))
    told["environment"]["python"] = python
    told["created"] = f"{day}T01:02:03+00:00"
    (folder / session).mkdir(parents=True)
    (folder / session / "memory.json").write_text(json.dumps(told, indent=2), encoding="utf-8")


def test_a_later_run_takes_the_place_of_an_older_one_of_its_kind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "kept.json"
    certified(tmp_path / "first", "matrix-3.13(memory, newest)", "3.13.0", "2026-01-01")
    certified(tmp_path / "first", "matrix-3.13(memory, oldest)", "3.13.0", "2026-01-01")
    matrix.main([str(tmp_path / "first"), "--keep", str(file)])
    certified(tmp_path / "second", "matrix-3.13(memory, newest)", "3.13.1", "2026-01-02")
    matrix.main([str(tmp_path / "second"), "--keep", str(file)])
    assert capsys.readouterr().out.count("**certified**") == 3
    headings, rows = matrix.page(matrix.kept(file), ["lancedb", "memory"])
    cells = {(row[0], row[1]): row[headings.index("3.13")] for row in rows}
    assert "2026-01-02" in cells["`memory`", "newest"]
    assert "2026-01-01" in cells["`memory`", "oldest"]
    assert cells["`lancedb`", "newest"] == "—"


def test_a_folder_without_certificates_says_so(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("{}")
    assert list(matrix.table(matrix.runs(tmp_path))) == ["No certificate was written."]
