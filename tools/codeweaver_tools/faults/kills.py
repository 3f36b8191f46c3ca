"""Processes that are killed: the writer's where the engine is embedded in it, else the server's."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Final, TypeAlias

from codeweaver_backends import BackendError, create_backend
from codeweaver_backends.testing import NotProvisioned, ServerProcess, Target
from codeweaver_tools.faults import history, sparse
from codeweaver_tools.faults.writer import killed_writer

__all__ = ["killable", "run"]

_Ledger: TypeAlias = history.Ledger | sparse.SparseLedger
_Begin: TypeAlias = Callable[[Any], Awaitable[None]]
_HISTORIES: Final[dict[str, tuple[_Begin, Callable[[], _Ledger]]]] = {
    "points": (history.begin, history.Ledger),
    "sparse": (sparse.begin, sparse.SparseLedger),
}

_LATER: Final = 30.0
"""Seconds after which what an engine makes good in the background is there."""


def run(target: Target, kills: int, kind: str = "points") -> dict[str, Any]:
    """Kill so many times within a history of this kind; what was not as it had to be afterwards.

    ``within`` counts the kills by the call that was under way, ``late`` those after which something was not found at
    once (``at first`` says what) and was half a minute later, ``healed`` those after which it took the call that was
    cut short, made again.
    """
    begin, make_ledger = _HISTORIES[kind]
    ledger = make_ledger()
    chance = random.Random(target.name)  # noqa: S311 - any moments will do
    mistakes: list[str] = []
    at_first: list[str] = []
    within: Counter[str] = Counter()
    acknowledged = late = healed = 0
    with killable(target) as (server, settings):
        asyncio.run(_begun(target.backend, settings, begin))
        for turn in range(kills):
            kill = None if server is None else server.kill
            task = {"backend": target.backend, "settings": settings, "history": kind, "first": ledger.next}
            told, failed = killed_writer(task, *ledger.moment(chance), kill)
            for step in told:
                ledger.acknowledged(step)
            acknowledged += len(told)
            within[ledger.begun] += 1
            if failed is not None and server is None:
                mistakes.append(f"kill {turn}: the writer failed before it was killed: {failed}")
            if server is not None:
                server.restart()
            as_acknowledged = copy.deepcopy(ledger)  # a ledger that has judged takes over what it has found
            found = asyncio.run(_judged(target.backend, settings, ledger))
            if found:
                at_first.append(f"kill {turn}: {found[0]}"[:200])
                time.sleep(_LATER)
                ledger = copy.deepcopy(as_acknowledged)
                found = asyncio.run(_judged(target.backend, settings, ledger))
                late += not found
            if found and not any(history.is_loss(one) for one in found):
                ledger = as_acknowledged
                found = asyncio.run(_judged(target.backend, settings, ledger, is_taken_again=True))
                healed += not found
            mistakes += (f"kill {turn}: {one}" for one in found)
    counts = {"kills": kills, "acknowledged": acknowledged, "within": dict(sorted(within.items()))}
    looked_at_again = {"late": late, "healed": healed, "at first": at_first[:5]}
    return {**counts, **looked_at_again, "wrong": len(mistakes), "mistakes": mistakes[:20]}


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


async def _begun(backend: str, settings: Mapping[str, Any], begin: _Begin) -> None:
    async with create_backend(backend, **settings) as one:
        await begin(one)


async def _judged(
    backend: str, settings: Mapping[str, Any], ledger: _Ledger, *, is_taken_again: bool = False
) -> list[str]:
    async with create_backend(backend, **settings) as one:
        reason = await one.diagnose()
        told = [] if reason is None else [f"diagnose: {reason}"]
        try:
            if is_taken_again:
                await history.take(one, ledger.next)
                ledger.acknowledged(ledger.next)
            return told + await ledger.mistakes(one)
        except BackendError as error:  # a server that was killed may take long to answer its first question
            return [*told, f"{type(error).__name__}: {error}"]
