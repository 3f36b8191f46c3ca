"""Clients that do not survive a fork: what a child makes anew meets the threads and sockets that its parent left it."""

from __future__ import annotations

import os
from typing import Final

from codeweaver_backends.errors import UnsupportedError

__all__ = ["use_without_forks"]

_processes: Final[dict[str, int]] = {}
"""By library, the process that used it first: a child finds its parent's here."""


def use_without_forks(library: str) -> None:
    """Take note that this process is about to use a library that does not survive a fork.

    Raises ``UnsupportedError`` in a child whose parent used it before the fork.
    """
    if _processes.setdefault(library, os.getpid()) != os.getpid():
        raise UnsupportedError(
            f"{library} does not survive a fork; start the process by spawn or forkserver", capability="fork"
        )
