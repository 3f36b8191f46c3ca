"""PostgreSQL as people run it: extensions elsewhere, roles of few rights, poolers, and addresses by the environment."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from codeweaver_backends import (
    BackendAuthenticationError,
    BackendConnectionError,
    DistanceMetric,
    UnsupportedError,
    VectorPoint,
)
from codeweaver_backends.testing import free_ports, is_listening
from codeweaver_pgvector import PgvectorBackend, PgvectorConfig
from codeweaver_pgvector.testing import settings_at

BOUNCER = os.environ.get("CODEWEAVER_TEST_PGBOUNCER") or shutil.which("pgbouncer")


async def ask(port: int, *statements: str, database: str = "postgres") -> Any:
    connection = await asyncpg.connect(host="127.0.0.1", port=port, user="postgres", database=database)
    try:
        for statement in statements:
            answer = await connection.fetch(statement)
        return answer
    finally:
        await connection.close()


def backend_at(port: int, **settings: Any) -> PgvectorBackend:
    return PgvectorBackend(PgvectorConfig(**{**settings_at(port), "timeout": 10.0, **settings}))


async def use(backend: PgvectorBackend, name: str = "points") -> None:
    """All that touches a type or an operator of the extension, and all ways to write."""
    for metric in DistanceMetric:
        made = f"{name}_{metric.value}"
        await backend.create_collection(made, 2, metric, payload_indexes={"n": "integer"})
        await backend.upsert_vectors(made, [VectorPoint(n, [1.0, n + 1.0], {"n": n}, {n: 1.0}) for n in range(300)])
        await backend.create_sparse_index(made, ["t"])
        await backend.upsert_vectors(made, [VectorPoint(7, [2.0**100 if metric == "cosine" else 1.0, 1.0], {"n": 7})])
        async with backend.transaction() as tx:
            await tx.upsert_vectors(made, [VectorPoint("new", [1.0, 2.0], {"n": 8, "t": "word"})])
            await tx.update_sparse_vectors(made, [VectorPoint("new", [], None, {1: 2.0})])
            assert await tx.count_vectors(made) == 301
        queries: list[tuple[Any, set[Any]]] = [("word", {"new"}), ({1: 1.0}, {1, "new"})]
        for query, ids in queries:
            assert {hit.id for hit in await backend.hybrid_search(made, [1.0, 2.0], query, alpha=0.0)} == ids
        assert (await backend.get_vectors(made, ["new"]))[0].sparse_vector == {1: 2.0}
        lone = {"field": "n", "operator": "eq", "value": 8}
        assert {hit.id for hit in await backend.search_vectors(made, [1.0, 9.0], search_filter=lone)} == {8, "new"}
        assert await backend.delete_by_filter(made, lone) == 2
        await backend.delete_vectors(made, [7])
        assert await backend.count_vectors(made) == 298
        await backend.delete_collection(made)


def test_the_extension_may_be_in_any_schema_and_no_search_path_lead_there(port: int) -> None:
    async def run() -> None:
        await ask(port, "create database elsewhere")
        here = {"database": "elsewhere"}
        await ask(port, 'create schema "ex""tensions"', 'create extension vector schema "ex""tensions"', **here)
        await ask(port, "alter database elsewhere set search_path = ''")
        async with backend_at(port, **here) as backend:
            await use(backend)

    asyncio.run(run())


def test_without_a_search_path_the_extension_is_made_in_the_own_schema(port: int) -> None:
    async def run() -> None:
        await ask(port, "create database bare", "alter database bare set search_path = ''")
        async with backend_at(port, database="bare", db_schema="ours") as backend:
            await use(backend)
        rows = await ask(port, "select extnamespace::regnamespace::text from pg_extension", database="bare")
        assert "ours" in {row[0] for row in rows}

    asyncio.run(run())


def test_a_role_may_use_a_schema_that_it_could_not_create(port: int) -> None:
    async def run() -> None:
        await ask(port, "create database shared", "create role guest login", "create role stranger login")
        prepare = "create schema codeweaver; create extension vector; grant all on schema codeweaver to guest"
        for statement in prepare.split("; "):
            await ask(port, statement, database="shared")
        async with backend_at(port, database="shared", user="guest") as backend:
            await use(backend)
        async with backend_at(port, database="shared", user="stranger") as backend:
            with pytest.raises(BackendAuthenticationError) as raised:
                await backend.create_collection("points", 2)
            assert not raised.value.state_unknown

    asyncio.run(run())


def test_a_schema_of_the_first_layout_is_refused_by_name(port: int) -> None:
    async def run() -> None:
        await ask(
            port,
            "create schema old",
            "create table old.codeweaver_collections (name text unique, number bigint generated always as identity,"
            " dimension integer, metric text, payload_indexes text)",
            "insert into old.codeweaver_collections (name) values ('theirs')",
        )
        async with backend_at(port, db_schema="old") as backend:
            assert await backend.list_collections() == ["theirs"]
            for call in (backend.count_vectors("theirs"), backend.create_collection("mine", 2)):
                with pytest.raises(UnsupportedError, match="older version"):
                    await call

    asyncio.run(run())


# --- addresses -------------------------------------------------------------------------------------------------------


def test_the_address_comes_from_the_environment_of_libpq(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PGHOST": "127.0.0.1", "PGPORT": str(port), "PGUSER": "postgres"}.items():
        monkeypatch.setenv(name, value)

    async def run() -> None:
        async with PgvectorBackend(PgvectorConfig(timeout=10.0)) as backend:
            assert await backend.diagnose() is None
        async with PgvectorBackend(PgvectorConfig(url="postgresql:///postgres", timeout=10.0)) as backend:
            assert await backend.diagnose() is None

    asyncio.run(run())


def test_the_address_comes_from_a_service(port: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "services"
    file.write_text(f"[here]\nhost=127.0.0.1\nport={port}\nuser=postgres\n")
    monkeypatch.setenv("PGSERVICEFILE", str(file))

    async def run() -> None:
        async with PgvectorBackend(PgvectorConfig(url="postgresql:///?service=here", timeout=10.0)) as backend:
            assert await backend.diagnose() is None

    asyncio.run(run())


@pytest.mark.parametrize("way", ["environment", "url", "tls"])
def test_where_tls_is_asked_for_nothing_is_sent_in_the_clear(
    port: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, way: str
) -> None:
    settings: dict[str, Any] = {"retries": 0}
    if way == "environment":
        monkeypatch.setenv("PGSSLMODE", "verify-full")
        made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x"]
        subprocess.run([*made, "-keyout", tmp_path / "key", "-out", tmp_path / "ca"], check=True, capture_output=True)
        monkeypatch.setenv("PGSSLROOTCERT", str(tmp_path / "ca"))
    elif way == "url":
        settings["url"] = f"postgresql://postgres@127.0.0.1:{port}/postgres?sslmode=require"
    else:
        settings["tls"] = True

    async def run() -> None:
        reached = PgvectorBackend(PgvectorConfig(**settings)) if "url" in settings else backend_at(port, **settings)
        async with reached as backend:
            error = await backend.diagnose()
            assert isinstance(error, BackendConnectionError)  # the server of the tests has no TLS
            assert "SSL" in str(error.__cause__)

    asyncio.run(run())


# --- poolers ---------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(BOUNCER is None, reason="no pgbouncer: it is not installed, nor named by CODEWEAVER_TEST_PGBOUNCER")
@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_a_pooler_stands_between(port: int, mode: str, tmp_path: Path) -> None:
    assert BOUNCER is not None
    [between] = free_ports(1)
    (tmp_path / "users").write_text('"postgres" ""\n')
    (tmp_path / "ini").write_text(
        f"[databases]\n* = host=127.0.0.1 port={port} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
        f"listen_port = {between}\nauth_type = any\nauth_file = {tmp_path}/users\npool_mode = {mode}\n"
        "default_pool_size = 4\nunix_socket_dir =\n"
    )
    tmp_path.chmod(0o755)
    command: Sequence[str] = [BOUNCER, *(["-u", "nobody"] if os.geteuid() == 0 else []), str(tmp_path / "ini")]

    async def run() -> None:
        database = f"pooled_{mode}"
        await ask(port, f"create database {database}")
        settings = {"database": database, "transaction_pooling": mode == "transaction"}
        async with backend_at(between, **settings) as one, backend_at(between, **settings) as two:
            # Eight callers share four connections of the server, in turn.
            async def turn(n: int) -> None:
                for again in range(3):
                    await use((one, two)[n % 2], f"points_{n}_{again}")

            if mode == "transaction":
                await one.create_collection("first", 2)
                await asyncio.gather(*map(turn, range(8)))
            else:
                await use(one)
            shown = "select current_setting('lock_timeout') || current_setting('statement_timeout')"
            left = await ask(between, shown, database=database)
            assert left[0][0] == "00"  # nothing of ours is left in sessions that others are given

    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            for _ in range(100):
                if is_listening(between):
                    break
                time.sleep(0.1)
            asyncio.run(run())
        finally:
            process.terminate()
