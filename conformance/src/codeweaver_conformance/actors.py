"""Who makes the state machine's calls, what they must see, and how a wrong answer is told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar, NoReturn, TypeAlias

from hypothesis.stateful import RuleBasedStateMachine

from codeweaver_backends.types import DistanceMetric, PointId, SearchFilter, VectorPoint
from codeweaver_conformance import oracle
from codeweaver_conformance.caller import Caller
from codeweaver_conformance.program import short, source_of, value_of
from codeweaver_conformance.session import ClauseViolation, Conformance

__all__ = ["Actor", "Actors", "Model"]


@dataclass
class Model:
    """A collection as the contract sees it."""

    metric: DistanceMetric
    points: dict[tuple[type, PointId], VectorPoint] = field(default_factory=dict)

    def write(self, points: Iterable[VectorPoint]) -> None:
        """Put points in place of those of the same ids."""
        for one in points:
            self.points[type(one.id), one.id] = one

    def selected(self, search_filter: SearchFilter | None) -> list[VectorPoint]:
        """The points that match."""
        return [one for one in self.points.values() if oracle.matches(search_filter, one.payload)]

    def copy(self) -> Model:
        """Another collection of the same points."""
        return Model(self.metric, dict(self.points))


Actor: TypeAlias = tuple[str, Any, dict[str, Model]]
"""Who makes a call: the name in the program, the backend, and the collections that it must see."""


class Actors(RuleBasedStateMachine):
    """A first instance, a second one, and a transaction of the first, with two collections.

    While a transaction is open, its calls are made by a task of its own, others only read: what writers do to each
    other is the matter of the clauses on conflicts.
    """

    cw: ClassVar[Conformance]
    second: ClassVar[Any]
    """Another instance on the same store, where there may be one."""

    def __init__(self) -> None:
        super().__init__()
        self.names = [self.cw.new_name("a"), self.cw.new_name("b")]
        self.live: dict[str, Model] = {}
        self.inside: dict[str, Model] | None = None
        self.caller: Caller | None = None
        self.program: list[str] = []
        self.told: tuple[object, object] | None = None
        self.is_over = False
        """Whether the time for the machine is over, and no call is to be made."""

    # --- making calls ---

    def run(self, work: Awaitable[Any]) -> Any:
        """Run to completion on the run's event loop."""

        async def bounded() -> Any:
            async with asyncio.timeout(self.cw.timeout):
                return await work

        return self.cw.run(bounded())

    def actor(self, who: str) -> Actor:
        """Who makes the call, by what, and what they see."""
        if who == "inside" and self.caller is not None and self.inside is not None:
            return "inside", self.caller, self.inside
        if who == "second" and self.second is not None:
            return "second", self.second, self.live
        return "first", self.cw.backend, self.live

    def writer(self, who: str) -> Actor:
        """Who writes: the transaction, while one is open."""
        return self.actor("inside" if self.caller is not None else who)

    def call(self, actor: Actor, method: str, *given: Any, **options: Any) -> Any:
        """Make a call, and note it for the program. What is ``Spelt`` is shown so."""
        label, backend, _ = actor
        shown = [source_of(one) for one in given] + [f"{name}={source_of(one)}" for name, one in options.items()]
        self.program.append(f"{label}.{method}({', '.join(shown)})")
        arguments = [value_of(one) for one in given]
        named = {name: value_of(one) for name, one in options.items()}

        async def made() -> Any:
            await self.cw.settle()
            return await getattr(backend, method)(*arguments, **named)

        return self.run(made())

    def answer(self, actor: Actor, method: str, *given: Any, **options: Any) -> Any:
        """Make a call that must succeed."""
        try:
            return self.call(actor, method, *given, **options)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
            self.wrong("no error", f"{type(error).__name__}: {error}")

    def refused(self, actor: Actor, error: type[Exception], method: str, *given: Any) -> None:
        """Make a call that must raise."""
        try:
            got = self.call(actor, method, *given)
        except error:
            self.program[-1] = f"raises({error.__name__}, {self.program[-1].replace('(', ', ', 1)}"
            self.program[-1] = self.program[-1].replace(", )", ")")
            return
        except Exception as other:  # noqa: BLE001 - as above
            self.wrong(error.__name__, f"{type(other).__name__}: {other}")
        self.wrong(error.__name__, repr(got)[:300])

    def wrong(self, expected: object, got: object) -> NoReturn:
        """The contract says another thing."""
        self.told = (expected, got)
        self.noted(expected, got)
        raise ClauseViolation(f"expected {expected}, got {got}")

    def noted(self, expected: object, got: object) -> None:
        """For who runs the machine, to keep the shortest program."""

    def equal(self, got: object, expected: object) -> None:
        """The same JSON, types included."""
        if repr(got) != repr(expected) and not oracle.json_equal(got, expected):  # what looks the same is, and faster
            self.wrong(short(expected), short(got))

    def place(self, actor: Actor, where: int) -> tuple[str, Model | None]:
        """A collection's name, and what it holds in the actor's eyes."""
        return self.names[where], actor[2].get(self.names[where])
