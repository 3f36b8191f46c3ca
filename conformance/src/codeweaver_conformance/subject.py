"""What is under test: a plugin, the settings that reach its engine, and how fresh backends of it are made."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin
from urllib.parse import urlsplit

from pydantic import BaseModel, SecretStr

from codeweaver_backends import compat
from codeweaver_backends.config import EmbeddedConfig, ServerConfig
from codeweaver_backends.deployments import get_deployment, list_deployments
from codeweaver_backends.errors import PluginError
from codeweaver_backends.factory import CodeWeaverFactory, Registration
from codeweaver_backends.plugins import Location, find_plugins, load_object
from codeweaver_backends.sdk.secrets import hide
from codeweaver_backends.sources import is_secret_name, isolated, secret_fields
from codeweaver_backends.testing import NotProvisioned, Target, find_targets

__all__ = ["OF_THE_SUBJECT", "Subject", "provisioned", "settings_from"]

_ADDRESS_SETTINGS = ("url", "uri", "dsn", "location", "path", "grpc_port")
_QUESTIONS = ("get_plugin_name", "get_capabilities", "get_component_info", "get_backend_class")
"""What every plugin is asked before its first backend is made."""
_SHORTEST = 4
"""Characters of a secret that is hidden in texts: shorter ones stand in anything."""


@dataclass(frozen=True)
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
    is_refused: bool = False
    """Whether it is the user's to mend: settings that are wrong, an engine that does not answer."""
    is_deployment: bool = False
    """Whether the settings are all there are: environment and files complete those of others, not a deployment's."""

    def create(self, **overrides: Any) -> Any:
        """A fresh backend on the same store; nothing is connected yet."""
        with isolated() if self.is_deployment else nullcontext():
            return self.factory.create_backend(self.registration.name, **{**self.settings, **overrides})

    def create_at(self, port: int, **overrides: Any) -> Any:
        """A backend whose engine is said to be at ``port`` of this machine. Call only if ``has_server``."""
        return self.factory.create_backend(self.registration.name, **{**self._settings_at(port), **overrides})

    @cached_property
    def config_class(self) -> type[BaseModel] | None:
        """The configuration model; ``None`` where there is none, or where the plugin cannot be loaded."""
        try:
            return self.registration.config_class
        except PluginError:
            return None

    @property
    def location(self) -> Location | None:
        """Where the engine runs, as its target, its plugin, or the kind of its settings says; ``None`` if none does."""
        if self.target is not None and (self.target.elsewhere or self.target.location):
            return self.target.location or "server"
        declared: Location | None = getattr(self.plugin, "location", None)
        if declared is not None or self.config_class is None:
            return declared
        if issubclass(self.config_class, EmbeddedConfig):
            return "in-process"
        is_server = issubclass(self.config_class, ServerConfig) or {"host", "port"} <= self.config_fields.keys()
        return "server" if is_server else None

    @property
    def has_server(self) -> bool:
        """Whether the engine is a server that can be looked for where nobody answers."""
        can_be_moved = (
            self.target.elsewhere if self.target is not None else {"host", "port"} <= self.config_fields.keys()
        )
        return self.location == "server" and bool(can_be_moved)

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
        return [name for name in self.settings if self._is_secret(name) and self.settings[name]]

    @property
    def secret_fields(self) -> list[str]:
        """The settings that the backend knows and that take a key as text, those of a secret type first."""
        fields = self.config_fields
        kinds = {name: str(fields[name].annotation) for name in secret_fields(self.config_class)}
        texts = [name for name in fields if name in kinds and _takes_text(fields[name].annotation)]
        return sorted(texts, key=lambda name: "Secret" not in kinds[name])

    @cached_property
    def secrets(self) -> tuple[str, ...]:
        """What no text of the kit may show: keys among the settings, and passwords within addresses."""
        found = {_text(value) for name, value in self.settings.items() if self._is_secret(name) and value is not None}
        for value in self.settings.values():
            try:
                found.add(urlsplit(_text(value)).password or "")
            except ValueError:
                continue
        return tuple(sorted((one for one in found if len(one) >= _SHORTEST), key=len, reverse=True))

    def hidden(self, text: str) -> str:
        """The text without the secrets."""
        return hide(text, self.secrets)

    def shows_a_secret(self, name: str) -> bool:
        """Whether this setting is a key, or an address with one in it."""
        return self._is_secret(name) or self.hidden(_text(self.settings[name])) != _text(self.settings[name])

    @property
    def fingerprint(self) -> str:
        """Tells settings that were given by hand from others; of a target that provided them it is empty."""
        if self.target is not None or not self.settings:
            return ""
        told = repr(sorted((name, _text(value)) for name, value in self.settings.items()))
        return hashlib.sha256(told.encode()).hexdigest()

    def _is_secret(self, name: str) -> bool:
        value = self.settings.get(name)
        return is_secret_name(name) or name in secret_fields(self.config_class) or _is_secret_type(value)

    @property
    def config_fields(self) -> Mapping[str, Any]:
        """The settings that the backend knows."""
        return self.config_class.model_fields if self.config_class else {}

    @property
    def other_ports(self) -> dict[str, int]:
        """The engine's ports beside the one of its address, by their settings: one of REST, another of gRPC, say."""
        moved = self._settings_at(0)
        own = {name: self.settings.get(name) for name, value in moved.items() if value == 0 and name != "port"}
        return {name: value for name, value in own.items() if isinstance(value, int) and not isinstance(value, bool)}

    def _settings_at(self, port: int) -> dict[str, Any]:
        kept = {name: value for name, value in self.settings.items() if name not in _ADDRESS_SETTINGS}
        if self.target is not None and self.target.elsewhere is not None:
            return {**kept, **self.target.elsewhere(port)}
        return {**kept, "host": "127.0.0.1", "port": port}


def _takes_text(annotation: Any) -> bool:
    """Whether a setting of this type takes a key as text. One that holds several, by their names, does not."""
    is_union = get_origin(annotation) in (Union, UnionType)
    kinds = get_args(annotation) if is_union else (annotation,)
    return any(isinstance(kind, type) and (issubclass(kind, str) or "Secret" in kind.__name__) for kind in kinds)


def _text(value: Any) -> str:
    return str(value.get_secret_value() if _is_secret_type(value) else value)


def _is_secret_type(value: Any) -> bool:
    return isinstance(value, SecretStr)


OF_THE_SUBJECT: dict[str, tuple[str, Callable[[Subject], object]]] = {
    "server": ("the engine runs in this process, as declared", lambda subject: subject.location != "in-process"),
    "credentials": ("no key is among the settings in use", lambda subject: subject.credentials),
    "secret": ("the configuration has no field for a key", lambda subject: subject.secret_fields),
    "authority": ("the configuration has no setting 'ca_file'", lambda subject: "ca_file" in subject.config_fields),
    "client-certificate": (
        "the configuration has no setting 'client_cert_file'",
        lambda subject: "client_cert_file" in subject.config_fields,
    ),
    "tls": ("the configuration has no setting 'tls'", lambda subject: "tls" in subject.config_fields),
    "configuration": ("the backend has no configuration class", lambda subject: subject.registration.config_class),
}
"""What clauses ask for beside the claims: why a subject does not have it, and whether it does."""


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
    """The subject that ``reference`` names: a target, an installed plugin, ``package.module:Plugin``, or a deployment.

    Without settings of the user's, the engine is had as the adapter's ``testing.py`` says; where it cannot be, the
    subject says why.
    """
    compat.install()
    factory = CodeWeaverFactory()
    if _is_deployment(reference):
        deployment = get_deployment(reference, factory=factory)
        # A location may hold a secret, and is no name for a file: the certificate has what can be shown.
        is_named = ":" not in reference
        name = deployment.name if is_named else deployment.backend
        registration = factory.get_registration(deployment.backend)
        plugin, given = factory.discover_plugin(deployment.backend), {**deployment.settings, **settings}
        yield Subject(name, deployment.name, registration, plugin, factory, given, is_deployment=is_named)
        return
    if ":" in reference:
        plugin = load_object(reference)
        lacking = [one for one in _QUESTIONS if not callable(getattr(plugin, one, None))]
        if lacking:
            raise PluginError(f"it is no plugin: it has no {lacking[0]}(); name the plugin's class, not the backend's")
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


def _is_deployment(reference: str) -> bool:
    """Whether it is a deployment's name or ``backend:key=value``, and nothing that the kit itself knows."""
    head, colon, settings = reference.partition(":")
    if colon:
        return head in find_plugins() and ("=" in settings or not settings)
    return reference not in {*find_plugins(), *find_targets()} and reference in list_deployments()
