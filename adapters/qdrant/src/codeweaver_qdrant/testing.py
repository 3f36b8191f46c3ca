"""How a Qdrant is had for tests."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from codeweaver_backends.testing import Target

__all__ = ["targets"]


@contextmanager
def _edge() -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="codeweaver-qdrant-", ignore_cleanup_errors=True) as path:
        yield {"path": path}


def targets() -> list[Target]:
    """Edge."""
    return [Target("qdrant-edge", "qdrant-edge", _edge)]
