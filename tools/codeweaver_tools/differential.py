"""The differential session: the same generated searches, asked of every engine, compared with the oracle and pairwise.

The engines' clients do not fit into one environment, so a session has two steps. Each environment records what its
engines answer, and one of them, any one, judges all the recordings::

    python -m codeweaver_tools.differential record --target NAME --seed 1 --cases 5000 --hybrid 3000
    python -m codeweaver_tools.differential judge

An answer is right if the oracle finds nothing against it (order, ids, scores, threshold, count, payloads). Two answers
differ if they do not have the same points, ties apart, or a score or a count is not the same; see ``difference``.
What an engine denies, by ``UnsupportedError``, is not asked of it, and a pair counts the cases that both answered.
Hybrid searches are recorded and judged beside the others, in the same way.

Beside that each engine's share of filters is told that it answered alone, by push-down: for the others its adapter read
payloads and tested them.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import combinations, groupby
from pathlib import Path
from typing import Any, Final, TypeAlias
from uuid import uuid4

from codeweaver_backends.errors import UnsupportedError
from codeweaver_backends.factory import CodeWeaverFactory
from codeweaver_backends.plugins import find_plugins
from codeweaver_backends.protocols import ScannableBackend, implements
from codeweaver_backends.testing import NotProvisioned, find_targets
from codeweaver_backends.types import PointId, SearchResult
from codeweaver_conformance import oracle
from codeweaver_conformance.strategies import Case, generate
from codeweaver_tools.hybrid_cases import HybridCase, HybridCollection, generate_hybrid

__all__ = ["Answer", "Comparison", "Recording", "Tally", "compare", "compare_backends", "difference", "main", "mistake"]

AnyCase: TypeAlias = Case | HybridCase

_REPORTS: Final = Path("reports")
_GENERATORS: Final[dict[str, Callable[[int, int], Iterator[AnyCase]]]] = {
    "searches": generate,
    "hybrid": generate_hybrid,
}
"""What is recorded."""
_EXAMPLES: Final = 5


# --- asking ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answer:
    """What an engine said to one case."""

    hits: tuple[tuple[PointId, float], ...] = ()
    count: int | None = None
    """``count_vectors`` of the case's filter; ``None`` where the engine has no such call."""
    changed: tuple[PointId, ...] = ()
    """Hits whose payload was not what had been stored."""
    error: str = ""
    denied: str = ""
    """The capability for whose lack it was refused."""
    scanned: bool | None = None
    """Whether the adapter tested payloads itself for the search; ``None`` where it does not tell."""

    def to_json(self) -> dict[str, Any]:
        """What is not empty."""
        return {name: value for name, value in asdict(self).items() if value not in ((), None, "")}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Answer:
        """The answer that ``to_json`` wrote."""
        hits = tuple((point_id, score) for point_id, score in data.get("hits", ()))
        changed = tuple(data.get("changed", ()))
        told = data.get("error", ""), data.get("denied", ""), data.get("scanned")
        return cls(hits, data.get("count"), changed, *told)


async def ask(backend: Any, cases: Iterable[AnyCase]) -> list[Answer]:
    """The backend's answers, in the order of the cases. Its collections are made, and deleted, by the way."""
    answers: list[Answer] = []
    run = uuid4().hex[:8]
    for number, group in groupby(cases, key=lambda case: case.collection.number):
        answers += await _ask_collection(backend, f"cw-differential-{run}-{number}", list(group))
    return answers


async def _ask_collection(backend: Any, name: str, cases: Sequence[AnyCase]) -> list[Answer]:
    collection = cases[0].collection
    try:
        await backend.create_collection(name, collection.dimension, collection.metric)
    except Exception as error:  # noqa: BLE001 - whatever it raises is its answer
        return [_raised(error)] * len(cases)
    try:
        try:
            if isinstance(collection, HybridCollection):
                await collection.fill(backend, name)
            else:
                await backend.upsert_vectors(name, list(collection.points))
            await asyncio.sleep(_visibility(backend))
        except Exception as error:  # noqa: BLE001 - as above
            return [_raised(error)] * len(cases)
        return [await _ask_case(backend, name, case) for case in cases]
    finally:
        await backend.delete_collection(name)


async def _ask_case(backend: Any, name: str, case: AnyCase) -> Answer:
    try:
        if isinstance(case, HybridCase):
            return _answer(await case.ask(backend, name), case)
        scans = getattr(backend, "filters_scanned", None)
        results: list[SearchResult] = await backend.search_vectors(
            name, case.query, limit=case.limit, search_filter=case.search_filter, score_threshold=case.threshold
        )
        scanned = None if scans is None else backend.filters_scanned > scans
        counts = getattr(getattr(backend, "capabilities", None), "supports_scan", implements(backend, ScannableBackend))
        count = await backend.count_vectors(name, case.search_filter) if counts else None
        return replace(_answer(results, case), count=count, scanned=scanned)
    except Exception as error:  # noqa: BLE001 - as above
        return _raised(error)


def _answer(results: Sequence[SearchResult], case: AnyCase) -> Answer:
    stored = {point.id: point.payload or {} for point in case.collection.points}
    changed = (hit.id for hit in results if not oracle.json_equal(hit.payload or {}, stored.get(hit.id, {})))
    return Answer(tuple((hit.id, float(hit.score)) for hit in results), changed=tuple(changed))


def _raised(error: Exception) -> Answer:
    if isinstance(error, UnsupportedError):
        return Answer(denied=error.capability or "unnamed")
    return Answer(error=f"{type(error).__name__}: {error}"[:500])


def _visibility(backend: Any) -> float:
    limits = getattr(getattr(backend, "capabilities", None), "limits", None)
    return float(getattr(limits, "visibility", 0.0))


# --- judging ---------------------------------------------------------------------------------------------------------


def mistake(case: AnyCase, answer: Answer) -> str | None:
    """What the oracle finds wrong with the answer, in words."""
    if answer.error:
        return answer.error
    if answer.changed:
        return f"the payload of {answer.changed[0]!r} came back changed"
    points = case.collection.points
    got = [SearchResult(point_id, score) for point_id, score in answer.hits]
    if isinstance(case, HybridCase):
        return case.mistake(got)
    wrong = oracle.check_ranking(
        got, points, case.query, case.collection.metric, case.limit, case.search_filter, case.threshold
    )
    expected = len(oracle.selected(points, case.search_filter))
    if wrong is None and answer.count not in (None, expected):
        return f"{answer.count} points were counted, not {expected}"
    return wrong


def difference(case: AnyCase, one: Answer, other: Answer) -> str | None:
    """Where two engines' answers to one case differ, in words.

    Scores may differ by the contract's tolerance. A point may be in one answer alone if its score there is as near to
    the other's cut, or to the threshold: of tied points any may be returned at the cut.
    """
    if one.error or other.error:
        return None if one.error and other.error else f"one raised {one.error or other.error}"
    if one.count is not None and other.count is not None and one.count != other.count:
        return f"counts of {one.count} and {other.count}"
    tolerances = _tolerances(case)
    left, right = dict(one.hits), dict(other.hits)
    for point_id in left.keys() & right.keys():
        if not abs(left[point_id] - right[point_id]) <= tolerances.get(point_id, 0.0):
            return f"{point_id!r} with scores of {left[point_id]!r} and {right[point_id]!r}"
    return _only_in(case, left, right, tolerances) or _only_in(case, right, left, tolerances)


def _tolerances(case: AnyCase) -> Mapping[PointId, float]:
    if isinstance(case, HybridCase):
        return case.tolerances()
    collection = case.collection
    vectors = {point.id: oracle.vector_of(point) for point in collection.points}
    return {one: oracle.tolerance(collection.metric, case.query, vector) for one, vector in vectors.items()}


def _only_in(
    case: AnyCase, left: Mapping[PointId, float], right: Mapping[PointId, float], tolerances: Mapping[PointId, float]
) -> str | None:
    cut = min(right.values(), default=0.0) if len(right) == case.limit else float("-inf")
    for point_id, score in left.items():
        tolerance = tolerances.get(point_id, 0.0)
        at_cut = score <= cut + tolerance
        at_threshold = case.threshold is not None and abs(score - case.threshold) <= tolerance
        if point_id not in right and not at_cut and not at_threshold:
            return f"{point_id!r} with a score of {score!r} in one answer alone"
    return None


@dataclass(slots=True)
class Tally:
    """How many of the cases that were asked went wrong, with the first few of them."""

    cases: int = 0
    differing: int = 0
    denied: int = 0
    filters: int = 0
    """Filters of which it was told who answered them. Nothing is told of pairs."""
    scanned: int = 0
    """How many of these filters the engine could not answer alone."""
    examples: list[str] = field(default_factory=list)

    def add(self, case: AnyCase, what: str | None) -> None:
        """Count one case; ``what`` says in words what is wrong with it."""
        self.cases += 1
        if what is None:
            return
        self.differing += 1
        if len(self.examples) < _EXAMPLES:
            where = f"limit {case.limit}, threshold {case.threshold}, filter {case.search_filter!r}"
            self.examples.append(f"case {case.number}: {what} ({case.collection.metric.name}, {where})")


@dataclass(frozen=True, slots=True)
class Comparison:
    """The outcome of a session."""

    seed: int
    oracle: Mapping[str, Tally]
    """Each engine against the oracle."""
    pairs: Mapping[tuple[str, str], Tally]

    @property
    def is_clean(self) -> bool:
        """Nothing differs anywhere."""
        return not any(tally.differing for tally in (*self.oracle.values(), *self.pairs.values()))

    def to_json(self) -> dict[str, Any]:
        """The report."""
        return {
            "seed": self.seed,
            "oracle": [{"target": name, **asdict(tally)} for name, tally in self.oracle.items()],
            "pairs": [{"a": a, "b": b, **asdict(tally)} for (a, b), tally in self.pairs.items()],
        }

    def lines(self) -> Iterator[str]:
        """A short table."""
        rows = [(name, "the oracle", tally) for name, tally in self.oracle.items()]
        rows += [(*pair, tally) for pair, tally in self.pairs.items()]
        wide = max((len(name) for row in rows for name in row[:2]), default=0)
        yield f"{'':{wide}}   {'':{wide}}   cases  differ  denied  pushed down"
        for a, b, tally in rows:
            pushed = f"{1 - tally.scanned / tally.filters:.2%}" if tally.filters else ""
            counts = f"{tally.cases:6}  {tally.differing:6}  {tally.denied:6}  {pushed:>11}"
            yield f"{a:{wide}} · {b:{wide}}  {counts}".rstrip()
            yield from (f"    {example}" for example in tally.examples[:1])


def compare(seed: int, cases: Iterable[AnyCase], answers: Mapping[str, Sequence[Answer]]) -> Comparison:
    """Judge every engine's answers, which come in the order of the cases."""
    names = sorted(answers)
    alone = {name: Tally() for name in names}
    pairs = {pair: Tally() for pair in combinations(names, 2)}
    for position, case in enumerate(cases):
        given = {name: answers[name][position] for name in names}
        for name, answer in given.items():
            if answer.denied:
                alone[name].denied += 1
            else:
                alone[name].add(case, mistake(case, answer))
                if case.search_filter is not None and answer.scanned is not None:
                    alone[name].filters += 1
                    alone[name].scanned += answer.scanned
        for (a, b), tally in pairs.items():
            if given[a].denied or given[b].denied:
                tally.denied += 1
            else:
                tally.add(case, difference(case, given[a], given[b]))
    return Comparison(seed, alone, pairs)


async def compare_backends(backends: Mapping[str, Any], seed: int, cases: int) -> Comparison:
    """Ask open backends of one process, and judge them."""
    asked = list(generate(seed, cases))
    return compare(seed, asked, {name: await ask(backend, asked) for name, backend in backends.items()})


# --- recordings ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Recording:
    """One engine's answers, and to what."""

    target: str
    plugin: str
    seed: int
    cases: int
    digest: str
    """Of the cases: recordings made by different generators are not compared."""
    answers: Sequence[Answer]

    def write(self, folder: Path) -> Path:
        """Write ``<target>.jsonl``, whole or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{self.target}.jsonl"
        head = {name: getattr(self, name) for name in ("target", "plugin", "seed", "cases", "digest")}
        lines = [json.dumps(row, separators=(",", ":")) for row in (head, *(one.to_json() for one in self.answers))]
        unfinished = file.with_suffix(".part")
        unfinished.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return unfinished.replace(file)

    @classmethod
    def read(cls, file: Path) -> Recording:
        """Read what ``write`` wrote."""
        head, *rows = map(json.loads, file.read_text(encoding="utf-8").split("\n")[:-1])
        return cls(**head, answers=[Answer.from_json(row) for row in rows])


def digest(cases: Iterable[AnyCase]) -> str:
    """A fingerprint of the cases, the same on every Python."""
    total, collection = hashlib.sha256(), None
    for case in cases:
        if case.collection is not collection:
            collection = case.collection
            written = collection.steps if isinstance(collection, HybridCollection) else collection.points
            total.update(ascii((collection.dimension, collection.metric.name, written)).encode())
        asked = case.question if isinstance(case, HybridCase) else case.query
        total.update(ascii((asked, case.search_filter, case.limit, case.threshold)).encode())
    return total.hexdigest()


async def record(
    target_name: str, seed: int, cases: int, settings: Mapping[str, Any], kind: str = "searches"
) -> Recording:
    """Ask one target, whose ``provide()`` gave these settings."""
    target = find_targets()[target_name]
    asked = list(_GENERATORS[kind](seed, cases))
    backend = CodeWeaverFactory().create_backend(target.backend, **settings)
    try:
        answers = await ask(backend, asked)
    finally:
        await backend.aclose()
    plugin = find_plugins()[target.backend].distribution
    return Recording(target_name, plugin, seed, cases, digest(asked), answers)


def judge(folder: Path, kind: str = "searches") -> Comparison:
    """Compare every recording of the folder. Raises ``ValueError`` where they are not of the same cases."""
    recordings = [Recording.read(file) for file in sorted(folder.glob("*.jsonl"))]
    asked = {(one.seed, one.cases, one.digest) for one in recordings}
    if len(asked) != 1:
        told = ", ".join(f"{one.target}: seed {one.seed}, {one.cases} cases, {one.digest[:8]}" for one in recordings)
        raise ValueError(f"the recordings are not of the same cases ({told or 'there are none'})")
    ((seed, count, fingerprint),) = asked
    cases = list(_GENERATORS[kind](seed, count))
    if digest(cases) != fingerprint:
        raise ValueError("the recordings were made by another version of the generator; record again")
    return compare(seed, cases, {one.target: one.answers for one in recordings})


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line: 0 nothing differs, 1 something does, 2 wrong use, 3 no engine."""
    parser = argparse.ArgumentParser(prog="python -m codeweaver_tools.differential", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--reports", type=Path, default=_REPORTS, help="where recordings and the report are kept")
    steps = parser.add_subparsers(dest="step", required=True)
    recorder = steps.add_parser("record", help="ask one engine")
    recorder.add_argument("--target", required=True, choices=sorted(find_targets()))
    recorder.add_argument("--seed", type=int, default=1)
    recorder.add_argument("--cases", type=int, default=5_000, help="searches")
    recorder.add_argument("--hybrid", type=int, default=0, help="hybrid searches beside them")
    steps.add_parser("judge", help="compare what was recorded")
    given = parser.parse_args(arguments)
    folder = given.reports / "differential"
    folders = {"searches": folder, "hybrid": folder / "hybrid"}
    if given.step == "record":
        try:
            with find_targets()[given.target].provide() as settings:
                for kind, cases in (("searches", given.cases), ("hybrid", given.hybrid)):
                    if cases:
                        recording = asyncio.run(record(given.target, given.seed, cases, settings, kind))
                        sys.stdout.write(f"{recording.write(folders[kind])}: {cases} answers\n")
        except NotProvisioned as error:
            sys.stderr.write(f"no engine for {given.target}: {error}\n")
            return 3
        return 0
    try:
        recorded = [kind for kind, folder in folders.items() if any(folder.glob("*.jsonl"))]
        judged = {kind: judge(folders[kind], kind) for kind in recorded or ["searches"]}
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    report = {kind: one.to_json() for kind, one in judged.items()}
    report = report.pop("searches", {}) | report
    text = json.dumps(report, indent=2, ensure_ascii=True)
    (given.reports / "differential.json").write_text(f"{text}\n", encoding="utf-8")
    for kind, comparison in judged.items():
        sys.stdout.write("\n".join((kind, *comparison.lines())) + "\n")
    return 0 if all(one.is_clean for one in judged.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
