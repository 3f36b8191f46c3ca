"""Settings of the pgvector backend."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from codeweaver_backends.config import Configures, ServerConfig, index_from

if TYPE_CHECKING:
    from codeweaver_pgvector.backend import PgvectorBackend  # noqa: F401

__all__ = ["PgvectorConfig"]

_LIBPQ_ALONE: Final = {
    *("channel_binding", "connect_timeout", "gssencmode", "hostaddr", "keepalives", "keepalives_count"),
    *("keepalives_idle", "keepalives_interval", "load_balance_hosts", "pgbouncer", "require_auth"),
    *("sslcompression", "sslsni", "tcp_user_timeout"),
}
"""Parameters of an address that asyncpg does not know, and would send to the server as settings."""
_SECRET: Final = frozenset({"password", "sslpassword"})
_ENCRYPTED: Final = frozenset({"require", "verify-ca", "verify-full"})


class PgvectorConfig(ServerConfig, Configures["PgvectorBackend"]):
    """A PostgreSQL server with pgvector. What is not set is had as libpq has it: ``PGHOST``, ``~/.pgpass``, …"""

    backend: ClassVar[str] = "pgvector"
    default_port: ClassVar[int | None] = 5432
    alternatives: ClassVar[Mapping[str, tuple[str, ...]]] = {"url": ("host", "port")}

    url: str | None = Field(
        default=None,
        description="postgresql://user:password@host:port/database?sslmode=…; user and password are taken out of it",
    )
    host: str = Field(default="127.0.0.1", min_length=1, description="If not set, PGHOST, or this machine")
    port: int | None = Field(default=None, ge=1, le=65_535, description="If not set, PGPORT, or 5432")
    tls: bool = Field(
        default=False,
        description="TLS, the certificate verified; else what sslmode or PGSSLMODE says: by default, if the server can",
    )
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
    index_from: int = index_from(20_000)
    lock_timeout: float = Field(
        default=5.0, gt=0, le=3_600, description="Seconds a write waits for another transaction before it is a conflict"
    )
    idle_timeout: float = Field(
        default=300.0, gt=0, le=86_400, description="Seconds without a call after which the server ends a transaction"
    )
    transaction_pooling: bool = Field(
        default=False,
        description="Behind a pooler whose connections are a transaction's (PgBouncer's transaction mode, Supabase's"
        " port 6543): nothing is kept in a session, neither settings nor prepared statements",
    )

    @model_validator(mode="before")
    @classmethod
    def _credentials_apart(cls, given: Any) -> Any:
        """Addresses come with user and password; an address is shown, so these go where they belong."""
        url = given.get("url") if isinstance(given, dict) else None
        if not isinstance(url, str):
            return given
        try:
            parts = urlsplit(url)
        except ValueError:
            return given  # told by the judge of addresses
        credentials, at, address = parts.netloc.rpartition("@")
        if not at:
            return given
        user, _, password = map(unquote, credentials.partition(":"))
        given = {**given, "url": _url(parts, address, parts.query)}
        if user and given.get("user") is None:
            given["user"] = user
        if password and given.get("password") is None and given.get("api_key") is None:
            given["password"] = password
        return given

    @field_validator("url")
    @classmethod
    def _judged_url(cls, url: str | None) -> str | None:
        if url is None:
            return None
        form = "must be of the form postgresql://user:password@host:port/database"
        try:
            parts = urlsplit(url)
            if "," not in parts.netloc:  # libpq knows lists of servers
                parts.port  # noqa: B018 - it is judged when it is read
            named = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
        except ValueError:
            raise ValueError(f"{form}; what is not of it must be percent-encoded") from None
        if parts.scheme not in ("postgresql", "postgres"):
            raise ValueError("must begin with postgresql://")
        if parts.fragment or "@" in parts.netloc + parts.path:
            raise ValueError(f"{form}; '@', '/' and '#' in a password must be percent-encoded")
        if _SECRET & named.keys():
            raise ValueError("must not hold a password as a parameter, because it is shown; use password")
        return url

    @model_validator(mode="after")
    def _one_password(self) -> PgvectorConfig:
        if self.password and self.api_key:
            raise ValueError("only one of password and api_key can be set")
        return self

    @model_validator(mode="after")
    def _tls_is_used(self) -> PgvectorConfig:
        if self.tls and self._parameters.get("sslmode", "require") not in _ENCRYPTED:
            raise ValueError("tls and the url's sslmode contradict each other")
        return self

    # --- as the client takes it ---

    @property
    def secret(self) -> str | None:
        """The password, by whichever name it was given."""
        given = self.password or self.api_key
        return given.get_secret_value() if given else None

    @property
    def connect_timeout(self) -> float:
        """Seconds for a connection to be made: the url's, where it says less than ``timeout``."""
        asked = self._parameters.get("connect_timeout", "")
        return min(self.timeout, int(asked)) if asked.isdecimal() and int(asked) else self.timeout

    @property
    def is_encrypted(self) -> bool:
        """Whether no connection is made without TLS."""
        return self.tls or self._parameters.get("sslmode", os.environ.get("PGSSLMODE", "")) in _ENCRYPTED

    def address_arguments(self) -> dict[str, Any]:
        """Where and as whom to connect, as asyncpg takes it. What is left out it has from libpq's environment."""
        given: dict[str, Any] = {"user": self.user, "password": self.secret, "database": self.database}
        if self.url:
            parts = urlsplit(self.url)
            kept = {name: value for name, value in self._parameters.items() if name not in _LIBPQ_ALONE}
            return {"dsn": _url(parts, parts.netloc, urlencode(kept)), **given}
        # Not set is not the default's address: then PGHOST, PGSERVICE and the socket of this machine are asked.
        return {"host": self.host if "host" in self.model_fields_set else None, "port": self.port, **given}

    def url_advice(self) -> Iterator[str]:
        """What of the url is not followed."""
        for name in sorted(self._parameters.keys() & (_LIBPQ_ALONE - {"connect_timeout"})):
            yield f"url: {name} is libpq's, and not followed here"
        if self._parameters.get("pgbouncer") == "true" and not self.transaction_pooling:
            yield "transaction_pooling: the url's pgbouncer=true asks for it"

    @property
    def _parameters(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.url).query)) if self.url else {}


def _url(parts: SplitResult, address: str, query: str) -> str:
    rest = (f"?{query}" if query else "") + (f"#{parts.fragment}" if parts.fragment else "")
    return f"{parts.scheme}://{address}{parts.path}{rest}"
