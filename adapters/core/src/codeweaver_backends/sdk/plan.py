"""Which way a search goes: by every vector that matches, or by the index. The index never decides alone.

An index forgets some of what is near. It does so most where a filter leaves few points, or points that lie together,
where points were deleted, and where many are asked for: there reading every vector that matches costs no more. So the
index answers only what it answers well, and an answer that is short is asked for again, exactly.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sized
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeVar

from codeweaver_backends.sdk.requests import CollectionSettings, Query

__all__ = ["LOOKED_AT", "KnownSizes", "SearchIndex", "Way", "answered", "narrow", "plan", "wants_index"]

A = TypeVar("A", bound=Sized)

LOOKED_AT: Final = 2
"""Points that an index must look at for each that is asked for, at least."""
_NARROW: Final = 10
"""A filter is narrow that passes one point of so many."""
_TTL: Final = 10.0
"""Seconds for which a collection's size is believed."""


class Way(Enum):
    """How a search is answered."""

    EXACT = "exact"
    """By every vector that matches."""
    INDEXED = "indexed"
    """By what the index finds near."""


@dataclass(frozen=True, slots=True)
class SearchIndex:
    """What an adapter says of an index that can be used now."""

    exact_size: int
    """Points up to which reading all of them is as cheap."""
    max_candidates: int | None = None
    """The most points that one search by the index can look at; ``None``: as many as there are."""
    takes_filters: bool = True
    """Whether a search by the index may be filtered."""


class KnownSizes:
    """How many points collections have, as of a moment ago: enough to decide by. Forget one after own deletions."""

    def __init__(self) -> None:
        self._sizes: dict[str, tuple[float, int]] = {}

    async def of(self, collection: str, count: Callable[[], Awaitable[int]]) -> int:
        """The size of the collection of this incarnation, counted where it is not known."""
        until, size = self._sizes.get(collection, (0.0, 0))
        if until < time.monotonic():
            size = await count()
            self._sizes[collection] = (time.monotonic() + _TTL, size)
        return size

    def forget(self, collection: str) -> None:
        """Count the collection when its size is wanted next."""
        self._sizes.pop(collection, None)


def plan(size: int, query: Query, index: SearchIndex | None, *, matching: int | None = None) -> Way:
    """Decide for one search in a collection of ``size`` points, of which ``matching`` pass the filter.

    ``matching`` may be cut off above ``narrow``; ``None``: there is no filter, or it is not known what passes. Exact is
    (a) what the caller wants exact, (b) a small collection, (c) a limit too large for what the index can look at,
    (d) a filter that few points pass, or that the index cannot apply. The last rule, (e), is ``answered``.
    """
    if index is None or query.exact or size <= index.exact_size:
        return Way.EXACT
    if index.max_candidates is not None and LOOKED_AT * query.limit > index.max_candidates:
        return Way.EXACT
    if query.is_filtered and not index.takes_filters:
        return Way.EXACT
    if matching is not None and matching <= narrow(size, index):
        return Way.EXACT
    return Way.INDEXED


def narrow(size: int, index: SearchIndex) -> int:
    """The points up to which those that pass a filter are few."""
    return max(index.exact_size, size // _NARROW)


async def answered(way: Way, query: Query, size: int, ask: Callable[[Way], Awaitable[A]]) -> A:
    """Ask, and (e) ask again, exactly, where the index found fewer points than are wanted and may be there.

    What ``ask`` gives has not been cut by the threshold.
    """
    found = await ask(way)
    if way is Way.INDEXED and len(found) < (query.limit if query.is_filtered else min(query.limit, size)):
        found = await ask(Way.EXACT)
    return found


def wants_index(settings: CollectionSettings) -> bool:
    """Whether a collection is to have an index once it is large. Made without the option, it is exact as it is."""
    return settings.vector_index is not None and not settings.vector_index.is_exact
