"""What tells Milvus Lite and the servers apart: one row each, chosen by the version that the server states.

Everything else in this package is the same for all of them. A difference goes here, as a value or as a method of a
``TokenColumn``, and never into a branch elsewhere.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pymilvus import DataType

from codeweaver_backends.capabilities import BackendCapabilities, Limits
from codeweaver_backends.errors import UnsupportedError
from codeweaver_milvus.convert import MARK, PRESENCE, shortened
from codeweaver_milvus.plugin import CAPABILITIES

__all__ = ["LITE", "ArrayColumn", "TextColumn", "TokenColumn", "Traits", "traits_of"]

MEBIBYTE: Final = 1 << 20


class TokenColumn(ABC):
    """How a set of tokens is stored in one column, and how it is asked for one of them."""

    @abstractmethod
    def schema(self) -> dict[str, Any]:
        """The column's type, as ``add_field`` takes it."""

    @abstractmethod
    def store(self, tokens: Sequence[str]) -> Any:
        """The value of the column that holds these tokens."""

    @abstractmethod
    def any(self, column: str, tokens: Sequence[str]) -> list[str]:
        """Expressions of which one is true where the column holds one of the tokens."""

    @abstractmethod
    def exists(self, column: str, prefix: str) -> str:
        """Whether something stands at the path that spells ``prefix``."""

    @abstractmethod
    def substring(self, column: str, prefix: str, text: str) -> str | None:
        """Whether the string at the path holds ``text``; ``None`` where the engine cannot tell."""


class TextColumn(TokenColumn):
    """One text, marks between the tokens, searched with LIKE."""

    def schema(self) -> dict[str, Any]:
        return {"datatype": DataType.VARCHAR, "max_length": 1 << 30}

    def store(self, tokens: Sequence[str]) -> str:
        return f"{MARK}{MARK.join(tokens)}{MARK}" if tokens else ""

    def any(self, column: str, tokens: Sequence[str]) -> list[str]:
        return [f'{column} like "%{MARK}{token}{MARK}%"' for token in tokens]

    def exists(self, column: str, prefix: str) -> str:
        return f'{column} like "%{MARK}{prefix}%"'

    def substring(self, column: str, prefix: str, text: str) -> str | None:
        # A scalar string's value is followed by its presence token: both ends of the pattern occur once, if at all.
        return f'{column} like "%{MARK}{prefix}s%{text}%{MARK}{prefix}S{MARK}%"'


class ArrayColumn(TokenColumn):
    """One array of tokens, the long ones as digests."""

    def schema(self) -> dict[str, Any]:
        return {
            "datatype": DataType.ARRAY,
            "element_type": DataType.VARCHAR,
            "max_capacity": 4_096,
            "max_length": 1_024,
        }

    def store(self, tokens: Sequence[str]) -> list[str]:
        return [shortened(token) for token in tokens]

    def any(self, column: str, tokens: Sequence[str]) -> list[str]:
        if len(tokens) == 1:
            return [f'array_contains({column}, "{shortened(tokens[0])}")']
        listed = ", ".join(f'"{shortened(token)}"' for token in tokens)
        return [f"array_contains_any({column}, [{listed}])"]

    def exists(self, column: str, prefix: str) -> str:
        return self.any(column, [prefix + kind for kind in PRESENCE])[0]

    def substring(self, column: str, prefix: str, text: str) -> str | None:
        return None


@dataclass(frozen=True, slots=True)
class Traits:
    """One kind of engine."""

    tokens: TokenColumn
    """The form of the facts and of the declared fields."""
    dynamic: bool
    """Range keys are dynamic fields, and so is any name that the engine does not know: it is not refused."""
    capabilities: BackendCapabilities
    """What is claimed and enforced."""
    pushed_values: int
    """More values of one ``in`` are cheaper tested here."""
    text_bytes: int = 65_535
    """The longest text of a column."""
    flush_rows: int | None = None
    """Unflushed rows that make a flush pay before the next read; ``None``: it never does."""
    flush_bytes: int = 32 * MEBIBYTE
    """Unflushed bytes that call for a flush of ours, before the engine starts one in the middle of a read."""
    max_tokens: int | None = None
    """Facts of one point."""
    max_ranges_bytes: int | None = None
    """Range keys of one point, as JSON."""
    page: Mapping[str, str] = field(default_factory=dict)
    """Options of a query that make its rows come in the order of their ids."""


def _claims(**changes: Any) -> BackendCapabilities:
    limits = {name: changes.pop(name) for name in list(changes) if name in Limits.model_fields}
    return CAPABILITIES.model_copy(update={**changes, "limits": CAPABILITIES.limits.model_copy(update=limits)})


_ITERATOR: Final = {"iterator": "True", "reduce_stop_for_best": "True"}

LITE: Final = Traits(
    tokens=TextColumn(),
    dynamic=True,
    capabilities=CAPABILITIES,
    pushed_values=64,
    text_bytes=1 << 30,
    flush_rows=500,
    page=_ITERATOR,
)

_SERVER_CLAIMS: Final = _claims(replace_is_atomic=False, max_payload_bytes=65_500)

_TABLE: Final = (
    # The first row whose version is not above the server's.
    (
        (2, 4),
        Traits(
            tokens=ArrayColumn(),
            dynamic=False,
            capabilities=_SERVER_CLAIMS,
            pushed_values=1_024,
            max_tokens=4_096,
            max_ranges_bytes=65_536,
            page=_ITERATOR,
        ),
    ),
    (
        (2, 3),
        Traits(
            tokens=ArrayColumn(),
            dynamic=False,
            capabilities=_SERVER_CLAIMS,
            pushed_values=1_024,
            max_ranges_bytes=65_536,
        ),
    ),
)


def traits_of(version: str) -> Traits:
    """The row of the engine that states this version."""
    if version.startswith("milvus_lite"):
        return LITE
    match = re.match(r"v?(\d+)\.(\d+)", version)
    found = (int(match[1]), int(match[2])) if match else (0, 0)
    for least, traits in _TABLE:
        if found >= least:
            return traits
    raise UnsupportedError(f"Milvus {version} is not supported; the oldest is {'.'.join(map(str, _TABLE[-1][0]))}")
