"""Settings of the LanceDB backend."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field, SecretStr, field_validator

from codeweaver_backends.config import BackendConfig

__all__ = ["LanceDBConfig"]

_SCHEMES = ("s3", "gs", "az", "memory")


class LanceDBConfig(BackendConfig):
    """Where the data is: a folder of this machine, or a bucket."""

    backend: ClassVar[str] = "lancedb"

    path: Annotated[str, BeforeValidator(lambda path: os.fspath(path) if isinstance(path, Path) else path)] = Field(
        min_length=1, description="A folder, created if absent, or s3://…, gs://…, az://…"
    )
    storage_options: dict[str, SecretStr] = Field(
        default={}, description="Credentials and endpoint of the object store, by the engine's names for them"
    )

    @field_validator("path")
    @classmethod
    def _known_scheme(cls, path: str) -> str:
        scheme, separator, _ = path.partition("://")
        if separator and scheme == "db":
            raise ValueError("LanceDB Cloud (db://) is not supported: give a folder or an object store")
        if separator and scheme not in _SCHEMES:
            raise ValueError(
                f"the scheme {scheme}:// is not supported; supported are a folder and {', '.join(_SCHEMES)}"
            )
        return path

    @property
    def folder(self) -> Path | None:
        """The folder, absolute, or ``None`` for an object store."""
        return None if "://" in self.path else Path(self.path).expanduser().absolute()
