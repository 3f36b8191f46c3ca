"""Fixtures of the network: a port where nobody listens, one that never answers, and a way that can be cut."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any, TypeAlias

from codeweaver_backends.errors import BackendError
from codeweaver_conformance.subject import Subject

__all__ = [
    "PATIENCE",
    "Relay",
    "SilentPort",
    "closed_port",
    "drip",
    "echo",
    "fault_of",
    "hang_up",
    "impatient",
    "nobody",
    "relayed",
    "served",
    "silent_port",
]

Talk: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def closed_port() -> int:
    """A port of this machine where a connection is refused."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class SilentPort:
    """A port of this machine that takes connections and never says a word."""

    def __init__(self, listener: socket.socket) -> None:
        self.port: int = listener.getsockname()[1]
        self._listener = listener
        self._taken: list[socket.socket] = []

    @property
    def connections(self) -> int:
        """How many were made so far. The kernel makes them, and holds them until they are asked for."""
        with suppress(BlockingIOError):
            while True:
                self._taken.append(self._listener.accept()[0])
        return len(self._taken)

    def close(self) -> None:
        """Hang up."""
        for connection in self._taken:
            connection.close()


@contextmanager
def silent_port() -> Iterator[SilentPort]:
    """Listen for as long as the block lasts."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        listener.setblocking(False)
        silent = SilentPort(listener)
        try:
            yield silent
        finally:
            silent.close()


@contextmanager
def served(talk: Talk, limit: int = 2**16, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """A port of this machine where each connection is ``talk``'s, in a thread: whatever the caller's loop is doing."""
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event, int]] = Future()
    clients: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        clients.add(writer)
        try:
            with suppress(ConnectionError):
                await talk(reader, writer)
        finally:
            writer.close()
            with suppress(OSError):  # also of TLS
                await writer.wait_closed()
            clients.discard(writer)

    async def listen() -> None:
        end = asyncio.Event()
        listener = await asyncio.start_server(serve, "127.0.0.1", 0, limit=limit, ssl=tls)
        started.set_result((asyncio.get_running_loop(), end, listener.sockets[0].getsockname()[1]))
        await end.wait()
        listener.close()
        # All tasks of this loop are of connections, also of those that were taken just now and are no clients yet.
        while left := asyncio.all_tasks() - {asyncio.current_task()}:
            for writer in clients:
                writer.transport.abort()
            await asyncio.wait(left, timeout=0.05)

    thread = threading.Thread(target=lambda: asyncio.run(listen()), name="stub server", daemon=True)
    thread.start()
    loop, end, port = started.result(timeout=10)
    try:
        yield port
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join()


async def hang_up(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Hear what is asked, and go without a word."""
    await reader.read(2**16)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say what one is told."""
    while data := await reader.read(2**16):
        writer.write(data)
        await writer.drain()


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer for ever, a byte at a time: an answer of HTTP's to who speaks it, else blanks."""
    asked = await reader.read(2**16)
    spoken = asked.split(b" ", 1)[0]
    if spoken.isalpha() and spoken.isupper() and spoken != b"PRI":
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000000\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.1)


class Relay:
    """The way to an engine, by all of its ports, that can be cut. Bytes are passed on as they are."""

    def __init__(self) -> None:
        self._open: set[asyncio.StreamWriter] = set()
        self._is_cut = False
        self._is_deaf = False

    def cut(self) -> None:
        """Break every connection, and each that is made until the way is mended."""
        self._is_cut = True
        for writer in list(self._open):
            with suppress(OSError):  # it has ended by itself
                writer.get_extra_info("socket").shutdown(socket.SHUT_RDWR)

    def lose_the_next_answer(self) -> None:
        """Pass on what is asked; at the first word of the engine, be cut."""
        self._is_deaf = True

    def mend(self) -> None:
        """Be a way again."""
        self._is_cut = self._is_deaf = False

    async def talk(self, host: str, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection to a port of the engine, to its end."""
        if self._is_cut:
            return
        from_engine, to_engine = await asyncio.open_connection(host, port)
        self._open |= {writer, to_engine}
        try:
            asked = asyncio.create_task(self._pass_on(reader, to_engine, is_answer=False))
            answered = asyncio.create_task(self._pass_on(from_engine, writer, is_answer=True))
            await asyncio.wait({asked, answered}, return_when=asyncio.FIRST_COMPLETED)
            asked.cancel()
            answered.cancel()
            await asyncio.wait({asked, answered})
        finally:
            self._open -= {writer, to_engine}
            writer.transport.abort()
            to_engine.transport.abort()
            with suppress(OSError):
                await to_engine.wait_closed()  # else the loop may end before, and the socket is never closed

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_answer: bool) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(2**16):
                if is_answer and self._is_deaf:
                    self.cut()
                if self._is_cut:
                    return
                writer.write(data)
                await writer.drain()


@contextmanager
def relayed(host: str, *ports: int, tls: ssl.SSLContext | None = None) -> Iterator[tuple[Relay, list[int]]]:
    """A relay to an engine, and its ports, one for each of the engine's; with ``tls`` encrypted up to the relay."""
    relay = Relay()
    with ExitStack() as stack:
        yield relay, [stack.enter_context(served(partial(relay.talk, host, port), tls=tls)) for port in ports]


# --- an engine that is not there --------------------------------------------------------------------------------------

PATIENCE = 1.0
"""The timeout, in seconds, given to a backend whose engine is silent."""

_FAULTS = (AttributeError, TypeError, NameError, NotImplementedError, ImportError)
"""What no network raises."""


@contextmanager
def nobody(kind: str) -> Iterator[tuple[int, SilentPort | None]]:
    """A port without an engine, ``closed`` or ``silent``, and the listener where there is one."""
    if kind == "closed":
        yield closed_port(), None
    else:
        with silent_port() as silent:
            yield silent.port, silent


def impatient(subject: Subject) -> dict[str, Any]:
    """Settings by which a backend gives up soon."""
    known = subject.config_fields
    options: dict[str, Any] = {}
    if "timeout" in known:
        options["timeout"] = 1 if known["timeout"].annotation is int else PATIENCE
    if "retries" in known:
        options["retries"] = 1
    return options


def fault_of(error: BaseException | None) -> BaseException | None:
    """The fault of a program among the causes of an error."""
    while error is not None and (isinstance(error, BackendError) or not isinstance(error, _FAULTS)):
        error = error.__cause__
    return error
