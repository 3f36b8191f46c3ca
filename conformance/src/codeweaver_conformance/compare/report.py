"""The report: a table for people, JSON for programs.

The JSON object (``format`` names its version) holds

``created``, ``python``, ``platform``, ``model``
    when and where it ran, and what embedded the texts;
``corpus``
    what was written: of a folder ``folder``, ``chunks``, ``files``, ``unreadable``, of a file ``file`` and ``points``;
``limit``, ``tolerance``, ``queries``, ``filters``
    what was searched; a filter has a ``label`` and says how many points it is ``matching``;
``engines``
    per engine ``name``, ``backend``, ``distribution``, ``error`` (or null), ``verdict`` and ``verified`` (its
    certificate's, and the date of that), ``points``, ``ingest`` (``seconds``, ``points_per_second``, ``columnar``),
    ``indexes``, ``exact_size``, ``unfiltered`` and ``filtered`` (``p50``, ``p95`` and ``p99`` in seconds, the number of
    timed ``searches``, mean ``recall``), ``concurrent`` (the same of searches asked at once, answered ``per_second``),
    ``filters`` (per label the median in seconds), ``inexact`` (searches whose answer is not the exact one), ``altered``
    (results whose payload is not what was written), ``disk_bytes``, ``memory_bytes``; and where it has hybrid search
    ``sparse_index_seconds`` and ``rankings`` (of searches by an identifier's words, ``dense``, ``sparse`` and
    ``hybrid``: ``p50``, ``p95``, ``p99``, ``searches`` and ``mrr``, at 10), else null and nothing;
``pairs``
    per two engines that finished ``a``, ``b``, ``searches`` and how many are ``differing``;
``example``
    a ``query`` and its best ``answers``;
``ok``
    whether every engine finished and none differs from another, or from the exact search.
"""

from __future__ import annotations

import datetime
import itertools
import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from codeweaver_backends.testing import find_targets
from codeweaver_conformance.certificate import Certificate, find_certificates
from codeweaver_conformance.compare.embed import MODEL
from codeweaver_conformance.compare.engines import Engine, is_server
from codeweaver_conformance.compare.identifiers import RANKINGS, Ranking
from codeweaver_conformance.compare.latency import Latency
from codeweaver_conformance.compare.measure import Measurement
from codeweaver_conformance.compare.workload import LIMIT, TOLERANCE, Workload, same_answer
from codeweaver_conformance.verify import contradictions, of_another_contract

__all__ = ["Pair", "Report", "Verdict", "read_verdict"]

_EXAMPLE_ROWS: Final = 5
_ROOMY: Final = 90
"""Columns from which the table can afford space between its own."""
_COLOURS: Final = {"certified": "green", "partial": "yellow", "failed": "red"}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an engine's certificate says."""

    verdict: str
    created: str | None = None
    notes: tuple[str, ...] = ()
    """Where it speaks of other versions than those that are installed."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two engines' answers, held side by side."""

    a: str
    b: str
    searches: int
    differing: int


def read_verdict(name: str, *certificates: Path) -> Verdict:
    """The verdict of the newest certificate of this name in these folders; without one, "not verified": never a pass.

    One of another backend is none of this one; one that contradicts itself, or is of other clauses, is none at all.
    """
    files = find_certificates(name, *certificates)
    if not files:
        return Verdict("not verified")
    try:
        certificate = Certificate.model_validate_json(files[0].read_text(encoding="utf-8"))
    except ValueError:
        return Verdict("unreadable certificate")
    if certificate.environment.reference != name:
        return Verdict("not verified")
    if of_another_contract(certificate):
        return Verdict("outdated certificate", certificate.created)
    if any(contradictions(certificate)):
        return Verdict("contradictory certificate")
    return Verdict(certificate.verdict.replace("-", " "), certificate.created, tuple(_other_versions(certificate)))


def verdict_of_engine(engine: Engine, *certificates: Path) -> Verdict:
    """The verdict of an engine; of a deployment without a certificate of its own, of its backend where that runs so."""
    own = read_verdict(engine.name, *certificates)
    if engine.deployment is None or own.verdict != "not verified":
        return own
    for target in find_targets().values():
        if target.backend == engine.backend and is_server(target) is engine.is_server:
            found = read_verdict(target.name, *certificates)
            if found.verdict != "not verified":
                told = f"the certificate is of {target.name} as tests run it, and not of this deployment"
                return replace(found, notes=(told, *found.notes))
    return own


def _other_versions(certificate: Certificate) -> Iterator[str]:
    adapter, _, certified = certificate.environment.adapter.partition(" ")
    for name, then in {adapter: certified, **certificate.environment.client}.items():
        try:
            now = version(name)
        except PackageNotFoundError:
            continue
        if now != then:
            yield f"its certificate is of {name} {then}, and {now} is installed"


class Report:
    """Everything that was found out."""

    def __init__(
        self,
        workload: Workload,
        engines: Sequence[Engine],
        measurements: Sequence[Measurement],
        certificates: Sequence[Path],
    ) -> None:
        self.data = workload.data
        self.workload = workload
        self.engines = {engine.name: engine for engine in engines}
        self.measurements = measurements
        self.verdicts = {one.engine: verdict_of_engine(self.engines[one.engine], *certificates) for one in measurements}
        self.finished = [one for one in measurements if one.error is None]
        self.pairs = [
            Pair(a.engine, b.engine, len(a.answers), self._differing(a, b))
            for a, b in itertools.combinations(self.finished, 2)
        ]

    def _differing(self, a: Measurement, b: Measurement) -> int:
        answers = zip(self.workload.searches, a.answers, b.answers, strict=True)
        return sum(not same_answer(one, other, self.workload.tolerance(search)) for search, one, other in answers)

    @property
    def agreed(self) -> bool:
        """Whether those that finished gave the same answers: the exact ones, with the payloads as written."""
        return not any(one.inexact or one.altered for one in self.finished) and not any(
            pair.differing for pair in self.pairs
        )

    @property
    def ok(self) -> bool:
        """Whether every engine finished, and all agreed."""
        return len(self.finished) == len(self.measurements) and self.agreed

    # --- for programs ---

    def as_json(self) -> dict[str, Any]:
        """The object that this module's docstring describes."""
        workload = self.workload
        return {
            "format": "codeweaver-comparison/1",
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "python": platform.python_version(),
            "platform": f"{platform.system()} {platform.machine()}",
            "model": MODEL,
            "corpus": dict(self.data.about),
            "limit": LIMIT,
            "tolerance": TOLERANCE,
            "queries": list(self.data.queries),
            "filters": [{"label": one.label, "matching": workload.matching(one)} for one in self.data.filters],
            "engines": [self._engine(one) for one in self.measurements],
            "pairs": [asdict(pair) for pair in self.pairs],
            "example": {"query": self.data.queries[0], "answers": list(self._example())},
            "ok": self.ok,
        }

    def _engine(self, one: Measurement) -> dict[str, Any]:
        verdict, engine = self.verdicts[one.engine], self.engines[one.engine]
        return {
            "name": one.engine,
            "backend": engine.backend,
            "distribution": engine.distribution,
            "verdict": verdict.verdict,
            "verified": verdict.created,
            **one.as_json(),
        }

    def _example(self) -> Iterator[dict[str, Any]]:
        answers = self.finished[0].answers[0] if self.finished else []
        for point_id, score in answers[:_EXAMPLE_ROWS]:
            row = self.workload.row(point_id)
            if row is not None and self.data.captions:
                yield {"id": point_id, "score": score, **asdict(self.data.captions[row])}

    # --- for people ---

    def show(self, console: Console) -> None:
        """Print the table, the outcome, and one query with its answers."""
        console.print(self._table(roomy=console.width >= _ROOMY))
        console.print()
        if any(one.rankings for one in self.measurements):
            console.print(self._rankings())
            console.print()
        for one in self.measurements:
            if one.error is not None:
                console.print(Text.assemble((f"{one.engine} failed: ", "bold red"), one.error))
        for sentence, colour in self._outcome():
            console.print(Text(sentence, colour))
        if self.finished:
            console.print()
            console.print(self._answers())

    def _table(self, *, roomy: bool) -> Table:
        table = Table(
            title=f"{self.data.title}; queries: {len(self.data.queries)}, filters: {len(self.data.filters)}",
            title_justify="left",
            box=box.SIMPLE_HEAD,
            show_edge=False,
            pad_edge=False,
            padding=(0, 1) if roomy else 0,
            collapse_padding=True,
        )
        table.add_column("engine", style="bold", no_wrap=True)
        table.add_column("contract", min_width=10)
        for heading in ("points/s\nwritten", "search ms\np50 / p95", "filtered ms\np50 / p95", "recall\n@10"):
            table.add_column(heading, justify="right", no_wrap=True)
        table.add_column("answers")
        table.add_column("disk", justify="right", no_wrap=True)
        for one in self.measurements:
            table.add_row(*self._row(one))
        return table

    def _row(self, one: Measurement) -> Iterator[str | Text]:
        yield one.engine
        yield _verdict_text(self.verdicts[one.engine])
        yield f"{one.points_per_second:,.0f}" if one.points_per_second else "–"
        yield _milliseconds(one.unfiltered)
        yield _milliseconds(one.filtered)
        recalls = [recall for recall in (one.recall, one.filtered_recall) if recall is not None]
        yield f"{min(recalls):.3f}" if recalls else "–"
        yield self._answers_text(one)
        yield "–" if one.disk_bytes is None else f"{one.disk_bytes / 1e6:,.0f} MB"

    def _rankings(self) -> Table:
        asked = max(found.latency.searches for one in self.measurements for found in one.rankings.values())
        table = Table(
            title=f"Found by an identifier's words, {asked} searches: MRR@10, and ms p50 / p95",
            title_justify="left",
            box=None,
            pad_edge=False,
        )
        table.add_column("engine", style="bold", no_wrap=True)
        for name in RANKINGS:
            table.add_column(name, justify="right", no_wrap=True)
        for one in self.measurements:
            table.add_row(one.engine, *(_ranking_text(one.rankings.get(name)) for name in RANKINGS))
        return table

    def _answers_text(self, one: Measurement) -> Text:
        if one.error is not None:
            return Text("failed", "red")
        if one.altered:
            return Text(f"{one.altered} payloads altered", "red")
        if one.inexact:
            return Text(f"{one.inexact} of {len(one.answers)} not exact", "red")
        return Text("exact", "green")

    def _outcome(self) -> Iterator[tuple[str, str]]:
        differing = [pair for pair in self.pairs if pair.differing]
        for pair in differing:
            yield f"{pair.a} and {pair.b} differ in {pair.differing} of {pair.searches} answers.", "red"
        for one in self.finished:
            if one.inexact and one.exact_size is not None and one.exact_size < len(self.data):
                yield f"{one.engine} promises exact answers up to {one.exact_size:,} points only.", "yellow"
        searches = len(self.workload.searches)
        what = "ids, scores within 1e-5, payloads"
        if self.finished and self.agreed:
            names = [one.engine for one in self.finished]
            who = f"{', '.join(names[:-1])} and {names[-1]} gave" if len(names) > 1 else f"{names[0]} gave"
            yield f"{who} the same answers to all {searches} searches as exact search in numpy: {what}.", "green"

    def _answers(self) -> Table:
        table = Table(title=f"“{self.data.queries[0]}”", title_justify="left", box=None, pad_edge=False, expand=True)
        table.add_column("score", justify="right")
        table.add_column("definition", style="bold", overflow="ellipsis", no_wrap=True, max_width=32)
        table.add_column("where", style="dim", overflow="ellipsis", no_wrap=True, max_width=28)
        table.add_column("summary", overflow="ellipsis", no_wrap=True, ratio=1)
        for answer in self._example():
            # As Text, so that brackets in somebody's docstring are not read as markup.
            cells = (answer["name"], answer["place"], answer["summary"])
            table.add_row(f"{answer['score']:.3f}", *map(Text, cells))
        return table


def _milliseconds(latency: Latency | None) -> str:
    return (
        "–"
        if latency is None
        else " / ".join(f"{ms:.1f}" if ms < 10 else f"{ms:.0f}" for ms in (latency.p50 * 1000, latency.p95 * 1000))
    )


def _ranking_text(one: Ranking | None) -> str:
    return "–" if one is None else f"{one.mrr:.3f}  {_milliseconds(one.latency)}"


def _verdict_text(verdict: Verdict) -> Text:
    date = f" {verdict.created[:10]}" if verdict.created else ""
    return Text(verdict.verdict + date, _COLOURS.get(verdict.verdict, "yellow"))
