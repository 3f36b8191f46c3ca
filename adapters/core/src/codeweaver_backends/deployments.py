"""Deployments: backends by a name of the user's own, with their settings.

::

    # codeweaver.toml
    default_deployment = "prod"

    [deployments.prod]
    backend = "qdrant"
    url = "https://vectors.example.org:6333"
    api_key_file = "/run/secrets/qdrant"

Each setting may be overridden by the environment, ``CODEWEAVER_DEPLOYMENTS_PROD_URL`` (the name in capitals, everything
but letters and digits as ``_``), and a secret by a file that ``CODEWEAVER_DEPLOYMENTS_PROD_API_KEY_FILE`` names, or by
an entry of the system's keyring, ``service/user``, that ``…_API_KEY_KEYRING`` names.
``CODEWEAVER_DEPLOYMENTS_PROD_BACKEND`` alone makes a deployment, ``CODEWEAVER_DEFAULT_DEPLOYMENT`` the default. A
deployment has these settings and no others: ``[backends.…]`` and ``CODEWEAVER_QDRANT_…`` do not reach it, so that two
deployments of one engine never share a key by accident. Which files are read, and why one may be refused:
``codeweaver_backends.sources``.
"""

from __future__ import annotations

import os
import re
import typing
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson
from pydantic import BaseModel

from codeweaver_backends.errors import InvalidOptionError
from codeweaver_backends.plugins import find_plugins
from codeweaver_backends.sources import (
    Setting,
    SettingsFile,
    isolated,
    mixed_sources,
    named_config,
    nearest,
    secret_fields,
    settings_files,
    with_secrets_read,
    without_alternatives,
)

if typing.TYPE_CHECKING:
    from codeweaver_backends.factory import CodeWeaverFactory

__all__ = [
    "ClearSecretWarning",
    "Deployment",
    "get_deployment",
    "list_deployments",
    "open_deployment",
]

_PREFIX: Final = "CODEWEAVER_DEPLOYMENTS_"
_DEFAULT_VARIABLE: Final = "CODEWEAVER_DEFAULT_DEPLOYMENT"
_DEFAULT_KEY: Final = "default_deployment"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_LOCATION: Final = re.compile(r"[A-Za-z0-9][\w.-]*:.*", re.DOTALL)
_BETWEEN: Final = re.compile(r",(?=[A-Za-z_]\w*=)")


class ClearSecretWarning(UserWarning):
    """A secret stands in clear in a file of settings."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """A backend's name and settings, as the files and the environment say. ``repr`` shows no value."""

    name: str
    backend: str
    """The plugin's name."""
    settings: Mapping[str, Any] = field(repr=False)
    """As ``create_backend`` takes them; secrets are in clear here."""
    sources: Mapping[str, str]
    """Setting → the file or the variable of the environment it comes from."""
    secrets: frozenset[str] = frozenset()
    """Which settings are secret."""
    warnings: tuple[str, ...] = ()
    """What is allowed and not wise, such as a secret in clear."""

    @property
    def shown(self) -> dict[str, Any]:
        """The settings, without the secret ones."""
        return {name: value for name, value in self.settings.items() if name not in self.secrets}


# --- names -----------------------------------------------------------------------------------------------------------


def list_deployments(config: Path | None = None) -> list[str]:
    """The names of all deployments, the default one first, the others sorted. Nothing of them is judged.

    ``config`` names the file to read, and no other. Raises ``InvalidOptionError`` for one that cannot be read.
    """
    with named_config(config):
        files = settings_files()
        names, default = _names(files), _default(files)
        return sorted(names, key=lambda name: (name != default, name))


def _names(files: Iterable[SettingsFile]) -> set[str]:
    names = {name for file in files for name in file.table("deployments")}
    codes = {_code(name) for name in names}
    for variable, value in os.environ.items():
        if value and variable.startswith(_PREFIX) and variable.endswith("_BACKEND"):
            code = variable.removeprefix(_PREFIX).removesuffix("_BACKEND")
            if code and code not in codes:
                names.add(code.lower().replace("_", "-"))
    return names


def _code(name: str) -> str:
    return re.sub(r"[^A-Z0-9]", "_", name.upper())


def _default(files: list[SettingsFile]) -> str | None:
    if variable := os.environ.get(_DEFAULT_VARIABLE):
        return variable
    for file in reversed(files):
        name = file.content.get(_DEFAULT_KEY)
        # A file of the working directory chooses among its own, and not among the user's.
        if name is not None and (file.is_trusted or name in file.table("deployments")):
            return str(name)
    return None


# --- settings --------------------------------------------------------------------------------------------------------


def get_deployment(
    name: str | None = None,
    config: Path | None = None,
    factory: CodeWeaverFactory | None = None,
    options: Mapping[str, Any] | None = None,
) -> Deployment:
    """The deployment of this name, or the default one, with all its settings; nothing is opened.

    In place of a name, ``backend:key=value,key=value`` is taken as one, with these settings. ``options`` are settings
    that win over all others.

    Raises ``InvalidOptionError`` for a name that is unknown (it lists the known ones), a setting that does not exist or
    is spelt otherwise, and a secret that would go where a file of the working directory says; ``PluginError`` for a
    backend that is not installed.
    """
    from codeweaver_backends.factory import CodeWeaverFactory

    factory = factory or CodeWeaverFactory()
    if name is not None and _LOCATION.fullmatch(name):
        return _from_location(name, factory, options or {})
    with named_config(config):
        files = settings_files()
        known = sorted(_names(files))
        if name is None and (name := _default(files)) is None:
            raise InvalidOptionError(f"no deployment is named, and there is no {_DEFAULT_KEY}; {_listed(known)}")
        if name not in known:
            hint = nearest(name, known)
            if name in find_plugins():
                hint = f"; the backend {name!r} is opened by its settings: {name}:key=value,key=value"
            raise InvalidOptionError(f"no deployment is named {name!r}; {_listed(known)}{hint}")
        if not _NAME.fullmatch(name) or name in find_plugins():
            reason = "the name of an installed backend" if name in find_plugins() else "not made of letters, digits, -_"
            raise InvalidOptionError(f"the deployment {name!r} needs another name: this one is {reason}")
        arguments = {key: Setting(value, "an argument") for key, value in (options or {}).items()}
        layers = [arguments, _from_environment(name, known), _from_file(name, files)]
        given = next((layer["backend"] for layer in layers[1:] if "backend" in layer), None)
        if given is None or not isinstance(given.value, str):
            raise InvalidOptionError(f'the deployment {name!r} does not say which backend it is: backend = "…"')
        backend = given.value
        config_class = factory.get_registration(backend).config_class
        layers = [with_secrets_read(config_class, layer) for layer in layers]
        layers = list(without_alternatives(getattr(config_class, "alternatives", {}), layers))
        mixed_sources(config_class, layers)
    merged = {key: one for layer in reversed(layers) for key, one in layer.items() if key != "backend"}
    if config_class is not None:
        _refuse_unknown(name, merged, config_class)
    secrets = secret_fields(config_class)
    return Deployment(
        name,
        backend,
        {key: _typed(key, one, config_class) for key, one in merged.items()},
        {"backend": given.source, **{key: one.source for key, one in merged.items()}},
        secrets & merged.keys(),
        tuple(_advice(name, secrets, _from_file(name, files))),
    )


def _from_location(where: str, factory: CodeWeaverFactory, options: Mapping[str, Any]) -> Deployment:
    """``backend:key=value,key=value``, read as a deployment."""
    backend, _, rest = where.partition(":")
    given: dict[str, Any] = {}
    for part in _BETWEEN.split(rest) if rest else []:
        key, equals, value = part.partition("=")
        if not equals or not key.isidentifier():
            # What was given is not shown: it may be a secret.
            raise InvalidOptionError(f"settings are spelt {backend}:key=value,key=value")
        given[key] = value
    secrets = secret_fields(factory.get_registration(backend).config_class)
    shown = ",".join(f"{key}={'***' if key in secrets else value}" for key, value in given.items())
    advice = (
        f"{key} is given on the command line, where every process can read it" for key in sorted(secrets & given.keys())
    )
    sources = {**dict.fromkeys(given, "the command line"), **dict.fromkeys(options, "an argument")}
    settings = {**given, **options}
    return Deployment(f"{backend}:{shown}", backend, settings, sources, secrets & settings.keys(), tuple(advice))


def _listed(known: list[str]) -> str:
    if known:
        return f"known are: {', '.join(known)}"
    return "none is known (they are tables [deployments.NAME] of codeweaver.toml)"


def _from_file(name: str, files: list[SettingsFile]) -> dict[str, Setting]:
    holding = [file for file in files if name in file.table("deployments")]
    if len(holding) > 1:
        both = " and ".join(repr(str(file.path)) for file in holding)
        raise InvalidOptionError(f"the deployment {name!r} is in {both}; name one of them by CODEWEAVER_CONFIG")
    return {
        key: Setting(value, str(file.path), file.is_trusted)
        for file in holding
        for key, value in file.table("deployments", name).items()
    }


def _from_environment(name: str, known: Iterable[str]) -> dict[str, Setting]:
    """The variables of this deployment. One that fits two names belongs to the longer."""
    found = {}
    codes = sorted(map(_code, known), key=len, reverse=True)
    for variable, value in os.environ.items():
        if not variable.startswith(_PREFIX) or not value:
            continue
        rest = variable.removeprefix(_PREFIX)
        code = next((code for code in codes if rest.startswith(f"{code}_")), None)
        if code is None:
            raise InvalidOptionError(f"{variable} is of no deployment; {_listed(sorted(known))}")
        if code == _code(name):
            found[rest.removeprefix(f"{code}_").lower()] = Setting(value, variable)
    return found


def _refuse_unknown(name: str, settings: Mapping[str, Setting], config_class: type[BaseModel]) -> None:
    for key, one in settings.items():
        if key not in config_class.model_fields and config_class.model_config.get("extra") == "forbid":
            near = nearest(key, config_class.model_fields)
            raise InvalidOptionError(f"{one.source} sets {key} of the deployment {name!r}, which does not exist{near}")


def _typed(key: str, setting: Setting, config_class: type[BaseModel] | None) -> Any:
    """The value; of the environment's texts, those that stand for a table or a list are JSON."""
    known = config_class.model_fields.get(key) if config_class else None
    if not (known and isinstance(setting.value, str) and setting.source.startswith(_PREFIX)):
        return setting.value
    kinds = {typing.get_origin(one) or one for one in (known.annotation, *typing.get_args(known.annotation))}
    if not kinds & {dict, list, tuple, set, Mapping}:
        return setting.value
    try:
        return orjson.loads(setting.value)
    except ValueError:
        raise InvalidOptionError(f"{setting.source} must be JSON") from None


def _advice(name: str, secrets: frozenset[str], table: Mapping[str, Setting]) -> Iterable[str]:
    for key in sorted(secrets & table.keys()):
        yield (
            f"{table[key].source} holds {key} of the deployment {name!r} in clear; "
            f"use {key}_file, {key}_keyring, or {_PREFIX}{_code(name)}_{key.upper()}"
        )


# --- opening ---------------------------------------------------------------------------------------------------------


def open_deployment(
    name: str | None = None,
    config: Path | None = None,
    factory: CodeWeaverFactory | None = None,
    options: Mapping[str, Any] | None = None,
) -> Any:
    """A backend for the deployment of this name, or the default one; its first call connects.

    ``backend:key=value,key=value`` is ``create_backend(backend, key=value, …)``: the environment and files complete it
    as usual. ``options`` are settings that win over all others.

    Raises what ``get_deployment`` raises, and ``InvalidOptionError`` for settings that the backend's configuration
    refuses. Warns by ``ClearSecretWarning`` of a secret that stands in clear in a file.
    """
    from codeweaver_backends.factory import CodeWeaverFactory

    factory = factory or CodeWeaverFactory()
    deployment = get_deployment(name, config, factory, options)
    if name is not None and _LOCATION.fullmatch(name):
        with named_config(config):
            return factory.create_backend(deployment.backend, **deployment.settings)
    for text in deployment.warnings:
        warnings.warn(text, ClearSecretWarning, stacklevel=2)
    return create(deployment, factory)


def create(deployment: Deployment, factory: CodeWeaverFactory) -> Any:
    """A backend from these settings and no others."""
    try:
        with isolated():
            return factory.create_backend(deployment.backend, **deployment.settings)
    except InvalidOptionError as error:
        raise InvalidOptionError(f"the deployment {deployment.name!r}: {error.message}") from None
