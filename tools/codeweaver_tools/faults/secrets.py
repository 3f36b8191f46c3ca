"""Secrets of a configuration in whatever can be printed: errors, their causes and notes, ``repr``, the log.

The backend meets a server that hangs up, one that answers with noise and one that repeats what it was sent, and secrets
of many forms.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import random
import traceback
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from codeweaver_backends import VectorPoint, create_backend
from codeweaver_backends.errors import BackendError
from codeweaver_backends.testing import Target
from codeweaver_conformance.network import hang_up, served

__all__ = ["run"]

_FORMS: Final = (
    "{0}", "sk-{0}", "{0}==", "{0}@host", "user:{0}", "{0}/../x", "{0}?a=b&c", "{0}%2F", "{0}\\n", "'{0}'", '"{0}"',
    "{{{0}}}", "{0} {0}", "Bearer {0}", "{0}\n", "{0}\u00e9", "\u65e5{0}", "{0}\x00", "\t{0}", "${{{0}}}",
)  # fmt: skip
"""How a secret may look; some no header can carry."""
_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


async def run(target: Target, errors: int) -> dict[str, Any]:
    """Provoke so many errors; which of them showed a secret. An engine without an address knows none."""
    elsewhere = target.elsewhere
    if elsewhere is None:
        return {"errors": 0, "wrong": 0, "mistakes": [], "note": "embedded: there is no secret to know"}
    chance = random.Random(3)  # noqa: S311 - they only look like secrets
    seen, mistakes = 0, []
    with _captured() as log:
        while seen < errors:
            core = "".join(chance.choices(_DIGITS, k=20))
            secret = chance.choice(_FORMS).format(core)
            answer = chance.choice((_echo, _noise, hang_up))
            with served(answer) as port:
                texts = [text async for text in _provoked(target.backend, _with_secret(elsewhere(port), secret))]
            seen += len(texts)
            texts.append(log.getvalue())
            log.seek(0)
            log.truncate()
            mistakes += [f"{answer.__name__}, {secret!r}: {text[:300]}" for text in texts if core in text]
    return {"errors": seen, "wrong": len(mistakes), "mistakes": mistakes[:20]}


async def _provoked(name: str, settings: Mapping[str, Any]) -> AsyncIterator[str]:
    try:
        backend = create_backend(name, **settings)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is printed
        yield _printed(error)
        return
    point = VectorPoint(1, [1.0, 1.0], {"n": 1})
    async with backend:
        config = getattr(backend, "config", None)
        yield f"{backend!r} {config!r} {config}"
        for call in (
            backend.list_collections,
            lambda: backend.create_collection("c", 2),
            lambda: backend.upsert_vectors("c", [point]),
            lambda: backend.search_vectors("c", [1.0, 1.0]),
            lambda: backend.delete_collection("c"),
        ):
            try:
                await call()
            except BackendError as error:
                yield _printed(error)


def _with_secret(settings: Mapping[str, Any], secret: str) -> dict[str, Any]:
    """The settings with the secret in the place that the target's own ones have for it."""
    place = "password" if {"user", "dsn"} & settings.keys() else "api_key"
    return {**settings, "timeout": 2.0, place: secret}


def _printed(error: BaseException) -> str:
    chain: BaseException | None = error
    text = ""
    while chain is not None:
        text += repr(chain) + str(chain) + "".join(getattr(chain, "__notes__", ()))
        chain = chain.__cause__ or chain.__context__
    return text + "".join(traceback.format_exception(error))


@contextlib.contextmanager
def _captured() -> Any:
    """All that is logged, at DEBUG."""
    stream = io.StringIO()
    handler, root = logging.StreamHandler(stream), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield stream
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


# --- servers ---------------------------------------------------------------------------------------------------------


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    told = await reader.read(65_536)
    head = f"HTTP/1.1 500 Oops\r\ncontent-type: text/plain\r\ncontent-length: {len(told)}\r\nconnection: close\r\n\r\n"
    writer.write(head.encode() + told)


async def _noise(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(65_536)
    writer.write(b"\x00\x01noise\r\n\r\n")
