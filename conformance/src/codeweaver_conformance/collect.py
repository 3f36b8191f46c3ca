"""The third plug-in form: the suite's tests inside a test module of the user's own."""

from __future__ import annotations

from typing import Any

import pytest

__all__ = ["conformance_tests"]


def conformance_tests(backend: str, **settings: Any) -> dict[str, Any]:
    """Every test of the suite, bound to one backend: ``globals().update(conformance_tests("mypkg.plugin:MyPlugin"))``.

    ``backend`` is a target's or plugin's name, or ``package.module:Plugin``; ``settings`` configure it.
    """
    # Here, as importing the kit imports no engine and no suite.
    from codeweaver_conformance.complete import suite_tests
    from codeweaver_conformance.plugin import run_of

    @pytest.fixture(scope="session")
    def cw_session(request: pytest.FixtureRequest) -> Any:
        yield from run_of(request.config).open(backend, settings)

    return {"cw_session": cw_session, **suite_tests()}
