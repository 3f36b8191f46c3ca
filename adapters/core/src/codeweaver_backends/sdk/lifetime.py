"""What every adapter has in common: lifetime, event loop, errors. A base class that an adapter extends, not a proxy."""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
import sys
import threading
import warnings
from collections.abc import Callable, Coroutine, Iterable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, ClassVar, Protocol, Self, TypeVar, cast, overload

from codeweaver_backends import protocols, telemetry
from codeweaver_backends.capabilities import BackendCapabilities
from codeweaver_backends.config import BackendConfig
from codeweaver_backends.errors import (
    BackendAuthenticationError,
    BackendClosedError,
    BackendConnectionError,
    BackendError,
    BackendTimeoutError,
    ConflictError,
    EngineError,
    RateLimitError,
    UnsupportedError,
)
from codeweaver_backends.sdk.secrets import scrub, secrets_of
from codeweaver_backends.types import PointId

__all__ = ["BaseBackend", "operation"]

Method = TypeVar("Method", bound=Callable[..., Coroutine[Any, Any, Any]])
ReadIds = Callable[[Any], Iterable[PointId]]

_FAILURES = (BackendAuthenticationError, BackendConnectionError, ConflictError, EngineError, RateLimitError)
"""What may keep a write that is in order from being done."""


class _Decorator(Protocol):
    def __call__(self, method: Method, /) -> Method: ...


@overload
def operation(method: Method) -> Method: ...
@overload
def operation(*, claim: str | None = None, ids: ReadIds | None = None) -> _Decorator: ...
def operation(method: Any = None, *, claim: str | None = None, ids: ReadIds | None = None) -> Any:
    """Make a method a call of the contract.

    It is refused on a closed backend, on a foreign event loop, in another process, and where ``claim`` is not claimed
    by the connected backend. It connects on first use. Whatever it raises is of the error tree, with backend, operation
    and collection filled in, the engine's exception as its cause, and no secret in either. Of a write, ``ids`` reads
    the points from the second argument: they are named by an error that does not say by itself what is not written.
    """
    if method is None:
        return functools.partial(operation, claim=claim, ids=ids)

    signature = inspect.signature(method)
    if method.__doc__ is None:
        method.__doc__ = _promised(method.__name__)

    @functools.wraps(method)
    async def call(self: BaseBackend, /, *args: Any, **kwargs: Any) -> Any:
        if ids is not None:
            if len(args) < 2:  # given by name: as a rule they are not, and binding costs more than all the rest here
                args, kwargs = signature.bind(self, *args, **kwargs).args[1:], {}
            if isinstance(args[1], Iterator):  # it can be read once; an attempt may have to be repeated
                args = (args[0], list(args[1]), *args[2:])
        observed = None
        if telemetry.observer is not None:
            name, given = _collection_of(args, kwargs), args[1] if ids is not None else None
            observed = telemetry.observer.begin(self, method.__name__, name, given)
        try:
            self._enter()
            if not self._is_open:
                await self._open()
            elif self._never_suspends:
                await asyncio.sleep(0)
            if claim is not None and not getattr(self.capabilities, claim):
                raise UnsupportedError(f"{claim} is not claimed by this backend", capability=claim)
            answer = await method(self, *args, **kwargs)
            if observed is not None:
                observed.end(answer, None)
            return answer
        except (Exception, asyncio.CancelledError) as error:
            told = self._told(error)
            if observed is not None:
                observed.end(None, told or error)
            if told is None:
                raise
            self._locate(told, method.__name__, _collection_of(args, kwargs))
            if ids is not None and isinstance(told, _FAILURES) and not told.ids:
                with suppress(Exception):  # malformed points are an error of their own
                    told.ids = tuple(ids(args[1]))
            if told is not error:
                told.__cause__ = error
            elif told.__cause__ is told:
                told.__cause__ = None  # ``raise self._unwritten(error) from error``, of an error that is ours already
            scrub(told, self._secrets)
            if told is error:
                raise
        except BaseException as error:  # somebody ends the program, or drops the coroutine
            if observed is not None:
                observed.end(None, error)
            raise
        raise told  # not in the handler: the engine's error would be its context, too, with what was scrubbed from it

    return call


def _promised(name: str) -> str | None:
    """What the protocols say of a call: an adapter's own call does not say it again."""
    found = (vars(one).get(name) for one in vars(protocols).values() if inspect.isclass(one))
    return next((one.__doc__ for one in found if getattr(one, "__doc__", None)), None)


def _collection_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
    name = args[0] if args else kwargs.get("collection_name", kwargs.get("name"))
    return name if isinstance(name, str) else None


def _is_cancelled() -> bool:
    """Whether somebody asked the running task to end."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


async def _wait_for(opening: Future[None]) -> None:
    """Wait for the connect in flight. Cancelling one waiter must not cancel the connect."""
    await asyncio.shield(asyncio.wrap_future(opening))


class BaseBackend:
    """Lifetime and error handling of an adapter.

    An adapter sets ``name``, overrides ``capabilities``, ``_connect``, ``_disconnect``, ``_ping`` and
    ``_translate_error``, and decorates each call of the protocol with ``operation``.
    """

    name: ClassVar[str]
    """The plugin's name."""
    any_loop: ClassVar[bool] = False
    """Whether calls may come from more than one event loop."""
    _never_suspends: ClassVar[bool] = False
    """Whether a call may end without having let go of the event loop once; then ``operation`` does."""
    _holds_nothing: bool = False
    """Whether forgetting an open backend leaves nothing open behind it."""
    filters_scanned: int = 0
    """Filters so far that the engine could not answer alone, so that the adapter read payloads and tested them."""

    def __init__(self, config: BackendConfig) -> None:
        self.config = config
        self._secrets = secrets_of(config)
        self._is_open = False
        self._is_closed = False
        self._process: int | None = None
        """The process that connected. A fork inherits the client, and with it nothing that can be used."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opening: Future[None] | None = None
        """There while somebody connects. Of no event loop, since those who wait for it may be of several."""
        self._guard = threading.Lock()

    # --- what an adapter overrides ---

    async def _load(self) -> None:
        """Import the client where that takes long, in a thread. No engine is asked, so the timeout is not running."""

    async def _connect(self) -> None:
        """Open the client. Called once, before the first call."""

    async def _disconnect(self) -> None:
        """Close the client. Called once, and only after ``_connect``."""

    def _abandon(self) -> None:
        """Let go of locks and threads of a backend that was never closed. Called without an event loop."""

    async def _ping(self) -> None:
        """Ask the engine something cheap that needs the credentials; raise if it does not answer."""
        raise self._not_written("_ping", "health_check")

    def _translate_error(self, error: Exception) -> BackendError | None:
        """The contract's error for an engine's, or ``None`` if it is not one of the engine's."""
        return None

    @property
    def capabilities(self) -> BackendCapabilities:
        """What is enforced now: before the first call the plugin's claims, afterwards what this server gives."""
        raise self._not_written("capabilities", "every call")

    @property
    def server_version(self) -> str | None:
        """The engine's own name and version, once connected; ``None`` where it tells none."""
        return None

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
        return await self.diagnose() is None

    async def diagnose(self) -> BackendError | None:
        """Why ``health_check`` says no; ``None`` where all is well. Never raises."""
        try:
            async with asyncio.timeout(self.config.timeout):
                await self._checked()
        except BackendError as error:
            return error
        except TimeoutError as error:
            told = self._translated(error)
            self._locate(told, "diagnose", None)
            return told
        return None

    @operation
    async def _checked(self) -> None:
        await self._ping()

    async def aclose(self) -> None:
        """Close for good: nothing stays open, and calls raise ``BackendClosedError``. A second time is no error."""
        if self._is_closed or self._is_forked():
            return
        self._is_closed = True
        opening = self._opening
        if opening is not None:
            await _wait_for(opening)  # a client that is being made is closed by who makes it
        await self._close()

    async def _close(self) -> None:
        with self._guard:
            was_open, self._is_open = self._is_open, False
        if was_open:
            try:
                await self._disconnect()
            except Exception as error:
                told = self._told(error)
                if told is None or isinstance(told, BackendClosedError):
                    return  # closed it is, one way or the other
                self._locate(told, "aclose", None)
                raise told from error

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    def __del__(self) -> None:
        # At the interpreter's end threads neither start nor end: there is nothing left to let go of.
        is_left_open = getattr(self, "_is_open", False) and not self._holds_nothing
        if is_left_open and not self._is_forked() and not sys.is_finalizing():
            self._is_open, self._is_closed = False, True
            with suppress(Exception):
                self._abandon()
            message = f"{self.name}: a backend was never closed; call aclose()"
            warnings.warn(message, ResourceWarning, stacklevel=2, source=self)

    def _enter(self) -> None:
        self._check_not_closed()
        if self._is_forked():
            raise BackendClosedError("the backend was opened in another process, before a fork; create one here")
        if not self.any_loop:
            loop = asyncio.get_running_loop()
            if self._loop is None:
                self._loop = loop
            elif self._loop is not loop:
                raise BackendClosedError(
                    "the backend belongs to the event loop that used it first; create one backend per event loop"
                )

    def _is_forked(self) -> bool:
        return self._process is not None and self._process != os.getpid()

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
            await _wait_for(opening)
        try:
            await self._load()
            async with asyncio.timeout(self.config.timeout):
                await self._connect()
            self._process, self._is_open = os.getpid(), True
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

    def _not_written(self, method: str, asked_by: str) -> NotImplementedError:
        """The author's mistake: a question is asked that the adapter does not answer."""
        return NotImplementedError(f"{type(self).__name__} does not override {method}, which {asked_by} needs")

    def _told(self, error: BaseException) -> BackendError | None:
        """The error to tell the caller; ``None`` if this one is to pass as it is: somebody cancelled the task."""
        if isinstance(error, asyncio.CancelledError):
            if _is_cancelled():
                return None
            # Nobody asked for it: a client that is closed cancels the calls that run on it.
            return self._ended() or BackendConnectionError("the engine's client gave up the call")
        told = self._translated(cast("Exception", error))
        if isinstance(told, _FAILURES) and not isinstance(told, BackendClosedError):
            ended = self._ended()
            if ended is not None:
                ended.ids, ended.state_unknown = told.ids, told.state_unknown
                return ended
        return told

    def _ended(self) -> BackendClosedError | None:
        return BackendClosedError("the backend was closed while the call ran") if self._is_closed else None

    def _locate(self, error: BackendError, operation_name: str, collection: str | None) -> None:
        error.backend = error.backend or self.name
        error.operation = error.operation or operation_name.lstrip("_")
        error.collection = error.collection or collection

    def _translated(self, error: Exception) -> BackendError:
        """The error of the contract for any exception."""
        if isinstance(error, BackendError):
            return error
        translated = self._translate_error(error)
        if translated is not None:
            return translated
        if isinstance(error, TimeoutError):
            return BackendTimeoutError(f"no answer within {self.config.timeout:g} s")
        if isinstance(error, OSError):
            return BackendConnectionError(f"the engine cannot be reached: {type(error).__name__}: {error}")
        return EngineError(f"{type(error).__name__}: {error}")
