"""How a test cites its clauses, and runs: a plain function to pytest, a coroutine to its author."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from codeweaver_backends.contract import CLAUSES

__all__ = ["clause", "clauses_of_test", "turn_of"]

_LATE = (".test_filters_generated", ".test_sizes")
"""Modules of large collections and of many cases."""


def clause(*ids: str) -> Callable[[Callable[..., Awaitable[None] | None]], Callable[..., None]]:
    """Cite clauses of the contract. The test is an ``async def``, or for a property a ``def``, and takes ``cw``.

    It becomes a plain function, run on the kit's own event loop, so that it behaves the same whichever asyncio or
    anyio plugin the user has, and in whichever mode.
    """
    unknown = [one for one in ids if one not in CLAUSES]
    if unknown or not ids:
        raise ValueError(f"no such clause: {unknown}")

    def decorate(test: Callable[..., Awaitable[None] | None]) -> Callable[..., None]:
        @functools.wraps(test)
        def run(**arguments: Any) -> None:
            arguments["cw"].run_test(ids, test, arguments)

        del run.__dict__["__wrapped__"]
        run.__signature__ = inspect.signature(test)  # type: ignore[attr-defined]
        turn = 2 if not inspect.iscoroutinefunction(test) else int(test.__module__.endswith(_LATE))
        marked: Callable[..., None] = pytest.mark.cw_clause(*ids, turn=turn)(run)
        return marked

    return decorate


def turn_of(item: pytest.Item) -> int:
    """When it is a collected test's turn: what makes a few calls, then what has a large collection, then properties.

    So a fault is told soon, and by the test of its clause rather than by one that makes a thousand calls.
    """
    marker = item.get_closest_marker("cw_clause")
    return marker.kwargs["turn"] if marker else 0


def clauses_of_test(item: pytest.Item) -> tuple[str, ...]:
    """The clauses that a collected test cites; none for a test that is not the kit's."""
    marker = item.get_closest_marker("cw_clause")
    return marker.args if marker else ()
