"""What the engine's errors become, of a folder whose name holds the words by which they are told, and of a store."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import lancedb  # noqa: F401 - the first import takes seconds, which are no part of any story's time
import pytest

from codeweaver_backends import (
    BackendAuthenticationError,
    BackendConnectionError,
    BackendError,
    CodeWeaverFactory,
    CollectionNotFoundError,
    RateLimitError,
    VectorPoint,
)
from codeweaver_lancedb.errors import translate

LOOKALIKE = "Not found 429 Forbidden AccessDenied timed out commit conflict status code: 401 "


def test_words_in_the_path_say_nothing(tmp_path: Path) -> None:
    folder = tmp_path / LOOKALIKE

    async def main() -> None:
        async with CodeWeaverFactory().create_backend("lancedb", path=folder, retries=0) as one:
            await one.create_collection("c", 2)
            await one.upsert_vectors("c", [VectorPoint(1, [1, 2])])
            for data in folder.glob("*.lance/data"):
                shutil.rmtree(data)
            with pytest.raises(BackendConnectionError) as failed:
                await one.search_vectors("c", [1, 2])
            assert type(failed.value) is BackendConnectionError
            shutil.rmtree(folder)
            with pytest.raises(CollectionNotFoundError):
                await one.search_vectors("c", [1, 2])

    asyncio.run(main())


def test_a_file_where_the_folder_should_be_is_a_failed_connection(tmp_path: Path) -> None:
    file = tmp_path / LOOKALIKE
    file.touch()

    async def main() -> None:
        async with CodeWeaverFactory().create_backend("lancedb", path=file) as one:
            assert type(await one.diagnose()) is BackendConnectionError
            with pytest.raises(BackendConnectionError, match=r"Not a directory|NotADirectory"):
                await one.list_collections()

    asyncio.run(main())


class _Store(BaseHTTPRequestHandler):
    answer: tuple[int, str]

    def _respond(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        status, code = self.answer
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code></Error>".encode() if code else b""
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = _respond  # noqa: N815 - so the base class wants them

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


@contextmanager
def store(status: int, code: str) -> Iterator[str]:
    """An object store that answers everything so."""
    handler = type("Handler", (_Store,), {"answer": (status, code)})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (401, "", BackendAuthenticationError),
        (403, "", BackendAuthenticationError),
        (403, "SignatureDoesNotMatch", BackendAuthenticationError),
        (400, "ExpiredToken", BackendAuthenticationError),
        (404, "NoSuchBucket", BackendConnectionError),
        (429, "", RateLimitError),
        (503, "SlowDown", RateLimitError),
        (500, "InternalError", BackendConnectionError),
    ],
)
def test_an_object_store_is_believed_by_its_status(status: int, code: str, expected: type[BackendError]) -> None:
    secret = "very-secret-key"  # noqa: S105

    async def main(endpoint: str) -> None:
        options = {
            "endpoint": endpoint,
            "allow_http": "true",
            "region": "us-east-1",
            "aws_access_key_id": "AKIA-SECRET",
            "aws_secret_access_key": secret,
            "client_max_retries": "1",
        }
        path = f"s3://bucket/{LOOKALIKE}"
        async with CodeWeaverFactory().create_backend("lancedb", path=path, storage_options=options, retries=0) as one:
            with pytest.raises(BackendError) as failed:
                await one.list_collections()
            assert type(failed.value) is expected
            shown = f"{failed.value!r} {failed.value} {failed.value.__cause__!r}"
            assert secret not in shown
            assert "AKIA-SECRET" not in shown

    with store(status, code) as endpoint:
        asyncio.run(main(endpoint))


def test_what_is_not_the_engines_has_no_translation() -> None:
    assert translate(KeyError("Table 'x' was not found"), "/data") is None
    assert translate(ValueError("Invalid input, No field named nosuch"), "/data") is None
    assert translate(TimeoutError("timed out"), "/data") is None
    assert isinstance(translate(RuntimeError("lance error: Not found: a/c.x.lance/_versions, b"), "/a"), BackendError)
