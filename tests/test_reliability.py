"""The table of faults by adapter: a cell says what proves it, and never more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from codeweaver_tools import reliability

FAULT: dict[str, Any] = {"what": "x", "concerns": "kept", "run": "kills", "clauses": ["ids.replace"]}
TEST = "adapters/core/tests/test_config.py::test_an_address"


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[1])


@pytest.mark.parametrize(
    ("fault", "own", "figure", "passed", "told"),
    [
        ({}, {}, {"wrong": 0}, {"ids.replace"}, "0 r c"),
        ({}, {}, {"not verified": "no server"}, {"ids.replace"}, "0 c"),
        ({}, {}, {"wrong": 3}, {"ids.replace"}, "**3**"),
        ({}, {}, {}, {"ids.distinct"}, "not tried"),
        ({}, {"location": "memory"}, {"wrong": 0}, {"ids.replace"}, "—"),
        ({"concerns": "embedded"}, {}, {}, {"ids.replace"}, "—"),
        ({"concerns": "embedded"}, {"flood": ["x"]}, {}, set(), "0 t"),
        ({"concerns": "server"}, {}, {}, {"ids.replace"}, "0 c"),
        ({"concerns": "named"}, {}, {}, {"ids.replace"}, "—"),
        ({"tests": ["x"]}, {"flood": ["x"]}, {}, set(), "0 t s"),
        ({"tests": ["x"]}, {"unconcerned": ["flood"]}, {}, set(), "—"),
    ],
)
def test_a_cell(
    fault: dict[str, Any], own: dict[str, Any], figure: dict[str, Any], passed: set[str], told: str
) -> None:
    own = {"location": "server", **own}
    assert reliability.cell("flood", {**FAULT, **fault}, own, {"kills": figure}, passed) == told


@pytest.mark.parametrize(
    ("fault", "own"),
    [
        ({"clauses": ["ids.none-such"]}, {}),
        ({"run": "none-such"}, {}),
        ({"concerns": "none-such"}, {}),
        ({"tests": ["adapters/core/tests/test_none-such.py::test_an_address"]}, {}),
        ({}, {"flood": ["adapters/core/tests/test_config.py::test_none-such"]}),
        ({}, {"none-such": [TEST]}),
    ],
)
def test_a_proof_that_nobody_can_look_up_is_refused(fault: dict[str, Any], own: dict[str, Any]) -> None:
    reliability.check({"flood": {**FAULT, "tests": [TEST]}}, {"acme": {"location": "server", "flood": [TEST]}})
    with pytest.raises(ValueError, match="none-such"):
        reliability.check({"flood": {**FAULT, **fault}}, {"acme": {"location": "server", **own}})
