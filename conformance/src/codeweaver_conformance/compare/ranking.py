"""From measurements to an order, and the reasons for each place.

Verdicts come first: what is certified stands before what is not. Then counts what the user prefers, and after that the
others, one by one. Figures within a quarter of the best are one: a place is not won by noise. So the candidates fall
into groups, and within a group the next figure decides.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from codeweaver_conformance.compare.engines import Engine
from codeweaver_conformance.compare.measure import Measurement
from codeweaver_conformance.compare.report import Verdict
from codeweaver_conformance.compare.requirements import Requirements

__all__ = [
    "FIGURES",
    "Candidate",
    "Figure",
    "beyond_limits",
    "carried_on",
    "growth",
    "megabytes",
    "milliseconds",
    "rank",
]

_NOISE: Final = 1.25


@dataclass(frozen=True, slots=True)
class Figure:
    """Something measured, of which less is better."""

    name: str
    label: str
    of: Callable[[Measurement], float | None]
    shown: Callable[[float], str]
    better: str
    """``faster``, ``smaller``."""


def _worst_p95(one: Measurement) -> float | None:
    told = [latency.p95 for latency in (one.unfiltered, one.filtered) if latency]
    return max(told, default=None)


def _ingest(one: Measurement) -> float | None:
    return one.ingest_seconds / one.points if one.ingest_seconds and one.points else None


def megabytes(value: float) -> str:
    """Bytes, for people."""
    return f"{value / 1e6:,.1f} MB" if value < 10e6 else f"{value / 1e6:,.0f} MB"


def milliseconds(value: float) -> str:
    """Seconds, for people."""
    ms = value * 1_000
    if ms >= 9_999.5:
        return f"{value:,.1f} s"
    return f"{ms:.2f} ms" if ms < 1 else f"{ms:.1f} ms" if ms < 100 else f"{ms:,.0f} ms"


FIGURES: Final = {
    "latency": Figure(
        "latency", "p95 of a search, the slower of filtered and not,", _worst_p95, milliseconds, "faster to search"
    ),
    "ingest": Figure("ingest", "writing", _ingest, lambda x: f"{1 / x:,.0f}/s", "faster to fill"),
    "memory": Figure("memory", "memory", lambda one: one.memory_bytes, megabytes, "smaller in memory"),
    "disk": Figure("disk", "disk", lambda one: one.disk_bytes, megabytes, "smaller on disk"),
}


_LIMITS: Final = (
    ("latency", "p95_ms", 1_000, "ms"),
    ("memory", "memory_mb", 1e-6, "MB"),
    ("disk", "disk_mb", 1e-6, "MB"),
)
"""Figures that a requirement bounds: its name, what makes of a figure its unit, and the unit."""


@dataclass(slots=True)
class Candidate:
    """One engine that was looked at, and what became of it."""

    engine: Engine
    verdict: Verdict
    is_server: bool
    is_persistent: bool
    rejected: list[str] = field(default_factory=list)
    """Why it cannot do the job."""
    missing: str = ""
    """Why it could not be measured here, though nothing is known to stand against it."""
    measured: list[Measurement] = field(default_factory=list)
    """By size, the smaller first."""
    doubts: list[str] = field(default_factory=list)
    """What would stand against it with all of the points that are asked for, where fewer were measured."""
    reasons: list[str] = field(default_factory=list)
    """For its place."""

    @property
    def name(self) -> str:
        """The engine's."""
        return self.engine.name

    @property
    def is_fit(self) -> bool:
        """Whether it was measured and nothing stands against it."""
        return bool(self.measured) and not self.rejected and not self.missing

    @property
    def last(self) -> Measurement:
        """With all points."""
        return self.measured[-1]

    def as_json(self) -> dict[str, Any]:
        """Everything."""
        return {
            "name": self.name,
            "backend": self.engine.backend,
            "distribution": self.engine.distribution,
            "is_server": self.is_server,
            "is_persistent": self.is_persistent,
            "verdict": self.verdict.verdict,
            "verified": self.verdict.created,
            "rejected": self.rejected,
            "missing": self.missing,
            "doubts": self.doubts,
            "reasons": self.reasons,
            "measured": [one.as_json() for one in self.measured],
            "growth": {name: growth(self, one) for name, one in FIGURES.items()},
        }


def growth(candidate: Candidate, figure: Figure) -> float | None:
    """By what power of the number of points a figure grew between the two sizes: 0 not at all, 1 in proportion."""
    if len(candidate.measured) < 2:
        return None
    small, large = candidate.measured[0], candidate.measured[-1]
    before, after = figure.of(small), figure.of(large)
    if not before or not after or small.points >= large.points:
        return None
    return math.log(after / before) / math.log(large.points / small.points)


def carried_on(candidate: Candidate, points: int) -> dict[str, float]:
    """The figures carried on to so many points, by how they grew between the two sizes, if those are more."""
    last, found = candidate.last, dict[str, float]()
    for name, figure in FIGURES.items():
        power, value = growth(candidate, figure), figure.of(last)
        if power is not None and value is not None and points > last.points:
            found[name] = value * (points / last.points) ** max(0.0, power)
    return found


def beyond_limits(figures: Mapping[str, float | None], needs: Requirements) -> Iterator[str]:
    """The figures that are more than what is allowed, in words."""
    for name, requirement, factor, unit in _LIMITS:
        value, most = figures.get(name), getattr(needs, requirement)
        if value is not None and most is not None and value * factor > most:
            yield f"{FIGURES[name].label} {value * factor:,.1f} {unit}, where {most:g} are allowed"


def rank(candidates: Sequence[Candidate], needs: Requirements) -> list[Candidate]:
    """Those that are fit, the best first, with the reasons for their places; at the end those in doubt."""
    order = [needs.prefer, *(name for name in FIGURES if name != needs.prefer)]
    fit = [one for one in candidates if one.is_fit]
    for one in fit:
        one.reasons = list(_own_reasons(one, needs))
        one.doubts = list(beyond_limits(carried_on(one, needs.points or 0), needs))
        one.reasons += [f"carried on to {needs.points:,} points: {doubt}" for doubt in one.doubts]
    sound, doubtful = ([one for one in fit if bool(one.doubts) is doubted] for doubted in (False, True))
    if sound:
        for one in doubtful:
            one.reasons.append(f"behind {', '.join(first.name for first in sound)}: what may not do comes last")
    return [*_by_trust(sound, order), *_by_trust(doubtful, order)]


def _by_trust(group: list[Candidate], order: Sequence[str]) -> list[Candidate]:
    trusted = [one for one in group if _is_trusted(one)]
    others = [one for one in group if not _is_trusted(one)]
    if trusted:
        for one in others:
            one.reasons.append(f"behind {', '.join(first.name for first in trusted)}: certified comes first")
    return [*_ordered(trusted, order), *_ordered(others, order)]


def _is_trusted(one: Candidate) -> bool:
    return one.verdict.verdict == "certified"


def _ordered(group: list[Candidate], order: Sequence[str]) -> list[Candidate]:
    if len(group) < 2 or not order:
        return sorted(group, key=lambda one: one.name)
    figure, value = FIGURES[order[0]], {one.name: _known(one, order[0]) for one in group}
    left, found = sorted(group, key=lambda one: value[one.name]), list[Candidate]()
    first = left[0]
    while left:
        best = value[left[0].name]
        equals = [one for one in left if value[one.name] <= best * _NOISE or math.isinf(best)]
        if found:
            for one in equals:
                one.reasons.append(_why_behind(first, value[first.name], value[one.name], figure))
        found += _ordered(equals, order[1:])
        left = [one for one in left if one not in equals]
    return found


def _why_behind(first: Candidate, best: float, value: float, figure: Figure) -> str:
    if math.isinf(value):
        return f"behind {first.name}: how it stands in {figure.label} is not known"
    return f"behind {first.name}, which is {value / best:.1f} times {figure.better}"


def _known(one: Candidate, name: str) -> float:
    """The figure; what is not known does not win."""
    value = FIGURES[name].of(one.last)
    return math.inf if value is None else value


def _own_reasons(one: Candidate, needs: Requirements) -> list[str]:
    last = one.last
    day = f", {one.verdict.created[:10]}" if one.verdict.created else ""
    told = [f"{one.verdict.verdict}{day}"]
    found = min(recall for recall in (last.recall, last.filtered_recall) if recall is not None)
    exact = last.exact_size or 0
    only = "" if needs.points is None or exact >= needs.points else f", not to {needs.points:,}"
    told.append(f"recall {found:.3f} measured; exact answers are promised up to {exact:,} points{only}")
    figures = [
        f"{figure.label} {figure.shown(value)}" for figure in FIGURES.values() if (value := figure.of(last)) is not None
    ]
    return [*told, f"at {last.points:,} points: {', '.join(figures)}"]
