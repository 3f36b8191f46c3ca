"""Settings of the Milvus backend: a folder of this machine, or a server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field, field_validator, model_validator

from codeweaver_backends.config import SERVER_SETTINGS, FolderPath, TLSServerConfig

__all__ = ["MilvusConfig"]


class MilvusConfig(TLSServerConfig):
    """With ``path`` Milvus Lite in this process; without it the server at ``url``, or at ``host`` and ``port``."""

    backend: ClassVar[str] = "milvus"
    default_port: ClassVar[int | None] = 19_530
    alternatives: ClassVar[Mapping[str, tuple[str, ...]]] = {**TLSServerConfig.alternatives, "path": SERVER_SETTINGS}

    path: FolderPath | None = Field(
        default=None, description="A Milvus Lite database, a folder whose name ends in .db; it is created if absent"
    )
    database: str = Field(default="", description="The database on the server; its default one if empty")

    @field_validator("path")
    @classmethod
    def _is_database(cls, path: FolderPath | None) -> FolderPath | None:
        if path is not None and path.suffix != ".db":
            raise ValueError("the name of a Milvus Lite database must end in .db")
        return path

    @field_validator("url")
    @classmethod
    def _has_no_path(cls, url: str | None) -> str | None:
        if url is not None and url.count("/") > 2:  # the client takes it for the name of a database
            raise ValueError("must have no path; name a database by the setting database")
        return url

    @model_validator(mode="after")
    def _certificates_are_both_used(self) -> MilvusConfig:
        if self.client_cert_file is not None and self.ca_file is None:
            raise ValueError(
                "client_cert_file needs ca_file: pymilvus shows a certificate only to an authority's server"
            )
        return self

    def tls_options(self) -> dict[str, str]:
        """The files by the names of pymilvus."""
        if self.client_cert_file is None:
            return {} if self.ca_file is None else {"server_pem_path": str(self.ca_file)}
        return {
            "ca_pem_path": str(self.ca_file),
            "client_pem_path": str(self.client_cert_file),
            "client_key_path": str(self.client_key_file),
        }
