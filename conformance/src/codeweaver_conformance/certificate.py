"""The certificate: what was proved, of what, with what, on a page that others can re-verify.

``docs/certifying.md`` documents it; its JSON schema is ``docs/certificate.schema.json``.
"""

from __future__ import annotations

import datetime
import platform
import re
import tomllib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError, distribution, packages_distributions
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from codeweaver_backends.contract import CLAUSES, CONTRACT_VERSION
from codeweaver_backends.plugins import Location
from codeweaver_conformance.version import __version__

__all__ = [
    "Certificate",
    "ClauseOutcome",
    "Environment",
    "Outcome",
    "TestOutcome",
    "Verdict",
    "Waiver",
    "WaiverError",
    "adapter_of",
    "certificate_stem",
    "clients_of",
    "find_certificates",
    "judge",
    "load_waivers",
    "tally",
    "verdicts",
    "versions_of",
]

Outcome = Literal["pass", "fail", "denied", "waived", "not-verified"]
Verdict = Literal["certified", "partial", "failed", "not-verified"]


class WaiverError(ValueError):
    """A waiver that names no clause, has expired, or is no longer needed."""


class Waiver(BaseModel):
    """A clause that a backend is known not to keep, with the reason, who can fix it, and until when."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    clause: str
    reason: str = Field(min_length=10)
    issue: str = Field(min_length=4, description="Where it is tracked")
    expires: datetime.date
    backend: str | None = Field(default=None, description="The target or backend it is of; of all if absent")

    def is_of(self, names: Collection[str]) -> bool:
        """Whether it is of a backend that has these names, its target's and its own."""
        return self.backend is None or self.backend in names


class TestOutcome(BaseModel):
    """One test of one clause."""

    clause: str
    test: str
    outcome: Literal["pass", "fail", "denied", "not-verified"]
    reason: str = ""


class ClauseOutcome(BaseModel):
    """What the tests of a clause came to."""

    outcome: Outcome
    level: Literal["core", "extended"]
    tests: int
    reasons: list[str] = []


class Environment(BaseModel):
    """What ran."""

    backend: str
    """The plugin's name."""
    target: str
    adapter: str
    """Distribution and version that brings the plugin."""
    reference: str
    client: dict[str, str]
    """What the adapter's distribution and its plugin ask for (its client, its engine), with the installed versions."""
    server: str | None = None
    """The engine's own version, where the backend tells it."""
    location: Location | None = None
    """Where the engine runs, as target, plugin or settings declare; ``None`` where none does."""
    settings: list[str] = []
    """The names of the settings that were given by hand; of a target that brings its own, none."""
    hypothesis: str = ""
    """The version that generated the cases; empty in certificates of before it was told."""
    python: str = platform.python_version()
    platform: str = f"{platform.system()} {platform.machine()}"
    seed: int
    cases: int
    steps: int = 400
    """Calls that the state machine was to make; older certificates do not tell."""
    capabilities: dict[str, Any]
    missing: str = ""
    """Why no engine could be had, where none could: then nothing was verified."""


class Certificate(BaseModel):
    """The page."""

    model_config = ConfigDict(extra="forbid")

    format: Literal["codeweaver-certificate/1"] = "codeweaver-certificate/1"
    contract: str = CONTRACT_VERSION
    kit: str = __version__
    created: str
    verdict: Verdict
    """Of the base profile ``vector``."""
    profiles: dict[str, Verdict | Literal["denied"]]
    environment: Environment
    clauses: dict[str, ClauseOutcome]
    waivers: list[Waiver] = []
    reproduce: str


def load_waivers(path: Path | None) -> list[Waiver]:
    """The ``[[waiver]]`` tables of a TOML file. A clause that does not exist and a date that has passed are errors."""
    if path is None:
        return []
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    tables = content.get("waiver", [])
    if not isinstance(tables, list) or content.keys() - {"waiver"}:
        raise WaiverError("waivers are [[waiver]] tables, in double brackets, and nothing else")
    waivers = [Waiver(**table) for table in tables]
    for waiver in waivers:
        if waiver.clause not in CLAUSES:
            raise WaiverError(f"a waiver names the clause {waiver.clause!r}, which does not exist")
        if waiver.expires < datetime.datetime.now(datetime.UTC).date():
            raise WaiverError(f"the waiver of {waiver.clause!r} expired on {waiver.expires}")
    return waivers


def judge(
    outcomes: Iterable[TestOutcome], environment: Environment, waivers: Sequence[Waiver], reproduce: str
) -> Certificate:
    """Make the certificate. Raises ``WaiverError`` for a waiver that is no longer needed."""
    tests: dict[str, list[TestOutcome]] = {clause: [] for clause in CLAUSES}
    for one in outcomes:
        tests[one.clause].append(one)
    waivers = [waiver for waiver in waivers if waiver.is_of((environment.target, environment.backend))]
    waived = {waiver.clause for waiver in waivers}
    clauses = {clause: _clause_outcome(clause, tests[clause], clause in waived) for clause in CLAUSES}
    idle = sorted(clause for clause in waived if clauses[clause].outcome in ("pass", "denied"))
    if idle:
        raise WaiverError(f"no longer needed: the waivers of {', '.join(idle)}")
    profiles = verdicts(clauses)
    base = profiles["vector"]
    return Certificate(
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        verdict="failed" if base == "denied" else base,
        profiles=profiles,
        environment=environment,
        clauses=clauses,
        waivers=list(waivers),
        reproduce=reproduce,
    )


def _clause_outcome(clause: str, tests: Sequence[TestOutcome], waived: bool) -> ClauseOutcome:
    level = CLAUSES[clause].level
    reasons = sorted({f"{one.test}: {one.reason}" for one in tests if one.reason})
    kinds = {one.outcome for one in tests}
    outcome: Outcome
    if not tests:
        outcome, reasons = "not-verified", ["no test of it was run"]
    elif "fail" in kinds:
        outcome = "waived" if waived else "fail"
    elif "not-verified" in kinds:
        outcome = "not-verified"
    elif kinds == {"denied"}:
        # Tests that did not apply prove nothing of a clause that cannot be denied.
        outcome = "denied" if CLAUSES[clause].capability else "not-verified"
    else:
        outcome = "pass"
    return ClauseOutcome(outcome=outcome, level=level, tests=len(tests), reasons=reasons)


def verdicts(clauses: Mapping[str, ClauseOutcome]) -> dict[str, Verdict | Literal["denied"]]:
    """What the clauses come to in each profile."""
    profiles = dict.fromkeys(one.profile for one in CLAUSES.values() if one.id in clauses)
    return {profile: _verdict(profile, clauses) for profile in profiles}


def _verdict(profile: str, clauses: Mapping[str, ClauseOutcome]) -> Verdict | Literal["denied"]:
    outcomes = [clauses[one.id].outcome for one in CLAUSES.values() if one.profile == profile and one.level == "core"]
    if "fail" in outcomes:
        return "failed"
    if set(outcomes) == {"not-verified"}:
        return "not-verified"
    if "waived" in outcomes or "not-verified" in outcomes:
        return "partial"
    return "denied" if set(outcomes) == {"denied"} else "certified"


def tally(certificate: Certificate) -> Counter[str]:
    """How many clauses came to what."""
    return Counter(one.outcome for one in certificate.clauses.values())


def certificate_stem(target: str, number: int | None = None) -> str:
    """The name of a certificate's file, without its end: one file per target, settings and Python.

    ``number`` tells runs of one target with several settings apart.
    """
    python = ".".join(platform.python_version_tuple()[:2])
    return f"{target}{f'-{number}' if number else ''}-py{python}"


def find_certificates(target: str, *folders: Path) -> list[Path]:
    """The files of a target's certificates in these folders, the newest first."""
    name = re.compile(rf"{re.escape(target)}(-\d+)?(-py\d+\.\d+)?\.json")
    found = [file for folder in folders for file in folder.glob("*.json") if name.fullmatch(file.name)]
    return sorted(found, key=lambda file: file.stat().st_mtime, reverse=True)


def adapter_of(module: str) -> str:
    """The distribution and version that a module belongs to, as far as the installation tells."""
    found = _distribution_of(module)
    return f"{found.name} {found.version}" if found else module.partition(".")[0]


@cache
def clients_of(module: str) -> dict[str, str]:
    """What a module's distribution requires, extras included, as far as it is installed, with the versions."""
    found = _distribution_of(module)
    return versions_of((found.requires or []) if found else [])


def versions_of(requirements: Iterable[str]) -> dict[str, str]:
    """The installed versions of what is required, as far as it is installed."""
    versions = {}
    for requirement in requirements:
        name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
        with suppress(PackageNotFoundError):
            versions[name] = distribution(name).version
    return dict(sorted(versions.items()))


@cache
def _distribution_of(module: str) -> Distribution | None:
    top = module.partition(".")[0]
    # An editable installation does not list its modules: then the name is the hint.
    for name in (*packages_distributions().get(top, ()), top.replace("_", "-")):
        with suppress(PackageNotFoundError):
            return distribution(name)
    return None
