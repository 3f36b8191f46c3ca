"""Filters in Qdrant's conditions: how terms and fields are spelt, and what is asked of them.

Equality, kinds and membership look up terms; ranges compare ordered integers; only a substring reads a text. Each
client of Qdrant's has its own classes for the same few conditions: a subclass of ``QdrantDialect`` makes them.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import quote

from codeweaver_backends.sdk import (
    All,
    Dialect,
    Either,
    Node,
    Order,
    Path,
    Spelling,
    compile_filter,
    encode_name,
    number_key,
    path_speller,
)

__all__ = ["BOUNDS", "SPELLING", "Parts", "QdrantDialect", "field_key", "finer_key", "instant_parts", "number_parts"]

Ordered = Literal["number", "instant"]

_DIGESTED: Final = "#"
_PLAIN: Final = re.compile(r"[!-$&-~]*").fullmatch
_CODES: Final[dict[str, str]] = {"text": "s", "number": "n", "instant": "t"}
_FINER: Final[dict[str, str]] = {"number": "m", "instant": "u"}
_ABOVE: Final = ("gt", "ge")
BOUNDS: Final = {"gt": "gt", "ge": "gte", "lt": "lt", "le": "lte"}
"""The engine's names of the orders."""


# --- terms and fields ------------------------------------------------------------------------------------------------


def _key(key: str) -> str:
    return quote(key, safe="").replace(".", "%2E")


def _text(text: str) -> str:
    """A string as printable ASCII without a space, so that the tokenizer leaves it whole."""
    return text if _PLAIN(text) else quote(text, safe="")


SPELLING: Final = Spelling(path_speller(_key, step=".", end="!", mark=_DIGESTED), text=_text, longest=64, separator=" ")


@lru_cache(maxsize=4096)
def field_key(path: Path, kind: Literal["text", "number", "instant"]) -> str:
    """The engine's field for the texts, the numbers or the instants of a path.

    Every engine and every version addresses such a key bare: quotes and backslashes in keys have no escape.
    """
    return _CODES[kind] + _path_key(path)


@lru_cache(maxsize=4096)
def _path_key(path: Path) -> str:
    code = SPELLING.path(path)[:-1]
    if code.startswith(_DIGESTED):
        return "h" + code[1:].replace(".", "_")
    return encode_name(code, "k")


def finer_key(path: Path, kind: Ordered, high: int) -> str:
    """The engine's field that tells apart what shares the integer ``high``."""
    return f"{_FINER[kind]}{_path_key(path)}_{high:x}"


# --- order -----------------------------------------------------------------------------------------------------------


class Parts(NamedTuple):
    """An order-preserving key, cut in two: of equal ``high`` the larger ``low`` is the larger."""

    high: int
    low: int

    @property
    def stored(self) -> int:
        """What the field holds: odd where the low part is not zero, and below 9 · 10^14.

        A double holds larger integers, but the server reads ``x.0``, as a bound is written in JSON, exactly only while
        its digits, the zero among them, stay below 2^53.
        """
        return 2 * self.high + (self.low > 0)


@lru_cache(maxsize=4096)
def number_parts(value: float) -> Parts:
    """The parts of a number. The low one is zero for doubles of 37 significant bits: most that people write."""
    key = int(number_key(value), 16) - 2048
    if value < 0:
        key += 4096  # a complement ends in ones where the number ends in zeros: with this it ends in zeros too
    return Parts(key >> 28, key & 0xFFFFFFF)


def instant_parts(microseconds: int) -> Parts:
    """The parts of an instant: milliseconds, and microseconds."""
    return Parts(*divmod(microseconds, 1000))


# --- conditions ------------------------------------------------------------------------------------------------------


class _Denied(NamedTuple):
    """A condition that must not hold: the group it stands in says so."""

    condition: Any


class QdrantDialect(Dialect[Any]):
    """The conditions of one client."""

    spelling = SPELLING

    @abstractmethod
    def in_order(self, key: str, order: Order, bound: int) -> Any:
        """A number of the field compares so."""

    @abstractmethod
    def holds_text(self, key: str, text: str) -> Any:
        """The string of the field holds the text, literally."""

    @abstractmethod
    def group(self, *, must: Sequence[Any] = (), should: Sequence[Any] = (), must_not: Sequence[Any] = ()) -> Any:
        """All of ``must``, one of ``should`` if there are any, none of ``must_not``: a filter of the client's."""

    def filter(self, node: Node) -> Any:
        """The tree as the client's filter; ``None`` for no restriction."""
        condition = compile_filter(node, self)
        return condition if condition is None or isinstance(node, All | Either) else self.every([condition])

    def every(self, parts: Sequence[Any]) -> Any:
        return self.group(
            must=[part for part in parts if not isinstance(part, _Denied)],
            must_not=[part.condition for part in parts if isinstance(part, _Denied)],
        )

    def some(self, parts: Sequence[Any]) -> Any:
        return self.group(should=[self.every([part]) if isinstance(part, _Denied) else part for part in parts])

    def negated(self, part: Any) -> Any:
        return _Denied(part)

    def compare(self, path: Path, kind: Ordered, order: Order, bound: float) -> Any:
        """Compare the stored integers, and where the bound has a low part, the low parts beside its high one.

        An integer is even where the low part is zero. So a bound without one needs a single comparison.
        """
        key, parts = field_key(path, kind), number_parts(bound) if kind == "number" else instant_parts(int(bound))
        whole = parts.stored
        direction: Order = "ge" if order in _ABOVE else "le"
        if not parts.low:
            beyond = {"gt": whole + 1, "ge": whole, "lt": whole - 1, "le": whole}[order]
            return self.in_order(key, direction, beyond)
        side = whole + 1 if order in _ABOVE else whole - 1
        finer = self.in_order(finer_key(path, kind, parts.high), order, parts.low)
        return self.every(
            [self.in_order(key, direction, whole), self.some([self.in_order(key, direction, side), finer])]
        )

    def substring(self, path: Path, text: str) -> Any:
        # The first test changes nothing, but it is indexed: it tells the planner how few points have the field at all.
        return self.every(
            [self.has_any([self.spelling.string_at(path)]), self.holds_text(field_key(path, "text"), text)]
        )
