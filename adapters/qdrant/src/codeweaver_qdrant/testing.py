"""How a Qdrant is had for tests: Edge and the in-process imitation as they are, a server by its address or binary."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from codeweaver_backends.testing import NotProvisioned, Target

__all__ = ["Server", "find_binary", "targets"]

URL: Final = "CODEWEAVER_TEST_QDRANT_URL"
GRPC_PORT: Final = "CODEWEAVER_TEST_QDRANT_GRPC_PORT"
BINARY: Final = "CODEWEAVER_TEST_QDRANT_BINARY"
_START: Final = 60.0
"""Seconds a binary is given to answer."""


@contextmanager
def _edge() -> Iterator[dict[str, Any]]:
    try:
        import qdrant_edge  # noqa: F401
    except ModuleNotFoundError:
        raise NotProvisioned("the module qdrant_edge: install codeweaver-qdrant[edge]") from None
    with tempfile.TemporaryDirectory(prefix="codeweaver-qdrant-", ignore_cleanup_errors=True) as path:
        yield {"path": path}


@contextmanager
def _local() -> Iterator[dict[str, Any]]:
    from qdrant_client import AsyncQdrantClient

    yield {"client": AsyncQdrantClient(location=":memory:")}  # one for all of a run's backends: they share its points


@contextmanager
def _server(transport: str) -> Iterator[dict[str, Any]]:
    settings: dict[str, Any] = {"transport": transport, "timeout": 20.0}
    url = os.environ.get(URL)
    if url:
        yield settings | {"url": url, "grpc_port": int(os.environ.get(GRPC_PORT, "6334"))}
        return
    with Server(find_binary()) as server:
        yield settings | {"port": server.port, "grpc_port": server.grpc_port}


def find_binary() -> str:
    """The server's binary, or ``NotProvisioned``."""
    binary = os.environ.get(BINARY) or shutil.which("qdrant")
    if not binary:
        raise NotProvisioned(f"neither {URL} nor {BINARY} is set, and no qdrant is on the PATH")
    return binary


class Server:
    """A server of this machine with temporary data, which can be killed and started again."""

    def __init__(self, binary: str, environment: Mapping[str, str] | None = None) -> None:
        self.port, self.grpc_port = _free_port(), _free_port()
        self._binary = binary
        self._folder = Path(tempfile.mkdtemp(prefix="codeweaver-qdrant-"))
        self._environment = {
            "QDRANT__SERVICE__HOST": "127.0.0.1",
            "QDRANT__SERVICE__HTTP_PORT": str(self.port),
            "QDRANT__SERVICE__GRPC_PORT": str(self.grpc_port),
            "QDRANT__STORAGE__STORAGE_PATH": str(self._folder / "storage"),
            "QDRANT__STORAGE__SNAPSHOTS_PATH": str(self._folder / "snapshots"),
            "QDRANT__TELEMETRY_DISABLED": "true",
            "QDRANT__LOG_LEVEL": "WARN",
            **(environment or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Server:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        """Start it, after ``kill`` on what it had stored, and wait until it answers."""
        log = self._folder / "log"
        with log.open("ab") as stream:
            process = self._process = subprocess.Popen(  # noqa: S603 - the binary is the one the user named
                [self._binary], cwd=self._folder, env=os.environ | self._environment, stdout=stream, stderr=stream
            )
        end = time.monotonic() + _START
        while time.monotonic() < end and process.poll() is None:
            try:
                with (
                    urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=1),
                    socket.create_connection(("127.0.0.1", self.grpc_port), timeout=1),
                ):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        raise NotProvisioned(f"the binary did not come up: {log.read_text(errors='replace')[-500:]}")

    def kill(self) -> None:
        """Kill it, as a power failure would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _elsewhere(transport: str, port: int) -> dict[str, Any]:
    ports = {"port": port, "grpc_port": port} if transport == "grpc" else {"port": port}
    return {"transport": transport, "host": "127.0.0.1", **ports}


def targets() -> list[Target]:
    """The embedded engine, the imitation, and a server by each of its roads."""
    provide: dict[str, Callable[[], AbstractContextManager[dict[str, Any]]]] = {
        transport: partial(_server, transport) for transport in ("grpc", "rest")
    }
    return [
        Target("qdrant-edge", "qdrant-edge", _edge),
        Target("qdrant-local", "qdrant", _local),
        *(
            Target(f"qdrant-{transport}", "qdrant", provider, partial(_elsewhere, transport))
            for transport, provider in provide.items()
        ),
    ]
