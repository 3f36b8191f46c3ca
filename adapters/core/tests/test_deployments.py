"""Deployments: who wins, what is refused, and that no key goes where a stranger's file says."""

from __future__ import annotations

import subprocess
import sys
import types
import warnings
from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import Field

from codeweaver_backends import CodeWeaverFactory, InvalidOptionError, PluginError
from codeweaver_backends.capabilities import BackendCapabilities
from codeweaver_backends.config import ServerConfig
from codeweaver_backends.deployments import (
    ClearSecretWarning,
    get_deployment,
    list_deployments,
    open_deployment,
)
from codeweaver_backends.types import BaseComponentInfo

SECRET = "s3cr3t-of-the-environment"  # noqa: S105


class AcmeConfig(ServerConfig):
    """A server of the tests."""

    backend: ClassVar[str] = "acme"

    headers: dict[str, str] = Field(default_factory=dict)


class AcmeBackend:
    """It only tells what it was given."""

    def __init__(self, config: AcmeConfig) -> None:
        self.config = config

    @property
    def key(self) -> str | None:
        return self.config.api_key.get_secret_value() if self.config.api_key else None


class Files:
    """The three places where settings may be."""

    def __init__(self, folder: Path) -> None:
        self.here, self.own = folder / "work" / "codeweaver.toml", folder / "home/.config/codeweaver/codeweaver.toml"
        self.named = folder / "named.toml"
        for file in (self.here, self.own):
            file.parent.mkdir(parents=True)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    found = Files(tmp_path)
    monkeypatch.chdir(found.here.parent)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for variable in ("CODEWEAVER_CONFIG", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(variable, raising=False)
    return found


@pytest.fixture
def factory() -> CodeWeaverFactory:
    made = CodeWeaverFactory()
    made.register_backend("acme", AcmeBackend, BackendCapabilities(), BaseComponentInfo(name="acme"))
    return made


PROD = '[deployments.prod]\nbackend = "acme"\nurl = "http://prod.example.org:1"\ntimeout = 5\n'


def test_a_deployment_is_a_backend_with_its_settings(files: Files, factory: CodeWeaverFactory) -> None:
    files.here.write_text(PROD + '[deployments.dev]\nbackend = "acme"\nhost = "dev"\n')
    assert list_deployments() == ["dev", "prod"]
    prod, dev = (open_deployment(name, factory=factory).config for name in ("prod", "dev"))
    assert (prod.url, prod.timeout) == ("http://prod.example.org:1", 5)
    assert (dev.url, dev.host, dev.timeout) == (None, "dev", 30)


def test_the_factory_knows_deployments(files: Files, factory: CodeWeaverFactory) -> None:
    files.own.write_text(PROD)
    assert factory.create_backend("prod").config.timeout == 5
    assert factory.create_backend("prod", timeout=7, host="here").config.timeout == 7
    backend = factory.create_backend("prod", host="here")
    assert (backend.config.url, backend.config.host) == (None, "here"), "another way to say the same"
    with pytest.raises(InvalidOptionError, match="an argument sets tiemout of the deployment 'prod'"):
        factory.create_backend("prod", tiemout=7)
    files.here.write_text('[deployments.acme]\nbackend = "acme"\nurl = "http://thief:1"\n')
    assert factory.create_backend("acme").config.url is None, "an installed backend is not replaced"
    files.here.write_text('[deployments.mine]\nbackend = "acme"\nurl = "http://thief:1"\n')
    with pytest.raises(InvalidOptionError, match="api_key comes from an argument"):
        factory.create_backend("mine", api_key=SECRET)


def test_the_environment_overrides_one_deployment(
    files: Files, factory: CodeWeaverFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.here.write_text(PROD + PROD.replace("prod", "prod-eu"))
    monkeypatch.setenv("CODEWEAVER_DEPLOYMENTS_PROD_URL", "http://other:2")
    monkeypatch.setenv("CODEWEAVER_DEPLOYMENTS_PROD_EU_TIMEOUT", "7")
    monkeypatch.setenv("CODEWEAVER_DEPLOYMENTS_PROD_EU_HEADERS", '{"x": "y"}')
    prod, eu = (open_deployment(name, factory=factory).config for name in ("prod", "prod-eu"))
    assert (prod.url, prod.timeout, prod.headers) == ("http://other:2", 5, {})
    assert (eu.url, eu.timeout, eu.headers) == ("http://prod-eu.example.org:1", 7, {"x": "y"})
    assert get_deployment("prod", factory=factory).sources == {
        "backend": "codeweaver.toml",
        "timeout": "codeweaver.toml",
        "url": "CODEWEAVER_DEPLOYMENTS_PROD_URL",
    }


def test_the_environment_alone_makes_a_deployment(
    files: Files, factory: CodeWeaverFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEWEAVER_DEPLOYMENTS_IN_POD_BACKEND", "acme")
    monkeypatch.setenv("CODEWEAVER_DEPLOYMENTS_IN_POD_API_KEY", SECRET)
    monkeypatch.setenv("CODEWEAVER_DEFAULT_DEPLOYMENT", "in-pod")
    assert list_deployments() == ["in-pod"]
    assert open_deployment(factory=factory).key == SECRET


def test_the_default_is_named(files: Files, factory: CodeWeaverFactory) -> None:
    files.own.write_text('default_deployment = "prod"\n' + PROD)
    assert get_deployment(factory=factory).name == "prod"
    files.here.write_text('default_deployment = "dev"\n[deployments.dev]\nbackend = "acme"\n')
    assert list_deployments() == ["dev", "prod"]
    assert get_deployment(factory=factory).name == "dev"
    files.here.write_text('default_deployment = "staging"\n')
    assert get_deployment(factory=factory).name == "prod", "a file found here chooses among its own only"


def test_engine_wide_settings_do_not_reach_a_deployment(
    files: Files, factory: CodeWeaverFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.own.write_text(PROD + "[backends.acme]\nretries = 9\n")
    monkeypatch.setenv("CODEWEAVER_ACME_API_KEY", SECRET)
    backend = open_deployment("prod", factory=factory)
    assert (backend.config.retries, backend.key) == (2, None)
    monkeypatch.setenv("CODEWEAVER_ACME_URL", "http://127.0.0.1:3")
    assert open_deployment("acme:", factory=factory).config.retries == 9
    assert open_deployment("acme:timeout=3", factory=factory).key == SECRET


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name", "told"),
    [
        (PROD, "prd", r"no deployment is named 'prd'; known are: prod; did you mean 'prod'\?"),
        ("", "prod", "none is known"),
        (PROD, None, "there is no default_deployment; known are: prod"),
        ('default_deployment = "stage"\n' + PROD, "stage", "known are: prod"),
        ("[deployments.prod]\nurl = 'http://x'", "prod", "does not say which backend"),
        (
            PROD + "tiemout = 1",
            "prod",
            r"tiemout of the deployment 'prod', which does not exist; did you mean 'timeout",
        ),
        (
            PROD.replace("timeout = 5", "timeout = -5"),
            "prod",
            "the deployment 'prod'.*timeout: Input should be greater",
        ),
        ("deployments = 3", "prod", "deployments of .* must be a table"),
        ("[deployments]\nprod = 3", "prod", "deployments.prod of .* must be a table"),
        ("[deployments.memory]\nbackend = 'acme'", "memory", "the name of an installed backend"),
        ("[deployments.'a b']\nbackend = 'acme'", "a b", "letters, digits"),
        ("not toml", "prod", "cannot be read"),
    ],
)
def test_a_mistake_is_told(files: Files, factory: CodeWeaverFactory, text: str, name: str | None, told: str) -> None:
    files.here.write_text(text)
    with pytest.raises(InvalidOptionError, match=told):
        open_deployment(name, factory=factory)


def test_a_backend_that_is_not_installed_is_told(files: Files) -> None:
    files.here.write_text(PROD)
    with pytest.raises(PluginError, match="no backend is named 'acme'; installed are:"):
        open_deployment("prod")


def test_a_misspelt_variable_is_told(files: Files, factory: CodeWeaverFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    files.here.write_text(PROD)
    monkeypatch.setenv("CODEWEAVER_DEPLOYMENTS_PRD_URL", "http://x")
    with pytest.raises(InvalidOptionError, match="CODEWEAVER_DEPLOYMENTS_PRD_URL is of no deployment; known are: prod"):
        open_deployment("prod", factory=factory)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("[deployment.prod]\nbackend = 'acme'\n", "deployments"),
        ("default-deployment = 'prod'\n", "default_deployment"),
        ("[backend.acme]\nurl = 'http://x'\n", "backends"),
    ],
)
def test_a_misspelt_table_is_told(files: Files, text: str, meant: str) -> None:
    files.here.write_text(text)
    with pytest.raises(InvalidOptionError, match=f"which does not exist; did you mean '{meant}'"):
        list_deployments()


def test_tables_of_others_are_theirs(files: Files) -> None:
    files.here.write_text(f"[embedding]\nmodel = 'x'\n{PROD}")
    assert list_deployments() == ["prod"]


def test_a_backend_in_place_of_a_deployment_is_told_how_it_is_opened(files: Files) -> None:
    with pytest.raises(InvalidOptionError, match="the backend 'memory' is opened by its settings: memory:key=value"):
        open_deployment("memory")


def test_a_deployment_in_two_files_is_ambiguous(files: Files, factory: CodeWeaverFactory) -> None:
    files.own.write_text(PROD)
    files.here.write_text(PROD)
    with pytest.raises(InvalidOptionError, match="name one of them by CODEWEAVER_CONFIG"):
        open_deployment("prod", factory=factory)
    assert open_deployment("prod", files.own, factory).config.timeout == 5


# --- secrets ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def prod_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEWEAVER_DEPLOYMENTS_PROD_API_KEY", SECRET)


THIEF = '[deployments.prod]\nbackend = "acme"\n{}\n'


@pytest.mark.parametrize("line", ['url = "http://thief:1"', 'host = "thief"', "port = 666", 'headers = {x = "y"}'])
@pytest.mark.usefixtures("prod_key")
def test_the_thiefs_file_gets_no_key(files: Files, factory: CodeWeaverFactory, line: str) -> None:
    files.here.write_text(THIEF.format(line))
    with pytest.raises(InvalidOptionError, match="api_key comes from CODEWEAVER_DEPLOYMENTS_PROD_API_KEY") as caught:
        open_deployment("prod", factory=factory)
    assert SECRET not in str(caught.value)
    assert "CODEWEAVER_CONFIG" in str(caught.value)


@pytest.mark.parametrize("line", ['url = "http://thief:1"', 'host = "thief"', "tls = false"])
def test_nor_does_it_by_the_table_of_an_engine(
    files: Files, factory: CodeWeaverFactory, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    files.here.write_text(f"[backends.acme]\n{line}\n")
    monkeypatch.setenv("CODEWEAVER_ACME_API_KEY", SECRET)
    for create in (
        lambda: factory.create_backend("acme"),
        lambda: open_deployment("acme:", factory=factory),
        AcmeConfig,
    ):
        with pytest.raises(InvalidOptionError, match="CODEWEAVER_ACME_API_KEY") as caught:
            create()
        assert SECRET not in str(caught.value)
    monkeypatch.delenv("CODEWEAVER_ACME_API_KEY")
    with pytest.raises(InvalidOptionError, match="api_key comes from an argument"):
        factory.create_backend("acme", api_key=SECRET)
    files.own.write_text(f'[backends.acme]\napi_key = "{SECRET}"\n')
    with pytest.raises(InvalidOptionError, match="api_key comes from"):
        factory.create_backend("acme")


def test_nor_by_naming_a_file_of_the_user(files: Files, factory: CodeWeaverFactory) -> None:
    key = files.own.parent / "key"
    key.write_text(SECRET)
    files.here.write_text(THIEF.format(f'url = "http://thief:1"\napi_key_file = "{key}"'))
    with pytest.raises(InvalidOptionError, match="api_key_file"):
        open_deployment("prod", factory=factory)
    files.here.write_text(f'[backends.acme]\nurl = "http://thief:1"\napi_key_file = "{key}"')
    with pytest.raises(InvalidOptionError, match="api_key_file"):
        factory.create_backend("acme")


@pytest.mark.usefixtures("prod_key")
def test_a_file_that_the_user_chose_is_trusted(
    files: Files, factory: CodeWeaverFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in (files.named, files.own):
        file.write_text(PROD)
    assert open_deployment("prod", factory=factory).key == SECRET, "the user's own"
    files.own.unlink()
    assert open_deployment("prod", files.named, factory).key == SECRET, "named by an argument"
    files.here.write_text(PROD)
    monkeypatch.setenv("CODEWEAVER_CONFIG", "codeweaver.toml")
    assert open_deployment("prod", factory=factory).key == SECRET, "named by the environment"


@pytest.mark.usefixtures("prod_key")
def test_an_address_of_the_environment_has_the_key_of_the_environment(
    files: Files, factory: CodeWeaverFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.here.write_text(PROD)
    monkeypatch.setenv("CODEWEAVER_DEPLOYMENTS_PROD_URL", "http://mine:1")
    backend = open_deployment("prod", factory=factory)
    assert (backend.config.url, backend.key, backend.config.timeout) == ("http://mine:1", SECRET, 5)


def test_a_secret_has_a_file(files: Files, factory: CodeWeaverFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    key = files.named.with_name("key")
    key.write_text(f"{SECRET}\n")
    files.own.write_text(PROD + f'api_key_file = "{key}"\n')
    assert open_deployment("prod", factory=factory).key == SECRET
    files.own.write_text(PROD)
    monkeypatch.setenv("CODEWEAVER_DEPLOYMENTS_PROD_API_KEY_FILE", str(key))
    assert open_deployment("prod", factory=factory).key == SECRET
    monkeypatch.setenv("CODEWEAVER_ACME_API_KEY_FILE", str(key))
    assert factory.create_backend("acme").key == SECRET
    for content in ("", "\n"):
        key.write_text(content)
        with pytest.raises(InvalidOptionError, match="is empty"):
            open_deployment("prod", factory=factory)
    key.unlink()
    with pytest.raises(InvalidOptionError, match="CODEWEAVER_DEPLOYMENTS_PROD_API_KEY_FILE names for api_key"):
        open_deployment("prod", factory=factory)


def test_a_secret_is_in_the_keyring(files: Files, factory: CodeWeaverFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    held = {("vectors", "prod"): SECRET, ("vectors", "api_key"): SECRET}
    ring = types.ModuleType("keyring")
    ring.get_password = lambda service, user: held.get((service, user))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "keyring", ring)
    for entry in ("vectors/prod", "vectors"):
        files.own.write_text(PROD + f'api_key_keyring = "{entry}"\n')
        assert open_deployment("prod", factory=factory).key == SECRET
    assert "api_key" not in get_deployment("prod", factory=factory).shown
    files.own.write_text(PROD)
    monkeypatch.setenv("CODEWEAVER_ACME_API_KEY_KEYRING", "vectors/prod")
    assert factory.create_backend("acme").key == SECRET
    monkeypatch.setenv("CODEWEAVER_DEPLOYMENTS_PROD_API_KEY_KEYRING", "vectors/nobody")
    with pytest.raises(
        InvalidOptionError, match="PROD_API_KEY_KEYRING names for api_key has no entry 'vectors', 'nobody'"
    ):
        open_deployment("prod", factory=factory)
    monkeypatch.delenv("CODEWEAVER_DEPLOYMENTS_PROD_API_KEY_KEYRING")
    files.own.write_text(PROD + 'api_key_keyring = "vectors"\napi_key_file = "key"\n')
    with pytest.raises(InvalidOptionError, match="sets both"):
        open_deployment("prod", factory=factory)

    def locked(*_: object) -> None:
        raise RuntimeError(f"the keyring of {SECRET} is locked")

    ring.get_password = locked  # type: ignore[attr-defined]
    files.own.write_text(PROD + 'api_key_keyring = "vectors"\n')
    with pytest.raises(InvalidOptionError, match="cannot be read: RuntimeError") as caught:
        open_deployment("prod", factory=factory)
    assert SECRET not in str(caught.value)
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(InvalidOptionError, match=r"pip install 'codeweaver-backends\[keyring\]'"):
        open_deployment("prod", factory=factory)


def test_a_strangers_file_names_no_keyring(files: Files, factory: CodeWeaverFactory) -> None:
    files.here.write_text(THIEF.format('url = "http://thief:1"\napi_key_keyring = "vectors/prod"'))
    with pytest.raises(InvalidOptionError, match="api_key_keyring"):
        open_deployment("prod", factory=factory)


def test_a_secret_in_clear_is_allowed_and_warned_of(files: Files, factory: CodeWeaverFactory) -> None:
    files.here.write_text(PROD + f'api_key = "{SECRET}"\n')
    with pytest.warns(ClearSecretWarning, match="holds api_key of the deployment 'prod' in clear") as told:
        assert open_deployment("prod", factory=factory).key == SECRET
    assert SECRET not in str(told[0].message)
    deployment = get_deployment("prod", factory=factory)
    assert SECRET not in repr(deployment)
    assert "api_key" not in deployment.shown
    files.here.write_text(PROD)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_deployment("prod", factory=factory)


# --- settings on a command line --------------------------------------------------------------------------------------


def test_settings_are_given_in_place_of_a_name(files: Files, factory: CodeWeaverFactory) -> None:
    backend = open_deployment("acme:url=http://x:1/a,b;c,timeout=3", factory=factory)
    assert (backend.config.url, backend.config.timeout) == ("http://x:1/a,b;c", 3)
    assert factory.create_backend("acme:timeout=3").config.timeout == 3
    assert open_deployment("acme:timeout=3", factory=factory, options={"timeout": 4}).config.timeout == 4
    found = get_deployment(f"acme:api_key={SECRET},port=3", factory=factory)
    assert (found.name, found.shown) == ("acme:api_key=***,port=3", {"port": "3"})
    assert SECRET not in repr(found)
    assert "every process" in found.warnings[0]


@pytest.mark.parametrize("where", [f"acme:{SECRET}", f"acme:={SECRET}", f"acme:x y={SECRET}"])
def test_malformed_settings_do_not_show(files: Files, factory: CodeWeaverFactory, where: str) -> None:
    with pytest.raises(InvalidOptionError, match="settings are spelt acme:key=value") as caught:
        open_deployment(where, factory=factory)
    assert SECRET not in str(caught.value)


def test_a_fresh_interpreter_opens_a_deployment(files: Files, tmp_path: Path) -> None:
    files.here.write_text('[deployments.mine]\nbackend = "memory"\ntimeout = 3\n')
    code = "from codeweaver_backends.deployments import open_deployment as o; print(o('mine').config.timeout)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "3.0\n", done.stderr
