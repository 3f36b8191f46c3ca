"""The third plug-in form: the suite's tests inside a test module of the user's own."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import Any

import pytest

from codeweaver_conformance import suite

__all__ = ["conformance_tests", "suite_tests"]


def conformance_tests(backend: str, **settings: Any) -> dict[str, Any]:
    """Every test of the suite, bound to one backend: ``globals().update(conformance_tests("mypkg.plugin:MyPlugin"))``.

    ``backend`` is a target's or plugin's name, or ``package.module:Plugin``; ``settings`` configure it.
    """
    from codeweaver_conformance.plugin import run_of

    @pytest.fixture(scope="session")
    def cw_session(request: pytest.FixtureRequest) -> Any:
        yield from run_of(request.config).open(backend, settings)

    return {"cw_session": cw_session, **suite_tests()}


@cache
def suite_tests() -> dict[str, Any]:
    """The tests of the suite by their names, of which no two are the same."""
    found: dict[str, Any] = {}
    for module in pkgutil.iter_modules(suite.__path__):
        if module.name.startswith("test_"):
            names = vars(importlib.import_module(f"{suite.__name__}.{module.name}"))
            tests = {name: test for name, test in names.items() if name.startswith("test_")}
            if twice := found.keys() & tests.keys():
                raise ValueError(f"two tests of the suite have one name: {', '.join(sorted(twice))}")
            found |= tests
    return found
