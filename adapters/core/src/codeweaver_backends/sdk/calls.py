"""Calls of an engine: bounded in time, tried again where that is safe, and off the event loop where they are long."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

__all__ = ["SEARCHES_AT_ONCE", "Underway", "in_thread", "off_loop", "pause_before", "retried"]

T = TypeVar("T")

SEARCHES_AT_ONCE: Final = 8
"""Searches of one call that are under way at once: more of them wait for the engine anyway."""

_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0
_GRACE: Final = 1.0
"""Seconds that a cancelled request is given to close its connection: it takes no more than a step or two."""
_OFF_LOOP: Final = 1_000
"""Points from which on they are converted in a thread: a thousand hold the loop for some ten milliseconds."""


def pause_before(attempt: int, error: BaseException | None = None) -> float:
    """Seconds to wait before try number ``attempt`` (2 is the first repetition): doubled each time, with jitter.

    An engine that says how long (``RateLimitError.retry_after``) is believed.
    """
    asked: float | None = getattr(error, "retry_after", None)
    if asked is not None:
        return asked
    pause: float = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** (attempt - 2))
    return pause * random.uniform(0.5, 1.5)  # noqa: S311 - jitter, so that clients do not come back all at once


async def retried(ask: Callable[[], Awaitable[T]], retries: int, is_passing: Callable[[Exception], bool]) -> T:
    """Ask, and again up to ``retries`` times where the error is one that passes. The caller bounds the whole."""
    for attempt in range(2, retries + 2):
        try:
            return await ask()
        except Exception as error:
            if not is_passing(error):
                raise
            pause = pause_before(attempt, error)
        await asyncio.sleep(pause)
    return await ask()


class Underway:
    """Requests by HTTP that are under way. They end before the pool of their connections is closed: a pool that is
    closed first opens sockets for them all the same, and leaves them open. And each is cancelled once: by the first
    time it gives its connection back, by a second one it is kept from that."""

    def __init__(self) -> None:
        self._requests: set[asyncio.Task[Any]] = set()

    async def answer(self, request: Awaitable[T]) -> T:
        """What the request comes to. Who is cancelled waits until it has ended."""
        sending = asyncio.ensure_future(request)
        self._requests.add(sending)
        sending.add_done_callback(self._requests.discard)
        try:
            return await asyncio.shield(sending)
        except asyncio.CancelledError:
            _cancel_once(sending)
            await asyncio.wait([sending], timeout=_GRACE)
            raise

    async def end(self) -> None:
        """Cancel what is under way on this event loop, and wait until it has ended."""
        here = asyncio.get_running_loop()
        running = [sending for sending in self._requests if sending.get_loop() is here]
        for sending in running:
            _cancel_once(sending)
        await asyncio.gather(*running, return_exceptions=True)


def _cancel_once(task: asyncio.Task[Any]) -> None:
    if not task.cancelling():
        task.cancel()


async def in_thread(work: Callable[..., T], *arguments: object, give_back: Callable[[T], object] | None = None) -> T:
    """Do blocking work in a thread.

    A thread cannot be cancelled. With ``give_back``, what the work returns after its caller was cancelled (an opened
    file, say) is given to it; without, the caller waits for the end of the work before it is cancelled, so that no
    lock is let go while the work is still being done.
    """
    running = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        if give_back is None:
            await asyncio.wait([running])
        else:
            running.add_done_callback(lambda done: _give_back(done, give_back))
        raise


def _give_back(done: asyncio.Future[T], give_back: Callable[[T], object]) -> None:
    if not done.cancelled() and done.exception() is None:
        give_back(done.result())


async def off_loop(points: int, convert: Callable[..., T], *arguments: object) -> T:
    """Convert points: many of them in a thread, few where we are."""
    return await asyncio.to_thread(convert, *arguments) if points >= _OFF_LOOP else convert(*arguments)
