"""A page for each committed certificate: what was run on what, the verdicts, which clauses are not kept, and why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from codeweaver_backends.contract import CLAUSES
from codeweaver_conformance.certificate import Certificate, tally

__all__ = ["pages_of"]

_MADE = "<!-- Made by python -m codeweaver_tools.pages from the certificate beside it. -->\n\n"


def pages_of(folder: Path) -> dict[Path, Callable[[], str]]:
    """What makes the page of each certificate in a folder."""
    return {file.with_suffix(".md"): lambda file=file: _page(file) for file in sorted(folder.glob("*.json"))}  # type: ignore[misc]


def _page(file: Path) -> str:
    one = Certificate.model_validate_json(file.read_text(encoding="utf-8"))
    ran, counts = one.environment, tally(one)
    client = ", ".join(f"{name} {version}" for name, version in ran.client.items())
    made = {
        "made": f"{one.created[:10]}, of contract {one.contract}, with codeweaver-conformance {one.kit}",
        "adapter": ran.adapter,
        "engine": f"{ran.server or 'tells no version'}; {ran.location or 'nobody declares where it runs'}",
        "with": client,
        "on": f"Python {ran.python}, {ran.platform}",
        "settings given by hand": ", ".join(f"`{name}`" for name in ran.settings) or "none",
        "clauses": ", ".join(f"{number} {outcome}" for outcome, number in counts.items() if number),
    }
    lines = [f"{_MADE}# {ran.target}: {one.verdict}\n", f"[The certificate]({file.name}) as JSON. It is repeated by\n"]
    lines += ["```sh", one.reproduce, "```\n", "| | |", "|---|---|"]
    lines += [f"| {name} | {_cell(text)} |" for name, text in made.items()]
    lines += ["\n| profile | verdict |", "|---|---|"]
    lines += [f"| {profile} | {verdict} |" for profile, verdict in one.profiles.items()]
    lines += ["\n## What did not pass\n", *_others(one)]
    return "\n".join(lines) + "\n"


def _others(one: Certificate) -> list[str]:
    """The clauses that were not kept, but those of profiles that are not claimed at all."""
    rows = [
        f"| [`{name}`](../contract.md#{name}) | {found.outcome} | {_cell('; '.join(dict.fromkeys(found.reasons)))} |"
        for name, found in one.clauses.items()
        if found.outcome != "pass" and name in CLAUSES and one.profiles.get(CLAUSES[name].profile) != "denied"
    ]
    return ["| clause | outcome | why |", "|---|---|---|", *rows] if rows else ["Nothing of a profile that is claimed."]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
