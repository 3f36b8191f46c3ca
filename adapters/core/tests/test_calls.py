"""Requests under way: cancelled once, whoever wants them to end, so that each gives its connection back."""

from __future__ import annotations

import asyncio
import gc

import pytest

from codeweaver_backends.sdk.calls import Underway


class Request:
    """Takes two steps to close its connection, when it is cancelled."""

    is_closed = False

    async def send(self) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            await asyncio.sleep(0.01)
            self.is_closed = True


@pytest.mark.parametrize("ended_first", [False, True])
def test_a_request_whose_caller_is_cancelled_while_all_end_closes_its_connection(ended_first: bool) -> None:
    async def main() -> None:
        underway, request = Underway(), Request()
        caller = asyncio.create_task(underway.answer(request.send()))
        await asyncio.sleep(0.01)
        ending = asyncio.create_task(underway.end())
        if ended_first:
            await asyncio.sleep(0)
        caller.cancel()
        await asyncio.sleep(0)
        caller.cancel()
        await ending
        assert request.is_closed
        with pytest.raises(asyncio.CancelledError):
            await caller

    asyncio.run(main())


def test_who_is_cancelled_leaves_no_connection() -> None:
    async def main() -> None:
        underway, request = Underway(), Request()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(underway.answer(request.send()), 0.01)
        assert request.is_closed

    asyncio.run(main())


@pytest.mark.filterwarnings("error")
def test_a_request_that_is_cancelled_before_it_begins_leaves_nothing() -> None:
    async def main() -> None:
        underway = Underway()
        caller = asyncio.create_task(underway.answer(Request().send()))
        await asyncio.sleep(0)  # the request is a task by now, and has not begun
        await underway.end()
        with pytest.raises(asyncio.CancelledError):
            await caller

    asyncio.run(main())
    gc.collect()
