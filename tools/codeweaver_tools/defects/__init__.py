"""Planted defects: a few hundred backends, each wrong in one way, to see whether the kit notices.

``python -m codeweaver_tools.defects`` runs the suite against each of them and prints who was caught by which
clause. One of them by hand, with dashes spelt as underscores::

    pytest --pyargs codeweaver_conformance.suite --cw-backend=codeweaver_tools.defects:flt_gt_as_ge
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

from codeweaver_tools.defects.registry import DEFECTS, Defect

__all__ = ["DEFECTS", "Defect", "load"]

_TOOLS = ("__main__", "runner")


def load() -> dict[str, Defect]:
    """Every planted defect, by its id."""
    for module in pkgutil.iter_modules(__path__):
        if module.name not in _TOOLS:
            importlib.import_module(f"{__name__}.{module.name}")
    return DEFECTS


def __getattr__(name: str) -> Any:
    """The plug-in of a defect, by its id with underscores; so that ``module:attribute`` names it."""
    found = {one.id.replace("-", "_"): one.plugin for one in load().values()} if not name.startswith("__") else {}
    if name not in found:
        raise AttributeError(f"no defect is named {name!r}")
    return found[name]
