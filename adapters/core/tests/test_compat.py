"""The host application's import paths: stand-ins for what no installed host has of them.

What is installed shows in ``sys.modules``, so each case has a process of its own.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PLUGIN = """
from typing import Any

from codeweaver.backends.base import HybridSearchBackend, StreamingBackend, TransactionalBackend, VectorBackend
from codeweaver.cw_types import (
    BackendCapabilities, BackendConnectionError, BaseCapabilities, BaseComponentInfo, CollectionInfo, ComponentType,
    DistanceMetric, FilterCondition, HybridStrategy, SearchFilter, SearchResult, ValidationResult, VectorPoint,
)
from codeweaver.factories.codeweaver_factory import CodeWeaverFactory
from codeweaver.factories.plugin_protocols import BackendPlugin
from pydantic import BaseModel

class Settings(BaseModel):
    rows: int = 1

class Store(VectorBackend):
    def __init__(self, settings: Settings) -> None:
        self.settings = settings

class StorePlugin(BackendPlugin):
    @classmethod
    def get_plugin_name(cls) -> str:
        return "store"

    @classmethod
    def get_capabilities(cls) -> BaseCapabilities:
        return BackendCapabilities(supported_distance_metrics=[DistanceMetric.COSINE])

    @classmethod
    def get_component_info(cls) -> BaseComponentInfo:
        return BaseComponentInfo(name="store", component_type=ComponentType.BACKEND)

    @classmethod
    def get_backend_class(cls) -> type:
        return Store
"""


def run(program: str, folder: Path) -> str:
    """What the program prints; a warning is an error."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"import sys; sys.path.insert(0, {str(folder)!r})\n{program}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_plugin_written_for_the_host_runs_here(tmp_path: Path) -> None:
    (tmp_path / "their_store.py").write_text(PLUGIN)
    program = """
from codeweaver_backends import CodeWeaverFactory, VectorPoint, compat
compat.install()
compat.install()
assert [type(one).__name__ for one in sys.meta_path].count("_StandIns") == 1, "a second time changes nothing"
from codeweaver_backends.plugins import load_object
factory = CodeWeaverFactory()
name = factory.register_plugin(load_object("their_store:StorePlugin"))
print(name, factory.create_backend(name, rows=2).settings.rows)
import codeweaver.cw_types
assert codeweaver.cw_types.VectorPoint is VectorPoint
import codeweaver.factories.codeweaver_factory
assert codeweaver.factories.codeweaver_factory.CodeWeaverFactory is CodeWeaverFactory
assert not hasattr(codeweaver.backends.base, "CodeWeaverFactory")
"""
    assert run(program, tmp_path) == "store 2"


HOST = "who = 'the host'\n"


@pytest.mark.parametrize("host", ["none", "without its old modules", "of the old modules"])
def test_an_installed_plugin_written_for_the_host_is_created_by_name(tmp_path: Path, host: str) -> None:
    (tmp_path / "their_store.py").write_text(PLUGIN)
    info = tmp_path / "their_store-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-store\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[codeweaver.backends]\nstore = their_store:StorePlugin\n")
    if host != "none":
        (tmp_path / "codeweaver" / "backends").mkdir(parents=True)
        (tmp_path / "codeweaver" / "__init__.py").write_text(HOST)
        (tmp_path / "codeweaver" / "backends" / "__init__.py").write_text(HOST)
    if host == "of the old modules":
        sources = ("types", "errors", "capabilities")
        imports = "".join(f"from codeweaver_backends.{one} import *\n" for one in sources)
        (tmp_path / "codeweaver" / "cw_types.py").write_text(imports + HOST)
    program = """
from codeweaver_backends import CodeWeaverFactory
factory = CodeWeaverFactory()
made = factory.create_backend("store", rows=3)
import codeweaver, codeweaver.cw_types, codeweaver.backends.base
print(made.settings.rows, getattr(codeweaver, "who", "-"), getattr(codeweaver.cw_types, "who", "-"))
"""
    expected = {
        "none": "3 - -",
        "without its old modules": "3 the host -",
        "of the old modules": "3 the host the host",
    }
    assert run(program, tmp_path) == expected[host]


def test_importing_the_suite_installs_nothing_and_imports_no_engine(tmp_path: Path) -> None:
    program = """
import sys
import codeweaver_backends
engines = "qdrant_client pymilvus milvus_lite weaviate lancedb psycopg asyncpg"
others = "codeweaver codeweaver_conformance pytest hypothesis"
print(sorted({name.partition(".")[0] for name in sys.modules} & {*engines.split(), *others.split()}))
"""
    assert run(program, tmp_path) == "[]"
