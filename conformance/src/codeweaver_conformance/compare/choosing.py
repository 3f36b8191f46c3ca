"""Choosing: reject what cannot do the job, measure the rest at two sizes, rank what is left.

``choose`` is the whole of it; the command and the reports only show what it found.
"""

from __future__ import annotations

import datetime
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import orjson

from codeweaver_conformance.compare.apart import measure_apart
from codeweaver_conformance.compare.dataset import Dataset
from codeweaver_conformance.compare.embed import MODEL
from codeweaver_conformance.compare.engines import Engine
from codeweaver_conformance.compare.measure import Measurement, judge
from codeweaver_conformance.compare.ranking import FIGURES, Candidate, beyond_limits, carried_on, rank
from codeweaver_conformance.compare.reading import Progress
from codeweaver_conformance.compare.report import verdict_of_engine
from codeweaver_conformance.compare.requirements import Requirements, shortcomings
from codeweaver_conformance.compare.workload import LIMIT, Workload

__all__ = ["FORMAT", "Choice", "choose"]

FORMAT: Final = "codeweaver-choice/1"
_SMALLER: Final = 4
"""The smaller size is this part of the larger one."""


@dataclass(slots=True)
class Choice:
    """What was found out."""

    needs: Requirements
    asked: Requirements
    """``needs`` before the data completed it."""
    data: Dataset
    sizes: tuple[int, ...]
    candidates: list[Candidate]
    ranked: list[Candidate]
    left_out: Mapping[str, str]
    """Targets whose plugin cannot be loaded, with the reason."""
    command: str
    """What gives this report again."""
    created: str

    @property
    def best(self) -> Candidate | None:
        """The one to take; ``None`` if none can do the job, or if it is to be doubted of all."""
        return self.ranked[0] if self.ranked and not self.ranked[0].doubts else None

    @property
    def rejected(self) -> list[Candidate]:
        """Those that cannot do it."""
        return [one for one in self.candidates if one.rejected]

    @property
    def missing(self) -> list[Candidate]:
        """Those that might, and could not be had here."""
        return [one for one in self.candidates if one.missing and not one.rejected]

    @property
    def verdict(self) -> str:
        """The first sentence of the report."""
        if self.best is not None:
            able = sum(not one.doubts for one in self.ranked)
            place = (
                f"the best of {able} that"
                if able > 1
                else "the only one measured that"
                if self.missing
                else "the only one that"
            )
            return f"Take {self.best.name}, {place} can do it."
        if self.ranked:
            nearest = self.ranked[0]
            return (
                f"None is shown to do it with {self.needs.points:,} points. {nearest.name} comes nearest, and is in "
                f"doubt: {'; '.join(nearest.doubts)}, carried on from {nearest.last.points:,}. Measure with more."
            )
        if self.missing:
            names = ", ".join(one.name for one in self.missing)
            return f"None that could be measured here can do it; not tried: {names}."
        return "None of the installed backends can do it."

    def unverified(self) -> list[str]:
        """What a reader must not take as proved."""
        told = list(self.data.notes)
        points, largest = self.needs.points or 0, self.sizes[-1]
        if points > largest:
            told.append(
                f"More than {largest:,} points: {points:,} are asked for; what is said of them is extrapolated."
            )
        told += [f"{one.name} was not measured: {one.missing}" for one in self.missing]
        told += [f"{name} was left out: {reason}" for name, reason in self.left_out.items()]
        for one in self.ranked:
            if one.verdict.verdict != "certified":
                told.append(
                    f"That {one.name} keeps the contract: its verdict here is “{one.verdict.verdict}”. "
                    f"codeweaver-backends certify {one.name} would tell."
                )
            told += [f"{one.name}: {text}" for text in one.verdict.notes]
            if one.last.memory_bytes is None:
                told.append(f"The memory of {one.name}: this system does not tell it.")
            elif one.is_server and not one.last.has_server_memory:
                told.append(f"The memory of {one.name}'s server, which was not started here; only the client's is.")
            if one.last.disk_bytes is None and one.is_persistent:
                told.append(f"The space that {one.name} takes on the disk: it is not a folder of this machine.")
        if self.needs.hybrid:
            told.append("The speed of hybrid searches; only that they are offered.")
        if self.needs.transactions:
            told.append("The speed of transactions; only that they are offered.")
        if self.needs.processes > 1:
            told.append(f"{self.needs.processes} processes at once; only that several may have the data open.")
        if any(one.is_server for one in self.ranked):
            told.append("The network: servers were measured on this machine, and yours may be farther away.")
        return told

    def at_required(self, one: Candidate) -> dict[str, float]:
        """The figures carried on to the number of points that is asked for, by how they grew, if it is larger."""
        return carried_on(one, self.needs.points or 0)

    def as_json(self) -> dict[str, Any]:
        """The whole of it. ``format`` names the version."""
        return {
            "ok": self.best is not None,
            "format": FORMAT,
            "created": self.created,
            "python": platform.python_version(),
            "platform": f"{platform.system()} {platform.machine()}",
            "model": MODEL,
            "verdict": self.verdict,
            "best": self.best.name if self.best else None,
            "ranked": [one.name for one in self.ranked],
            "requirements": self.needs.model_dump(mode="json"),
            "asked": self.asked.told(),
            "data": {"title": self.data.title, **self.data.about},
            "sizes": list(self.sizes),
            "dimension": self.data.dimension,
            "metric": self.data.metric.value,
            "limit": LIMIT,
            "queries": list(self.data.queries),
            "filters": [one.label for one in self.data.filters],
            "candidates": [
                {**one.as_json(), "at_required": self.at_required(one) if one.measured else {}}
                for one in self.candidates
            ],
            "left_out": dict(self.left_out),
            "unverified": self.unverified(),
            "reproduce": self.command,
        }


def choose(
    engines: Sequence[Engine],
    needs: Requirements,
    data: Dataset,
    progress: Progress,
    *,
    certificates: Sequence[Path],
    settings: Mapping[str, Mapping[str, str]] | None = None,
    config: Path | None = None,
    left_out: Mapping[str, str] | None = None,
    command: str = "",
) -> Choice:
    """Judge, measure and rank. Each engine is measured in a process of its own, one after the other."""
    asked, needs, data = needs, _completed(needs, data), _fitted(needs, data)
    sizes = _sizes(len(data))
    candidates = [_candidate(engine, needs, certificates) for engine in engines]
    for size in sizes:
        part = data.sample(size)
        workload = Workload(part)
        for one in candidates:
            if one.rejected or one.missing:
                continue
            result = measure_apart(one.engine, settings or {}, config, part, needs, progress)
            judge(result, workload)
            _note(one, result, needs, is_last=size == sizes[-1])
    created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    ranked = rank(candidates, needs)
    return Choice(needs, asked, data, sizes, candidates, ranked, left_out or {}, command, created)


def _completed(needs: Requirements, data: Dataset) -> Requirements:
    """What was not said, as the data has it."""
    largest = max((len(orjson.dumps(payload)) for payload in data.payloads), default=2)
    return needs.model_copy(
        update={
            "points": needs.points or int(data.about.get("of", len(data))),
            "dimension": needs.dimension or data.dimension,
            "metrics": needs.metrics or (data.metric,),
            "payload_bytes": max(needs.payload_bytes or 0, largest),
        }
    )


def _fitted(needs: Requirements, data: Dataset) -> Dataset:
    """The data with the metric and the dimension that are asked for, and no more points than that."""
    if needs.metrics and needs.metrics[0] is not data.metric:
        data = replace(data, metric=needs.metrics[0])
    return data.sample(needs.points or len(data)).with_dimension(needs.dimension or data.dimension)


def _sizes(points: int) -> tuple[int, ...]:
    return (points // _SMALLER, points) if points >= 2 * _SMALLER else (points,)


def _candidate(engine: Engine, needs: Requirements, certificates: Sequence[Path]) -> Candidate:
    claims, is_server, is_persistent = engine.claims, engine.is_server, engine.is_persistent
    verdict = verdict_of_engine(engine, *certificates)
    one = Candidate(engine, verdict, is_server, is_persistent)
    one.rejected += shortcomings(needs, claims, is_server, is_persistent)
    if verdict.verdict == "failed":
        one.rejected.append("its certificate says that it does not keep the contract")
    return one


def _note(one: Candidate, result: Measurement, needs: Requirements, *, is_last: bool) -> None:
    """Add the measurement, and what it says against the candidate."""
    if result.is_missing:
        one.missing = result.error or ""
    elif result.is_unfit:
        one.rejected.append(f"{result.error} (as the connected engine states)")
    elif result.error is not None:
        one.rejected.append(f"it failed with {result.points:,} points here: {result.error}")
    else:
        one.measured.append(result)
        if is_last:
            one.rejected += _misses(result, needs)


def _misses(result: Measurement, needs: Requirements) -> list[str]:
    told = []
    at = f"with {result.points:,} points"
    if result.altered:
        told.append(f"{result.altered} results {at} have not the payload that was written")
    if result.inexact and (result.exact_size or 0) >= result.points:
        told.append(f"{result.inexact} answers {at} are not the exact ones, which it promises for so many")
    for kind, recall in (("searches", result.recall), ("filtered searches", result.filtered_recall)):
        if recall is not None and recall < needs.recall:
            told.append(f"its {kind} {at} find {recall:.3f} of the exact answers, and {needs.recall:g} are asked for")
    figures = {name: figure.of(result) for name, figure in FIGURES.items()}
    return [*told, *(f"{at}: {beyond}" for beyond in beyond_limits(figures, needs))]
