"""How LanceDB is had for tests: it runs in the process, in a folder or in an object store that is thrown away."""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from typing import Any, Final

from codeweaver_backends.testing import NotProvisioned, ServerProcess, Target, answers_http, free_ports

__all__ = ["object_store", "targets"]

STORE: Final = "CODEWEAVER_TEST_LANCEDB_STORE"
"""The address of an object store, ``s3://bucket/prefix``; its credentials are where the engine looks for them."""
_BUCKET: Final = "codeweaver"
_TIMEOUT: Final = 60.0


def _need(package: str, told: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise NotProvisioned(told)


@contextmanager
def _provide() -> Iterator[dict[str, Any]]:
    _need("lancedb", "looked for the package lancedb, which is not installed")
    with tempfile.TemporaryDirectory(prefix="codeweaver-lancedb-") as folder:
        yield {"path": folder}


@contextmanager
def object_store() -> Iterator[dict[str, Any]]:
    """The settings of an empty bucket: of the store that is named, or of moto's server on this machine."""
    _need("lancedb", "looked for the package lancedb, which is not installed")
    if STORE in os.environ:
        yield {"path": os.environ[STORE], "timeout": _TIMEOUT}
        return
    _need("moto", f"{STORE} is not set, and moto's server is not installed: codeweaver-lancedb[test]")
    [port] = free_ports(1)
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with ServerProcess(command, lambda: answers_http(port, "/moto-api/")):
        with closing(HTTPConnection("127.0.0.1", port)) as connection:
            connection.request("PUT", f"/{_BUCKET}")
            connection.getresponse()
        options = {
            "aws_endpoint": f"http://127.0.0.1:{port}",
            "allow_http": "true",
            "aws_region": "us-east-1",
            "aws_access_key_id": "testing",
            "aws_secret_access_key": "testing",
        }
        yield {"path": f"s3://{_BUCKET}/data", "storage_options": options, "timeout": _TIMEOUT}


def targets() -> list[Target]:
    """One folder or bucket per run, shared by the run's backends."""
    return [Target("lancedb", "lancedb", _provide), Target("lancedb-s3", "lancedb", object_store)]
