"""Certificates that cannot lie: what is less than the whole suite, or other than it came to, is told or not written.

The suite of these runs is one module of it, by a conftest: whole runs of all of it are in ``test_kit.py``.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from codeweaver_conformance.certificate import Certificate

SMALL = """
from codeweaver_conformance import complete
from codeweaver_conformance.suite import test_limits
complete.suite_tests = lambda: {name: test for name, test in vars(test_limits).items() if name.startswith("test_")}
"""
WRONG = "codeweaver_tools.defects:lim_index_refused"
"""Breaks ``limits.refused``, by ``test_other_limits_are_refused``."""


def run(folder: Path, *arguments: str, backend: str = "memory", conftest: str = "") -> tuple[int, str]:
    (folder / "conftest.py").write_text(SMALL + conftest, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-c", "/dev/null", "--rootdir", str(folder)]
    command += ["--pyargs", "codeweaver_conformance.suite.test_limits", f"--cw-backend={backend}", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)
    return done.returncode, done.stdout + done.stderr


def written(folder: Path) -> Certificate | None:
    files = list((folder / "reports" / "certificates").glob("*.json"))
    return Certificate.model_validate_json(files[0].read_text(encoding="utf-8")) if files else None


def outcome(folder: Path, clause: str) -> tuple[str, str]:
    certificate = written(folder)
    assert certificate
    return certificate.clauses[clause].outcome, " ".join(certificate.clauses[clause].reasons)


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["one process", "two"])
def test_the_whole_suite_gives_a_certificate(tmp_path: Path, workers: tuple[str, ...]) -> None:
    status, said = run(tmp_path, *workers)
    assert status == 0, said
    assert outcome(tmp_path, "limits.refused") == ("pass", "")
    assert outcome(tmp_path, "ids.uuid")[0] == "not-verified", "no test of it was run"
    assert "NO CERTIFICATE" not in said


ZERO = "::test_a_limit_of_zero_gives_nothing"
DESELECTED = ("--deselect", ZERO, "--deselect", f"test_limits.py{ZERO}")
"""What pytest calls a test outside of its root depends on where the kit is installed."""
DROPPED = """
import pytest
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    del items[3]
"""
TWICE = """
from _pytest.runner import runtestprotocol
def pytest_runtest_protocol(item, nextitem):
    for _ in range(2 if "refused" in item.name else 1):
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for report in runtestprotocol(item, nextitem=nextitem, log=False):
            item.ihook.pytest_runtest_logreport(report=report)
    return True
"""


@pytest.mark.parametrize(
    ("arguments", "conftest", "told"),
    [
        (("-k", "not zero"), "", "1 test was left out"),
        (("-k", "not zero", "-n", "2"), "", "1 test was left out"),
        ((*DESELECTED,), "", "1 test was left out"),
        ((), DROPPED, "1 test was left out"),
        ((), TWICE, "run more than once"),
        (("--maxfail=1",), "", "left out"),
    ],
    ids=["-k", "-k on two processes", "--deselect", "a hook drops one", "a hook runs some again", "-x"],
)
def test_part_of_it_gives_none(tmp_path: Path, arguments: tuple[str, ...], conftest: str, told: str) -> None:
    backend = WRONG if "--maxfail=1" in arguments else "memory"
    _, said = run(tmp_path, *arguments, backend=backend, conftest=conftest)
    assert "NO CERTIFICATE" in said, said
    assert told in said
    assert written(tmp_path) is None


@pytest.mark.parametrize(("arguments", "expected"), [((), 0), (("--cw-require",), 1)])
def test_an_adapters_own_tests_alone_are_no_run_of_the_suite(
    tmp_path: Path, arguments: tuple[str, ...], expected: int
) -> None:
    (tmp_path / "test_own.py").write_text("def test_own():\n    pass\n", encoding="utf-8")
    status, said = run(tmp_path, str(tmp_path / "test_own.py"), "-k", "test_own", *arguments)
    assert "1 passed" in said
    assert (status, "NO CERTIFICATE" in said) == (expected, bool(expected)), said


def test_the_last_failures_alone_give_none(tmp_path: Path) -> None:
    cache = ("-o", f"cache_dir={tmp_path}/cache")
    status, said = run(tmp_path, *cache, backend=WRONG)
    assert status == 1, said
    assert outcome(tmp_path, "limits.refused")[0] == "fail"
    [file] = (tmp_path / "reports" / "certificates").glob("*.json")
    file.unlink()
    _, said = run(tmp_path, *cache, "--lf", backend=WRONG)
    assert "NO CERTIFICATE" in said, said
    assert written(tmp_path) is None


MADE_PASSED = """
import pytest
@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    report.outcome = "passed"
"""
SWALLOWED = """
import pytest
@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    outcome = yield
    outcome.force_result(None)
"""
NOT_RUN = """
def pytest_pyfunc_call(pyfuncitem):
    return True
"""
MARKED = """
import pytest
def pytest_collection_modifyitems(items):
    for item in items:
        item.add_marker(pytest.mark.{mark})
"""


@pytest.mark.parametrize(
    ("conftest", "expected", "told"),
    [
        (MADE_PASSED, "fail", ""),
        (SWALLOWED, "fail", "test_other_limits_are_refused"),
        (NOT_RUN, "fail", "test_other_limits_are_refused"),
        (MARKED.format(mark="xfail"), "fail", "it was failed, and a mark or a hook made it skipped"),
        (MARKED.format(mark="skip(reason='mine')"), "not-verified", "mine"),
    ],
    ids=["report", "exception", "call", "xfail", "skip"],
)
def test_what_others_make_of_a_failure_does_not_count(tmp_path: Path, conftest: str, expected: str, told: str) -> None:
    _, said = run(tmp_path, backend=WRONG, conftest=conftest)
    certificate = written(tmp_path)
    if certificate is None:  # no test came as far as to name its target
        assert conftest == MARKED.format(mark="skip(reason='mine')"), said
        return
    found, reasons = outcome(tmp_path, "limits.refused")
    assert found == expected, said
    assert told in reasons


def test_a_weaker_test_in_the_place_of_one_is_none_of_the_suite(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(SMALL, encoding="utf-8")
    lines = (
        "from codeweaver_conformance import complete, conformance_tests",
        "from codeweaver_conformance.clause import clause",
        f"found = conformance_tests({WRONG!r})",
        "globals().update({name: found[name] for name in ('cw_session', *complete.suite_tests())})",
        "@clause('limits.refused')",
        "async def test_other_limits_are_refused(cw):",
        "    pass",
    )
    (tmp_path / "test_own.py").write_text("\n".join(lines), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "test_own.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout
    assert "1 test was not collected, as test_other_limits_are_refused" in done.stdout, done.stdout
    assert written(tmp_path) is None


@pytest.mark.parametrize("option", ["--cw-cases=0", "--cw-steps=0", "--cw-cases=-1"])
def test_no_tries_are_refused(tmp_path: Path, option: str) -> None:
    status, said = run(tmp_path, option)
    assert status == 4, said
