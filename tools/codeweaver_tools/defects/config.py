"""Configuration: judged by nobody, or shown to everybody."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from codeweaver_backends.config import check_config
from codeweaver_backends.memory.plugin import MemoryPlugin
from codeweaver_backends.types import BaseComponentInfo, ValidationResult
from codeweaver_tools.defects.network import NetworkBackend, NetworkConfig, NetworkPlugin
from codeweaver_tools.defects.registry import plant
from codeweaver_tools.defects.rig import Rig


class _Judging(MemoryPlugin):
    @classmethod
    def get_plugin_name(cls) -> str:
        return "judging"

    @classmethod
    def get_component_info(cls) -> BaseComponentInfo:
        return BaseComponentInfo(name="judging")

    @classmethod
    def get_backend_class(cls) -> type:
        return Rig


@plant("cfg-validate-bool", "validate_config returns True.", side="above")
class _ValidateBool(_Judging):
    @classmethod
    def validate_config(cls, config: Any) -> Any:
        return True


@plant("cfg-validate-never", "validate_config finds an error in the configuration in use.", side="above")
class _ValidateNever(_Judging):
    @classmethod
    def validate_config(cls, config: Any) -> ValidationResult:
        return ValidationResult(is_valid=False, errors=["host is required"])


@plant("cfg-validate-raises", "validate_config raises.", side="above")
class _ValidateRaises(_Judging):
    @classmethod
    def validate_config(cls, config: Any) -> ValidationResult:
        raise KeyError("host")


@plant("cfg-validate-always", "validate_config is content with a wrong value.", side="above")
class _ValidateAlways(_Judging):
    @classmethod
    def validate_config(cls, config: Any) -> ValidationResult:
        return ValidationResult(is_valid=True)


@plant("cfg-validate-errors-as-warnings", "validate_config tells errors as warnings.", side="above")
class _ErrorsAsWarnings(_Judging):
    @classmethod
    def validate_config(cls, config: Any) -> ValidationResult:
        class_ = cls.get_config_class()
        judged = check_config(class_, config) if class_ else ValidationResult(is_valid=True)
        return ValidationResult(is_valid=True, warnings=[*judged.warnings, *judged.errors])


class _Loose(BaseModel):
    model_config = {"extra": "ignore"}

    timeout: Any = 30.0
    store: Any = None


@plant("cfg-unchecked", "Settings of any type are taken.", side="above")
class _Unchecked(_Judging):
    @classmethod
    def get_config_class(cls) -> type[BaseModel]:
        return _Loose


class _Shown(NetworkConfig):
    def __repr__(self) -> str:
        return f"NetworkConfig(host={self.host!r}, api_key={self.api_key and self.api_key.get_secret_value()!r})"

    __str__ = __repr__


class _ShowingBackend(NetworkBackend):
    def __init__(self, config: _Shown) -> None:
        super().__init__(config)


@plant("cfg-secret-shown", "The key is plain text in the configuration's repr.", side="above")
class _SecretShown(NetworkPlugin):
    @classmethod
    def get_plugin_name(cls) -> str:
        return "shown"

    @classmethod
    def get_component_info(cls) -> BaseComponentInfo:
        return BaseComponentInfo(name="shown")

    @classmethod
    def get_backend_class(cls) -> type:
        return _ShowingBackend

    @classmethod
    def get_config_class(cls) -> type[BaseModel]:
        return _Shown
