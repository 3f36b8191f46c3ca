"""Settings: of unknown names, of the wrong sign, of the wrong kind."""

from __future__ import annotations

from typing import Any

from codeweaver_backends.errors import BackendError
from codeweaver_conformance.clause import clause
from codeweaver_conformance.session import Conformance

_WRONG: dict[str, tuple[Any, ...]] = {
    "timeout": (-1, 0, float("nan"), "soon", None, []),
    "retries": (-1, 1.5, "many", None, []),
    "port": (-1, 0, 65_536, "http", []),
    "max_connections": (-1, 0, "many", []),
    "tls": ("perhaps", 7, []),
}


@clause("config.validate")
async def test_wrong_settings_are_refused(cw: Conformance) -> None:
    """Check misspelt names, and values of the wrong sign or kind, of the settings that backends share."""
    known = cw.subject.config_fields
    if not known:
        cw.not_verified("the backend has no configuration class")
    for name in ("timeouts", "time_out", "api-key", "tsl", "retry"):
        with cw.raises(BackendError, ValueError, TypeError, why=f"an unknown setting {name!r}"):
            cw.subject.create(**{name: 1})
    for name, values in _WRONG.items():
        for value in values if name in known else ():
            with cw.raises(BackendError, ValueError, TypeError, why=f"{name}={value!r}"):
                cw.subject.create(**{name: value})
