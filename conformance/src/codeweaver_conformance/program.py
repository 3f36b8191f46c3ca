"""A failure as a program: the calls of two instances and of a transaction, one after another."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from codeweaver_backends.types import FilterCondition, SearchFilter
from codeweaver_conformance import edges
from codeweaver_conformance.recorder import literal

__all__ = ["Inside", "Spelt", "program_of", "raises", "short", "source_of", "spelt", "value_of"]


@dataclass(frozen=True)
class Spelt:
    """A value, and the short source that makes it."""

    value: Any
    source: str


def spelt(source: str) -> Spelt:
    """What a source of the kit's own makes."""
    names = {"edges": edges, "np": np, "FilterCondition": FilterCondition, "SearchFilter": SearchFilter}
    return Spelt(eval(source, names), source)  # noqa: S307 - never the source of anybody else


def source_of(value: Any) -> str:
    """Python source of a value."""
    return value.source if isinstance(value, Spelt) else literal(value)


def value_of(value: Any) -> Any:
    """The value itself."""
    return value.value if isinstance(value, Spelt) else value


def short(value: object) -> str:
    """Its text, cut where it is long."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 600 else f"{text[:280]} … {text[-280:]}"


class Inside:
    """A backend whose calls are made in a context of their own, where a transaction is."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self._context = contextvars.copy_context()
        self._transaction: str | None = None

    def __getattr__(self, name: str) -> Callable[..., Any]:
        async def call(*arguments: Any, **options: Any) -> Any:
            async def made() -> Any:
                return await getattr(self._backend, name)(*arguments, **options)

            return await asyncio.create_task(made(), context=self._context)

        return call

    async def begin(self) -> None:
        """Begin a transaction."""
        self._transaction = await self.begin_transaction()

    async def commit(self) -> None:
        """Commit it."""
        await self.commit_transaction(self._transaction)

    async def rollback(self) -> None:
        """Roll it back."""
        await self.rollback_transaction(self._transaction)


async def raises(error: type[Exception], call: Callable[..., Any], *arguments: Any, **options: Any) -> str:
    """Make a call that must raise; tell whether it did."""
    try:
        return f"NO ERROR, but {await call(*arguments, **options)!r}"
    except error as raised:
        return f"{type(raised).__name__}, as it must"


def program_of(creation: Sequence[str], program: Sequence[str], expected: object, got: object) -> str:
    """A program that makes the calls again; ``creation`` is what creates a backend, and the lines before it."""
    create, *preamble = creation
    lines = ["first = create()"]
    lines += ["inside = Inside(first)"] if any("inside." in one for one in program) else []
    lines += ["second = create()"] if any("second." in one for one in program) else []
    for one in program:
        if one == "reopen":
            lines += ["await first.aclose()", "first = create()"]
            lines += ["inside = Inside(first)"] if "inside = Inside(first)" in lines else []
        else:
            lines.append(f"print(await {one})")
    lines[-1] += f"  # expected {short(expected)}; got {short(got)}".replace("\n", " ")
    return "\n".join(
        (
            "import array, asyncio, datetime, pathlib",
            "import numpy as np",
            "from codeweaver_backends import *",
            "from codeweaver_conformance import edges",
            "from codeweaver_conformance.program import Inside, raises",
            *preamble,
            "",
            "def create(**others):",
            f"    return {create}",
            "",
            "async def main():",
            *(f"    {one}" for one in lines),
            "",
            "asyncio.run(main())",
            "",
        )
    )
