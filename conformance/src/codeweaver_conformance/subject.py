"""What is under test: a plugin, the settings that reach its engine, and how fresh backends of it are made."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel

from codeweaver_backends import compat
from codeweaver_backends.factory import CodeWeaverFactory, Registration
from codeweaver_backends.plugins import load_object
from codeweaver_backends.testing import NotProvisioned, Target, find_targets

__all__ = ["Subject", "provisioned", "settings_from"]

_CREDENTIALS = ("api_key", "token", "password")
_ADDRESS_SETTINGS = ("url", "uri", "dsn", "location", "path", "grpc_port")


@dataclass(frozen=True, slots=True)
class Subject:
    """One backend and one way to run it."""

    name: str
    """The target's or the plugin's name: the certificate is named after it."""
    reference: str
    """What was given to ``--cw-backend``."""
    registration: Registration
    plugin: Any
    """The plugin class, or ``None`` where only a registration is known."""
    factory: CodeWeaverFactory
    settings: Mapping[str, Any] = field(default_factory=dict)
    target: Target | None = None
    missing: str = ""
    """Why its engine cannot be had, where it cannot: then nothing of it can be verified."""

    def create(self, **overrides: Any) -> Any:
        """A fresh backend on the same store; nothing is connected yet."""
        return self.factory.create_backend(self.registration.name, **{**self.settings, **overrides})

    def create_at(self, port: int, **overrides: Any) -> Any:
        """A backend whose engine is said to be at ``port`` of this machine. Call only if ``has_server``."""
        return self.factory.create_backend(self.registration.name, **{**self._settings_at(port), **overrides})

    @property
    def has_server(self) -> bool:
        """Whether the engine is reached by an address, so that one can point it where nobody answers."""
        if self.target is not None:
            return self.target.elsewhere is not None
        return {"host", "port"} <= self.config_fields.keys()

    @property
    def address(self) -> tuple[str, int] | None:
        """Where the engine is, as far as the settings tell."""
        urls = (urlsplit(str(self.settings[name])) for name in _ADDRESS_SETTINGS if self.settings.get(name))
        for url in urls:
            if url.hostname and url.port:
                return url.hostname, url.port
        fields = self.config_fields
        host, port = (
            self.settings.get(name, fields[name].default if name in fields else None) for name in ("host", "port")
        )
        return (host, port) if isinstance(host, str) and isinstance(port, int) else None

    @property
    def credentials(self) -> list[str]:
        """The settings in use that are keys: where there are none, none can be wrong."""
        return [name for name in _CREDENTIALS if self.settings.get(name)]

    @property
    def secret_fields(self) -> list[str]:
        """The settings that the backend knows and that hold a key: by their name or by their type."""
        fields = self.config_fields
        return [name for name in fields if name in _CREDENTIALS or "Secret" in str(fields[name].annotation)]

    @property
    def config_fields(self) -> Mapping[str, Any]:
        """The settings that the backend knows."""
        config_class: type[BaseModel] | None = self.registration.config_class
        return config_class.model_fields if config_class else {}

    def _settings_at(self, port: int) -> dict[str, Any]:
        kept = {name: value for name, value in self.settings.items() if name not in _ADDRESS_SETTINGS}
        if self.target is not None and self.target.elsewhere is not None:
            return {**kept, **self.target.elsewhere(port)}
        return {**kept, "host": "127.0.0.1", "port": port}


def settings_from(config_file: str | None, assignments: Sequence[str]) -> dict[str, Any]:
    """The settings of ``--cw-config`` (a TOML file of them) and ``--cw-set name=value`` (TOML values, else text)."""
    settings: dict[str, Any] = {}
    if config_file:
        settings.update(tomllib.loads(Path(config_file).read_text(encoding="utf-8")))
    for assignment in assignments:
        name, separator, text = assignment.partition("=")
        if not separator:
            raise ValueError(f"--cw-set takes name=value, not {assignment!r}")
        try:
            settings[name] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            settings[name] = text
    return settings


@contextmanager
def provisioned(reference: str, settings: Mapping[str, Any]) -> Iterator[Subject]:
    """The subject that ``reference`` names: a target, an installed plugin, or ``package.module:Plugin``.

    Without settings of the user's, the engine is had as the adapter's ``testing.py`` says; where it cannot be, the
    subject says why.
    """
    compat.install()
    factory = CodeWeaverFactory()
    if ":" in reference:
        plugin = load_object(reference)
        name = factory.register_plugin(plugin)
        yield Subject(name, reference, factory.get_registration(name), plugin, factory, settings)
        return
    targets = find_targets()
    target = targets.get(reference) or next((one for one in targets.values() if one.backend == reference), None)
    backend = target.backend if target else reference
    registration = factory.get_registration(backend)
    found = factory.discover_plugin(backend)
    if target is None or settings:
        yield Subject(backend, reference, registration, found, factory, settings)
        return
    provided: Mapping[str, Any] = {}
    missing = ""
    with ExitStack() as stack:
        try:
            provided = stack.enter_context(target.provide())
        except NotProvisioned as reason:
            missing = str(reason)
        yield Subject(target.name, reference, registration, found, factory, provided, target, missing)
