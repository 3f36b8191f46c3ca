"""``new`` and ``certify``: a project whose tests and certificate run at once."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from codeweaver_conformance.certificate import Certificate
from codeweaver_conformance.cli import app


def run(*arguments: object, status: int = 0) -> Any:
    done = CliRunner().invoke(app, [str(one) for one in arguments])
    assert done.exit_code == status, done.output
    return done


def test_new_writes_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    told = json.loads(run("new", "my-engine", "--json").stdout)
    folder = tmp_path / "codeweaver-my-engine"
    assert told["folder"] == "codeweaver-my-engine"
    written = {str(one.relative_to(folder)) for one in folder.rglob("*") if one.is_file()}
    assert written == set(told["files"]) >= {"pyproject.toml", "src/codeweaver_my_engine/backend.py"}
    for file in folder.rglob("*"):
        if file.is_file():
            text = file.read_text()
            assert "{{" not in text
            assert max(map(len, text.splitlines())) <= 120
            if file.suffix == ".py":
                ast.parse(text)
    assert "it is there already, and not empty" in run("new", "my-engine", status=2).stderr
    for name in ("My", "a_b", "-a", "a--b", "../a", ""):
        assert "must be lower-case letters" in " ".join(run("new", "--", name, status=2).stderr.split())
    assert "is installed already" in run("new", "memory", status=2).stderr


def test_its_tests_pass_and_it_is_certified(tmp_path: Path, installed: Any, command: Any) -> None:
    environment = installed(tmp_path, "my-engine")
    project = tmp_path / "project"
    done = command(environment, project, "certify", "my-engine", "--cases", 5, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert (told["ok"], told["verdict"], told["failed"]) == (True, "certified", {})
    certificate = Certificate.model_validate_json((project / told["certificate"]).read_text())
    assert {name for name, one in certificate.profiles.items() if one == "certified"} >= {"vector", "scan", "columnar"}
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "collections or ids", "--cw-cases=5"]
    ran = subprocess.run(tests, cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout[-3_000:]
    assert " passed" in ran.stdout


def test_a_deployment_is_certified_in_collections_of_its_own(tmp_path: Path, installed: Any, command: Any) -> None:
    environment = installed(tmp_path, "my-engine")
    data = tmp_path / "data"
    (tmp_path / "codeweaver.toml").write_text(f'[deployments.prod]\nbackend = "my-engine"\npath = "{data}"\n')
    fill = (
        "import asyncio\nfrom codeweaver_backends.deployments import open_deployment\n"
        "async def main():\n    async with open_deployment('prod') as backend:\n        {}\nasyncio.run(main())\n"
    )

    def python(work: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", fill.format(work)], cwd=tmp_path, env=environment, capture_output=True, text=True,
            check=True,
        )  # fmt: skip
        return done.stdout.strip()

    python("await backend.create_collection('mine', 2)")
    done = command(environment, tmp_path, "certify", "prod", "--cases", 5, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["certificate"] == "reports/certificates/prod.json"
    assert python("print(await backend.list_collections())") == "['mine']"
    said = command(environment, tmp_path, "choose", "prod", "--runs", "server", "--at-most", 50, "--source", ".")
    assert "it runs in the process" in " ".join(said.stdout.split())
    unknown = command(environment, tmp_path, "certify", "prd")
    assert unknown.returncode == 2
    assert "did you mean 'prod'?" in unknown.stderr
