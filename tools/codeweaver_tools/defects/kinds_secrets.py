"""Secrets: of other names, in logs and notes, echoed by a server, in what a client says of an impossible key."""

from __future__ import annotations

import logging
from typing import Any, ClassVar

import orjson
from pydantic import BaseModel, SecretStr, field_validator

from codeweaver_backends.errors import BackendConnectionError
from codeweaver_tools.defects.network import NetworkBackend, NetworkConfig, NetworkPlugin
from codeweaver_tools.defects.registry import plant


class _Open(NetworkConfig):
    """Takes any key."""

    api_key: SecretStr | None = None


class _Bare(NetworkBackend):
    """Without the core's broom, which takes secrets out of messages."""

    class plugin(NetworkPlugin):  # noqa: N801 - as the registry looks for it
        @classmethod
        def get_config_class(cls) -> type[BaseModel] | None:
            return _Open

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        self._secrets = ()


@plant("sek-echo", "An answer that cannot be read is part of the message, whatever it holds.")
class _Echo(_Bare):
    async def exchange(self, call: str, *arguments: Any) -> Any:
        try:
            return await super().exchange(call, *arguments)
        except (KeyError, orjson.JSONDecodeError) as error:
            raise BackendConnectionError(f"this is no answer: {call} of {self.key!r}") from error


@plant("sek-newline", "A key with a newline is shown: the client says that it is no header.")
class _Newline(_Bare):
    async def exchange(self, call: str, *arguments: Any) -> Any:
        if not self.key.isprintable():
            raise ValueError(f"Illegal header value {self.key.encode()!r}")
        return await super().exchange(call, *arguments)


@plant("sek-non-ascii", "A key that is not ASCII is in the cause: an error of the codec holds the text.")
class _NonAscii(_Bare):
    async def exchange(self, call: str, *arguments: Any) -> Any:
        self.key.encode("ascii")
        return await super().exchange(call, *arguments)


@plant("sek-logged", "The key is logged, at the level of debugging.")
class _Logged(NetworkBackend):
    async def exchange(self, call: str, *arguments: Any) -> Any:
        logging.getLogger("reference").debug("asking for %s with %s", call, self.key)
        return await super().exchange(call, *arguments)


@plant("sek-note", "The key is in a note on the error's cause.")
class _Note(_Bare):
    async def exchange(self, call: str, *arguments: Any) -> Any:
        try:
            return await super().exchange(call, *arguments)
        except OSError as error:
            error.add_note(f"authorization: {self.key}")
            raise


class _Phrase(_Open):
    phrase: SecretStr | None = None


@plant("sek-other-name", "A secret by another name than those one knows is part of the message.")
class _OtherName(_Bare):
    class plugin(NetworkPlugin):  # noqa: N801 - as the registry looks for it
        @classmethod
        def get_config_class(cls) -> type[BaseModel] | None:
            return _Phrase

    config: _Phrase

    async def exchange(self, call: str, *arguments: Any) -> Any:
        try:
            return await super().exchange(call, *arguments)
        except OSError as error:
            phrase = self.config.phrase.get_secret_value() if self.config.phrase else ""
            raise BackendConnectionError(f"cannot connect with {phrase}") from error


class _AnyUrl(NetworkConfig):
    backend: ClassVar[str] = "reference"

    @field_validator("url")
    @classmethod
    def _judged_url(cls, url: str | None) -> str | None:
        return url


@plant("sek-url", "A url with a password in it is taken, and shown.")
class _Url(NetworkBackend):
    class plugin(NetworkPlugin):  # noqa: N801 - as the registry looks for it
        @classmethod
        def get_config_class(cls) -> type[BaseModel] | None:
            return _AnyUrl
