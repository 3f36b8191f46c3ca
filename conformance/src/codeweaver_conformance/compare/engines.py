"""Engines: from the names on the command line to something that can be opened.

A name is a target (one way to run one backend, as an adapter's ``testing.py`` offers it) or, with settings of one's
own, a plugin. Nothing is asked of an engine here.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from codeweaver_backends import CodeWeaverFactory, PluginError
from codeweaver_backends.config import ServerConfig
from codeweaver_backends.plugins import find_plugins
from codeweaver_backends.testing import Target, find_targets

__all__ = ["Engine", "Settings", "UnknownEngineError", "default_engines", "parse_settings", "resolve_engines"]

Settings: TypeAlias = Mapping[str, Mapping[str, str]]
"""Per engine, what the user set."""


class UnknownEngineError(Exception):
    """A name that no target and no plugin has, or a setting that is not of the form asked for."""


@dataclass(frozen=True, slots=True)
class Engine:
    """One engine to be compared."""

    name: str
    backend: str
    """The plugin's name."""
    target: Target | None = None
    """How it is had; without one it is had by the user's settings."""
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def distribution(self) -> str:
        """Name and version of the distribution that brings the plugin."""
        entry = find_plugins().get(self.backend)
        return entry.distribution if entry else "unknown"

    @contextmanager
    def provide(self, data: Path | None) -> Iterator[dict[str, Any]]:
        """Enter to have the engine; yields the settings to create it from. ``data`` is where to keep its files."""
        if self.target is not None:
            with self.target.provide() as given:
                yield {**given, **self._local_path(given, data), **self.settings}
        elif "path" in self.settings or not self._wants_path():
            yield dict(self.settings)
        elif data is not None:
            yield {"path": data / self.name, **self.settings}
        else:
            with tempfile.TemporaryDirectory(prefix="codeweaver-") as folder:
                yield {"path": Path(folder, self.name), **self.settings}

    def _local_path(self, given: Mapping[str, Any], data: Path | None) -> dict[str, Any]:
        path = given.get("path")
        return {"path": data / self.name} if data is not None and path and "://" not in str(path) else {}

    def _wants_path(self) -> bool:
        config_class = CodeWeaverFactory().get_registration(self.backend).config_class
        return (
            config_class is not None
            and "path" in config_class.model_fields
            and not issubclass(config_class, ServerConfig)
        )


def parse_settings(options: Sequence[str]) -> dict[str, dict[str, str]]:
    """``["lance.path=/data"]`` → ``{"lance": {"path": "/data"}}``."""
    parsed: dict[str, dict[str, str]] = {}
    for option in options:
        name, equals, value = option.partition("=")
        engine, dot, key = name.rpartition(".")
        if not (equals and dot and engine and key):
            # The value is not shown: it may be a secret.
            raise UnknownEngineError(f"a setting is spelt name.key=value, which {name!r} is not the beginning of")
        parsed.setdefault(engine, {})[key] = value
    return parsed


def default_engines() -> tuple[list[str], dict[str, str]]:
    """The targets that need no server, and those left out because their plugin cannot be loaded, with the reason."""
    factory = CodeWeaverFactory()
    chosen: list[str] = []
    left_out: dict[str, str] = {}
    for name, target in find_targets().items():
        try:
            config_class = factory.get_registration(target.backend).config_class
        except PluginError as error:
            left_out[name] = error.message
            continue
        if config_class is None or not issubclass(config_class, ServerConfig):
            chosen.append(name)
    # The core's own comes first: it is the plainest, and what the others are read against.
    return sorted(chosen, key=lambda name: (name != "memory", name)), left_out


def resolve_engines(names: Sequence[str], settings: Settings) -> list[Engine]:
    """The engines of these names. Settings of a plugin's name make it the plugin, run as they say."""
    targets, plugins = find_targets(), find_plugins()
    for name in (*names, *settings):
        if name not in targets and name not in plugins:
            known = ", ".join(sorted({*targets, *plugins})) or "none"
            raise UnknownEngineError(f"no target or plugin is named {name!r}; installed are: {known}")
    if unused := sorted(set(settings) - set(names)):
        raise UnknownEngineError(
            f"settings are given for {', '.join(unused)}, which is not among the engines to compare"
        )
    engines = []
    for name in dict.fromkeys(names):
        own = settings.get(name, {})
        if name in targets and not (own and name in plugins):
            engines.append(Engine(name, targets[name].backend, targets[name], own))
        else:
            engines.append(Engine(name, name, None, own))
    return engines
