"""What import-linter cannot say of the arrows (pyproject.toml has its contracts), and that the adapters are alike."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ADAPTERS = sorted(path.parent for path in ROOT.glob("adapters/*/pyproject.toml") if path.parent.name != "core")
FILES = {
    "__init__.py",
    "plugin.py",
    "config.py",
    "backend.py",
    "client.py",
    "dialect.py",
    "errors.py",
    "schema.py",
    "testing.py",
    "version.py",
    "py.typed",
}
EXAMPLES = {"lancedb", "qdrant"}
"""Engines that documents, sessions and tests of the kit use as examples."""
LISTS = {
    "tests/test_architecture.py",
    "adapters/core/tests/test_compat.py",
    "adapters/core/tests/test_lazy.py",
    "tests/test_docs_current.py",
}
"""Tests that list engines which must not be known somewhere."""
CHOSEN = {"tests/test_bulk_load.py", "tools/codeweaver_tools/mutants.py"}
"""What is tried on some engines only."""
UNTRACKED = {".venv", ".nox", ".git", ".hypothesis", "reports", "dist", "site", "build"}
STANDARD = set(sys.stdlib_module_names)


def package(folder: Path) -> Path:
    [found] = [path for path in (folder / "src").iterdir() if path.is_dir() and path.name.startswith("codeweaver_")]
    return found


def imports(file: Path, *, top_level_only: bool = False) -> Iterator[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    nodes = tree.body if top_level_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def tops(folder: Path) -> set[str]:
    return {name.partition(".")[0] for file in folder.rglob("*.py") for name in imports(file)} - STANDARD


def test_the_core_has_few_dependencies() -> None:
    allowed = {"codeweaver_backends", "numpy", "orjson", "portalocker", "pydantic", "pydantic_settings"}
    core = ROOT / "adapters/core/src/codeweaver_backends"
    # Extras, each kept to its place: the command's, and those of one file.
    assert tops(core / "cli") <= {*allowed, "rich", "typer"}
    extras = {
        "readers/arrow.py": "pyarrow",
        "transfer/parquet.py": "pyarrow",
        "telemetry.py": "opentelemetry",
        "sources.py": "keyring",
    }
    for name, extra in extras.items():
        assert {one.partition(".")[0] for one in imports(core / name)} - STANDARD <= {*allowed, extra}
    alone = {core / name for name in extras}
    others = [file for file in core.rglob("*.py") if file not in alone and not file.is_relative_to(core / "cli")]
    assert {name.partition(".")[0] for file in others for name in imports(file)} - STANDARD <= allowed


def test_the_kit_knows_no_engine() -> None:
    kit = tops(ROOT / "conformance/src")
    engines = {
        "lancedb",
        "qdrant_client",
        "qdrant_edge",
        "pymilvus",
        "weaviate",
        "asyncpg",
        "psycopg",
        "chromadb",
        "pyarrow",
    }
    assert not kit & engines


def test_the_suite_names_no_engine() -> None:
    names = re.compile("|".join(folder.name for folder in ADAPTERS), re.IGNORECASE)
    for file in (ROOT / "conformance/src/codeweaver_conformance/suite").glob("*.py"):
        assert not names.search(file.read_text(encoding="utf-8")), file.name


@pytest.mark.parametrize("folder", [one for one in ADAPTERS if one.name not in EXAMPLES], ids=lambda path: path.name)
def test_adding_an_engine_touches_nothing_else(folder: Path) -> None:
    """A line for the sessions, one for the workspace, an extra of the core, a server in the compose file; the workflow
    is made of these, and the rest is documents."""
    code = {path for kind in ("py", "toml", "yml", "yaml") for path in ROOT.rglob(f"*.{kind}")}
    ours = {path.relative_to(ROOT) for path in code if not UNTRACKED & set(path.relative_to(ROOT).parts)}
    own = folder.relative_to(ROOT)
    named = {
        path.as_posix()
        for path in ours
        if not path.is_relative_to(own) and folder.name in (ROOT / path).read_text(encoding="utf-8")
    }
    assert {"noxfile.py", "pyproject.toml"} <= named
    allowed = {"compose/compose.yaml", "adapters/core/pyproject.toml", ".github/workflows/ci.yml"}
    assert named <= {"noxfile.py", "pyproject.toml", *allowed, *LISTS, *CHOSEN}


def test_files_are_short() -> None:
    """A reader holds one file in mind. The table of the contract's clauses is read line by line."""
    sources = [*ROOT.glob("adapters/*/src/**/*.py"), *ROOT.glob("conformance/src/**/*.py"), *ROOT.glob("tools/**/*.py")]
    tables = {"contract.py"}
    long = {file.name for file in sources if len(file.read_text(encoding="utf-8").splitlines()) > 450}
    assert long <= tables


@pytest.mark.parametrize("name", ["oracle", "oracle_hybrid"])
def test_the_oracles_use_types_and_nothing_else_of_the_core(name: str) -> None:
    file = ROOT / f"conformance/src/codeweaver_conformance/{name}.py"
    ours = {one for one in imports(file) if one.startswith("codeweaver")}
    assert ours - {"codeweaver_conformance.oracle"} == {"codeweaver_backends.types"}


@pytest.mark.parametrize("folder", ADAPTERS, ids=lambda path: path.name)
def test_adapters_have_the_same_files(folder: Path) -> None:
    assert {path.name for path in package(folder).iterdir()} >= FILES
    tests = {path.name for path in (folder / "tests").iterdir()}
    assert tests >= {"test_conformance.py", "test_dialect.py", "test_schema.py", "bare.py"}
    assert (folder / "conformance.toml").is_file()
    assert (folder / "README.md").is_file()


@pytest.mark.parametrize("folder", ADAPTERS, ids=lambda path: path.name)
def test_adapters_export_alike(folder: Path) -> None:
    tree = ast.parse((package(folder) / "__init__.py").read_text(encoding="utf-8"))
    [names] = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__"
    ]
    for kind in ("Backend", "Config", "Plugin"):
        assert any(name.endswith(kind) for name in names), kind
    assert "__version__" in names


@pytest.mark.parametrize("folder", ADAPTERS, ids=lambda path: path.name)
def test_listing_a_plugin_imports_no_client(folder: Path) -> None:
    light = {"numpy", "orjson", "pydantic", "pydantic_settings", "codeweaver_backends", package(folder).name}
    for name in ("plugin.py", "config.py"):
        heavy = (
            {one.partition(".")[0] for one in imports(package(folder) / name, top_level_only=True)} - STANDARD - light
        )
        assert not heavy, name


@pytest.mark.parametrize(
    "folder", [*ADAPTERS, ROOT / "adapters/core", ROOT / "conformance"], ids=lambda path: path.name
)
def test_distributions_are_described_alike(folder: Path) -> None:
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["requires-python"] == ">=3.11"
    assert project["license"] == "Apache-2.0"
    if folder.name != "core":
        assert any(re.match(r"codeweaver-backends>=[\d.]+,<", one) for one in project["dependencies"]), "bounds by hand"
    for requirement in project["dependencies"]:
        assert re.search(r">=|==", requirement), f"{requirement} has no lower bound"


@pytest.mark.parametrize(
    "folder", [ROOT / "adapters/core", *ADAPTERS, ROOT / "conformance"], ids=lambda path: path.name
)
def test_every_distribution_says_whose_it_is(folder: Path) -> None:
    described = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert described["license-files"] == ["LICENSE"]
    assert (folder / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert {"Homepage", "Contract", "Source", "Issues"} <= described["urls"].keys()
    assert "pip install -e" not in (folder / "README.md").read_text(encoding="utf-8"), "its page is read on an index"
