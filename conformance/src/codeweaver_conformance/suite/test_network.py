"""The network: an engine that is gone, hangs up, drips or echoes; secrets, and transport security."""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from codeweaver_backends.errors import BackendConnectionError, BackendError
from codeweaver_conformance.clause import clause
from codeweaver_conformance.edges import points
from codeweaver_conformance.network import (
    PATIENCE,
    Talk,
    closed_port,
    drip,
    echo,
    fault_of,
    hang_up,
    impatient,
    served,
)
from codeweaver_conformance.session import Conformance
from codeweaver_conformance.suite.calls import behind_a_relay, claimed_calls
from codeweaver_conformance.untrusted import ELSEWHERE, HERE, Identity


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


@clause("errors.connection")
async def test_no_call_takes_a_hang_up_for_an_answer(cw: Conformance) -> None:
    """Check every call of every claimed profile, of an engine that hears it and hangs up; by no fault of its own."""
    with served(hang_up) as port:
        backend = cw.at_port(port, **impatient(cw.subject))
        for label, call in claimed_calls(cw, backend, cw.new_name()).items():
            with cw.raises(BackendConnectionError, why=f"{label}: the engine hangs up") as raised:
                await asyncio.wait_for(call(), 60)
            fault = fault_of(raised.error)
            cw.true(fault is None, f"{label}: an error that the network caused", repr(fault))


@clause("errors.timeout", "health.bounded")
async def test_an_engine_that_drips_ends_every_call_in_time(cw: Conformance) -> None:
    """Check that the timeout is for the whole answer, and does not start again with every byte."""
    with served(drip) as port:
        backend = cw.at_port(port, **impatient(cw.subject))
        chosen = claimed_calls(cw, backend, cw.new_name())
        for label in ("list_collections", "search_vectors", "delete_vectors"):
            started = time.monotonic()
            with cw.raises(BackendError, why=label):
                await asyncio.wait_for(chosen[label](), PATIENCE * 3 + 8)
            took = time.monotonic() - started
            cw.true(took < PATIENCE * 3 + 5, f"an end within the timeout of {PATIENCE} s", f"{label}: {took:.1f} s")


@clause("health.true", "health.false", "errors.connection")
async def test_an_engine_that_goes_and_comes_back_is_noticed(cw: Conformance) -> None:
    """Check health and calls before, while the way is cut, and after: nothing is remembered; a scroll does not end."""
    name = await cw.collection(points("int", 0, 20), dimension=3)
    with behind_a_relay(cw, **impatient(cw.subject)) as (relay, backend):
        cw.equal(await backend.health_check(), True, "by way of a relay")
        cursor = None
        if cw.claims("supports_scan"):
            cursor = (await backend.scroll_vectors(name, limit=5)).cursor
        relay.cut()
        cw.equal(await asyncio.wait_for(backend.health_check(), 60), False, "while the way is cut")
        with cw.raises(BackendConnectionError, why="while the way is cut"):
            await asyncio.wait_for(backend.search_vectors(name, [1, 1, 1]), 60)
        if cursor is not None:
            with cw.raises(BackendConnectionError, why="a second page while the way is cut"):
                await asyncio.wait_for(backend.scroll_vectors(name, cursor=cursor, limit=5), 60)
        relay.mend()
        for _ in range(60):  # a client may wait before it tries again
            if await backend.health_check():
                break
            await asyncio.sleep(0.5)
        cw.equal(await backend.health_check(), True, "after the way was mended")
        cw.equal(len(await backend.search_vectors(name, [1, 1, 1], limit=20)), 20, "after the way was mended")


# --- secrets ---------------------------------------------------------------------------------------------------------


class _Lines(logging.Handler):
    """Keeps what is logged, whoever logs it."""

    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


async def _said(backend: Any) -> list[str]:
    """All that a backend says of itself while its calls fail: texts, causes, notes, logs, warnings."""
    lines, root = _Lines(), logging.getLogger()
    level = root.level
    root.addHandler(lines)
    root.setLevel(logging.DEBUG)
    said = [repr(backend.wrapped), str(backend.wrapped), repr(getattr(backend.wrapped, "config", ""))]
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            for call in (backend.list_collections, lambda: backend.search_vectors("x", [1, 0]), backend.health_check):
                try:
                    await asyncio.wait_for(call(), 60)
                except Exception as error:  # noqa: BLE001 - every text of it is searched
                    said += ["".join(traceback.format_exception(error))]
                    said += [f"{one!r} {getattr(one, '__notes__', '')} {one.args!r}" for one in _chain(error)]
        finally:
            root.removeHandler(lines)
            root.setLevel(level)
    return said + lines.lines + [str(one.message) for one in warned]


@clause("errors.secret", "config.secret")
@pytest.mark.parametrize("secret", ["s3cr3t-of-the-kit", "s3cr3t-of-\nthe-kit", "s3cr3t-of-thé-kit"], ids=ascii)
async def test_no_secret_is_shown_by_whatever_name(cw: Conformance, secret: str) -> None:
    """Check every secret setting with engines that are gone, that hang up and that echo; impossible keys too."""
    known = cw.subject.config_fields
    named = [name for name, one in known.items() if "SecretStr" in str(one.annotation)]
    if not named:
        cw.not_verified("no setting is a SecretStr")
    marks = {secret, repr(secret)[1:-1], secret.encode().decode("latin-1")} | {secret[:11]}
    talks: list[Talk | None] = [None, hang_up, echo] if cw.subject.has_server else [None]
    for name in named:
        for talk in talks:
            with served(talk or hang_up) as port:
                try:
                    given = {**impatient(cw.subject), name: SecretStr(secret)}
                    there = port if talk else closed_port()
                    backend = cw.at_port(there, **given) if cw.subject.has_server else cw.fresh(**given)
                except (BackendError, ValueError) as error:  # an impossible key may be refused at once
                    said = ["".join(traceback.format_exception(error)), repr(error)]
                else:
                    said = await _said(backend)
            for text in said:
                hidden = text.replace(secret, "<the secret>")[:300]
                cw.true(not any(mark in text for mark in marks), f"the secret of {name!r} nowhere", hidden)


@clause("errors.secret")
async def test_a_password_in_a_url_is_refused_or_hidden(cw: Conformance) -> None:
    """Check a url with a user and a password, where there is a setting of that name."""
    if "url" not in cw.subject.config_fields:
        cw.not_applicable("there is no setting 'url'")
    secret = "s3cr3t-of-the-kit"  # noqa: S105 - a marker to look for
    try:
        backend = cw.fresh(url=f"http://user:{secret}@127.0.0.1:{closed_port()}", **impatient(cw.subject))
    except (BackendError, ValueError) as error:
        said = ["".join(traceback.format_exception(error)), repr(error)]
    else:
        said = await _said(backend)
    for text in said:
        cw.true(secret not in text, "the password nowhere", text.replace(secret, "<the secret>")[:300])


# --- transport security ----------------------------------------------------------------------------------------------


def _asks_for_tls(data: bytes) -> bool:
    """Whether this is the beginning of TLS: a client hello, or PostgreSQL's question whether the server speaks it."""
    return data[:1] == b"\x16" or data == b"\x00\x00\x00\x08\x04\xd2\x16\x2f"


@clause("config.tls")
async def test_transport_security_is_used_and_checked(cw: Conformance) -> None:
    """Check that tls=True speaks TLS from its first byte, and refuses a certificate that nobody vouches for."""
    heard: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(2**16))

    for context in (None, HERE.context()):
        heard.clear()
        with served(listen, tls=context) as port:
            backend = cw.at_port(port, tls=True, **impatient(cw.subject))
            with cw.raises(BackendConnectionError, why="no engine that can be trusted is there"):
                await asyncio.wait_for(backend.list_collections(), 60)
            cw.equal(await asyncio.wait_for(backend.health_check(), 60), False)
        clear = [data[:80] for data in heard if data and (context is not None or not _asks_for_tls(data))]
        cw.equal(clear, [], "what was said to an engine that cannot be trusted")


@clause("config.authority")
async def test_an_authority_that_is_named_vouches_for_the_server(cw: Conformance, tmp_path: Path) -> None:
    """Check the engine behind TLS: reached by the authority's file, and neither by another's nor by another name."""
    name = await cw.collection(points("int", 0, 3), dimension=3)
    here, elsewhere = (_files(tmp_path, identity)[0] for identity in (HERE, ELSEWHERE))
    with behind_a_relay(cw, HERE.context(), ca_file=here, tls=True) as (_, backend):
        cw.equal(await backend.health_check(), True, "with the authority's file")
        cw.equal(len(await backend.search_vectors(name, [1, 1, 1], limit=3)), 3, "with the authority's file")
    for label, identity in {"another's certificate": HERE, "a certificate of another name": ELSEWHERE}.items():
        hasty = impatient(cw.subject)
        with behind_a_relay(cw, identity.context(), ca_file=elsewhere, tls=True, **hasty) as (_, backend):
            with cw.raises(BackendConnectionError, why=label):
                await asyncio.wait_for(backend.list_collections(), 60)
            cw.equal(await asyncio.wait_for(backend.health_check(), 60), False, label)


@clause("config.client-certificate")
async def test_a_certificate_is_shown_to_a_server_that_asks(cw: Conformance, tmp_path: Path) -> None:
    """Check the engine behind TLS that listens to one certificate only, with it and without."""
    name = await cw.collection(points("int", 0, 3), dimension=3)
    authority, (certificate, key) = _files(tmp_path, HERE)[0], _files(tmp_path, ELSEWHERE)
    trusting = {"tls": True, "ca_file": authority}
    shown = {"client_cert_file": certificate, "client_key_file": key}
    with behind_a_relay(cw, HERE.context(ELSEWHERE), **trusting, **shown) as (_, backend):
        cw.equal(len(await backend.search_vectors(name, [1, 1, 1], limit=3)), 3, "with the certificate")
    with behind_a_relay(cw, HERE.context(ELSEWHERE), **trusting, **impatient(cw.subject)) as (_, backend):
        cw.equal(await asyncio.wait_for(backend.health_check(), 60), False, "without it")
        with cw.raises(BackendConnectionError, why="without it"):
            await asyncio.wait_for(backend.list_collections(), 60)


def _files(folder: Path, identity: Identity) -> tuple[Path, Path]:
    certificate, key = (folder / f"{identity.name}.{ending}" for ending in ("pem", "key"))
    certificate.write_text(identity.certificate, encoding="ascii")
    key.write_text(identity.key, encoding="ascii")
    return certificate, key
