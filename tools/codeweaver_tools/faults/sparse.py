"""A history of a sparse index that is made anew and of sparse vectors that are replaced, by number; and its ledger.

Every third step makes the index over other fields, which rewrites the text of every point; the others replace the
sparse vectors of many points. A step that was cut short is taken again, and that must heal whatever it has left: the
same answers as if nothing had happened, by the oracle.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from typing import Any, Final

from codeweaver_backends import DistanceMetric, VectorPoint
from codeweaver_conformance.oracle_hybrid import TextIndex, check_hybrid

__all__ = ["NAME", "POINTS", "SparseLedger", "begin", "take", "touched"]

NAME: Final = "cw-faults-sparse"
POINTS: Final = 2_500
"""More than ``create_sparse_index`` goes through at once."""
_UPDATED: Final = 1_200
_INDEXES: Final = (TextIndex(["one"]), TextIndex(["two"]), TextIndex(["one", "two"], "text"))
_CYCLE: Final = 3
_METRIC: Final = DistanceMetric.EUCLIDEAN
_QUERY: Final = (1.0, 2.0, 3.0)
_QUESTIONS: Final = ("beta7", "gamma_11 omega3", "alpha2 delta_5 beta1", {"7": 1.0}, {"3": 2.0, "140": 1.0})
"""Of both fields and of sparse vectors; some are answered by more points than a leg has candidates."""


def _kind(step: int) -> str:
    return "update" if step % _CYCLE else "index"


def _index(step: int) -> TextIndex:
    """The index after a step."""
    return _INDEXES[step // _CYCLE % len(_INDEXES)]


def touched(step: int) -> list[int]:
    """The points whose sparse vectors a step replaces."""
    start = step * 977 % POINTS
    return [(start + offset) % POINTS for offset in range(_UPDATED)] if _kind(step) == "update" else []


def _point(n: int, step: int) -> VectorPoint:
    """A point whose sparse vector was written by that step; by none before the first."""
    texts = {"one": f"alpha{n % 7} beta{n % 40} gamma_{n}", "two": f"omega{n % 9} beta{n % 30} delta_{n % 300}"}
    sparse = {n % 13: float(step), 100 + n: 1.0} if step else None
    return VectorPoint(n, [float(n % 50), float(n // 50), 1.0], {"n": n, **texts}, sparse_vector=sparse)


async def begin(backend: Any) -> None:
    """Make the points of the history. The first step makes their index."""
    await backend.create_collection(NAME, len(_QUERY), _METRIC)
    await backend.upsert_vectors(NAME, [_point(n, 0) for n in range(POINTS)])


async def take(backend: Any, step: int) -> None:
    """One step. Taking it again is right, whatever became of it."""
    if _kind(step) == "index":
        index = _index(step)
        await backend.create_sparse_index(NAME, list(index.fields), index.index_type)
    else:
        await backend.update_sparse_vectors(NAME, [_point(n, step) for n in touched(step)])


class SparseLedger:
    """What must be there."""

    def __init__(self) -> None:
        self.steps = dict.fromkeys(range(POINTS), 0)
        """The step that wrote the sparse vector of each point last."""
        self.next = 0
        """The step that was not acknowledged; it may have been begun."""
        self._seconds = {"index": 0.5, "update": 0.2}
        """What the last step of a kind took that nobody cut short."""

    def acknowledged(self, step: int) -> None:
        """A step was taken."""
        self.steps |= dict.fromkeys(touched(step), step)
        self.next = step + 1

    @property
    def begun(self) -> str:
        """The call of the step that may have been begun."""
        return {"index": "create_sparse_index", "update": "update_sparse_vectors"}[_kind(self.next)]

    def moment(self, chance: random.Random) -> tuple[int, float]:
        """After how many steps, and how many seconds then, the next kill is to come: within either call as often."""
        wanted = chance.choice(("index", "update"))
        steps = next(steps for steps in range(_CYCLE) if _kind(self.next + steps) == wanted)
        return steps, chance.uniform(0, self._seconds[wanted])

    async def mistakes(self, backend: Any) -> list[str]:
        """What is not as it must be: before the step that was cut short is taken again, and after that."""
        return [one async for one in self._mistakes(backend)]

    async def _mistakes(self, backend: Any) -> AsyncIterator[str]:
        begun = set(touched(self.next))
        async for one in self._changed(backend, begun):
            yield f"cut short: {one}"
        started, step = time.monotonic(), self.next
        await take(backend, step)
        self._seconds[_kind(step)] = time.monotonic() - started
        self.acknowledged(step)
        async for one in self._changed(backend, set()):
            yield f"taken again: {one}"
        points, index = [_point(n, step) for n, step in self.steps.items()], _index(step)
        for question in _QUESTIONS:
            for alpha in (0.0, 0.5):
                hits = await backend.hybrid_search(NAME, list(_QUERY), question, limit=100, alpha=alpha)
                wrong = await asyncio.to_thread(
                    check_hybrid, hits, points, _QUERY, question, _METRIC, index=index, limit=100, alpha=alpha
                )
                if wrong is not None:
                    yield f"taken again: {question!r} at alpha {alpha}: {wrong}"

    async def _changed(self, backend: Any, begun: set[int]) -> AsyncIterator[str]:
        """Points that are neither as the ledger has them nor, of those begun, as the begun step writes them."""
        found = {point.id: point async for point in backend.scan(NAME, with_vectors=True)}
        for n, step in self.steps.items():
            allowed = [_point(n, one) for one in ((step, self.next) if n in begun else (step,))]
            if found.pop(n, None) not in allowed:
                yield f"point {n} is not as step {step} left it"
        if found:
            yield f"points that nobody wrote: {sorted(map(repr, found))[:5]}"
