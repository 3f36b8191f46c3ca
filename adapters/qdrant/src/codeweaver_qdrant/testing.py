"""How a Qdrant is had for tests: Edge as it is, a server by its address or its binary."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from codeweaver_backends.testing import NotProvisioned, ServerProcess, Target, answers_http, free_ports, is_listening

__all__ = ["Server", "find_binary", "targets"]

URL: Final = "CODEWEAVER_TEST_QDRANT_URL"
GRPC_PORT: Final = "CODEWEAVER_TEST_QDRANT_GRPC_PORT"
BINARY: Final = "CODEWEAVER_TEST_QDRANT_BINARY"
_TIMEOUT: Final = 20.0


@contextmanager
def _edge() -> Iterator[dict[str, Any]]:
    try:
        import qdrant_edge  # noqa: F401
    except ModuleNotFoundError:
        raise NotProvisioned("the module qdrant_edge: install codeweaver-qdrant[edge]") from None
    with tempfile.TemporaryDirectory(prefix="codeweaver-qdrant-", ignore_cleanup_errors=True) as path:
        yield {"path": path}


@contextmanager
def _server(transport: str) -> Iterator[dict[str, Any]]:
    url = os.environ.get(URL)
    if url:
        grpc_port = int(os.environ.get(GRPC_PORT, "6334"))
        yield {"transport": transport, "timeout": _TIMEOUT, "url": url, "grpc_port": grpc_port}
        return
    with _started(transport) as (_, settings):
        yield settings


@contextmanager
def _started(transport: str) -> Iterator[tuple[ServerProcess, dict[str, Any]]]:
    with Server(find_binary()) as server:
        ports = {"port": server.port, "grpc_port": server.grpc_port}
        yield server, {"transport": transport, "timeout": _TIMEOUT, **ports}


def find_binary() -> str:
    """The server's binary, or ``NotProvisioned``."""
    binary = os.environ.get(BINARY) or shutil.which("qdrant")
    if not binary:
        raise NotProvisioned(f"neither {URL} nor {BINARY} is set, and no qdrant is on the PATH")
    return binary


class Server(ServerProcess):
    """A server of this machine with temporary data, which can be killed and started again."""

    def __init__(self, binary: str, environment: Mapping[str, str] | None = None) -> None:
        self.port, self.grpc_port = free_ports(2)
        folder = Path(tempfile.mkdtemp(prefix="codeweaver-qdrant-"))
        own = {
            "QDRANT__SERVICE__HOST": "127.0.0.1",
            "QDRANT__SERVICE__HTTP_PORT": str(self.port),
            "QDRANT__SERVICE__GRPC_PORT": str(self.grpc_port),
            "QDRANT__STORAGE__STORAGE_PATH": str(folder / "storage"),
            "QDRANT__STORAGE__SNAPSHOTS_PATH": str(folder / "snapshots"),
            "QDRANT__TELEMETRY_DISABLED": "true",
            "QDRANT__LOG_LEVEL": "WARN",
        }
        super().__init__([binary], self._answers, environment=own | dict(environment or {}), folder=folder)

    def _answers(self) -> bool:
        return answers_http(self.port, "/readyz") and is_listening(self.grpc_port)


def _elsewhere(transport: str, port: int) -> dict[str, Any]:
    ports = {"port": port, "grpc_port": port} if transport == "grpc" else {"port": port}
    return {"transport": transport, "host": "127.0.0.1", **ports}


def targets() -> list[Target]:
    """The embedded engine, and a server by each of its roads."""
    return [
        Target("qdrant-edge", "qdrant-edge", _edge),
        *(
            Target(
                f"qdrant-{road}", "qdrant", partial(_server, road), partial(_elsewhere, road), partial(_started, road)
            )
            for road in ("grpc", "rest")
        ),
    ]
