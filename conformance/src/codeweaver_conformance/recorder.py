"""A transcript of the calls a test makes, and the script that makes them again."""

from __future__ import annotations

import array
import dataclasses
import inspect
from collections.abc import Mapping
from enum import Enum
from typing import Any

import numpy as np

__all__ = ["Recorder", "Transcript", "literal"]

_LONGEST = 2_000


def literal(value: Any) -> str:
    """Python source of a value, as far as it can be said in a line."""
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
    if isinstance(value, array.array):
        return f"array.array({value.typecode!r}, {value.tolist()!r})"
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return f"float({str(value)!r})"
    return repr(value)


class Transcript:
    """The calls of one test, newest last."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def last(self) -> str:
        """The newest call in one line, cut where it is long."""
        if not self.calls:
            return "none yet"
        text = _call(*self.calls[-1])
        return text if len(text) <= 500 else f"{text[:240]} … {text[-240:]}"

    def script(self, create: str) -> str:
        """A program that makes the calls again; ``create`` is the expression that makes the backend."""
        body = []
        for method, arguments, options in self.calls:
            text = _call(method, arguments, options)
            if len(text) > _LONGEST:
                text = f"{text[:200]} …"
                body.append(f"    # too long to show: {text}")
            else:
                body.append(f"    print(await backend.{text})")
        return "\n".join(
            (
                "import array, asyncio",
                "import numpy as np",
                "from codeweaver_backends import *",
                "",
                "async def main():",
                f"    backend = {create}",
                *body,
                "",
                "asyncio.run(main())",
            )
        )


def _call(method: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> str:
    shown = [literal(one) for one in arguments] + [f"{name}={literal(one)}" for name, one in options.items()]
    return f"{method}({', '.join(shown)})"


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
            self._transcript.calls.append((name, arguments, options))
            return attribute(*arguments, **options)

        return call
