"""The import paths of the host application, for plugins that are written against it.

A plugin that imports ``codeweaver.cw_types``, ``codeweaver.backends.base``, ``codeweaver.factories.plugin_protocols``
or ``codeweaver.factories.codeweaver_factory`` runs here too: call ``install`` before importing it. Where the host
application itself is installed nothing is touched, and its own modules are used. The conformance kit calls it.
"""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType
from typing import Final

from codeweaver_backends import capabilities, errors, factory, plugins, protocols, types

__all__ = ["install"]

_MODULES: Final[dict[str, tuple[ModuleType, ...]]] = {
    "codeweaver": (),
    "codeweaver.cw_types": (types, errors, capabilities),
    "codeweaver.backends": (),
    "codeweaver.backends.base": (protocols,),
    "codeweaver.factories": (),
    "codeweaver.factories.plugin_protocols": (plugins,),
    "codeweaver.factories.codeweaver_factory": (factory,),
}


def install() -> bool:
    """Make the host's import paths resolve to this package. ``False`` where a host is installed, and left alone."""
    present = sys.modules.get("codeweaver")
    if present is not None:
        return getattr(present, "__codeweaver_backends__", False)
    if importlib.util.find_spec("codeweaver") is not None:
        return False
    for name, sources in _MODULES.items():
        module = ModuleType(name, doc=f"Stands in for {name} of the host application: see codeweaver_backends.compat.")
        module.__path__ = []
        module.__codeweaver_backends__ = True  # type: ignore[attr-defined]
        for source in sources:
            for public in source.__all__:
                setattr(module, public, getattr(source, public))
        sys.modules[name] = module
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)
    return True
