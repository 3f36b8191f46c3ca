"""The factory: from a name or a configuration to a backend. Synchronous and without I/O; the first call connects.

Nothing is imported but the plugins' own modules, which bring no engine's client, and at last the backend that is made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, overload

from pydantic import BaseModel, ValidationError

from codeweaver_backends.capabilities import BackendCapabilities, BaseCapabilities
from codeweaver_backends.config import Configures, describe_validation_error
from codeweaver_backends.deployments import list_deployments, open_deployment
from codeweaver_backends.errors import InvalidOptionError, PluginError
from codeweaver_backends.plugins import (
    BackendPlugin,
    broken,
    config_class_of,
    find_plugins,
    may_configure,
    missing_dependencies,
    package_of,
)
from codeweaver_backends.protocols import Backend
from codeweaver_backends.sources import nearest
from codeweaver_backends.types import BaseComponentInfo

if TYPE_CHECKING:
    from codeweaver_backends.memory.backend import MemoryBackend

__all__ = ["CodeWeaverFactory", "Registration", "create_backend"]

Made = TypeVar("Made")


@dataclass(frozen=True)
class Registration:
    """A backend that the factory can create. Its classes are imported when they are asked for."""

    name: str
    capabilities: BaseCapabilities
    info: BaseComponentInfo
    plugin: type[BackendPlugin] | None = None
    registered_class: type | None = None
    """Of a backend that was registered by hand, instead of a plugin."""

    @cached_property
    def backend_class(self) -> type:
        """The backend. Its import brings the engine's client; raises ``PluginError`` if that is missing."""
        return self.registered_class or self._asked("get_backend_class")

    @cached_property
    def config_class(self) -> type[BaseModel] | None:
        """The configuration model; ``None`` for a backend that takes none."""
        return self._asked("get_config_class") or config_class_of(self.backend_class)

    def _asked(self, method: str) -> Any:
        question = getattr(self.plugin, method, None)  # a plugin that is none by inheritance may have no configuration
        try:
            return question() if question else None
        except PluginError:
            raise
        except Exception as error:
            raise broken(self.name, self.plugin.__module__, error) from error


class CodeWeaverFactory:
    """Creates backends by name or by configuration. It never wraps them: what is certified is what is used."""

    def __init__(self) -> None:
        self._registered: dict[str, Registration] = {}

    def register_backend(
        self, name: str, backend_class: type, capabilities: BaseCapabilities, info: BaseComponentInfo
    ) -> None:
        """Register a backend by hand; it wins over an installed plugin of the same name."""
        if not isinstance(backend_class, type):
            raise InvalidOptionError(f"backend_class must be a class, not a {type(backend_class).__name__}")
        self._registered[name] = Registration(name, capabilities, info, registered_class=backend_class)

    def register_plugin(self, plugin: type[BackendPlugin]) -> str:
        """Register a plugin class, and return its name."""
        registration = _registration(plugin)
        self._registered[registration.name] = registration
        return registration.name

    def discover_plugins(self) -> dict[str, type[BackendPlugin] | PluginError]:
        """Load every installed plugin. A broken one stands in the result as the error that names what is wrong."""
        found: dict[str, type[BackendPlugin] | PluginError] = {}
        for name, entry in find_plugins().items():
            try:
                found[name] = entry.load()
            except PluginError as error:
                found[name] = error
        return found

    def discover_plugin(self, name: str) -> type[BackendPlugin] | None:
        """Load the installed plugin of this name, if there is one. Raises ``PluginError`` if it is broken."""
        entry = find_plugins().get(name)
        return entry.load() if entry else None

    def list_backends(self) -> list[str]:
        """Every name that ``create_backend`` may know, without loading anything."""
        return sorted({*self._registered, *find_plugins()})

    @overload
    def create_backend(self, backend: Literal["memory"], /, **options: Any) -> MemoryBackend: ...
    @overload
    def create_backend(self, backend: Configures[Made], /) -> Made: ...
    @overload
    def create_backend(self, backend: str, /, **options: Any) -> Backend: ...
    @overload
    def create_backend(self, backend: BaseModel, /) -> Backend: ...
    def create_backend(self, backend: Any, /, **options: Any) -> Any:
        """Create a backend from a name and its settings, or from a configuration object.

        The name is a backend's, or that of a deployment (``codeweaver_backends.deployments``), or
        ``backend:key=value,key=value``.

        Raises ``PluginError`` for a name that is unknown or a plugin that is broken, ``InvalidOptionError`` for
        settings that its configuration model refuses.
        """
        if isinstance(backend, str):
            if backend not in self.list_backends() and (":" in backend or backend in list_deployments()):
                return open_deployment(backend, factory=self, options=options)
            registration = self.get_registration(backend)
            config = _configure(registration, options)
        else:
            if options:
                raise InvalidOptionError("settings are given by the configuration object or by keywords, not by both")
            registration, config = self._registration_for(backend), backend
        _check_complete(registration)
        return registration.backend_class() if config is None else registration.backend_class(config)

    def get_registration(self, name: str) -> Registration:
        """What is known of one backend; its plugin is loaded if need be."""
        if name not in self._registered:
            entry = find_plugins().get(name)
            if entry is None:
                known = ", ".join(self.list_backends()) or "none"
                raise PluginError(
                    f"no backend is named {name!r}; installed are: {known} "
                    "(each engine's adapter is a distribution of its own, such as codeweaver-lancedb)"
                )
            self._registered[name] = _registration(entry.load())
        return self._registered[name]

    def get_capabilities(self, name: str) -> BaseCapabilities:
        """The upper bound that the plugin states."""
        return self.get_registration(name).capabilities

    def get_component_info(self, name: str) -> BaseComponentInfo:
        """What the plugin says of itself."""
        return self.get_registration(name).info

    def find_backends(self, **claims: Any) -> list[str]:
        """The names whose capabilities have these values (``supports_scan=True``), by name.

        Left out are plugins that are broken, and those whose engine's client is not installed. Raises
        ``InvalidOptionError`` for a claim that no backend could make.
        """
        found = {one.name: one.capabilities for one in self._usable()}
        known = {*BackendCapabilities.model_fields}.union(*(type(one).model_fields for one in found.values()))
        for claim in claims:
            if claim not in known:
                raise InvalidOptionError(f"no capability is named {claim!r}{_nearest(claim, known)}")
        return [
            name
            for name, capabilities in found.items()
            if all(getattr(capabilities, claim, None) == value for claim, value in claims.items())
        ]

    def _usable(self) -> Iterator[Registration]:
        for name in self.list_backends():
            try:
                registration = self.get_registration(name)
                if not missing_dependencies(registration.plugin):
                    yield registration
            except PluginError:
                continue

    def _registration_for(self, config: BaseModel) -> Registration:
        for name in self._by_nearness(type(config)):
            try:
                registration = self.get_registration(name)
                if may_configure(registration.plugin, type(config)) and registration.config_class is type(config):
                    return registration
            except PluginError:
                continue
        raise PluginError(f"no backend is configured by a {type(config).__name__}")

    def _by_nearness(self, config_class: type) -> list[str]:
        """What is loaded already, then the plugins of the configuration's own package, so that no other is loaded."""
        package, plugins = package_of(config_class.__module__), find_plugins()
        foreign = {name: package_of(entry.entry_point.module) != package for name, entry in plugins.items()}
        return sorted(
            self.list_backends(), key=lambda name: (name not in self._registered, foreign.get(name, False), name)
        )


def _registration(plugin: type[BackendPlugin]) -> Registration:
    name = plugin.get_plugin_name()
    try:
        return Registration(name, plugin.get_capabilities(), plugin.get_component_info(), plugin)
    except PluginError:
        raise
    except Exception as error:
        raise broken(name, plugin.__module__, error) from error


def _check_complete(registration: Registration) -> None:
    missing = sorted(getattr(registration.backend_class, "__abstractmethods__", ()))
    if missing:
        made = registration.backend_class.__name__
        raise PluginError(f"the backend {registration.name!r} is not complete: {made} lacks {', '.join(missing)}")


def _nearest(claim: str, known: set[str]) -> str:
    return nearest(claim, sorted(known)) or f"; known are {', '.join(sorted(known))}"


def _configure(registration: Registration, options: Mapping[str, Any]) -> BaseModel | None:
    if registration.config_class is None:
        if options:
            raise InvalidOptionError(f"the backend {registration.name!r} takes no settings")
        return None
    try:
        return registration.config_class(**options)
    except ValidationError as error:
        told = "; ".join(describe_validation_error(error, registration.config_class.model_fields))
        raise InvalidOptionError(f"the settings of {registration.name!r} are invalid: {told}") from None
    except ValueError as error:  # of the file, or of a value in the environment that is not even JSON
        raise InvalidOptionError(f"the settings of {registration.name!r} are invalid: {error}") from None


create_backend: Final = CodeWeaverFactory().create_backend
"""Create an installed backend, by name or by configuration: the method of a factory that the process shares."""
