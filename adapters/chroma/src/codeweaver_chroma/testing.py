"""How Chroma is had for tests: embedded in this process, and as a server."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from codeweaver_backends.testing import NotProvisioned, Target

__all__ = ["URL", "RunningServer", "targets"]

URL: Final = "CODEWEAVER_TEST_CHROMA_URL"
TOKEN: Final = "CODEWEAVER_TEST_CHROMA_TOKEN"  # noqa: S105 - the name of a variable
_TIMEOUT: Final = 30.0
_START: Final = 120.0
"""Seconds the server is given to be ready."""
_STOP: Final = 20.0
_COMMAND: Final = "import sys, chromadb_rust_bindings as chroma; chroma.cli(['chroma', *sys.argv[1:]])"
"""What ``chroma`` does, without importing the client first."""


class RunningServer:
    """``chroma run`` of the installed package, on a free port of this machine. It can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that reach it."""
        return {"host": "127.0.0.1", "port": self.port, "timeout": _TIMEOUT}

    def start(self) -> None:
        """Start it, and wait until it answers."""
        arguments = ["run", "--host", "127.0.0.1", "--port", str(self.port), "--path", str(self._folder / "data")]
        log = self._folder / "log"
        with log.open("ab") as stream:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter
                [sys.executable, "-c", _COMMAND, *arguments],
                cwd=self._folder,
                env=os.environ | {"ANONYMIZED_TELEMETRY": "False", "CHROMA_OTEL_COLLECTION_ENDPOINT": ""},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
            )
        end = time.monotonic() + _START
        while time.monotonic() < end and self._process.poll() is None:
            if _is_ready(self.port):
                return
            time.sleep(0.1)
        self.kill()
        raise NotProvisioned(f"chroma run did not come up: {log.read_text(errors='replace')[-500:]}")

    def kill(self) -> None:
        """End it at once, as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """End it in order."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(_STOP)
            except subprocess.TimeoutExpired:
                self.kill()


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v2/heartbeat", timeout=1):
            return True
    except (urllib.error.URLError, OSError):
        return False


@contextmanager
def _embedded() -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="codeweaver-chroma-") as folder:
        yield {"path": str(Path(folder) / "index"), "timeout": _TIMEOUT}


@contextmanager
def _server() -> Iterator[dict[str, Any]]:
    url = os.environ.get(URL)
    if url:
        token = os.environ.get(TOKEN)
        yield {"url": url, "timeout": _TIMEOUT, **({"api_key": token} if token else {})}
        return
    with tempfile.TemporaryDirectory(prefix="codeweaver-chroma-", ignore_cleanup_errors=True) as folder:
        server = RunningServer(Path(folder))
        try:
            server.start()
            yield server.settings
        finally:
            server.stop()


def _elsewhere(port: int) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": port}


def targets() -> list[Target]:
    """Embedded in a temporary folder; a server by address, or one started on a free port."""
    return [
        Target("chroma", "chroma", _embedded),
        Target("chroma-http", "chroma", _server, _elsewhere),
    ]
