"""Settings of the LanceDB backend."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, ClassVar, Final
from urllib.parse import urlsplit
from urllib.request import url2pathname

from pydantic import BeforeValidator, Field, SecretStr, field_validator

from codeweaver_backends.config import BackendConfig

__all__ = ["LanceDBConfig"]

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(?=//)|(s3|gs|az|db|file|memory):", re.IGNORECASE)
"""The scheme of what is no path. One letter alone is a drive."""
_STORE: Final = re.compile(r"(s3|gs|az)://[A-Za-z0-9][A-Za-z0-9._-]*(/[^?#]*)?")
_MEMORY: Final = "memory://"


class LanceDBConfig(BackendConfig):
    """Where the data is: a folder of this machine, or a bucket."""

    backend: ClassVar[str] = "lancedb"

    path: Annotated[str, BeforeValidator(lambda path: os.fspath(path) if isinstance(path, Path) else path)] = Field(
        min_length=1,
        description="A folder, created if absent; or s3://bucket/…, gs://bucket/…, az://container/…; or memory://",
    )
    storage_options: dict[str, SecretStr] = Field(
        default={}, description="Credentials and endpoint of the object store, by the engine's names for them"
    )

    @field_validator("path")
    @classmethod
    def _resolved(cls, path: str) -> str:
        """A folder is made absolute once, so that every process and every later call means the same one."""
        found = _SCHEME.match(path)
        scheme = (found[1] or found[2]).lower() if found is not None else "file"
        if found is not None and scheme != "file":
            return _store(scheme, scheme + path[found.end(found.lastindex or 0) :])
        try:
            return str(Path(path if found is None else _folder_of(path)).expanduser().resolve())
        except (OSError, RuntimeError) as error:  # no home, a loop of links
            raise ValueError(f"not a folder: {error}") from None

    @field_validator("storage_options")
    @classmethod
    def _stripped(cls, options: dict[str, SecretStr]) -> dict[str, SecretStr]:
        """Files and clusters hand keys out with a newline at the end, which no header can carry."""
        return {name: SecretStr(secret.get_secret_value().strip()) for name, secret in options.items()}

    @property
    def folder(self) -> Path | None:
        """The folder, absolute, or ``None`` for an object store or the memory."""
        return None if "://" in self.path else Path(self.path)


def _store(scheme: str, uri: str) -> str:
    if uri == _MEMORY or _STORE.fullmatch(uri):
        return uri
    if scheme == "db":
        raise ValueError("LanceDB Cloud (db://) is not supported: give a folder or an object store")
    if scheme in ("s3", "gs", "az"):
        raise ValueError(
            f"an object store is given as {scheme}://bucket/prefix; credentials and options belong in storage_options"
        )
    raise ValueError("the scheme is not supported; supported are a folder, file:///, s3://, gs://, az:// and memory://")


def _folder_of(uri: str) -> str:
    parts = urlsplit(uri)
    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/") or parts.query or parts.fragment:
        raise ValueError("a folder of this machine is given as file:///absolute/path")
    return url2pathname(parts.path)
