"""How Milvus is had for tests: Lite in this process, and a server."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from codeweaver_backends.testing import NotProvisioned, Target

__all__ = ["targets"]

_PORTS: Final = (
    "etcd_port",
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
_TIMEOUT: Final = 30.0


@contextmanager
def _lite() -> Iterator[dict[str, Any]]:
    try:
        import milvus_lite
    except ImportError:
        raise NotProvisioned("milvus-lite is not installed") from None
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
    folder = tempfile.mkdtemp(prefix="codeweaver-milvus-")
    *ports, web = _free_ports(len(_PORTS) + 1)
    settings = dict(zip(_PORTS, ports, strict=True))
    server = MilvusServer(MilvusServerConfig(data_dir=folder, **settings))
    server.webservice_port = web
    try:
        server.start()
        yield {"host": "127.0.0.1", "port": settings["proxy_port"], "timeout": _TIMEOUT}
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


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
