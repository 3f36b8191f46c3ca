"""Settings of the LanceDB backend."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final

from pydantic import BeforeValidator, Field, SecretStr, TypeAdapter, ValidationError, field_validator

from codeweaver_backends.config import BackendConfig, Configures, FolderPath, index_from

if TYPE_CHECKING:
    from codeweaver_lancedb.backend import LanceDBBackend  # noqa: F401 - named in quotes, which the linter does not read

__all__ = ["LanceDBConfig"]

_SCHEME: Final = re.compile(r"([a-z][a-z0-9+.-]+)://|(s3|gs|az|db|memory):", re.IGNORECASE)
"""The scheme of what is no path. One letter alone is a drive."""
_STORE: Final = re.compile(r"(s3|gs|az)://[A-Za-z0-9][A-Za-z0-9._-]*(/[^?#]*)?")
_FOLDER: Final = TypeAdapter(FolderPath)


def _place(path: Any) -> Any:
    """A folder, made absolute once, so that every later call means the same one; or an object store's address."""
    found = _SCHEME.match(path) if isinstance(path, str) else None
    scheme = (found[1] or found[2]).lower() if found is not None else "file"
    if scheme == "file":
        try:
            return str(_FOLDER.validate_python(path))
        except ValidationError as error:
            raise ValueError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None
        except RuntimeError:
            raise ValueError("must be a folder of this machine, and there is no such home") from None
    if path == "memory://" or _STORE.fullmatch(path):
        return path
    if scheme in ("s3", "gs", "az"):
        raise ValueError(f"must be {scheme}://bucket/prefix; credentials and options belong in storage_options")
    if scheme == "db":
        raise ValueError("LanceDB Cloud (db://) is not supported: give a folder or an object store")
    raise ValueError("must be a folder, file:///…, s3://…, gs://…, az://… or memory://: no other scheme is supported")


class LanceDBConfig(BackendConfig, Configures["LanceDBBackend"]):
    """Where the data is: a folder of this machine, or a bucket."""

    backend: ClassVar[str] = "lancedb"

    path: Annotated[str, BeforeValidator(_place)] = Field(
        description="A folder, created if absent; or s3://bucket/…, gs://bucket/…, az://container/…; or memory://"
    )
    storage_options: dict[str, SecretStr] = Field(
        default={}, description="Credentials and endpoint of the object store, by the engine's names for them"
    )

    index_from: int = index_from(200_000)

    @field_validator("storage_options")
    @classmethod
    def _stripped(cls, options: dict[str, SecretStr]) -> dict[str, SecretStr]:
        """Files and clusters hand keys out with a newline at the end, which no header can carry.

        One with anything else of that kind in it would end a thread of the engine, with a trace on stderr.
        """
        texts = {name: secret.get_secret_value().strip() for name, secret in options.items()}
        for name, text in texts.items():
            # A service account's key is a document, and never a header.
            if "service_account" not in name.lower() and not (text.isascii() and text.isprintable()):
                raise ValueError(f"{name} must be printable ASCII: no header can carry anything else")
        return {name: SecretStr(text) for name, text in texts.items()}

    @property
    def folder(self) -> Path | None:
        """The folder, absolute, or ``None`` for an object store or the memory."""
        return None if "://" in self.path else Path(self.path)
