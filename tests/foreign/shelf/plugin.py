"""How the shelf presents itself."""

from typing import Any

from codeweaver.backends.base import VectorBackend
from codeweaver.cw_types import BaseCapabilities, BaseComponentInfo, ComponentType, ValidationResult
from codeweaver.factories.plugin_protocols import BackendPlugin
from pydantic import ValidationError

from .backend import CAPABILITIES, ShelfBackend
from .config import ShelfConfig


class ShelfPlugin(BackendPlugin):
    """A plug-in of the guide's shape."""

    location = "in-process"

    @classmethod
    def get_plugin_name(cls) -> str:
        return "shelf"

    @classmethod
    def get_component_type(cls) -> ComponentType:
        return ComponentType.BACKEND

    @classmethod
    def get_capabilities(cls) -> BaseCapabilities:
        return CAPABILITIES

    @classmethod
    def get_component_info(cls) -> BaseComponentInfo:
        return BaseComponentInfo(
            name="shelf",
            display_name="Shelf",
            description="Vectors in one SQLite file, compared one by one",
            component_type=ComponentType.BACKEND,
            version="1.0.0",
        )

    @classmethod
    def validate_config(cls, config: Any) -> ValidationResult:
        errors = []
        if not isinstance(config, ShelfConfig):
            try:
                config = ShelfConfig.model_validate(config)
            except ValidationError as error:
                errors = [one["msg"] for one in error.errors(include_input=False)]
        warnings = ["a timeout below a second is short"] if not errors and config.timeout < 1 else []
        return ValidationResult(is_valid=not errors, errors=errors, warnings=warnings)

    @classmethod
    def get_dependencies(cls) -> list[str]:
        return ["numpy", "pydantic"]

    @classmethod
    def get_backend_class(cls) -> type[VectorBackend]:
        return ShelfBackend
