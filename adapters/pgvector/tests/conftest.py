"""A server for each module of tests, or none: then what needs it is skipped, and says why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from codeweaver_backends.testing import NotProvisioned, free_ports
from codeweaver_pgvector.testing import cluster, targets


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Where a server of the module's own listens."""
    [port] = free_ports(1)
    try:
        with cluster(port):
            yield port
    except NotProvisioned as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def settings() -> Iterator[dict[str, Any]]:
    """The settings that reach the target's server; a lock is not waited for long."""
    try:
        with targets()[0].provide() as given:
            yield {**given, "lock_timeout": 0.3}
    except NotProvisioned as reason:
        pytest.skip(str(reason))
