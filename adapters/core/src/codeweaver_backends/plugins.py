"""Plugins: how a backend presents itself, and how it is found.

A distribution names its plugin class under the entry point group ``codeweaver.backends``. Listing plugins imports
nothing of them; loading one imports that one only; a broken one is reported by name and never breaks the others.
"""

from __future__ import annotations

import inspect
import pkgutil
import re
import typing
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from importlib.util import find_spec
from typing import Any, ClassVar, Final, Literal, TypeAlias

from pydantic import BaseModel

from codeweaver_backends import compat
from codeweaver_backends.capabilities import BaseCapabilities
from codeweaver_backends.config import check_config
from codeweaver_backends.errors import PluginError
from codeweaver_backends.types import BaseComponentInfo, ComponentType, ValidationResult

__all__ = [
    "ENTRY_POINT_GROUP",
    "BackendPlugin",
    "DeclaredPlugin",
    "Location",
    "PluginEntry",
    "config_class_of",
    "find_plugins",
    "load_object",
    "may_configure",
    "missing_dependencies",
    "needs",
    "package_of",
]

ENTRY_POINT_GROUP: Final = "codeweaver.backends"

Location: TypeAlias = Literal["in-process", "server"]
"""Where an engine runs: in the caller's process, or in another one that is reached by an address."""


class BackendPlugin(ABC):
    """What a distribution registers. Class methods only: a plugin is never instantiated."""

    location: ClassVar[Location | None] = None
    """Where its engine runs. ``None``: as the kind of its settings says, ``EmbeddedConfig`` or ``ServerConfig``; where
    they are neither, the conformance kit cannot verify what is promised of servers."""

    @classmethod
    @abstractmethod
    def get_plugin_name(cls) -> str:
        """The name users select it by."""

    @classmethod
    def get_component_type(cls) -> ComponentType:
        """What it provides."""
        return ComponentType.BACKEND

    @classmethod
    @abstractmethod
    def get_capabilities(cls) -> BaseCapabilities:
        """The upper bound of what its backends can do; a connected backend may state less."""

    @classmethod
    @abstractmethod
    def get_component_info(cls) -> BaseComponentInfo:
        """What it says of itself to people."""

    @classmethod
    def validate_config(cls, config: Any) -> ValidationResult:
        """Judge a configuration: errors forbid it, warnings advise."""
        config_class = cls.get_config_class()
        return check_config(config_class, config) if config_class else ValidationResult(is_valid=True)

    @classmethod
    def get_dependencies(cls) -> list[str]:
        """The distributions it needs beyond this one."""
        return []

    @classmethod
    @abstractmethod
    def get_backend_class(cls) -> type:
        """The backend's class. Import the engine's client here, not at the head of the plugin's module."""

    @classmethod
    def get_config_class(cls) -> type[BaseModel] | None:
        """The configuration model; without an override, the annotation of the backend's ``__init__``."""
        return config_class_of(cls.get_backend_class())


class DeclaredPlugin(BackendPlugin):
    """A plugin told by attributes. The classes are named by ``module:Class``, and imported when they are asked for."""

    info: ClassVar[BaseComponentInfo]
    capabilities: ClassVar[BaseCapabilities]
    backend: ClassVar[str]
    config: ClassVar[str]
    dependencies: ClassVar[Sequence[str]] = ()

    @classmethod
    def advice(cls, config: Any) -> Iterable[str]:
        """What to warn of in a valid configuration, as ``field: warning``."""
        return ()

    @classmethod
    def get_plugin_name(cls) -> str:
        return cls.info.name

    @classmethod
    def get_capabilities(cls) -> BaseCapabilities:
        return cls.capabilities

    @classmethod
    def get_component_info(cls) -> BaseComponentInfo:
        return cls.info

    @classmethod
    def validate_config(cls, config: Any) -> ValidationResult:
        return check_config(cls.get_config_class(), config, cls.advice)

    @classmethod
    def get_dependencies(cls) -> list[str]:
        return list(cls.dependencies)

    @classmethod
    def get_backend_class(cls) -> type:
        found: type = pkgutil.resolve_name(cls.backend)
        return found

    @classmethod
    def get_config_class(cls) -> type[BaseModel]:
        found: type[BaseModel] = pkgutil.resolve_name(cls.config)
        return found


def config_class_of(backend_class: type) -> type[BaseModel] | None:
    """The pydantic model that ``__init__`` takes first, if its annotation says so."""
    constructor = vars(backend_class).get("__init__") or getattr(backend_class, "__init__")  # noqa: B009
    try:
        hints = typing.get_type_hints(constructor)
    except NameError:
        return None
    for name in list(inspect.signature(constructor).parameters)[1:2]:
        hint = hints.get(name)
        if isinstance(hint, type) and issubclass(hint, BaseModel):
            return hint
    return None


def may_configure(plugin: type[BackendPlugin] | None, config_class: type) -> bool:
    """Whether it is worth an import to ask if this configuration is the plugin's.

    A ``DeclaredPlugin`` tells its configuration by name, and a configuration has the same name and package. Of another
    plugin it cannot be known.
    """
    if plugin is None or not issubclass(plugin, DeclaredPlugin):
        return True
    nearer = plugin.__mro__[: plugin.__mro__.index(DeclaredPlugin)]
    if any("get_config_class" in vars(one) for one in nearer):
        return True
    module, _, name = plugin.config.partition(":")
    return name == config_class.__qualname__ and package_of(module) == package_of(config_class.__module__)


def missing_dependencies(plugin: type[BackendPlugin] | None) -> list[str]:
    """The distributions that a plugin says it needs and that are not installed."""
    get_dependencies = getattr(plugin, "get_dependencies", list)
    missing = []
    for requirement in get_dependencies():
        name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
        try:
            version(name)
        except PackageNotFoundError:
            missing.append(name)
    return missing


def needs(module: str, requirement: str) -> None:
    """Refuse to go on without a client that an extra brings: a top-level module, which is not imported for that.

    Raises ``PluginError``, which names what to install.
    """
    if find_spec(module) is None:
        raise PluginError(f"the module {module!r} is not installed: pip install '{requirement}'")


def package_of(module: str) -> str:
    """The top-level package of a module."""
    return module.partition(".")[0]


@dataclass(frozen=True, slots=True)
class PluginEntry:
    """A plugin that was found and not yet loaded."""

    name: str
    entry_point: EntryPoint

    @property
    def distribution(self) -> str:
        """Name and version of the distribution that brings it."""
        dist = self.entry_point.dist
        return f"{dist.name} {dist.version}" if dist else "unknown"

    def load(self) -> type[BackendPlugin]:
        """Import it. Raises ``PluginError`` naming the plugin and what is missing."""
        compat.install()
        try:
            plugin: type[BackendPlugin] = self.entry_point.load()
            plugin.get_plugin_name()
        except Exception as error:
            raise broken(self.name, f"from {self.distribution}", error) from error
        return plugin


def broken(name: str, origin: str, error: Exception) -> PluginError:
    """The error of a plugin that cannot be used."""
    if isinstance(error, ModuleNotFoundError):
        return PluginError(f"the plugin {name!r} ({origin}) needs the module {error.name!r}, which is not installed")
    return PluginError(f"the plugin {name!r} ({origin}) is broken: {type(error).__name__}: {error}")


def find_plugins() -> Mapping[str, PluginEntry]:
    """Every installed plugin by name, none of them imported."""
    return {entry.name: PluginEntry(entry.name, entry) for entry in entry_points(group=ENTRY_POINT_GROUP)}


def load_object(reference: str) -> Any:
    """The object that ``package.module:attribute`` names."""
    module, separator, attribute = reference.partition(":")
    if not separator or not module or not attribute:
        raise PluginError(f"{reference!r} is not of the form 'package.module:Attribute'")
    compat.install()
    try:
        return EntryPoint(attribute, reference, ENTRY_POINT_GROUP).load()
    except Exception as error:
        raise broken(attribute, module, error) from error
