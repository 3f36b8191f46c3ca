"""Secrets: what a configuration holds and nothing printable may show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, SecretBytes, SecretStr

__all__ = ["Redacted", "scrub", "secrets_of"]

HIDDEN: Final = "**********"
_SHORTEST: Final = 4
"""Shorter texts stand in anything, and hiding them would make every message unreadable."""


class Redacted(Exception):  # noqa: N818 - it stands in for another exception
    """Stands in the chain for an exception whose text shows a secret that cannot be taken out of it."""


def secrets_of(config: BaseModel) -> tuple[str, ...]:
    """Every secret of a configuration, as given and as it may stand in a message, the longest first."""
    found: set[str] = set()
    for value in _values(config):
        found.update((value, value.strip(), repr(value)[1:-1], unquote(value)))
    return tuple(sorted((one for one in found if len(one) >= _SHORTEST), key=len, reverse=True))


def _values(value: Any) -> Iterator[str]:
    if isinstance(value, SecretStr):
        secret = value.get_secret_value()
        yield secret
        yield from _password_of(secret)
    elif isinstance(value, SecretBytes):
        yield value.get_secret_value().decode(errors="replace")
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _values(getattr(value, name))
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _values(inner)
    elif isinstance(value, list | tuple | set | frozenset):
        for inner in value:
            yield from _values(inner)
    elif isinstance(value, str):
        yield from _password_of(value)


def _password_of(text: str) -> Iterator[str]:
    if "://" not in text:
        return
    try:
        password = urlsplit(text).password
    except ValueError:
        return
    if password:
        yield password


def scrub(error: BaseException, secrets: tuple[str, ...]) -> None:
    """Take the secrets out of an error's text, its notes, and those of everything in its chain."""
    seen: set[int] = set()
    pending: list[BaseException] = [error]
    while pending and secrets:
        one = pending.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        _hide_in(one, secrets)
        for link in ("__cause__", "__context__"):
            linked = getattr(one, link)
            if linked is None:
                continue
            _hide_in(linked, secrets)
            if _shows(linked, secrets):
                suppressed = one.__suppress_context__
                setattr(one, link, Redacted(f"{type(linked).__name__}: {hide(str(linked), secrets)}"))
                one.__suppress_context__ = suppressed
            else:
                pending.append(linked)


def hide(text: str, secrets: tuple[str, ...]) -> str:
    """The text without the secrets."""
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    return text


def _hide_in(error: BaseException, secrets: tuple[str, ...]) -> None:
    if any(isinstance(part, str) and any(secret in part for secret in secrets) for part in error.args):
        error.args = tuple(hide(part, secrets) if isinstance(part, str) else part for part in error.args)
    message = getattr(error, "message", None)
    if isinstance(message, str) and any(secret in message for secret in secrets):
        error.message = hide(message, secrets)  # type: ignore[attr-defined]
    notes = getattr(error, "__notes__", None)
    if notes:
        notes[:] = [hide(note, secrets) for note in notes]


def _shows(error: BaseException, secrets: tuple[str, ...]) -> bool:
    shown = f"{error}\n{error!r}"
    return any(secret in shown for secret in secrets)
