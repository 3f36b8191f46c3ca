"""Nothing foreign is imported: asking about backends brings no engine's client, creating one brings its own only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ADAPTERS = {
    "acme": ("acme_store", "acme_client"),
    "other": ("other_store", "other_client"),
}
"""Two distributions: the package of the adapter, and that of its engine's client."""

PLUGIN = """
from codeweaver_backends.capabilities import BackendCapabilities
from codeweaver_backends.plugins import DeclaredPlugin
from codeweaver_backends.types import BaseComponentInfo

class Plugin(DeclaredPlugin):
    info = BaseComponentInfo(name={name!r})
    capabilities = BackendCapabilities(supports_scan=True)
    backend = "{package}.backend:Store"
    config = "{package}.config:StoreConfig"
"""
CONFIG = """
from pydantic import BaseModel

class StoreConfig(BaseModel):
    path: str = ""
"""
BACKEND = """
import {client}
from {package}.config import StoreConfig

class Store:
    def __init__(self, config: StoreConfig) -> None:
        self.config = config
"""
CLIENTS = {client for _, client in ADAPTERS.values()} | {
    "asyncpg",
    "chromadb",
    "grpc",
    "lancedb",
    "milvus_lite",
    "pyarrow",
    "pymilvus",
    "qdrant_client",
    "qdrant_edge",
    "weaviate",
}
"""Those of this project's adapters too: they may be installed, and must not come along either."""

ENTRIES = {
    "list": ("CodeWeaverFactory().list_backends()", set()),
    "find": ("CodeWeaverFactory().find_backends(supports_scan=True)", set()),
    "capabilities": ("[CodeWeaverFactory().get_capabilities(name) for name in ('acme', 'other')]", set()),
    "by name": ("create_backend('acme', path='x')", {"acme_client"}),
    "by configuration": ("create_backend(__import__('acme_store.config').config.StoreConfig())", {"acme_client"}),
    "memory": ("create_backend('memory')", set()),
    "memory by configuration": ("create_backend(MemoryConfig())", set()),
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both adapters, as an installer would leave them."""
    folder = tmp_path_factory.mktemp("site")
    for name, (package, client) in ADAPTERS.items():
        info = folder / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[codeweaver.backends]\n{name} = {package}.plugin:Plugin\n")
        (folder / f"{client}.py").write_text("")
        (folder / package).mkdir()
        (folder / package / "__init__.py").write_text("")
        for module, source in {"plugin": PLUGIN, "config": CONFIG, "backend": BACKEND}.items():
            text = source.format(name=name, package=package, client=client)
            (folder / package / f"{module}.py").write_text(text)
    return folder


def imported(folder: Path, expression: str) -> set[str]:
    """The modules that a new process has after it evaluated this."""
    lines = [
        "import json, sys",
        "from codeweaver_backends import CodeWeaverFactory, MemoryConfig, create_backend",
        expression,
        "print(json.dumps(sorted(sys.modules)))",
    ]
    environment = os.environ | {"PYTHONPATH": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], env=environment, capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("entry", ENTRIES)
def test_only_the_chosen_engine_is_imported(installed: Path, entry: str) -> None:
    expression, clients = ENTRIES[entry]
    modules = imported(installed, expression)
    assert modules & CLIENTS == clients
    if entry in ("list", "by name", "by configuration", "memory", "memory by configuration"):
        assert not {name for name in modules if name.startswith("other_store")}
