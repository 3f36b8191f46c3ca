"""A process that forks while it has a backend open, as ``multiprocessing`` does.

The child calls the backend that it inherited, which must be refused at once, by name, and then opens its own, which
may be refused too. Both write. What was acknowledged to either is there afterwards.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import subprocess
import sys
import time
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from codeweaver_backends import VectorPoint, create_backend
from codeweaver_backends.errors import BackendClosedError, BackendError
from codeweaver_backends.testing import NotProvisioned, Target
from codeweaver_tools.faults.writer import tell

__all__ = ["run"]

_NAME: Final = "cw-forked"
_BATCH: Final = 50
_BATCHES: Final = 6
_AT_ONCE: Final = 1.0
"""Seconds in which a backend that cannot be used is refused."""
_PATIENCE: Final = 120.0


def run(target: Target, forks: int) -> dict[str, Any]:
    """Fork so many times; what was lost, taken or kept waiting. ``own`` tells what became of the children's own."""
    if "fork" not in multiprocessing.get_all_start_methods():
        raise NotProvisioned("there are no forks on this system")
    mistakes: list[str] = []
    own: dict[str, int] = {}
    acknowledged = 0
    with target.provide() as settings:
        if target.elsewhere is None and "path" not in settings:
            raise NotProvisioned("what is in the memory of a process is of that process")
        asyncio.run(_made(target.backend, settings))
        for turn in range(forks):
            told, mistaken = _forked({"backend": target.backend, "settings": settings, "first": 10_000 * turn})
            mistakes += (f"fork {turn}: {one}" for one in mistaken)
            for line in told.get("own", ["nothing"]):
                own[line] = own.get(line, 0) + 1
            ids = {int(one) for line in told.get("written", ()) for one in line.split()}
            acknowledged += len(ids)
            mistakes += (f"fork {turn}: {one}" for one in asyncio.run(_lost(target.backend, settings, ids)))
    return {"forks": forks, "acknowledged": acknowledged, "own": own, "wrong": len(mistakes), "mistakes": mistakes[:20]}


def _forked(task: Mapping[str, Any]) -> tuple[dict[str, list[str]], list[str]]:
    """What a process and its child told, by their first words; and what they did wrong."""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-m", "codeweaver_tools.faults.forks"]
    given = json.dumps(task, default=str)
    try:
        done = subprocess.run(  # noqa: S603
            command, input=given, capture_output=True, text=True, check=False, timeout=_PATIENCE
        )
    except subprocess.TimeoutExpired:
        return {}, [f"parent or child did not end within {_PATIENCE:g} s"]
    told: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        word, _, rest = line.partition(" ")
        told.setdefault(word, []).append(rest)
    mistakes = told.get("wrong", [])
    if done.returncode or "done" not in told:
        mistakes.append(f"the parent ended by itself ({done.returncode}): {done.stderr[-300:]}")
    return told, mistakes


async def _made(backend: str, settings: Mapping[str, Any]) -> None:
    async with create_backend(backend, **settings) as one:
        await one.create_collection(_NAME, 2)


async def _lost(backend: str, settings: Mapping[str, Any], acknowledged: set[int]) -> list[str]:
    async with create_backend(backend, **settings) as one:
        there = {point.id async for point in one.scan(_NAME)}
        got = {point.id for point in await one.get_vectors(_NAME, sorted(acknowledged))}
        counted = await one.count_vectors(_NAME)
    told = [f"{len(acknowledged - found)} points are lost to {how}" for how, found in (("scan", there), ("get", got))]
    wrong = [one for one, found in zip(told, (there, got), strict=True) if acknowledged - found]
    return wrong + ([f"{counted} were counted, {len(there)} scanned"] if counted != len(there) else [])


# --- the process that forks, and its child ---------------------------------------------------------------------------


async def _write(backend: Any, first: int) -> None:
    for start in range(first, first + _BATCHES * _BATCH, _BATCH):
        ids = range(start, start + _BATCH)
        await backend.upsert_vectors(_NAME, [VectorPoint(n, [1.0, float(n)], {"n": n}) for n in ids])
        tell(f"written {' '.join(map(str, ids))}")


async def _inherited(backend: Any, first: int) -> None:
    point = VectorPoint(first, [1.0, 1.0])
    calls = {
        "upsert_vectors": partial(backend.upsert_vectors, _NAME, [point]),
        "search_vectors": partial(backend.search_vectors, _NAME, [1.0, 1.0]),
        "delete_vectors": partial(backend.delete_vectors, _NAME, [first]),
        "list_collections": backend.list_collections,
        "delete_collection": partial(backend.delete_collection, _NAME),
    }
    for name, call in calls.items():
        begun = time.monotonic()
        try:
            await call()
        except BackendClosedError as error:
            if "process" not in str(error):
                tell(f"wrong {name} does not say why: {error}")
        except Exception as error:  # noqa: BLE001 - it is told
            tell(f"wrong {name} of an inherited backend: {type(error).__name__}: {error}")
        else:
            tell(f"wrong {name} of an inherited backend was taken")
        if time.monotonic() - begun > _AT_ONCE:
            tell(f"wrong {name} of an inherited backend took {time.monotonic() - begun:.1f} s")
    if await backend.health_check():
        tell("wrong an inherited backend is healthy")
    await backend.aclose()


async def _own(backend: str, settings: Mapping[str, Any], first: int) -> None:
    try:
        async with create_backend(backend, **settings) as one:
            await _write(one, first)
    except BackendError as error:
        tell(f"own refused: {type(error).__name__}: {error.message}")
    else:
        tell("own right")


def _child(backend: Any, task: Mapping[str, Any]) -> None:
    asyncio.run(_inherited(backend, task["first"]))
    asyncio.run(_own(task["backend"], task["settings"], task["first"] + 5_000))
    tell("child")


def _main(task: Mapping[str, Any]) -> None:
    with asyncio.Runner() as runner:
        backend = create_backend(task["backend"], **task["settings"])
        runner.run(_write(backend, task["first"]))
        child = multiprocessing.get_context("fork").Process(target=_child, args=(backend, task))
        child.start()
        runner.run(_write(backend, task["first"] + 1_000))
        child.join(_PATIENCE / 2)
        if child.exitcode != 0:
            tell(f"wrong the child hangs or failed: {child.exitcode}")
            child.kill()
        runner.run(_write(backend, task["first"] + 2_000))
        runner.run(backend.aclose())
    tell("done")


if __name__ == "__main__":
    _main(json.loads(sys.stdin.read()))
