"""Choosing: what is rejected and why, in what order the rest stands, what the reports say, and with which status."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from codeweaver_backends import BackendCapabilities, DistanceMetric, Limits
from codeweaver_backends.errors import InvalidOptionError
from codeweaver_conformance.cli import app
from codeweaver_conformance.cli.choosing import _command
from codeweaver_conformance.compare.choosing import Choice, _misses
from codeweaver_conformance.compare.dataset import Dataset
from codeweaver_conformance.compare.engines import Engine
from codeweaver_conformance.compare.latency import Latency
from codeweaver_conformance.compare.measure import Measurement
from codeweaver_conformance.compare.ranking import FIGURES, Candidate, growth, rank
from codeweaver_conformance.compare.report import Verdict
from codeweaver_conformance.compare.requirements import Requirements, read_requirements, shortcomings

# --- requirements ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "claims", "told"),
    [
        ({"runs": "server"}, {}, "it runs in the process, and a server is asked for"),
        ({"metrics": ["cosine", "manhattan"]}, {}, "it has no metric manhattan (it has cosine)"),
        ({"hybrid": True}, {}, "it does not claim supports_hybrid_search"),
        ({"transactions": True}, {}, "it does not claim supports_transactions"),
        ({"filters": ["regex"]}, {}, "it does not claim supports_regex"),
        ({"filters": ["contains"]}, {"supports_contains": False}, "it does not claim supports_contains"),
        ({"processes": 2}, {"supports_multiple_instances": False}, "one process at a time may have its data open"),
        ({"dimension": 5_000}, {}, "its vectors have at most 4,096 dimensions, not 5,000"),
        ({"points": 2_000, "recall": 1.0}, {}, "it promises exact answers up to 1,000 points, not for 2,000"),
        ({"payload_bytes": 2_000_000}, {}, "a payload has at most 1,048,576 bytes, not 2,000,000"),
    ],
)
def test_what_stands_against_it_is_told(asked: dict[str, Any], claims: dict[str, Any], told: str) -> None:
    needs = Requirements(**asked)
    reasons = shortcomings(needs, BackendCapabilities(**claims), is_server=False, is_persistent=True)
    assert len(reasons) == 1
    assert told in reasons[0]
    assert shortcomings(Requirements(), BackendCapabilities(**claims), is_server=False, is_persistent=True) == []


def test_what_can_do_it_all_has_nothing_against_it() -> None:
    claims = BackendCapabilities(
        supports_hybrid_search=True,
        supports_transactions=True,
        supports_streaming=True,
        supports_scan=True,
        supports_regex=True,
        supports_payload_indexes=True,
        supported_distance_metrics=list(DistanceMetric),
        limits=Limits(exact_size=1_000_000),
    )
    needs = Requirements(
        points=1_000_000,
        metrics=tuple(DistanceMetric),
        filters=("equality", "range", "contains", "datetime", "regex", "indexed"),
        hybrid=True,
        transactions=True,
        streaming=True,
        scan=True,
        runs="server",
        persistent=True,
        processes=8,
        recall=1.0,
    )
    assert shortcomings(needs, claims, is_server=True, is_persistent=True) == []
    assert shortcomings(needs, claims, is_server=False, is_persistent=False) == [
        "it runs in the process, and a server is asked for",
        "it keeps nothing after the process has ended",
        "what it holds is of one process, and 8 are to share it",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[requirements]\npoints = 0", "points: Input should be greater than 0"),
        ("[requirements]\npointz = 1", "pointz: there is no such setting; did you mean 'points'?"),
        ("[requirements]\nfilters = ['like']", "filters.0: Input should be 'equality'"),
        ("requirements = 1", "must be a table"),
        ("[requirements", "cannot be read"),
    ],
)
def test_requirements_that_cannot_be_meant_are_refused(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "it.toml"
    file.write_text(text)
    with pytest.raises(InvalidOptionError, match=r"requirements|Input|no such setting") as caught:
        read_requirements(file, {})
    assert told in str(caught.value)


def test_options_win_over_the_table(tmp_path: Path) -> None:
    file = tmp_path / "it.toml"
    file.write_text("[requirements]\npoints = 5\nprefer = 'disk'\n")
    assert read_requirements(file, {"points": 9, "runs": None}) == Requirements(points=9, prefer="disk")


# --- the order -------------------------------------------------------------------------------------------------------


def measured(points: int, p95: float, **figures: Any) -> Measurement:
    latency = Latency(p95 / 2, p95, p95 * 1.1, 10, (p95 / 3, p95 / 2.5, p95 / 2, p95 / 1.5, p95, p95 * 1.1))
    told = {"memory_bytes": 1, "disk_bytes": 1, "ingest_seconds": 1.0, **figures}
    return Measurement(
        "it", points=points, unfiltered=latency, filtered=latency, recall=1.0, filtered_recall=1.0,
        inexact=0, altered=0, capabilities=BackendCapabilities(), **told,
    )  # fmt: skip


def candidate(name: str, p95: float, verdict: str = "certified", **figures: Any) -> Candidate:
    one = Candidate(Engine(name, "memory"), Verdict(verdict, "2024-05-01"), False, True)
    one.measured = [measured(100, p95 / 2, **figures), measured(400, p95, **figures)]
    return one


def names(candidates: list[Candidate], **asked: Any) -> list[str]:
    return [one.name for one in rank(candidates, Requirements(**asked))]


def test_the_faster_one_comes_first_and_noise_does_not_decide() -> None:
    slow, fast, near = candidate("slow", 0.05), candidate("fast", 0.01, disk_bytes=9), candidate("near", 0.012)
    assert names([slow, fast, near]) == ["near", "fast", "slow"]
    assert fast.reasons[-1] == "behind near, which is 9.0 times smaller on disk"
    assert slow.reasons[-1] == "behind fast, which is 5.0 times faster to search"
    assert not any(reason.startswith("behind") for reason in near.reasons)


def test_what_is_preferred_decides() -> None:
    one, other = candidate("one", 0.01, memory_bytes=1_000_000), candidate("other", 0.1, memory_bytes=1_000)
    assert names([one, other]) == ["one", "other"]
    assert names([one, other], prefer="memory") == ["other", "one"]


def test_certified_comes_before_fast() -> None:
    fast, sure = candidate("fast", 0.01, "not verified"), candidate("sure", 0.1)
    assert names([fast, sure]) == ["sure", "fast"]
    assert fast.reasons[-1] == "behind sure: certified comes first"


def test_what_is_not_known_does_not_win() -> None:
    one, other = candidate("one", 0.01, disk_bytes=None), candidate("other", 0.01, disk_bytes=5_000)
    assert names([one, other], prefer="disk") == ["other", "one"]
    assert "is not known" in one.reasons[-1]


def test_who_would_not_keep_the_limit_with_all_points_comes_last_and_is_not_recommended() -> None:
    """Both kept it where they were measured; carried on from 400 to 6,400 points one does not."""
    fast, flat = candidate("fast", 0.01), candidate("flat", 0.02)
    flat.measured[0] = measured(100, 0.02)
    asked = {"points": 6_400, "p95_ms": 30}
    assert names([fast, flat], **asked) == ["flat", "fast"]
    assert fast.doubts == ["p95 of a search, the slower of filtered and not, 40.0 ms, where 30 are allowed"]
    assert fast.reasons[-1] == "behind flat: what may not do comes last"
    data = Dataset(
        "it", {}, [], np.zeros((0, 2), np.float32), [], [], np.zeros((0, 2), np.float32), DistanceMetric.COSINE
    )
    needs = Requirements(**asked)
    choice = Choice(needs, needs, data, (100, 400), [fast], rank([fast], needs), {}, "", "")
    assert choice.best is None
    assert choice.verdict.startswith(
        "None is shown to do it with 6,400 points. fast comes nearest, and is in doubt: p95"
    )


def test_growth_is_a_power() -> None:
    assert growth(candidate("it", 0.01), FIGURES["latency"]) == pytest.approx(0.5)
    assert growth(candidate("it", 0.01), FIGURES["disk"]) == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("result", "asked", "told"),
    [
        ({}, {}, None),
        ({"altered": 2}, {}, "2 results with 400 points have not the payload that was written"),
        ({"inexact": 3}, {}, "3 answers with 400 points are not the exact ones, which it promises"),
        ({"recall": 0.9}, {}, "find 0.900 of the exact answers, and 0.95 are asked for"),
        (
            {},
            {"p95_ms": 5},
            "with 400 points: p95 of a search, the slower of filtered and not, 10.0 ms, where 5 are allowed",
        ),
        ({"disk_bytes": 3_000_000}, {"disk_mb": 2}, "with 400 points: disk 3.0 MB, where 2 are allowed"),
    ],
)
def test_what_was_measured_may_stand_against_it(result: Any, asked: dict[str, Any], told: str | None) -> None:
    one = measured(400, 0.01)
    for name, value in result.items():
        setattr(one, name, value)
    reasons = _misses(one, Requirements(**asked))
    assert bool(reasons) is (told is not None)
    assert told is None or told in reasons[0]


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return tmp_path


@pytest.fixture
def points(here: Path) -> Path:
    """Points of others, in JSON lines."""
    vectors = np.random.default_rng(5).normal(size=(200, 8)).round(3)
    rows = [
        {"id": f"p{row}", "vector": vector.tolist(), "kind": ("a", "b", "c")[row % 3], "n": row, "note": "some words"}
        for row, vector in enumerate(vectors)
    ]
    file = here / "points.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    return file


def run(*arguments: object, status: int = 0, columns: int = 80) -> Any:
    done = CliRunner().invoke(app, [str(one) for one in arguments], env={"COLUMNS": str(columns)})
    assert done.exit_code == status, done.output
    assert "Traceback" not in done.output
    return done


def test_choose_writes_what_it_found(points: Path, here: Path) -> None:
    reports = [option for ending in ("html", "md", "json") for option in ("-o", here / "out" / f"it.{ending}")]
    options = ("--source", points, "--concurrency", 3, "--points", 5_000)
    told = json.loads(run("choose", "memory", *options, *reports, "--json").stdout)
    assert told["ok"] is True
    assert told["best"] == "memory"
    assert told["verdict"] == "Take memory, the only one that can do it."
    assert told["sizes"] == [45, 180]
    assert told["requirements"]["metrics"] == ["cosine"]
    [one] = told["candidates"]
    assert (one["rejected"], one["missing"]) == ([], "")
    small, large = one["measured"]
    assert (small["points"], large["points"]) == (45, 180)
    for part in ("unfiltered", "filtered", "concurrent"):
        assert 0 < large[part]["p50"] <= large[part]["p95"] <= large[part]["p99"]
    assert large["unfiltered"]["recall"] == large["filtered"]["recall"] == 1.0
    assert large["memory_bytes"] > 0
    assert large["concurrent"]["per_second"] > 0
    assert one["growth"].keys() == {"latency", "ingest", "memory", "disk"}
    assert any("5,000 are asked for" in line for line in told["unverified"])
    assert any("of the points were not written" in line for line in told["unverified"])
    assert json.loads((here / "out" / "it.json").read_text())["best"] == "memory"
    page, markdown = ((here / "out" / f"it.{ending}").read_text() for ending in ("html", "md"))
    for text in (page, markdown):
        for part in ("Take memory", "What was asked for", "Side by side", "What was not verified", "How to reproduce"):
            assert part in text
        assert "Carried on to 5,000 points" in text
    assert page.count("<svg") == 3
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in page
    assert sorted(one.name for one in (here / "out").iterdir()) == ["it.html", "it.json", "it.md"]


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_what_is_said_fits(points: Path, columns: int) -> None:
    said = run("choose", "memory", "--source", points, columns=columns).stdout
    assert "1. memory" in said
    assert max(map(len, said.splitlines())) <= columns


def test_where_nobody_can_do_it_that_is_said(points: Path, here: Path) -> None:
    options = ("--source", points, "--runs", "server", "-o", here / "it.html")
    done = run("choose", "memory", *options, status=1)
    assert "None of the installed backends can do it." in done.stdout
    assert "it runs in the process, and a server is asked for" in " ".join(done.stdout.split())
    page = (here / "it.html").read_text()
    assert "None of the installed backends can do it." in page
    assert "it runs in the process, and a server is asked for" in page
    options = ("--source", points, "--points", 5_000, "--p95-ms", 1e-6, "--json")
    [one] = json.loads(run("choose", "memory", *options, status=1).stdout)["candidates"]
    assert "are allowed" in one["rejected"][0]
    assert one["at_required"].keys() >= {"latency", "ingest", "memory"}, "what was measured is carried on, fit or not"


def test_a_mistake_is_told_before_anything_is_measured(points: Path) -> None:
    for arguments, told in (
        (("-o", "it.pdf"), "a report ends in .html, .md, .json"),
        (("--filter", "like"), "filters.0"),
        (("-r", "none.toml"), "the requirements cannot be read"),
        (("-q", "words"), "holds vectors, and a text is none"),
        (("nonesuch",), "no target or plugin is named 'nonesuch'"),
        (("--set", "memory.timeout=5"), "--set belongs to engines that are named"),
    ):
        done = run("choose", "--source", points, *arguments, status=2)
        assert told in " ".join(done.stderr.split()), done.stderr


def test_a_secret_is_not_in_the_command() -> None:
    location = "memory:api_key=s3cr3t"
    shown = Engine("memory:api_key=***", "memory", reference=location)
    told = _command(["choose", location, "--set", "a.token=s3cr3t", "--set=b.token=s3cr3t"], [shown])
    assert "s3cr3t" not in told
    assert "'memory:api_key=***'" in told


# --- data ------------------------------------------------------------------------------------------------------------


def test_data_of_every_sort(points: Path, here: Path) -> None:
    vectors = np.random.default_rng(6).normal(size=(60, 8)).astype(np.float32)
    np.save(here / "it.npy", vectors)
    np.savez(here / "it.npz", vectors=vectors, ids=np.arange(1_000, 1_060))
    np.save(here / "queries.npy", vectors[:5] + 0.01)
    run("bench", "memory:", "--source", "it.npy", "--metric", "manhattan", "--queries", "queries.npy")
    run("bench", "memory:", "--source", "it.npz", "--queries", points)
    told = json.loads(run("bench", "memory:", "--source", points, "--concurrency", 2, "--json").stdout)
    assert told["ok"] is True
    assert told["points"] == 180
    assert told["unfiltered"]["recall"] == told["filtered"]["recall"] == 1.0
    assert told["indexes"] == {"kind": "keyword", "n": "integer"}
    said = run("bench", "memory:", "--source", points, columns=60).stdout
    assert "recall@10" in said
    assert max(map(len, said.splitlines())) <= 60


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (np.zeros((3, 2), np.float32), "row 1: the vector is zero"),
        (np.array([[1, 2], [np.nan, 1]]), "row 2, column 'vectors': the vector holds NaN"),
        (np.ones(4), "not (points, dimension)"),
        (np.array([["a", "b"]]), "not (points, dimension)"),
    ],
)
def test_an_array_that_is_not_of_vectors_is_refused(here: Path, content: Any, told: str) -> None:
    np.save(here / "it.npy", content)
    assert told in " ".join(run("bench", "memory:", "--source", "it.npy", status=2).stderr.split())


def test_bad_files_are_refused(points: Path, here: Path) -> None:
    (here / "it.npy").write_text("no array")
    (here / "it.jsonl").write_text('{"id": 1, "vector": [1, null]}\n')
    (here / "it.txt").write_text("words")
    np.savez(here / "it.npz", other=np.ones((2, 2)))
    np.save(here / "other.npy", np.ones((2, 3)))
    for arguments, told in (
        (("it.npy",), "it cannot be read as arrays of numbers"),
        (("it.npz",), "there is no column 'vectors'; there are 'other'"),
        (("it.jsonl",), "it.jsonl, row 1"),
        (("it.txt",), "must end in .parquet"),
        (("none.npy",), "there is no folder"),
        ((points, "--queries", "other.npy"), "its vectors have another length"),
    ):
        assert told in " ".join(run("bench", "memory:", "--source", *arguments, status=2).stderr.split())


# --- engines in processes of their own -------------------------------------------------------------------------------


def test_an_engine_that_dies_is_rejected_and_the_others_are_measured(
    points: Path, here: Path, installed: Any, command: Any
) -> None:
    fatal = (
        'connection.execute("pragma journal_mode = wal")',
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    )
    environment = installed(here, "fatal-vec", fatal)
    done = command(environment, here, "choose", "fatal-vec", "memory", "--source", points, "--json")
    assert done.returncode == 0, done.stderr
    told = {one["name"]: one for one in json.loads(done.stdout)["candidates"]}
    assert told["fatal-vec"]["rejected"] == ["it failed with 0 points here: its process was ended by SIGKILL"]
    assert told["memory"]["rejected"] == []


def test_a_new_project_is_measured_beside_the_others(points: Path, here: Path, installed: Any, command: Any) -> None:
    environment = installed(here, "shelf-vec")
    done = command(environment, here, "choose", "shelf-vec", "memory", "--source", points, "--persistent", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["best"] == "shelf-vec"
    assert {one["name"]: one["rejected"] for one in told["candidates"]} == {
        "memory": ["it keeps nothing after the process has ended"],
        "shelf-vec": [],
    }
    [one] = [one for one in told["candidates"] if one["name"] == "shelf-vec"]
    assert one["measured"][-1]["disk_bytes"] > 0


@pytest.mark.skipif(sys.platform == "win32", reason="THE INTERRUPTION IS NOT TESTED: signals are of POSIX")
def test_interrupted_it_leaves_nothing(points: Path, here: Path, installed: Any) -> None:
    waiting = ("answer = work(connection)", "answer = work(connection); import time; time.sleep(0.5)")
    environment = {**installed(here, "slow-vec", waiting), "TMPDIR": str(here / "tmp")}
    (here / "tmp").mkdir()
    # A shell's background jobs ignore Ctrl-C, and so would this one.
    heed = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    heed += "from codeweaver_backends.cli import main; main()"
    line = [sys.executable, "-c", heed, "choose", "slow-vec", "--source", str(points), "-o", "it.html"]
    with subprocess.Popen(
        line,
        cwd=here,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        deadline = time.monotonic() + 60
        while not list((here / "tmp").rglob("points.db")) and time.monotonic() < deadline:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        said, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert "interrupted" in told
    assert "Traceback" not in said + told
    assert list((here / "tmp").iterdir()) == []
    assert not (here / "it.html").exists()
