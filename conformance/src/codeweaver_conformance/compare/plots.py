"""The report's pictures: SVG that stands in the page, with its colours and letters from the page's style.

Each is as wide as a phone, so that letters keep their size there; a wide page sets them side by side.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from codeweaver_conformance.compare.choosing import Choice
from codeweaver_conformance.compare.ranking import FIGURES, Candidate, milliseconds

__all__ = ["distribution", "growth_of_latency", "latency_against_recall"]

WIDTH: Final = 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 12, 36
_LINE: Final = 14
"""From one label to the next."""
_LETTER: Final = 6.6
"""About the width of a letter."""
_COLOURS: Final = 8
"""So many there are in the page's style."""


@dataclass(frozen=True, slots=True)
class _Scale:
    """From values to places."""

    low: float
    high: float
    start: float
    end: float
    is_log: bool = True

    def __call__(self, value: float) -> float:
        one, low, high = (math.log(x) if self.is_log else x for x in (value, self.low, self.high))
        return self.start + (self.end - self.start) * (one - low) / (high - low)

    def ticks(self) -> list[float]:
        """Round values, three at least where there is room."""
        if not self.is_log:
            step = (self.high - self.low) / 4
            return [self.low + step * number for number in range(5)]
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7)):
            found = [step * 10.0**decade for decade in decades for step in steps]
            found = [one for one in found if self.low * 0.999 <= one <= self.high * 1.001]
            if len(found) >= 3:
                break
        return found


def _log_scale(values: Sequence[float], start: float, end: float) -> _Scale:
    low, high = min(values), max(values)
    room = max(1.15, (high / low) ** 0.06)
    return _Scale(low / room, high * room, start, end)


def latency_against_recall(choice: Choice) -> str:
    """p95 and recall of each candidate, searches without a filter filled, with one hollow."""
    shown = [one for one in choice.candidates if one.measured]
    points = [
        (one, recall, latency.p95, latency is one.last.filtered)
        for one in shown
        for recall, latency in ((one.last.recall, one.last.unfiltered), (one.last.filtered_recall, one.last.filtered))
        if recall is not None and latency is not None
    ]
    if not points:
        return ""
    height = 260
    lowest = min(*(recall for _, recall, _, _ in points), choice.needs.recall)
    x = _Scale(lowest - max(0.01, (1 - lowest) * 0.1), 1.0, _LEFT, WIDTH - _RIGHT - 86, is_log=False)
    y = _log_scale([p95 for _, _, p95, _ in points], height - _BOTTOM, _TOP)
    parts = [*_frame(height, x, y, f"recall@{10}", lambda value: f"{value:.3f}")]
    needed = x(choice.needs.recall)
    parts.append(f'<line class="needed" x1="{needed:.1f}" y1="{_TOP}" x2="{needed:.1f}" y2="{height - _BOTTOM}"/>')
    for one, recall, p95, is_filtered in points:
        kind = "hollow" if is_filtered else "filled"
        what = (
            f"{one.name}, {'with a filter' if is_filtered else 'no filter'}: {milliseconds(p95)}, recall {recall:.3f}"
        )
        parts.append(
            f'<circle class="{kind} {_colour(choice, one)}" cx="{x(recall):.1f}" cy="{y(p95):.1f}" r="5">'
            f"<title>{escape(what)}</title></circle>"
        )
    ends = [(one, y(max(p95 for other, _, p95, _ in points if other is one))) for one in shown]
    parts += _labels(choice, ends, WIDTH - _RIGHT - 78, height)
    return _svg(height, "p95 of a search against recall", parts)


def distribution(choice: Choice) -> str:
    """How long searches took: from 5 to 95 per cent a line, from 25 to 75 a box, the median a stroke, 99 a dot."""
    shown = [one for one in _in_order(choice) if one.measured]
    rows = [
        (one, name, latency)
        for one in shown
        for name, latency in (("no filter", one.last.unfiltered), ("filter", one.last.filtered))
        if latency
    ]
    if not rows:
        return ""
    step = 22
    height = _TOP + len(rows) * step + len(shown) * _LINE + _BOTTOM
    x = _log_scale([one for _, _, latency in rows for one in latency.quantiles], _LEFT + 8, WIDTH - _RIGHT)
    parts = list(_grid_x(height, x, _duration))
    place, last = float(_TOP), ""
    for one, name, latency in rows:
        if one.name != last:
            place, last = place + _LINE, one.name
            parts.append(f'<text class="name" x="2" y="{place - 2:.1f}">{escape(one.name)}</text>')
        middle, colour = place + step / 2, _colour(choice, one)
        p5, p25, p50, p75, p95, p99 = (x(value) for value in latency.quantiles)
        what = f"{one.name}, {name}: p50 {milliseconds(latency.p50)}, p95 {milliseconds(latency.p95)}"
        top, width = middle - 6, max(1.0, p75 - p25)
        parts += [
            f"<g><title>{escape(what)}</title>",
            f'<text class="tick" x="2" y="{middle + 4:.1f}">{name}</text>',
            f'<line class="stroke {colour}" x1="{p5:.1f}" x2="{p95:.1f}" y1="{middle:.1f}" y2="{middle:.1f}"/>',
            f'<rect class="box {colour}" x="{p25:.1f}" y="{top:.1f}" width="{width:.1f}" height="12"/>',
            f'<line class="median" x1="{p50:.1f}" x2="{p50:.1f}" y1="{middle - 7:.1f}" y2="{middle + 7:.1f}"/>',
            f'<circle class="filled {colour}" cx="{p99:.1f}" cy="{middle:.1f}" r="2.5"/></g>',
        ]
        place += step
    return _svg(height, "how long searches took", parts)


def growth_of_latency(choice: Choice) -> str:
    """The slower p95 at both sizes, and a dashed line on to the number of points that is asked for."""
    figure = FIGURES["latency"]
    lines = []
    for one in choice.candidates:
        found = [(float(at.points), value) for at in one.measured if (value := figure.of(at))]
        if len(found) > 1:
            carried = choice.at_required(one).get("latency")
            lines.append((one, found, (float(choice.needs.points or 0), carried) if carried else None))
    if not lines:
        return ""
    height = 260
    everything = [point for _, found, more in lines for point in [*found, *([more] if more else [])]]
    x = _log_scale([points for points, _ in everything], _LEFT, WIDTH - _RIGHT - 86)
    y = _log_scale([value for _, value in everything], height - _BOTTOM, _TOP)
    parts = [*_frame(height, x, y, "points", _count)]
    ends = []
    for one, found, more in lines:
        colour = _colour(choice, one)
        parts.append(f'<polyline class="stroke {colour}" points="{_path(found, x, y)}"/>')
        if more:
            parts.append(f'<polyline class="stroke carried {colour}" points="{_path([found[-1], more], x, y)}"/>')
        parts += [
            f'<circle class="filled {colour}" cx="{x(at):.1f}" cy="{y(value):.1f}" r="4">'
            f"<title>{escape(f'{one.name}: {milliseconds(value)} at {at:,.0f} points')}</title></circle>"
            for at, value in found
        ]
        ends.append((one, y((more or found[-1])[1])))
    parts += _labels(choice, ends, WIDTH - _RIGHT - 78, height)
    return _svg(height, "p95 of a search as points grow", parts)


# --- parts -----------------------------------------------------------------------------------------------------------


def _svg(height: float, title: str, parts: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(title)}">{"".join(parts)}</svg>'


def _colour(choice: Choice, one: Candidate) -> str:
    return f"c{_in_order(choice).index(one) % _COLOURS}"


def _in_order(choice: Choice) -> list[Candidate]:
    return [*choice.ranked, *(one for one in choice.candidates if one not in choice.ranked)]


def _path(points: Sequence[tuple[float, float]], x: _Scale, y: _Scale) -> str:
    return " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in points)


def _duration(value: float) -> str:
    """A round one."""
    return f"{value:g} s" if value >= 0.9995 else f"{value * 1_000:.3g} ms"


def _count(value: float) -> str:
    return f"{value / 1e6:g}M" if value >= 1e6 else f"{value / 1e3:g}k" if value >= 1e3 else f"{value:g}"


def _grid_x(height: float, x: _Scale, shown: Callable[[float], str]) -> Iterator[str]:
    base, free = height - _BOTTOM, -math.inf
    for value in x.ticks():
        at, text = x(value), shown(value)
        yield f'<line class="grid" x1="{at:.1f}" y1="{_TOP}" x2="{at:.1f}" y2="{base:.1f}"/>'
        half = len(text) * _LETTER / 2
        middle = min(at, WIDTH - half)
        if middle - half > free:  # labels do not run into each other
            yield f'<text class="tick" text-anchor="middle" x="{middle:.1f}" y="{base + 14:.1f}">{text}</text>'
            free = middle + half + 4


def _frame(height: float, x: _Scale, y: _Scale, below: str, shown: Callable[[float], str]) -> Iterator[str]:
    yield from _grid_x(height, x, shown)
    for value in y.ticks():
        yield f'<line class="grid" x1="{_LEFT}" y1="{y(value):.1f}" x2="{x.end:.1f}" y2="{y(value):.1f}"/>'
        at = f'x="{_LEFT - 5}" y="{y(value) + 4:.1f}"'
        yield f'<text class="tick" text-anchor="end" {at}>{_duration(value)}</text>'
    yield f'<text class="tick" text-anchor="middle" x="{(x.start + x.end) / 2:.1f}" y="{height - 5}">{below}</text>'


def _labels(choice: Choice, ends: Sequence[tuple[Candidate, float]], left: float, height: float) -> Iterator[str]:
    """Names beside where their lines end, moved apart where they would lie on each other."""
    ordered = sorted(ends, key=lambda end: end[1])
    places: list[float] = []
    for _, wanted in ordered:
        places.append(max(wanted, places[-1] + _LINE if places else _TOP))
    limit = height - _BOTTOM
    for number in range(len(places) - 1, -1, -1):
        places[number] = min(places[number], limit)
        limit = places[number] - _LINE
    for (one, _), place in zip(ordered, places, strict=True):
        yield (
            f'<text class="name text {_colour(choice, one)}" x="{left:.1f}" y="{place + 4:.1f}">'
            f"{escape(one.name)}</text>"
        )
