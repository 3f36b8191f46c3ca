"""The import paths of the host application, for plugins that are written against it.

A plugin that imports ``codeweaver.cw_types``, ``codeweaver.backends.base``, ``codeweaver.factories.plugin_protocols``
or ``codeweaver.factories.codeweaver_factory`` runs here too: the factory, the command and the kit call ``install``
before they load one. What an installed host has of these modules is its own; what it lacks stands in for it.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Final

__all__ = ["install"]

_MODULES: Final[dict[str, tuple[str, ...]]] = {
    "codeweaver": (),
    "codeweaver.cw_types": ("types", "errors", "capabilities"),
    "codeweaver.backends": (),
    "codeweaver.backends.base": ("protocols",),
    "codeweaver.factories": (),
    "codeweaver.factories.plugin_protocols": ("plugins",),
    "codeweaver.factories.codeweaver_factory": ("factory",),
}
"""The host's module → those of this package whose public names it has."""


class _StandIns(MetaPathFinder, Loader):
    """Asked last, so that it finds what nobody else does."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in _MODULES:
            return None
        return ModuleSpec(fullname, self, origin="codeweaver_backends.compat", is_package=not _MODULES[fullname])

    def exec_module(self, module: ModuleType) -> None:
        module.__doc__ = f"Stands in for {module.__name__} of the host application: see codeweaver_backends.compat."
        for name in _MODULES[module.__name__]:
            source = importlib.import_module(f"codeweaver_backends.{name}")
            for public in source.__all__:
                setattr(module, public, getattr(source, public))


def install() -> None:
    """Make the host's import paths resolve, to this package where no host has them. A second time changes nothing."""
    if not any(isinstance(finder, _StandIns) for finder in sys.meta_path):
        sys.meta_path.append(_StandIns())
