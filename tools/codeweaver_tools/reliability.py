"""The tables of the page on reliability: what was tried, with its figures; and what proves that each fault is mended.

Made of ``docs/reliability/faults.json``, of ``proofs.toml`` beside it and beside each adapter's tests, and of the
certificates. A proof that does not exist, a test or a clause, is an error.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from codeweaver_backends.contract import CLAUSES
from codeweaver_conformance.certificate import Certificate

__all__ = ["cell", "check", "copies", "proofs", "tried"]

_FOLDER: Final = Path("docs", "reliability")
_SAYS: Final[dict[str, Callable[[dict[str, Any]], str]]] = {
    "kills": lambda one: f"{one['kills']} kills, {one['acknowledged']:,} calls{_slow(one)}",
    "sparse": lambda one: f"{one['kills']} kills, {_within(one['within'])}",
    "node": lambda one: f"{one['killed']} killed, {one['cut off']} cut off, {one['acknowledged']:,} calls",
    "disk": lambda one: (
        f"{one['acknowledged']:,} points, {one['seconds until writable']:g} s" if one["wrong"] == 0 else ""
    ),
    "forks": lambda one: f"{one['forks']} forks, {one['acknowledged']:,} points, {_own(one['own'])}",
    "hostile": lambda one: f"{one['values']:,} strings",
    "secrets": lambda one: f"{one['errors']:,} errors" if one["errors"] else one["note"],
}
"""What was tried, by fault."""
_CONCERNS: Final = frozenset({"all", "kept", "embedded", "server", "named"})
_OF_TARGETS: Final = frozenset({"location", "unconcerned"})
"""What a target says of itself, beside its proofs."""


def _slow(one: dict[str, Any]) -> str:
    return "".join(f", {one[word]} {word}" for word in ("late", "healed") if one.get(word))


def _within(calls: dict[str, int]) -> str:
    return ", ".join(f"{count} within `{call}`" for call, count in calls.items())


def _own(outcomes: dict[str, int]) -> str:
    refused = sum(count for outcome, count in outcomes.items() if outcome.startswith("refused"))
    return f"{outcomes.get('right', 0)} children with their own, {refused} refused"


def tried() -> tuple[list[str], list[list[str]]]:
    """Headings and rows: a target's faults."""
    told = _figures()
    rows = [
        [f"`{target}`", *(_tried(faults.get(name), say) for name, say in _SAYS.items())]
        for target, faults in sorted(told.items())
    ]
    return ["target", *_SAYS], rows


def copies() -> tuple[list[str], list[list[str]]]:
    """Headings and rows of the ring of copies, undisturbed and interrupted."""
    told = json.loads((_FOLDER / "ring.json").read_text(encoding="utf-8"))
    rows = [
        [
            f"`{plain['source']}` → `{plain['target']}`",
            *(f"{hop['seconds']:.0f} s, {hop['memory_mb']:,} MB" for hop in (plain, killed)),
            "; ".join(killed["kills"]) or "not interrupted",
            f"**{sum(count for hop in (plain, killed) for count in hop['wrong'].values())}**",
        ]
        for plain, killed in zip(told["undisturbed"], told["interrupted"], strict=True)
    ]
    return [f"{told['points']:,} points", "undisturbed", "interrupted", "by, and when", "points that differ"], rows


def _figures() -> dict[str, dict[str, Any]]:
    figures: dict[str, dict[str, Any]] = json.loads((_FOLDER / "faults.json").read_text(encoding="utf-8"))
    return figures


def _tried(one: dict[str, Any] | None, say: Callable[[dict[str, Any]], str]) -> str:
    if one is None:
        return "not tried"
    if "not verified" in one:
        return f"not verified: {one['not verified']}"
    return f"{say(one)}: **{one['wrong']} wrong**" if one["wrong"] or one.get("errors") != 0 else say(one)


# --- fault by adapter ------------------------------------------------------------------------------------------------


def proofs(certificates: Iterable[Certificate]) -> tuple[list[str], list[list[str]], list[str]]:
    """Headings and rows of the faults by target, and a line for each fault that names what proves it."""
    faults: dict[str, Any] = tomllib.loads((_FOLDER / "proofs.toml").read_text(encoding="utf-8"))
    own = _own_proofs()
    check(faults, own)
    passed = {
        one.environment.target: {name for name, told in one.clauses.items() if told.outcome == "pass"}
        for one in certificates
    }
    figures = _figures()
    rows = [
        [
            f"{number}. {fault['what']}",
            *(cell(name, fault, own[target], figures.get(target, {}), passed.get(target, set())) for target in own),
        ]
        for number, (name, fault) in enumerate(faults.items(), 1)
    ]
    return ["fault", *(f"`{target}`" for target in own)], rows, [*_named(faults, own)]


def _own_proofs() -> dict[str, dict[str, Any]]:
    """What each target says of itself. Its tests are told with the folder that they are in."""
    found: dict[str, dict[str, Any]] = {}
    for file in Path("adapters").glob("*/tests/proofs.toml"):
        for target, told in tomllib.loads(file.read_text(encoding="utf-8")).items():
            found[target] = {
                name: value if name in _OF_TARGETS else [f"{file.parent.as_posix()}/{test}" for test in value]
                for name, value in told.items()
            }
    return dict(sorted(found.items()))


def cell(
    name: str, fault: Mapping[str, Any], own: Mapping[str, Any], figures: Mapping[str, Any], passed: Collection[str]
) -> str:
    """``0`` and the letters of what proves it; what is wrong; that it was not tried; or that it cannot concern it."""
    location = own["location"]
    concerned = {"all", location} | ({"kept"} if location != "memory" else set())
    if name in own.get("unconcerned", ()) or (fault["concerns"] not in concerned and name not in own):
        return "—"
    figure = figures.get(fault.get("run", ""), {})
    if figure.get("wrong"):
        return f"**{figure['wrong']}**"
    letters = {
        "r": "wrong" in figure,
        "c": not set(fault.get("clauses", ())).isdisjoint(passed),
        "t": name in own,
        "s": "tests" in fault,
    }
    told = " ".join(letter for letter, is_there in letters.items() if is_there)
    return f"0 {told}" if told else "not tried"


def _named(faults: Mapping[str, Mapping[str, Any]], own: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for number, (name, fault) in enumerate(faults.items(), 1):
        tests = [*fault.get("tests", ()), *(test for told in own.values() for test in told.get(name, ()))]
        told = [
            *([f"the column *{fault['run']}* above"] if "run" in fault else []),
            *(f"[`{clause}`](contract.md#{clause})" for clause in fault.get("clauses", ())),
            *(f"`{file}` {test}" for file, test in (one.split("::") for one in dict.fromkeys(tests))),
        ]
        yield f"{number}. {'; '.join(told)}"


def check(faults: Mapping[str, Mapping[str, Any]], own: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse what is not there: a proof that nobody can look up is none. Raises ``ValueError``."""
    shared = [test for fault in faults.values() for test in fault.get("tests", ())]
    named = [(name, value) for told in own.values() for name, value in told.items() if name not in _OF_TARGETS]
    unknown = [
        *(clause for fault in faults.values() for clause in fault.get("clauses", ()) if clause not in CLAUSES),
        *(fault["run"] for fault in faults.values() if fault.get("run", "kills") not in _SAYS),
        *(fault["concerns"] for fault in faults.values() if fault["concerns"] not in _CONCERNS),
        *(name for name, _ in named if name not in faults),
        *(test for test in (*shared, *(test for _, tests in named for test in tests)) if not _exists(test)),
    ]
    if unknown:
        raise ValueError(f"proofs that are not there: {', '.join(unknown)}")


@cache
def _exists(test: str) -> bool:
    file, _, name = test.partition("::")
    path = Path(file)
    return path.is_file() and re.search(rf"^(async )?def {name}\(", path.read_text("utf-8"), re.MULTILINE) is not None
