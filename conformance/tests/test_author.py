"""What a plugin's author meets: no key is published, nothing undeclared is verified, the end says where to begin."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from codeweaver_backends.contract import CLAUSES
from codeweaver_backends.testing import Target
from codeweaver_conformance import certificate as certificates
from codeweaver_conformance.run import REFUSED
from codeweaver_conformance.subject import provisioned
from codeweaver_conformance.summary import failed_clauses

KEY = "sekret-key-123"
MINE = '''
from contextlib import contextmanager
from typing import Any

from codeweaver_backends.config import BackendConfig
from codeweaver_backends.testing import NotProvisioned, Target
from codeweaver_backends.types import BaseComponentInfo
from codeweaver_tools.defects.rig import Rig, RigPlugin
from pydantic import SecretStr

class Settings(BackendConfig):
    endpoint: str = "nowhere:1"
    api_key: SecretStr = SecretStr("")
    dsn: str = ""
    store: Any = None

class PlainSettings(Settings):
    api_key: str = ""

class Mine(Rig):
    """Reached by an endpoint, perhaps: nobody says."""

class Plugin(RigPlugin):
    location = None
    info = BaseComponentInfo(name="mine")

    @classmethod
    def get_backend_class(cls): return Mine

    @classmethod
    def get_config_class(cls): return Settings

class Leaking(Mine):
    async def list_collections(self):
        raise RuntimeError(f"refused: {self.config.api_key} of {self.config.dsn}")

class LeakingPlugin(Plugin):
    @classmethod
    def get_backend_class(cls): return Leaking

    @classmethod
    def get_config_class(cls): return PlainSettings

class Down(Mine):
    async def health_check(self): return False
    async def list_collections(self): raise ConnectionRefusedError(f"nobody is at {self.config.endpoint}")

class DownPlugin(Plugin):
    @classmethod
    def get_backend_class(cls): return Down

class Nameless(Mine):
    async def list_collections(self): return [None]

class NamelessPlugin(Plugin):
    @classmethod
    def get_backend_class(cls): return Nameless

class Keeping(Mine):
    async def delete_collection(self, name):
        raise RuntimeError("it is kept")

class KeepingPlugin(Plugin):
    @classmethod
    def get_backend_class(cls): return Keeping

class Flaky(Mine):
    count = 0

    async def search_vectors(self, *arguments, **options):
        Flaky.count += 1
        return [] if Flaky.count == 1 else await super().search_vectors(*arguments, **options)

class FlakyPlugin(Plugin):
    @classmethod
    def get_backend_class(cls): return Flaky
'''


def run(folder: Path, plugin: str, *arguments: str, status: int) -> str:
    """Run the suite in a folder of the author's; give what it says."""
    (folder / "mine.py").write_text(MINE, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n", encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:asyncio", "--pyargs"]
    command += ["codeweaver_conformance.suite", f"--cw-backend={plugin}", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=600
    )
    said = done.stdout + done.stderr
    assert done.returncode == status, said[-3_000:]
    return said


def written(folder: Path) -> str:
    """Everything that the run left in files."""
    return "\n".join(file.read_text(encoding="utf-8") for file in (folder / "reports").rglob("*.*") if file.is_file())


# --- no key is published ---


def test_a_leaking_backends_key_is_in_no_output_and_no_file(tmp_path: Path) -> None:
    dsn = "postgresql://user:hidden-pass-9@db/x"
    given = (f"--cw-set=api_key={KEY}", f"--cw-set=dsn={dsn}", "--cw-set=endpoint=here:1")
    chosen = (
        "-k",
        "test_errors_are_of_one_tree or health_is_true",
        "-l",
        "--showlocals",
        "--junit-xml=reports/junit.xml",
    )
    said = run(tmp_path, "mine:LeakingPlugin", *given, *chosen, status=1)
    shown = said + written(tmp_path)
    assert "refused: ****" in said, "the leak is seen"
    assert KEY not in shown
    assert "hidden-pass-9" not in shown
    assert "os.environ['CW_API_KEY']" in shown, "the reproduction reads it from the environment"
    assert "os.environ['CW_DSN']" in shown
    assert "endpoint='here:1'" in shown


def test_a_reproduction_runs_twice_with_the_key_from_the_environment(tmp_path: Path) -> None:
    run(tmp_path, "mine:FlakyPlugin", f"--cw-set=api_key={KEY}", "-k", "test_ids_come_back", "-x", status=1)
    [script] = (tmp_path / "reports").rglob("*.py")
    for _ in range(2):
        environment = {**os.environ, "PYTHONPATH": str(tmp_path), "CW_API_KEY": KEY}
        done = subprocess.run(
            [sys.executable, str(script)], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


# --- in process, or a server ---


def test_what_nobody_declares_is_not_verified(tmp_path: Path) -> None:
    text = '[[waiver]]\nclause = "ids.uuid"\nreason = "another backend\'s"\nissue = "us#1"\nexpires = 2999-01-01\n'
    (tmp_path / "waivers.toml").write_text(f'{text}backend = "other"\n', encoding="utf-8")
    said = run(
        tmp_path, "mine:Plugin", "--cw-cases=5", "--cw-steps=20", "--cw-waivers=waivers.toml", "-n", "2", status=0
    )
    assert "mine: PARTIAL" in said
    assert "no longer needed" not in said, "the waiver is another backend's"
    [file] = (tmp_path / "reports" / "certificates").glob("mine-py*.json")
    certificate = json.loads(file.read_text(encoding="utf-8"))
    assert certificate["environment"]["location"] is None
    of_servers = {one.id for one in CLAUSES.values() if one.level == "core" and one.capability == "server"}
    assert len(of_servers) >= 4
    assert {certificate["clauses"][one]["outcome"] for one in of_servers} == {"not-verified"}
    assert "set location in the plugin or its target" in str(certificate["clauses"]["health.bounded"]["reasons"])
    assert certificate["clauses"]["errors.secret"]["outcome"] == "pass", "a key is no matter of where the engine runs"


@pytest.mark.parametrize(
    ("target", "location", "has_server"),
    [
        ({}, "in-process", False),
        ({"elsewhere": lambda port: {}}, "server", True),
        ({"location": "server"}, "server", False),
    ],
)
def test_a_target_says_where_its_engine_runs(target: dict[str, object], location: str, has_server: bool) -> None:
    from dataclasses import replace

    with provisioned("memory", {}) as subject:
        assert subject.target is not None
        moved = replace(subject, target=Target("memory", "memory", subject.target.provide, **target))  # type: ignore[arg-type]
        assert (moved.location, moved.has_server) == (location, has_server)


# --- before the first test ---


@pytest.mark.parametrize(
    ("plugin", "arguments", "told"),
    [
        ("mine:Plugin", ("--cw-set=endpont=x",), "endpont: there is no such setting; did you mean 'endpoint'?"),
        ("mine:DownPlugin", (), "the engine does not answer: list_collections raised"),
        ("mine:DownPlugin", ("-n", "2"), "the engine does not answer: list_collections raised"),
        ("mine:NamelessPlugin", (), "list_collections names what is no text: None"),
    ],
)
def test_a_run_that_cannot_begin_says_so_in_a_line(
    tmp_path: Path, plugin: str, arguments: tuple[str, ...], told: str
) -> None:
    folder = tmp_path / "reports" / "certificates"
    folder.mkdir(parents=True)
    (folder / "mine-py3.11.json").write_text("of last week", encoding="utf-8")
    said = run(tmp_path, plugin, *arguments, "-q", status=REFUSED)
    assert told in said
    assert "NOT VERIFIED" in said
    assert "Traceback" not in said
    assert len(said.splitlines()) < 20
    assert written(tmp_path) == "of last week"


@pytest.mark.parametrize(
    ("plugin", "arguments", "told"),
    [
        ("mine:Mine", (), "it is no plugin: it has no get_plugin_name()"),
        ("mine:Plugin", ("--cw-set=endpoint",), "--cw-set takes name=value"),
    ],
)
def test_a_mistake_in_the_command_is_one_line(
    tmp_path: Path, plugin: str, arguments: tuple[str, ...], told: str
) -> None:
    said = run(tmp_path, plugin, *arguments, "-q", status=4)
    assert told in said
    assert "Traceback" not in said


# --- at the end ---


def outcome(clause: str, reason: str, test: str = "test_it[1]") -> certificates.TestOutcome:
    return certificates.TestOutcome(clause=clause, test=test, outcome="fail", reason=reason)


def test_failures_are_clauses_grouped_by_cause_and_the_deepest_comes_first() -> None:
    lines = list(
        failed_clauses(
            [
                outcome("filters.eq", "got:      {1}"),
                outcome("filters.eq", "got:      {2}"),
                outcome("filters.ne", "got:      set()"),
                outcome("thresholds.zero", "got:      TypeError: unsupported operand 'a'"),
                outcome("ids.distinct", "got:      TypeError: unsupported operand 'b'"),
                certificates.TestOutcome(clause="ids.uuid", test="t", outcome="pass"),
            ],
            "mine:Plugin",
        )
    )
    assert lines[0] == "4 clauses failed, in 2 groups by likely cause:"
    assert lines[2] == "TypeError: unsupported operand … (2 clauses, 2 tests)"
    assert lines[3].startswith(f"  ids.distinct: {CLAUSES['ids.distinct'].sentence}")
    assert "wrong answers: filters (2 clauses, 3 tests)" in lines
    assert any(line.startswith("Begin with ids.distinct") for line in lines)
    assert any(line.endswith("--cw-backend=mine:Plugin -x -k test_it") for line in lines)


def test_a_partial_run_says_that_it_wrote_no_certificate(tmp_path: Path) -> None:
    said = run(tmp_path, "mine:Plugin", "-k", "test_ids_come_back", status=0)
    assert f"mine: NO CERTIFICATE: 1 of {len(CLAUSES)} clauses were run" in said
    run(tmp_path, "mine:Plugin", "-k", "test_ids_come_back", "--cw-require", status=1)


def test_a_clause_that_failed_fails_the_run_though_a_rerun_passed(tmp_path: Path) -> None:
    chosen = ("-k", "test_ids_come_back", "--reruns=1", "-W", "ignore")
    said = run(tmp_path, "mine:FlakyPlugin", *chosen, status=1)
    assert "1 rerun" in said
    assert " failed" not in said.splitlines()[-1], "pytest alone would have called it a pass"
    assert "1 clause failed" in said


def test_what_the_sweep_left_is_told(tmp_path: Path) -> None:
    for processes in ((), ("-n", "2")):
        said = run(tmp_path, "mine:KeepingPlugin", "-k", "test_ids_come_back", *processes, status=0)
        assert "left behind" in said
        assert "it is kept" in said


def test_two_settings_of_one_plugin_in_one_run_are_two_certificates(tmp_path: Path) -> None:
    for endpoint in ("one", "two"):
        lines = (
            "from codeweaver_conformance import conformance_tests",
            f"globals().update(conformance_tests('mine:Plugin', endpoint={endpoint!r}))",
            "",
        )
        (tmp_path / f"test_{endpoint}.py").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "mine.py").write_text(MINE, encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:asyncio",
        "--cw-cases=5",
        "--cw-steps=20",
    ]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    files = sorted((tmp_path / "reports" / "certificates").glob("*.json"))
    assert len(files) == 2, done.stdout[-2_000:]
    reproduce = [json.loads(file.read_text(encoding="utf-8"))["reproduce"] for file in files]
    assert {next(one for one in line.split() if one.startswith("endpoint=")) for line in reproduce} == {
        "endpoint=one",
        "endpoint=two",
    }


def test_waivers_in_another_form_are_told(tmp_path: Path) -> None:
    (tmp_path / "waivers.toml").write_text("[waiver]\nclause = 1\n", encoding="utf-8")
    assert "double brackets" in run(tmp_path, "mine:Plugin", "--cw-waivers=waivers.toml", status=4)


# --- nothing for those who do not ask ---


def test_an_ordinary_run_of_pytest_imports_nothing_of_the_kit(tmp_path: Path) -> None:
    program = (
        "import sys, pytest\n"
        "def test_it():\n"
        "    heavy = {'numpy', 'pydantic', 'hypothesis', 'rich'} & sys.modules.keys()\n"
        "    assert not heavy, heavy\n"
        "    assert 'codeweaver_conformance.plugin' in sys.modules\n"
        "    assert 'codeweaver_backends' not in sys.modules\n"
    )
    (tmp_path / "test_ordinary.py").write_text(program, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "codeweaver_conformance.plugin"]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
