"""Configuration: who wins, what is refused, and that no secret shows."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel, Field, ValidationError

from codeweaver_backends.config import (
    SERVER_SETTINGS,
    BackendConfig,
    EmbeddedConfig,
    FolderPath,
    ServerConfig,
    TLSServerConfig,
    check_config,
    describe_validation_error,
)
from codeweaver_backends.errors import InvalidOptionError
from codeweaver_conformance.untrusted import HERE

SECRET = "s3cr3t"  # noqa: S105


class AcmeConfig(TLSServerConfig):
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
    assert describe_validation_error(raised.value, AcmeConfig.model_fields)[0].startswith(f"{name}: ")


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


# --- addresses, keys, folders ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"ca_file": "ca.pem"}, "of no use without tls"),
        ({"ca_file": "absent.pem", "tls": True}, "a file that can be read"),
        ({"ca_file": ".", "tls": True}, "a file that can be read"),
        ({"ca_file": "noise.pem", "tls": True}, "ca_file: nothing in PEM form"),
        ({"client_cert_file": "ca.pem", "tls": True}, "needed together"),
        (
            {"client_cert_file": "noise.pem", "client_key_file": "noise.pem", "tls": True},
            "client_key_file: nothing in PEM form",
        ),
    ],
)
def test_files_of_tls_are_judged_when_they_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ca.pem").write_text(HERE.certificate, encoding="ascii")
    (tmp_path / "noise.pem").write_text("noise", encoding="ascii")
    with pytest.raises(ValidationError, match=words):
        AcmeConfig(**settings)


def test_an_authority_of_ones_own_takes_the_place_of_the_systems(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text(HERE.certificate, encoding="ascii")
    config = AcmeConfig(host="db", tls=True, ca_file=file)
    context = config.tls_context()
    assert context is not None
    assert [dict(one["subject"][0])["commonName"] for one in context.get_ca_certs()] == ["127.0.0.1"]
    assert config.tls_content() == {"root_certificates": HERE.certificate.encode()}
    assert (AcmeConfig(tls=True).tls_context(), AcmeConfig(tls=True).tls_content()) == (None, {})


@pytest.mark.parametrize(
    ("settings", "address"),
    [
        ({}, "http://127.0.0.1"),
        ({"host": "db", "port": 1, "tls": True}, "https://db:1"),
        ({"host": "::1", "port": 1}, "http://[::1]:1"),
        ({"host": "[::1]", "port": 1}, "http://[::1]:1"),
        ({"url": "https://db:1/"}, "https://db:1"),
    ],
)
def test_an_address(settings: dict[str, Any], address: str) -> None:
    assert AcmeConfig(**settings).address == address


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"url": "db:6333"}, "http\\(s\\)://host:port"),
        ({"url": "ftp://db"}, "http\\(s\\)://host:port"),
        ({"url": "http://db:notaport"}, "cannot be read"),
        ({"url": "http://db:99999"}, "cannot be read"),
        ({"url": f"http://user:{SECRET}@db"}, "no credentials"),
        ({"url": f"http://{SECRET}/x@db:1"}, "no credentials"),
        ({"url": f"http://db?api_key={SECRET}"}, "neither a query"),
        ({"url": "http://db", "tls": True}, "contradict"),
        ({"url": "http://db", "host": "other"}, "only one of url and host"),
        ({"url": "http://db", "host": "127.0.0.1"}, "only one of url and host"),
        ({"url": "https://db", "tls": True, "port": 1}, "only one of url and port"),
        ({"host": "http://db"}, "alone"),
        ({"host": "db:6333"}, "must not hold a port"),
        ({"host": f"user:{SECRET}@db"}, "no credentials"),
        ({"api_key": f"{SECRET}\n{SECRET}"}, "printable ASCII"),
        ({"api_key": f"{SECRET}é"}, "printable ASCII"),
    ],
)
def test_what_no_request_could_be_sent_by_is_refused_at_once(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words) as caught:
        AcmeConfig(**settings)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_a_key_is_read_without_the_newline_of_its_file() -> None:
    key = AcmeConfig(api_key=f"{SECRET}\n").api_key  # type: ignore[arg-type]
    assert key is not None
    assert key.get_secret_value() == SECRET
    assert AcmeConfig(api_key="\n").api_key is None  # type: ignore[arg-type]


def test_a_keyword_beats_the_environment_also_where_it_says_it_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEWEAVER_ACME_DB_URL", "http://environment:1")
    assert AcmeConfig().address == "http://environment:1"
    assert AcmeConfig(host="keyword").address == "http://keyword"
    monkeypatch.setenv("CODEWEAVER_ACME_DB_HOST", "environment")
    assert AcmeConfig(url="http://keyword").address == "http://keyword"


def test_one_source_says_it_in_one_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEWEAVER_ACME_DB_URL", "http://environment:1")
    monkeypatch.setenv("CODEWEAVER_ACME_DB_HOST", "environment")
    with pytest.raises(ValidationError, match="only one of url and host"):
        AcmeConfig()
    assert AcmeConfig(port=7).address == "http://environment:7", "the keyword has said that it is not the url"


def test_a_folder_beats_all_that_is_said_of_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class EitherConfig(TLSServerConfig):
        backend: ClassVar[str] = "acme-db"
        alternatives: ClassVar[Mapping[str, tuple[str, ...]]] = {
            **TLSServerConfig.alternatives,
            "path": SERVER_SETTINGS,
        }
        path: FolderPath | None = None

    authority = tmp_path / "ca.pem"
    authority.write_text(HERE.certificate, encoding="ascii")
    given = {"host": "db", "port": 1, "tls": True, "ca_file": authority}
    for name, value in given.items():
        with pytest.raises(ValidationError, match=f"only one of path and (tls|{name})"):
            EitherConfig(path=tmp_path, **{"tls": name == "ca_file", name: value})  # type: ignore[arg-type]
        monkeypatch.setenv(f"CODEWEAVER_ACME_DB_{name.upper()}", str(value))
    assert EitherConfig().is_encrypted
    assert not EitherConfig(path=tmp_path).is_encrypted


def test_a_look_alike_says_what_it_changed() -> None:
    assert check_config(OtherConfig, AcmeConfig(url="http://db:1")).errors == [
        *(f"{name}: there is no such setting" for name in ("ca_file", "client_cert_file", "client_key_file", "headers"))
    ]


def test_an_empty_variable_is_an_absent_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("URL", "PORT", "API_KEY", "TIMEOUT"):
        monkeypatch.setenv(f"CODEWEAVER_ACME_DB_{name}", "")
    assert AcmeConfig() == AcmeConfig(timeout=30.0)


@pytest.mark.parametrize(
    ("settings", "asks"),
    [
        ({}, False),
        ({"host": "localhost"}, False),
        ({"url": "http://[::1]:1"}, False),
        ({"host": "127.8.8.8"}, False),
        ({"host": "db.example"}, True),
        ({"host": "db.example", "proxy": False}, False),
    ],
)
def test_no_proxy_is_asked_for_this_machine(settings: dict[str, Any], asks: bool) -> None:
    assert AcmeConfig(**settings).uses_proxy is asks


def test_a_folder_is_resolved_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for given in ("~/x", tmp_path / "x", f"file://{tmp_path}/x", str(tmp_path / "x")):
        assert EmbeddedConfig(path=given).path == tmp_path / "x"  # type: ignore[arg-type]
    assert EmbeddedConfig(path="x").path.is_absolute()  # type: ignore[arg-type]
    for wrong in ("s3://bucket", " ", "file://host/x"):
        with pytest.raises(ValidationError, match="this machine"):
            EmbeddedConfig(path=wrong)  # type: ignore[arg-type]
