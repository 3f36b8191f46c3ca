"""Where settings come from, and which sources may be mixed.

Files, in this order: the one that is named (by ``CODEWEAVER_CONFIG``, or ``named_config``), and no other; else the
user's own (``$XDG_CONFIG_HOME/codeweaver/codeweaver.toml``, ``~/.config`` if unset) and the working directory's
``codeweaver.toml``. The last one is there because of where a program was started, perhaps in a folder that a stranger
wrote. It may say how to connect, and it may carry secrets of its own; it is refused where it says how to connect and
the secret comes from elsewhere, since that would hand the secret to whoever wrote the file.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, SecretBytes, SecretStr

from codeweaver_backends.errors import InvalidOptionError

__all__ = [
    "SECRET_ENDINGS",
    "Setting",
    "SettingsFile",
    "is_isolated",
    "is_secret_name",
    "isolated",
    "mixed_sources",
    "named_config",
    "nearest",
    "read_keyring",
    "read_secret",
    "secret_fields",
    "settings_files",
    "with_secrets_read",
    "without_alternatives",
]

FILE_NAME: Final = "codeweaver.toml"
_KEYS: Final = {"backends", "default_deployment", "deployments"}
"""Ours in the file."""
_NEAR: Final = 0.85
"""From this likeness on another key is one of ours, misspelt."""
HARMLESS: Final = frozenset({"backend", "max_connections", "retries", "timeout"})
"""Settings that say nothing of where data and secrets go."""
_SECRET_NAME: Final = re.compile(r"(^|_)(api_?key|access_?key|credentials?|passw(or)?d|private_?key|secret|token)(_|$)")
_SECRET_SIZE: Final = 65_536

_named: ContextVar[Path | None] = ContextVar("_named", default=None)
_isolated: ContextVar[bool] = ContextVar("_isolated", default=False)


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """A file of settings that was read."""

    path: Path
    is_trusted: bool
    """Whether the user chose it: it was named, or is in the user's own folder."""
    content: Mapping[str, Any]

    def table(self, *names: str) -> dict[str, Any]:
        """The table of this dotted name, empty if absent. Raises ``InvalidOptionError`` for what is no table."""
        found: Any = self.content
        for position, name in enumerate(names):
            found = found.get(name, {})
            if not isinstance(found, dict):
                raise InvalidOptionError(f"{'.'.join(names[: position + 1])} of {str(self.path)!r} must be a table")
        return dict(found)


@dataclass(frozen=True, slots=True)
class Setting:
    """One value, and where it came from."""

    value: Any
    source: str
    """A file or a variable of the environment, as it is told to people."""
    is_trusted: bool = True

    def __repr__(self) -> str:
        return f"Setting(source={self.source!r})"


@contextmanager
def named_config(path: Path | None) -> Iterator[None]:
    """Within it, settings are read from this file and no other; ``None`` changes nothing."""
    if path is None:
        yield
        return
    token = _named.set(path)
    try:
        yield
    finally:
        _named.reset(token)


@contextmanager
def isolated() -> Iterator[None]:
    """Within it, a configuration is what is given to it: neither environment nor file is read."""
    token = _isolated.set(True)
    try:
        yield
    finally:
        _isolated.reset(token)


def is_isolated() -> bool:
    """Whether environment and files are left alone."""
    return _isolated.get()


def settings_files() -> list[SettingsFile]:
    """The files that count here, the more important last. Raises ``InvalidOptionError`` for one that is unreadable."""
    named = _named.get() or (Path(variable) if (variable := os.environ.get("CODEWEAVER_CONFIG")) else None)
    if named is not None:
        return [_read(named, is_trusted=True)]
    own, here = _user_folder() / FILE_NAME, Path(FILE_NAME)
    files = [_read(own, is_trusted=True)] if own.is_file() else []
    if here.is_file() and not (files and own.samefile(here)):
        files.append(_read(here, is_trusted=False))
    return files


def _user_folder() -> Path:
    configured = os.environ.get("XDG_CONFIG_HOME", "")
    home = os.environ.get("HOME") or os.environ.get("USERPROFILE") or ""
    # A relative one would be a folder below the working directory, which may be anybody's.
    return (Path(configured) if Path(configured).is_absolute() else Path(home or os.sep, ".config")) / "codeweaver"


def _read(path: Path, *, is_trusted: bool) -> SettingsFile:
    try:
        with path.open("rb") as stream:
            content = tomllib.load(stream)
    except (OSError, ValueError) as error:  # not there, no TOML, no UTF-8
        raise InvalidOptionError(f"the configuration file {str(path)!r} cannot be read: {error}") from None
    # The file may have tables of others, too.
    for key in content.keys() - _KEYS:
        if near := difflib.get_close_matches(key, _KEYS, 1, _NEAR):
            raise InvalidOptionError(f"{str(path)!r} sets {key}, which does not exist; did you mean {near[0]!r}?")
    return SettingsFile(path, is_trusted, content)


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that may have been meant, as the end of a message; empty if none is near."""
    close = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {close[0]!r}?" if close else ""


# --- secrets ---------------------------------------------------------------------------------------------------------


def is_secret_name(name: str) -> bool:
    """Whether a setting of this name holds a secret."""
    return bool(_SECRET_NAME.search(name))


def secret_fields(config_class: type[BaseModel] | None) -> frozenset[str]:
    """The fields that hold a secret, by their type or their name."""
    fields = config_class.model_fields if config_class else {}
    return frozenset(name for name, field in fields.items() if is_secret_name(name) or _holds_secret(field.annotation))


def _holds_secret(annotation: Any) -> bool:
    return annotation in (SecretStr, SecretBytes) or any(map(_holds_secret, typing.get_args(annotation)))


SECRET_ENDINGS: Final = ("file", "keyring")
"""``NAME_file`` names a file that holds the secret ``NAME``; ``NAME_keyring`` a keyring's entry, ``service/user``."""


def with_secrets_read(config_class: type[BaseModel] | None, settings: Mapping[str, Setting]) -> dict[str, Setting]:
    """The settings with every ``NAME_file`` and ``NAME_keyring`` of a secret ``NAME`` replaced by what is there."""
    known = config_class.model_fields if config_class else {}
    result = dict(settings)
    for name in sorted(secret_fields(config_class)):
        places = {
            f"{name}_{ending}": ending
            for ending in SECRET_ENDINGS
            if f"{name}_{ending}" in settings and f"{name}_{ending}" not in known
        }
        for key, ending in places.items():
            given = result.pop(key)
            other = next((one for one in (name, *places) if one != key and one in settings), None)
            if other is not None and settings[other].source == given.source:
                raise InvalidOptionError(f"{given.source} sets both {other} and {key}")
            if not given.is_trusted:
                raise InvalidOptionError(
                    f"{given.source} sets {key}: a file that merely lies in the working directory may not choose "
                    f"which files and keyrings are read and sent; name it by CODEWEAVER_CONFIG or --config"
                )
            if name not in result:
                read = read_secret if ending == "file" else read_keyring
                result[name] = Setting(read(given, name), given.source)
    return result


def read_keyring(setting: Setting, name: str) -> str:
    """The secret in the system's keyring, of the entry ``service/user``, or ``service`` for the user ``name``.

    Raises ``InvalidOptionError`` if there is none, or no keyring.
    """
    try:
        import keyring
    except ModuleNotFoundError:
        raise InvalidOptionError(
            f"{setting.source} names a keyring for {name}: pip install 'codeweaver-backends[keyring]'"
        ) from None
    service, _, user = str(setting.value).rpartition("/")
    if not service:
        service, user = user, name
    try:
        found: str | None = keyring.get_password(service, user)
    except Exception as error:  # noqa: BLE001 - of the keyring and of the system: it is locked, it is not there
        raise InvalidOptionError(
            f"the keyring that {setting.source} names for {name} cannot be read: {type(error).__name__}"
        ) from None
    if not found:
        raise InvalidOptionError(
            f"the keyring that {setting.source} names for {name} has no entry {service!r}, {user!r}"
        )
    return found


def read_secret(setting: Setting, name: str) -> str:
    """The secret in a file, without the newline at its end. Raises ``InvalidOptionError`` if there is none."""
    try:
        text = Path(setting.value).expanduser().read_bytes()[: _SECRET_SIZE + 1].decode().rstrip("\r\n")
    except (OSError, TypeError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no UTF-8 text file is there"
        raise InvalidOptionError(f"the file that {setting.source} names for {name} cannot be read: {reason}") from None
    if not text or len(text) > _SECRET_SIZE:
        raise InvalidOptionError(f"the file that {setting.source} names for {name} is empty or too long for a secret")
    return text


def without_alternatives(
    alternatives: Mapping[str, Sequence[str]], layers: Iterable[Mapping[str, Setting]]
) -> Iterator[dict[str, Setting]]:
    """Each layer without what a more important one has said in another way: ``host`` by keyword beats a ``URL`` set."""
    said: set[str] = set()
    for layer in layers:
        ruled_out = {
            name
            for one, others in alternatives.items()
            for name in ((*others,) if one in said else (one,) if said & set(others) else ())
        }
        yield {name: one for name, one in layer.items() if name not in ruled_out}
        said |= layer.keys()


def mixed_sources(config_class: type[BaseModel] | None, layers: Sequence[Mapping[str, Setting]]) -> None:
    """Refuse a secret that would go where a file of the working directory says.

    ``layers`` are the settings by source, the more important first. Raises ``InvalidOptionError``.
    """
    secrets = secret_fields(config_class)
    from_elsewhere = [
        (name, one) for layer in layers for name, one in layer.items() if name in secrets and one.is_trusted
    ]
    covered: set[str] = set()
    for layer in layers:
        for name, one in layer.items():
            risky = not one.is_trusted and name not in HARMLESS and name not in covered
            if risky and from_elsewhere:
                secret, origin = from_elsewhere[0]
                raise InvalidOptionError(
                    f"{one.source} sets {name}, and {secret} comes from {origin.source}: a file that merely lies in "
                    f"the working directory may not say where another source's secret goes; name the file by "
                    f"CODEWEAVER_CONFIG or --config if it is yours"
                )
        # Tables are merged with those of the layers below, and cover nothing.
        covered |= {name for name, one in layer.items() if not isinstance(one.value, Mapping)}
