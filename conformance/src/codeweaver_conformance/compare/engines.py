"""Engines: from the names on the command line to something that can be opened.

A name is a target (one way to run one backend, as an adapter's ``testing.py`` offers it), a deployment, or, with
settings of one's own, a plugin. Nothing is asked of an engine here.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from codeweaver_backends import BackendCapabilities, CodeWeaverFactory, InvalidOptionError, PluginError
from codeweaver_backends.config import ServerConfig
from codeweaver_backends.deployments import Deployment, create, get_deployment, list_deployments
from codeweaver_backends.plugins import find_plugins
from codeweaver_backends.testing import Target, find_targets

__all__ = [
    "Engine",
    "Settings",
    "UnknownEngineError",
    "all_targets",
    "default_engines",
    "is_server",
    "parse_settings",
    "resolve_engines",
]

Settings: TypeAlias = Mapping[str, Mapping[str, str]]
"""Per engine, what the user set."""


class UnknownEngineError(InvalidOptionError):
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
    deployment: Deployment | None = None
    """The user's own, which brings its settings."""
    reference: str = field(default="", repr=False)
    """What was given where that is not the name: ``backend:key=value``, which may hold a secret."""

    @property
    def claims(self) -> BackendCapabilities:
        """What the plugin claims, before a connected instance may say less."""
        claimed = CodeWeaverFactory().get_capabilities(self.backend)
        return claimed if isinstance(claimed, BackendCapabilities) else BackendCapabilities()

    @property
    def is_server(self) -> bool:
        """Whether the engine is reached by an address, and not run in this process."""
        if self.target is not None:
            return is_server(self.target)
        declared = getattr(CodeWeaverFactory().discover_plugin(self.backend), "location", None)
        if declared is not None:
            return bool(declared == "server")
        config_class = CodeWeaverFactory().get_registration(self.backend).config_class
        given = self.deployment.settings if self.deployment else self.settings
        if config_class is None:
            return False
        has_address = issubclass(config_class, ServerConfig) or {"host", "port"} <= config_class.model_fields.keys()
        return has_address and not given.get("path")

    @property
    def is_persistent(self) -> bool:
        """Whether what was written is there after a restart: a server's business, or there is a folder for it."""
        config_class = CodeWeaverFactory().get_registration(self.backend).config_class
        return self.is_server or (config_class is not None and "path" in config_class.model_fields)

    def create(self, settings: Mapping[str, Any]) -> Any:
        """A backend from what ``provide`` yields; nothing is connected yet."""
        if self.deployment is not None:
            return create(self.deployment, CodeWeaverFactory())
        return CodeWeaverFactory().create_backend(self.backend, **settings)

    @property
    def distribution(self) -> str:
        """Name and version of the distribution that brings the plugin."""
        entry = find_plugins().get(self.backend)
        return entry.distribution if entry else "unknown"

    @contextmanager
    def provide(self, data: Path | None) -> Iterator[dict[str, Any]]:
        """Enter to have the engine; yields the settings to create it from. ``data`` is where to keep its files."""
        if self.deployment is not None:
            yield dict(self.deployment.settings)
        elif self.target is not None:
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


def is_server(target: Target) -> bool:
    """Whether a target's engine is reached by an address."""
    return (target.location or ("server" if target.elsewhere else "in-process")) == "server"


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
    """The targets that run in this process, and those left out because their plugin cannot be loaded, and why."""
    engines, left_out = all_targets()
    # The core's own comes first: it is the plainest, and what the others are read against.
    embedded = (one.name for one in engines if not one.is_server)
    return sorted(embedded, key=lambda name: (name != "memory", name)), left_out


def all_targets() -> tuple[list[Engine], dict[str, str]]:
    """The ways to run the installed plugins' engines, and those left out because their plugin cannot be loaded.

    Of several in this process (a folder, an object store) it is the first that an adapter offers, and no cluster: these
    are there for tests.
    """
    chosen: list[Engine] = []
    left_out: dict[str, str] = {}
    embedded = set()
    for name, target in find_targets().items():
        if target.nodes is not None or (not is_server(target) and target.backend in embedded):
            continue
        if not is_server(target):
            embedded.add(target.backend)
        try:
            CodeWeaverFactory().get_registration(target.backend)
        except PluginError as error:
            left_out[name] = error.message
            continue
        chosen.append(Engine(name, target.backend, target))
    return chosen, left_out


def resolve_engines(names: Sequence[str], settings: Settings, config: Path | None = None) -> list[Engine]:
    """The engines of these names. Settings of a plugin's name make it the plugin, run as they say."""
    targets, plugins, deployments = find_targets(), find_plugins(), list_deployments(config)
    own = {*targets, *plugins}
    for name in (*names, *settings):
        if name not in own and name not in deployments and ":" not in name:
            known = ", ".join(sorted({*own, *deployments})) or "none"
            raise UnknownEngineError(f"no target or plugin is named {name!r}, and no deployment; known are: {known}")
    if unused := sorted(set(settings) - set(names)):
        raise UnknownEngineError(
            f"settings are given for {', '.join(unused)}, which is not among the engines to compare"
        )
    engines = []
    for name in dict.fromkeys(names):
        given = settings.get(name, {})
        if name not in own:
            if given:
                raise UnknownEngineError(f"the settings of the deployment {name!r} are where it is told, not in --set")
            deployment = get_deployment(name, config)
            engines.append(Engine(deployment.name, deployment.backend, None, {}, deployment, name))
        elif name in targets and not (given and name in plugins):
            engines.append(Engine(name, targets[name].backend, targets[name], given))
        else:
            engines.append(Engine(name, name, None, given))
    return engines
