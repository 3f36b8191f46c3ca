"""The way to a server: what is sent once, what again, and what its answers mean."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import orjson
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
from codeweaver_chroma import ChromaConfig, ChromaPlugin
from codeweaver_chroma.errors import translate_error
from codeweaver_chroma.schema import LAYOUT, Rows
from codeweaver_chroma.server import ServerClient

KEY = "a-key-nobody-shows"
ROWS = Rows(["s1", "s2"], np.ones((2, 2), np.float32), [{"f": None}, {"f": ["x"]}], ["{}", "{}"])


def asked(
    act: Callable[[ServerClient], Any], answer: Callable[[httpx.Request], httpx.Response], **settings: Any
) -> tuple[Any, list[httpx.Request]]:
    """What comes of a call, an error included, and what was sent."""
    sent: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return answer(request)

    async def run() -> Any:
        server = ServerClient(ChromaConfig(**settings), httpx.MockTransport(handle))
        try:
            return await act(server)
        except Exception as error:  # noqa: BLE001 - it is what is asked for
            return error
        finally:
            await server.close()

    return asyncio.run(run()), sent


def told(kind: str, message: str) -> bytes:
    return orjson.dumps({"error": kind, "message": message})


def failing(_: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("nobody")


@pytest.mark.parametrize(
    "act",
    [
        lambda server: server.count("c"),
        lambda server: server.get("c", keys=["s1"]),
        lambda server: server.query("c", np.ones(2, np.float32), 5),
        lambda server: server.names(),
        lambda server: server.ping(),
        lambda server: server.delete("c", ["s1"]),
        lambda server: server.drop("c"),
    ],
    ids=["count", "get", "query", "names", "ping", "delete", "drop"],
)
def test_a_request_is_sent_once(act: Callable[[ServerClient], Any]) -> None:
    """What is tried again, the core knows."""
    error, sent = asked(act, failing)
    assert isinstance(translate_error(error), BackendConnectionError)
    assert len(sent) == 1


def test_points_are_replaced_by_one_request() -> None:
    _, [sent] = asked(lambda server: server.upsert("c", ROWS), lambda _: httpx.Response(200, content=b"{}"))
    assert sent.url.path.rpartition("/")[2] == "upsert"
    body = orjson.loads(sent.content)
    assert body["embeddings"] == ["AACAPwAAgD8="] * 2
    assert body["metadatas"] == [{"f": None}, {"f": ["x"]}]


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(404, content=b"404 page not found"),
        httpx.Response(404, content=b'{"detail":"Not Found"}'),
        httpx.Response(200, content=b"<html>"),
        httpx.Response(200, content=b'{"title":"another"}'),
    ],
)
def test_a_server_that_is_no_chroma_is_told(response: httpx.Response) -> None:
    for act in (lambda server: server.ping(), lambda server: server.names()):
        error, _ = asked(act, lambda _: response)
        assert isinstance(error, BackendConnectionError)
        assert "no Chroma server" in str(error)


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (401, b"who are you", BackendAuthenticationError),
        (403, told("AuthError", "no"), BackendAuthenticationError),
        (401, told("AuthorizationError", "no"), BackendAuthenticationError),
        (
            404,
            told("NotFoundError", "Collection [x] does not exist"),
            CollectionNotFoundError,
        ),
        (409, told("UniqueConstraintError", "x"), CollectionExistsError),
        (
            500,
            told("InternalError", "Collection [x] already exists"),
            CollectionExistsError,
        ),
        (429, b"", RateLimitError),
        (502, b"<html>", BackendConnectionError),
        (500, told("ChromaError", "x"), BackendConnectionError),
    ],
)
def test_answers_have_their_meaning(status: int, body: bytes, expected: type[BackendError]) -> None:
    error, sent = asked(lambda server: server.count("c"), lambda _: httpx.Response(status, content=body))
    assert type(translate_error(error)) is expected
    assert len(sent) == 1


def test_a_timeout_is_told_and_not_tried_again() -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("late")

    error, sent = asked(lambda server: server.count("c"), answer)
    assert type(translate_error(error)) is BackendTimeoutError
    assert len(sent) == 1


def test_each_backend_sends_its_own_key() -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=b"[]")

    _, [with_key] = asked(lambda server: server.ping(), answer, api_key=KEY, tenant="a/b", database="ü")
    _, [without] = asked(lambda server: server.ping(), answer)
    assert with_key.headers["x-chroma-token"] == KEY
    assert with_key.url.raw_path == b"/api/v2/tenants/a%2Fb/databases/%C3%BC/collections?limit=1&offset=0"
    assert "x-chroma-token" not in without.headers


def test_others_collections_are_left_out() -> None:
    ours = {"layout": LAYOUT, "dimension": 2, "metric": "cosine", "payload_indexes": [], "terms_key": "f1"}
    listed = [
        {"id": "1", "name": "cw_a.1", "metadata": {"codeweaver": orjson.dumps(ours).decode()}},
        {"id": "2", "name": "cw_b.1", "metadata": None},
        {"id": "3", "name": "cw_c.1", "metadata": {"codeweaver": "no json"}},
        {"id": "5", "name": "cw_e.1", "metadata": {"codeweaver": orjson.dumps({**ours, "layout": 99}).decode()}},
        {"id": "4", "name": "docs", "metadata": {"codeweaver": orjson.dumps(ours).decode()}},
    ]
    names, _ = asked(lambda server: server.names(), lambda _: httpx.Response(200, content=orjson.dumps(listed)))
    assert sorted(names) == ["a", "e"]


def test_a_large_collection_is_not_counted_for_every_search(monkeypatch: pytest.MonkeyPatch) -> None:
    now, size = 100.0, 11_000
    monkeypatch.setattr("codeweaver_chroma.server.time.monotonic", lambda: now)

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=b"{}" if request.method == "POST" else str(size).encode())

    async def act(server: ServerClient) -> list[bool]:
        nonlocal now, size
        seen = [server.is_grown("c"), await server.is_small("c"), server.is_grown("c")]
        now += 0.9
        seen.append(server.is_grown("c"))
        now += 0.2
        seen += [server.is_grown("c"), await server.is_small("c"), server.is_grown("c")]
        await server.delete("c", ["s1"])
        seen.append(server.is_grown("c"))
        size = 1_000
        return [*seen, await server.is_small("c"), server.is_grown("c")]

    seen, _ = asked(act, answer)
    assert seen == [False, False, True, True, False, False, True, False, True, False]


@pytest.mark.parametrize(
    ("settings", "address"),
    [
        ({}, "http://127.0.0.1:8000"),
        ({"host": "::1", "port": 1, "tls": True}, "https://[::1]:1"),
        ({"url": "https://chroma.example.org/"}, "https://chroma.example.org"),
    ],
)
def test_addresses(settings: dict[str, Any], address: str) -> None:
    assert ChromaConfig(**settings).address == address


@pytest.mark.parametrize(
    "settings",
    [{"url": "chroma:8000"}, {"url": "http://u:p@h"}, {"url": "http://h?x=1"}, {"url": "http://h", "path": "p"}],
)
def test_a_wrong_configuration_is_refused(settings: dict[str, Any]) -> None:
    assert not ChromaPlugin.validate_config(settings).is_valid


def test_advice() -> None:
    assert "unencrypted" in ChromaPlugin.validate_config({"api_key": KEY}).warnings[0]
    assert "ignored" in ChromaPlugin.validate_config({"api_key": KEY, "path": "p"}).warnings[0]
    assert not ChromaPlugin.validate_config({"api_key": KEY, "url": "https://h"}).warnings


def test_a_server_is_used_without_chromadb() -> None:
    program = """
import sys
sys.modules["chromadb"] = None
from codeweaver_backends import PluginError, create_backend
create_backend("chroma", url="http://127.0.0.1:1")
try:
    create_backend("chroma", path="here")
except PluginError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "pip install 'codeweaver-chroma[embedded]'" in run.stdout
