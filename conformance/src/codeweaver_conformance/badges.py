"""What is written beside a certificate for other tools: a badge, and the clauses as JUnit knows test cases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

from codeweaver_backends.contract import CLAUSES
from codeweaver_conformance.certificate import Certificate, Verdict

__all__ = ["badge", "junit", "write_beside"]

_COLORS: Final[dict[Verdict, str]] = {
    "certified": "brightgreen",
    "partial": "yellow",
    "failed": "red",
    "not-verified": "lightgrey",
}


def badge(certificate: Certificate) -> dict[str, str | int]:
    """The endpoint badge of shields.io: the verdict, and the other profiles that are certified."""
    others = [name for name, one in certificate.profiles.items() if one == "certified" and name != "vector"]
    told = f" + {', '.join(others)}" if others and certificate.verdict == "certified" else ""
    return {
        "schemaVersion": 1,
        "label": f"vector contract {certificate.contract}",
        "message": f"{certificate.verdict}{told}",
        "color": _COLORS[certificate.verdict],
    }


def junit(certificate: Certificate) -> str:
    """A suite of one case for each clause: a failure, an error where it was not verified, skipped where it was denied.

    What was waived is skipped, with its reason.
    """
    counts = {"failures": "fail", "errors": "not-verified"}
    outcomes: list[str] = [one.outcome for one in certificate.clauses.values()]
    suite = ElementTree.Element("testsuite", name=certificate.environment.target, tests=str(len(outcomes)))
    for attribute, outcome in counts.items():
        suite.set(attribute, str(outcomes.count(outcome)))
    suite.set("skipped", str(outcomes.count("denied") + outcomes.count("waived")))
    suite.set("timestamp", certificate.created)
    elements = {"fail": "failure", "not-verified": "error", "denied": "skipped", "waived": "skipped"}
    for name, one in certificate.clauses.items():
        case = ElementTree.SubElement(suite, "testcase", classname=f"{CLAUSES[name].profile}.{one.level}", name=name)
        if one.outcome in elements:
            told = ElementTree.SubElement(case, elements[one.outcome], message=CLAUSES[name].sentence)
            told.text = _printable("\n".join(one.reasons) or one.outcome)
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _printable(text: str) -> str:
    """Without what XML cannot say."""
    return "".join(one if one.isprintable() or one == "\n" else ascii(one)[1:-1] for one in text)


def write_beside(certificate: Certificate, file: Path) -> None:
    """Write ``badges/<target>.json`` and ``junit/<target>.xml`` into the folder of the certificate's file."""
    texts = {
        f"badges/{file.stem}.json": json.dumps(badge(certificate), indent=2) + "\n",
        f"junit/{file.stem}.xml": junit(certificate),
    }
    for name, text in texts.items():
        other = file.parent / name
        other.parent.mkdir(exist_ok=True)
        other.write_text(text, encoding="utf-8")
