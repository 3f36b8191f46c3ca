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
