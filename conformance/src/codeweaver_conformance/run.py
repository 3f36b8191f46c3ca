"""A run of the kit within a session of pytest: outcomes are gathered, certificates written, and the end is told."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import hypothesis
import pytest
from pydantic import SecretStr

from codeweaver_backends.contract import CLAUSES
from codeweaver_backends.errors import PluginError
from codeweaver_conformance.badges import write_beside
from codeweaver_conformance.certificate import (
    Certificate,
    Environment,
    TestOutcome,
    WaiverError,
    adapter_of,
    certificate_stem,
    clients_of,
    find_certificates,
    judge,
    load_waivers,
    versions_of,
)
from codeweaver_conformance.clause import clauses_of_test, turn_of
from codeweaver_conformance.complete import Roll
from codeweaver_conformance.recorder import variable
from codeweaver_conformance.session import DENIED, NOT_VERIFIED, Conformance
from codeweaver_conformance.subject import Subject, provisioned, settings_from
from codeweaver_conformance.summary import failed_clauses, table, verdict_of

__all__ = ["REFUSED", "Run"]

REFUSED: Final = 6
"""The exit status of a run that could not begin: its settings are wrong, or its engine does not answer."""
_PREFIX: Final = "cwkit-"
"""Of the names of all collections that runs make."""
_PATIENCE: Final = 60.0
"""Seconds that an engine is given for its first answer."""
_SESSION = pytest.StashKey[Conformance]()
_SUBJECT = pytest.StashKey[Subject]()


@dataclass
class Tested:
    """One backend with one set of settings, and what its tests came to."""

    environment: Environment
    command: str
    """What repeats the run."""
    is_refused: bool
    outcomes: list[TestOutcome] = field(default_factory=list)
    tests: list[str] = field(default_factory=list)
    """The node ids of those that came to an outcome."""
    certificate: Certificate | None = None
    file: Path | None = None


class Run:
    """What one session of pytest comes to, by backend and settings; with pytest-xdist, that of every process."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self.tested: dict[tuple[str, str], Tested] = {}
        """By target, and by what tells settings that were given by hand from others."""
        self.roll = Roll()
        self.has_run = False
        """Whether a test of the suite came to an outcome: those of an adapter's own may be all that was asked for."""
        self.problems: list[str] = []
        self.left: list[str] = []
        """What could not be swept."""
        waivers, settings = config.getoption("--cw-waivers"), config.getoption("--cw-config")
        try:
            self.waivers = load_waivers(Path(waivers) if waivers else None)
        except (WaiverError, ValueError, OSError) as error:
            raise pytest.UsageError(f"--cw-waivers: {error}") from error
        try:
            self.settings = settings_from(settings, config.getoption("--cw-set"))
        except (ValueError, OSError) as error:
            raise pytest.UsageError(str(error)) from error

    # --- before the tests ---

    def arrange(self, items: list[pytest.Item]) -> None:
        """Put what takes long last; shuffle, and put areas first, if asked to."""
        items.sort(key=turn_of)
        seed = self._config.getoption("--cw-shuffle")
        if seed is not None:
            random.Random(seed).shuffle(items)  # noqa: S311 - an order, not a secret
        first = self._config.getoption("--cw-first").split(",")
        items.sort(key=lambda item: min([*(first.index(area) for area in _areas(item) if area in first), len(first)]))

    def open(self, reference: str, settings: Mapping[str, Any]) -> Iterator[Conformance | Subject]:
        """Provision the engine, ask whether it answers, yield the run, sweep."""
        worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
        prefix = f"{_PREFIX}{os.urandom(3).hex()}-{worker}-"
        with ExitStack() as stack:
            try:
                subject = stack.enter_context(provisioned(reference, settings))
            except PluginError as error:  # it would be every test's error
                pytest.exit(f"--cw-backend={reference}: {error.message}", returncode=pytest.ExitCode.USAGE_ERROR)
            if subject.missing:
                yield subject
                return
            option = self._config.getoption
            session = Conformance(
                subject,
                prefix=prefix,
                seed=option("--cw-seed"),
                cases=option("--cw-cases"),
                steps=option("--cw-steps"),
                timeout=option("--cw-timeout"),
                shrinking=option("--cw-shrink"),
            )
            try:
                refused = _refused(session)
                yield replace(subject, missing=refused, is_refused=True) if refused else session
            finally:
                self.left += session.close()

    def given(self, opened: Conformance | Subject, item: pytest.Item) -> Conformance:
        """What a test is given."""
        subject = opened if isinstance(opened, Subject) else opened.subject
        item.stash[_SUBJECT] = subject
        environment = self._environment(opened)
        item.user_properties.append(("cw_environment", environment.model_dump_json()))
        told = [subject.fingerprint, _command(subject, self._config), subject.is_refused]
        item.user_properties.append(("cw_tested", json.dumps(told)))
        if isinstance(opened, Subject):
            pytest.skip(f"{NOT_VERIFIED}{opened.reference}: {opened.missing}")
        item.stash[_SESSION] = opened
        opened.outcome = "not run"
        return opened

    def _environment(self, opened: Conformance | Subject) -> Environment:
        subject = opened if isinstance(opened, Subject) else opened.subject
        claims = subject.registration.capabilities if isinstance(opened, Subject) else opened.capabilities
        plugin = subject.plugin
        module = plugin.__module__ if plugin else subject.registration.backend_class.__module__
        declared: list[str] = getattr(plugin, "get_dependencies", list)()
        return Environment(
            backend=subject.registration.name,
            target=subject.name,
            adapter=adapter_of(module),
            reference=subject.reference,
            client={**clients_of(module), **versions_of(declared)},
            server=None if isinstance(opened, Subject) else getattr(opened.backend.wrapped, "server_version", None),
            location=None if subject.missing else subject.location,
            hypothesis=hypothesis.__version__,
            settings=[] if subject.target or subject.is_deployment else sorted(subject.settings),
            seed=self._config.getoption("--cw-seed"),
            cases=self._config.getoption("--cw-cases"),
            steps=self._config.getoption("--cw-steps"),
            capabilities=claims.model_dump(mode="json"),
            missing=subject.missing,
        )

    # --- while they run ---

    def report(self, item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport) -> None:
        """Tell the clause's story instead of a traceback, and note the outcome for the certificate."""
        clauses = clauses_of_test(item)
        session = item.stash.get(_SESSION, None)
        if report.failed and report.when == "call" and session is not None:
            if call.excinfo is not None and isinstance(call.excinfo.value, AssertionError):
                report.longrepr = str(call.excinfo.value)
            report.sections.append(("reproduction", self._reproduction(item, session)))
        subject = item.stash.get(_SUBJECT, None)
        if subject is not None:
            _hide_secrets(report, subject)
        if report.when == "call" or not report.passed:
            result = _outcome_of_call(report, session) if report.when == "call" else _outcome(report)
            report.user_properties.append(("cw_outcome", json.dumps([list(clauses), item.name, *result])))
        own = {subject.name, subject.registration.name} if subject else set()
        waived = {one.clause: one.reason for one in self.waivers if one.is_of(own)}
        if report.failed and waived.keys() >= set(clauses):
            report.outcome = "skipped"
            report.wasxfail = waived[clauses[0]]

    def _reproduction(self, item: pytest.Item, session: Conformance) -> str:
        """The program that fails again, in a file."""
        folder = Path(self._config.getoption("--cw-report")).parent / "reproductions" / session.subject.name
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / (re.sub(r"[^A-Za-z0-9_-]+", "_", item.name)[:100] + ".py")
        file.write_text(session.reproduction(), encoding="utf-8", errors="backslashreplace")
        return f"PYTHONPATH=. python {file}"

    def take(self, report: pytest.TestReport) -> None:
        """Take the outcome of a clause's test from its report."""
        properties = dict(report.user_properties)
        self.has_run = True
        if "cw_environment" not in properties:
            return
        clauses, test, outcome, reason = json.loads(str(properties["cw_outcome"]))
        environment = Environment.model_validate_json(str(properties["cw_environment"]))
        fingerprint, command, is_refused = json.loads(str(properties["cw_tested"]))
        if report.failed and outcome != "fail":
            outcome, reason = "fail", f"a hook made it failed, after {outcome}"
        key = environment.target, fingerprint
        one = self.tested.setdefault(key, Tested(environment, command, is_refused))
        one.environment = environment  # the server's version is known once it was asked
        one.tests.append(report.nodeid)
        self.roll.came_to(report.nodeid, str(report.when))
        one.outcomes += [TestOutcome(clause=clause, test=test, outcome=outcome, reason=reason) for clause in clauses]

    # --- at the end ---

    def finish(self, session: pytest.Session) -> None:
        """Write the certificates; make the exit status tell what they say."""
        if hasattr(self._config, "workerinput"):
            self._config.workeroutput |= {"cw_left": self.left, "cw_roll": self.roll.tests}  # type: ignore[attr-defined]
            return
        required, passed = self._config.getoption("--cw-require"), True
        for key, one in sorted(self.tested.items()):
            try:
                why = self._certify(one, self._stem(key))
            except WaiverError as error:
                why, passed = str(error), False
            if why:
                older = find_certificates(one.environment.target, self._folder)
                kept = f"; {older[0]} is of an earlier run" if older else ""
                self.problems.append(f"{one.environment.target}: NO CERTIFICATE: {why}{kept}")
            waived = {waiver.clause for waiver in self.waivers if waiver.is_of(_names_of(one.environment))}
            # Whatever has made its test pass in the end, a clause that failed once has failed.
            is_failed = any(row.outcome == "fail" and row.clause not in waived for row in one.outcomes)
            passed = passed and not is_failed and not (required and (why or one.environment.missing))
        is_asked = self.has_run or (required and self.roll.tests)
        if session.exitstatus == pytest.ExitCode.OK and is_asked and not self.tested:
            self.problems.append("NO CERTIFICATE: no test came as far as to ask an engine")
            passed = False
        if not passed:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        if any(one.is_refused for one in self.tested.values()):
            session.exitstatus = REFUSED

    def _certify(self, one: Tested, stem: str) -> str:
        """Write a certificate, or say why not."""
        ran = {outcome.clause for outcome in one.outcomes}
        if not one.is_refused and (gaps := self.roll.gaps(one.tests)):
            return (
                f"{len(ran)} of {len(CLAUSES)} clauses were run, {gaps}, and a certificate is of all of the suite "
                "(-k, -m, -x, --lf and --deselect leave some out)"
            )
        if one.is_refused or (one.environment.missing and find_certificates(one.environment.target, self._folder)):
            return "nothing was verified"
        one.certificate = judge(one.outcomes, one.environment, self.waivers, one.command)
        self._folder.mkdir(parents=True, exist_ok=True)
        one.file = self._folder / f"{stem}.json"
        one.file.write_text(one.certificate.model_dump_json(indent=2) + "\n", encoding="utf-8")
        write_beside(one.certificate, one.file)
        return ""

    @property
    def _folder(self) -> Path:
        return Path(self._config.getoption("--cw-report"))

    def _stem(self, key: tuple[str, str]) -> str:
        several = sorted(one for one in self.tested if one[0] == key[0])
        return certificate_stem(key[0], several.index(key) + 1 if len(several) > 1 else None)

    def summarise(self, reporter: Any) -> None:
        """The clauses that failed, the short table, and why there is no certificate where there is none."""
        failures = [report for kind in ("failed", "error") for report in reporter.stats.get(kind, [])]
        if all("cw_outcome" in dict(getattr(report, "user_properties", ())) for report in failures):
            reporter.reportchars = reporter.reportchars.replace("f", "").replace("E", "")  # clauses are told instead
        for _, one in sorted(self.tested.items()):
            environment = one.environment
            if environment.missing:
                reporter.section("NOT VERIFIED", red=True, bold=True)
                why = "" if one.is_refused else "No engine was found, nothing was proved. "
                reporter.write_line(f"{why}{environment.target}: {environment.missing}")
                continue
            reporter.section(f"conformance of {environment.target}")
            for line in failed_clauses(one.outcomes, environment.reference):
                reporter.write_line(line)
            if one.certificate is not None:
                reporter.write(table(one.certificate))
                told = verdict_of(one.certificate)
                reporter.write_line(f"{environment.target}: {told} — {one.file}")
        for problem in self.problems:
            reporter.write_line(problem, red=True)
        if self.left:
            reporter.section("left behind", red=True)
            for line in self.left:
                reporter.write_line(line)


def _refused(session: Conformance) -> str:
    """Why the run cannot begin, in a line."""
    subject = session.subject
    try:
        subject.create()
    except Exception as error:  # noqa: BLE001 - a plugin of somebody else's may raise anything
        told = getattr(error, "message", f"{type(error).__name__}: {error}")
        return subject.hidden(" ".join(str(told).split()))
    return subject.hidden(" ".join(session.run(_unanswered(session)).split()))


async def _unanswered(session: Conformance) -> str:
    """Why no test can tell anything of this backend: its engine does not answer. Empty where it does."""
    backend = session.backend.wrapped
    before = None
    with suppress(Exception):  # it is asked again below
        before = set(await asyncio.wait_for(backend.list_collections(), _PATIENCE))
    try:
        is_healthy = await asyncio.wait_for(backend.health_check(), _PATIENCE) is True
    except Exception:  # noqa: BLE001 - a clause of its own judges it
        is_healthy = False
    try:
        names = list(await asyncio.wait_for(backend.list_collections(), _PATIENCE))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told
        told = f"list_collections raised {type(error).__name__}: {error}"
        return "" if is_healthy else f"the engine does not answer: {told}"
    if strange := [one for one in names if not isinstance(one, str)]:
        return f"list_collections names what is no text: {strange[0]!r}"
    if before is not None:
        session.made_by_health = sorted(one for one in set(names) - before if not one.startswith(_PREFIX))
    return ""


def _names_of(environment: Environment) -> tuple[str, str]:
    return environment.target, environment.backend


def _areas(item: pytest.Item) -> list[str]:
    return [CLAUSES[one].area for one in clauses_of_test(item)[:1]]


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


def _outcome_of_call(report: pytest.TestReport, session: Conformance | None) -> tuple[str, str]:
    """The outcome that the test came to, whatever others have made of its report, with what it tells of itself."""
    came_to = session.outcome if session is not None else "not run"
    outcome, reason = _outcome(report)
    if report.failed or came_to == report.outcome:
        return outcome, reason or "; ".join(session.told if session is not None else ())
    return "fail", f"it was {came_to}, and a mark or a hook made it {report.outcome}"


def _hide_secrets(report: pytest.TestReport, subject: Subject) -> None:
    """Take the keys of the settings out of everything that pytest may show of a test."""
    if not subject.secrets:
        return
    text = str(report.longrepr or "")
    if text != subject.hidden(text):
        report.longrepr = subject.hidden(text)
    report.sections = [(name, subject.hidden(content)) for name, content in report.sections]


def _command(subject: Subject, config: pytest.Config) -> str:
    """What repeats the run. A secret is named by the variable that it is to be put in."""
    kinds = (str, int, float, bool, Path, SecretStr)
    given = {} if subject.target else {name: one for name, one in subject.settings.items() if isinstance(one, kinds)}
    settings = (
        f'--cw-set {name}="${variable(name)}"'
        if subject.shows_a_secret(name)
        else f"--cw-set {shlex.quote(f'{name}={value}')}"
        for name, value in sorted(given.items())
    )
    return " ".join(
        (
            "python -m pytest --pyargs codeweaver_conformance.suite",
            f"--cw-backend={subject.reference}",
            *settings,
            *(f"{name}={config.getoption(name)}" for name in ("--cw-seed", "--cw-cases", "--cw-steps")),
        )
    )
