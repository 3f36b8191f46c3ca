"""A disk without room: it fills, writes are refused, room is made, writes go on, the process is killed.

What was acknowledged, before and after, must be there then. The disk is a small one in memory, which only root mounts.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from codeweaver_backends import VectorPoint, create_backend
from codeweaver_backends.errors import BackendError
from codeweaver_backends.testing import Target, small_disk
from codeweaver_tools.faults.kills import killable
from codeweaver_tools.faults.writer import tell

__all__ = ["run"]

_SIZE: Final = 320
"""Megabytes of the disk."""
_BALLAST: Final = 60 << 20
"""Bytes that are given back when it is full."""
_NAME: Final = "cw-full"
_BATCH: Final = 250
_DIMENSION: Final = 512
_PATIENCE: Final = 60.0


@contextlib.contextmanager
def _soon_full() -> Iterator[Path]:
    """A small disk that temporary folders are made on for as long as the block lasts."""
    with small_disk(_SIZE) as disk:
        before, tempfile.tempdir = tempfile.tempdir, str(disk)
        try:
            yield disk
        finally:
            tempfile.tempdir = before


def run(target: Target) -> dict[str, Any]:
    """Fill the disk once; what was lost of what had been acknowledged."""
    with _soon_full() as disk, killable(target) as (server, settings):
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(_BALLAST))
        task = json.dumps({"backend": target.backend, "settings": settings, "ballast": str(ballast)}, default=str)
        command = [sys.executable, "-m", "codeweaver_tools.faults.disks"]
        done = subprocess.run(command, input=task, capture_output=True, text=True, check=False)  # noqa: S603
        try:
            told = dict(line.split(" ", 1) for line in done.stdout.splitlines())
            before, after = int(told["before"]), int(told["after"])
        except (KeyError, ValueError):
            return {"wrong": 1, "mistakes": [f"the writer ended by itself ({done.returncode}): {done.stderr[-300:]}"]}
        if server is not None:
            server.restart()
        mistakes = [] if after > before else [f"no write was taken after room was made: {told['last']}"]
        mistakes += asyncio.run(_lost(target.backend, settings, after))
    return {
        "acknowledged": after,
        "refused": told["refused"],
        "seconds until writable": float(told["waited"]),
        "wrong": len(mistakes),
        "mistakes": mistakes,
    }


async def _lost(backend: str, settings: Mapping[str, Any], acknowledged: int) -> list[str]:
    async with create_backend(backend, **settings) as one:
        ids = {point.id async for point in one.scan(_NAME)}
        missing = set(range(acknowledged)) - ids
        counted = await one.count_vectors(_NAME)
        told = [f"{len(missing)} acknowledged points are missing, the first is {min(missing)}"] if missing else []
        return told + ([f"{counted} were counted, {len(ids)} scanned"] if counted != len(ids) else [])


def _words(error: BackendError) -> str:
    return f"{type(error).__name__}: {error.message}"[:200]


async def _fill(task: Mapping[str, Any]) -> None:
    """The process that writes: it tells how much was acknowledged when the disk was full, and at the end."""
    async with create_backend(task["backend"], **task["settings"]) as backend:
        await backend.create_collection(_NAME, _DIMENSION)
        written = 0

        async def write() -> None:
            nonlocal written
            ids = range(written, written + _BATCH)
            vectors = [[1.0, float(n), *[float(n % 97 + d) for d in range(_DIMENSION - 2)]] for n in ids]
            points = [VectorPoint(n, vector, {"n": n}) for n, vector in zip(ids, vectors, strict=True)]
            await backend.upsert_vectors(_NAME, points)
            written += _BATCH

        try:
            while True:
                await write()
        except BackendError as error:
            tell(f"before {written}")
            tell(f"refused {_words(error)}")
        os.truncate(task["ballast"], 0)
        begun, last, further = time.monotonic(), "", 0
        while further < 5 and time.monotonic() - begun < _PATIENCE:
            try:
                await write()
                further += 1
            except BackendError as error:
                last = _words(error)
                await asyncio.sleep(0.5)
        tell(f"waited {time.monotonic() - begun:.1f}")
        tell(f"last {last}")
        tell(f"after {written}")
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    asyncio.run(_fill(json.loads(sys.stdin.read())))
