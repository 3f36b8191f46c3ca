"""What an engine takes up of this machine: memory of processes, space of folders."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["Memory", "can_measure_memory", "disk_used", "memory_used"]

_PROC: Final = Path("/proc")
_PROPORTIONAL: Final = re.compile(r"^Pss:\s+(\d+) kB", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Memory:
    """Of this process and its descendants."""

    bytes: int
    """Pages that several of them share are counted once."""
    processes: int


def can_measure_memory() -> bool:
    """Whether the system tells it: Linux does."""
    return _proportional(os.getpid()) is not None


def memory_used() -> Memory:
    """Now. 0 bytes where the system does not tell it."""
    sizes = [size for pid in (os.getpid(), *_descendants(os.getpid())) if (size := _proportional(pid)) is not None]
    return Memory(sum(sizes), len(sizes))


def _proportional(pid: int) -> int | None:
    with suppress(OSError):
        found = _PROPORTIONAL.search((_PROC / str(pid) / "smaps_rollup").read_text(encoding="ascii"))
        return int(found[1]) * 1024 if found else None
    return None


def _descendants(pid: int) -> Iterator[int]:
    for task in (_PROC / str(pid) / "task").glob("*/children"):
        with suppress(OSError):
            for child in task.read_text(encoding="ascii").split():
                yield int(child)
                yield from _descendants(int(child))


def disk_used(path: object) -> int | None:
    """The bytes that the files below a folder take up; ``None`` where there is no folder of this machine."""
    if not isinstance(path, str | Path) or not Path(path).is_dir():
        return None
    total = 0
    for file in Path(path).rglob("*"):
        with suppress(OSError):  # an engine may be merging its files
            total += _allocated(file.stat()) if file.is_file() else 0
    return total


def _allocated(stat: os.stat_result) -> int:
    # Blocks, where the system tells them: engines set aside sparse files that are larger than what they hold.
    return stat.st_blocks * 512 if hasattr(stat, "st_blocks") else stat.st_size
