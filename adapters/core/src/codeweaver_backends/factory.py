"""The factory: from a name to a backend. Synchronous and without I/O; the backend's first call connects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from codeweaver_backends.capabilities import BaseCapabilities
from codeweaver_backends.config import describe_validation_error
from codeweaver_backends.errors import InvalidOptionError, PluginError
from codeweaver_backends.plugins import BackendPlugin, broken, config_class_of, find_plugins
from codeweaver_backends.types import BaseComponentInfo

__all__ = ["CodeWeaverFactory", "Registration"]


@dataclass(frozen=True, slots=True)
class Registration:
    """A backend that the factory can create."""

    name: str
    backend_class: type
    capabilities: BaseCapabilities
    info: BaseComponentInfo
    config_class: type[BaseModel] | None


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
        self._registered[name] = Registration(name, backend_class, capabilities, info, config_class_of(backend_class))

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

    def create_backend(self, backend: str | BaseModel, /, **options: Any) -> Any:
        """Create a backend from a name and its settings, or from a configuration object.

        Raises ``PluginError`` for a name that is unknown or a plugin that is broken, ``InvalidOptionError`` for
        settings that its configuration model refuses.
        """
        if isinstance(backend, str):
            registration = self.get_registration(backend)
            config = _configure(registration, options)
        else:
            if options:
                raise InvalidOptionError("settings are given by the configuration object or by keywords, not by both")
            registration, config = self._registration_for(backend), backend
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
        """The names whose capabilities have these values (``supports_scan=True``). Broken ones are left out."""
        names = []
        for name in self.list_backends():
            try:
                capabilities = self.get_capabilities(name)
            except PluginError:
                continue
            if all(getattr(capabilities, claim, None) == value for claim, value in claims.items()):
                names.append(name)
        return names

    def _registration_for(self, config: BaseModel) -> Registration:
        for name in self.list_backends():
            try:
                registration = self.get_registration(name)
            except PluginError:
                continue
            if registration.config_class is type(config):
                return registration
        raise PluginError(f"no backend is configured by a {type(config).__name__}")


def _registration(plugin: type[BackendPlugin]) -> Registration:
    name = plugin.get_plugin_name()
    try:
        backend_class = plugin.get_backend_class()
        get_config_class = getattr(plugin, "get_config_class", None)
        config_class = (get_config_class() if get_config_class else None) or config_class_of(backend_class)
        return Registration(name, backend_class, plugin.get_capabilities(), plugin.get_component_info(), config_class)
    except PluginError:
        raise
    except Exception as error:
        raise broken(name, plugin.__module__, error) from error


def _configure(registration: Registration, options: Mapping[str, Any]) -> BaseModel | None:
    if registration.config_class is None:
        if options:
            raise InvalidOptionError(f"the backend {registration.name!r} takes no settings")
        return None
    try:
        return registration.config_class(**options)
    except ValidationError as error:
        raise InvalidOptionError(
            f"the settings of {registration.name!r} are invalid: {'; '.join(describe_validation_error(error))}"
        ) from None
    except ValueError as error:  # of the file, or of a value in the environment that is not even JSON
        raise InvalidOptionError(f"the settings of {registration.name!r} are invalid: {error}") from None
