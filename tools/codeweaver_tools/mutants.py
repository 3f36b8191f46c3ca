"""``python -m codeweaver_tools.mutants``: operators of the code changed one at a time; does the suite notice?

Cosmic Ray makes the mutants. Of each kind of change one is taken at a place, of those a seeded sample, and each is
judged by the conformance suite alone, as a user runs it: killed if a clause fails. A mutant is written into a copy of
its package, which stands before the installed one on the path, in other processes of a test too.

What survives is printed as a diff. ``EQUIVALENT`` names those that no call can tell from the code as it is, and why.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import importlib.util
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from cosmic_ray.commands import init
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator
from cosmic_ray.work_db import use_db
from cosmic_ray.work_item import MutationSpec

from codeweaver_tools.mutants_equivalent import EQUIVALENT

__all__ = ["GROUPS", "Group", "Mutant", "main", "mutants_of"]

ENOUGH = 0.9
"""The share of the mutants that are not equivalent which must be killed."""

_HOURGLASS = 900.0
"""Seconds after which a run counts as hanging, and the mutant as killed: each test has its own time besides."""


@dataclass(frozen=True, slots=True)
class Group:
    """Modules of one package, and the targets whose suites judge them: the next one what the one before let live."""

    targets: tuple[str, ...]
    package: str
    modules: dict[str, str]
    """By the areas whose tests come first, if any: a mutant is killed the sooner, and not the more."""
    sample: int


GROUPS = {
    "memory": Group(
        ("memory",), "codeweaver_backends", {"memory/backend.py": "", "memory/store.py": "transactions"}, 30
    ),
    "template": Group(("memory", "pgvector"), "codeweaver_backends", {"sdk/template.py": ""}, 24),
    "pgvector": Group(("pgvector",), "codeweaver_pgvector", {"dialect.py": "filters"}, 12),
    "qdrant": Group(("qdrant-edge",), "codeweaver_qdrant", {"dialect.py": "filters"}, 12),
}


@dataclass(frozen=True, slots=True)
class Mutant:
    """One module with one change."""

    group: str
    module: str
    definition: str
    kind: str
    """Cosmic Ray's operator."""
    line: int
    source: str
    change: str
    """The changed lines, as a diff without its heads."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a mutant: ``killed``, ``survived``, ``hangs``, or ``broken``: it cannot be loaded at all."""

    mutant: Mutant
    outcome: str
    clauses: tuple[str, ...]
    test: str
    seconds: float


# --- making them -----------------------------------------------------------------------------------------------------


def mutants_of(name: str, seed: int) -> Iterator[Mutant]:
    """The mutants of a group that are other programs, one of each kind of change at a place, in a seeded order."""
    group, chosen = GROUPS[name], random.Random(seed)  # noqa: S311 - reproducible, not secret
    places: dict[tuple[str, tuple[int, int], str], list[MutationSpec]] = {}
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder, use_db(f"{folder}/session.sqlite") as session:
        init([_folder(group.package) / module for module in group.modules], session, {})
        for one in (mutation for item in session.work_items for mutation in item.mutations):
            kind = one.operator_name.partition("/")[2].partition("_")[0]
            places.setdefault((str(one.module_path), one.start_pos, kind), []).append(one)
    ordered = [sorted(places[key], key=lambda spec: (spec.operator_name, spec.occurrence)) for key in sorted(places)]
    chosen.shuffle(ordered)
    for alike in ordered:
        chosen.shuffle(alike)
        mutant = next((made for made in (_made(name, one) for one in alike) if made), None)
        if mutant:
            yield mutant


def _made(name: str, one: MutationSpec) -> Mutant | None:
    """The mutant; ``None`` for what is no program, or the same: an annotation was changed."""
    original = one.module_path.read_text(encoding="utf-8")
    source = mutate_code(original, get_operator(one.operator_name)(), one.occurrence)
    if source is None or _meaning(source) in (None, _meaning(original)):
        return None
    module = one.module_path.relative_to(_folder(GROUPS[name].package)).as_posix()
    kind = one.operator_name.partition("/")[2]
    return Mutant(name, module, one.definition_name or "", kind, one.start_pos[0], source, _change(original, source))


def _folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"{package} is not installed: its mutants need it")
    return Path(spec.origin).parent


class _Bare(ast.NodeTransformer):
    """Takes annotations and docstrings away: nothing that runs reads them."""

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        self.generic_visit(node)
        return ast.AnnAssign(node.target, ast.Constant(0), node.value, node.simple)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        return ast.arg(node.arg)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)


def _meaning(source: str) -> str | None:
    """What two equal programs have in common; ``None`` for what is no program."""
    try:
        return ast.dump(_Bare().visit(ast.parse(source)))
    except SyntaxError:
        return None


def _change(original: str, source: str) -> str:
    lines = difflib.unified_diff(original.splitlines(), source.splitlines(), lineterm="", n=0)
    return "\n".join(line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---"))


# --- judging them ----------------------------------------------------------------------------------------------------


def judged(mutant: Mutant) -> Outcome:
    """Run the suites on a mutant, to the first failure."""
    group = GROUPS[mutant.group]
    started = time.monotonic()
    outcome, test = "survived", ""
    clauses: tuple[str, ...] = ()
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        copy = Path(folder, "path", group.package)
        shutil.copytree(_folder(group.package), copy, ignore=shutil.ignore_patterns("__pycache__"))
        (copy / mutant.module).write_text(mutant.source, encoding="utf-8")
        for target in group.targets:
            outcome, clauses, test = _judged_by(target, group.modules[mutant.module], Path(folder), copy.parent)
            if outcome != "survived":
                break
    return Outcome(mutant, outcome, clauses, test, time.monotonic() - started)


def _judged_by(target: str, first: str, folder: Path, path: Path) -> tuple[str, tuple[str, ...], str]:
    """What the suite of one target makes of the package on this path: outcome, clauses, test."""
    report = folder / f"{target}.xml"
    paths = os.pathsep.join(filter(None, (str(path), os.environ.get("PYTHONPATH"))))
    try:
        code = subprocess.run(  # noqa: S603 - our own command
            _command(target, first, folder, report),
            cwd=folder,
            env={**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            timeout=_HOURGLASS,
            check=False,
        ).returncode
    except subprocess.TimeoutExpired:
        return "hangs", (), ""
    clauses, test = _failed(report)
    # Neither passed nor failed: the module cannot be imported, or the backend cannot be opened. Nobody certifies it.
    return "survived" if code == 0 else "killed" if code == 1 and clauses else "broken", clauses, test


def _command(target: str, first: str, folder: Path, report: Path) -> list[str]:
    command = [sys.executable, "-m", "pytest", "--pyargs", "codeweaver_conformance.suite", "-x", "-q", "--tb=line"]
    command += ["-c", os.devnull, "--rootdir", str(folder), "-p", "no:cacheprovider", f"--junit-xml={report}"]
    command += [f"--cw-backend={target}", f"--cw-report={folder / 'certificates'}"]
    command += ["--cw-require", "--cw-shrink=0", "--cw-timeout=30"]
    return [*command, f"--cw-first={first}"] if first else command


def _failed(report: Path) -> tuple[tuple[str, ...], str]:
    """The clauses and the name of the first test that failed."""
    if not report.is_file():
        return (), ""
    for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314 - pytest has written it
        for failure in (*case.iter("failure"), *case.iter("error")):
            told = f"{failure.get('message')}\n{failure.text}"
            clauses = dict.fromkeys(re.findall(r"^clause ([a-z0-9.-]+):", told, re.MULTILINE))
            return tuple(clauses), case.get("name", "")
    return (), ""


# --- the command -----------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Sample, judge, print, and write the report."""
    parser = argparse.ArgumentParser(prog="python -m codeweaver_tools.mutants", description=__doc__)
    parser.add_argument(
        "groups", nargs="*", default=list(GROUPS), help=f"of {', '.join(GROUPS)}; all of them if absent"
    )
    parser.add_argument("--seed", type=int, default=17, help="of the sample")
    parser.add_argument(
        "--only", default="", metavar="REGEX", help="only those of the sample whose place or diff matches"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 2, help="runs of the suite at once")
    parser.add_argument("--list", action="store_true", help="show the sample, and run nothing")
    parser.add_argument("--report", type=Path, default=Path("reports/mutants.json"))
    options = parser.parse_args(arguments)
    sampled = [one for name in options.groups for one in _sample(name, options.seed)]
    sampled = [one for one in sampled if re.search(options.only, f"{one.module}:{one.line}\n{one.change}")]
    if options.list:
        for one in sampled:
            sys.stdout.write(f"{one.module}:{one.line} {one.definition} {one.kind}\n{one.change}\n")
        return 0
    with ThreadPoolExecutor(options.jobs) as pool:
        done = list(_watched(pool.map(judged, sampled)))
    report = _report(done, options)
    options.report.parent.mkdir(parents=True, exist_ok=True)
    options.report.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    for name, row in report["groups"].items():
        sys.stdout.write(f"{name}: {row}\n")
    return int(any(row["rate"] < ENOUGH for row in report["groups"].values()))


def _sample(name: str, seed: int) -> list[Mutant]:
    return sorted(islice(mutants_of(name, seed), GROUPS[name].sample), key=lambda one: (one.module, one.line))


def _watched(outcomes: Iterable[Outcome]) -> Iterator[Outcome]:
    for one in outcomes:
        mutant = one.mutant
        told = ", ".join(one.clauses) or one.outcome
        if one.outcome == "survived":
            told = "EQUIVALENT" if _argued(mutant) else "SURVIVED"
        sys.stdout.write(f"{one.seconds:6.1f} s  {mutant.module}:{mutant.line} {mutant.definition} {told}\n")
        if one.outcome != "killed":
            sys.stdout.write(f"{mutant.change}\n")
        sys.stdout.flush()
        yield one


def _argued(mutant: Mutant) -> str:
    """Why a mutant is equivalent; empty where nobody has said so."""
    return EQUIVALENT.get((mutant.module, mutant.change), "")


def _report(done: Sequence[Outcome], options: argparse.Namespace) -> dict[str, Any]:
    groups: dict[str, Any] = {}
    for name in options.groups:
        own = [one for one in done if one.mutant.group == name and one.outcome != "broken"]
        noticed = sum(one.outcome in ("killed", "hangs") for one in own)
        equivalent = sum(one.outcome == "survived" and bool(_argued(one.mutant)) for one in own)
        groups[name] = {
            "mutants": len(own),
            "killed": noticed,
            "equivalent": equivalent,
            "rate": round(noticed / max(1, len(own) - equivalent), 3),
        }
    rows = [
        {
            "group": one.mutant.group,
            "module": one.mutant.module,
            "line": one.mutant.line,
            "definition": one.mutant.definition,
            "kind": one.mutant.kind,
            "change": one.mutant.change,
            "outcome": one.outcome,
            "equivalent": _argued(one.mutant),
            "clauses": list(one.clauses),
            "test": one.test,
            "seconds": round(one.seconds, 1),
        }
        for one in done
    ]
    return {
        "groups": groups,
        "sample": {"seed": options.seed},
        "mutants": {str(at): row for at, row in enumerate(rows)},
    }


if __name__ == "__main__":
    sys.exit(main())
