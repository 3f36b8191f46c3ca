"""Verifying certificates: an honest one is confirmed, a forged one is not, nor one that the suite does not repeat."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from codeweaver_backends.contract import CLAUSES
from codeweaver_conformance import badges
from codeweaver_conformance.certificate import Certificate
from codeweaver_conformance.cli import app, certifying

Data = dict[str, Any]


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Data:
    folder = tmp_path_factory.mktemp("honest")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--pyargs",
        "codeweaver_conformance.suite",
    ]
    command += ["--cw-backend=memory", "--cw-cases=10", "--cw-steps=20", f"--cw-report={folder}"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=300)
    data: Data = json.loads(next(folder.glob("memory-py*.json")).read_text(encoding="utf-8"))
    return data


def verify(folder: Path, data: Data | str, *options: str) -> tuple[int, str]:
    file = folder / "certificate.json"
    file.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    result = CliRunner().invoke(app, ["verify", str(file), *options])
    return result.exit_code, re.sub(r"\s+", " ", result.output)


def changed(data: Data, change: Callable[[Data], None]) -> Data:
    copy: Data = json.loads(json.dumps(data))
    change(copy)
    return copy


def test_an_honest_certificate_is_confirmed_by_running_the_suite_again(honest: Data, tmp_path: Path) -> None:
    def by_an_older_python(data: Data) -> None:
        data["environment"]["python"] = "3.11.0"

    status, said = verify(tmp_path, changed(honest, by_an_older_python))
    assert status == 0, said
    assert "another version: python: 3.11.0 then" in said
    assert "memory: certified" in said
    assert said.strip().endswith("confirmed")


def test_an_outcome_that_is_not_repeated_is_told(honest: Data, tmp_path: Path) -> None:
    def failing(data: Data) -> None:
        data["clauses"]["ids.uuid"]["outcome"] = "fail"
        data["profiles"]["vector"] = data["verdict"] = "failed"

    status, said = verify(tmp_path, changed(honest, failing))
    assert status == 1
    assert "ids.uuid was fail and is pass" in said


@pytest.mark.parametrize(
    ("name", "value"), [("backend", "another"), ("capabilities", {"supports_everything": True})], ids=["name", "claims"]
)
def test_a_certificate_of_another_backend_is_not_confirmed(
    honest: Data, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: object
) -> None:
    monkeypatch.setattr(certifying, "repeat", lambda *_: Certificate.model_validate(honest))
    status, said = verify(tmp_path, changed(honest, lambda data: data["environment"].update({name: value})))
    assert status == 1
    assert f"its {name} is not what was found" in said


def test_a_certificate_is_not_confirmed_by_itself(honest: Data, tmp_path: Path) -> None:
    def forge(data: Data) -> None:
        data["environment"].update(target=str(tmp_path / "certificate"), reference="no.such.module:Nothing")

    status, said = verify(tmp_path, changed(honest, forge))
    assert status == 1
    assert "no.such" in said


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        (("clauses", "ids.uuid", "outcome"), "fail", "profile vector is said to be certified"),
        (("clauses", "ids.uuid", "outcome"), "denied", "ids.uuid is called denied, and cannot be"),
        (("clauses", "ids.uuid", "outcome"), "waived", "no waiver of it"),
        (("clauses", "ids.uuid", "level"), "extended", "ids.uuid is called extended, and is core"),
        (("profiles", "scan"), "failed", "profile scan is said to be failed"),
        (("verdict",), "partial", "the verdict is partial"),
        (("contract",), "0.1", "it is of contract 0.1"),
        (("clauses", "ids.uuid", "tests"), 0, "no test of it was run"),
    ],
    ids=lambda value: ".".join(value) if isinstance(value, tuple) else str(value),
)
def test_a_certificate_that_contradicts_itself_is_not_confirmed(
    honest: Data, tmp_path: Path, path: tuple[str, ...], value: object, told: str
) -> None:
    def forge(data: Data) -> None:
        *parents, last = path
        for name in parents:
            data = data[name]
        data[last] = value

    status, said = verify(tmp_path, changed(honest, forge), "--no-run")
    assert status == 1
    assert told in said
    assert "not confirmed" in said


def without(profile: str) -> Callable[[Data], None]:
    def remove(data: Data) -> None:
        data["profiles"].pop(profile, None)
        for name in [one for one in data["clauses"] if CLAUSES[one].profile == profile or one == profile]:
            del data["clauses"][name]

    return remove


@pytest.mark.parametrize(
    ("removed", "told"),
    [("scan", "this kit has other clauses: scan."), ("ids.uuid", "this kit has other clauses: ids.uuid")],
)
def test_removed_clauses_are_noticed(honest: Data, tmp_path: Path, removed: str, told: str) -> None:
    status, said = verify(tmp_path, changed(honest, without(removed)), "--no-run")
    assert status == 1
    assert told in said


@pytest.mark.parametrize(
    ("clause", "claim", "outcome", "told"),
    [
        ("scan.get", True, "denied", "scan.get is called denied, and is claimed"),
        ("scan.get", False, "pass", "scan.get is called pass, and is not claimed"),
    ],
)
def test_what_is_claimed_is_not_denied_nor_the_other_way_round(
    honest: Data, tmp_path: Path, clause: str, claim: bool, outcome: str, told: str
) -> None:
    def forge(data: Data) -> None:
        data["environment"]["capabilities"]["supports_scan"] = claim
        data["clauses"][clause]["outcome"] = outcome

    status, said = verify(tmp_path, changed(honest, forge), "--no-run")
    assert status == 1
    assert told in said


def test_tests_and_versions_that_are_others_are_told(
    honest: Data, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def forge(data: Data) -> None:
        data["environment"] |= {"adapter": "codeweaver-backends 0.0.1", "server": "9.9", "client": {"numpy": "1.0"}}
        data["clauses"]["ids.uuid"]["tests"] += 1

    monkeypatch.setattr(certifying, "repeat", lambda *_: Certificate.model_validate(honest))
    status, said = verify(tmp_path, changed(honest, forge))
    assert status == 1
    assert "ids.uuid was tried by 2 tests and is by 1" in said
    for name in ("adapter: codeweaver-backends 0.0.1 then", "server: 9.9 then, none now", "numpy: 1.0 then"):
        assert f"another version: {name}" in said


def test_a_badge_and_the_clauses_as_test_cases(honest: Data) -> None:
    certificate = Certificate.model_validate(honest)
    assert badges.badge(certificate)["message"].startswith("certified + scan, columnar")
    assert badges.badge(certificate)["color"] == "brightgreen"

    def failing(data: Data) -> None:
        data["clauses"]["ids.uuid"] |= {"outcome": "fail", "reasons": ["got \x00 and <b>"]}
        data["verdict"] = "failed"

    failed = Certificate.model_validate(changed(honest, failing))
    assert badges.badge(failed) | {"label": ""} == {
        "schemaVersion": 1,
        "label": "",
        "message": "failed",
        "color": "red",
    }
    suite = ElementTree.fromstring(badges.junit(failed))  # noqa: S314 - our own
    assert (suite.get("tests"), suite.get("failures")) == (str(len(CLAUSES)), "1")
    [failure] = suite.iter("failure")
    assert (failure.get("message"), failure.text) == (CLAUSES["ids.uuid"].sentence, "got \\x00 and <b>")
    denied = sum(one.outcome == "denied" for one in failed.clauses.values())
    assert suite.get("skipped") == str(denied) == str(len(list(suite.iter("skipped"))))


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"verdict": "certified"}'])
def test_what_is_no_certificate_is_refused(tmp_path: Path, text: str) -> None:
    status, said = verify(tmp_path, text)
    assert status == 2
    assert "no certificate" in said
