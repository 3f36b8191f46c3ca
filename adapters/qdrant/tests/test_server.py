"""A server: how it is reached, what its failures become, and that what it acknowledged survives it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from qdrant_client import models

from codeweaver_backends.errors import (
    BackendAuthenticationError,
    BackendConnectionError,
    BackendError,
    BackendTimeoutError,
    CollectionExistsError,
    CollectionNotFoundError,
    EngineError,
    RateLimitError,
    UnsupportedError,
)
from codeweaver_backends.sdk import RecreatedError
from codeweaver_backends.testing import NotProvisioned
from codeweaver_backends.types import VectorPoint
from codeweaver_qdrant import QdrantBackend, QdrantConfig, QdrantPlugin
from codeweaver_qdrant.client import version_of
from codeweaver_qdrant.errors import translate_error
from codeweaver_qdrant.grpc_client import GrpcClient
from codeweaver_qdrant.rest_client import RestClient
from codeweaver_qdrant.testing import Server, find_binary

# --- without a server ------------------------------------------------------------------------------------------------


def test_a_key_in_the_clear_is_warned_of() -> None:
    assert QdrantPlugin.validate_config({"api_key": "k"}).warnings
    assert not QdrantPlugin.validate_config({"api_key": "k", "tls": True}).warnings
    assert not QdrantPlugin.validate_config({"api_key": "k", "tls": True, "url": "http://h:6333"}).is_valid


@pytest.mark.parametrize("key", ["se\ncret", "s\u00e9cret", "se\x00cret"])
def test_a_key_that_no_header_can_carry_is_refused_and_not_shown(key: str) -> None:
    found = QdrantPlugin.validate_config({"api_key": key})
    assert not found.is_valid
    assert key not in repr(found)


class Listener:
    """Takes connections, says nothing, and counts them."""

    def __init__(self) -> None:
        self.taken = 0

    async def __aenter__(self) -> Listener:
        self._server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.taken += 1
        writer.close()

    async def __aexit__(self, *exc_info: object) -> None:
        self._server.close()
        await self._server.wait_closed()


@pytest.mark.parametrize("transport", ["grpc", "rest"])
async def test_a_proxy_is_asked_for_other_machines_only(monkeypatch: pytest.MonkeyPatch, transport: str) -> None:
    async with Listener() as proxy, Listener() as engine:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        here = {"port": engine.port, "grpc_port": engine.port}
        there = {"host": "qdrant.invalid", "port": 6333, "grpc_port": 6334}
        for settings, asked in ((here, False), (there | {"proxy": False}, False), (there, True)):
            config = QdrantConfig(transport=transport, api_key="k", timeout=5, retries=0, **settings)
            async with QdrantBackend(config) as backend:
                assert not await backend.health_check()
            assert bool(proxy.taken) is asked, settings
        assert engine.taken


@pytest.mark.parametrize(
    ("text", "version"), [("1.18.3", (1, 18, 3)), ("1.19.1-dev", (1, 19, 1)), ("1.20", (1, 20, 0))]
)
def test_versions(text: str, version: tuple[int, ...]) -> None:
    assert version_of(text) == version


def test_an_old_server_is_refused() -> None:
    with pytest.raises(BackendConnectionError, match=r"1\.15\.4 is too old"):
        version_of("1.15.4")


def _rest(status: int, text: str = "") -> Exception:
    kind = type("UnexpectedResponse", (Exception,), {"status_code": status, "content": text.encode()})
    return kind()


def _grpc(code: str, text: str = "") -> Exception:
    kind = type("AioRpcError", (Exception,), {"code": lambda _: SimpleNamespace(name=code), "details": lambda _: text})
    return kind()


MISSING = "Not found: Collection `cw_c` doesn't exist!"
EXISTS = "Wrong input: Collection `cw_c` already exists!"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (_rest(404, MISSING), CollectionNotFoundError),
        (_rest(404, "<html>"), BackendConnectionError),
        (_rest(409, EXISTS), CollectionExistsError),
        (_rest(400, EXISTS), CollectionExistsError),
        (_rest(400, "Wrong input: Not existing vector name error: dot"), RecreatedError),
        (_rest(400, "Wrong input: Vector dimension error: expected dim: 3, got 2"), RecreatedError),
        (_rest(401), BackendAuthenticationError),
        (_rest(403), BackendAuthenticationError),
        (_rest(429), RateLimitError),
        (_rest(422, "validation error"), EngineError),
        (_rest(500, "panic"), BackendConnectionError),
        (_rest(504), BackendTimeoutError),
        (_grpc("NOT_FOUND", MISSING), CollectionNotFoundError),
        (_grpc("ALREADY_EXISTS"), CollectionExistsError),
        (_grpc("UNAUTHENTICATED"), BackendAuthenticationError),
        (_grpc("UNAVAILABLE", "refused"), BackendConnectionError),
        (_grpc("DEADLINE_EXCEEDED"), BackendTimeoutError),
        (_grpc("RESOURCE_EXHAUSTED"), RateLimitError),
        (_grpc("INTERNAL"), BackendConnectionError),
        (_grpc("INVALID_ARGUMENT", "malformed"), EngineError),
    ],
    ids=lambda value: (
        getattr(value, "__name__", None) or f"{type(value).__name__}{vars(type(value)).get('status_code')}"
    ),
)
def test_failures_are_told_in_the_contracts_words(error: Exception, expected: type[BackendError]) -> None:
    assert type(translate_error(error)) is expected


def test_what_is_not_the_clients_is_left_to_the_core() -> None:
    assert translate_error(RuntimeError("x")) is None
    assert translate_error(ValueError("x")) is None


# --- with one --------------------------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[Server]:
    try:
        binary = find_binary()
    except NotProvisioned as reason:
        pytest.skip(f"not verified: {reason}")
    with Server(binary, {"QDRANT__SERVICE__API_KEY": "right"}) as one:
        yield one


def _backend(server: Server, transport: str, **other: Any) -> QdrantBackend:
    settings: dict[str, Any] = {"api_key": "right", "timeout": 10, **other}
    return QdrantBackend(QdrantConfig(port=server.port, grpc_port=server.grpc_port, transport=transport, **settings))


async def test_grpc_is_taken_where_it_answers(server: Server) -> None:
    async with _backend(server, "auto") as backend:
        await backend.list_collections()
        assert isinstance(backend._client, GrpcClient)
    config = QdrantConfig(port=server.port, grpc_port=server.port, api_key="right", timeout=10)
    async with QdrantBackend(config) as backend:
        await backend.list_collections()
        assert isinstance(backend._client, RestClient)


@pytest.mark.parametrize("transport", ["grpc", "rest"])
@pytest.mark.parametrize("key", ["sEcReT", None])
async def test_a_wrong_key_is_told_and_not_shown(server: Server, transport: str, key: str | None) -> None:
    async with _backend(server, transport, api_key=key) as backend:
        assert not await backend.health_check()
        with pytest.raises(BackendAuthenticationError) as raised:
            await backend.list_collections()
        assert "sEcReT" not in f"{raised.value!r} {raised.value} {raised.value.__cause__!r} {backend.config!r}"


async def _kill_in_the_middle(server: Server, watch: QdrantBackend) -> None:
    async with watch:
        while await watch.count_vectors("c") < 1_000:
            pass
        server.kill()


@pytest.mark.parametrize("transport", ["grpc", "rest"])
async def test_a_killed_server_loses_no_acknowledged_point(server: Server, transport: str) -> None:
    points = [VectorPoint(n, [1.0, n, -n, 1.0], {"n": n}) for n in range(20_000)]
    async with _backend(server, transport) as backend:
        await backend.create_collection("c", 4)
        killer = asyncio.create_task(_kill_in_the_middle(server, _backend(server, transport)))
        with pytest.raises(BackendConnectionError) as raised:
            await backend.upsert_vectors("c", points)
        await killer
        assert raised.value.state_unknown
        unknown = set(raised.value.ids)
        server.start()
        found = await backend.get_vectors("c", [point.id for point in points], with_vectors=False)
        assert {point.id for point in found} >= {point.id for point in points} - unknown
        await backend.upsert_vectors("c", points)
        assert (await backend.get_collection_info("c")).vector_count == len(points)
        below = {"field": "n", "operator": "lt", "value": 1_000}
        assert await backend.count_vectors("c", below) == 1_000


@pytest.mark.parametrize("transport", ["grpc", "rest"])
async def test_a_collection_of_another_layout_is_listed_and_refused(server: Server, transport: str) -> None:
    async with _backend(server, transport) as backend:
        await backend.create_collection("c", 2)
        old = {"codeweaver": {"layout": 1, "payload_indexes": {}}}
        await backend._client._client.update_collection("cw_c", metadata=old)
        await backend._client._client.create_collection("cw_foreign", {})
    async with _backend(server, transport) as backend:
        assert await backend.list_collections() == ["c", "foreign"]
        with pytest.raises(UnsupportedError, match="layout 1, of an older version"):
            await backend.count_vectors("c")
        with pytest.raises(CollectionNotFoundError, match="not created by this backend"):
            await backend.count_vectors("foreign")


@pytest.mark.parametrize("transport", ["grpc", "rest"])
async def test_a_collection_of_before_hybrid_search_is_used_without(server: Server, transport: str) -> None:
    async with _backend(server, transport) as backend:
        await backend.create_collection("c", 2)
        engine = backend._client._client
        metadata = (await engine.get_collection("cw_c")).config.metadata
        del metadata["codeweaver"]["slots"]
        await engine.delete_collection("cw_c")
        vectors = {"cosine": models.VectorParams(size=2, distance=models.Distance.DOT)}
        await engine.create_collection("cw_c", vectors, metadata=metadata)
    async with _backend(server, transport) as backend:
        await backend.upsert_vectors("c", [VectorPoint(1, [3, 4], {"t": "word"})])
        [found] = await backend.get_vectors("c", [1])
        assert (found.vector, found.sparse_vector) == (pytest.approx([3, 4]), None)
        assert [hit.id for hit in await backend.hybrid_search("c", [3, 4], {"a": 1.0})] == [1]
        for refused in (
            backend.upsert_vectors("c", [VectorPoint(2, [3, 4], None, {"a": 1.0})]),
            backend.update_sparse_vectors("c", [VectorPoint(1, None, None, {"a": 1.0})]),
            backend.create_sparse_index("c", ["t"]),
        ):
            with pytest.raises(UnsupportedError, match="copy it to a new one"):
                await refused


NOISY = """
import asyncio, sys, threading
from codeweaver_qdrant import QdrantBackend, QdrantConfig

async def use():
    async with QdrantBackend(QdrantConfig(**eval(sys.argv[1]))) as backend:
        for _ in range(150):
            await asyncio.gather(*(backend.list_collections() for _ in range(16)))

threads = [threading.Thread(target=lambda: asyncio.run(use())) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def test_loops_of_several_threads_are_silent(server: Server) -> None:
    settings = {"port": server.port, "grpc_port": server.grpc_port, "transport": "grpc", "api_key": "right"}
    command = [sys.executable, "-c", NOISY, repr(settings)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert done.stderr == ""
