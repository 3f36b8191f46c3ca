"""The kit itself, as its users see it: forms of a plug-in, verdicts, stories, waivers, an absent engine."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from codeweaver_backends.contract import CLAUSES
from codeweaver_conformance.certificate import Certificate
from codeweaver_tools.defects.mutants import MUTANTS, _places
from codeweaver_tools.defects.nothing import HOPELESS

RIG = "codeweaver_tools.defects.rig:RigPlugin"
DEFECT = "codeweaver_tools.defects:"
NOTHING = "codeweaver_tools.defects.nothing:"
QUICK = ("--cw-cases=5", "--cw-steps=20", "--cw-shrink=0")
"""For runs of the whole suite that are about what comes of it."""
SETTINGS = """
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
filterwarnings = error
    ignore:Unknown config option:pytest.PytestConfigWarning
"""


def kit(folder: Path, *arguments: str, status: int = 0) -> str:
    """Run pytest in an otherwise empty folder, as a user with pytest-asyncio in auto mode would; give what it says."""
    (folder / "pytest.ini").write_text(SETTINGS, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=900)
    said = done.stdout + done.stderr
    assert done.returncode == status, said[-3_000:]
    return said


def suite(folder: Path, backend: str, *arguments: str, status: int = 0) -> str:
    """Run the suite in the form without a line of test."""
    return kit(folder, "--pyargs", "codeweaver_conformance.suite", f"--cw-backend={backend}", *arguments, status=status)


def file_of(folder: Path, target: str) -> Path:
    python = ".".join(map(str, sys.version_info[:2]))
    return folder / "reports" / "certificates" / f"{target}-py{python}.json"


def certificate(folder: Path, target: str) -> Certificate:
    text = file_of(folder, target).read_text(encoding="utf-8")
    return Certificate.model_validate_json(text, strict=True)


# --- verdicts, and the three forms ------------------------------------------------------------------------------------


def test_an_installed_plugin_is_certified(tmp_path: Path) -> None:
    said = suite(tmp_path, "memory")
    assert "memory: CERTIFIED" in said
    written = certificate(tmp_path, "memory")
    assert written.verdict == "certified"
    assert written.clauses.keys() == CLAUSES.keys()
    assert {one.outcome for one in written.clauses.values()} <= {"pass", "denied"}
    assert written.environment.reference == "memory"
    assert written.reproduce.endswith("--cw-seed=20250101 --cw-cases=200 --cw-steps=400")


def test_a_plugin_by_reference_on_two_processes_in_shuffled_order(tmp_path: Path) -> None:
    pytest.importorskip("xdist")
    said = suite(tmp_path, RIG, "-n", "2", "--cw-shuffle=7", *QUICK)
    assert "memory: CERTIFIED" in said
    assert certificate(tmp_path, "memory").environment.cases == 5


def test_two_lines_in_a_suite_of_ones_own(tmp_path: Path) -> None:
    lines = f"from codeweaver_conformance import conformance_tests\nglobals().update(conformance_tests({RIG!r}))\n"
    (tmp_path / "test_conformance.py").write_text(lines, encoding="utf-8")
    said = kit(tmp_path, "test_conformance.py", *QUICK)
    assert "memory: CERTIFIED" in said


def test_part_of_the_suite_gives_no_certificate(tmp_path: Path) -> None:
    said = suite(tmp_path, "memory", "-k", "test_ids_come_back")
    assert "2 passed" in said
    assert not (tmp_path / "reports").exists()


def test_a_run_without_a_backend_says_what_is_missing(tmp_path: Path) -> None:
    said = kit(tmp_path, "--pyargs", "codeweaver_conformance.suite", "-x", status=4)
    assert "--cw-backend" in said


def test_areas_can_be_put_first(tmp_path: Path) -> None:
    said = suite(tmp_path, "memory", "--collect-only", "-q", "--cw-first=vectors,ids")
    order = list(dict.fromkeys(re.findall(r"(test_\w+)\.py", said)))
    assert order.index("test_vectors") < order.index("test_ids") < order.index("test_capabilities")


# --- a failure's story ------------------------------------------------------------------------------------------------


def test_a_failure_tells_its_clause_and_how_to_see_it_again(tmp_path: Path) -> None:
    said = suite(tmp_path, f"{DEFECT}thr_exclusive", "-k", "test_an_exact_score_is_kept", status=1)
    assert f"clause thresholds.inclusive: {CLAUSES['thresholds.inclusive'].sentence}" in said
    assert re.search(r"^call: +search_vectors\(.*score_threshold=2\.0\)$", said, re.MULTILINE)
    assert re.search(r"^expected: ", said, re.MULTILINE)
    assert re.search(r"^got: ", said, re.MULTILINE)
    assert "Traceback" not in said
    [script] = re.findall(r"^PYTHONPATH=\. python (.+\.py)$", said, re.MULTILINE)
    done = subprocess.run(
        [sys.executable, "-W", "error", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "score=4.0" in done.stdout
    assert "score=2.0" not in done.stdout, "the search is made again, and the point at the threshold is missing again"


def test_a_call_with_a_stream_is_made_again(tmp_path: Path) -> None:
    chosen = ("-k", "test_what_fills_no_batch_is_written", "--maxfail=1")
    said = suite(tmp_path, f"{DEFECT}str_tail_lost", *chosen, status=1)
    assert re.search(r"^call: +search_vectors\(", said, re.MULTILINE)
    [script] = re.findall(r"^PYTHONPATH=\. python (.+\.py)$", said, re.MULTILINE)
    assert "stream_upsert_vectors(" in (tmp_path / script).read_text(encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]", "the stream is written again, and its point is lost again"


def test_a_broken_rule_costs_the_certificate(tmp_path: Path) -> None:
    said = suite(tmp_path, f"{DEFECT}lim_index_refused", *QUICK, status=1)
    assert "lim-index-refused: FAILED" in said
    failed = {name for name, one in certificate(tmp_path, "lim-index-refused").clauses.items() if one.outcome == "fail"}
    assert failed == {"limits.refused"}


@pytest.mark.parametrize("name", HOPELESS)
def test_a_backend_that_does_nothing_is_not_certified(tmp_path: Path, name: str) -> None:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--pyargs", "codeweaver_conformance.suite"]
    command += [f"--cw-backend={NOTHING}{name}", *QUICK, "--tb=no", "-q"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode != 0
    written = tmp_path / "reports" / "certificates" / f"{name}.json"
    assert not written.exists() or certificate(tmp_path, name).verdict in ("failed", "partial"), done.stdout[-3_000:]


# --- waivers ----------------------------------------------------------------------------------------------------------


def waiver(folder: Path, clause: str, expires: str = "2999-01-01") -> str:
    lines = ("[[waiver]]", f'clause = "{clause}"', 'reason = "the engine takes int only"', 'issue = "engine#1"')
    (folder / "waivers.toml").write_text("\n".join((*lines, f"expires = {expires}", "")), encoding="utf-8")
    return "--cw-waivers=waivers.toml"


def test_a_waived_failure_makes_the_verdict_partial(tmp_path: Path) -> None:
    option = waiver(tmp_path, "limits.refused")
    said = suite(tmp_path, f"{DEFECT}lim_index_refused", option, *QUICK)
    assert "lim-index-refused: PARTIAL" in said
    written = certificate(tmp_path, "lim-index-refused")
    assert written.clauses["limits.refused"].outcome == "waived"
    assert [one.issue for one in written.waivers] == ["engine#1"]


def test_a_needless_waiver_fails(tmp_path: Path) -> None:
    said = suite(tmp_path, "memory", waiver(tmp_path, "limits.refused"), *QUICK, status=1)
    assert "no longer needed: the waivers of limits.refused" in said
    assert not (tmp_path / "reports" / "certificates").exists()


@pytest.mark.parametrize(
    ("clause", "expires", "told"),
    [("limits.invented", "2999-01-01", "does not exist"), ("limits.refused", "2001-01-01", "expired")],
)
def test_a_waiver_must_name_a_clause_and_a_day_to_come(tmp_path: Path, clause: str, expires: str, told: str) -> None:
    said = suite(tmp_path, "memory", waiver(tmp_path, clause, expires), status=4)
    assert told in said


# --- an engine that is not there --------------------------------------------------------------------------------------

ABSENT = """
from contextlib import contextmanager
from codeweaver_backends.testing import NotProvisioned, Target
from codeweaver_tools.defects.network import NetworkPlugin

class Plugin(NetworkPlugin):
    @classmethod
    def get_plugin_name(cls):
        return "absent"

@contextmanager
def provide():
    raise NotProvisioned("no server of version 9 was found on this machine")
    yield {}

def targets():
    return [Target("absent", "absent", provide)]
"""


@pytest.fixture
def absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A distribution, as installed, whose engine cannot be had."""
    site = tmp_path / "site"
    info = site / "absent-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "absent_engine.py").write_text(ABSENT, encoding="utf-8")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: absent\nVersion: 1.0\n", encoding="utf-8")
    points = (
        "[codeweaver.backends]\nabsent = absent_engine:Plugin\n[codeweaver.testing]\nabsent = absent_engine:targets\n"
    )
    (info / "entry_points.txt").write_text(points, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(site))
    return tmp_path


def test_nothing_is_proved_where_no_engine_is_found(absent: Path) -> None:
    said = suite(absent, "absent")
    assert "NOT VERIFIED" in said
    assert "no server of version 9" in said
    assert " passed" not in said
    written = certificate(absent, "absent")
    assert written.verdict == "not-verified"
    assert set(written.profiles.values()) == {"not-verified"}
    assert {one.outcome for one in written.clauses.values()} == {"not-verified"}
    assert "no server of version 9" in written.environment.missing


def test_a_waiver_is_not_called_needless_where_nothing_was_asked(absent: Path) -> None:
    waiver = '[[waiver]]\nclause = "ids.distinct"\nreason = "a reason that is long enough"\nissue = "us#1"\n'
    (absent / "waivers.toml").write_text(f"{waiver}expires = 2999-01-01\n", encoding="utf-8")
    said = suite(absent, "absent", "--cw-waivers=waivers.toml")
    assert "no longer needed" not in said


def test_what_must_be_verified_fails_where_no_engine_is_found(absent: Path) -> None:
    said = suite(absent, "absent", "--cw-require", status=1)
    assert "NOT VERIFIED" in said


# --- the reference server ---------------------------------------------------------------------------------------------


def test_a_backend_behind_a_socket_is_certified(tmp_path: Path) -> None:
    from codeweaver_tools.defects.server import KEY, serving

    with serving() as port:
        address = (f"--cw-set=port={port}", f"--cw-set=api_key={KEY}")
        said = suite(tmp_path, "codeweaver_tools.defects.network:NetworkPlugin", *address, *QUICK)
    assert "network-reference: CERTIFIED" in said
    outcomes = certificate(tmp_path, "network-reference").clauses
    assert {outcomes[one].outcome for one in ("health.false", "errors.timeout", "errors.authentication")} == {"pass"}
    assert {outcomes[one].outcome for one in ("transactions.lost", "transactions.lost-answer")} == {"pass"}
    text = file_of(tmp_path, "network-reference").read_text(encoding="utf-8")
    assert KEY not in text, "the certificate tells no secret"


@pytest.mark.parametrize("name", MUTANTS)
def test_every_mutant_finds_its_place_in_core(name: str) -> None:
    with MUTANTS[name].applied():
        pass


def test_the_suite_of_defects_reports(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "codeweaver_tools.defects", "--only", "^(thr-exclusive|nrm-gt-ge)$"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "reports" / "defects.json").read_text(encoding="utf-8"))
    assert (report["total"], report["killed"], report["survivors"]) == (2, 2, [])
    assert report["by_class"] == {"normaliser": {"total": 1, "killed": 1}, "scores": {"total": 1, "killed": 1}}
    assert {one["id"]: one["killed_by"] for one in report["defects"]}["thr-exclusive"] == ["thresholds.inclusive"]


def test_a_mutant_finds_its_place_however_core_is_formatted() -> None:
    source = 'x = f(\n    "a",  # first\n    b,\n)\ny = g(a)'
    [(start, end)] = _places(source, "f('a', b)")
    assert source[:start] + "h()" + source[end:] == "x = h()\ny = g(a)"
    assert not list(_places(source, "f('b', b)"))
    assert not list(_places(source, "f(a, b)"))


def test_what_takes_long_comes_last(tmp_path: Path) -> None:
    said = suite(tmp_path, "memory", "--collect-only", "-q")
    order = list(dict.fromkeys(re.findall(r"(test_\w+)\.py", said)))
    assert order.index("test_vectors") < order.index("test_sizes") < order.index("test_machine")
