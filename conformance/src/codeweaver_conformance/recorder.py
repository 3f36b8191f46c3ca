"""A transcript of the calls a test makes, and the script that makes them again."""

from __future__ import annotations

import array
import dataclasses
import inspect
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from codeweaver_conformance.subject import Subject

__all__ = ["Call", "Recorder", "Transcript", "creation", "literal", "variable"]

Call: TypeAlias = tuple[str, tuple[Any, ...], dict[str, Any]]
"""Method, arguments, keyword arguments."""


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


_STREAMS = """
async def stream(*items, error=None):
    for item in items:
        yield item
    if error is not None:
        raise error

async def answers(found):
    return [hits async for hits in (await found if hasattr(found, "__await__") else found)]
"""
"""What a script needs to make calls with streams again."""

_CLEARED = """\
    for name in {names!r}:
        try:
            await backend.delete_collection(name)
        except Exception:
            pass"""


class Transcript:
    """The calls of one test, newest last."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def last(self) -> str:
        """The newest call in one line, cut where it is long."""
        if not self.calls:
            return "none yet"
        text = _call(*self.calls[-1])
        return text if len(text) <= 500 else f"{text[:240]} … {text[-240:]}"

    def script(self, create: str, *preamble: str) -> str:
        """A program that makes the calls again; ``create`` is the expression that makes the backend.

        A repeated setting-up of what tests share is made once. A call that may raise is the last one. What the last run
        of the program has left behind is deleted first.
        """
        made = dict.fromkeys(one[1][0] for one in self.calls if one[0] == "create_collection" and one[1])
        names = [name for name in made if isinstance(name, str)]
        calls = list(dict.fromkeys(_call(*one) for one in self.calls[:-1])) + [_call(*one) for one in self.calls[-1:]]
        lines = [f"    print(await {_awaitable(one)})" for one in calls]
        if any(one[0] == "begin_transaction" for one in self.calls):
            lines.insert(0, "    # The calls of several tasks, in the order of their making; ids are others each time.")
        return "\n".join(
            (
                "import array, asyncio, datetime, pathlib",
                "import numpy as np",
                "from codeweaver_backends import *",
                *preamble,
                *([_STREAMS] if any("stream(" in one for one in calls) else [""]),
                "async def main():",
                f"    backend = {create}",
                *([_CLEARED.format(names=names)] if names else []),
                *lines,
                "",
                "asyncio.run(main())",
                "",
            )
        )


def creation(subject: Subject) -> tuple[str, ...]:
    """The expression that makes the backend, and the lines before it."""
    name = repr(subject.registration.name)
    if subject.target is not None:
        target = f"targets[{subject.target.name!r}]"
        return (
            f"CodeWeaverFactory().create_backend({name}, **settings)",
            "from contextlib import ExitStack",
            "from codeweaver_backends.testing import find_targets",
            "targets, engine = find_targets(), ExitStack()",
            "import atexit",
            "atexit.register(engine.close)",
            f"settings = engine.enter_context({target}.provide())",
        )
    sayable = {one: _setting(subject, one) for one in subject.settings}
    settings = "".join(f", {one}={text}" for one, text in sayable.items() if "<" not in text)
    if ":" not in subject.reference:
        return f"CodeWeaverFactory().create_backend({name}{settings})", "import os"
    module, _, plugin = subject.reference.partition(":")
    return (
        f"factory.create_backend({name}{settings})",
        "import os",
        "from codeweaver_backends import compat",
        "compat.install()",
        f"from {module} import {plugin}",
        "factory = CodeWeaverFactory()",
        f"factory.register_plugin({plugin})",
    )


def _setting(subject: Subject, name: str) -> str:
    return f"os.environ[{variable(name)!r}]" if subject.shows_a_secret(name) else literal(subject.settings[name])


def variable(name: str) -> str:
    """The variable of the environment that stands for a secret setting in what the kit writes."""
    return f"CW_{name.upper()}"


def _call(method: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> str:
    shown = [literal(one) for one in arguments] + [f"{name}={literal(one)}" for name, one in options.items()]
    return f"{method}({', '.join(shown)})"


def _awaitable(call: str) -> str:
    return f"answers(backend.{call})" if call.startswith("stream_search_vectors(") else f"backend.{call}"


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
            self._transcript.calls.append((name, arguments, options))
            return attribute(*arguments, **options)

        return call
