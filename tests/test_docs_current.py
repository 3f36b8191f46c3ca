"""The documents say what is so: generated pages are current, code runs, sessions and options exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PYTHON_BLOCKS = [
    pytest.param(block, id=f"{file.relative_to(ROOT)}-{number}")
    for file in DOCUMENTS
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", file.read_text(encoding="utf-8"), re.DOTALL))
]


def text() -> str:
    return "\n".join(file.read_text(encoding="utf-8") for file in DOCUMENTS)


def test_generated_pages_are_current() -> None:
    command = [sys.executable, "-m", "codeweaver_tools.pages", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("block", PYTHON_BLOCKS)
def test_python_in_the_documents_runs(block: str, tmp_path: Path) -> None:
    block = block.replace("mypkg.plugin:MyPlugin", "memory")
    done = subprocess.run(
        [sys.executable, "-W", "error::SyntaxWarning", "-c", block],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_sessions_named_in_the_documents_exist() -> None:
    defined = set(
        re.findall(r"^@nox\.session.*?^def (\w+)", (ROOT / "noxfile.py").read_text(), re.DOTALL | re.MULTILINE)
    )
    named = {
        one
        for words in re.findall(r"nox -s ([\w \"()-]+)", text())
        for one in re.findall(r"[a-z]+(?=[ (\"]|$)", words.split("--")[0].split("#")[0])
    }
    parameters = {"memory", "target", *(folder.name for folder in ROOT.glob("adapters/*"))}
    assert named - parameters <= defined


def test_options_of_the_kit_named_in_the_documents_exist() -> None:
    plugin = (ROOT / "conformance/src/codeweaver_conformance/plugin.py").read_text(encoding="utf-8")
    assert set(re.findall(r"--cw-[a-z]+", text())) <= set(re.findall(r'"(--cw-[a-z]+)"', plugin))


def test_ci_runs_what_the_readme_says() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "pip install -q nox uv" in readme
    script = (ROOT / ".ci/run").read_text(encoding="utf-8")
    assert "pip install -q nox uv" in script
    assert ".venv/bin/nox" in script
