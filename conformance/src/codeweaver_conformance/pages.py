"""The pages that come from the code: the contract, the support matrix, the certificate's format, the README's table.

``python -m codeweaver_conformance.pages``, run at the root, writes them; ``--check`` fails if one is not current.
The matrix is made of the certificates that are committed under ``docs/certificates/``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from itertools import groupby
from pathlib import Path

from codeweaver_backends.contract import CLAUSES, CONTRACT_VERSION
from codeweaver_conformance.certificate import Certificate, tally

__all__ = ["main"]

DOCS = Path("docs")
_MADE = "<!-- Made by python -m codeweaver_conformance.pages; edit the code, not this page. -->\n\n"
_BEGIN, _END = "<!-- support:begin (generated) -->", "<!-- support:end -->"
_MARKS = {"pass": "yes", "fail": "**no**", "denied": "denied", "waived": "waived", "not-verified": "not verified"}


def contract_page() -> str:
    """Every clause, by area."""
    lines = [
        f"{_MADE}# The contract, version {CONTRACT_VERSION}\n",
        "What every call of the protocol means, as clauses that the conformance kit proves. *Core* clauses count for",
        "the verdict of their profile, *extended* ones are listed. A clause with a capability may be denied by a",
        "backend that does not claim it, or one of several joined by `+`; the others cannot be denied.\n",
    ]
    for area, clauses in groupby(CLAUSES.values(), key=lambda clause: clause.area):
        lines += [
            f"## {area.capitalize()}\n",
            "| clause | promise | profile | level | capability |",
            "|---|---|---|---|---|",
        ]
        for clause in clauses:
            cells = (f"`{clause.id}`", clause.sentence, clause.profile, clause.level, clause.capability or "")
            lines.append(_row(cells))
        lines.append("")
    return "\n".join(lines)


def matrix_page() -> str:
    """The committed certificates side by side."""
    certificates = _certificates()
    lines = [f"{_MADE}# Support matrix\n"]
    if not certificates:
        return "\n".join([*lines, "No certificate is committed yet.\n"])
    lines += [
        "From the certificates under `docs/certificates/`. Each can be repeated with the command it names.\n",
        *_table(["", *(one.environment.target for one in certificates)], _summary(certificates)),
        "",
        "## Clause by clause\n",
        "Clauses that every backend keeps are left out.\n",
        *_table(["clause", *(one.environment.target for one in certificates)], _differences(certificates)),
        "",
    ]
    return "\n".join(lines)


def _summary(certificates: list[Certificate]) -> Iterable[list[str]]:
    yield ["verdict", *(f"**{one.verdict}**" for one in certificates)]
    for profile in dict.fromkeys(clause.profile for clause in CLAUSES.values()):
        yield [f"profile {profile}", *(str(one.profiles.get(profile, "not-verified")) for one in certificates)]
    yield ["metrics", *(", ".join(_metrics(one)) for one in certificates)]
    yield [
        "exact up to (points)",
        *(f"{one.environment.capabilities['limits']['exact_size']:,}" for one in certificates),
    ]
    yield ["largest limit", *(f"{one.environment.capabilities['limits']['max_limit']:,}" for one in certificates)]
    yield ["largest dimension", *(f"{one.environment.capabilities['max_vector_dimension']:,}" for one in certificates)]
    yield ["server", *(one.environment.server or "in process" for one in certificates)]
    yield ["clauses kept", *(f"{tally(one)['pass']} of {len(one.clauses)}" for one in certificates)]
    yield ["adapter", *(one.environment.adapter for one in certificates)]
    yield ["day", *(one.created[:10] for one in certificates)]


def _metrics(certificate: Certificate) -> list[str]:
    return [str(name) for name in certificate.environment.capabilities["supported_distance_metrics"]]


def _differences(certificates: list[Certificate]) -> Iterable[list[str]]:
    for clause in CLAUSES:
        outcomes = [one.clauses[clause].outcome if clause in one.clauses else "not-verified" for one in certificates]
        if set(outcomes) != {"pass"}:
            yield [f"`{clause}`", *(_MARKS[outcome] for outcome in outcomes)]


def _certificates() -> list[Certificate]:
    files = sorted((DOCS / "certificates").glob("*.json"))
    return [Certificate.model_validate_json(file.read_text(encoding="utf-8")) for file in files]


def _table(headings: list[str], rows: Iterable[list[str]]) -> list[str]:
    return [_row(headings), _row(["---"] * len(headings)), *(_row(row) for row in rows)]


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def certificate_schema() -> str:
    """The JSON schema of a certificate."""
    return json.dumps(Certificate.model_json_schema(), indent=2) + "\n"


def readme() -> str:
    """The README with the table of what is certified, between its two marks."""
    text = Path("README.md").read_text(encoding="utf-8")
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    rows = [
        [
            f"`{one.environment.target}`",
            ", ".join(f"{profile} {verdict}" for profile, verdict in one.profiles.items() if verdict != "denied"),
            ", ".join(_metrics(one)),
            one.environment.server or "in process",
            one.created[:10],
        ]
        for one in _certificates()
    ]
    table = _table(["target", "verdict by profile", "metrics", "server", "certified on"], rows)
    return f"{before}{_BEGIN}\n" + "\n".join(table) + f"\n{_END}{after}"


PAGES: dict[Path, Callable[[], str]] = {
    DOCS / "contract.md": contract_page,
    DOCS / "matrix.md": matrix_page,
    DOCS / "certificate.schema.json": certificate_schema,
    Path("README.md"): readme,
}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a page is not current")
    check = parser.parse_args().check
    stale = []
    for file, make in PAGES.items():
        text = make()
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            stale.append(str(file))
            if not check:
                file.write_text(text, encoding="utf-8")
    if check and stale:
        sys.exit(f"not current: {', '.join(stale)}; run python -m codeweaver_conformance.pages")


if __name__ == "__main__":
    main()
