"""The end of a run in words: clauses instead of tests, grouped by what may have caused them, and where to begin."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, metadata
from typing import Final

from rich.console import Console
from rich.table import Table

from codeweaver_backends.contract import CLAUSES
from codeweaver_conformance.certificate import Certificate, TestOutcome, tally

__all__ = ["failed_clauses", "table", "verdict_of"]

_FOUNDATION: Final = (
    "plugin",
    "capabilities",
    "config",
    "collections",
    "ids",
    "payload",
    "vectors",
    "scores",
    "metrics",
)
"""Areas that others stand on, the lowest first: what is wrong in one makes clauses of later ones fail."""
_ERROR: Final = re.compile(r"^(?:got:\s*)?([A-Z]\w*(?:Error|Exception|Warning|Violation))\b:?\s*(.*)", re.DOTALL)
_SHOWN: Final = 20
"""Clauses of one group that are named."""


@dataclass(slots=True)
class _Group:
    """Clauses that failed in one way."""

    cause: str
    tests: dict[str, list[str]] = field(default_factory=dict)
    """By clause."""


def failed_clauses(outcomes: Sequence[TestOutcome], reference: str) -> Iterator[str]:
    """Lines on what failed; none where nothing did."""
    failed = [one for one in outcomes if one.outcome == "fail"]
    if not failed:
        return
    groups: dict[str, _Group] = {}
    for one in failed:
        cause = _cause(one)
        groups.setdefault(cause, _Group(cause)).tests.setdefault(one.clause, []).append(one.test)
    ordered = sorted(groups.values(), key=lambda group: min(map(_depth, group.tests)))
    clauses = {one.clause for one in failed}
    yield f"{_count(len(clauses), 'clause')} failed, in {_count(len(ordered), 'group')} by likely cause:"
    for group in ordered:
        tests = sum(map(len, group.tests.values()))
        yield ""
        yield f"{group.cause} ({_count(len(group.tests), 'clause')}, {_count(tests, 'test')})"
        for clause in sorted(group.tests, key=_depth)[:_SHOWN]:
            yield f"  {clause}: {CLAUSES[clause].sentence}"
        if len(group.tests) > _SHOWN:
            yield f"  and {len(group.tests) - _SHOWN} more"
    first = min(clauses, key=_depth)
    test = next(one.test for one in failed if one.clause == first).partition("[")[0]
    yield ""
    yield f"Begin with {first}: what others stand on comes first, and one cause fails many clauses."
    yield f"  python -m pytest --pyargs codeweaver_conformance.suite --cw-backend={reference} -x -k {test}"
    if page := _contract_page():
        yield f"  {page}#{first}"
    yield ""


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _depth(clause: str) -> tuple[int, int]:
    area = CLAUSES[clause].area
    place = _FOUNDATION.index(area) if area in _FOUNDATION else len(_FOUNDATION)
    return place, list(CLAUSES).index(clause)


def _cause(outcome: TestOutcome) -> str:
    """The error that came, without what differs from test to test; for an answer that is wrong, what it is about."""
    found = _ERROR.match(outcome.reason)
    if found is None:
        return f"wrong answers: {CLAUSES[outcome.clause].area}"
    text = re.sub(r"'[^']*'|\"[^\"]*\"|cwkit-\S+|\d+", "…", found[2].split("\n", 1)[0])
    return f"{found[1]}: {text[:100]}".rstrip(": ")


@cache
def _contract_page() -> str:
    """The page of the contract, as the core's distribution tells it."""
    try:
        urls = metadata("codeweaver-backends").get_all("Project-URL") or []
    except PackageNotFoundError:
        return ""
    return next((one.partition(", ")[2] for one in urls if one.startswith("Contract, ")), "")


def verdict_of(certificate: Certificate) -> str:
    """The verdict, and what failed without counting in it: the run ends as a failure all the same."""
    broken = [name for name, one in certificate.clauses.items() if one.level == "extended" and one.outcome == "fail"]
    verdict = certificate.verdict.upper()
    if not broken or certificate.verdict == "failed":
        return verdict
    return f"{verdict}, BUT {', '.join(broken)} FAILED, which is extended and does not count"


def table(certificate: Certificate) -> str:
    """How many clauses of each profile came to what."""
    shown = Table(box=None, pad_edge=False)
    for heading in ("profile", "verdict", "pass", "fail", "waived", "denied", "not verified"):
        shown.add_column(heading, justify="left" if heading in ("profile", "verdict") else "right")
    for profile, verdict in certificate.profiles.items():
        names = [one.id for one in CLAUSES.values() if one.profile == profile]
        part = tally(certificate.model_copy(update={"clauses": {name: certificate.clauses[name] for name in names}}))
        counts = (str(part[kind]) for kind in ("pass", "fail", "waived", "denied", "not-verified"))
        shown.add_row(profile, verdict, *counts)
    console = Console(width=100, no_color=True)
    with console.capture() as capture:
        console.print(shown)
    return capture.get()
