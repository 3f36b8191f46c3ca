"""Provision Weaviate for tests: a server by its address, or a binary that is started here."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from codeweaver_backends.testing import NotProvisioned, ServerProcess, Target, answers_http, free_ports

__all__ = ["Server", "find_binary", "targets"]

URL: Final = "CODEWEAVER_TEST_WEAVIATE_URL"
GRPC_PORT: Final = "CODEWEAVER_TEST_WEAVIATE_GRPC_PORT"
API_KEY: Final = "CODEWEAVER_TEST_WEAVIATE_API_KEY"
BINARY: Final = "CODEWEAVER_TEST_WEAVIATE_BINARY"
_TIMEOUT: Final = 20.0


class Server(ServerProcess):
    """One node of this machine with temporary data, which can be killed and started again."""

    def __init__(self, binary: str, **environment: str) -> None:
        rest, self.grpc_port, gossip, data, raft, raft_rpc = free_ports(6)
        self.port = rest
        self.api_key = secrets.token_urlsafe(12)
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
            "CLUSTER_GOSSIP_BIND_PORT": str(gossip),
            "CLUSTER_DATA_BIND_PORT": str(data),
            "RAFT_PORT": str(raft),
            "RAFT_INTERNAL_RPC_PORT": str(raft_rpc),
            "RAFT_BOOTSTRAP_EXPECT": "1",
        }
        super().__init__(
            [str(Path(binary).absolute()), "--host", "127.0.0.1", "--port", str(rest), "--scheme", "http"],
            lambda: answers_http(rest, "/v1/.well-known/ready"),
            environment=own | environment,
            folder=folder,
        )

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
        raise NotProvisioned(f"neither {URL} nor {BINARY} is set, and no weaviate is on the PATH")
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


def _elsewhere(port: int) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": port, "grpc_port": port}


def targets() -> list[Target]:
    """One server, by both of its ports."""
    return [Target("weaviate", "weaviate", _provide, _elsewhere, _started)]
