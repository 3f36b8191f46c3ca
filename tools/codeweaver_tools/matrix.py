"""The table of a matrix run: ``python -m codeweaver_tools.matrix FOLDER`` prints it as Markdown.

Every certificate below the folder is a row. The names of the folders that ``nox -t matrix`` writes to tell the newest
clients from the oldest.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from codeweaver_conformance.certificate import Certificate, tally

__all__ = ["main", "table"]


def table(folder: Path) -> Iterator[str]:
    """The lines of the table."""
    files = sorted(folder.rglob("*.json"))
    found = [
        (_age(file), Certificate.model_validate_json(text)) for file in files if is_certificate(text := _read(file))
    ]
    if not found:
        yield "No certificate was written."
        return
    yield "| target | Python | clients | verdict | kept | not claimed | broken | not verified | adapter and clients |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for age, one in sorted(found, key=lambda row: (row[1].environment.target, row[1].environment.python, row[0])):
        counts, environment = tally(one), one.environment
        versions = ", ".join([environment.adapter, *(f"{name} {version}" for name, version in _clients(one))])
        cells = (
            f"`{environment.target}`",
            environment.python,
            age,
            f"**{one.verdict}**",
            str(counts["pass"]),
            str(counts["denied"]),
            str(counts["fail"] + counts["waived"]),
            str(counts["not-verified"]),
            versions,
        )
        yield f"| {' | '.join(cells)} |"


def is_certificate(text: str) -> bool:
    """Whether a file is one, and no other report."""
    return '"format": "codeweaver-certificate/' in text[:200]


def _read(file: Path) -> str:
    return file.read_text(encoding="utf-8")


def _age(file: Path) -> str:
    return next((age for age in ("oldest", "newest") if age in str(file)), "newest")


def _clients(certificate: Certificate) -> Iterator[tuple[str, str]]:
    """The engine's own: not what every adapter needs."""
    common = {
        "codeweaver-backends",
        "numpy",
        "orjson",
        "portalocker",
        "pyarrow",
        "pydantic",
        "pydantic-settings",
        "rich",
    }
    yield from (row for row in certificate.environment.client.items() if row[0] not in common | {"typer"})


def main() -> None:
    """The command."""
    print("\n".join(table(Path(sys.argv[1]))))  # noqa: T201 - it is what the command is for


if __name__ == "__main__":
    main()
