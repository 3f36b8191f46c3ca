"""The suite's own form: what a test of a clause may not do."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import codeweaver_conformance.suite as suite
from codeweaver_backends.capabilities import BackendCapabilities
from codeweaver_backends.contract import CLAUSES
from codeweaver_conformance import certificate
from codeweaver_conformance.subject import OF_THE_SUBJECT
from codeweaver_conformance.summary import verdict_of

MODULES = sorted(Path(suite.__file__).parent.glob("test_*.py"))
Function = ast.FunctionDef | ast.AsyncFunctionDef


def clause_functions(tree: ast.Module) -> Iterator[Function]:
    for node in tree.body:
        decorators = getattr(node, "decorator_list", ())
        if any(isinstance(one, ast.Call) and getattr(one.func, "id", "") == "clause" for one in decorators):
            assert isinstance(node, Function)
            yield node


def bare_returns(node: ast.AST) -> Iterator[int]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Return):
            yield child.lineno
        elif not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from bare_returns(child)


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_no_test_of_a_clause_returns_early(module: Path) -> None:
    """A test that returns has passed: what does not apply says so with ``cw.not_applicable``."""
    tests = list(clause_functions(ast.parse(module.read_text(encoding="utf-8"))))
    assert tests
    assert {test.name: list(bare_returns(test)) for test in tests if list(bare_returns(test))} == {}


def test_an_early_return_is_found() -> None:
    source = (
        "@clause('a.b')\nasync def test_it(cw):\n    def helper():\n        return 1\n    if cw.x:\n        return\n"
    )
    [test] = clause_functions(ast.parse(source))
    assert list(bare_returns(test)) == [6]


def test_capabilities_of_clauses_exist() -> None:
    known = BackendCapabilities.model_fields.keys() | OF_THE_SUBJECT.keys()
    asked = {part.partition(":")[0] for one in CLAUSES.values() for part in (one.capability or "").split("+") if part}
    assert asked <= known


@pytest.mark.parametrize(
    ("kinds", "undeniable", "deniable"),
    [
        (["denied"], "not-verified", "denied"),
        (["denied", "pass"], "pass", "pass"),
        (["denied", "not-verified", "pass"], "not-verified", "not-verified"),
        (["denied", "fail", "pass"], "fail", "fail"),
    ],
)
def test_what_did_not_apply_is_no_pass(kinds: list[str], undeniable: str, deniable: str) -> None:
    outcomes = [
        certificate.TestOutcome.model_validate({"clause": clause, "test": kind, "outcome": kind, "reason": "why"})
        for clause in ("collections.recreate", "lifecycle.independent")
        for kind in kinds
    ]
    environment = certificate.Environment(
        backend="x", target="x", adapter="x", reference="x", client={}, seed=1, cases=1, capabilities={}
    )
    clauses = certificate.judge(outcomes, environment, [], "").clauses
    assert clauses["collections.recreate"].outcome == undeniable
    assert clauses["lifecycle.independent"].outcome == deniable


def test_what_failed_beside_a_verdict_is_told_with_it() -> None:
    file = Path(__file__).parents[2] / "docs/certificates/memory.json"
    made = certificate.Certificate.model_validate_json(file.read_text(encoding="utf-8"))
    assert verdict_of(made) == "CERTIFIED"
    made.clauses["lifecycle.leaks"].outcome = "fail"
    assert "CERTIFIED, BUT lifecycle.leaks FAILED" in verdict_of(made)
