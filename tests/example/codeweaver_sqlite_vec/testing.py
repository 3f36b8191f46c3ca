"""Provide sqlite-vec for tests: a temporary folder."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from codeweaver_backends.testing import Target

__all__ = ["targets"]


@contextmanager
def _provide() -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="codeweaver-sqlite-vec-") as path:
        yield {"path": path}


def targets() -> list[Target]:
    """The one way to run it."""
    return [Target("sqlite-vec", "sqlite-vec", _provide)]
