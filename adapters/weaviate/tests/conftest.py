"""Servers of our own, where there is a binary to start."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from codeweaver_backends.errors import BackendTimeoutError
from codeweaver_weaviate import WeaviateBackend
from codeweaver_weaviate.testing import BINARY, Server, find_binary


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start a server, with further environment variables as keywords. At the end all of them are killed."""
    binary = find_binary()
    if binary is None:
        pytest.skip(f"not verified: {BINARY} is not set, and no weaviate is on the PATH")
    servers: list[Server] = []

    def start_one(**environment: str) -> Server:
        folder = tmp_path / str(len(servers))
        folder.mkdir()
        servers.append(Server(binary, folder, **environment))
        servers[-1].start()
        return servers[-1]

    yield start_one
    for server in servers:
        server.kill()


@pytest.fixture
def server(start: Callable[..., Server]) -> Server:
    """One server."""
    return start()


@pytest.fixture
def repaired() -> Callable[[WeaviateBackend, str], Awaitable[None]]:
    """Wait for a repair that takes more than one call's time."""

    async def wait(backend: WeaviateBackend, name: str) -> None:
        while True:
            try:
                await backend.count_vectors(name)
            except BackendTimeoutError as error:
                assert "try again" in str(error)  # noqa: PT017 - it goes on
            else:
                return

    return wait
