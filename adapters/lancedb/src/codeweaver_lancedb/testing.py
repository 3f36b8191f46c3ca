"""How LanceDB is had for tests: it runs in the process, in a folder that is thrown away."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from codeweaver_backends.testing import NotProvisioned, Target

__all__ = ["targets"]


@contextmanager
def _provide() -> Iterator[dict[str, Any]]:
    if importlib.util.find_spec("lancedb") is None:
        raise NotProvisioned("looked for the package lancedb, which is not installed")
    with tempfile.TemporaryDirectory(prefix="codeweaver-lancedb-") as folder:
        yield {"path": folder}


def targets() -> list[Target]:
    """One folder per run, shared by the run's backends."""
    return [Target("lancedb", "lancedb", _provide)]
