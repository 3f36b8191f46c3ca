"""Provision Weaviate for tests: a server or a cluster by its address, or of a binary that is started here."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from codeweaver_backends.testing import NotProvisioned, ServerProcess, Target, answers_http, balanced, free_ports

__all__ = ["Server", "cluster", "find_binary", "targets"]

URL: Final = "CODEWEAVER_TEST_WEAVIATE_URL"
GRPC_PORT: Final = "CODEWEAVER_TEST_WEAVIATE_GRPC_PORT"
API_KEY: Final = "CODEWEAVER_TEST_WEAVIATE_API_KEY"
BINARY: Final = "CODEWEAVER_TEST_WEAVIATE_BINARY"
CLUSTER_URL: Final = "CODEWEAVER_TEST_WEAVIATE_CLUSTER_URL"
CLUSTER_GRPC_PORT: Final = "CODEWEAVER_TEST_WEAVIATE_CLUSTER_GRPC_PORT"
_TIMEOUT: Final = 20.0
_NODES: Final = 3
_JOINED: Final = 120.0
"""Seconds that nodes are given to see each other."""
_REPLICATED: Final = {"engine_options": {"replicationConfig.factor": 2}}


def _two_ports() -> tuple[int, int]:
    """Free ports side by side: nodes on one machine ask each other at the second without being told of it."""
    while True:
        [first] = free_ports(1)
        with socket.socket() as probe, suppress(OSError, OverflowError):
            probe.bind(("127.0.0.1", first + 1))
            return first, first + 1


class Server(ServerProcess):
    """One node of this machine with temporary data, which can be killed and started again."""

    def __init__(self, binary: str, **environment: str) -> None:
        rest, self.grpc_port = free_ports(2)
        (self.gossip_port, data), (self.raft_port, raft_rpc) = _two_ports(), _two_ports()
        self.port = rest
        self.api_key = environment.get("AUTHENTICATION_APIKEY_ALLOWED_KEYS") or secrets.token_urlsafe(12)
        folder = Path(tempfile.mkdtemp(prefix="codeweaver-weaviate-"))
        own = {
            "PERSISTENCE_DATA_PATH": str(folder / "data"),
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
            "GRPC_PORT": str(self.grpc_port),
            "CLUSTER_GOSSIP_BIND_PORT": str(self.gossip_port),
            "CLUSTER_DATA_BIND_PORT": str(data),
            "RAFT_PORT": str(self.raft_port),
            "RAFT_INTERNAL_RPC_PORT": str(raft_rpc),
            "RAFT_BOOTSTRAP_EXPECT": "1",
        }
        super().__init__(
            [str(Path(binary).absolute()), "--host", "127.0.0.1", "--port", str(rest), "--scheme", "http"],
            lambda: answers_http(rest, "/v1/.well-known/ready"),
            environment=own | environment,
            folder=folder,
        )

    def join(self, environment: Mapping[str, str]) -> None:
        """Be told of the other nodes, before it is started."""
        self._environment |= environment

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that reach it."""
        return {
            "host": "127.0.0.1",
            "port": self.port,
            "grpc_port": self.grpc_port,
            "api_key": self.api_key,
            "timeout": _TIMEOUT,
        }


def find_binary() -> str:
    """The binary of the environment variable, or the one on the ``PATH``; else ``NotProvisioned``."""
    binary = os.environ.get(BINARY) or shutil.which("weaviate")
    if not binary:
        raise NotProvisioned(f"neither an address ({URL}, {CLUSTER_URL}) nor {BINARY} is set, no weaviate on the PATH")
    return binary


@contextmanager
def _provide() -> Iterator[dict[str, Any]]:
    url = os.environ.get(URL)
    if url:
        settings: dict[str, Any] = {"url": url, "timeout": _TIMEOUT}
        if GRPC_PORT in os.environ:
            settings["grpc_port"] = int(os.environ[GRPC_PORT])
        if API_KEY in os.environ:
            settings["api_key"] = os.environ[API_KEY]
        yield settings
        return
    with _started() as (_, settings):
        yield settings


@contextmanager
def _started() -> Iterator[tuple[ServerProcess, dict[str, Any]]]:
    with Server(find_binary()) as server:
        yield server, server.settings


@contextmanager
def cluster(binary: str, size: int = _NODES) -> Iterator[list[Server]]:
    """Nodes that see each other; each can be killed, paused and started again. Raises ``NotProvisioned``."""
    key = {"AUTHENTICATION_APIKEY_ALLOWED_KEYS": secrets.token_urlsafe(12)}
    nodes = [Server(binary, CLUSTER_HOSTNAME=f"node{number}", **key) for number in range(1, size + 1)]
    common = {
        "CLUSTER_IN_LOCALHOST": "true",
        "CLUSTER_JOIN": ",".join(f"127.0.0.1:{node.gossip_port}" for node in nodes),
        "RAFT_JOIN": ",".join(f"node{number}:{node.raft_port}" for number, node in enumerate(nodes, start=1)),
        "RAFT_BOOTSTRAP_EXPECT": str(size),
    }
    with ExitStack() as stack, ThreadPoolExecutor(size) as pool:
        for node in nodes:
            node.join(common)
            stack.push(node)  # what has not come up is cleared away, too
        list(pool.map(Server.start, nodes))  # none is ready before most of them are there
        end = time.monotonic() + _JOINED
        while not all(_sees(node, size) for node in nodes):
            if time.monotonic() > end:
                raise NotProvisioned(f"{size} nodes of {binary} did not see each other in {_JOINED:.0f} s")
            time.sleep(0.1)
        yield nodes


def _sees(node: Server, size: int) -> bool:
    """Whether a node knows so many that are well."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    headers = {"Authorization": f"Bearer {node.api_key}"}
    try:
        with direct.open(urllib.request.Request(f"http://127.0.0.1:{node.port}/v1/nodes", None, headers)) as answer:
            told = json.load(answer)["nodes"]
    except OSError:
        return False
    return [one["status"] for one in told] == ["HEALTHY"] * size


@contextmanager
def _cluster() -> Iterator[dict[str, Any]]:
    """Three nodes, two of which have each point, behind a balancer: each instance of the backend is at another one."""
    url = os.environ.get(CLUSTER_URL)
    if url:
        yield {
            "url": url,
            "grpc_port": int(os.environ.get(CLUSTER_GRPC_PORT, "50051")),
            "timeout": _TIMEOUT,
            **_REPLICATED,
        }
        return
    with (
        cluster(find_binary()) as nodes,
        balanced([node.port for node in nodes], [node.grpc_port for node in nodes]) as (port, grpc_port),
    ):
        yield nodes[0].settings | {"port": port, "grpc_port": grpc_port, **_REPLICATED}


@contextmanager
def _nodes() -> Iterator[list[tuple[ServerProcess, dict[str, Any]]]]:
    with cluster(find_binary()) as nodes:
        yield [(node, node.settings | _REPLICATED) for node in nodes]


def _elsewhere(port: int) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": port, "grpc_port": port}


def targets() -> list[Target]:
    """One server, by both of its ports, and a cluster."""
    return [
        Target("weaviate", "weaviate", _provide, _elsewhere, _started),
        Target("weaviate-cluster", "weaviate", _cluster, _elsewhere, nodes=_nodes),
    ]
