"""The pages that come from the code: contract, support matrix, the certificate's format, names, the README's table.

``python -m codeweaver_tools.pages``, run at the root, writes them; ``--check`` fails if one is not current.
The matrix is made of the certificates that are committed under ``docs/certificates/``, the tables of the page on
performance of the reports under ``docs/performance/``, those of reliability of ``docs/reliability/``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from itertools import groupby
from pathlib import Path
from typing import Any

from codeweaver_backends.contract import CLAUSES, CONTRACT_VERSION, Clause
from codeweaver_conformance.certificate import Certificate, tally
from codeweaver_tools import matrix, names_page, quality_page, reliability
from codeweaver_tools.certificate_pages import pages_of

__all__ = ["main"]

DOCS = Path("docs")
_MADE = "<!-- Made by python -m codeweaver_tools.pages; edit the code, not this page. -->\n\n"
_MARKS = {"fail": "**broken**", "denied": "not claimed", "waived": "waived", "not-verified": "not verified"}


def contract_page() -> str:
    """Every clause, by area, with an anchor of its id."""
    lines = [
        f"{_MADE}# The contract, version {CONTRACT_VERSION}\n",
        "What every call of the protocol means, as clauses that the conformance kit proves. They are of the base",
        "profile `vector` and of the level *core* where nothing else is said: core clauses count for the verdict of",
        "their profile, *extended* ones are listed. A clause that *needs* a claim may be denied by a backend that does",
        "not make it, or one of several joined by `+`; the others cannot be denied. Each has an anchor:",
        "`contract.md#ids.distinct`.\n",
    ]
    for area, clauses in groupby(CLAUSES.values(), key=lambda clause: clause.area):
        lines += [f"## {area.capitalize()}\n", "| clause | promise |", "|---|---|"]
        lines += [_row((f'<a id="{one.id}"></a>`{one.id}`', f"{one.sentence}{_tags(one)}")) for one in clauses]
        lines.append("")
    return "\n".join(lines)


def _tags(clause: Clause) -> str:
    tags = [
        *([clause.profile] if clause.profile != "vector" else []),
        *([clause.level] if clause.level != "core" else []),
        *([f"needs `{clause.capability}`"] if clause.capability else []),
    ]
    return f" *({', '.join(tags)})*" if tags else ""


def matrix_page() -> str:
    """The committed certificates side by side, and what else was run on which Python with which clients."""
    certificates = _certificates()
    lines = [f"{_MADE}# Support matrix\n"]
    if not certificates:
        return "\n".join([*lines, "No certificate is committed yet.\n"])
    lines += [
        "Each row is a certificate, which can be repeated with the command it names. *Kept* clauses passed all of",
        "their tests, *not claimed* ones are of capabilities that the engine does not have, *broken* ones failed.\n",
        *_table(
            ["target", "verdict", "profiles beside vector", "kept", "not claimed", "broken", "not verified"],
            map(_verdict, certificates),
        ),
        "",
        "## What each has\n",
        *_table(
            ["target", "metrics", "exact up to", "largest limit", "dimensions", "engine"], map(_limits, certificates)
        ),
        "",
        "## Clause by clause\n",
        "Clauses that every backend keeps are left out, and so are those of a profile that a backend does not claim.",
        f"{_younger(certificates)}\n",
        *_table(["clause", "not kept by"], _differences(certificates)),
        "",
        "## Pythons and clients\n",
        *_runs(certificates),
        "",
    ]
    return "\n".join(lines)


def _verdict(one: Certificate) -> list[str]:
    counts = tally(one)
    profiles = [
        name if verdict == "certified" else f"{name} {verdict}"
        for name, verdict in one.profiles.items()
        if name != "vector" and verdict != "denied"
    ]
    target = one.environment.target
    return [
        f"[`{target}`](certificates/{target}.md)",
        f"**{one.verdict}**",
        ", ".join(profiles) or "none",
        str(counts["pass"]),
        str(counts["denied"]),
        str(counts["fail"] + counts["waived"]),
        str(counts["not-verified"]),
    ]


def _limits(one: Certificate) -> list[str]:
    claims = one.environment.capabilities
    return [
        f"`{one.environment.target}`",
        ", ".join(_metrics(one)),
        f"{claims['limits']['exact_size']:,}",
        f"{claims['limits']['max_limit']:,}",
        f"{claims['max_vector_dimension']:,}",
        _server(one),
    ]


def _runs(certificates: list[Certificate]) -> list[str]:
    runs = matrix.kept(DOCS / "matrix.json")
    targets = sorted({one.environment.target for one in certificates} | {run.target for run in runs})
    return [
        "The certificates above are of Python 3.11 with the newest clients of their day. `nox -t matrix` runs the",
        "whole suite on every target and Python with the newest clients, and with the oldest that are allowed",
        "(`--resolution lowest-direct`). A dash was not run.\n",
        *_table(*matrix.page(runs, targets)),
    ]


def _metrics(certificate: Certificate) -> list[str]:
    return [str(name) for name in certificate.environment.capabilities["supported_distance_metrics"]]


def _server(certificate: Certificate) -> str:
    # A clause of servers is denied where the engine is declared to run in process, and only there.
    without = "in process" if certificate.clauses["health.bounded"].outcome == "denied" else "not told"
    return certificate.environment.server or without


def _differences(certificates: list[Certificate]) -> Iterable[list[str]]:
    for clause in CLAUSES.values():
        others: dict[str, list[str]] = {}
        for one in certificates:
            found = one.clauses.get(clause.id)  # a certificate says nothing of clauses that are younger
            if found is not None and found.outcome != "pass" and one.profiles[clause.profile] != "denied":
                others.setdefault(_MARKS[found.outcome], []).append(one.environment.target)
        if others:
            told = "; ".join(f"{mark}: {', '.join(targets)}" for mark, targets in others.items())
            yield [f"[`{clause.id}`](contract.md#{clause.id})", told]


def _younger(certificates: list[Certificate]) -> str:
    lacking = [len(CLAUSES.keys() - one.clauses.keys()) for one in certificates]
    return (
        f"Up to {max(lacking)} clauses are younger than a certificate, which says nothing of them."
        if any(lacking)
        else ""
    )


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
    """The README with the table of what is certified."""
    rows = [
        [
            f"`{one.environment.target}`",
            ", ".join(f"{profile} {verdict}" for profile, verdict in one.profiles.items() if verdict != "denied"),
            ", ".join(_metrics(one)),
            _server(one),
            one.created[:10],
        ]
        for one in _certificates()
    ]
    headings = ["target", "verdict by profile", "metrics", "server", "certified on"]
    return _filled(Path("README.md"), support=_table(headings, rows))


def _filled(file: Path, **blocks: list[str]) -> str:
    """The text of a file with these lines, each block between the two marks of its name."""
    text = file.read_text(encoding="utf-8")
    for name, lines in blocks.items():
        begin, end = f"<!-- {name}:begin (generated) -->", f"<!-- {name}:end -->"
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        text = "\n".join([f"{before}{begin}", *lines, f"{end}{after}"])
    return text


def using_page() -> str:
    """The page on using a backend with what there is to import."""
    page = DOCS / "api" / "using.md"
    return _filled(page, names=["", *names_page.lists(page), ""])


# --- quality ---------------------------------------------------------------------------------------------------------


def hybrid_page() -> str:
    """The page on hybrid search with the tables of what was measured."""
    return _filled(DOCS / "hybrid.md", quality=quality_page.tables(_quality()), cost=_legs())


def _legs() -> list[str]:
    rows = json.loads((DOCS / "performance" / "legs.json").read_text(encoding="utf-8"))["rows"]
    headings = [
        "target",
        "points",
        "dense",
        "sparse",
        "both",
        "sparse / dense",
        "both / sum",
        "ingest",
        "with the index",
    ]
    return _table(headings, map(_leg_row, sorted(rows, key=lambda row: (row["target"], row["points"]))))


def _leg_row(row: dict[str, Any]) -> list[str]:
    legs = (f"{row[name]['p50']:.1f} ms ({row[name]['cpu']:.1f})" for name in ("dense", "sparse", "both"))
    ratios = (f"**{row[name]['wall']:.2f}** ({row[name]['cpu']:.2f})" for name in ("sparse_ratio", "both_ratio"))
    ingest = (f"{row['ingest'][name]['cpu']:.0f} µs" for name in ("plain", "indexed"))
    return [f"`{row['target']}`", f"{row['points']:,}", *legs, *ratios, *ingest]


def hybrid_figure() -> str:
    """The same as a figure."""
    return quality_page.figure(_quality())


def _quality() -> dict[str, Any]:
    report: dict[str, Any] = json.loads((DOCS / "performance" / "quality.json").read_text(encoding="utf-8"))
    return report


# --- performance -----------------------------------------------------------------------------------------------------


def performance_page() -> str:
    """The page on performance with the tables of what was measured."""
    rows = json.loads((DOCS / "performance" / "bench.json").read_text(encoding="utf-8"))["rows"]
    judged = json.loads((DOCS / "performance" / "differential.json").read_text(encoding="utf-8"))["oracle"]
    targets = sorted({row["target"] for row in rows})
    counts = sorted({_count(row) for row in rows})
    measured = {(row["target"], row["operation"]): row for row in rows}

    def cells(target: str, count: int, operations: Iterable[str]) -> list[str]:
        found = [measured.get((target, f"{operation} {count}")) for operation in operations]
        return [f"`{target}`", f"{count:,}", *map(_cost, found)]

    lines: list[str] = []
    for title, operations in (
        ("Searches", ("search", "search declared", "search undeclared")),
        ("Ingest", ("ingest points", "ingest columns")),
    ):
        made = [cells(target, count, operations) for target in targets for count in counts]
        shown = [row for row in made if any(cell != "—" for cell in row[2:])]
        lines += [f"## {title}\n", *_table(["target", "points", *operations], shown), ""]
    lines += ["## Push-down\n", *_table(["target", "filters", "answered by the engine"], map(_share, judged)), ""]
    lines += [
        "## Measured with\n",
        *_table(["target", "on", "load", "versions"], map(_circumstances, _by_target(rows))),
    ]
    return _filled(DOCS / "performance.md", performance=lines, million=_million())


def _million() -> list[str]:
    """What ``codeweaver_tools.recall`` found with many points: the stream that wrote them, and default searches."""
    reports = json.loads((DOCS / "performance" / "million.json").read_text(encoding="utf-8"))
    streamed = ["target", "points", "a point of the first tenth", "of the last", "last / first", "held", "process"]
    asked = [one for one in reports if one["rows"]]
    filters = list(dict.fromkeys(row["filter"] for one in asked for row in one["rows"]))
    return [
        *_table(streamed, map(_streamed, reports)),
        "",
        *_table(["target", "optimized in", *filters, "short", "load"], (_found(one, filters) for one in asked)),
    ]


def _streamed(report: dict[str, Any]) -> list[str]:
    told = report["stream"]
    first, last = (f"{told['wall_us'][n]:.0f} µs ({told['cpu_us'][n]:.0f})" for n in (0, -1))
    ratios = (told[name][-1] / told[name][0] for name in ("wall_us", "cpu_us"))
    held = f"{max(told['held_mb']):.0f} MB" + (f" + {told['arrow_mb']:.0f} MB" if told.get("arrow_mb") else "")
    return [
        f"`{report['target']}`",
        f"{report['points']:,} × {report['dimension']}",
        first,
        last,
        "{:.2f} ({:.2f})".format(*ratios),
        held,
        f"{told['process_mb'][0]:,.0f} → {told['process_mb'][-1]:,.0f} MB",
    ]


def _found(report: dict[str, Any], filters: list[str]) -> list[str]:
    rows = {row["filter"]: row for row in report["rows"] if row["way"] == "auto"}
    cells = (
        f"{row['p50_ms']:.0f} ms ({row['cpu_ms']:.0f}), {row['recall']:.3f}" for row in map(rows.get, filters) if row
    )
    asked = report["searches"] + sum(report["queries"] for _ in report["rows"])
    short = report["short"] + sum(row["short"] for row in report["rows"])
    optimized = f"{report['optimize_seconds']:,.0f} s"
    return [f"`{report['target']}`", optimized, *cells, f"{short} of {asked:,}", str(report["load"])]


def _count(row: dict[str, Any]) -> int:
    return int(row["operation"].rpartition(" ")[2])


def _cost(row: dict[str, Any] | None) -> str:
    if row is None:
        return "—"
    ours, theirs = (1_000 * row[key] for key in ("seconds", "bare_seconds"))
    digits = 0 if ours >= 100 else 1
    return f"{ours:,.{digits}f} / {theirs:,.{digits}f} ms: **{row['ratio']:.2f}**"


def _share(tally: dict[str, Any]) -> list[str]:
    share = f"{1 - tally['scanned'] / tally['filters']:.1%}" if tally["filters"] else "not told"
    return [f"`{tally['target']}`", f"{tally['filters']:,}", share]


def _by_target(rows: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    ordered = sorted(rows, key=lambda row: str(row["target"]))
    return [list(group) for _, group in groupby(ordered, key=lambda row: str(row["target"]))]


def _circumstances(rows: list[dict[str, Any]]) -> list[str]:
    days, loads = sorted({row["day"] for row in rows}), sorted(row["load"] for row in rows)
    versions = ", ".join(f"{name} {version}" for name, version in rows[-1]["versions"].items())
    return [f"`{rows[0]['target']}`", ", ".join(days), f"{loads[0]}–{loads[-1]}", versions]


# --- reliability -----------------------------------------------------------------------------------------------------


def reliability_page() -> str:
    """The page on faults: what was tried, and fault by adapter what proves that it is mended."""
    headings, rows, named = reliability.proofs(_certificates())
    return _filled(
        DOCS / "reliability.md",
        reliability=_table(*reliability.tried()),
        proofs=[*_table(headings, rows), "", *named],
        ring=_table(*reliability.copies()),
    )


PAGES: dict[Path, Callable[[], str]] = {
    DOCS / "contract.md": contract_page,
    DOCS / "matrix.md": matrix_page,
    DOCS / "certificate.schema.json": certificate_schema,
    DOCS / "performance.md": performance_page,
    DOCS / "reliability.md": reliability_page,
    DOCS / "hybrid.md": hybrid_page,
    DOCS / "images" / "hybrid.svg": hybrid_figure,
    DOCS / "api" / "using.md": using_page,
    Path("README.md"): readme,
    **pages_of(DOCS / "certificates"),
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
        sys.exit(f"not current: {', '.join(stale)}; run python -m codeweaver_tools.pages")


if __name__ == "__main__":
    main()
