"""``certify`` and ``verify``: making a certificate of a deployment, and repeating what one claims."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from codeweaver_backends.cli.inspecting import warn_of
from codeweaver_backends.cli.output import (
    FAILED,
    UNREACHABLE,
    AsJSON,
    ConfigFile,
    print_json,
    print_table,
    say,
    telling,
)
from codeweaver_backends.contract import CLAUSES
from codeweaver_backends.deployments import get_deployment
from codeweaver_backends.plugins import find_plugins
from codeweaver_backends.testing import find_targets
from codeweaver_conformance.certificate import Certificate, tally
from codeweaver_conformance.cli.shared import CERTIFICATES
from codeweaver_conformance.verify import (
    NotRepeatedError,
    contradictions,
    differences,
    other_versions,
    repeat,
    run_suite,
)

__all__ = ["certify", "verify"]


def certify(
    deployment: Annotated[str, typer.Argument(help="A deployment, backend:key=value,…, a target or a plugin.")],
    waivers: Annotated[Path | None, typer.Option(metavar="FILE", help="Clauses that it is known not to keep.")] = None,
    cases: Annotated[int, typer.Option(min=1, help="Generated filters for each clause that uses them.")] = 200,
    certificates: Annotated[Path, typer.Option(metavar="DIR", help="Where the certificate goes.")] = CERTIFICATES,
    config: ConfigFile = None,
    as_json: AsJSON = False,
) -> None:
    """Run the conformance suite on a deployment, in collections of its own (cwkit-…), which are removed.

    The certificate goes to a file of the deployment's name. Exit status 0 if it is certified, 1 if not, 2 for a
    mistake, 3 if no engine was found to run it on.
    """
    with telling(as_json, "interrupted; the suite's collections were removed"):
        if deployment not in {*find_targets(), *find_plugins()}:
            warn_of(get_deployment(deployment, config))
        options = [f"--cw-cases={cases}", *([f"--cw-waivers={waivers}"] if waivers else [])]
        shown = sys.stderr if sys.stderr.isatty() and not as_json else None
        certificate = run_suite(deployment, options, config=config, shown=shown)
        file = certificates / f"{certificate.environment.target}.json"
        certificates.mkdir(parents=True, exist_ok=True)
        file.write_text(certificate.model_dump_json(indent=2) + "\n", encoding="utf-8")
        missing = certificate.environment.missing
        failed = {name: one.reasons for name, one in certificate.clauses.items() if one.outcome == "fail"}
        if as_json:
            told = {"verdict": certificate.verdict, "profiles": certificate.profiles, "failed": failed}
            is_ok = certificate.verdict == "certified"
            print_json(
                {
                    "ok": is_ok,
                    "deployment": certificate.environment.reference,
                    "certificate": str(file),
                    "missing": missing,
                    **told,
                }
            )
        else:
            _show(certificate, failed, file)
    if missing:
        raise typer.Exit(UNREACHABLE)
    if certificate.verdict != "certified":
        raise typer.Exit(FAILED)


def _show(certificate: Certificate, failed: dict[str, list[str]], file: Path) -> None:
    environment = certificate.environment
    if environment.missing:
        say(f"NOT VERIFIED: {environment.missing}", "bold red")
        return
    style = "bold green" if certificate.verdict == "certified" else "bold red"
    say(f"{environment.target}: {certificate.verdict}", style)
    rows = []
    for profile, verdict in certificate.profiles.items():
        names = [one.id for one in CLAUSES.values() if one.profile == profile]
        part = tally(certificate.model_copy(update={"clauses": {name: certificate.clauses[name] for name in names}}))
        rows.append(
            [profile, verdict, *(str(part[kind]) for kind in ("pass", "fail", "waived", "denied", "not-verified"))]
        )
    print_table(["profile", "verdict", "pass", "fail", "waived", "denied", "open"], rows)
    for name, reasons in failed.items():
        say(f"{name}: {reasons[0] if reasons else 'failed'}", "red")
    say(f"written: {file}", "dim")


def verify(
    certificate_file: Annotated[Path, typer.Argument(metavar="CERTIFICATE", help="A certificate of the kit, as JSON.")],
    run: Annotated[bool, typer.Option(help="Run the suite again, or only look whether it agrees with itself.")] = True,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A setting of the backend; may be repeated.")
    ] = None,
    waivers: Annotated[Path | None, typer.Option(help="The waivers it was made with.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of text.")] = False,
) -> None:
    """Repeat what a certificate claims, on the engine that is found here, and tell what comes out otherwise.

    Exit status 0 if all comes out the same, 1 if not, 2 if it cannot be read, 3 if no engine was found to repeat it on.
    """
    console = Console(stderr=as_json)
    outcome: dict[str, Any] = {"ok": False, "certificate": str(certificate_file), "repeated": False, "differences": []}

    def end(status: int) -> None:
        if as_json:
            sys.stdout.write(json.dumps({**outcome, "ok": status == 0}, indent=2, ensure_ascii=False) + "\n")
        raise typer.Exit(status)

    try:
        certificate = Certificate.model_validate_json(certificate_file.read_text(encoding="utf-8"), strict=True)
    except (OSError, ValueError) as error:
        Console(stderr=True).print(Text.assemble(("error: ", "bold red"), f"no certificate: {error}"), soft_wrap=True)
        return end(2)
    outcome |= {"target": certificate.environment.target, "verdict": certificate.verdict}
    wrong = list(contradictions(certificate))
    if run and not wrong:
        options = [f"--cw-set={one}" for one in settings or []]
        options += [f"--cw-waivers={waivers}"] if waivers else []
        try:
            again = repeat(certificate, options)
        except NotRepeatedError as error:
            console.print(Text(f"the suite did not get to an end\n{error}", "red"), soft_wrap=True)
            return end(1)
        if again.environment.missing:
            console.print(Text(f"NOT VERIFIED: {again.environment.missing}", "bold red"), soft_wrap=True)
            outcome["missing"] = again.environment.missing
            return end(3)
        wrong = list(differences(certificate, again))
        outcome |= {"repeated": True, "other_versions": list(other_versions(certificate, again))}
        for line in outcome["other_versions"]:
            console.print(Text(f"another version: {line}", "yellow"), soft_wrap=True)
    outcome["differences"] = wrong
    for line in wrong:
        console.print(Text(line, "red"), soft_wrap=True)
    name = f"{certificate.environment.target}: {certificate.verdict}, {certificate.created[:10]}"
    if wrong:
        console.print(Text(f"{name}: not confirmed", "bold red"), soft_wrap=True)
        return end(1)
    console.print(
        Text(f"{name}: {'confirmed' if run else 'agrees with itself; not run again'}", "bold green"), soft_wrap=True
    )
    return end(0)
