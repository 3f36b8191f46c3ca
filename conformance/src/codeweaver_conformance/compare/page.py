"""The report of a choice: one page of HTML that needs nothing else, Markdown, JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from codeweaver_backends import CodeWeaverFactory
from codeweaver_backends.errors import InvalidOptionError
from codeweaver_conformance.certificate import versions_of
from codeweaver_conformance.compare import plots
from codeweaver_conformance.compare.choosing import Choice
from codeweaver_conformance.compare.embed import MODEL
from codeweaver_conformance.compare.ranking import FIGURES, Candidate, growth, megabytes, milliseconds
from codeweaver_conformance.compare.workload import LIMIT

__all__ = ["FORMATS", "HEADINGS", "PROJECTED", "matrix", "projection", "render", "write"]

FORMATS: Final = (".html", ".md", ".json")
HEADINGS: Final = (
    "backend", "verdict", "runs", "exact up to", "written/s", "p50", "p95", "p99", "filtered p95", f"recall@{LIMIT}",
    "filtered recall", "memory", "disk", "growth",
)  # fmt: skip
PROJECTED: Final = ("backend", "slower p95", "written/s", "memory", "disk")
"""Of a search, with a filter or without; the order is that of ``FIGURES``."""
_NONE: Final = "–"


@dataclass(frozen=True, slots=True)
class Cell:
    """A text, and the class of the page's style for it."""

    text: str
    kind: str = ""


def write(choice: Choice, file: Path) -> None:
    """Write the report in the format of the file's ending; it appears when it is whole.

    Raises ``InvalidOptionError`` for another ending, ``OSError`` where it cannot be written.
    """
    text = render(choice, file.suffix.lower())
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


def render(choice: Choice, ending: str) -> str:
    """The report as text: ``.html``, ``.md`` or ``.json``."""
    if ending == ".json":
        return json.dumps(choice.as_json(), indent=2, ensure_ascii=False) + "\n"
    if ending not in FORMATS:
        raise InvalidOptionError(f"a report ends in {', '.join(FORMATS)}, not in {ending!r}")
    environment = Environment(
        loader=PackageLoader("codeweaver_conformance.compare"),
        autoescape=ending == ".html",  # noqa: S701 - Markdown is no HTML
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["cell"] = lambda text: str(text).replace("|", "\\|")
    return environment.get_template(f"choice{ending}.j2").render(_context(choice))


def _context(choice: Choice) -> dict[str, Any]:
    return {
        "choice": choice,
        "asked": list(_asked(choice)),
        "headline": list(_headline(choice)),
        "contrast": _contrast(choice),
        "headings": HEADINGS,
        "rows": matrix(choice),
        "projected": PROJECTED,
        "projection": projection(choice),
        "sizes": " and ".join(f"{size:,}" for size in choice.sizes),
        "preferred": FIGURES[choice.needs.prefer].label.rstrip(","),
        "plots": list(_plots(choice)),
        "unverified": choice.unverified(),
        "versions": list(dict.fromkeys(_version(one) for one in choice.candidates if one.measured)),
        "model": "" if "file" in choice.data.about else MODEL,
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors, Python "
        f"{platform.python_version()}",
    }


def _version(one: Candidate) -> str:
    """The adapter, with the client that its plugin asks for, and the engine where that tells its version."""
    plugin = CodeWeaverFactory().get_registration(one.engine.backend).plugin
    clients = versions_of(getattr(plugin, "get_dependencies", list)())
    told = [*(f"{name} {version}" for name, version in clients.items()), one.last.server_version or ""]
    return one.engine.distribution + (f" ({', '.join(filter(None, told))})" if any(told) else "")


def _asked(choice: Choice) -> Iterator[str]:
    told = choice.asked.told()
    if not told:
        yield "Nothing in particular: the best for these points."
    fields = type(choice.asked).model_fields
    for name, value in told.items():
        shown = ", ".join(map(str, value)) if isinstance(value, list) else value
        shown = f"{shown:,}" if isinstance(shown, int) and not isinstance(shown, bool) else shown
        yield f"{name.replace('_', ' ')}: {'yes' if shown is True else shown} ({fields[name].description})"


def _headline(choice: Choice) -> Iterator[tuple[str, str]]:
    if choice.best is None:
        return
    last = choice.best.last
    for label, latency in (("search, p50 / p95", last.unfiltered), ("filtered, p50 / p95", last.filtered)):
        if latency:
            yield label, f"{milliseconds(latency.p50)} / {milliseconds(latency.p95)}"
    if last.searches_per_second:
        yield f"searches/s, {choice.needs.concurrency} at once", f"{last.searches_per_second:,.0f}"
    recalls = [recall for recall in (last.recall, last.filtered_recall) if recall is not None]
    yield f"recall@{LIMIT}", f"{min(recalls):.3f}"
    if last.points_per_second:
        yield "points written per second", f"{last.points_per_second:,.0f}"
    for label, value in (("memory", last.memory_bytes), ("disk", last.disk_bytes)):
        if value is not None:
            yield label, megabytes(value)
    carried = choice.at_required(choice.best).get("latency")
    if carried is not None:
        yield f"p95 at {choice.needs.points:,} points, extrapolated", milliseconds(carried)


def _contrast(choice: Choice) -> str:
    """What sets the best apart from the second."""
    if len(choice.ranked) < 2:
        return ""
    second = choice.ranked[1]
    behind = [reason for reason in second.reasons if reason.startswith("behind ")]
    name = choice.ranked[0].name
    if not behind:
        return f"{second.name} is level with it in everything measured, within a quarter; the names decide"
    return f"the next, {second.name}, is {behind[0].replace(f'behind {name}, which', f'behind: {name}')}"


def matrix(choice: Choice) -> list[list[Any]]:
    """A row for each candidate that was measured, the ranked ones first, in the order of ``HEADINGS``."""
    return [[one.name, *_cells(one)] for one in _measured(choice)]


def projection(choice: Choice) -> list[list[str]]:
    """The figures carried on to the points that are asked for, a row for each candidate, in the order of ``PROJECTED``.

    Nothing where so many were measured.
    """
    carried = [(one, choice.at_required(one)) for one in _measured(choice)]
    return [
        [one.name, *(figure.shown(found[name]) if name in found else _NONE for name, figure in FIGURES.items())]
        for one, found in carried
        if found
    ]


def _measured(choice: Choice) -> list[Candidate]:
    return [*choice.ranked, *(one for one in choice.candidates if one.measured and one not in choice.ranked)]


def _cells(one: Candidate) -> Iterator[Cell]:
    last = one.last
    kinds = {"certified": "certified", "failed": "failed"}
    yield Cell(one.verdict.verdict + ("" if one.is_fit else ", rejected"), kinds.get(one.verdict.verdict, "open"))
    yield Cell("server" if one.is_server else "embedded")
    yield Cell(f"{last.exact_size:,}" if last.exact_size else _NONE)
    yield Cell(f"{last.points_per_second:,.0f}" if last.points_per_second else _NONE)
    plain = last.unfiltered
    for value in (plain.p50, plain.p95, plain.p99) if plain else (None, None, None):
        yield Cell(milliseconds(value) if value is not None else _NONE)
    yield Cell(milliseconds(last.filtered.p95) if last.filtered else _NONE)
    for recall in (last.recall, last.filtered_recall):
        yield Cell(_NONE if recall is None else f"{recall:.3f}")
    for size in (last.memory_bytes, last.disk_bytes):
        yield Cell(_NONE if size is None else megabytes(size))
    power = growth(one, FIGURES["latency"])
    yield Cell(_NONE if power is None else f"{power:.2f}")


def _plots(choice: Choice) -> Iterator[tuple[str, str, Markup]]:
    needed = f"The dashed line is the recall that is asked for, {choice.needs.recall:g}."
    for title, text, picture in (
        (
            "Latency against recall",
            f"p95, filled without a filter, hollow with one. {needed}",
            plots.latency_against_recall,
        ),
        ("Distribution", "Median, the middle half, 5 to 95 %, and a dot at 99 %.", plots.distribution),
        ("Growth", "The slower p95 at both sizes; dashed: carried on, not measured.", plots.growth_of_latency),
    ):
        drawn = picture(choice)
        if drawn:
            yield title, text, Markup(drawn)  # noqa: S704 - made of numbers and escaped names
