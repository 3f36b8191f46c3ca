"""A cluster for tests: nodes of this machine, and what a deployment has before them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from codeweaver_backends.testing.server import ServerProcess, free_ports, is_listening

__all__ = ["balanced"]


@contextmanager
def balanced(*groups: Sequence[int]) -> Iterator[list[int]]:
    """A port before each group of ports, for as long as the block lasts.

    Each connection goes to the next port of the group that takes it: what a client wrote by one connection it reads by
    another, on another node.
    """
    ports = free_ports(len(groups))
    routes = [f"{port}={','.join(map(str, group))}" for port, group in zip(ports, groups, strict=True)]
    command = [sys.executable, "-m", "codeweaver_backends.testing.balancer", *routes]
    with ServerProcess(command, lambda: all(map(is_listening, ports))):
        yield ports
