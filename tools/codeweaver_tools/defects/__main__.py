"""``python -m codeweaver_tools.defects``: does the kit notice?"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from codeweaver_tools.defects import load
from codeweaver_tools.defects.mutants import MUTANTS
from codeweaver_tools.defects.nothing import HOPELESS
from codeweaver_tools.defects.runner import Job, Outcome, outcomes

ENOUGH = 0.95
"""The share of defects that must be caught."""

_MEMORY = "memory"
_RIG = f"{__package__}.index_rig:IndexRigPlugin"
_NETWORK = f"{__package__}.network:NetworkPlugin"
_SCANNING = f"{__package__}.scanning:ScanningPlugin"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print the table, write the report."""
    options = _options(arguments)
    planted = load()
    group_of = {one.id: one.group for one in planted.values()} | dict.fromkeys(MUTANTS, "normaliser")
    side_of = {one.id: one.side for one in planted.values()} | dict.fromkeys(MUTANTS, "core")
    sentence_of = {one.id: one.sentence for one in planted.values()} | {
        one.id: one.sentence for one in MUTANTS.values()
    }
    correct, hopeless, wrong = _jobs(options)
    done = {one.job.id: one for one in _watched(_outcomes([*correct, *hopeless, *wrong], options))}
    alarms = [
        one for one in (done[job.id] for job in correct) if one.failures or one.trouble or one.verdict != "certified"
    ]
    fooled = [job.id for job in hopeless if done[job.id].verdict == "certified" or done[job.id].trouble]
    judged = [done[job.id] for job in wrong]
    survivors = [one.job.id for one in judged if not _killed(one)]
    by_class: dict[str, dict[str, int]] = {}
    for one in judged:
        row = by_class.setdefault(group_of[one.job.id], {"total": 0, "killed": 0})
        row["total"] += 1
        row["killed"] += _killed(one)
    report: dict[str, Any] = {
        "order": options.order,
        "total": len(judged),
        "killed": len(judged) - len(survivors),
        "survivors": survivors,
        "false_alarms": [
            {"backend": one.job.id, "clauses": failed[0], "test": failed[1], "reason": failed[2]}
            for one in alarms
            for failed in one.failures or [((), "", one.trouble or one.verdict)]
        ],
        "must_not_be_certified": {job.id: done[job.id].verdict for job in hopeless},
        "by_class": by_class,
        "defects": [
            {
                "id": one.job.id,
                "class": group_of[one.job.id],
                "side": side_of[one.job.id],
                "sentence": sentence_of[one.job.id],
                "killed_by": list(one.failures[0][0]) if one.failures else [],
                "test": one.failures[0][1] if one.failures else "",
                "seconds": round(one.seconds, 2),
                "trouble": one.trouble,
            }
            for one in judged
        ],
    }
    options.report.parent.mkdir(parents=True, exist_ok=True)
    options.report.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    _print(report)
    share = report["killed"] / max(1, report["total"])
    return int(bool(alarms or fooled) or share < ENOUGH)


def _watched(outcomes_: Iterable[Outcome]) -> Iterator[Outcome]:
    """Tell how far it is, one line for each."""
    for number, one in enumerate(outcomes_, 1):
        told = one.trouble[-300:] or ", ".join(one.failures[0][0] if one.failures else [one.verdict])
        sys.stderr.write(f"{number:>4} {one.job.id:36} {one.seconds:6.1f} s  {told}\n")
        yield one


def _outcomes(jobs: Sequence[Job], options: argparse.Namespace) -> Iterator[Outcome]:
    """What came of each job: as an interrupted run noted it, if that is to go on, else as it comes."""
    notes = options.report.with_suffix(f".{options.order}.jsonl")
    notes.parent.mkdir(parents=True, exist_ok=True)
    if not options.resume:
        notes.unlink(missing_ok=True)
    noted = {}
    if notes.is_file():
        for line in notes.read_text(encoding="utf-8").splitlines():
            told = json.loads(line)
            noted[told.pop("id")] = told
    known = [job for job in jobs if job.id in noted]
    yield from (Outcome(job, **noted[job.id]) for job in known)
    with notes.open("a", encoding="utf-8") as file:
        for one in outcomes([job for job in jobs if job.id not in noted], options.jobs):
            told = asdict(one)
            told["id"] = told.pop("job")["id"]
            file.write(json.dumps(told) + "\n")
            file.flush()
            yield one


def _order(word: str) -> str:
    if word not in {"users", "areas"} and not word.isdecimal():
        raise argparse.ArgumentTypeError("must be users, areas, or the seed of a shuffle")
    return word


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"python -m {__package__}", description=__doc__)
    parser.add_argument("--only", default="", metavar="REGEX", help="only defects whose id matches")
    parser.add_argument("--sample", type=int, metavar="N", help="only so many defects, always the same ones")
    parser.add_argument(
        "--order",
        type=_order,
        default="users",
        metavar="users|areas|SEED",
        help="of the suite's tests: as users get them, shuffled, or a defect's own area first (quick, and proves less)",
    )
    parser.add_argument("--resume", action="store_true", help="go on with a run in the same order that was interrupted")
    # Two more than there are cores: some wait for a silent server most of the time.
    parser.add_argument("--jobs", type=int, default=(os.cpu_count() or 2) + 2, help="processes")
    parser.add_argument("--shuffles", type=int, default=1, help="shuffled runs on each correct backend")
    parser.add_argument("--report", type=Path, default=Path("reports/defects.json"))
    return parser.parse_args(arguments)


def _jobs(options: argparse.Namespace) -> tuple[list[Job], list[Job], list[Job]]:
    """Runs on correct backends, on hopeless ones, and on defects; the slow ones of a server first."""
    wrong = [Job(one.id, one.reference, one.areas, needs_server=one.needs_server) for one in load().values()]
    wrong += [Job(one, _MEMORY, ("filters",), mutant=one) for one in MUTANTS]
    wrong = [one for one in wrong if re.search(options.only, one.id)]
    if options.sample is not None:
        wrong = random.Random(0).sample(wrong, min(options.sample, len(wrong)))  # noqa: S311 - a sample, not a secret
    if options.order != "areas":
        shuffle = None if options.order == "users" else int(options.order)
        wrong = [replace(one, areas=(), shuffle=shuffle) for one in wrong]
    wrong.sort(key=lambda one: not one.needs_server)
    correct = [Job("network", _NETWORK, to_the_end=True, needs_server=True), Job("memory", _MEMORY, to_the_end=True)]
    correct.append(Job("rig", _RIG, to_the_end=True))
    correct.append(Job("scanning", _SCANNING, to_the_end=True, needs_server=True))
    for seed in range(options.shuffles):
        correct += [replace(one, id=f"{one.id}, shuffled {seed}", shuffle=seed) for one in correct[:2]]
    hopeless = [Job(name, f"{__package__}.nothing:{name}", to_the_end=True) for name in HOPELESS]
    is_part = options.only or options.sample is not None
    return ([], [], wrong) if is_part else (correct, hopeless, wrong)


def _killed(one: Outcome) -> bool:
    """Caught by a test of a clause; a run that broke down proves nothing."""
    return bool(one.failures and one.failures[0][0]) and not one.trouble


def _print(report: dict[str, Any]) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("defect", "class", "side", "killed by", "s"):
        table.add_column(heading, justify="right" if heading == "s" else "left", no_wrap=heading == "defect")
    for one in sorted(report["defects"], key=lambda row: (row["class"], row["id"])):
        killed = ", ".join(one["killed_by"]) or f"[bold red]SURVIVED[/] {one['trouble'][-200:]}"
        table.add_row(one["id"], one["class"], one["side"], killed, f"{one['seconds']:.1f}")
    console = Console()
    console.print(table)
    for name, row in sorted(report["by_class"].items()):
        console.print(f"{name:14} {row['killed']:>4} of {row['total']}")
    for alarm in report["false_alarms"]:
        console.print("[bold red]false alarm[/] on", *alarm.values())
    for name, verdict in report["must_not_be_certified"].items():
        console.print(f"{name}: {verdict}", style="bold red" if verdict == "certified" else "")
    console.print(
        f"{report['killed']} of {report['total']} killed, {len(report['survivors'])} survived, "
        f"{len(report['false_alarms'])} false alarms"
    )


if __name__ == "__main__":
    sys.exit(main())
