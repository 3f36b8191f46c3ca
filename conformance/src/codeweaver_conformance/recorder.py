"""A transcript of the calls a test makes: by which task, on which backend, and which of them overlap."""

from __future__ import annotations

import array
import asyncio
import dataclasses
import inspect
import time
import weakref
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Generator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import numpy as np

from codeweaver_conformance.subject import Subject

__all__ = ["Call", "Event", "Opened", "Recorder", "Task", "Transcript", "creation", "literal", "spelling", "variable"]


def literal(value: Any) -> str:
    """Python source of a value, as far as it can be said in a line."""
    if isinstance(value, _Stream):
        return value.source()
    if isinstance(value, Enum):
        return f"{type(value).__name__}.{value.name}"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = ((one.name, getattr(value, one.name)) for one in dataclasses.fields(value))
        shown = ", ".join(f"{name}={literal(one)}" for name, one in fields if one is not None)
        return f"{type(value).__name__}({shown})"
    if isinstance(value, list):
        return f"[{', '.join(map(literal, value))}]"
    if isinstance(value, tuple):
        return f"({', '.join(map(literal, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key!r}: {literal(one)}" for key, one in value.items()) + "}"
    if isinstance(value, np.ndarray):
        return f"np.array({value.tolist()!r}, dtype=np.{value.dtype})"
    if isinstance(value, np.generic):
        return f"np.{type(value).__name__}({value.item()!r})"
    if isinstance(value, Path):
        return f"pathlib.Path({str(value)!r})"
    if isinstance(value, array.array):
        return f"array.array({value.typecode!r}, {value.tolist()!r})"
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return f"float({str(value)!r})"
    return repr(value)


class _Stream:
    """A stream on its way to a backend. What it gives is noted as text: to hold it would be to keep it alive."""

    def __init__(self, stream: AsyncIterable[Any]) -> None:
        self._stream = stream
        self._items: AsyncIterator[Any] | None = None
        self._given: list[str] = []
        self._error = ""

    def __aiter__(self) -> _Stream:
        self._items = aiter(self._stream)
        return self

    async def __anext__(self) -> Any:
        if self._items is None:
            self._items = aiter(self._stream)
        try:
            item = await anext(self._items)
        except Exception as error:
            if not isinstance(error, StopAsyncIteration):
                self._error = f"error=RuntimeError({str(error)!r})"
            raise
        self._given.append(literal(item))
        return item

    async def aclose(self) -> None:
        """Close it, as far as it can be closed."""
        close = getattr(self._items, "aclose", None)
        if close is not None:
            await close()

    def source(self) -> str:
        """A call of the script's ``stream``, with what was given so far."""
        return f"stream({', '.join([*self._given, *([self._error] if self._error else [])])})"


@dataclass(eq=False)
class Task:
    """A task of the test's, as far as calls were made in it."""

    name: str
    parent: Task | None = None
    after: Call | None = None
    """The parent's newest call when the task was made."""


@dataclass(eq=False)
class Call:
    """One call, and what became of it."""

    backend: str
    """The variable of the backend."""
    method: str
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    task: Task
    started: float = field(default_factory=time.monotonic)
    is_apart: bool = False
    """Whether it was awaited in another task than it was made in."""
    result: str = ""
    """The variable of what later calls need of it: a transaction's id, a view."""
    outcome: str = "under way"
    """Or ``returned``, ``raised``, ``cancelled``."""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Opened:
    """A backend was made."""

    backend: str
    """Its variable."""
    overrides: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Event:
    """A call began, or ended; a block, which is a call too, was entered between."""

    kind: Literal["begin", "enter", "end"]
    call: Call


_NEWEST: ContextVar[tuple[Task, Call] | None] = ContextVar("newest", default=None)
"""The newest call of this context, or of the one that it is a copy of: so a task tells whose child it is."""


class Transcript:
    """The calls of one test in the order of what happened: who made them, on which backend, and which overlap."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.events: list[Event | Opened] = []
        self.ids: dict[str, str] = {}
        """The variables of the transactions' ids."""
        self._fixtures: set[str] = set()
        self._backends: dict[int, str] = {}
        self._opened = 0
        self._tasks: weakref.WeakKeyDictionary[asyncio.Task[Any], Task] = weakref.WeakKeyDictionary()
        self._main = Task("task")

    def last(self) -> str:
        """The newest call in one line, cut where it is long."""
        if not self.calls:
            return "none yet"
        text = spelling(self.calls[-1], {})
        return text if len(text) <= 500 else f"{text[:240]} … {text[-240:]}"

    def opened(self, backend: Any, name: str = "", **overrides: Any) -> str:
        """Note a backend that was made, with other settings than the run's; its variable."""
        if id(backend) not in self._backends:
            called = name or ("backend" if not self._opened else f"backend_{self._opened + 1}")
            self._opened += 1
            self._backends[id(backend)] = called
            # Nobody is kept alive by us; and what is gone may leave its number to another.
            weakref.finalize(backend, self._backends.pop, id(backend), None).atexit = False
            if not name:
                self.events.append(Opened(called, overrides))
        return self._backends[id(backend)]

    def began(self, backend: Any, method: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> Call:
        """Note that a call is made, by the current task."""
        task = self.current()
        call = Call(self.opened(backend), method, arguments, options, task)
        _NEWEST.set((task, call))
        self.calls.append(call)
        self.events.append(Event("begin", call))
        return call

    def ended(self, call: Call, outcome: str, found: object = None) -> None:
        """Note how it ended."""
        call.outcome, call.seconds = outcome, time.monotonic() - call.started
        if call.method == "begin_transaction" and isinstance(found, str):
            call.result = f"transaction_{len(self.ids) + 1}"
            self.ids[found] = call.result
        self.events.append(Event("end", call))

    def current(self) -> Task:
        """The task that is running."""
        try:
            running = asyncio.current_task()
        except RuntimeError:  # outside of any event loop
            running = None
        if running is None:
            return self._main
        if running not in self._tasks:
            task, newest = self._main, _NEWEST.get()
            if self._tasks:
                task = Task(f"task_{len(self._tasks) + 1}")
                if newest is not None and newest[1] in self.calls:
                    task.parent, task.after = newest
            self._tasks[running] = task
        return self._tasks[running]

    def repeated(self, key: str, calls: Sequence[Call], backend: Any) -> None:
        """Note the calls that have made what this test shares with others, once."""
        if key not in self._fixtures:
            for one in calls:
                call = replace(one, backend=self.opened(backend), task=self.current(), result="")
                self.calls.append(call)
                self.events += [Event("begin", call), Event("end", call)]
        self._fixtures.add(key)


def creation(subject: Subject) -> tuple[str, ...]:
    """The expression that makes the backend, with ``others`` for settings of its own, and the lines before it."""
    name = repr(subject.registration.name)
    if subject.target is not None:
        return (
            f"CodeWeaverFactory().create_backend({name}, **{{**settings, **others}})",
            "import atexit",
            "from contextlib import ExitStack",
            "from codeweaver_backends.testing import find_targets",
            "targets, engine = find_targets(), ExitStack()",
            "atexit.register(engine.close)",
            f"settings = engine.enter_context(targets[{subject.target.name!r}].provide())",
        )
    sayable = {one: _setting(subject, one) for one in subject.settings}
    settings = ", ".join(f"{one}={text}" for one, text in sayable.items() if "<" not in text)
    if ":" not in subject.reference:
        return (
            f"CodeWeaverFactory().create_backend({name}, **{{**settings, **others}})",
            "import os",
            f"settings = dict({settings})",
        )
    module, _, plugin = subject.reference.partition(":")
    return (
        f"factory.create_backend({name}, **{{**settings, **others}})",
        "import os",
        "from codeweaver_backends import compat",
        "compat.install()",
        f"from {module} import {plugin}",
        "factory = CodeWeaverFactory()",
        f"factory.register_plugin({plugin})",
        f"settings = dict({settings})",
    )


def _setting(subject: Subject, name: str) -> str:
    return f"os.environ[{variable(name)!r}]" if subject.shows_a_secret(name) else literal(subject.settings[name])


def variable(name: str) -> str:
    """The variable of the environment that stands for a secret setting in what the kit writes."""
    return f"CW_{name.upper()}"


def spelling(call: Call, ids: Mapping[str, str]) -> str:
    """The call as source, without its backend; the ids of transactions by their variables."""
    arguments = [ids[one] if isinstance(one, str) and one in ids else literal(one) for one in call.arguments]
    shown = arguments + [f"{name}={literal(one)}" for name, one in call.options.items()]
    return f"{call.method}({', '.join(shown)})"


class _Watched(Coroutine[Any, Any, Any]):
    """A call's coroutine, step by step: one that is cancelled before its first step is closed, as it was without us."""

    def __init__(self, call: Coroutine[Any, Any, Any], transcript: Transcript, noted: Call) -> None:
        self._call, self._transcript, self._noted = call, transcript, noted
        self._has_begun = False

    def __await__(self) -> Generator[Any, Any, Any]:
        return self  # it has all methods of one

    def __iter__(self) -> _Watched:
        return self

    def __next__(self) -> Any:
        return self.send(None)

    def send(self, value: Any) -> Any:
        return self._stepped(self._call.send, value)

    def throw(self, *error: Any) -> Any:
        return self._stepped(self._call.throw, *error)

    def close(self) -> None:
        self._call.close()

    def _stepped(self, step: Callable[..., Any], *given: Any) -> Any:
        if not self._has_begun:
            self._has_begun = True
            self._noted.is_apart = self._transcript.current() is not self._noted.task
        try:
            return step(*given)
        except StopIteration as done:
            self._transcript.ended(self._noted, "returned", done.value)
            raise
        except BaseException as error:
            is_cancelled = isinstance(error, asyncio.CancelledError | GeneratorExit)
            self._transcript.ended(self._noted, "cancelled" if is_cancelled else "raised")
            raise


class Recorder:
    """A backend as the tests see it: every call is noted and passed on; nothing is changed."""

    def __init__(self, backend: Any, transcript: Transcript) -> None:
        self.wrapped = backend
        self._transcript = transcript

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self.wrapped, name)
        if not inspect.ismethod(attribute):
            return attribute

        def call(*arguments: Any, **options: Any) -> Any:
            arguments = tuple(_Stream(one) if isinstance(one, AsyncIterable) else one for one in arguments)
            noted = self._transcript.began(self.wrapped, name, arguments, options)
            try:
                result = attribute(*arguments, **options)
            except BaseException:
                self._transcript.ended(noted, "raised")
                raise
            if inspect.iscoroutine(result):
                return _Watched(result, self._transcript, noted)
            if isinstance(result, AbstractAsyncContextManager):
                return self._entered(result, noted)
            self._transcript.ended(noted, "returned")
            return result

        return call

    @asynccontextmanager
    async def _entered(self, block: AbstractAsyncContextManager[Any], noted: Call) -> AsyncIterator[Any]:
        noted.result = f"view_{len(self._transcript.calls)}"
        try:
            async with block as view:
                self._transcript.opened(view, noted.result)
                self._transcript.events.append(Event("enter", noted))
                yield Recorder(view, self._transcript)
        except BaseException:
            self._transcript.ended(noted, "raised")
            raise
        self._transcript.ended(noted, "returned")
