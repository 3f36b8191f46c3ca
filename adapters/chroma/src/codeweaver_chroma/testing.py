"""How Chroma is had for tests: embedded in this process, and as a server."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from codeweaver_backends.testing import NotProvisioned, ServerProcess, Target, answers_http, free_ports

__all__ = ["URL", "chroma_server", "targets"]

URL: Final = "CODEWEAVER_TEST_CHROMA_URL"
TOKEN: Final = "CODEWEAVER_TEST_CHROMA_TOKEN"  # noqa: S105 - the name of a variable
_TIMEOUT: Final = 30.0
_START: Final = 120.0
"""Seconds the server is given to be ready."""
_COMMAND: Final = "import sys, chromadb_rust_bindings as chroma; chroma.cli(['chroma', *sys.argv[1:]])"
"""What ``chroma`` does, without importing the client first."""


def chroma_server() -> tuple[ServerProcess, dict[str, Any]]:
    """``chroma run`` of the installed package, to be entered, and the settings that reach it."""
    [port] = free_ports(1)
    command = [sys.executable, "-c", _COMMAND, "run", "--host", "127.0.0.1", "--port", str(port), "--path", "data"]
    quiet = {"ANONYMIZED_TELEMETRY": "False", "CHROMA_OTEL_COLLECTION_ENDPOINT": ""}
    process = ServerProcess(
        command, lambda: answers_http(port, "/api/v2/heartbeat"), environment=quiet, patience=_START
    )
    return process, {"host": "127.0.0.1", "port": port, "timeout": _TIMEOUT}


def _engine() -> None:
    if find_spec("chromadb") is None:
        raise NotProvisioned("the module chromadb: install codeweaver-chroma[embedded]")


@contextmanager
def _embedded() -> Iterator[dict[str, Any]]:
    _engine()
    with tempfile.TemporaryDirectory(prefix="codeweaver-chroma-") as folder:
        yield {"path": str(Path(folder) / "index"), "timeout": _TIMEOUT}


@contextmanager
def _server() -> Iterator[dict[str, Any]]:
    url = os.environ.get(URL)
    if url:
        token = os.environ.get(TOKEN)
        yield {"url": url, "timeout": _TIMEOUT, **({"api_key": token} if token else {})}
        return
    _engine()
    with _started() as (_, settings):
        yield settings


@contextmanager
def _started() -> Iterator[tuple[ServerProcess, dict[str, Any]]]:
    server, settings = chroma_server()
    with server:
        yield server, settings


def _elsewhere(port: int) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": port}


def targets() -> list[Target]:
    """Embedded in a temporary folder; a server by address, or one started on a free port."""
    return [
        Target("chroma", "chroma", _embedded, location="in-process"),
        Target("chroma-http", "chroma", _server, _elsewhere, _started),
    ]
