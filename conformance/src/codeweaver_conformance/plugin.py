"""The pytest plugin: options, the ``cw`` fixture, the certificate and the table at the end."""

from __future__ import annotations

import json
import os
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import pytest
from rich.console import Console
from rich.table import Table

from codeweaver_backends.contract import CLAUSES
from codeweaver_backends.errors import PluginError
from codeweaver_conformance.certificate import (
    Certificate,
    Environment,
    TestOutcome,
    Waiver,
    WaiverError,
    adapter_of,
    clients_of,
    judge,
    load_waivers,
    tally,
)
from codeweaver_conformance.clause import clauses_of_test
from codeweaver_conformance.session import DENIED, NOT_VERIFIED, Conformance
from codeweaver_conformance.subject import Subject, provisioned, settings_from

_SHOWN = 3_000
_SUITE = "codeweaver_conformance.suite"
DEFAULT_SEED = 20_250_101
_RUNS = pytest.StashKey["_Runs"]()
_WAIVERS = pytest.StashKey[Sequence[Waiver]]()
_SESSION = pytest.StashKey[Conformance]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of a run."""
    group = parser.getgroup("codeweaver", "vector backend conformance")
    group.addoption("--cw-backend", metavar="NAME|MODULE:PLUGIN", help="the backend to certify")
    group.addoption("--cw-config", metavar="FILE", help="a TOML file of its settings")
    group.addoption("--cw-set", metavar="NAME=VALUE", action="append", default=[], help="one setting; repeatable")
    group.addoption("--cw-require", action="store_true", help="make a run fail that could not be verified")
    group.addoption("--cw-waivers", metavar="FILE", help="waivers: clause, reason, issue, expiry")
    group.addoption("--cw-report", metavar="DIR", default="reports/certificates", help="where certificates go")
    group.addoption("--cw-seed", type=int, default=DEFAULT_SEED, help="seed of everything generated")
    group.addoption("--cw-cases", type=int, default=200, help="generated filters per clause that uses them")
    group.addoption("--cw-shuffle", type=int, metavar="SEED", help="run the tests in a shuffled order")
    group.addoption("--cw-first", metavar="AREA[,AREA]", default="", help="run the tests of these areas first")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker and the collector of outcomes."""
    config.addinivalue_line("markers", "cw_clause(*ids): the clauses of the contract that a test proves")
    config.stash[_RUNS] = runs = _Runs()
    config.pluginmanager.register(runs, "codeweaver-conformance-outcomes")
    waivers_file = config.getoption("--cw-waivers")
    try:
        config.stash[_WAIVERS] = load_waivers(Path(waivers_file) if waivers_file else None)
    except (WaiverError, ValueError, OSError) as error:
        raise pytest.UsageError(f"--cw-waivers: {error}") from error


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Shuffle, and put areas first, if asked to. The suite by itself needs to be told the backend."""
    unbound = any(getattr(item, "module", pytest).__name__.startswith(_SUITE) for item in items)
    if unbound and not config.getoption("--cw-backend") and not config.getoption("--collect-only"):
        raise pytest.UsageError("name the backend to certify: --cw-backend=NAME or --cw-backend=package.module:Plugin")
    seed = config.getoption("--cw-shuffle")
    if seed is not None:
        random.Random(seed).shuffle(items)  # noqa: S311 - an order, not a secret
    first = config.getoption("--cw-first").split(",")
    items.sort(key=lambda item: min([*(first.index(area) for area in _areas(item) if area in first), len(first)]))


def _areas(item: pytest.Item) -> list[str]:
    return [CLAUSES[one].area for one in clauses_of_test(item)[:1]]


# --- fixtures --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def cw_session(request: pytest.FixtureRequest) -> Iterator[Conformance | Subject]:
    """The run against the backend of ``--cw-backend``; the mere subject where no engine could be had."""
    config = request.config
    reference = config.getoption("--cw-backend")
    yield from open_session(
        config, reference, settings_from(config.getoption("--cw-config"), config.getoption("--cw-set"))
    )


def open_session(config: pytest.Config, reference: str, settings: Mapping[str, Any]) -> Iterator[Conformance | Subject]:
    """Provision the engine, yield the run, sweep."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    prefix = f"cwkit-{os.urandom(3).hex()}-{worker}-"
    with ExitStack() as stack:
        try:
            subject = stack.enter_context(provisioned(reference, settings))
        except PluginError as error:  # it would be every test's error
            pytest.exit(f"--cw-backend={reference}: {error.message}", returncode=pytest.ExitCode.USAGE_ERROR)
        if subject.missing:
            yield subject
            return
        session = Conformance(
            subject, prefix=prefix, seed=config.getoption("--cw-seed"), cases=config.getoption("--cw-cases")
        )
        try:
            yield session
        finally:
            session.close()


@pytest.fixture
def cw(cw_session: Conformance | Subject, request: pytest.FixtureRequest) -> Conformance:
    """The backend under test."""
    environment = _environment(cw_session, request.config)
    request.node.user_properties.append(("cw_environment", environment.model_dump_json()))
    if isinstance(cw_session, Subject):
        pytest.skip(f"{NOT_VERIFIED}{cw_session.reference}: {cw_session.missing}")
    request.node.stash[_SESSION] = cw_session
    return cw_session


def _environment(run: Conformance | Subject, config: pytest.Config) -> Environment:
    subject = run if isinstance(run, Subject) else run.subject
    claims = subject.registration.capabilities if isinstance(run, Subject) else run.capabilities
    module = subject.registration.backend_class.__module__
    return Environment(
        backend=subject.registration.name,
        target=subject.name,
        adapter=adapter_of(module),
        reference=subject.reference,
        client=clients_of(module),
        server=None if isinstance(run, Subject) else getattr(run.backend.wrapped, "server_version", None),
        seed=config.getoption("--cw-seed"),
        cases=config.getoption("--cw-cases"),
        capabilities=claims.model_dump(mode="json"),
        missing=subject.missing,
    )


# --- outcomes --------------------------------------------------------------------------------------------------------


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Tell the clause's story instead of a traceback, and note the outcome for the certificate."""
    outcome = yield
    report = cast("Any", outcome).get_result()
    clauses = clauses_of_test(item)
    if not clauses:
        return
    session = item.stash.get(_SESSION, None)
    if report.failed and report.when == "call" and session is not None:
        if call.excinfo is not None and isinstance(call.excinfo.value, AssertionError):
            report.longrepr = str(call.excinfo.value)
        report.sections.append(("reproduction", _reproduction(item, session)))
    if report.when == "call" or not report.passed:
        result = _outcome(report)
        report.user_properties.append(("cw_outcome", json.dumps([list(clauses), item.name, *result])))
    waived = {waiver.clause: waiver.reason for waiver in item.config.stash[_WAIVERS]}
    if report.failed and waived.keys() >= set(clauses):
        report.outcome = "skipped"
        report.wasxfail = waived[clauses[0]]


def _reproduction(item: pytest.Item, session: Conformance) -> str:
    """The program that fails again: in a file, and on the screen where it is short."""
    script = session.reproduction()
    folder = Path(item.config.getoption("--cw-report")).parent / "reproductions" / session.subject.name
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / (re.sub(r"[^A-Za-z0-9_-]+", "_", item.name)[:100] + ".py")
    file.write_text(script, encoding="utf-8", errors="backslashreplace")
    return f"PYTHONPATH=. python {file}\n" + (script if len(script) < _SHOWN else f"({len(script):,} characters)")


def _outcome(report: pytest.TestReport) -> tuple[str, str]:
    if report.passed:
        return "pass", ""
    if report.skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reason = reason.removeprefix("Skipped: ")
        if reason.startswith(DENIED):
            return "denied", reason.removeprefix(DENIED)
        return "not-verified", reason.removeprefix(NOT_VERIFIED)
    return "fail", str(report.longrepr).strip().splitlines()[-1][:300] if report.longrepr else "failed"


class _Runs:
    """A plugin that gathers the outcomes of this run, by target; with xdist, those of every worker."""

    def __init__(self) -> None:
        self.outcomes: dict[str, list[TestOutcome]] = {}
        self.environments: dict[str, Environment] = {}
        self.problems: list[str] = []
        self.certificates: list[tuple[Certificate, Path]] = []

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the outcome of a clause's test from its report."""
        properties = dict(report.user_properties)
        if "cw_outcome" not in properties:
            return
        clauses, test, outcome, reason = json.loads(str(properties["cw_outcome"]))
        if "cw_environment" not in properties:
            return
        environment = Environment.model_validate_json(str(properties["cw_environment"]))
        self.environments[environment.target] = environment
        rows = self.outcomes.setdefault(environment.target, [])
        rows += [TestOutcome(clause=clause, test=test, outcome=outcome, reason=reason) for clause in clauses]

    @property
    def missing(self) -> list[Environment]:
        """Targets whose engine could not be had."""
        return [one for _, one in sorted(self.environments.items()) if one.missing]


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Write the certificates; make the exit status tell what they say."""
    config = session.config
    runs = config.stash[_RUNS]
    if hasattr(config, "workerinput"):
        return
    try:
        for target, outcomes in sorted(runs.outcomes.items()):
            if {one.clause for one in outcomes} == CLAUSES.keys():
                environment = runs.environments[target]
                certificate = judge(outcomes, environment, config.stash[_WAIVERS], _command(environment))
                runs.certificates.append((certificate, _write(certificate, Path(config.getoption("--cw-report")))))
    except WaiverError as error:
        runs.problems.append(str(error))
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    if runs.missing and config.getoption("--cw-require"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _command(environment: Environment) -> str:
    return (
        f"python -m pytest --pyargs codeweaver_conformance.suite --cw-backend={environment.reference} "
        f"--cw-seed={environment.seed} --cw-cases={environment.cases}"
    )


def _write(certificate: Certificate, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{certificate.environment.target}.json"
    file.write_text(certificate.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return file


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """The short table."""
    runs = config.stash[_RUNS]
    for certificate, file in runs.certificates:
        if certificate.environment.missing:
            continue
        terminalreporter.section(f"conformance of {certificate.environment.target}")
        terminalreporter.write(_rendered(certificate))
        terminalreporter.write_line(f"{certificate.environment.target}: {certificate.verdict.upper()} — {file}")
    for one in runs.missing:
        terminalreporter.section("NOT VERIFIED", red=True, bold=True)
        terminalreporter.write_line(f"No engine was found, nothing was proved. {one.target}: {one.missing}")
    for problem in runs.problems:
        terminalreporter.section("waivers", red=True)
        terminalreporter.write_line(problem)


def _rendered(certificate: Certificate) -> str:
    table = Table(box=None, pad_edge=False)
    for heading in ("profile", "verdict", "pass", "fail", "waived", "denied", "not verified"):
        table.add_column(heading, justify="left" if heading in ("profile", "verdict") else "right")
    for profile, verdict in certificate.profiles.items():
        names = [one.id for one in CLAUSES.values() if one.profile == profile]
        part = tally(certificate.model_copy(update={"clauses": {name: certificate.clauses[name] for name in names}}))
        counts = (str(part[kind]) for kind in ("pass", "fail", "waived", "denied", "not-verified"))
        table.add_row(profile, verdict, *counts)
    console = Console(width=100, no_color=True)
    with console.capture() as capture:
        console.print(table)
    return capture.get()
