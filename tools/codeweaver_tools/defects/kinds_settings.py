"""Settings: unknown, negative, of the wrong kind, and transport security that is asked for and not used."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any, ClassVar

from pydantic import BaseModel, Field
from pydantic_settings import SettingsConfigDict

from codeweaver_backends.memory import MemoryPlugin
from codeweaver_backends.memory.config import MemoryConfig
from codeweaver_tools.defects.network import NetworkBackend, NetworkConfig, NetworkPlugin
from codeweaver_tools.defects.registry import plant
from codeweaver_tools.defects.rig import Rig
from codeweaver_tools.defects.server import LINE


class _Loose(MemoryConfig):
    model_config = SettingsConfigDict(extra="ignore")


class _Negative(MemoryConfig):
    timeout: float = Field(default=30.0)


class _Retries(MemoryConfig):
    retries: int = Field(default=2)


class _LooseServer(NetworkConfig):
    model_config = SettingsConfigDict(extra="ignore")


def _plugin(config: type[BaseModel], base: type[Any] = MemoryPlugin) -> type[Any]:
    class Configured(base):
        @classmethod
        def get_config_class(cls) -> type[BaseModel] | None:
            return config

    return Configured


@plant("set-unknown", "Settings of unknown names are taken and forgotten.", side="above")
class _Unknown(Rig):
    plugin: ClassVar[type[Any]] = _plugin(_Loose)


@plant("set-negative-timeout", "A negative timeout is taken.", side="above")
class _NegativeTimeout(Rig):
    plugin: ClassVar[type[Any]] = _plugin(_Negative)


@plant("set-negative-retries", "A negative number of retries is taken.", side="above")
class _NegativeRetries(Rig):
    plugin: ClassVar[type[Any]] = _plugin(_Retries)


@plant("set-unknown-server", "A misspelt setting of a server's is taken: it talks without what was asked for.")
class _UnknownServer(NetworkBackend):
    plugin = _plugin(_LooseServer, NetworkPlugin)


@plant("set-tls-ignored", "tls=True is taken, and the key is sent in the clear.")
class _TlsIgnored(NetworkBackend):
    async def connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(*self.address, limit=LINE)


@plant("set-tls-unchecked", "With tls=True any certificate will do.")
class _TlsUnchecked(NetworkBackend):
    async def connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return await asyncio.open_connection(*self.address, limit=LINE, ssl=context if self.config.tls else None)


class _OtherTrust(NetworkBackend):
    """Trusts in another way than the configuration says."""

    def context(self) -> ssl.SSLContext | None:
        return self.config.tls_context() or (ssl.create_default_context() if self.config.tls else None)

    async def connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(*self.address, limit=LINE, ssl=self.context())


@plant("set-authority-ignored", "ca_file is taken, and only the system's authorities count.")
class _AuthorityIgnored(_OtherTrust):
    def context(self) -> ssl.SSLContext | None:
        return ssl.create_default_context() if self.config.tls else None


@plant("set-authority-unchecked", "With ca_file any certificate will do.")
class _AuthorityUnchecked(_OtherTrust):
    def context(self) -> ssl.SSLContext | None:
        context = super().context()
        if context is not None and self.config.ca_file is not None:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context


@plant("set-authority-name", "With ca_file the certificate may be of any name.")
class _AnyName(_OtherTrust):
    def context(self) -> ssl.SSLContext | None:
        context = super().context()
        if context is not None and self.config.ca_file is not None:
            context.check_hostname = False
        return context


@plant("set-client-certificate", "client_cert_file and client_key_file are taken, and never shown.")
class _NoClientCertificate(_OtherTrust):
    def context(self) -> ssl.SSLContext | None:
        return ssl.create_default_context(cafile=self.config.ca_file) if self.config.tls else None
