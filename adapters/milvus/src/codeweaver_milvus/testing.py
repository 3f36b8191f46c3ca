"""How Milvus is had for tests: Lite in this process, and a server."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from codeweaver_backends.testing import NotProvisioned, Target

__all__ = ["targets"]

_PORTS: Final = (
    "root_coord_port",
    "proxy_port",
    "proxy_internal_port",
    "query_coord_port",
    "query_node_port",
    "index_coord_port",
    "index_node_port",
    "data_coord_port",
    "data_node_port",
)
_ETCD: Final = """\
listen-client-urls: http://127.0.0.1:{client}
advertise-client-urls: http://127.0.0.1:{client}
listen-peer-urls: http://127.0.0.1:{peer}
initial-advertise-peer-urls: http://127.0.0.1:{peer}
initial-cluster: default=http://127.0.0.1:{peer}
"""
"""The server's own settings leave etcd's second port as it is, and so only one server could run on a machine."""

_TIMEOUT: Final = 30.0
_PATIENCE: Final = 120.0


@contextmanager
def _lite() -> Iterator[dict[str, Any]]:
    try:
        import milvus_lite
    except ImportError as error:
        raise NotProvisioned(f"milvus-lite cannot be imported: {error}") from None
    del milvus_lite
    with tempfile.TemporaryDirectory(prefix="codeweaver-milvus-") as folder:
        yield {"path": str(Path(folder) / "lite.db"), "timeout": _TIMEOUT}


@contextmanager
def _server() -> Iterator[dict[str, Any]]:
    url = os.environ.get("CODEWEAVER_TEST_MILVUS_URI")
    if url:
        token = os.environ.get("CODEWEAVER_TEST_MILVUS_TOKEN")
        yield {"url": url, "timeout": _TIMEOUT, **({"api_key": token} if token else {})}
        return
    try:
        from milvus import MilvusServer, MilvusServerConfig
    except ImportError:
        raise NotProvisioned(
            "neither is CODEWEAVER_TEST_MILVUS_URI set nor the extra codeweaver-milvus[test] installed"
        ) from None
    with _started(MilvusServer, MilvusServerConfig) as port:
        yield {"host": "127.0.0.1", "port": port, "timeout": _TIMEOUT}


@contextmanager
def _started(server_class: Any, config_class: Any) -> Iterator[int]:
    """The packaged server on free ports, with its data in a temporary folder."""
    folder = Path(tempfile.mkdtemp(prefix="codeweaver-milvus-"))
    *ports, web, client, peer = _free_ports(len(_PORTS) + 3)
    settings = dict(zip(_PORTS, ports, strict=True)) | {"etcd_port": client}
    server = server_class(config_class(data_dir=str(folder), **settings), wait_for_started=False)
    server.webservice_port = web
    (folder / "etcd.yaml").write_text(_ETCD.format(client=client, peer=peer), encoding="utf-8")
    os.environ["ETCD_CONFIG_PATH"] = str(folder / "etcd.yaml")
    try:
        server.start()
        _await_health(f"http://127.0.0.1:{server.webservice_port}/healthz", server.server_proc)
        yield settings["proxy_port"]
    finally:
        del os.environ["ETCD_CONFIG_PATH"]
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _await_health(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise NotProvisioned(f"the packaged Milvus server ended at its start, with code {process.returncode}")
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - of this machine
                if answer.read().strip() == b"OK":
                    return
        except OSError:
            pass
        time.sleep(0.2)
    raise NotProvisioned(f"the packaged Milvus server was not ready within {_PATIENCE:g} s")


def _free_ports(number: int) -> list[int]:
    probes = [socket.socket() for _ in range(number)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def _elsewhere(port: int) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": port, "api_key": "nobody:secret-of-nobody"}


def targets() -> list[Target]:
    """Lite in a temporary folder; a server by address, or the packaged one started on free ports."""
    return [
        Target("milvus-lite", "milvus", _lite),
        Target("milvus-server", "milvus", _server, _elsewhere),
    ]
