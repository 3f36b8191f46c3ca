"""A server: how it is reached, what its failures become, and that what it acknowledged survives it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from codeweaver_backends.errors import (
    BackendAuthenticationError,
    BackendConnectionError,
    BackendError,
    BackendTimeoutError,
    CollectionExistsError,
    CollectionNotFoundError,
    RateLimitError,
)
from codeweaver_backends.testing import NotProvisioned
from codeweaver_backends.types import VectorPoint
from codeweaver_qdrant import QdrantBackend, QdrantConfig, QdrantPlugin
from codeweaver_qdrant.errors import RecreatedError, translate_error
from codeweaver_qdrant.server import _version
from codeweaver_qdrant.testing import Server, find_binary

# --- without a server ------------------------------------------------------------------------------------------------


def test_only_one_engine_can_be_named() -> None:
    assert not QdrantPlugin.validate_config({"url": "http://127.0.0.1:6333", "location": ":memory:"}).is_valid
    assert not QdrantPlugin.validate_config({"location": "elsewhere"}).is_valid
    assert QdrantPlugin.validate_config({"location": ":memory:"}).warnings
    assert QdrantPlugin.validate_config({"api_key": "k"}).warnings
    assert not QdrantPlugin.validate_config({"api_key": "k", "tls": True}).warnings


@pytest.mark.parametrize(
    ("text", "version"), [("1.18.3", (1, 18, 3)), ("1.19.1-dev", (1, 19, 1)), ("1.20", (1, 20, 0))]
)
def test_versions(text: str, version: tuple[int, ...]) -> None:
    assert _version(text) == version


def test_an_old_server_is_refused() -> None:
    with pytest.raises(BackendConnectionError, match=r"1\.15\.4 is too old"):
        _version("1.15.4")


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
        (_rest(500, "panic"), BackendConnectionError),
        (_rest(504), BackendTimeoutError),
        (_grpc("NOT_FOUND", MISSING), CollectionNotFoundError),
        (_grpc("ALREADY_EXISTS"), CollectionExistsError),
        (_grpc("UNAUTHENTICATED"), BackendAuthenticationError),
        (_grpc("UNAVAILABLE", "refused"), BackendConnectionError),
        (_grpc("DEADLINE_EXCEEDED"), BackendTimeoutError),
        (_grpc("RESOURCE_EXHAUSTED"), RateLimitError),
        (_grpc("INTERNAL"), BackendConnectionError),
        (ValueError("Collection cw_c not found"), CollectionNotFoundError),
        (ValueError("Collection cw_c already exists"), CollectionExistsError),
        (ValueError("Dense vector dot is not found in the collection"), RecreatedError),
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


async def test_the_imitation_in_process() -> None:
    async with QdrantBackend(QdrantConfig(location=":memory:")) as backend:
        await backend.create_collection("c", 2, payload_indexes={"n": "integer"})
        await backend.upsert_vectors("c", [VectorPoint("a", [3, 4], {"n": 1})])
        [hit] = await backend.search_vectors("c", [3, 4], search_filter={"field": "n", "operator": "ge", "value": 1})
        assert (hit.id, hit.payload) == ("a", {"n": 1})


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
        assert type(backend._store).__name__ == "GrpcStore"
    config = QdrantConfig(port=server.port, grpc_port=server.port, api_key="right", timeout=10)
    async with QdrantBackend(config) as backend:
        await backend.list_collections()
        assert type(backend._store).__name__ == "RestStore"


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
