"""The pytest plugin: its options, its marker, and the fixture ``cw``.

Every pytest run where the kit is installed imports this module, so it imports nothing else of the kit before a test of
the kit is collected, or its outcome comes from another process: ``codeweaver_conformance.run`` does the work.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from codeweaver_conformance.run import Run
    from codeweaver_conformance.session import Conformance
    from codeweaver_conformance.subject import Subject

_RUN = pytest.StashKey["Run"]()
_MARKER = "cw_clause"
_SUITE = "codeweaver_conformance.suite"
DEFAULT_SEED = 20_250_101


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of a run."""
    group = parser.getgroup("codeweaver", "vector backend conformance")
    group.addoption("--cw-backend", metavar="NAME|MODULE:PLUGIN", help="the backend to certify")
    group.addoption("--cw-config", metavar="FILE", help="a TOML file of its settings")
    group.addoption("--cw-set", metavar="NAME=VALUE", action="append", default=[], help="one setting; repeatable")
    group.addoption("--cw-require", action="store_true", help="make a run fail that wrote no certificate")
    group.addoption("--cw-waivers", metavar="FILE", help="waivers: clause, reason, issue, expiry")
    group.addoption("--cw-report", metavar="DIR", default="reports/certificates", help="where certificates go")
    group.addoption("--cw-seed", type=int, default=DEFAULT_SEED, help="seed of everything generated")
    group.addoption("--cw-cases", type=_several, default=200, help="generated filters per clause that uses them")
    group.addoption("--cw-steps", type=_several, default=400, help="calls that the state machine makes")
    group.addoption(
        "--cw-timeout", type=float, default=120.0, metavar="S", help="seconds until a test counts as hanging"
    )
    group.addoption(
        "--cw-shrink", type=float, default=20.0, metavar="S", help="seconds to make a failing example small"
    )
    group.addoption("--cw-shuffle", type=int, metavar="SEED", help="run the tests in a shuffled order")
    group.addoption("--cw-first", metavar="AREA[,AREA]", default="", help="run the tests of these areas first")


def _several(text: str) -> int:
    """A number of tries: none would prove everything."""
    number = int(text)
    if number < 1:
        raise ValueError("must be at least 1")
    return number


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker; of a run that names waivers or settings, read them."""
    config.addinivalue_line("markers", f"{_MARKER}(*ids): the clauses of the contract that a test proves")
    if config.getoption("--cw-waivers") or config.getoption("--cw-set") or config.getoption("--cw-config"):
        run_of(config)


def run_of(config: pytest.Config) -> Run:
    """The run of the kit: there is one as soon as it is asked for."""
    if _RUN not in config.stash:
        from codeweaver_conformance.run import Run

        config.stash[_RUN] = Run(config)
    return config.stash[_RUN]


def pytest_itemcollected(item: pytest.Item) -> None:
    """Note each test of the suite, before any is deselected."""
    if item.get_closest_marker(_MARKER):
        run_of(item.config).roll.collected(item)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Shuffle, and put areas first, if asked to. The suite by itself needs to be told the backend."""
    unbound = any(getattr(item, "module", pytest).__name__.startswith(_SUITE) for item in items)
    if unbound and not config.getoption("--cw-backend") and not config.getoption("--collect-only"):
        raise pytest.UsageError("name the backend to certify: --cw-backend=NAME or --cw-backend=package.module:Plugin")
    if any(item.get_closest_marker(_MARKER) for item in items):
        run_of(config).arrange(items)


@pytest.fixture(scope="session")
def cw_session(request: pytest.FixtureRequest) -> Iterator[Conformance | Subject]:
    """The run against the backend of ``--cw-backend``; the mere subject where nothing can be verified."""
    run = run_of(request.config)
    yield from run.open(request.config.getoption("--cw-backend"), run.settings)


@pytest.fixture
def cw(cw_session: Conformance | Subject, request: pytest.FixtureRequest) -> Conformance:
    """The backend under test."""
    return run_of(request.config).given(cw_session, request.node)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Tell the clause's story instead of a traceback, and note the outcome for the certificate."""
    outcome: Any = yield
    if item.get_closest_marker(_MARKER):
        run_of(item.config).report(item, call, outcome.get_result())


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the certificates; make the exit status tell what they say."""
    if _RUN in session.config.stash:
        session.config.stash[_RUN].finish(session)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """The short table."""
    if _RUN in config.stash:
        config.stash[_RUN].summarise(terminalreporter)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take what a process of pytest-xdist has collected, and what it could not sweep."""
    output = getattr(node, "workeroutput", {})
    if "cw_roll" in output:
        run = run_of(node.config)
        run.roll.tests |= output["cw_roll"]
        run.left += output["cw_left"]


class _Outcomes:
    """Takes the outcomes of clauses from reports: with pytest-xdist those of every process."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Of a test of the kit."""
        if any(name == "cw_outcome" for name, _ in report.user_properties):
            run_of(self._config).take(report)


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Listen to the reports of this session."""
    session.config.pluginmanager.register(_Outcomes(session.config), "codeweaver-conformance-outcomes")
