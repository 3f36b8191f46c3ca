"""The sessions of this repository. ``nox`` runs the default ones: everything that needs no server of yours.

One table of engines; everything else follows from it. Each engine has an environment of its own, because clients clash,
and is installed newest and unlocked; ``nox -t matrix`` adds Pythons and the oldest clients allowed. Options after
``--`` go to pytest, or to the session's own command.
"""

from __future__ import annotations

import platform
import re
import shutil
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import nox
from nox.command import CommandFailed

nox.needs_version = ">=2024.10.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.error_on_missing_interpreters = True
nox.options.reuse_existing_virtualenvs = True

PYTHONS = ("3.11", "3.12", "3.13")
CORE = ("-e", "adapters/core[cli,parquet]")
KIT = (*CORE, "-e", "conformance")
TOOLS = ("-e", "tools")
"""What writes this repository's pages, measures, and plants defects: no part of what a plugin's author installs."""
EXAMPLE = ("apsw>=3.46", "sqlite-vec>=0.1.6")
"""The engine of the author's guide's example, ``tests/example``."""
HAS_MILVUS_PACKAGE = sys.platform == "linux" and platform.machine() == "x86_64"
"""The packaged Milvus server is made for these machines only."""


@dataclass(frozen=True)
class Engine:
    """One distribution under adapters/ and the ways to run it."""

    name: str
    targets: tuple[str, ...]
    """Targets of its ``testing.py``."""
    install: tuple[str, ...]
    """Requirements beyond the core and the kit."""
    server: frozenset[str] = frozenset()
    """Targets that need a server which no package brings: not verified, loudly, where none is found."""
    waiting: frozenset[str] = frozenset()
    """Targets whose server keeps its client waiting more than working: the suite runs on several processes."""


ENGINES = {
    engine.name: engine
    for engine in (
        Engine("core", ("memory",), ("opentelemetry-sdk>=1.30",)),
        Engine("lancedb", ("lancedb",), ("-e", "adapters/lancedb[test]")),
        Engine(
            "qdrant",
            ("qdrant-edge", "qdrant-grpc", "qdrant-rest", "qdrant-cluster"),
            ("-e", "adapters/qdrant[edge]"),
            frozenset({"qdrant-grpc", "qdrant-rest", "qdrant-cluster"}),
        ),
        Engine(
            "milvus",
            ("milvus-lite", "milvus-server"),
            ("-e", "adapters/milvus[lite,test]"),
            server=frozenset() if HAS_MILVUS_PACKAGE else frozenset({"milvus-server"}),
            waiting=frozenset({"milvus-server"}),
        ),
        Engine("pgvector", ("pgvector",), ("-e", "adapters/pgvector[embedded]", "pgvector>=0.4")),
        Engine("chroma", ("chroma", "chroma-http"), ("-e", "adapters/chroma[embedded]")),
        Engine(
            "weaviate",
            ("weaviate", "weaviate-cluster"),
            ("-e", "adapters/weaviate"),
            frozenset({"weaviate", "weaviate-cluster"}),
        ),
    )
    if Path("adapters", engine.name, "pyproject.toml").is_file()
}
TARGETS = {target: engine for engine in ENGINES.values() for target in engine.targets}
EMBEDDED = tuple(target for target, engine in TARGETS.items() if target not in engine.server)
SUITE = ("-p", "no:cacheprovider", "--pyargs", "codeweaver_conformance.suite", "-q", "--durations=5")
PEERS = ("langchain-tests>=1.1", "haystack-ai>=3.4")
"""Who brings standard tests for stores of others."""
nox.options.sessions = ["lint", "types", "tests", "conformance", "docs", "readme"]
"""Beside them, for their time: ``nox -t thorough`` (``defects``, ``wheels``), which the workflow runs on every push;
``peers``, ``differential``, ``faults``, ``ring``, ``matrix``, ``mutants``, ``quality``; and ``bench``, on a quiet
machine."""
USER_CODE = "adapters/core/tests/typing"
SOURCES = [f"adapters/{name}/src" for name in ENGINES] + ["conformance/src", "tools/codeweaver_tools"]


def prepare(session: nox.Session, engine: Engine | None, *extra: str) -> None:
    """Install the core and the kit, and an engine's adapter if asked for, all editable."""
    session.install("-q", *KIT, *(engine.install if engine else ()), "pytest-xdist>=3.6", *extra)


def run_pytest(session: nox.Session, *arguments: str) -> None:
    """Run pytest, and leave its counts in reports/junit/: ``.ci/run`` adds them up."""
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", session.name).strip("-")
    session.run("pytest", f"--junit-xml=reports/junit/{name}.xml", *arguments)


# --- the code --------------------------------------------------------------------------------------------------------


@nox.session
def lint(session: nox.Session) -> None:
    """Style, formatting, who imports whom, compose file and workflow by their schemas. All that is wrong is told."""
    session.install("-q", *KIT, *TOOLS, "ruff>=0.14", "check-jsonschema>=0.33", "import-linter>=2.17", "nox")
    # The adapters' sources are read and not run: their engines need not be there.
    session.install("-q", "--no-deps", *(part for name in ENGINES for part in ("-e", f"adapters/{name}")))
    checks = (
        ("ruff", "check", "."),
        ("ruff", "format", "--check", "."),
        ("lint-imports", "--no-cache"),
        ("check-jsonschema", "--builtin-schema", "vendor.compose-spec", "compose/compose.yaml"),
        ("check-jsonschema", "--builtin-schema", "vendor.github-workflows", ".github/workflows/ci.yml"),
        ("python", "-m", "codeweaver_tools.workflow", "--check"),
    )
    failed = []
    for check in checks:
        try:
            session.run(*check)
        except CommandFailed:
            failed.append(" ".join(check))
    if failed:
        session.error(f"failed: {'; '.join(failed)}")


@nox.session
def types(session: nox.Session) -> None:
    """Mypy, strict, over every distribution; and a page of user code as mypy and pyright see it."""
    engines = [part for engine in ENGINES.values() for part in engine.install]
    checkers = ("mypy>=1.18", "basedpyright>=1.31", "nox")
    session.install("-q", *CORE, "-e", "conformance[compare]", *TOOLS, *engines, *checkers)
    for source in SOURCES:
        session.run("mypy", source)
    session.run("mypy", "noxfile.py", f"{USER_CODE}/user_code.py")
    # Pyright as a wheel that brings its node along.
    session.run("basedpyright", "--project", USER_CODE, "--level", "error")


# --- tests -----------------------------------------------------------------------------------------------------------


@nox.session
@nox.parametrize("engine", [nox.param(name, id=name) for name in (*ENGINES, "repository")])
def tests(session: nox.Session, engine: str) -> None:
    """Unit tests: of an adapter without its engine, of the core, and of the repository with its kit."""
    if engine == "repository":
        embedded = [ENGINES[name].install for name in ("core", "lancedb", "qdrant", "pgvector")]
        prepare(
            session,
            None,
            *TOOLS,
            "-e",
            "conformance[compare]",
            *(part for one in embedded for part in one),
            *EXAMPLE,
            "pytest-asyncio>=0.24",
            "pytest-rerunfailures>=14",
            "playwright>=1.45",
            "dask>=2025.1",
        )
        # Two plugins are there for the kit's tests of itself, which start pytest anew; the first warns of our settings.
        folders = ("conformance/tests", "tests", "--ignore=tests/peers")  # those have a session of their own
        run_pytest(session, "-q", "-n", "2", "-p", "no:asyncio", *folders, *session.posargs)
    else:
        prepare(session, ENGINES[engine])
        folder = f"adapters/{engine}/tests"
        workers = ("-n", "2") if engine == "core" else ()  # it has no engine whose threads they would share
        run_pytest(session, "-q", *workers, folder, "--deselect", f"{folder}/test_conformance.py", *session.posargs)


@nox.session
@nox.parametrize("target", [nox.param(target, id=target) for target in TARGETS])
def conformance(session: nox.Session, target: str) -> None:
    """The whole suite against one engine, and its certificate in reports/certificates/."""
    prepare(session, TARGETS[target])
    certify(session, target)


@nox.session(python=PYTHONS, tags=["matrix"])
@nox.parametrize("resolution", [nox.param("highest", id="newest"), nox.param("lowest-direct", id="oldest")])
@nox.parametrize("target", [nox.param(target, id=target) for target in TARGETS])
def matrix(session: nox.Session, target: str, resolution: str) -> None:
    """Engine x Python x newest/oldest client."""
    prepare(session, TARGETS[target], "--resolution", resolution)
    certify(session, target, "--cw-report", f"reports/matrix/{session.name}")


def certify(session: nox.Session, target: str, *options: str) -> None:
    """Run the suite with the adapter's waivers; an engine that a package brings must be there."""
    waivers = Path("adapters", TARGETS[target].name, "conformance.toml")
    waived = ("--cw-waivers", str(waivers)) if waivers.is_file() else ()
    required = ("--cw-require",) if target in EMBEDDED else ()
    # Others work in this process, and two of them would hold each other's event loops up.
    workers = ("-n", "4") if target in TARGETS[target].waiting else ()
    run_pytest(session, *SUITE, f"--cw-backend={target}", *required, *waived, *workers, *options, *session.posargs)


@nox.session
@nox.parametrize("target", [nox.param(target, id=target) for target in EMBEDDED])
def peers(session: nox.Session, target: str) -> None:
    """LangChain's and Haystack's own tests of stores, by bridges over the public face, on one engine of a package."""
    prepare(session, TARGETS[target], *PEERS)
    run_pytest(session, "-q", "-c", "tests/peers/pytest.ini", "tests/peers", f"--target={target}", *session.posargs)


@nox.session(venv_backend="none")
def differential(session: nox.Session) -> None:
    """The same generated searches on every engine; then all answers beside each other, and beside the oracle's."""
    shutil.rmtree("reports/differential", ignore_errors=True)  # recordings of other cases cannot be compared
    for target in TARGETS:
        session.notify(f"record({target})", session.posargs)
    session.notify("judge")


@nox.session
@nox.parametrize("target", [nox.param(target, id=target) for target in TARGETS])
def record(session: nox.Session, target: str) -> None:
    """One engine's answers to the generated searches, in an environment of its own, as the clients clash."""
    prepare(session, TARGETS[target], *TOOLS)
    options = ("--target", target, "--seed", "20250101", "--cases", "5000", "--hybrid", "3000")
    # 3: no engine was found, which is said, and leaves the others to be compared.
    command = ("python", "-m", "codeweaver_tools.differential", "record", *options, *session.posargs)
    session.run(*command, success_codes=[0] if target in EMBEDDED else [0, 3])


@nox.session
def judge(session: nox.Session) -> None:
    """What was recorded, compared; written to reports/differential.json."""
    prepare(session, None, *TOOLS)
    session.run("python", "-m", "codeweaver_tools.differential", "judge")


@nox.session(tags=["thorough"])
def defects(session: nox.Session) -> None:
    """Planted defects: each must be killed by a clause, and the correct backends must not be."""
    prepare(session, None, *TOOLS)
    session.run("python", "-m", "codeweaver_tools.defects", *session.posargs)


@nox.session
def mutants(session: nox.Session) -> None:
    """Operator mutants of the memory backend, the template and two translators, judged by the suite alone."""
    engines = [part for name in ("qdrant", "pgvector") for part in ENGINES[name].install]
    prepare(session, None, *TOOLS, *engines, "cosmic-ray>=8.4")
    session.run("python", "-m", "codeweaver_tools.mutants", *session.posargs)


@nox.session
@nox.parametrize("target", [nox.param(target, id=target) for target in TARGETS if target != "memory"])
def faults(session: nox.Session, target: str) -> None:
    """Kills, full disks, hostile strings, secrets, on one real engine; figures go to reports/faults.json."""
    prepare(session, TARGETS[target], *TOOLS)
    # 3: something could not be tried here, which is said.
    command = ("python", "-m", "codeweaver_tools.faults", "--target", target)
    session.run(*command, *session.posargs, success_codes=[0] if target in EMBEDDED else [0, 3])


@nox.session
def ring(session: nox.Session) -> None:
    """50,000 points copied from engine to engine and back, also interrupted; figures go to reports/ring.json."""
    engines = [part for engine in ENGINES.values() for part in engine.install]
    prepare(session, None, *TOOLS, "-e", "conformance[compare]", *engines)
    through = ",".join(("lancedb", "pgvector", "qdrant-grpc", "milvus-lite", "chroma", "weaviate"))
    # 3: an engine could not be had, which is said.
    command = ("python", "-m", "codeweaver_tools.ring", "--through", through)
    session.run(*command, *session.posargs, success_codes=[0, 3])


# --- measuring -------------------------------------------------------------------------------------------------------


@nox.session
@nox.parametrize("target", [nox.param(target, id=target) for target in TARGETS])
def bench(session: nox.Session, target: str) -> None:
    """An adapter beside its engine's bare client, in one run; rows are merged into reports/bench.json."""
    engine = TARGETS[target]
    prepare(session, engine, *TOOLS)
    bare = f"adapters/{engine.name}/tests/bare.py"
    session.run("python", "-m", "codeweaver_tools.bench", "--target", target, "--bare", bare, *session.posargs)


@nox.session
def compare(session: nox.Session) -> None:
    """The main job, on the embedded engines."""
    extras = [part for name in ("lancedb", "qdrant") for part in ENGINES[name].install]
    session.install("-q", *CORE, "-e", "conformance[compare]", *extras)
    session.run("codeweaver-backends", "compare", *session.posargs)


@nox.session
def quality(session: nox.Session) -> None:
    """How well rankings find known answers, beside the text search of others; shown by docs/hybrid.md."""
    others = ("lancedb>=0.34", "qdrant-edge-py>=0.9", "bm25s>=0.2")
    session.install("-q", *CORE, "-e", "conformance[compare]", *TOOLS, *others)
    session.run("python", "-m", "codeweaver_tools.quality", *session.posargs)


@nox.session
def readme(session: nox.Session) -> None:
    """The README's first command, as it stands there, in a clean clone and with an empty home."""
    [command, *_] = re.findall(r"```sh\n(python3 -m venv .*?)\n```", Path("README.md").read_text(encoding="utf-8"))
    folder = Path(session.create_tmp())
    shutil.rmtree(folder / "clone", ignore_errors=True)
    (folder / "home").mkdir(exist_ok=True)
    session.run("git", "clone", "-q", ".", str(folder / "clone"), external=True)
    session.chdir(folder / "clone")
    session.run("sh", "-c", command, external=True, env={"HOME": str(folder / "home"), "VIRTUAL_ENV": None})


@nox.session(tags=["thorough"])
def wheels(session: nox.Session) -> None:
    """Build every distribution, check it, and use it from its wheel alone, outside of the checkout."""
    session.install("-q", "uv", "check-wheel-contents>=0.6", "twine>=6.1")
    built = Path(session.create_tmp()).resolve() / "dist"
    shutil.rmtree(built, ignore_errors=True)
    for folder in (*(f"adapters/{name}" for name in ENGINES), "conformance"):
        # The wheel is made of the sdist, so both are complete.
        session.run("uv", "build", "-q", "--out-dir", str(built), folder)
    archives = sorted(str(file) for file in built.glob("*.*z*")) + sorted(str(file) for file in built.glob("*.whl"))
    session.run("twine", "check", "--strict", *archives)
    found = {file.name.partition("-")[0]: file for file in built.glob("*.whl")}
    session.run("check-wheel-contents", *map(str, found.values()))
    unlicensed = [
        file.name
        for file in found.values()
        if not any(name.endswith(".dist-info/licenses/LICENSE") for name in zipfile.ZipFile(file).namelist())
    ]
    if unlicensed:
        session.error(f"without LICENSE: {', '.join(unlicensed)}")

    outside = Path(session.create_tmp()).resolve() / "outside"
    shutil.rmtree(outside, ignore_errors=True)
    shutil.copytree("tests/example", outside)
    (outside / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    home = outside / "home"
    home.mkdir()
    python = str(outside / "venv" / "bin" / "python")
    session.run("uv", "venv", "-q", "-p", str(Path(session.bin).resolve() / "python"), str(outside / "venv"))
    install = ("uv", "pip", "install", "-q", "-p", python)
    core, kit = found.pop("codeweaver_backends"), found.pop("codeweaver_conformance")
    session.run(*install, f"codeweaver-backends[cli] @ {core.as_uri()}", str(kit), *EXAMPLE)
    session.run(*install, "--no-deps", *map(str, found.values()))  # plugins are listed without their clients
    session.chdir(outside)
    # Nothing of this checkout, and nothing of the user's.
    environment = {"HOME": str(home), "PYTHONPATH": None, "VIRTUAL_ENV": None}
    session.run(python, "-m", "codeweaver_backends.cli", "list", env=environment, external=True)
    suite = (python, "-m", "pytest", *SUITE, "--cw-require", "--cw-cases=50")
    example = ("--cw-backend=codeweaver_sqlite_vec.plugin:SqliteVecPlugin", "--cw-set", "path=data")
    session.run(*suite, "--cw-backend=memory", env=environment, external=True)
    session.run(*suite, *example, env=environment | {"PYTHONPATH": "."}, external=True)


# --- documents -------------------------------------------------------------------------------------------------------


@nox.session
def docs(session: nox.Session) -> None:
    """Generate the pages that come from the code, and build the site; a broken link is an error."""
    prepare(session, None, *TOOLS, "mkdocs-material>=9.5", "mkdocstrings[python]>=0.30")
    session.run("python", "-m", "codeweaver_tools.pages", "--check")
    session.run("mkdocs", "build", "--strict", "--quiet", env={"NO_MKDOCS_2_WARNING": "1"})


if __name__ == "__main__":
    sys.exit("run me with nox")
