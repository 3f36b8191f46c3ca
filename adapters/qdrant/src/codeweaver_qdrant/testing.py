"""How a Qdrant is had for tests: Edge as it is, a server and a cluster by their address or their binary."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from codeweaver_backends.testing import (
    NotProvisioned,
    ServerProcess,
    Target,
    answers_http,
    balanced,
    free_ports,
    is_listening,
)

__all__ = ["Server", "cluster", "find_binary", "targets"]

URL: Final = "CODEWEAVER_TEST_QDRANT_URL"
GRPC_PORT: Final = "CODEWEAVER_TEST_QDRANT_GRPC_PORT"
BINARY: Final = "CODEWEAVER_TEST_QDRANT_BINARY"
CLUSTER_URL: Final = "CODEWEAVER_TEST_QDRANT_CLUSTER_URL"
CLUSTER_GRPC_PORT: Final = "CODEWEAVER_TEST_QDRANT_CLUSTER_GRPC_PORT"
_TIMEOUT: Final = 20.0
_NODES: Final = 3
_JOINED: Final = 60.0
"""Seconds that nodes are given to see each other."""
_REPLICATED: Final = {"engine_options": {"replication_factor": 2}}


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
        raise NotProvisioned(f"neither an address ({URL}, {CLUSTER_URL}) nor {BINARY} is set, no qdrant is on the PATH")
    return binary


class Server(ServerProcess):
    """A server of this machine with temporary data, which can be killed and started again."""

    def __init__(
        self, binary: str, environment: Mapping[str, str] | None = None, arguments: Sequence[str] = ()
    ) -> None:
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
        super().__init__([binary, *arguments], self._answers, environment=own | dict(environment or {}), folder=folder)

    def _answers(self) -> bool:
        return answers_http(self.port, "/readyz") and is_listening(self.grpc_port)


@contextmanager
def cluster(binary: str, size: int = _NODES) -> Iterator[list[Server]]:
    """Nodes that see each other; each can be killed, paused and started again. Raises ``NotProvisioned``."""
    addresses = [f"http://127.0.0.1:{port}" for port in free_ports(size)]
    with ExitStack() as stack:
        nodes: list[Server] = []
        for address in addresses:
            own = {"QDRANT__CLUSTER__ENABLED": "true", "QDRANT__CLUSTER__P2P__PORT": address.rpartition(":")[2]}
            joins = ("--bootstrap", addresses[0]) if nodes else ()
            nodes.append(stack.enter_context(Server(binary, own, ("--uri", address, *joins))))
        end = time.monotonic() + _JOINED
        while not all(_sees(node, size) for node in nodes):
            if time.monotonic() > end:
                raise NotProvisioned(f"{size} nodes of {binary} did not see each other in {_JOINED:.0f} s")
            time.sleep(0.1)
        yield nodes


def _sees(node: Server, size: int) -> bool:
    """Whether a node knows so many, and who leads them."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"http://127.0.0.1:{node.port}/cluster", timeout=2) as answer:
            told = json.load(answer)["result"]
    except OSError:
        return False
    return len(told["peers"]) == size and bool(told["raft_info"]["leader"])


@contextmanager
def _cluster() -> Iterator[dict[str, Any]]:
    """Three nodes, two of which have each point, behind a balancer: each instance of the backend is at another one."""
    url = os.environ.get(CLUSTER_URL)
    if url:
        grpc_port = int(os.environ.get(CLUSTER_GRPC_PORT, "6334"))
        yield {"transport": "grpc", "timeout": _TIMEOUT, "url": url, "grpc_port": grpc_port, **_REPLICATED}
        return
    with (
        cluster(find_binary()) as nodes,
        balanced([node.port for node in nodes], [node.grpc_port for node in nodes]) as (port, grpc_port),
    ):
        yield {"transport": "grpc", "timeout": _TIMEOUT, "port": port, "grpc_port": grpc_port, **_REPLICATED}


@contextmanager
def _nodes() -> Iterator[list[tuple[ServerProcess, dict[str, Any]]]]:
    with cluster(find_binary()) as nodes:
        road = {"transport": "grpc", "timeout": _TIMEOUT, **_REPLICATED}
        yield [(node, {**road, "port": node.port, "grpc_port": node.grpc_port}) for node in nodes]


def _elsewhere(transport: str, port: int) -> dict[str, Any]:
    ports = {"port": port, "grpc_port": port} if transport == "grpc" else {"port": port}
    return {"transport": transport, "host": "127.0.0.1", **ports}


def targets() -> list[Target]:
    """The embedded engine, a server by each of its roads, and a cluster."""
    return [
        Target("qdrant-edge", "qdrant-edge", _edge),
        *(
            Target(
                f"qdrant-{road}", "qdrant", partial(_server, road), partial(_elsewhere, road), partial(_started, road)
            )
            for road in ("grpc", "rest")
        ),
        Target("qdrant-cluster", "qdrant", _cluster, partial(_elsewhere, "grpc"), nodes=_nodes),
    ]
