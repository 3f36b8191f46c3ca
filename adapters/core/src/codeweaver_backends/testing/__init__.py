"""Engines for tests: what a target is, the process of a server, a cluster's balancer, and a disk that is soon full."""

from codeweaver_backends.testing.cluster import balanced
from codeweaver_backends.testing.disk import small_disk
from codeweaver_backends.testing.server import ServerProcess, answers_http, free_ports, is_listening
from codeweaver_backends.testing.target import ENTRY_POINT_GROUP, NotProvisioned, Target, find_targets

__all__ = [
    "ENTRY_POINT_GROUP",
    "NotProvisioned",
    "ServerProcess",
    "Target",
    "answers_http",
    "balanced",
    "find_targets",
    "free_ports",
    "is_listening",
    "small_disk",
]
