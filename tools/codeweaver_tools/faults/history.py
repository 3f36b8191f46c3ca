"""A history of calls by number, and a ledger of what must be there after those that were acknowledged.

Points are written, replaced and deleted, by id and by filter, and collections created and dropped beside them. Every
point is then either as the last acknowledged call left it or, where a call was cut short, as before or after that call.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, Final

from codeweaver_backends import DistanceMetric, FilterCondition, VectorPoint
from codeweaver_backends.errors import BackendError, CollectionNotFoundError

__all__ = ["BATCH", "IDS", "NAME", "Ledger", "begin", "is_loss", "take"]

NAME: Final = "cw-faults"
BATCH: Final = 150
IDS: Final = 1_500
_GROUPS: Final = 30
_DIMENSION: Final = 4
_WAYS: Final = ("get:", "info:", "search", "count")
"""How a mistake begins where a way of reading differs from what is stored."""
_KINDS: Final = ("upsert", "upsert", "delete", "create", "upsert", "clear", "upsert", "drop")


def _kind(step: int) -> str:
    return _KINDS[step % len(_KINDS)]


def touched(step: int) -> list[int]:
    """The points of a step: a run that begins anywhere, so that most of them are there already."""
    if _kind(step) == "clear":
        return [n for n in range(IDS) if n % _GROUPS == step % _GROUPS]
    start = step * 97 % IDS
    return [(start + offset) % IDS for offset in range(BATCH)]


def _point(n: int, step: int) -> VectorPoint:
    """Every other step writes a key that the others lack, so that a point half replaced shows."""
    own = {"even": step} if step % 2 == 0 else {"odd": [step, -step]}
    payload = {"n": n, "group": n % _GROUPS, "step": step, **own}
    return VectorPoint(n, [float(step % 1_000 + 1), float(n), 1.0, -1.0], payload)


def _aside(step: int) -> str:
    return f"{NAME}-{step - step % len(_KINDS)}"


async def begin(backend: Any) -> None:
    """Make the collection of the history."""
    await backend.create_collection(NAME, _DIMENSION, DistanceMetric.EUCLIDEAN)


async def take(backend: Any, step: int) -> None:
    """One step. Taking it again is right, whatever became of it."""
    match _kind(step):
        case "upsert":
            await backend.upsert_vectors(NAME, [_point(n, step) for n in touched(step)])
        case "delete":
            await backend.delete_vectors(NAME, touched(step))
        case "clear":
            await backend.delete_by_filter(NAME, FilterCondition("group", "eq", step % _GROUPS))
        case "create":
            await backend.create_collection(_aside(step), _DIMENSION, exist_ok=True)
            await backend.upsert_vectors(_aside(step), [VectorPoint(n, [1, 1, 1, n]) for n in range(20)])
        case "drop":
            with suppress(CollectionNotFoundError):  # done before the step was cut short
                await backend.delete_collection(_aside(step))


def is_loss(mistake: str) -> bool:
    """Whether no way of reading can be right: what is stored is not as it must be, or the history is another one's."""
    return not mistake.startswith(_WAYS)


class Ledger:
    """What must be there."""

    def __init__(self) -> None:
        self.steps: dict[int, int] = {}
        """The step that wrote each point last."""
        self.asides: set[str] = set()
        """The collections beside the one of the points."""
        self.next = 0
        """The step that was not acknowledged; it may have been begun."""

    @property
    def begun(self) -> str:
        """What the step that may have been begun does."""
        return _kind(self.next)

    def moment(self, chance: random.Random) -> tuple[int, float]:
        """After how many steps, and how many seconds then, the next kill is to come."""
        return chance.randrange(4, 12), chance.uniform(0, 0.15)

    def acknowledged(self, step: int) -> None:
        """A step was taken."""
        match _kind(step):
            case "upsert":
                self.steps |= dict.fromkeys(touched(step), step)
            case "delete" | "clear":
                for n in touched(step):
                    self.steps.pop(n, None)
            case "create":
                self.asides.add(_aside(step))
            case "drop":
                self.asides.discard(_aside(step))
        self.next = step + 1

    async def mistakes(self, backend: Any) -> list[str]:
        """What is not as it must be, by every way of reading. What the step cut short has left is taken over."""
        return [one async for one in self._mistakes(backend)]

    async def _mistakes(self, backend: Any) -> AsyncIterator[str]:
        points = [point async for point in backend.scan(NAME, with_vectors=True)]
        found = {point.id: point for point in points}
        if len(found) != len(points):
            yield f"scan: {len(points) - len(found)} ids twice"
        is_atomic = backend.capabilities.replace_is_atomic
        for n, allowed in self._allowed(is_atomic=is_atomic):
            there = found.get(n)
            step = there.payload.get("step") if there else None
            if step not in allowed:
                yield f"point {n} is of step {step}, not of {sorted(map(str, allowed))}"
            elif step is not None and there != _point(n, step):
                yield f"point {n} is not as step {step} wrote it"
        self.steps = {n: point.payload["step"] for n, point in found.items()}
        for name, ask, expected in self._questions(backend):
            try:
                answer = await ask()
            except BackendError as error:
                yield f"{name}: {type(error).__name__}: {error}"
            else:
                if answer != expected:
                    yield f"{name}: {_difference(answer, expected)}"
        names = {name for name in await backend.list_collections() if name.startswith(NAME)} - {NAME}
        begun = {_aside(self.next)} if _kind(self.next) in ("create", "drop") else set()
        if names - begun != self.asides - begun:
            yield f"collections: {sorted(names)} instead of {sorted(self.asides)}"
        for name in self.asides - begun & names:
            if (count := await backend.count_vectors(name)) != 20:
                yield f"collection {name}: {count} points instead of 20"

    def _allowed(self, *, is_atomic: bool) -> Iterator[tuple[int, set[int | None]]]:
        """By point, the steps that it may be of; ``None``: it may be missing."""
        kind, begun = _kind(self.next), set(touched(self.next))
        for n in range(IDS):
            allowed: set[int | None] = {self.steps.get(n)}
            if n in begun and kind == "upsert":
                allowed.add(self.next)
                if not is_atomic:
                    allowed.add(None)
            elif n in begun and kind in ("delete", "clear"):
                allowed.add(None)
            yield n, allowed

    def _questions(self, backend: Any) -> Iterator[tuple[str, Callable[[], Awaitable[Any]], Any]]:
        """Ways of reading, by name, and what each must say."""
        every = set(self.steps)

        async def got() -> Any:
            return {point.id for point in await backend.get_vectors(NAME, list(range(IDS)))}

        async def told() -> Any:
            return (await backend.get_collection_info(NAME)).vector_count

        async def searched(condition: FilterCondition | None) -> Any:
            hits = await backend.search_vectors(NAME, [1.0, 1.0, 1.0, 1.0], 2 * IDS, condition)
            found = {hit.id for hit in hits}
            return found if len(found) == len(hits) else "an id twice"

        async def counted(condition: FilterCondition | None) -> Any:
            return await backend.count_vectors(NAME, condition)

        yield "get", got, every
        yield "info", told, len(every)
        yield "search", partial(searched, None), every
        yield "count", partial(counted, None), len(every)
        for key, rest in (("even", 0), ("odd", 1)):
            some = FilterCondition(key, "ge", 0)
            expected = {n for n, step in self.steps.items() if step % 2 == rest}
            yield f"search {key}", partial(searched, some), expected
            yield f"count {key}", partial(counted, some), len(expected)
        for step in sorted(set(self.steps.values())):
            of_step = FilterCondition("step", "eq", step)
            amount = sum(last == step for last in self.steps.values())
            yield f"count of step {step}", partial(counted, of_step), amount


def _difference(answer: Any, expected: Any) -> str:
    if isinstance(answer, set) and isinstance(expected, set):
        return f"{len(expected - answer)} missing, {len(answer - expected)} too many"
    return f"{answer} instead of {expected}"
