"""Configuration: who wins, what is refused, and that no secret shows."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel, Field, ValidationError

from codeweaver_backends.config import (
    BackendConfig,
    EmbeddedConfig,
    ServerConfig,
    check_config,
    describe_validation_error,
)
from codeweaver_backends.errors import InvalidOptionError

SECRET = "s3cr3t"  # noqa: S105


class AcmeConfig(ServerConfig):
    """A server of the tests."""

    backend: ClassVar[str] = "acme-db"

    headers: dict[str, str] = Field(default_factory=dict)


class OtherConfig(ServerConfig):
    """Another one."""

    backend: ClassVar[str] = "other"


@pytest.fixture(autouse=True)
def toml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Write ``codeweaver.toml`` in the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CODEWEAVER_CONFIG", raising=False)

    def write(text: str) -> Path:
        file = tmp_path / "codeweaver.toml"
        file.write_text(text, encoding="utf-8")
        return file

    return write


def test_arguments_win_over_environment_over_file_over_defaults(
    toml: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert AcmeConfig().timeout == 30.0
    toml('[backends.acme-db]\ntimeout = 1\nhost = "file"\nretries = 5\n[backends.other]\ntimeout = 9\n')
    assert (AcmeConfig().timeout, AcmeConfig().host, AcmeConfig().retries) == (1.0, "file", 5)
    monkeypatch.setenv("CODEWEAVER_ACME_DB_TIMEOUT", "2")
    monkeypatch.setenv("CODEWEAVER_ACME_DB_HOST", "environment")
    assert (AcmeConfig().timeout, AcmeConfig().host, AcmeConfig().retries) == (2.0, "environment", 5)
    changed = AcmeConfig(timeout=3)
    assert (changed.timeout, changed.host, changed.retries) == (3.0, "environment", 5)
    assert OtherConfig().timeout == 9.0, "each backend has settings of its own"


def test_the_file_may_be_named(tmp_path: Path, toml: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    toml("[backends.acme-db]\nretries = 1\n")
    named = tmp_path / "elsewhere.toml"
    named.write_text("[backends.acme-db]\nretries = 2\n")
    monkeypatch.setenv("CODEWEAVER_CONFIG", str(named))
    assert AcmeConfig().retries == 2


def test_a_file_without_our_table_says_nothing(toml: Callable[[str], Path]) -> None:
    toml("[backends.other]\nretries = 1\n[tool]\nx = 1\n")
    assert AcmeConfig().retries == 2


@pytest.mark.parametrize("text", ["backends = 3", "[backends]\nacme-db = 3", "not toml", f'x = "{SECRET}'])
def test_a_broken_file_is_an_error_that_names_it(toml: Callable[[str], Path], text: str) -> None:
    toml(text)
    with pytest.raises(InvalidOptionError, match=r"codeweaver\.toml") as raised:
        AcmeConfig()
    assert SECRET not in str(raised.value)
    result = check_config(AcmeConfig, {})
    assert not result.is_valid
    assert "codeweaver.toml" in result.errors[0]


def test_a_file_that_was_named_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEWEAVER_CONFIG", str(tmp_path / "missing.toml"))
    with pytest.raises(InvalidOptionError, match=r"missing\.toml"):
        AcmeConfig()


def test_unknown_settings_are_refused(toml: Callable[[str], Path]) -> None:
    with pytest.raises(ValidationError, match="tiemout"):
        AcmeConfig(tiemout=3)  # type: ignore[call-arg]
    toml(f'[backends.acme-db]\ntiemout = "{SECRET}"\n')
    with pytest.raises(ValidationError, match="tiemout") as raised:
        AcmeConfig()
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("timeout", value) for value in (0, -1, float("inf"), float("nan"), 3_601, "soon", None)),
        *(("retries", value) for value in (-1, 11, 1.5, "x")),
        *(("port", value) for value in (0, 65_536, "x")),
        *(("max_connections", value) for value in (0, 1_001)),
        ("host", ""),
    ],
)
def test_values_are_checked(name: str, value: Any) -> None:
    with pytest.raises(ValidationError) as raised:
        AcmeConfig(**{name: value})
    assert describe_validation_error(raised.value)[0].startswith(f"{name}: ")


def test_an_embedded_backend_needs_a_folder(tmp_path: Path) -> None:
    class Embedded(EmbeddedConfig):
        backend = "embedded"

    assert Embedded(path=tmp_path).path == tmp_path
    assert check_config(Embedded, {}).errors == ["path: Field required"]


# --- secrets ---------------------------------------------------------------------------------------------------------


def test_a_secret_does_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEWEAVER_ACME_DB_API_KEY", SECRET)
    config = AcmeConfig()
    assert config.api_key is not None
    assert config.api_key.get_secret_value() == SECRET
    for shown in (repr(config), str(config), repr(config.model_dump()), config.model_dump_json()):
        assert SECRET not in shown


@pytest.mark.parametrize(
    "settings",
    [{"api_key": [SECRET]}, {"port": SECRET}, {"unknown": SECRET}, {"url": {SECRET: 1}}, {"headers": SECRET}],
)
def test_no_mistake_shows_a_value(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as raised:
        AcmeConfig(**{"api_key": SECRET} | settings)
    assert SECRET not in "".join(traceback.format_exception_only(raised.value))
    result = check_config(AcmeConfig, settings)
    assert not result.is_valid
    assert SECRET not in repr(result)


def test_no_mistake_in_the_environment_shows_a_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEWEAVER_ACME_DB_HEADERS", f"not JSON: {SECRET}")
    result = check_config(AcmeConfig, {})
    assert not result.is_valid
    assert "headers" in result.errors[0]
    assert SECRET not in repr(result)


# --- check_config ----------------------------------------------------------------------------------------------------


def test_check_config_takes_an_instance_a_mapping_and_a_look_alike() -> None:
    class Alike(BaseModel):
        host: str = "elsewhere"

    for config in (AcmeConfig(), {"port": 7}, {}, Alike()):
        assert check_config(AcmeConfig, config).is_valid
    assert check_config(AcmeConfig, {"port": "x", "retries": -1}).errors == [
        "retries: Input should be greater than or equal to 0",
        "port: Input should be a valid integer, unable to parse string as an integer",
    ]


def test_rules_advise_on_what_is_valid() -> None:
    def hasty(config: AcmeConfig) -> list[str]:
        return ["a short timeout"] if config.timeout < 1 else []

    assert check_config(AcmeConfig, {"timeout": 0.5}, hasty).warnings == ["a short timeout"]
    assert check_config(AcmeConfig, {"timeout": 5}, hasty).warnings == []
    assert check_config(AcmeConfig, {"timeout": -1}, hasty).warnings == []


def test_a_config_without_a_backend_reads_no_file(toml: Callable[[str], Path]) -> None:
    toml("not toml")
    assert BackendConfig().timeout == 30.0


def test_a_url_with_credentials_is_refused_and_not_shown() -> None:
    with pytest.raises(ValidationError) as raised:
        ServerConfig(url="http://user:hunter2@127.0.0.1:6333")
    assert "api_key" in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_a_configuration_of_another_kind_is_judged_and_does_not_raise() -> None:
    result = check_config(ServerConfig, None)
    assert not result.is_valid
    assert "NoneType" in result.errors[0]
