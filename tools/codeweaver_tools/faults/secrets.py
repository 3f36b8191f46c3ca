"""Secrets of a configuration in whatever can be printed: errors, their causes and notes, ``repr``, the log.

The backend meets a server that hangs up, one that answers with noise and one that repeats what it was sent, and secrets
of many forms: in the setting that is made for them, and in each one that is an address, where people have them too.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import random
import traceback
from collections.abc import AsyncIterator, Collection, Mapping
from typing import Any, Final

from codeweaver_backends import VectorPoint, create_backend
from codeweaver_backends.errors import BackendError
from codeweaver_backends.factory import CodeWeaverFactory
from codeweaver_backends.testing import Target
from codeweaver_conformance.network import hang_up, served

__all__ = ["run"]

_FORMS: Final = (
    "{0}", "sk-{0}", "{0}==", "{0}@host", "user:{0}", "{0}/../x", "{0}?a=b&c", "{0}%2F", "{0}\\n", "'{0}'", '"{0}"',
    "{{{0}}}", "{0} {0}", "Bearer {0}", "{0}\n", "{0}\u00e9", "\u65e5{0}", "{0}\x00", "\t{0}", "${{{0}}}",
)  # fmt: skip
"""How a secret may look; some no header can carry."""
_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_AT_ONCE: Final = 60
"""Backends at once: what they do is wait, until they give up."""
_TIMEOUT: Final = 1.5
_ADDRESSES: Final[Mapping[str, tuple[str, ...]]] = {
    "url": (
        "http://user:{secret}@127.0.0.1:{port}", "http://user:{secret}/@127.0.0.1:{port}", "http://{secret}@:{port}",
        "http://127.0.0.1:{port}?api_key={secret}", "http://127.0.0.1:{port}#{secret}", "{secret}://127.0.0.1",
        "postgresql://user:{secret}@127.0.0.1:{port}/db", "postgresql://127.0.0.1:{port}/db?sslpassword={secret}",
        "postgresql://127.0.0.1:{port}/db?password={secret}", "postgresql://user:a/{secret}@127.0.0.1:{port}/db",
    ),
    "host": ("user:{secret}@127.0.0.1", "127.0.0.1:{port}/?api_key={secret}", "http://u:{secret}@127.0.0.1"),
    "grpc_host": ("user:{secret}@127.0.0.1",),
    "path": ("s3://KEY:{secret}@bucket", "s3://KEY:a/{secret}@bucket", "az://box?sig={secret}", "db://x:{secret}@y"),
}  # fmt: skip
"""Settings that are addresses, and what people write into them. A backend is tried by those that it has."""


async def run(target: Target, errors: int) -> dict[str, Any]:
    """Provoke so many errors; which of them showed a secret. An engine without an address knows none."""
    config_class = CodeWeaverFactory().get_registration(target.backend).config_class
    fields = config_class.model_fields if config_class is not None else {}
    chance = random.Random(3)  # noqa: S311 - they only look like secrets
    seen, mistakes = 0, []
    with contextlib.ExitStack() as servers, _captured() as log:
        ports = {talk.__name__: servers.enter_context(served(talk)) for talk in (_echo, _noise, hang_up)}
        while seen < errors:
            tried = [_attempt(target, fields, ports, chance) for _ in range(_AT_ONCE)]
            if not any(tried):
                return {"errors": 0, "wrong": 0, "mistakes": [], "note": "no setting of it is a secret or an address"}
            told = await asyncio.gather(*(_told(target.backend, settings) for settings, _ in tried))
            seen += sum(map(len, told))
            logged = log.getvalue()
            log.seek(0)
            log.truncate()
            for (settings, core), texts in zip(tried, told, strict=True):
                shown = [text for text in (*texts, logged) if core in text]
                mistakes += [f"{sorted(settings)}: {text[max(0, text.index(core) - 200) :][:300]}" for text in shown]
    return {"errors": seen, "wrong": len(mistakes), "mistakes": mistakes[:20]}


def _attempt(
    target: Target, fields: Collection[str], ports: Mapping[str, int], chance: random.Random
) -> tuple[dict[str, Any], str]:
    """Settings with a secret somewhere, and the part of it to look for; no settings where there is no place for one."""
    core = "".join(chance.choices(_DIGITS, k=20))
    secret = chance.choice(_FORMS).format(core)
    port = ports[chance.choice(sorted(ports))]
    made: list[dict[str, Any]] = [
        {name: form.format(secret=secret, port=port)}
        for name in _ADDRESSES.keys() & fields
        for form in _ADDRESSES[name]
    ]
    made = [] if not made else [chance.choice(sorted(made, key=repr))]
    if target.elsewhere is not None:
        settings = target.elsewhere(port)
        place = "password" if {"user", "dsn"} & settings.keys() else "api_key"
        made += [{**settings, place: secret}] * 3
    if "storage_options" in fields:
        endpoint = {"aws_endpoint": f"http://127.0.0.1:{port}", "aws_region": "nowhere", "allow_http": "true"}
        keys = {"aws_access_key_id": "K", "aws_secret_access_key": "S", "aws_session_token": "T"}
        hidden = {**keys, chance.choice(sorted(keys)): secret}
        made += [{"path": "s3://bucket/folder", "storage_options": {**endpoint, **hidden}}] * 3
    return ({**chance.choice(made), "timeout": _TIMEOUT} if made else {}), core


async def _told(name: str, settings: Mapping[str, Any]) -> list[str]:
    return [text async for text in _provoked(name, settings)]


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
            backend.diagnose,
        ):
            try:
                yield str(await call())
            except BackendError as error:
                yield _printed(error)


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
