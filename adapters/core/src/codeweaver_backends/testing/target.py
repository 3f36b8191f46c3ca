"""How an engine is had for tests: the shape of every adapter's ``testing.py``.

Each distribution names a function ``targets() -> list[Target]`` under the entry point group ``codeweaver.testing``. A
target is one way to run one backend: embedded, by REST, by gRPC, another server. The kit enters ``provide()`` once per
run and creates its backends from the settings it yields; where no engine can be found it raises
``NotProvisioned``, and the run's verdict is "not verified", never a pass.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Final

from codeweaver_backends.plugins import Location

if TYPE_CHECKING:
    from codeweaver_backends.testing.server import ServerProcess

__all__ = ["ENTRY_POINT_GROUP", "NotProvisioned", "Target", "find_targets"]

ENTRY_POINT_GROUP: Final = "codeweaver.testing"


class NotProvisioned(Exception):  # noqa: N818 - a state, not a mistake
    """No engine can be had here; the message says what was looked for."""


@dataclass(frozen=True, slots=True)
class Target:
    """One way to run one backend."""

    name: str
    """Unique among all targets; the certificate is named after it."""
    backend: str
    """The plugin's name."""
    provide: Callable[[], AbstractContextManager[dict[str, Any]]]
    """Enter it to have an engine; it yields the settings for ``create_backend``."""
    elsewhere: Callable[[int], dict[str, Any]] | None = None
    """For a server: the settings that look for it at another port of this machine."""
    server: Callable[[], AbstractContextManager[tuple[ServerProcess, dict[str, Any]]]] | None = None
    """Enter it to have a server of this machine, to be killed and started again, and the settings that reach it."""
    nodes: Callable[[], AbstractContextManager[list[tuple[ServerProcess, dict[str, Any]]]]] | None = None
    """For a cluster: enter it to have its nodes, each to be killed, paused and restarted, with the settings that reach
    it."""
    location: Location | None = None
    """Where the engine runs, where this way to run it is another than its plugin tells. With ``elsewhere`` a server."""


def find_targets() -> dict[str, Target]:
    """Every target of every installed adapter that can be imported, by name."""
    found: dict[str, Target] = {}
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        try:
            targets = entry.load()()
        except Exception:  # noqa: BLE001, S112 - another's broken plugin must not take these targets away
            continue
        found.update({target.name: target for target in targets})
    return found
