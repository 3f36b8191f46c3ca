"""Settings: addresses as providers print them, what is shown of them, and what is had from libpq's environment."""

# ruff: noqa: S106 - no secrets

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from codeweaver_pgvector import PgvectorConfig, PgvectorPlugin

GIVEN = "pa/ss@wörd"
NEON = "postgresql://me:pa%2Fss%40w%C3%B6rd@ep-x-1.eu.aws.neon.tech/db?sslmode=require&channel_binding=require"
SUPABASE = "postgresql://postgres.ref:pa%2Fss%40w%C3%B6rd@aws-0.pooler.supabase.com:6543/postgres?pgbouncer=true"


@pytest.mark.parametrize(
    ("url", "shown", "user"),
    [
        (NEON, "postgresql://ep-x-1.eu.aws.neon.tech/db?sslmode=require&channel_binding=require", "me"),
        (SUPABASE, "postgresql://aws-0.pooler.supabase.com:6543/postgres?pgbouncer=true", "postgres.ref"),
        ("postgres://me@h", "postgres://h", "me"),
        ("postgresql:///db?host=/run/sockets", "postgresql:///db?host=/run/sockets", None),
        ("postgresql://me:x@h1:1,h2:2/db", "postgresql://h1:1,h2:2/db", "me"),
    ],
)
def test_user_and_password_are_taken_out_of_an_address(url: str, shown: str, user: str | None) -> None:
    config = PgvectorConfig(url=url)
    assert (config.url, config.user) == (shown, user)
    if GIVEN in (config.secret or ""):
        assert config.secret == GIVEN
        assert not any(
            part in f"{config!r}{config.model_dump()}{config.model_dump_json()}" for part in ("pa/", "pa%2F")
        )


def test_what_libpq_alone_understands_is_not_sent_to_the_server_and_told() -> None:
    config = PgvectorConfig(url=NEON + "&connect_timeout=5&application_name=mine")
    assert config.address_arguments()["dsn"] == (
        "postgresql://ep-x-1.eu.aws.neon.tech/db?sslmode=require&application_name=mine"
    )
    assert config.connect_timeout == 5
    assert config.is_encrypted
    assert list(PgvectorPlugin.advice(config)) == ["url: channel_binding is libpq's, and not followed here"]
    assert any("transaction_pooling" in line for line in PgvectorPlugin.advice(PgvectorConfig(url=SUPABASE)))


@pytest.mark.parametrize(
    "settings",
    [
        {"url": "postgresql://me:se/cret@h/db"},
        {"url": "postgresql://me:1/se#cret@h/db"},
        {"url": "postgresql://me:1/secret@h/db"},
        {"url": "postgresql://h/db?password=secret"},
        {"url": "postgresql://h/db?sslpassword=secret"},
        {"url": "mysql://me:secret@h/db"},
        {"url": "postgresql://me:secret@[::1/db"},
        {"url": "postgresql://h:99999/db"},
        {"url": "postgresql://h/db?nonsense"},
        {"url": "postgresql://h/db?sslmode=disable", "tls": True},
        {"host": "me:secret@h"},
        {"password": "secret", "api_key": "secret"},
    ],
)
def test_what_is_refused_is_not_shown(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as raised:
        PgvectorConfig(**settings)
    assert "secret" not in f"{raised.value}{raised.value!r}"


def test_a_password_of_its_own_comes_before_that_of_the_address() -> None:
    config = PgvectorConfig(url=NEON, user="you", password="mine")
    assert (config.user, config.secret) == ("you", "mine")


def test_an_address_is_left_to_libpqs_environment_unless_it_is_set() -> None:
    assert PgvectorConfig().address_arguments()["host"] is None
    assert PgvectorConfig(host="127.0.0.1").address_arguments()["host"] == "127.0.0.1"


def test_what_the_environment_requires_counts_as_encrypted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not PgvectorConfig(password="x").is_encrypted
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    assert PgvectorConfig(password="x").is_encrypted
    assert not PgvectorConfig(url="postgresql://h/db?sslmode=prefer").is_encrypted
