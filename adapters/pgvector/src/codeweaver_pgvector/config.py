"""Settings of the pgvector backend."""

from __future__ import annotations

from typing import ClassVar
from urllib.parse import parse_qs, urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from codeweaver_backends.config import ServerConfig

__all__ = ["PgvectorConfig"]


class PgvectorConfig(ServerConfig):
    """A PostgreSQL server with pgvector. What is not set is had as libpq has it: ``PGUSER``, ``~/.pgpass``, …"""

    backend: ClassVar[str] = "pgvector"

    url: str | None = Field(
        default=None,
        description="postgresql://host:port/database; instead of host, port and database, and without a password",
    )
    port: int | None = Field(default=None, ge=1, le=65_535, description="5432 if absent")
    api_key: SecretStr | None = Field(default=None, description="The password, by the name other servers have for it")
    user: str | None = Field(default=None, min_length=1)
    password: SecretStr | None = None
    database: str | None = Field(default=None, min_length=1, description="If absent, that of the user's name")
    db_schema: str = Field(
        default="codeweaver",
        pattern=r"^[a-z_][a-z0-9_]{0,62}$",
        description="The schema that holds every table of this backend; it is created with the first collection",
    )
    max_transactions: int = Field(
        default=8, ge=1, le=1_000, description="Open at once; each has a connection beside max_connections"
    )
    lock_timeout: float = Field(
        default=5.0, gt=0, le=3_600, description="Seconds a write waits for another transaction before it is a conflict"
    )
    idle_timeout: float = Field(
        default=300.0, gt=0, le=86_400, description="Seconds without a call after which the server ends a transaction"
    )

    @property
    def secret(self) -> str | None:
        """The password, by whichever name it was given."""
        given = self.password or self.api_key
        return given.get_secret_value() if given else None

    @model_validator(mode="after")
    def _one_password(self) -> PgvectorConfig:
        if self.password and self.api_key:
            raise ValueError("only one of password and api_key can be set")
        return self

    @field_validator("url")
    @classmethod
    def _is_postgresql(cls, url: str | None) -> str | None:
        if url is not None:
            parts = urlsplit(url)
            if parts.scheme not in ("postgresql", "postgres"):
                raise ValueError("must begin with postgresql://")
            if "password" in parse_qs(parts.query):
                raise ValueError("must not hold a password, because it is shown; use password")
        return url
