"""The report: a table for people, JSON for programs.

The JSON object (``format`` names its version) holds

``created``, ``python``, ``platform``, ``model``
    when and where it ran, and what embedded the texts;
``corpus``
    ``folder``, ``chunks``, ``files``, ``unreadable``;
``limit``, ``tolerance``, ``queries``, ``filters``
    what was searched; a filter has a ``label`` and says how many points it is ``matching``;
``engines``
    per engine ``name``, ``backend``, ``distribution``, ``error`` (or null), ``verdict`` and ``verified`` (its
    certificate's, and the date of that), ``points``, ``ingest`` (``seconds``, ``points_per_second``, ``columnar``),
    ``indexes``, ``exact_size``, ``unfiltered`` and ``filtered`` (``p50`` and ``p95`` in seconds, the number of timed
    ``searches``, mean ``recall``), ``filters`` (per label the median in seconds), ``inexact`` (searches whose answer is
    not the exact one), ``altered`` (results whose payload is not what was written), ``disk_bytes``; and where it has
    hybrid search ``sparse_index_seconds`` and ``rankings`` (of searches by an identifier's words, ``dense``, ``sparse``
    and ``hybrid``: ``p50``, ``p95``, ``searches`` and ``mrr``, at 10), else null and nothing;
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
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from codeweaver_conformance.certificate import Certificate, find_certificates
from codeweaver_conformance.compare.corpus import Corpus
from codeweaver_conformance.compare.embed import MODEL
from codeweaver_conformance.compare.identifiers import RANKINGS, Ranking
from codeweaver_conformance.compare.latency import Latency
from codeweaver_conformance.compare.measure import Measurement
from codeweaver_conformance.compare.workload import LIMIT, TOLERANCE, Workload, same_answer
from codeweaver_conformance.verify import contradictions

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


@dataclass(frozen=True, slots=True)
class Pair:
    """Two engines' answers, held side by side."""

    a: str
    b: str
    searches: int
    differing: int


def read_verdict(name: str, certificates: Path) -> Verdict:
    """The verdict of the newest certificate of this name; without one, "not verified", which is never a pass.

    One of another backend is none of this one, and one that contradicts itself is none at all.
    """
    files = find_certificates(certificates, name)
    if not files:
        return Verdict("not verified")
    try:
        certificate = Certificate.model_validate_json(files[0].read_text(encoding="utf-8"))
    except ValueError:
        return Verdict("unreadable certificate")
    if certificate.environment.reference != name:
        return Verdict("not verified")
    if any(contradictions(certificate)):
        return Verdict("contradictory certificate")
    return Verdict(certificate.verdict.replace("-", " "), certificate.created)


class Report:
    """Everything that was found out."""

    def __init__(
        self, corpus: Corpus, workload: Workload, measurements: Sequence[Measurement], certificates: Path
    ) -> None:
        self.corpus = corpus
        self.workload = workload
        self.measurements = measurements
        self.verdicts = {one.engine.name: read_verdict(one.engine.name, certificates) for one in measurements}
        self.finished = [one for one in measurements if one.error is None]
        self.pairs = [
            Pair(a.engine.name, b.engine.name, len(a.answers), _differing(a, b))
            for a, b in itertools.combinations(self.finished, 2)
        ]

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
        workload, corpus = self.workload, self.corpus
        return {
            "format": "codeweaver-comparison/1",
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "python": platform.python_version(),
            "platform": f"{platform.system()} {platform.machine()}",
            "model": MODEL,
            "corpus": {
                "folder": str(corpus.folder),
                "chunks": len(corpus.chunks),
                "files": corpus.files,
                "unreadable": corpus.unreadable,
            },
            "limit": LIMIT,
            "tolerance": TOLERANCE,
            "queries": workload.queries,
            "filters": [{"label": one.label, "matching": workload.matching(one)} for one in workload.filters],
            "engines": [self._engine(one) for one in self.measurements],
            "pairs": [asdict(pair) for pair in self.pairs],
            "example": {"query": workload.queries[0], "answers": list(self._example())},
            "ok": self.ok,
        }

    def _engine(self, one: Measurement) -> dict[str, Any]:
        verdict = self.verdicts[one.engine.name]
        return {
            "name": one.engine.name,
            "backend": one.engine.backend,
            "distribution": one.engine.distribution,
            "error": one.error,
            "verdict": verdict.verdict,
            "verified": verdict.created,
            "points": one.points,
            "ingest": {
                "seconds": one.ingest_seconds,
                "points_per_second": one.points_per_second,
                "columnar": one.columnar,
            },
            "indexes": one.indexes,
            "exact_size": one.exact_size,
            "unfiltered": _searches(one.unfiltered, one.recall),
            "filtered": _searches(one.filtered, one.filtered_recall),
            "filters": one.by_filter,
            "inexact": one.inexact,
            "altered": one.altered,
            "disk_bytes": one.disk_bytes,
            "sparse_index_seconds": one.sparse_index_seconds,
            "rankings": {name: {**asdict(found.latency), "mrr": found.mrr} for name, found in one.rankings.items()},
        }

    def _example(self) -> Iterator[dict[str, Any]]:
        answers = self.finished[0].answers[0] if self.finished else []
        for point_id, score in answers[:_EXAMPLE_ROWS]:
            row = self.workload.row_of.get(point_id)
            if row is not None:
                chunk = self.workload.chunks[row]
                yield {"id": point_id, "score": score, **chunk.payload, "summary": chunk.summary}

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
                console.print(Text.assemble((f"{one.engine.name} failed: ", "bold red"), one.error))
        for sentence, colour in self._outcome():
            console.print(Text(sentence, colour))
        if self.finished:
            console.print()
            console.print(self._answers())

    def _table(self, *, roomy: bool) -> Table:
        corpus = self.corpus
        table = Table(
            title=f"{len(corpus.chunks):,} definitions of {corpus.files:,} files, {self.workload.vectors.shape[1]}-d; "
            f"queries: {len(self.workload.queries)}, filters: {len(self.workload.filters)}",
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
        yield one.engine.name
        yield _verdict_text(self.verdicts[one.engine.name])
        yield f"{one.points_per_second:,.0f}" if one.points_per_second else "–"
        yield _milliseconds(one.unfiltered)
        yield _milliseconds(one.filtered)
        yield (
            "–" if one.recall is None or one.filtered_recall is None else f"{min(one.recall, one.filtered_recall):.3f}"
        )
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
            table.add_row(one.engine.name, *(_ranking_text(one.rankings.get(name)) for name in RANKINGS))
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
            if one.inexact and one.exact_size is not None and one.exact_size < len(self.corpus.chunks):
                yield f"{one.engine.name} promises exact answers up to {one.exact_size:,} points only.", "yellow"
        searches = len(self.workload.searches)
        what = "ids, scores within 1e-5, payloads"
        if self.finished and self.agreed:
            names = [one.engine.name for one in self.finished]
            who = f"{', '.join(names[:-1])} and {names[-1]} gave" if len(names) > 1 else f"{names[0]} gave"
            yield f"{who} the same answers to all {searches} searches as exact search in numpy: {what}.", "green"

    def _answers(self) -> Table:
        table = Table(
            title=f"“{self.workload.queries[0]}”", title_justify="left", box=None, pad_edge=False, expand=True
        )
        table.add_column("score", justify="right")
        table.add_column("definition", style="bold", overflow="ellipsis", no_wrap=True, max_width=32)
        table.add_column("where", style="dim", overflow="ellipsis", no_wrap=True, max_width=28)
        table.add_column("summary", overflow="ellipsis", no_wrap=True, ratio=1)
        for answer in self._example():
            place = f"{answer['module']}:{answer['line']}"
            # As Text, so that brackets in somebody's docstring are not read as markup.
            table.add_row(f"{answer['score']:.3f}", Text(answer["name"]), Text(place), Text(answer["summary"]))
        return table


def _differing(a: Measurement, b: Measurement) -> int:
    return sum(not same_answer(one, other) for one, other in zip(a.answers, b.answers, strict=True))


def _searches(latency: Latency | None, recall: float | None) -> dict[str, Any]:
    return {**(asdict(latency) if latency else {"p50": None, "p95": None, "searches": 0}), "recall": recall}


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
