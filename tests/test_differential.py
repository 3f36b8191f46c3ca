"""The differential session: right answers pass, each kind of wrong one is seen, recordings survive the disk."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from codeweaver_backends.errors import UnsupportedError
from codeweaver_backends.factory import CodeWeaverFactory
from codeweaver_backends.types import DistanceMetric, FilterCondition, HybridStrategy, SearchFilter, VectorPoint
from codeweaver_conformance.strategies import Case, Collection, generate
from codeweaver_tools.differential import (
    Answer,
    Recording,
    ask,
    compare,
    compare_backends,
    difference,
    digest,
    main,
    mistake,
)
from codeweaver_tools.hybrid_cases import METRICS, generate_hybrid

POINTS = (VectorPoint("a", [3.0], {"n": 1}), VectorPoint(1, [2.0]), VectorPoint("1", [2.0]), VectorPoint("d", [1.0]))
COLLECTION = Collection(0, 1, DistanceMetric.DOT_PRODUCT, POINTS)
CASE = Case(0, COLLECTION, [1.0], None, 3, None)
RIGHT = Answer((("a", 3.0), (1, 2.0), ("1", 2.0)), 4)


def memory() -> Any:
    return CodeWeaverFactory().create_backend("memory")


def test_equal_backends_do_not_differ() -> None:
    comparison = asyncio.run(compare_backends({"one": memory(), "two": memory()}, seed=3, cases=120))
    assert comparison.is_clean
    report = comparison.to_json()
    assert report["seed"] == 3
    assert [(row["target"], row["cases"], row["differing"], row["denied"]) for row in report["oracle"]] == [
        ("one", 120, 0, 0),
        ("two", 120, 0, 0),
    ]
    assert [(row["a"], row["b"], row["cases"], row["differing"]) for row in report["pairs"]] == [("one", "two", 120, 0)]
    assert len(list(comparison.lines())) == 4


class Broken:
    """The memory backend with a fault."""

    def __init__(self) -> None:
        self.inner = memory()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class NoManhattan(Broken):
    async def create_collection(self, name: str, dimension: int, metric: DistanceMetric) -> None:
        if metric is DistanceMetric.MANHATTAN:
            raise UnsupportedError("no", capability="supported_distance_metrics")
        await self.inner.create_collection(name, dimension, metric)


class NoFilters(Broken):
    async def search_vectors(self, name: str, query: list[float], **options: Any) -> Any:
        return await self.inner.search_vectors(name, query, **{**options, "search_filter": None})


class Breaks(Broken):
    async def search_vectors(self, name: str, query: list[float], **options: Any) -> Any:
        raise RuntimeError("out of order")


class ChangesPayloads(Broken):
    async def search_vectors(self, name: str, query: list[float], **options: Any) -> Any:
        found = await self.inner.search_vectors(name, query, **options)
        for hit in found:
            hit.payload = json.loads(json.dumps(hit.payload), parse_int=float)
        return found


class Scans(Broken):
    """Tests every second filter itself."""

    filters_scanned = 0
    searches = 0

    async def search_vectors(self, name: str, query: list[float], **options: Any) -> Any:
        if options["search_filter"] is not None:
            self.searches += 1
            self.filters_scanned += self.searches % 2
        return await self.inner.search_vectors(name, query, **options)


async def _run(*backends: Any) -> dict[str, Any]:
    cases = list(generate(3, 200, per_collection=50))
    return compare(3, cases, {type(one).__name__: await ask(one, cases) for one in backends}).to_json()


def test_who_answered_the_filters_is_told() -> None:
    cases = list(generate(3, 200, per_collection=50))
    filters = sum(case.search_filter is not None for case in cases)
    answers = {"pushes": asyncio.run(ask(memory(), cases)), "scans": asyncio.run(ask(Scans(), cases))}
    answers["silent"] = [replace(answer, scanned=None) for answer in answers["scans"]]
    comparison = compare(3, cases, answers)
    assert {name: (one.filters, one.scanned) for name, one in comparison.oracle.items()} == {
        "pushes": (filters, 0),
        "scans": (filters, (filters + 1) // 2),
        "silent": (0, 0),
    }
    share = f"{filters // 2 / filters:.2%}"
    assert [line.split()[-1] for line in list(comparison.lines())[1:4]] == ["100.00%", share, "0"]


def test_what_is_denied_is_not_counted() -> None:
    backend = NoManhattan()
    report = asyncio.run(_run(memory(), backend))
    assert [(row["target"], row["cases"], row["denied"]) for row in report["oracle"]] == [
        ("MemoryBackend", 200, 0),
        ("NoManhattan", 150, 50),
    ]
    assert [(row["cases"], row["denied"], row["differing"]) for row in report["pairs"]] == [(150, 50, 0)]
    assert asyncio.run(backend.list_collections()) == [], "nothing is left behind"


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (NoFilters, "which the filter does not select"),
        (Breaks, "RuntimeError: out of order"),
        (ChangesPayloads, "came back changed"),
    ],
)
def test_a_fault_is_seen(broken: type[Broken], words: str) -> None:
    report = asyncio.run(_run(memory(), broken()))
    (row,) = (row for row in report["oracle"] if row["target"] == broken.__name__)
    assert row["differing"] > 50
    assert 0 < len(row["examples"]) <= 5
    assert words in row["examples"][0]
    assert report["pairs"][0]["differing"] > 50 or broken is ChangesPayloads


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (RIGHT, None),
        (replace(RIGHT, count=None), None),
        (replace(RIGHT, count=3), "3 points were counted, not 4"),
        (replace(RIGHT, changed=("a",)), "the payload of 'a' came back changed"),
        (replace(RIGHT, error="Boom: x"), "Boom: x"),
        (replace(RIGHT, hits=()), "is missing"),
    ],
)
def test_mistakes(answer: Answer, words: str | None) -> None:
    said = mistake(CASE, answer)
    assert said == words if words is None else words in str(said)


@pytest.mark.parametrize(
    ("case", "one", "other", "words"),
    [
        (CASE, RIGHT, RIGHT, None),
        (CASE, RIGHT, replace(RIGHT, count=None), None),
        (CASE, RIGHT, replace(RIGHT, count=3), "counts of 4 and 3"),
        (CASE, RIGHT, Answer(error="Boom"), "one raised Boom"),
        (CASE, Answer(error="Boom"), Answer(error="Bang"), None),
        (CASE, RIGHT, Answer((("a", 3.0), ("1", 2.0), (1, 2.0))), None),
        (CASE, RIGHT, Answer((("a", 3.00001), (1, 2.0), ("1", 2.0))), None),
        (CASE, RIGHT, Answer((("a", 3.1), (1, 2.0), ("1", 2.0))), "'a' with scores of 3.0 and 3.1"),
        (CASE, RIGHT, Answer((("a", 3.0), (1, 2.0), ("d", 1.0))), "'1' with a score of 2.0 in one answer alone"),
        (CASE, RIGHT, Answer((("a", 3.0), (1, 2.0))), "'1' with a score of 2.0 in one answer alone"),
        (replace(CASE, limit=2), Answer((("a", 3.0), (1, 2.0))), Answer((("a", 3.0), ("1", 2.0))), None),
        (replace(CASE, threshold=2.00001), Answer((("a", 3.0), (1, 2.00001))), Answer((("a", 3.0),)), None),
        (replace(CASE, limit=0), Answer(), Answer(), None),
    ],
)
def test_differences(case: Case, one: Answer, other: Answer, words: str | None) -> None:
    assert difference(case, one, other) == words
    if words is None or not words.startswith(("counts", "'a'")):
        assert difference(case, other, one) == words


def test_a_recording_survives_the_disk(tmp_path: Path) -> None:
    answers = [RIGHT, Answer(), Answer(error="Böse\u2028: \x00"), Answer(denied="supports_contains"), Answer((), 0)]
    answers += [Answer(count=1, scanned=True), Answer(count=0, scanned=False)]
    recording = Recording("x", "codeweaver-x 0.1", 1, 5, "abc", [*answers, replace(RIGHT, changed=(1, "1"))])
    assert Recording.read(recording.write(tmp_path)) == recording
    assert [file.name for file in tmp_path.iterdir()] == ["x.jsonl"]


def test_record_and_judge(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reports = ["--reports", str(tmp_path)]
    assert main([*reports, "record", "--target", "memory", "--seed", "4", "--cases", "60"]) == 0
    recorded = Recording.read(tmp_path / "differential" / "memory.jsonl")
    assert recorded.plugin.startswith("codeweaver-backends ")
    wrong = replace(recorded, target="wrong", answers=[Answer(), *recorded.answers[1:]])
    wrong.write(tmp_path / "differential")
    assert main([*reports, "judge"]) == 1
    report = json.loads((tmp_path / "differential.json").read_text(encoding="utf-8"))
    assert report["seed"] == 4
    assert [(row["a"], row["b"], row["cases"]) for row in report["pairs"]] == [("memory", "wrong", 60)]
    assert [(row["target"], row["differing"]) for row in report["oracle"]] == [("memory", 0), ("wrong", 1)]
    assert "wrong" in capsys.readouterr().out


def test_hybrid_searches_are_recorded_and_judged_beside_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reports = ["--reports", str(tmp_path)]
    assert main([*reports, "record", "--target", "memory", "--seed", "4", "--cases", "20", "--hybrid", "160"]) == 0
    folder = tmp_path / "differential" / "hybrid"
    recorded = Recording.read(folder / "memory.jsonl")
    found = next(row for row, answer in enumerate(recorded.answers) if len(answer.hits) > 1)
    hits = recorded.answers[found].hits
    for target, changed in (("lost", hits[1:]), ("scored", ((hits[0][0], hits[0][1] + 0.01), *hits[1:]))):
        answers = list(recorded.answers)
        answers[found] = replace(answers[found], hits=changed)
        replace(recorded, target=target, answers=answers).write(folder)
    assert main([*reports, "judge"]) == 1
    report = json.loads((tmp_path / "differential.json").read_text(encoding="utf-8"))
    assert [(row["cases"], row["differing"]) for row in report["oracle"]] == [(20, 0)]
    judged = {row["target"]: row["differing"] for row in report["hybrid"]["oracle"]}
    assert judged == {"memory": 0, "lost": 1, "scored": 1}
    assert all(row["differing"] == 1 for row in report["hybrid"]["pairs"])


def test_hybrid_cases_are_many_sided_and_the_same_every_time() -> None:
    cases = list(generate_hybrid(1, 300))
    assert digest(cases[:120]) == digest(generate_hybrid(1, 120)) != digest(generate_hybrid(2, 120))
    asked = [case.question for case in cases]
    assert {one.strategy for one in asked} == set(HybridStrategy)
    assert {one.alpha for one in asked} >= {0.0, 0.5, 1.0}
    assert {isinstance(one.sparse, str) for one in asked} == {True, False}
    pools = {one.candidates for one in asked if one.candidates}
    assert min(pools) < 5
    assert max(pools) > 95
    assert {case.collection.metric for case in cases} == set(METRICS)
    assert all(case.mistake([]) for case in cases if case.tolerances())


def test_recordings_of_other_cases_are_not_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--reports", str(tmp_path), "judge"]) == 2
    assert "there are none" in capsys.readouterr().err
    stale = Recording("stale", "x", 1, 1, "of an older generator", [Answer()])
    stale.write(tmp_path / "differential")
    assert main(["--reports", str(tmp_path), "judge"]) == 2
    assert "record again" in capsys.readouterr().err
    replace(stale, target="other", seed=2).write(tmp_path / "differential")
    assert main(["--reports", str(tmp_path), "judge"]) == 2
    assert "other: seed 2" in capsys.readouterr().err


def test_the_digest_sees_every_part_of_a_case() -> None:
    condition = FilterCondition("n", "eq", 1)
    changes: list[dict[str, Any]] = [
        {"query": [2.0]},
        {"limit": 4},
        {"threshold": 0.0},
        {"search_filter": SearchFilter(must=[condition])},
        {"collection": replace(COLLECTION, points=POINTS[1:])},
        {"collection": replace(COLLECTION, metric=DistanceMetric.COSINE)},
    ]
    assert len({digest([replace(CASE, **change)]) for change in [{}, *changes]}) == len(changes) + 1
