"""The table of matrix runs: ``python -m codeweaver_tools.matrix FOLDER`` prints it as Markdown.

Every certificate below the folder is a run. The names of the folders that ``nox -t matrix`` writes to tell the newest
clients from the oldest. With ``--keep FILE`` the runs are also written to that file, each in place of an older one of
its kind: the table of the support matrix grows by them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from codeweaver_conformance.certificate import Certificate, tally

__all__ = ["PYTHONS", "Run", "kept", "main", "page", "runs", "table"]

PYTHONS = ("3.11", "3.12", "3.13")
_COMMON = {
    "codeweaver-backends",
    "moto",
    "numpy",
    "orjson",
    "portalocker",
    "pyarrow",
    "pydantic",
    "pydantic-settings",
    "rich",
    "typer",
}
"""What every adapter needs, and what tests need: no engine's own."""


@dataclass(frozen=True, slots=True)
class Run:
    """One target on one Python with the newest or the oldest clients."""

    target: str
    python: str
    clients: str
    """``newest`` or ``oldest``."""
    verdict: str
    kept: int
    not_claimed: int
    broken: int
    not_verified: int
    versions: dict[str, str]
    """Of the engine's own clients."""
    day: str

    @property
    def kind(self) -> tuple[str, str, str]:
        """What a later run of the same kind takes the place of."""
        return self.target, self.clients, self.python.rpartition(".")[0]


def runs(folder: Path) -> Iterator[Run]:
    """The runs below a folder."""
    for file in sorted(folder.rglob("*.json")):
        if is_certificate(text := file.read_text(encoding="utf-8")):
            yield _run(Certificate.model_validate_json(text), "oldest" if "oldest" in str(file) else "newest")


def is_certificate(text: str) -> bool:
    """Whether a file is one, and no other report."""
    return '"format": "codeweaver-certificate/' in text[:200]


def _run(one: Certificate, clients: str) -> Run:
    counts, environment = tally(one), one.environment
    return Run(
        target=environment.target,
        python=environment.python,
        clients=clients,
        verdict=str(one.verdict),
        kept=counts["pass"],
        not_claimed=counts["denied"],
        broken=counts["fail"] + counts["waived"],
        not_verified=counts["not-verified"],
        versions={name: version for name, version in environment.client.items() if name not in _COMMON},
        day=one.created[:10],
    )


def kept(file: Path) -> list[Run]:
    """The runs that a file keeps."""
    return [Run(**row) for row in json.loads(file.read_text(encoding="utf-8"))] if file.is_file() else []


def table(found: Iterable[Run]) -> Iterator[str]:
    """The lines of a table, a run a line."""
    rows = sorted(found, key=lambda run: (run.target, run.python, run.clients))
    if not rows:
        yield "No certificate was written."
        return
    yield "| target | Python | clients | verdict | kept | not claimed | broken | not verified | versions |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for one in rows:
        cells = (f"`{one.target}`", one.python, one.clients, f"**{one.verdict}**")
        counts = (one.kept, one.not_claimed, one.broken, one.not_verified)
        yield f"| {' | '.join([*cells, *map(str, counts), _versions(one)])} |"


def page(found: Sequence[Run], targets: Iterable[str]) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of the table by target and Python; a dash is what was not run."""
    by_kind = {run.kind: run for run in found}
    rows = []
    for target in targets:
        for clients in ("newest", "oldest"):
            of_kind = [by_kind.get((target, clients, python)) for python in PYTHONS]
            told = [_cell(one) if one else "—" for one in of_kind]
            last = next((one for one in reversed(of_kind) if one), None)
            rows.append([f"`{target}`", clients, *told, _versions(last) if last else "—"])
    return ["target", "clients", *PYTHONS, "versions"], rows


def _cell(run: Run) -> str:
    broken = f", **{run.broken} broken**" if run.broken else ""
    return f"{run.verdict}, {run.kept} kept{broken}, {run.day}"


def _versions(run: Run) -> str:
    return ", ".join(f"{name} {version}" for name, version in run.versions.items())


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m codeweaver_tools.matrix", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--keep", type=Path, metavar="FILE", help="write the runs to this file, too")
    options = parser.parse_args(arguments)
    found = list(runs(options.folder))
    print("\n".join(table(found)))  # noqa: T201 - it is what the command is for
    if options.keep is not None:
        verified = [run for run in found if run.verdict != "not-verified"]  # the others say nothing
        merged = {run.kind: run for run in [*kept(options.keep), *verified]}
        rows = [asdict(merged[kind]) for kind in sorted(merged)]
        options.keep.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
