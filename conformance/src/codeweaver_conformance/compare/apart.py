"""Measuring each engine in a process of its own: its memory is its own, and so is its crash."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from codeweaver_conformance.compare.dataset import Dataset
from codeweaver_conformance.compare.engines import Engine, resolve_engines
from codeweaver_conformance.compare.measure import Measurement, measure
from codeweaver_conformance.compare.reading import Progress
from codeweaver_conformance.compare.requirements import Requirements, shortcomings

__all__ = ["measure_apart"]

_PATIENCE: Final = 20.0
"""Seconds that an interrupted engine is given to remove its collection."""


def measure_apart(
    engine: Engine,
    settings: Mapping[str, Mapping[str, str]],
    config: Path | None,
    data: Dataset,
    needs: Requirements,
    progress: Progress,
) -> Measurement:
    """``measure`` in another process. One that dies is an engine that failed."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(
        target=_work, args=(there, engine.reference or engine.name, settings, config, data, needs), daemon=False
    )
    with _deaf_to_interrupts():
        process.start()
    there.close()
    try:
        while True:
            kind, *told = here.recv()
            if kind == "done":
                result: Measurement = told[0]
                return result
            getattr(progress, kind)(*told)
    except EOFError:
        process.join(_PATIENCE)
        return Measurement(engine.name, f"its process {_end_of(process.exitcode)}")
    except BaseException:
        process.terminate()
        raise
    finally:
        here.close()
        process.join(_PATIENCE)
        if process.is_alive():
            process.kill()
            process.join()


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """What is started within ignores Ctrl-C from its first moment: before it can say otherwise, it would be torn."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _end_of(status: int | None) -> str:
    if status is not None and status < 0:
        return f"was ended by {signal.Signals(-status).name}"
    return f"ended with the status {status}"


class _Telling:
    """Progress, told to the process that waits."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def begin(self, what: str, total: int) -> None:
        self._connection.send(("begin", what, total))

    def advance(self, steps: int = 1) -> None:
        self._connection.send(("advance", steps))


def _work(
    connection: Connection,
    name: str,
    settings: Mapping[str, Mapping[str, str]],
    config: Path | None,
    data: Dataset,
    needs: Requirements,
) -> None:
    os.dup2(2, 1)  # what an engine prints is no part of the result
    # A terminal's Ctrl-C reaches both processes. The one that waits passes it on, once, as SIGTERM.
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        [engine] = resolve_engines([name], {name: settings[name]} if name in settings else {}, config)
        result = measure(
            engine,
            data,
            None,
            _Telling(connection),
            concurrency=needs.concurrency,
            refuse=lambda claims: shortcomings(needs, claims, engine.is_server, engine.is_persistent),
        )
        connection.send(("done", result))
    except (KeyboardInterrupt, BrokenPipeError):  # who waits has ended, or is about to
        os._exit(130)
