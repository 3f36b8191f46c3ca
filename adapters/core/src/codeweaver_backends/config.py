"""Configuration: arguments win over the environment, the environment over ``codeweaver.toml``, that over defaults.

A backend named ``qdrant`` reads ``CODEWEAVER_QDRANT_*`` and the tables ``[backends.qdrant]`` of the files that
``codeweaver_backends.sources`` finds. A secret ``api_key`` may be in a file of its own, named by ``api_key_file``.
Unknown settings, given by keyword or in the file, are errors; secrets are ``SecretStr``, and no error shows a value.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Generic, Self, TypeVar
from urllib.parse import unquote, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from codeweaver_backends.sources import (
    SECRET_ENDINGS,
    Setting,
    is_isolated,
    mixed_sources,
    nearest,
    secret_fields,
    settings_files,
    with_secrets_read,
    without_alternatives,
)
from codeweaver_backends.types import ValidationResult

__all__ = [
    "SERVER_SETTINGS",
    "BackendConfig",
    "Configures",
    "EmbeddedConfig",
    "FilePath",
    "FolderPath",
    "ServerConfig",
    "TLSServerConfig",
    "check_config",
    "describe_validation_error",
    "index_from",
]

Backend_co = TypeVar("Backend_co", covariant=True)


class Configures(Generic[Backend_co]):
    """Tells a type checker which backend a configuration makes, without importing it.

    ``class LanceDBConfig(EmbeddedConfig, Configures["LanceDBBackend"])``: ``create_backend`` of one is a
    ``LanceDBBackend``. Of a configuration that does not say so, it is a ``Backend``.
    """


class BackendConfig(BaseSettings):
    """What every backend can be told. Subclasses set ``backend``, the name in the environment and in the file."""

    model_config = SettingsConfigDict(
        extra="forbid", hide_input_in_errors=True, validate_default=True, env_ignore_empty=True
    )

    backend: ClassVar[str] = ""
    alternatives: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Settings that say the same as others: by whichever source is the stronger one, in whichever of the two ways."""

    timeout: float = Field(default=30.0, gt=0, le=3_600, description="Seconds for a read, or for a batch of a write")
    retries: int = Field(default=2, ge=0, le=10, description="Further tries of what is safe to retry, within timeout")
    engine_options: dict[str, Any] = Field(
        default_factory=dict, description="The engine's own, for every collection that is created"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, environment, files."""
        if is_isolated() or not cls.backend:
            return (init_settings,)
        layers = [_settings(init_settings(), "an argument"), cls._from_environment(env_settings), *cls._from_files()]
        layers = [with_secrets_read(cls, layer) for layer in layers]
        layers = list(without_alternatives(cls.alternatives, layers))
        mixed_sources(cls, layers)
        return tuple(InitSettingsSource(settings_cls, {name: one.value for name, one in x.items()}) for x in layers)

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if cls.backend:
            cls.model_config["env_prefix"] = f"CODEWEAVER_{cls.backend.upper().replace('-', '_')}_"

    @classmethod
    def _from_environment(cls, source: PydanticBaseSettingsSource) -> dict[str, Setting]:
        prefix = str(cls.model_config["env_prefix"])
        found = {name: Setting(value, f"{prefix}{name.upper()}") for name, value in source().items()}
        for name in (f"{secret}_{ending}" for secret in secret_fields(cls) for ending in SECRET_ENDINGS):
            variable = f"{prefix}{name.upper()}"
            if os.environ.get(variable) and name not in cls.model_fields:
                found[name] = Setting(os.environ[variable], variable)
        return found

    @classmethod
    def _from_files(cls) -> list[dict[str, Setting]]:
        """The tables of this backend, the more important first."""
        return [
            _settings(file.table("backends", cls.backend), str(file.path), is_trusted=file.is_trusted)
            for file in reversed(settings_files())
        ]


def index_from(default: int) -> Any:
    """The setting of an engine that has an index: from how many points on it may be used."""
    return Field(default=default, ge=1_000, description="Points up to which every search is exact, without an index")


def _settings(values: Mapping[str, Any], source: str, *, is_trusted: bool = True) -> dict[str, Setting]:
    return {name: Setting(value, source, is_trusted) for name, value in values.items()}


def _header_value(secret: SecretStr | None) -> SecretStr | None:
    """A key as a header can carry it. Files and secret stores end what they hold with a newline, which is not part."""
    if secret is None:
        return None
    text = secret.get_secret_value().strip()
    if not text:
        return None
    if not text.isascii() or not text.isprintable():
        raise ValueError("must be printable ASCII: no header can carry anything else")
    return SecretStr(text)


def _resolved(path: object) -> object:
    """A path as it was meant: ``~``, ``..`` and ``file://`` are resolved once, when the settings are read."""
    if isinstance(path, str) and path.startswith("file://"):
        parts = urlsplit(path)
        if parts.netloc not in ("", "localhost"):
            raise ValueError("must be on this machine: file:///path")
        path = unquote(parts.path)
    if not isinstance(path, str | Path):
        return path
    if isinstance(path, str) and ("://" in path or not path.strip()):
        raise ValueError("must be a path of this machine")
    try:
        return Path(path).expanduser().absolute()
    except RuntimeError:
        raise ValueError("names the home of a user who is not known here") from None


def _readable(path: Path) -> Path:
    try:
        is_readable = path.is_file() and os.access(path, os.R_OK)
    except OSError:  # the name is too long, say
        is_readable = False
    if not is_readable:
        raise ValueError("must be a file that can be read")
    return path


SERVER_SETTINGS: Final = ("url", "host", "port", "tls", "ca_file", "client_cert_file", "client_key_file")
"""What says that a server is meant: the alternatives to the folder of an engine that can be either."""

FolderPath = Annotated[Path, BeforeValidator(_resolved)]
"""A folder, absolute."""

FilePath = Annotated[Path, BeforeValidator(_resolved), AfterValidator(_readable)]
"""A file of this machine that is there, absolute."""


class ServerConfig(BackendConfig):
    """A backend that is reached over the network. Its address is judged here, once, before anything connects."""

    default_port: ClassVar[int | None] = None
    """Where the engine listens if nobody says otherwise."""
    alternatives: ClassVar[Mapping[str, tuple[str, ...]]] = {"url": ("host", "port", "tls")}

    url: str | None = Field(default=None, description="http(s)://host:port; instead of host, port and tls")
    host: str = Field(default="127.0.0.1", min_length=1)
    port: int | None = Field(default=None, ge=1, le=65_535, description="The engine's own default if absent")
    tls: bool = False
    api_key: Annotated[SecretStr | None, AfterValidator(_header_value)] = None
    max_connections: int = Field(default=16, ge=1, le=1_000)
    proxy: bool = Field(
        default=True, description="Use the environment's proxy (HTTPS_PROXY, NO_PROXY); never for this machine itself"
    )

    @field_validator("url")
    @classmethod
    def _judged_url(cls, url: str | None) -> str | None:
        if url is None:
            return None
        try:
            parts = urlsplit(url)
            parts.port  # noqa: B018 - it is judged when it is read
        except ValueError:
            raise ValueError("must be of the form http(s)://host:port; its host or port cannot be read") from None
        if "@" in parts.netloc + parts.path:  # a key with a slash ends the host for whoever reads the address
            raise ValueError("must hold no credentials, because it is shown; use api_key")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must be of the form http(s)://host:port")
        if parts.query or parts.fragment:
            raise ValueError("must have neither a query nor a fragment")
        return url.rstrip("/")

    @field_validator("host")
    @classmethod
    def _judged_host(cls, host: str) -> str:
        bare = host.removeprefix("[").removesuffix("]")
        with suppress(ValueError):
            ip_address(bare.partition("%")[0])
            return bare
        if "@" in host:
            raise ValueError("must hold no credentials, because it is shown; use api_key")
        if "://" in host or "/" in host:
            raise ValueError("must be a name or an address alone; give a whole address as url")
        if ":" in host:
            raise ValueError("must not hold a port; give it as port")
        if not host.isprintable() or " " in host:
            raise ValueError("must be the name or the address of a machine")
        return host

    @model_validator(mode="after")
    def _said_in_one_way(self) -> Self:
        """Of alternatives, the source that is the stronger one has been followed; here one source gives two of them."""
        given = [name for name in type(self).model_fields if name in self.model_fields_set and getattr(self, name)]
        for one, others in self.alternatives.items():
            another = next((name for name in given if name in others and (one, name) != ("url", "tls")), None)
            if one in given and another is not None:
                raise ValueError(f"only one of {one} and {another} can be set")
        return self

    @model_validator(mode="after")
    def _tls_is_used(self) -> Self:
        if self.tls and self.url is not None and self.url.startswith("http:"):
            raise ValueError("tls and an http:// url contradict each other; use https://")
        return self

    @property
    def address(self) -> str:
        """The server's URL, without a path unless ``url`` has one."""
        if self.url is not None:
            return self.url
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = self.port or self.default_port
        return f"{'https' if self.tls else 'http'}://{host}{f':{port}' if port else ''}"

    @property
    def is_encrypted(self) -> bool:
        """Whether the way to the server is."""
        return self.address.startswith("https:")

    @property
    def uses_proxy(self) -> bool:
        """Whether a proxy of the environment may be asked: never for this machine, nor where ``proxy`` says no."""
        host = urlsplit(self.address).hostname or ""
        try:
            is_here = ip_address(host.partition("%")[0]).is_loopback
        except ValueError:
            is_here = host == "localhost" or host.endswith(".localhost")
        return self.proxy and not is_here

    def key_advice(self) -> Iterator[str]:
        """A warning where the key can be read on its way."""
        if self.api_key and not self.is_encrypted:
            yield "api_key: it is sent unencrypted without tls or an https url"


class TLSServerConfig(ServerConfig):
    """A server whose client can be told whom to trust, and what to show."""

    ca_file: FilePath | None = Field(
        default=None, description="With TLS: PEM file of the authorities that vouch for the server, not the system's"
    )
    client_cert_file: FilePath | None = Field(
        default=None, description="With TLS: PEM file of a certificate to show to the server"
    )
    client_key_file: FilePath | None = Field(default=None, description="PEM file of the certificate's key, unencrypted")

    @model_validator(mode="after")
    def _tls_files_are_of_use(self) -> Self:
        files = {name: getattr(self, name) for name in ("ca_file", "client_cert_file", "client_key_file")}
        given = [name for name, file in files.items() if file is not None]
        if given and not self.is_encrypted:
            raise ValueError(f"{given[0]} is of no use without tls or an https:// url")
        if (self.client_cert_file is None) != (self.client_key_file is None):
            raise ValueError("client_cert_file and client_key_file are needed together")
        try:
            self.tls_context()
        except OSError:  # of ssl too
            raise ValueError(f"{' and '.join(given)}: nothing in PEM form can be read there that fits") from None
        return self

    def tls_context(self) -> ssl.SSLContext | None:
        """What a client of Python's ``ssl`` is given; ``None`` where it may do what it does by itself."""
        if self.ca_file is None and self.client_cert_file is None:
            return None
        context = ssl.create_default_context(cafile=self.ca_file)
        if self.client_cert_file is not None:
            # A key that asks for a password would be asked for on the terminal.
            context.load_cert_chain(self.client_cert_file, self.client_key_file, password=lambda: b"")
        return context

    def tls_content(self) -> dict[str, bytes]:
        """The files' contents, by the names of ``grpc.ssl_channel_credentials``; what was not given is not there."""
        files = {
            "root_certificates": self.ca_file,
            "private_key": self.client_key_file,
            "certificate_chain": self.client_cert_file,
        }
        return {name: file.read_bytes() for name, file in files.items() if file is not None}


class EmbeddedConfig(BackendConfig):
    """A backend that keeps its data in a folder of this machine."""

    path: FolderPath = Field(description="The folder; it is created if absent")


def describe_validation_error(error: ValidationError, known: Iterable[str]) -> list[str]:
    """One line per mistake: the setting and what is wrong, never the value. ``known`` are the names of all settings."""
    names = list(known)
    lines = []
    for item in error.errors(include_input=False, include_url=False, include_context=False):
        name, told = ".".join(map(str, item["loc"])) or "configuration", item["msg"]
        if item["type"] == "extra_forbidden":
            told = f"there is no such setting{nearest(name, names)}"
        lines.append(f"{name}: {told}")
    return lines


def _said(config: BaseModel, config_class: type[BaseModel]) -> dict[str, Any]:
    """What a model of another class says; a default that both have is nothing that anybody said."""
    defaults = {name: field.default for name, field in config_class.model_fields.items()}
    return {name: one for name, one in config.model_dump().items() if name not in defaults or one != defaults[name]}


def check_config(
    config_class: type[BaseModel],
    config: object,
    *rules: Callable[[Any], Iterable[str]],
) -> ValidationResult:
    """Validate a configuration (an instance or a mapping). Each rule looks at a valid one and gives warnings."""
    if not isinstance(config, config_class):
        if not isinstance(config, BaseModel | Mapping):
            kind = type(config).__name__
            return ValidationResult(is_valid=False, errors=[f"configuration must be a model or a dict, not a {kind}"])
        try:
            config = config_class(**(_said(config, config_class) if isinstance(config, BaseModel) else dict(config)))
        except ValidationError as error:
            return ValidationResult(is_valid=False, errors=describe_validation_error(error, config_class.model_fields))
        except ValueError as error:  # of the file, or of a value in the environment that is not even JSON
            return ValidationResult(is_valid=False, errors=[str(error)])
    return ValidationResult(is_valid=True, warnings=[warning for rule in rules for warning in rule(config)])
