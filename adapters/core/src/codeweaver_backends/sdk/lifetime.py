"""What every adapter has in common: lifetime, event loop, errors. No wrapper: a base class that an adapter extends."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, ClassVar, Self, TypeVar, cast

from codeweaver_backends.capabilities import BackendCapabilities
from codeweaver_backends.config import BackendConfig
from codeweaver_backends.errors import BackendClosedError, BackendConnectionError, BackendError, BackendTimeoutError

__all__ = ["BaseBackend", "operation"]

Method = TypeVar("Method", bound=Callable[..., Coroutine[Any, Any, Any]])


def operation(method: Method) -> Method:
    """Make a method a call of the contract.

    It is refused on a closed backend and on a foreign event loop, connects on first use, and whatever it raises is of
    the error tree, with backend, operation and collection filled in and the engine's exception as its cause.
    """

    @functools.wraps(method)
    async def call(self: BaseBackend, /, *args: Any, **kwargs: Any) -> Any:
        try:
            self._enter()
            if not self._is_open:
                await self._open()
            return await method(self, *args, **kwargs)
        except BackendError as error:
            self._locate(error, method.__name__, _collection_of(args, kwargs))
            raise
        except Exception as error:
            translated = self._translated(error)
            self._locate(translated, method.__name__, _collection_of(args, kwargs))
            raise translated from error

    return cast("Method", call)


def _collection_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
    name = args[0] if args else kwargs.get("collection_name", kwargs.get("name"))
    return name if isinstance(name, str) else None


async def _over(opening: Future[None]) -> None:
    """Wait until it is over. Who no longer waits ends it for nobody else."""
    await asyncio.shield(asyncio.wrap_future(opening))


class BaseBackend:
    """Lifetime and error handling of an adapter.

    An adapter sets ``name``, overrides ``_connect``, ``_disconnect``, ``_ping`` and
    ``_translate_error``, and decorates each call of the protocol with ``operation``.
    """

    name: ClassVar[str]
    """The plugin's name."""
    any_loop: ClassVar[bool] = False
    """Whether calls may come from more than one event loop."""
    filters_scanned: int = 0
    """Filters so far that the engine could not answer alone, so that the adapter read payloads and tested them."""

    def __init__(self, config: BackendConfig) -> None:
        self.config = config
        self._is_open = False
        self._is_closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opening: Future[None] | None = None
        """There while somebody connects. Of no event loop, since those who wait for it may be of several."""
        self._guard = threading.Lock()

    # --- what an adapter overrides ---

    async def _connect(self) -> None:
        """Open the client. Called once, before the first call."""

    async def _disconnect(self) -> None:
        """Close the client. Called once, and only after ``_connect``."""

    async def _ping(self) -> None:
        """Ask the engine something cheap that needs the credentials; raise if it does not answer."""
        raise NotImplementedError

    def _translate_error(self, error: Exception) -> BackendError | None:
        """The contract's error for an engine's, or ``None`` if it is not one of the engine's."""
        return None

    @property
    def capabilities(self) -> BackendCapabilities:
        """What is enforced now: before the first call the plugin's claims, afterwards what this server gives."""
        raise NotImplementedError

    # --- lifetime ---

    async def get_capabilities(self) -> BackendCapabilities:
        """Connect if need be, and tell what this server and version give."""
        await self._ready()
        return self.capabilities

    @operation
    async def _ready(self) -> None:
        """Connect, as any call does."""

    async def health_check(self) -> bool:
        """Whether the engine answers and accepts us. Never raises, changes nothing, leaves the client usable."""
        try:
            async with asyncio.timeout(self.config.timeout):
                await self._checked()
        except Exception:  # noqa: BLE001 - any failure at all is the answer "no"
            return False
        return True

    @operation
    async def _checked(self) -> None:
        await self._ping()

    async def aclose(self) -> None:
        """Close for good: nothing stays open, and calls raise ``BackendClosedError``. A second time is no error."""
        if self._is_closed:
            return
        self._is_closed = True
        opening = self._opening
        if opening is not None:
            await _over(opening)  # a client that is being made is closed by who makes it
        await self._close()

    async def _close(self) -> None:
        with self._guard:
            was_open, self._is_open = self._is_open, False
        if was_open:
            await self._disconnect()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    def _enter(self) -> None:
        self._check_not_closed()
        if not self.any_loop:
            loop = asyncio.get_running_loop()
            if self._loop is None:
                self._loop = loop
            elif self._loop is not loop:
                raise BackendClosedError(
                    "the backend belongs to the event loop that used it first; create one backend per event loop"
                )

    async def _open(self) -> None:
        while True:
            self._check_not_closed()
            with self._guard:
                if self._is_open:
                    return
                opening = self._opening
                if opening is None:
                    self._opening = mine = Future[None]()
                    break
            await _over(opening)
        try:
            await self._connect()
            self._is_open = True
            if self._is_closed:
                await self._close()
        finally:
            self._opening = None
            mine.set_result(None)
        self._check_not_closed()

    def _check_not_closed(self) -> None:
        if self._is_closed:
            raise BackendClosedError("the backend is closed")

    # --- errors ---

    def _locate(self, error: BackendError, operation_name: str, collection: str | None) -> None:
        error.backend = error.backend or self.name
        error.operation = error.operation or operation_name.lstrip("_")
        error.collection = error.collection or collection

    def _translated(self, error: Exception) -> BackendError:
        translated = self._translate_error(error)
        if translated is not None:
            return translated
        if isinstance(error, TimeoutError):
            return BackendTimeoutError(f"no answer within {self.config.timeout:g} s")
        return BackendConnectionError(f"the engine failed: {type(error).__name__}: {error}")
