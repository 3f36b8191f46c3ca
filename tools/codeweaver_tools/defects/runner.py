"""One run of the suite, in this process, against one backend; and the processes in which such runs are made."""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import tempfile
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from codeweaver_tools.defects import load

__all__ = ["Job", "Outcome", "outcomes", "run"]

_RUNS = 25
"""Runs of one process: what pytest and the plugins keep of each adds up to gigabytes."""
_PATIENCE = 40.0
"""Seconds after which a test of a hanging backend is ended: long beside the longest test on a machine that has much to
do, since one that is ended counts as a kill."""


@dataclass(frozen=True, slots=True)
class Job:
    """What to run."""

    id: str
    reference: str
    areas: tuple[str, ...] = ()
    """The clauses to ask first."""
    mutant: str | None = None
    needs_server: bool = False
    to_the_end: bool = False
    """Run the whole suite and look at the certificate, instead of stopping at the first failure."""
    shuffle: int | None = None


@dataclass(slots=True)
class Outcome:
    """What came of it."""

    job: Job
    failures: list[tuple[tuple[str, ...], str, str]] = field(default_factory=list)
    """Clauses, test and reason of each test that failed."""
    tests: int = 0
    seconds: float = 0.0
    verdict: str = "none"
    trouble: str = ""
    """Why the run says nothing, where it could not be made."""


class _Watch:
    """Notes what failed."""

    def __init__(self, outcome: Outcome) -> None:
        self._outcome = outcome

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._outcome.tests += report.when == "call"
        if report.failed:
            told = dict(report.user_properties).get("cw_outcome")
            clauses, test, _, reason = json.loads(str(told)) if told else ([], report.nodeid, "", str(report.longrepr))
            self._outcome.failures.append((tuple(clauses), test, reason))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._outcome.trouble = str(report.longrepr)


def run(job: Job) -> Outcome:
    """Make the run. One that cannot be made says why: the others go on."""
    try:
        return _run(job)
    except Exception:  # noqa: BLE001 - whatever it is, it is told
        return Outcome(job, trouble=traceback.format_exc())


def _run(job: Job) -> Outcome:
    from codeweaver_tools.defects.mutants import MUTANTS

    outcome = Outcome(job)
    started = time.monotonic()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="defects-")))
        if job.mutant:
            stack.enter_context(MUTANTS[job.mutant].applied())
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        code = pytest.main([*_arguments(job, folder, stack)], plugins=[_Watch(outcome)])
        verdicts = [json.loads(file.read_text())["verdict"] for file in (folder / "certificates").glob("*.json")]
    outcome.verdict = verdicts[0] if verdicts else "none"
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) or not (outcome.tests or outcome.failures):
        outcome.trouble = outcome.trouble or f"pytest ended with {code!r} after {outcome.tests} tests"
    outcome.seconds = time.monotonic() - started
    return outcome


def _arguments(job: Job, folder: Path, stack: contextlib.ExitStack) -> Iterator[str]:
    yield from ("--pyargs", "codeweaver_conformance.suite", "-c", os.devnull, "--rootdir", str(folder))
    yield from ("-p", "no:cacheprovider", "-p", "codeweaver_conformance.plugin", "--assert=plain", "-q")
    yield from ("--tb=native", "-p", "no:unraisableexception")  # a full collection of garbage per test adds up
    yield from (f"--cw-backend={job.reference}", f"--cw-report={folder / 'certificates'}")
    if job.areas:
        yield f"--cw-first={','.join(job.areas)}"
    if not job.to_the_end:
        yield from ("--maxfail=1", f"--cw-timeout={_PATIENCE}", "--cw-shrink=0")
    if job.shuffle is not None:
        yield f"--cw-shuffle={job.shuffle}"
    if job.needs_server:
        from codeweaver_tools.defects.server import KEY, serving

        yield from ("--cw-set=host=127.0.0.1", f"--cw-set=port={stack.enter_context(serving())}")
        yield f"--cw-set=api_key={KEY}"


def _prepare() -> None:
    # Other people's plugins have no part in this, and cost time in each of several hundred runs.
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    load()
    gc.freeze()


def outcomes(jobs: Sequence[Job], workers: int) -> Iterable[Outcome]:
    """Run the jobs in fresh processes, and give what came of each as it comes."""
    context: Any = get_context("spawn")
    with ProcessPoolExecutor(workers, context, _prepare, max_tasks_per_child=_RUNS) as pool:
        for done in as_completed([pool.submit(run, job) for job in jobs]):
            yield done.result()
