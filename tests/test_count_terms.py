"""The script that counts a table of term statistics."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from codeweaver_backends.sdk.hybrid.definition import SparseIndex

SCRIPT = Path(__file__).parents[1] / "tools/codeweaver_tools/count_terms.py"
SOURCE = """
import nothing

def one(http_client):
    return http_client

class Two:
    def three(self):
        return one(self)
"""


def run(*options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def table(*options: object) -> dict[str, Any]:
    done = run(*options)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner/code.py").write_text(SOURCE, encoding="utf-8")
    (tmp_path / "broken.py").write_text("def (", encoding="utf-8")
    (tmp_path / "prose.md").write_text("One two.\n\nTwo, two three.\n  \n\n", encoding="utf-8")
    return tmp_path


def test_functions(folder: Path) -> None:
    found = table(folder, "--split", "functions")
    assert found["documents"] == 3
    assert found["other"] == 0
    expected = {"def": 3, "return": 3, "one": 3, "self": 2, "three": 2, "http_client": 1, "client": 1, "class": 1}
    assert expected.items() <= found["counts"].items()
    assert "nothing" not in found["counts"]


def test_paragraphs_and_files(folder: Path) -> None:
    found = table(folder, "--suffix", ".md", "--split", "paragraphs")
    assert found == {"documents": 2, "other": 0, "counts": {"two": 2, "one": 1, "three": 1}}
    assert table(folder, "--suffix", ".md")["documents"] == 1
    assert table(folder, "--suffix", ".md", "--suffix", ".py")["documents"] == 3


def test_the_most_frequent_are_kept_and_the_others_told(folder: Path) -> None:
    found = table(folder, "--split", "functions", "--terms", 3)
    assert found["counts"] == {"def": 3, "one": 3, "return": 3}
    assert 1 <= found["other"] <= 2
    assert SparseIndex.from_arguments(["text"], "bm25", {"term_statistics": found}).query("unknown")


@pytest.mark.parametrize("terms", [0, 5_000])
def test_a_wrong_number_of_terms(folder: Path, terms: int) -> None:
    done = run(folder, "--terms", terms)
    assert done.returncode == 2
    assert "1 to 4096" in done.stderr


def test_nothing_to_count(tmp_path: Path) -> None:
    assert run(tmp_path).returncode == 1
