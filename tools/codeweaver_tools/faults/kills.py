"""Processes that are killed: the writer's where the engine is embedded in it, else the server's."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Iterator, Mapping
from typing import Any

from codeweaver_backends import create_backend
from codeweaver_backends.testing import NotProvisioned, ServerProcess, Target
from codeweaver_tools.faults.history import Ledger, begin
from codeweaver_tools.faults.writer import killed_writer

__all__ = ["killable", "run"]


def run(target: Target, kills: int) -> dict[str, Any]:
    """Kill so many times; what was not as it had to be afterwards."""
    ledger, chance = Ledger(), random.Random(target.name)  # noqa: S311 - any moments will do
    mistakes: list[str] = []
    acknowledged = 0
    with killable(target) as (server, settings):
        asyncio.run(_begun(target.backend, settings))
        for turn in range(kills):
            kill = None if server is None else server.kill
            steps, delay = chance.randrange(4, 12), chance.uniform(0, 0.15)
            told, failed = killed_writer(target.backend, settings, ledger.next, steps, delay, kill)
            for step in told:
                ledger.acknowledged(step)
            acknowledged += len(told)
            if failed is not None and server is None:
                mistakes.append(f"kill {turn}: the writer failed before it was killed: {failed}")
            if server is not None:
                server.restart()
            mistakes += (f"kill {turn}: {one}" for one in asyncio.run(_judged(target.backend, settings, ledger)))
    return {"kills": kills, "acknowledged": acknowledged, "wrong": len(mistakes), "mistakes": mistakes[:20]}


@contextlib.contextmanager
def killable(target: Target) -> Iterator[tuple[ServerProcess | None, Mapping[str, Any]]]:
    """A server that may be killed, or none where the engine lives in its user's process; and the settings."""
    if target.server is not None:
        with target.server() as (server, settings):
            yield server, settings
        return
    with target.provide() as settings:
        if "path" not in settings:
            raise NotProvisioned("this engine keeps nothing: there is no file, and no server to kill")
        yield None, settings


async def _begun(backend: str, settings: Mapping[str, Any]) -> None:
    async with create_backend(backend, **settings) as one:
        await begin(one)


async def _judged(backend: str, settings: Mapping[str, Any], ledger: Ledger) -> list[str]:
    async with create_backend(backend, **settings) as one:
        reason = await one.diagnose()
        told = [] if reason is None else [f"diagnose: {reason}"]
        return told + await ledger.mistakes(one)
