"""How a Weaviate is had for tests: a server by its address, or a binary that is started here."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from codeweaver_backends.testing import NotProvisioned, Target

__all__ = ["Server", "find_binary", "targets"]

URL: Final = "CODEWEAVER_TEST_WEAVIATE_URL"
GRPC_PORT: Final = "CODEWEAVER_TEST_WEAVIATE_GRPC_PORT"
API_KEY: Final = "CODEWEAVER_TEST_WEAVIATE_API_KEY"
BINARY: Final = "CODEWEAVER_TEST_WEAVIATE_BINARY"
_TIMEOUT: Final = 20.0
_START: Final = 90.0
"""Seconds a binary is given to be ready."""
_STOP: Final = 20.0


class Server:
    """One node of a Weaviate of our own, on free ports of this machine. It can be killed and started again."""

    def __init__(self, binary: str, folder: Path, **environment: str) -> None:
        self._binary = str(Path(binary).absolute())
        self._folder = folder
        self._environment = environment
        self._ports = _free_ports(6)
        self._process: subprocess.Popen[bytes] | None = None
        self.api_key = secrets.token_urlsafe(12)

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that reach it."""
        rest, grpc, *_ = self._ports
        return {"host": "127.0.0.1", "port": rest, "grpc_port": grpc, "api_key": self.api_key, "timeout": _TIMEOUT}

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        rest, grpc, gossip, data, raft, raft_rpc = map(str, self._ports)
        own = {
            "PERSISTENCE_DATA_PATH": str(self._folder / "data"),
            "AUTHENTICATION_APIKEY_ENABLED": "true",
            "AUTHENTICATION_APIKEY_ALLOWED_KEYS": self.api_key,
            "AUTHENTICATION_APIKEY_USERS": "tester",
            "DEFAULT_VECTORIZER_MODULE": "none",
            "ENABLE_MODULES": "",
            "API_BASED_MODULES_DISABLED": "true",
            "DISABLE_TELEMETRY": "true",
            "GO_PROFILING_DISABLE": "true",
            "LOG_LEVEL": "warning",
            "CLUSTER_HOSTNAME": "node1",
            "CLUSTER_ADVERTISE_ADDR": "127.0.0.1",
            "CLUSTER_BIND_ADDR": "127.0.0.1",
            "GRPC_PORT": grpc,
            "CLUSTER_GOSSIP_BIND_PORT": gossip,
            "CLUSTER_DATA_BIND_PORT": data,
            "RAFT_PORT": raft,
            "RAFT_INTERNAL_RPC_PORT": raft_rpc,
            "RAFT_BOOTSTRAP_EXPECT": "1",
        }
        log = self._folder / "log"
        with log.open("ab") as stream:
            self._process = subprocess.Popen(  # noqa: S603 - the binary is the one the user named
                [self._binary, "--host", "127.0.0.1", "--port", rest, "--scheme", "http"],
                cwd=self._folder,
                env=os.environ | own | self._environment,
                stdout=stream,
                stderr=subprocess.STDOUT,
            )
        end = time.monotonic() + _START
        while time.monotonic() < end and self._process.poll() is None:
            if _is_ready(rest):
                return
            time.sleep(0.1)
        self.kill()
        raise NotProvisioned(f"the binary did not come up: {log.read_text(errors='replace')[-500:]}")

    def kill(self) -> None:
        """End it at once, as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def pause(self) -> None:
        """Have it answer nothing, as a machine that is overloaded does."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Have it go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, which: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(which)

    def stop(self) -> None:
        """End it in order."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(_STOP)
            except subprocess.TimeoutExpired:
                self.kill()


def find_binary() -> str | None:
    """The binary of the environment variable, or the one on the ``PATH``."""
    return os.environ.get(BINARY) or shutil.which("weaviate")


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def _is_ready(port: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/.well-known/ready", timeout=1):
            return True
    except (urllib.error.URLError, OSError):
        return False


@contextmanager
def _provide() -> Iterator[dict[str, Any]]:
    url = os.environ.get(URL)
    binary = find_binary()
    if url:
        settings: dict[str, Any] = {"url": url, "timeout": _TIMEOUT}
        if GRPC_PORT in os.environ:
            settings["grpc_port"] = int(os.environ[GRPC_PORT])
        if API_KEY in os.environ:
            settings["api_key"] = os.environ[API_KEY]
        yield settings
    elif binary:
        with tempfile.TemporaryDirectory(prefix="codeweaver-weaviate-", ignore_cleanup_errors=True) as folder:
            server = Server(binary, Path(folder))
            try:
                server.start()
                yield server.settings
            finally:
                server.stop()
    else:
        raise NotProvisioned(f"neither {URL} nor {BINARY} is set, and no weaviate is on the PATH")


def _elsewhere(port: int) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": port, "grpc_port": port}


def targets() -> list[Target]:
    """One server, by both of its ports."""
    return [Target("weaviate", "weaviate", _provide, _elsewhere)]
