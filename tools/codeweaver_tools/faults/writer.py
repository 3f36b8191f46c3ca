"""The process that writes a history, and is killed: ``python -m codeweaver_tools.faults.writer``.

It reads a line of JSON (``backend``, ``settings``, ``history``, ``first``) and prints ``ready``, then the number of
each step that was acknowledged; a step that failed is told as ``failed`` with the error's name, and ends it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import IO, Any, Final, cast

from codeweaver_backends import create_backend
from codeweaver_backends.errors import BackendError
from codeweaver_tools.faults import history, sparse

__all__ = ["killed_writer", "tell"]

_TAKE: Final = {"points": history.take, "sparse": sparse.take}


def killed_writer(
    task: Mapping[str, Any], steps: int, delay: float, kill: Callable[[], object] | None
) -> tuple[list[int], str | None]:
    """The steps that a writer acknowledged, and the error that ended it. ``task`` is what the writer reads.

    Some time after so many steps, in seconds, the writer is killed or, where ``kill`` is given, its server.
    """
    command = [sys.executable, "-m", "codeweaver_tools.faults.writer"]
    told: list[str] = []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        into, out = cast("IO[str]", process.stdin), cast("IO[str]", process.stdout)
        into.write(json.dumps(task, default=str) + "\n")
        into.flush()
        if out.readline() != "ready\n":
            raise RuntimeError("the writer did not begin")
        while len(told) < steps and (line := out.readline()):
            told.append(line.strip())
        try:
            process.wait(delay)
        except subprocess.TimeoutExpired:
            if kill is None:
                os.kill(process.pid, signal.SIGKILL)
            else:
                kill()
        told += (line.strip() for line in out)
    failed = next((line.removeprefix("failed ") for line in told if line.startswith("failed")), None)
    return [int(line) for line in told if line.isdecimal()], failed


def tell(line: str) -> None:
    """One line, at once, to whoever reads."""
    sys.stdout.write(line.replace("\n", " ") + "\n")
    sys.stdout.flush()


async def _write(task: Mapping[str, Any]) -> None:
    async with create_backend(task["backend"], **task["settings"]) as backend:
        await backend.list_collections()
        tell("ready")
        take, step = _TAKE[task["history"]], task["first"]
        while True:
            try:
                await take(backend, step)
            except BackendError as error:
                tell(f"failed {type(error).__name__}: {error}")
                return
            tell(str(step))
            step += 1


if __name__ == "__main__":
    asyncio.run(_write(json.loads(sys.stdin.readline())))
