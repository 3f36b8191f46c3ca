"""How Milvus is had for tests: Lite in this process, and a server."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from codeweaver_backends.testing import NotProvisioned, ServerProcess, Target, answers_http, free_ports

__all__ = ["targets"]

_SERVICES: Final = "root_coord proxy proxy_internal query_coord query_node index_coord index_node data_coord data_node"
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
        raise NotProvisioned(f"milvus_lite cannot be imported ({error}): install codeweaver-milvus[lite]") from None
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
    with _packaged() as (_, settings):
        yield settings


@contextmanager
def _packaged() -> Iterator[tuple[ServerProcess, dict[str, Any]]]:
    """The packaged server on free ports, with its data in a temporary folder."""
    try:
        import milvus
    except ImportError:
        raise NotProvisioned(
            "neither is CODEWEAVER_TEST_MILVUS_URI set nor the extra codeweaver-milvus[test] installed"
        ) from None
    folder = Path(tempfile.mkdtemp(prefix="codeweaver-milvus-"))
    names = [f"{service}_port" for service in _SERVICES.split()]
    *ports, web, client, peer = free_ports(len(names) + 3)
    settings = dict(zip(names, ports, strict=True))
    config = milvus.MilvusServerConfig(data_dir=str(folder), etcd_port=client, **settings)
    config.resolve()
    milvus._initialize_data_files(str(folder))
    (folder / "etcd.yaml").write_text(_ETCD.format(client=client, peer=peer), encoding="utf-8")
    environment = {
        "DEPLOY_MODE": "STANDALONE",
        "METRICS_PORT": str(web),
        "MILVUS_RUN_DIR": str(folder / "run"),
        "ETCD_CONFIG_PATH": str(folder / "etcd.yaml"),
        "LD_LIBRARY_PATH": f"{folder / 'bin'}:{os.environ.get('LD_LIBRARY_PATH', '')}",
    }
    with ServerProcess(
        [str(folder / "bin" / "milvus"), "run", "standalone"],
        lambda: answers_http(web, "/healthz"),
        environment=environment,
        folder=folder,
        patience=_PATIENCE,
    ) as server:
        yield server, {"host": "127.0.0.1", "port": settings["proxy_port"], "timeout": _TIMEOUT}


def _elsewhere(port: int) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": port, "api_key": "nobody:secret-of-nobody"}


def targets() -> list[Target]:
    """Lite in a temporary folder; a server by address, or the packaged one started on free ports."""
    return [
        Target("milvus-lite", "milvus", _lite, location="in-process"),
        Target("milvus-server", "milvus", _server, _elsewhere, _packaged),
    ]
