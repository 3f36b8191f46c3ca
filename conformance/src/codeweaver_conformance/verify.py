"""Re-verifying a certificate: is it what its own outcomes come to, and does the suite come to them again, here?

Versions that differ are told and are no fault: a certificate speaks of the versions it names.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from codeweaver_backends.contract import CLAUSES, CONTRACT_VERSION
from codeweaver_backends.errors import BackendError
from codeweaver_backends.types import DistanceMetric
from codeweaver_conformance.certificate import Certificate, verdicts

__all__ = [
    "NotRepeatedError",
    "contradictions",
    "differences",
    "of_another_contract",
    "other_versions",
    "repeat",
    "run_suite",
]


class NotRepeatedError(BackendError):
    """The suite wrote no certificate; the message is the end of what it said."""


def of_another_contract(certificate: Certificate) -> str:
    """Why the certificate is not of the clauses that this kit proves; empty if it is."""
    if certificate.contract != CONTRACT_VERSION:
        return f"it is of contract {certificate.contract}, and this kit proves {CONTRACT_VERSION}"
    differing = sorted(CLAUSES.keys() ^ certificate.clauses.keys())
    return f"this kit has other clauses: {', '.join(differing[:5])}" if differing else ""


def contradictions(certificate: Certificate) -> Iterator[str]:
    """What in the certificate is not so by itself: a verdict that does not follow from the clauses it lists."""
    if reason := of_another_contract(certificate):
        yield reason
        return
    expected = {**certificate.profiles, **verdicts(certificate.clauses)}
    for profile in expected.keys() | certificate.profiles.keys():
        said, comes_to = certificate.profiles.get(profile), expected.get(profile)
        if said != comes_to:
            yield f"profile {profile} is said to be {said}, and its clauses come to {comes_to}"
    if certificate.verdict != certificate.profiles.get("vector"):
        yield f"the verdict is {certificate.verdict}, and profile vector is {certificate.profiles.get('vector')}"
    waived = {waiver.clause for waiver in certificate.waivers}
    for name, clause in certificate.clauses.items():
        if clause.outcome != "not-verified" and not clause.tests:
            yield f"{name} is called {clause.outcome}, and no test of it was run"
        if clause.level != CLAUSES[name].level:
            yield f"{name} is called {clause.level}, and is {CLAUSES[name].level}"
        if clause.outcome == "denied" and CLAUSES[name].capability is None:
            yield f"{name} is called denied, and cannot be"
        claimed = _is_claimed(name, certificate.environment.capabilities)
        if claimed is not None and clause.outcome != "not-verified" and (clause.outcome == "denied") is claimed:
            yield f"{name} is called {clause.outcome}, and is {'' if claimed else 'not '}claimed"
        if (clause.outcome == "waived") != (name in waived):
            yield f"{name} is {clause.outcome}, and there is {'a' if name in waived else 'no'} waiver of it"


def _is_claimed(clause: str, capabilities: Mapping[str, Any]) -> bool | None:
    """Whether what a clause asks for is claimed; ``None`` where that is not for the claims alone to say."""
    found = True
    for part in (CLAUSES[clause].capability or "").split("+"):
        name, _, member = part.partition(":")
        if name not in capabilities:
            return None
        found &= bool(DistanceMetric[member].value in capabilities[name] if member else capabilities[name])
    return found


def run_suite(
    reference: str,
    options: Sequence[str] = (),
    *,
    config: Path | None = None,
    shown: TextIO | None = None,
) -> Certificate:
    """Run the suite in another process on what ``reference`` names, and give the certificate it writes.

    ``reference`` is a target, a plugin, ``package.module:Plugin`` or a deployment, of the file ``config`` if one is
    given. ``options`` are the plugin's of pytest, ``--cw-…``. What pytest says goes to ``shown``. Interrupted, it waits
    for the suite to remove its collections. Raises ``NotRepeatedError`` where no certificate was written.
    """
    with tempfile.TemporaryDirectory(prefix="codeweaver-suite-") as folder:
        report = Path(folder, "certificates")  # beside it the suite puts programs that fail again: here they go, too
        # What pytest is told to do in the folder where this happens to be run is no part of a certificate.
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull]
        command += ["--rootdir", folder, "--pyargs", "codeweaver_conformance.suite"]
        command += [f"--cw-backend={reference}", f"--cw-report={report}", *options]
        environment = {**os.environ, **({"CODEWEAVER_CONFIG": str(config)} if config else {})}
        out = shown if shown is not None else subprocess.PIPE
        with subprocess.Popen(  # noqa: S603 - no shell
            command, stdout=out, stderr=subprocess.STDOUT, text=True, env=environment
        ) as process:
            try:
                said, _ = process.communicate()
            except KeyboardInterrupt:  # a terminal's reaches the suite too
                process.communicate()
                raise
        written = list(report.glob("*.json"))  # what the certificate says is no name to look for a file by
        if len(written) != 1:
            raise NotRepeatedError((said or "").strip()[-2_000:] or "the suite wrote no certificate")
        return Certificate.model_validate_json(written[0].read_text(encoding="utf-8"))


def repeat(certificate: Certificate, options: Sequence[str] = ()) -> Certificate:
    """Run the suite as the certificate says, with more options of pytest: settings that reach the engine, waivers."""
    environment = certificate.environment
    given = {one.removeprefix("--cw-set=").partition("=")[0] for one in options if one.startswith("--cw-set=")}
    if missing := [name for name in environment.settings if name not in given]:
        raise NotRepeatedError(f"it was made with settings that are needed here, too: {', '.join(missing)}; use --set")
    generated = [f"--cw-seed={environment.seed}", f"--cw-cases={environment.cases}", f"--cw-steps={environment.steps}"]
    return run_suite(environment.reference, [*generated, *options])


def differences(certificate: Certificate, again: Certificate) -> Iterator[str]:
    """What came to something else: the backend itself, its claims, its clauses."""
    before, now_is = certificate.environment, again.environment
    for name in ("backend", "target", "capabilities"):
        if getattr(before, name) != getattr(now_is, name):
            yield f"its {name} is not what was found: {getattr(now_is, name)}"
    for name, clause in certificate.clauses.items():
        now = again.clauses[name]
        if now.outcome != clause.outcome:
            told = f": {now.reasons[0]}" if now.reasons else ""
            yield f"{name} was {clause.outcome} and is {now.outcome}{told}"
        elif now.tests != clause.tests and certificate.kit == again.kit:
            yield f"{name} was tried by {clause.tests} tests and is by {now.tests}"


def other_versions(certificate: Certificate, again: Certificate) -> Iterator[str]:
    """What was another version when the certificate was made."""
    before, now = _versions(certificate), _versions(again)
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name):
            yield f"{name}: {before.get(name, 'none')} then, {now.get(name, 'none')} now"


def _versions(certificate: Certificate) -> dict[str, str]:
    environment = certificate.environment
    named = {"kit": certificate.kit, "adapter": environment.adapter, "python": environment.python}
    return {**named, **environment.client, **({"server": environment.server} if environment.server else {})}
