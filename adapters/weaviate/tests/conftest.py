"""Servers of our own, where there is a binary to start."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack

import pytest

from codeweaver_backends.testing import NotProvisioned
from codeweaver_weaviate import WeaviateBackend
from codeweaver_weaviate.testing import Server, find_binary


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Coroutines are tests too, each on a loop of its own."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}))
    return True


@pytest.fixture
def start() -> Iterator[Callable[..., Server]]:
    """Start a server, with further environment variables as keywords. At the end all of them are killed."""
    try:
        binary = find_binary()
    except NotProvisioned as reason:
        pytest.skip(f"not verified: {reason}")
    with ExitStack() as servers:
        yield lambda **environment: servers.enter_context(Server(binary, **environment))


@pytest.fixture
def server(start: Callable[..., Server]) -> Server:
    """One server."""
    return start()


@pytest.fixture
def repaired() -> Callable[[WeaviateBackend, str], Awaitable[None]]:
    """Wait for a repair that takes longer than a read waits for it."""

    async def wait(backend: WeaviateBackend, name: str) -> None:
        async with asyncio.timeout(120):
            await backend.count_vectors(name)
            while not backend._repairs.is_whole(name):
                await asyncio.sleep(0.1)
                await backend.count_vectors(name)

    return wait
