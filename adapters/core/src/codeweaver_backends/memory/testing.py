"""How the memory backend is had for tests: it is here already."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from codeweaver_backends.memory.store import MemoryStore
from codeweaver_backends.testing import Target

__all__ = ["targets"]


@contextmanager
def _provide() -> Iterator[dict[str, Any]]:
    yield {"store": MemoryStore()}


def targets() -> list[Target]:
    """One store per run, shared by the run's backends."""
    return [Target("memory", "memory", _provide)]
