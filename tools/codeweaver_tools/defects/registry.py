"""The table of planted defects: each a plug-in of its own, with one fault and no other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar

from codeweaver_backends.capabilities import BackendCapabilities
from codeweaver_backends.memory import MemoryPlugin
from codeweaver_backends.plugins import BackendPlugin
from codeweaver_backends.types import BaseComponentInfo

__all__ = ["AREAS", "DEFECTS", "Defect", "Side", "plant", "plugin_for"]

Side: TypeAlias = Literal["above", "below"]
"""Of the validation: above it arguments are changed or swallowed, below it what is stored or answered."""

B = TypeVar("B", bound=type)

AREAS: dict[str, tuple[str, ...]] = {
    "batching": ("batches",),
    "lifecycle": ("collections", "lifecycle"),
    "scores": ("scores", "thresholds"),
    "limits": ("limits", "filters"),
    "async": ("lifecycle",),
    "vectors": ("vectors", "batches"),
    "metrics": ("metrics", "collections"),
    "config": ("config", "errors"),
    "health": ("health", "lifecycle", "errors"),
    "ids": ("ids", "collections"),
    "capabilities": ("capabilities", "plugin", "filters"),
    "kinds": (),
}
"""Where a defect of a class shows first, if not in the area of the same name: only the order of the tests. Those that
were planted before the tests that should find them are looked for in the order that users get."""


@dataclass(frozen=True, slots=True)
class Defect:
    """One fault, and the plug-in that carries it."""

    id: str
    group: str
    """The catalogue's class."""
    sentence: str
    side: Side
    plugin: type[BackendPlugin]
    needs_server: bool

    @property
    def reference(self) -> str:
        """What ``--cw-backend`` takes."""
        return f"{__package__}:{self.id.replace('-', '_')}"

    @property
    def areas(self) -> tuple[str, ...]:
        """The clauses to ask first."""
        return AREAS.get(self.group, (self.group,))


DEFECTS: dict[str, Defect] = {}


def plant(name: str, sentence: str, *, side: Side = "below") -> Callable[[B], B]:
    """Register a backend class, or a plug-in class, as the defect ``name``. Its class is the module's name."""

    def register(cls: B) -> B:
        group = cls.__module__.rpartition(".")[2].partition("_")[0]
        plugin = cls if issubclass(cls, BackendPlugin) else plugin_for(cls, name)
        if name in DEFECTS:
            raise ValueError(f"two defects are named {name!r}")
        server = hasattr(plugin.get_backend_class(), "address")
        DEFECTS[name] = Defect(name, group, sentence, side, plugin, server)
        return cls

    return register


def plugin_for(backend: type, name: str) -> type[BackendPlugin]:
    """A plug-in that presents ``backend``: honest in everything else."""
    base: type[BackendPlugin] = getattr(backend, "plugin", MemoryPlugin)

    class Planted(base):  # type: ignore[valid-type]
        @classmethod
        def get_plugin_name(cls) -> str:
            return name

        @classmethod
        def get_capabilities(cls) -> BackendCapabilities:
            claimed: BackendCapabilities = getattr(backend, "claims", None) or super().get_capabilities()
            return claimed

        @classmethod
        def get_component_info(cls) -> BaseComponentInfo:
            return BaseComponentInfo(name=name, display_name=name, description=backend.__doc__ or "", version="1")

        @classmethod
        def get_backend_class(cls) -> type:
            return backend

    return Planted
