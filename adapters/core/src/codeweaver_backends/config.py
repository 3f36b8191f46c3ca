"""Configuration: arguments win over the environment, the environment over ``codeweaver.toml``, that over defaults.

A backend named ``qdrant`` reads ``CODEWEAVER_QDRANT_*`` and the table ``[backends.qdrant]`` of the file named by
``CODEWEAVER_CONFIG`` (default: ``codeweaver.toml`` in the working directory). Unknown settings, given by keyword
or in the file, are errors; secrets are ``SecretStr``, and no error shows a value.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from codeweaver_backends.errors import InvalidOptionError
from codeweaver_backends.types import ValidationResult

__all__ = ["BackendConfig", "EmbeddedConfig", "ServerConfig", "check_config", "describe_validation_error"]


class BackendConfig(BaseSettings):
    """What every backend can be told. Subclasses set ``backend``, the name in the environment and in the file."""

    model_config = SettingsConfigDict(extra="forbid", hide_input_in_errors=True, validate_default=True)

    backend: ClassVar[str] = ""

    timeout: float = Field(default=30.0, gt=0, le=3_600, description="Seconds for a read, or for a batch of a write")
    retries: int = Field(default=2, ge=0, le=10, description="Further tries of what is safe to retry, within timeout")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, environment, file."""
        return init_settings, env_settings, InitSettingsSource(settings_cls, cls._from_file())

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if cls.backend:
            cls.model_config["env_prefix"] = f"CODEWEAVER_{cls.backend.upper().replace('-', '_')}_"

    @classmethod
    def _from_file(cls) -> dict[str, Any]:
        named = os.environ.get("CODEWEAVER_CONFIG")
        file = Path(named or "codeweaver.toml")
        if not cls.backend or not (named or file.is_file()):
            return {}
        try:
            with file.open("rb") as stream:
                tables = tomllib.load(stream).get("backends", {})
        except (OSError, ValueError) as error:  # not there, no TOML, no UTF-8
            raise InvalidOptionError(f"the configuration file {str(file)!r} cannot be read: {error}") from None
        table = tables.get(cls.backend, {}) if isinstance(tables, dict) else None
        if not isinstance(table, dict):
            raise InvalidOptionError(f"backends.{cls.backend} of {str(file)!r} must be a table")
        return table


class ServerConfig(BackendConfig):
    """A backend that is reached over the network."""

    url: str | None = Field(default=None, description="http(s)://host:port; instead of host, port and tls")
    host: str = Field(default="127.0.0.1", min_length=1)
    port: int | None = Field(default=None, ge=1, le=65_535, description="The engine's own default if absent")
    tls: bool = False
    api_key: SecretStr | None = None
    max_connections: int = Field(default=16, ge=1, le=1_000)

    @field_validator("url")
    @classmethod
    def _no_credentials(cls, url: str | None) -> str | None:
        if url is not None and "@" in urlsplit(url).netloc:
            raise ValueError("credentials do not belong in the url, which is shown; use api_key")
        return url


class EmbeddedConfig(BackendConfig):
    """A backend that keeps its data in a folder of this machine."""

    path: Path = Field(description="The folder; it is created if absent")


def describe_validation_error(error: ValidationError) -> list[str]:
    """One line per mistake: the setting and what is wrong with it, never the value."""
    return [
        f"{'.'.join(str(part) for part in item['loc']) or 'configuration'}: {item['msg']}"
        for item in error.errors(include_input=False, include_url=False, include_context=False)
    ]


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
            config = config_class(**(config.model_dump() if isinstance(config, BaseModel) else dict(config)))
        except ValidationError as error:
            return ValidationResult(is_valid=False, errors=describe_validation_error(error))
        except ValueError as error:  # of the file, or of a value in the environment that is not even JSON
            return ValidationResult(is_valid=False, errors=[str(error)])
    return ValidationResult(is_valid=True, warnings=[warning for rule in rules for warning in rule(config)])
