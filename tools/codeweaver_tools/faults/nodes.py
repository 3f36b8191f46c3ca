"""Nodes of a cluster that are killed and started again, or cut off for a while, under writers at every node.

Each writer writes, replaces and deletes points of its own, and notes what was acknowledged. Afterwards each node is
asked for every point; then what a failed call has left open is written again, and every node must give the same.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack
from typing import Any, Final, Literal

from codeweaver_backends import DistanceMetric, FilterCondition, VectorPoint, create_backend
from codeweaver_backends.errors import BackendError
from codeweaver_backends.testing import NotProvisioned, ServerProcess, Target
from codeweaver_tools.faults.writer import tell

__all__ = ["NAME", "Writer", "look", "run"]

NAME: Final = "cw-nodes"
_DIMENSION: Final = 4
_WRITERS: Final = 4
_OWN: Final = 300
"""Points of a writer."""
_BATCH: Final = 50
_BEFORE: Final = 2.0
"""Seconds of writing before a fault, at least, and as long after it."""
_DURING: Final = {"killed": 4.0, "cut off": 20.0}
"""Seconds that a node is away."""
_HEALED: Final = 120.0
"""Seconds in which a node that is back must have what it missed."""
_PAUSE: Final = 0.1

Kind = Literal["killed", "cut off"]


class Writer:
    """A client of one node."""

    def __init__(self, backend: Any, number: int) -> None:
        self._backend = backend
        self._ids = range(number * _OWN, (number + 1) * _OWN)
        self._step = 0
        self.allowed: dict[int, set[int | None]] = {n: {None} for n in self._ids}
        """By point, the steps that it may be of; ``None``: it may be missing."""
        self.acknowledged = 0
        self.refused: Counter[str] = Counter()
        self.longest = 0.0
        """The most seconds from one acknowledged call to the next, or to the end."""

    async def write(self, until: asyncio.Event) -> None:
        """Write until told to stop; after an error of the tree go on. Any other error ends it."""
        last = time.monotonic()
        while not until.is_set():
            self._step += 1
            start = self._step * 37 % _OWN
            ids = [self._ids[(start + offset) % _OWN] for offset in range(_BATCH)]
            is_deletion = self._step % 4 == 0
            left = None if is_deletion else self._step
            try:
                if is_deletion:
                    await self._backend.delete_vectors(NAME, ids)
                else:
                    await self._backend.upsert_vectors(NAME, [_point(n, self._step) for n in ids])
            except BackendError as error:
                self.refused[f"{type(error).__name__}: {error.message[:60]}"] += 1
                for n in ids:
                    self.allowed[n].add(left)
                await asyncio.sleep(_PAUSE)
            else:
                self.allowed |= {n: {left} for n in ids}
                self.acknowledged += 1
                self.longest, last = max(self.longest, time.monotonic() - last), time.monotonic()
        self.longest = max(self.longest, time.monotonic() - last)

    async def heal(self, end: float) -> list[str]:
        """Write again what a failed call has left open; what was wrong if that is refused till the end."""
        self._step += 1
        ids = [n for n, steps in self.allowed.items() if len(steps) > 1]
        while ids:
            try:
                await self._backend.upsert_vectors(NAME, [_point(n, self._step) for n in ids])
            except BackendError as error:
                if time.monotonic() > end:
                    return [f"{type(error).__name__}: {error}"]
                await asyncio.sleep(1)
            else:
                self.allowed |= {n: {self._step} for n in ids}
                break
        return []


def _point(n: int, step: int) -> VectorPoint:
    own = {"even": step} if step % 2 == 0 else {"odd": [step, -step]}
    return VectorPoint(n, [float(step % 1_000 + 1), float(n), 1.0, -1.0], {"n": n, "step": step, **own})


async def look(backend: Any, writers: Sequence[Writer]) -> list[str]:
    """What is not as it was acknowledged, by every way of reading."""
    allowed = {n: steps for writer in writers for n, steps in writer.allowed.items()}
    told = []
    scanned = {point.id: point async for point in backend.scan(NAME, with_vectors=True)}
    got = {point.id: point for point in await backend.get_vectors(NAME, list(allowed))}
    for name, found in (("scan", scanned), ("get", got)):
        for n, steps in allowed.items():
            there = found.get(n)
            step = there.payload.get("step") if there else None
            if step not in steps:
                told.append(f"{name}: point {n} is of step {step}, not of {sorted(map(str, steps))}")
            elif step is not None and there != _point(n, step):
                told.append(f"{name}: point {n} is not as step {step} wrote it")
    least = sum(None not in steps for steps in allowed.values())
    most = sum(steps != {None} for steps in allowed.values())
    condition = FilterCondition("step", "gte", 0)
    counts = {
        "count": await backend.count_vectors(NAME),
        "count by a filter": await backend.count_vectors(NAME, condition),
        "search": len(await backend.search_vectors(NAME, [1.0] * _DIMENSION, len(allowed))),
        "search by a filter": len(await backend.search_vectors(NAME, [1.0] * _DIMENSION, len(allowed), condition)),
    }
    return told + [f"{name}: {n} points, not {least} to {most}" for name, n in counts.items() if not least <= n <= most]


def run(target: Target, faults: int) -> dict[str, Any]:
    """So many nodes are killed, and as many cut off; what was not as it had to be afterwards."""
    if target.nodes is None:
        raise NotProvisioned("this target is no cluster: it has no nodes")
    with ExitStack() as stack:
        return asyncio.run(_run(target, stack.enter_context(target.nodes()), faults))


async def _run(target: Target, nodes: Sequence[tuple[ServerProcess, dict[str, Any]]], faults: int) -> dict[str, Any]:
    chance = random.Random(target.name)  # noqa: S311 - any moments will do
    mistakes: list[str] = []
    longest: dict[str, float] = {}
    healed = 0.0
    async with AsyncExitStack() as stack:
        backends = [
            await stack.enter_async_context(create_backend(target.backend, **settings)) for _, settings in nodes
        ]
        await backends[0].create_collection(NAME, _DIMENSION, DistanceMetric.EUCLIDEAN)
        writers = [Writer(backends[number % len(nodes)], number) for number in range(_WRITERS)]
        for turn in range(2 * faults):
            kind: Kind = "cut off" if turn % 2 else "killed"
            away = chance.randrange(len(nodes))
            try:
                await _suffered(nodes[away][0], kind, writers, chance.uniform(0, 1))
            except* Exception as group:  # noqa: BLE001 - what is none of the tree is what is looked for
                mistakes += [f"{kind}: {type(error).__name__}: {error}" for error in group.exceptions]
            for number, writer in enumerate(writers):
                who = "of its own" if number % len(nodes) == away else "of others"
                name = f"{kind}, clients {who}"
                longest[name], writer.longest = max(longest.get(name, 0.0), writer.longest), 0.0
            begun = time.monotonic()
            for phase in ("after it", "after writing again"):
                if phase == "after writing again":
                    for writer in writers:
                        mistakes += [f"{kind}, writing again: {one}" for one in await writer.heal(begun + _HEALED)]
                for number, backend in enumerate(backends):
                    found = await _found(backend, writers, begun + _HEALED)
                    mistakes += [f"{kind}, {phase}, node {number}: {one}" for one in found]
                healed = max(healed, time.monotonic() - begun)
            calls = sum(writer.acknowledged for writer in writers)
            tell(f"{target.name}: node {away} was {kind}: {calls} calls so far, {len(mistakes)} mistakes")
    return {
        "killed": faults,
        "cut off": faults,
        "acknowledged": sum(writer.acknowledged for writer in writers),
        "refused": dict(sum((writer.refused for writer in writers), Counter())),
        "longest wait": {name: round(seconds, 1) for name, seconds in sorted(longest.items())},
        "seconds until all nodes agree": round(healed, 1),
        "wrong": len(mistakes),
        "mistakes": mistakes[:20],
    }


async def _suffered(node: ServerProcess, kind: Kind, writers: Sequence[Writer], moment: float) -> None:
    """Write at every node, while one of them goes and comes back."""
    enough = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for writer in writers:
            group.create_task(writer.write(enough))
        await asyncio.sleep(_BEFORE + moment)
        (node.kill if kind == "killed" else node.pause)()
        try:
            await asyncio.sleep(_DURING[kind])
        finally:
            if kind == "killed":
                await asyncio.to_thread(node.restart)
            else:
                node.resume()
        await asyncio.sleep(_BEFORE)
        enough.set()


async def _found(backend: Any, writers: Sequence[Writer], end: float) -> list[str]:
    """What is wrong at a node, once nothing is or its time is over."""
    while True:
        try:
            found = await look(backend, writers)
        except BackendError as error:
            found = [f"{type(error).__name__}: {error}"]
        if not found or time.monotonic() > end:
            return found
        await asyncio.sleep(1)
