"""The comparison, on a folder small enough to know by heart and the backend that is always there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from codeweaver_backends import (
    ColumnarBackend,
    DistanceMetric,
    MemoryBackend,
    MemoryConfig,
    SearchFilter,
    SearchResult,
)
from codeweaver_backends.testing import NotProvisioned, Target, find_targets
from codeweaver_conformance import oracle
from codeweaver_conformance.cli import app, comparing
from codeweaver_conformance.compare import engines
from codeweaver_conformance.compare.corpus import Chunk, python_files, read_corpus, stdlib_folder, text_files
from codeweaver_conformance.compare.dataset import Dataset, derive_filters
from codeweaver_conformance.compare.embed import ModelMissingError, StaticModel
from codeweaver_conformance.compare.engines import UnknownEngineError, parse_settings
from codeweaver_conformance.compare.identifiers import spoken_names
from codeweaver_conformance.compare.report import read_verdict
from codeweaver_conformance.compare.workload import LIMIT, QUERIES, TOLERANCE, Workload, same_answer

CERTIFICATE = Path(__file__).parents[2] / "docs/certificates/memory.json"

SHAPES = '''
"""Shapes."""


class Circle(Shape):
    """A round shape.

    More about it.
    """

    @property
    def area(self):
        """The size of the surface [in square metres]."""
        return 3

    def __repr__(self): return "Circle"

    @functools.lru_cache(maxsize=None)
    async def _load(self):
        def helper(): ...
        return helper


if True:
    try:
        def draw_httpThing(canvas):
            """Paint it."""
    except ImportError:
        def draw_httpThing(canvas):
            pass
    finally:
        match 1:
            case 1:
                class Last: "\\ud800 is half a character"
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    (source / "geometry").mkdir(parents=True)
    (source / "geometry" / "__init__.py").write_text("def open_window(): 'Open a window.'\n")
    (source / "geometry" / "shapes.py").write_text(SHAPES)
    (source / "broken.py").write_text("def f(:\n")
    (source / "null.py").write_bytes(b"def f(): '\x00'\n")
    (source / "coded.py").write_bytes(b"# coding: no-such-code\n")
    for skipped in (".hidden", "__pycache__", "site-packages", "env"):
        (source / skipped).mkdir()
        (source / skipped / "skipped.py").write_text("def skipped(): ...\n")
    (source / "env" / "pyvenv.cfg").touch()
    (source / "tests").mkdir()
    (source / "tests" / "test_it.py").write_text("def test_it():\n    warned = '\\d'\n    assert warned is 'x'\n")
    return source


def chunks_of(folder: Path) -> dict[str, Chunk]:
    return {chunk.name: chunk for chunk in read_corpus(folder, python_files(folder)).chunks}


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "120"})


# --- the corpus ------------------------------------------------------------------------------------------------------


def test_every_definition_is_a_chunk(folder: Path) -> None:
    corpus = read_corpus(folder, python_files(folder))
    assert [chunk.name for chunk in corpus.chunks] == [
        "open_window",
        "Circle",
        "Circle.area",
        "Circle.__repr__",
        "Circle._load",
        "Circle._load.helper",
        "draw_httpThing",
        "draw_httpThing",
        "Last",
        "test_it",
    ]
    assert (corpus.files, corpus.unreadable) == (3, 3)
    assert len({chunk.id for chunk in corpus.chunks}) == len(corpus.chunks)


def test_a_chunk_says_what_it_is(folder: Path) -> None:
    chunks = chunks_of(folder)
    assert chunks["Circle"].payload == {
        "path": "geometry/shapes.py",
        "module": "geometry.shapes",
        "name": "Circle",
        "kind": "class",
        "line": 5,
        "lines": 17,
        "has_doc": True,
        "tags": [],
    }
    assert chunks["Circle"].summary == "A round shape."
    assert chunks["Circle"].id == "geometry/shapes.py:5"
    assert chunks["open_window"].module == "geometry"
    assert {name: (chunk.kind, chunk.tags) for name, chunk in chunks.items() if name.startswith("Circle.")} == {
        "Circle.area": ("method", ("property",)),
        "Circle.__repr__": ("method", ("dunder",)),
        "Circle._load": ("method", ("async", "private", "lru_cache")),
        "Circle._load.helper": ("function", ()),
    }


def test_names_are_read_as_words(folder: Path) -> None:
    assert chunks_of(folder)["draw_httpThing"].text.split() == ["geometry", "shapes", "draw", "http", "Thing"]


def test_text_is_always_encodable(folder: Path) -> None:
    assert chunks_of(folder)["Last"].text.encode().endswith(b"? is half a character")


def test_tests_are_left_out_where_asked(folder: Path) -> None:
    names = [file.name for file in python_files(folder, with_tests=False)]
    assert names == ["broken.py", "coded.py", "null.py", "__init__.py", "shapes.py"]


def test_an_identifier_is_asked_for_where_one_definition_has_it() -> None:
    names = ["Circle.openWindow", "open_window", "Square.draw_thing", "run"]
    chunks = [chunk_at(line, name=name) for line, name in enumerate(names)]
    assert spoken_names(chunks) == {"draw thing": "a.py:2"}


def test_texts_are_cut_between_paragraphs(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# On cats\n\n" + "Cats sleep. " * 100 + "\n\n## On dogs\n\nDogs bark.\n\n---\n")
    (tmp_path / "empty.txt").write_text("\n***\n")
    chunks = read_corpus(tmp_path, text_files(tmp_path)).chunks
    assert [(one.name, one.line, one.kind, one.tags) for one in chunks] == [
        ("On cats", 1, "text", ("md",)),
        ("On dogs", 5, "text", ("md",)),
    ]
    assert chunks[1].summary == "## On dogs Dogs bark. ---"
    assert "Cats sleep" in chunks[0].text


def test_the_standard_library_is_a_corpus() -> None:
    folder = stdlib_folder() / "json"
    assert "JSONDecoder.raw_decode" in {chunk.name for chunk in read_corpus(folder, python_files(folder)).chunks}


# --- the embedding ---------------------------------------------------------------------------------------------------


def load_model() -> StaticModel:
    try:
        return StaticModel.load()
    except ModelMissingError as error:
        pytest.skip(f"THE EMBEDDING IS NOT TESTED, AND NEITHER IS THE COMPARISON: {error}")


def test_the_model_is_real() -> None:
    model = load_model()
    texts = ["a young dog", "a puppy", "compress data with gzip", "rent a house"]
    vectors = model.embed(texts)
    assert vectors.shape == (4, 256)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1.0, abs=1e-6)
    likeness = vectors @ vectors.T
    assert likeness[0, 1] > 0.4 > max(likeness[0, 2], likeness[0, 3])


def test_the_model_gives_the_same_bits_whatever_the_batch() -> None:
    model = load_model()
    texts = [f"{query} {number}" for number in range(40) for query in QUERIES]
    done: list[int] = []
    vectors = model.embed(texts, done.append)
    assert sum(done) == len(texts)
    assert len(done) > 1
    assert np.array_equal(vectors[700:703], model.embed(texts[700:703]))


def test_a_text_without_a_token_is_refused() -> None:
    with pytest.raises(ValueError, match="no token"):
        load_model().embed(["a text", ""])


@pytest.mark.parametrize("module", ["safetensors.numpy", "tokenizers", "wordllama"])
def test_a_missing_module_is_named(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    load_model()
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(ModelMissingError, match=rf"{module}.*codeweaver-conformance\[compare\]"):
        StaticModel.load()


# --- the judge -------------------------------------------------------------------------------------------------------


def chunk_at(line: int, **fields: Any) -> Chunk:
    return replace(Chunk("a.py", "a", "f", "function", line, 3, False, (), ""), **fields)


def a_workload(size: int = 30) -> Workload:
    """Points on a circle, the nearest to the query first; 9 and 10 tie at the border of the answer."""
    angles = np.linspace(0, 1.5, size)
    angles[10] = angles[9]
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    chunks = [chunk_at(row, kind="class" if row % 2 else "function") for row in range(size)]
    query = np.array([[1.0, 0.0]], dtype=np.float32)
    ids, payloads = [chunk.id for chunk in chunks], [chunk.payload for chunk in chunks]
    return Workload(Dataset("circle", {}, ids, vectors, payloads, ["the first"], query).with_filters())


def right_answer(workload: Workload) -> list[tuple[Any, float]]:
    scores = np.cos(np.linspace(0, 1.5, 30))
    return [(workload.data.ids[row], float(scores[row])) for row in range(LIMIT)]


def test_the_exact_answer_is_exact() -> None:
    workload = a_workload()
    (search,) = workload.unfiltered
    answer = right_answer(workload)
    assert workload.is_exact(search, answer)
    assert workload.recall(search, answer) == 1.0
    tied = [*answer[:9], (workload.data.ids[10], answer[9][1])]
    assert workload.is_exact(search, tied)
    assert same_answer(answer, tied)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda answer: answer[:-1],
        lambda answer: [answer[0], *answer[:-1]],
        lambda answer: [answer[1], answer[0], *answer[2:]],
        lambda answer: [(answer[0][0], answer[0][1] - 3 * TOLERANCE), *answer[1:]],
        lambda answer: [*answer[:-1], ("a.py:20", answer[-1][1])],
        lambda answer: [*answer[:-1], ("nobody", answer[-1][1])],
        lambda answer: [*answer[:-1], (9, answer[-1][1])],
    ],
    ids=["missing", "doubled", "order", "score", "another", "unknown", "type"],
)
def test_another_answer_is_not_exact(spoil: Any) -> None:
    workload = a_workload()
    (search,) = workload.unfiltered
    assert not workload.is_exact(search, spoil(right_answer(workload)))


def test_a_filter_counts() -> None:
    workload = a_workload()
    search = next(one for one in workload.filtered if one.filter and one.filter.label == "kind is function")
    assert workload.matching(search.filter) == 15
    assert not workload.is_exact(search, right_answer(workload))
    assert workload.recall(search, right_answer(workload)) == 0.5


@pytest.mark.parametrize("metric", list(DistanceMetric))
def test_the_judge_knows_every_metric(metric: DistanceMetric) -> None:
    data = replace(a_workload().data, metric=metric)
    workload, backend = Workload(data), MemoryBackend(MemoryConfig())

    async def answers() -> list[Any]:
        await backend.create_collection("it", 2, metric)
        await backend.upsert_batch("it", list(data.ids), data.vectors, list(data.payloads))
        asked = ((data.query_vectors[one.query], one.filter and one.filter.filter) for one in workload.searches)
        found = [await backend.search_vectors("it", vector, LIMIT, search_filter) for vector, search_filter in asked]
        return [[(hit.id, hit.score) for hit in hits] for hits in found]

    told = asyncio.run(answers())
    assert all(map(workload.is_exact, workload.searches, told))
    assert not workload.is_exact(workload.searches[0], [(one, score - 1e-4) for one, score in told[0]])


def test_filters_are_made_of_payloads() -> None:
    payloads = [
        {
            "kind": ("a", "b")[i % 2],
            "n": i,
            "ratio": i / 7,
            "is_good": i % 3 == 0,
            "tags": ["x"] if i % 2 else [],
            "title": f"the number {i} of them",
            "deep": {"x": 1},
            "a.b": "dots",
        }
        for i in range(400)
    ]
    filters, indexes = derive_filters(payloads)
    assert indexes == {"kind": "keyword", "n": "integer", "ratio": "float", "is_good": "bool", "tags": "keyword"}
    labels = [one.label for one in filters]
    assert {"kind is a", "n from 99 to 299", "is_good is true", "tags holds x", "title contains 'number'"} <= set(
        labels
    )
    assert labels[-2:] == ["not: title contains 'number'", "either n from 99 to 299, or kind is a"]
    counts = {one.label: sum(oracle.matches(one.filter, payload) for payload in payloads) for one in filters}
    assert counts["kind is a"] == counts["tags holds x"] == 200
    assert counts["n from 99 to 299"] == 201
    assert counts["not: title contains 'number'"] == 0
    assert derive_filters([]) == derive_filters([{}, {"deep": {}}]) == ([], {})


def test_answers_of_other_ids_or_scores_differ() -> None:
    one = [("a", 0.9), ("b", 0.8), ("c", 0.7)]
    assert same_answer(one, [("a", 0.9 + TOLERANCE / 2), ("b", 0.8), ("c", 0.7)])
    assert same_answer(one, [("a", 0.9), ("b", 0.8), ("d", 0.7)])
    assert same_answer([], [])
    assert not same_answer(one, [("b", 0.9), ("a", 0.8), ("c", 0.7)])
    assert not same_answer(one, [("a", 0.9), ("d", 0.8), ("c", 0.7)])
    assert not same_answer(one, [("a", 0.9), ("b", 0.8001), ("c", 0.7)])
    assert not same_answer(one, one[:2])


# --- the command -----------------------------------------------------------------------------------------------------


def test_compare_shows_the_outcome(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_model()
    monkeypatch.chdir(tmp_path)  # where there are no certificates
    done = run("compare", "memory", "--source", folder, "-q", "surface size")
    assert done.exit_code == 0, done.output
    assert "memory" in done.stdout
    assert "not verified" in done.stdout
    assert "exact" in done.stdout
    assert "Circle.area" in done.stdout
    assert "[in square metres]" in done.stdout
    assert "Found by an identifier's words" in done.stdout


def test_compare_writes_it_all(folder: Path, tmp_path: Path) -> None:
    load_model()
    certificates = tmp_path / "certificates"
    certificates.mkdir()
    certificate = json.loads(CERTIFICATE.read_text()) | {"created": "2024-05-01T12:00:00Z"}
    (certificates / "memory.json").write_text(json.dumps(certificate))
    queries = tmp_path / "queries.txt"
    queries.write_text("surface size\n\npaint\nsurface size\n")
    picture = tmp_path / "new" / "picture.svg"
    options = ("--source", folder, "--queries", queries, "--certificates", certificates)
    done = run("compare", "memory", *options, "--json", "--svg", picture)
    assert done.exit_code == 0, done.output
    assert "certified" in done.stderr
    assert "2024-05-01" in done.stderr
    assert "<svg" in picture.read_text()
    told = json.loads(done.stdout)
    assert told["ok"] is True
    assert told["queries"] == ["surface size", "paint"]
    assert told["corpus"] == {"folder": str(folder), "chunks": 10, "files": 3, "unreadable": 3}
    assert {one["label"]: one["matching"] for one in told["filters"]}["kind is function"] == 5
    assert told["pairs"] == []
    assert told["example"]["answers"][0]["name"] == "Circle.area"
    (engine,) = told["engines"]
    assert engine["name"] == engine["backend"] == "memory"
    assert (engine["verdict"], engine["verified"]) == ("certified", "2024-05-01T12:00:00Z")
    assert engine["error"] is None
    assert engine["points"] == 10
    assert engine["ingest"]["points_per_second"] > 0
    assert engine["indexes"] == {"kind": "keyword", "has_doc": "bool", "line": "integer", "tags": "keyword"}
    assert engine["unfiltered"]["recall"] == engine["filtered"]["recall"] == 1.0
    assert engine["unfiltered"]["searches"] == 6
    assert 0 < engine["unfiltered"]["p50"] <= engine["unfiltered"]["p95"]
    assert set(engine["filters"]) == {one["label"] for one in told["filters"]}
    assert (engine["inexact"], engine["altered"], engine["disk_bytes"]) == (0, 0, None)
    assert engine["sparse_index_seconds"] > 0
    assert list(engine["rankings"]) == ["dense", "sparse", "hybrid"]
    assert engine["rankings"]["sparse"]["mrr"] == 1.0  # few names, no word twice
    assert 0 < engine["rankings"]["dense"]["mrr"] <= 1.0
    assert engine["rankings"]["hybrid"]["p50"] > 0


def test_a_verdict_is_that_of_a_certificate_of_this_backend(tmp_path: Path) -> None:
    certificate = json.loads(CERTIFICATE.read_text())

    def verdict(**changes: object) -> str:
        (tmp_path / "memory.json").write_text(json.dumps(certificate | changes))
        return read_verdict("memory", tmp_path).verdict

    assert verdict() == "certified"
    assert verdict(environment=certificate["environment"] | {"reference": "mine:MyPlugin"}) == "not verified"
    assert verdict(verdict="failed") == "contradictory certificate"
    assert verdict(clauses=5) == "unreadable certificate"
    assert verdict(contract="0.9") == "outdated certificate"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "memory.json").write_text(json.dumps(certificate))
    assert read_verdict("memory", tmp_path, tmp_path / "other").verdict == "certified", "the newest"


def test_a_sample_is_enough(folder: Path) -> None:
    load_model()
    done = run("compare", "memory", "--source", folder, "--limit-chunks", 3, "--json")
    assert done.exit_code == 0
    told = json.loads(done.stdout)
    assert told["corpus"]["chunks"] == told["engines"][0]["points"] == 3
    assert len(told["queries"]) == len(QUERIES) >= 20


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nonesuch"], "no target or plugin is named 'nonesuch', and no deployment; known are:"),
        (["memory", "--source", "no/such/folder"], "there is no folder 'no/such/folder'"),
        (["memory", "--set", "timeout=5"], "a setting is spelt name.key=value"),
        (["memory", "--set", "nonesuch.timeout=5"], "no target or plugin is named 'nonesuch'"),
        (["memory", "--queries", "no-such-file"], "the queries cannot be read"),
        (["memory", "-q", "  "], "the queries are empty"),
    ],
)
def test_a_mistake_is_told_in_one_line(arguments: list[str], told: str) -> None:
    done = run("compare", *arguments)
    assert done.exit_code == 2
    assert told in done.stderr
    assert "Traceback" not in done.output


def test_a_folder_without_code_is_a_mistake(tmp_path: Path) -> None:
    load_model()
    done = run("compare", "memory", "--source", tmp_path)
    assert done.exit_code == 2
    assert "no function or class" in done.stderr


def test_a_secret_in_a_malformed_setting_is_not_shown() -> None:
    with pytest.raises(UnknownEngineError) as caught:
        parse_settings(["api_key=very-secret"])
    assert "very-secret" not in str(caught.value)
    assert parse_settings(["a.key=x=y", "a.other=1"]) == {"a": {"key": "x=y", "other": "1"}}


# --- engines ---------------------------------------------------------------------------------------------------------


def test_a_backend_without_columns_is_written_by_points(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_model()
    monkeypatch.setattr(MemoryBackend, "upsert_batch", ColumnarBackend.upsert_batch)
    done = run("compare", "memory", "--source", folder, "--json")
    assert done.exit_code == 0
    (engine,) = json.loads(done.stdout)["engines"]
    assert engine["ingest"]["columnar"] is False
    assert engine["points"] == 10


@pytest.mark.parametrize(
    ("given", "kept"),
    [({"path": "/somewhere"}, {"path": Path("data/it")}), ({"path": "s3://bucket"}, {}), ({"host": "here"}, {})],
    ids=["folder", "object store", "server"],
)
def test_only_data_of_this_machine_is_kept_in_a_folder(given: dict[str, Any], kept: dict[str, Any]) -> None:
    engine = engines.Engine("it", "memory", Target("it", "memory", lambda: nullcontext(given)), {"timeout": "5"})
    with engine.provide(Path("data")) as settings:
        assert settings == {**given, **kept, "timeout": "5"}
    with engine.provide(None) as settings:
        assert settings == {**given, "timeout": "5"}


def test_settings_make_a_target_the_plugin_of_its_name() -> None:
    (plain,) = engines.resolve_engines(["memory"], {})
    assert plain.target is not None
    (own,) = engines.resolve_engines(["memory", "memory"], {"memory": {"timeout": "5"}})
    assert own.target is None
    assert own.distribution.startswith("codeweaver-backends ")
    with own.provide(None) as settings:
        assert settings == {"timeout": "5"}


def test_a_broken_plugin_is_left_out_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"broken": Target("broken", "no-such-plugin", broken_engine), **find_targets()}
    monkeypatch.setattr(engines, "find_targets", lambda: found)
    chosen, left_out = engines.default_engines()
    assert chosen[0] == "memory"
    assert "broken" not in chosen
    assert "no-such-plugin" in left_out["broken"]


def test_of_the_ways_to_run_an_engine_here_the_first_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = find_targets()["memory"]
    ways = {name: replace(memory, name=name) for name in ("z-first", "another")}
    monkeypatch.setattr(engines, "find_targets", lambda: ways)
    assert engines.default_engines() == (["z-first"], {})


def test_an_engine_that_nobody_asked_for_and_that_is_not_here_is_left_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def provide() -> Iterator[dict[str, Any]]:
        raise NotProvisioned("looked for it in vain")
        yield {}

    memory = find_targets()["memory"]
    monkeypatch.setattr(
        engines, "find_targets", lambda: {"memory": memory, "absent": replace(memory, name="absent", provide=provide)}
    )
    monkeypatch.setattr(comparing, "default_engines", lambda: (["memory", "absent"], {}))
    told = run("compare", "--source", folder)
    assert told.exit_code == 0, told.output
    assert "absent is left out: looked for it in vain" in told.output
    assert run("compare", "absent", "--source", folder).exit_code == 1


# --- engines that go wrong -------------------------------------------------------------------------------------------


def broken_engine() -> AbstractContextManager[dict[str, Any]]:
    raise OSError("nobody is at home")


def test_a_failing_engine_stops_no_other(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_model()
    found = {"broken": Target("broken", "memory", broken_engine), **find_targets()}
    monkeypatch.setattr(engines, "find_targets", lambda: found)
    done = run("compare", "broken", "memory", "--source", folder, "--json")
    assert done.exit_code == 1
    assert "broken failed: nobody is at home" in done.stderr
    assert "memory gave the same answers" in done.stderr
    told = json.loads(done.stdout)
    assert [one["error"] for one in told["engines"]] == ["nobody is at home", None]
    assert told["ok"] is False


def test_settings_that_are_refused_are_the_engines_failure(folder: Path) -> None:
    load_model()
    done = run("compare", "memory", "--source", folder, "--set", "memory.timeout=-1")
    assert done.exit_code == 1
    assert "memory failed: the settings of 'memory' are invalid: timeout" in done.stdout


async def _without_the_best(backend: Any, *arguments: Any, **options: Any) -> list[SearchResult]:
    return (await _search(backend, *arguments, **options))[1:]


async def _without_the_filter(
    backend: Any, collection: str, vector: Any, limit: int = 10, search_filter: SearchFilter | None = None
) -> list[SearchResult]:
    return await _search(backend, collection, vector, limit)


async def _with_another_payload(backend: Any, *arguments: Any, **options: Any) -> list[SearchResult]:
    found = await _search(backend, *arguments, **options)
    for hit in found:
        payload = hit.payload or {}
        hit.payload = {**payload, "lines": float(payload["lines"])}
    return found


async def _create_euclidean(backend: Any, name: str, dimension: int, *_: Any, **options: Any) -> None:
    # The vectors have length 1, so ids and order are those of the cosine; only the scores are others.
    await _create(backend, name, dimension, DistanceMetric.EUCLIDEAN, **options)


_search, _create = MemoryBackend.search_vectors, MemoryBackend.create_collection


@pytest.mark.parametrize(
    ("method", "fault", "told"),
    [
        ("search_vectors", _without_the_best, "not exact"),
        ("search_vectors", _without_the_filter, "not exact"),
        ("search_vectors", _with_another_payload, "payloads altered"),
        ("create_collection", _create_euclidean, "not exact"),
    ],
)
def test_wrong_answers_are_told(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, fault: Any, told: str
) -> None:
    load_model()
    monkeypatch.setattr(MemoryBackend, method, fault)
    done = run("compare", "memory", "--source", folder)
    assert done.exit_code == 1
    assert told in " ".join(done.stdout.split())


def test_an_interrupted_comparison_is_interrupted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_model()

    async def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(MemoryBackend, "upsert_batch", interrupt)
    done = run("compare", "memory", "--source", folder)
    assert done.exit_code == 130
