"""Payloads, filters, ids and vectors, made by chance so that filters hit.

One ``Maker`` makes them all, from a ``World``: a few fields with a few values each. It takes its choices from
a ``random.Random``: a seeded one, or one that hypothesis controls.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final, TypeVar

from codeweaver_backends.types import (
    FilterCondition,
    FilterLike,
    Payload,
    PointId,
    SearchFilter,
)
from codeweaver_conformance import oracle
from codeweaver_conformance.vocabulary import FAMILIES, GROUPS, IDS, KEYS, MOMENTS, OPERATORS, PATTERNS, Path

__all__ = ["MAX_DEPTH", "WORLD", "Maker", "World", "make_world"]

T = TypeVar("T")

_MAX_CONDITIONS: Final = 24
MAX_DEPTH: Final = 5
"""Of the filters made, unless another is asked for."""
_ONES: Final = (1, True, 1.0, "1")
_NOUGHTS: Final = (0, False, 0.0, "", None)
_TWINS: Final[dict[str, tuple[Any, ...]]] = {
    **dict.fromkeys(("1", "true", "1.0"), _ONES),
    **dict.fromkeys(("0", "false", "0.0", "none", ""), _NOUGHTS),
}
"""Operands that are easily taken for the one that is spelt so."""


@dataclass(frozen=True, slots=True)
class World:
    """What payloads and filters have in common."""

    fields: tuple[tuple[Path, tuple[Any, ...]], ...]
    """Fields, and the scalars that occur in each."""
    contains: bool = True
    """Whether filters may say ``contains``."""
    datetimes: bool = True
    """Whether ranges may compare instants."""
    regex: bool = False
    """Whether filters may say ``regex``."""


WORLD: Final = World(
    (
        (("lang",), ("a", "ab", "abc", "A", "", "it's", "50%_off", "50 percent off")),
        (("Lang",), ("a", 'say "hi"', "back\\slash", "\x00", "日本語")),
        (("n",), (1, 1.0, True, "1", 0, 2**53, 2**53 + 1, -1.5, 2**63 - 1)),
        (("meta", "n"), (0.1, 0.30000000000000004, 10, 2, "10", False)),
        (("meta", "lang"), ("a", "b", "é", "e\u0301", "new\nline")),
        (("when",), ("2024-05-01T12:00:00Z", "2024-05-01T14:00:00.5+02:00", "2024-05-01", "2024-05-01t12:00:00", 7)),
        (("tags",), ("a", "b", 1, True, 2.0)),
        (("a.b",), (1, "a")),
        (("",), (0, "")),
    )
)
"""A world for properties that need no more than one."""


class Maker:
    """Makes things of one world. Where a choice is hypothesis', the plainest alternative is the one it shrinks to."""

    def __init__(self, random: Random, world: World) -> None:
        self._random = random
        self._world = world
        self._budget = 0
        self._last: tuple[tuple[Path, tuple[Any, ...]], str, Any] = (world.fields[0], "eq", None)

    def _pick(self, options: Sequence[T]) -> T:
        return options[self._random.randrange(len(options))]

    def _chance(self, percent: int) -> bool:
        return self._random.randrange(100) >= 100 - percent

    # --- payloads ---

    def payload(self) -> Payload:
        """A payload with most of the world's fields."""
        payload: Payload = {}
        for path, pool in self._world.fields:
            if not self._chance(15):
                _put(payload, path, self._value(pool))
        return payload

    def _value(self, pool: Sequence[Any]) -> Any:
        kind = self._random.randrange(100)
        if kind < 62:
            return self._pick(pool)
        if kind < 70:
            return None
        if kind < 88:
            return [self._element(pool) for _ in range(self._random.randrange(5))]
        if kind < 93:
            return {self._pick(KEYS): self._pick(pool) for _ in range(self._random.randrange(3))}
        return self._stranger()

    def _element(self, pool: Sequence[Any]) -> Any:
        if self._chance(88):
            return self._pick(pool)
        return self._pick((None, [], {}, [self._pick(pool)], {self._pick(KEYS): self._pick(pool)}, self._stranger()))

    def _stranger(self) -> Any:
        """A scalar of no vocabulary: any text, any 64-bit integer, any finite double."""
        match self._random.randrange(3):
            case 0:
                return self._text()
            case 1:
                return self._random.randrange(-(2**63), 2**63) >> self._random.randrange(64)
            case _:
                number: float = struct.unpack("d", struct.pack("Q", self._random.randrange(2**64)))[0]
                return number if math.isfinite(number) else 0.5

    def _text(self, at_least: int = 0) -> str:
        code_points = (self._random.randrange(self._pick((0x80, 0x800, 0x110000))) for _ in range(12))
        text = "".join(chr(one) for one in code_points if not 0xD800 <= one < 0xE000)
        return text[: at_least + self._random.randrange(12)] or "x" * at_least

    # --- filters ---

    def filter(self, depth: int = MAX_DEPTH) -> FilterLike:
        """A filter, nested at most ``depth`` deep, as objects or as dicts."""
        self._budget = _MAX_CONDITIONS
        match self._pick(["single", "single", "single", "pair", "group", "group", "group", "group", "group"]):
            case "single":
                return SearchFilter(must=[self._spelt(self.condition())])
            case "pair":
                pair: list[FilterLike] = [self.condition(), self.condition(again=True)]
                return SearchFilter(**{self._pick(("must", "should", "must_not")): pair})
        return self._spelt(self._group(depth))

    def _group(self, depth: int) -> SearchFilter:
        if self._chance(4):
            return SearchFilter()
        sizes = {"must": (1, 0, 1, 2), "should": (0, 0, 2, 3), "must_not": (0, 0, 1), "conditions": (0, 0, 0, 1)}
        return SearchFilter(**{name: self._parts(self._pick(options), depth) for name, options in sizes.items()})

    def _parts(self, size: int, depth: int) -> list[FilterLike] | None:
        size = min(size, self._budget)
        if not size and not self._chance(20):
            return None
        self._budget -= size
        nested = depth > 1
        return [
            self._spelt(self._group(depth - 1) if nested and self._chance(28) else self.condition())
            for _ in range(size)
        ]

    def _spelt(self, item: FilterCondition | SearchFilter) -> FilterLike:
        """As it is, or as the dict that spells it."""
        if not self._chance(20):
            return item
        names = item.__dataclass_fields__
        entries = {name: getattr(item, name) for name in names}
        if isinstance(item, SearchFilter) or item.value is None:
            return {name: value for name, value in entries.items() if value is not None}
        return entries

    def condition(self, *, again: bool = False) -> FilterCondition:
        """A condition on a field of the world, or on one that is easily taken for it.

        ``again`` asks the last condition's field once more, and often the same of it with an operand that is easily
        taken for the last one: what folds such pairs must not take ``True`` for ``1``.
        """
        (path, pool), operator, value = self._last
        if not again and not self._chance(25):
            path, pool = self._pick(self._world.fields)
        if operator not in (possible := self._operators(pool)) or not self._chance(70 if again else 25):
            operator = self._pick(possible)
        twins = _TWINS.get(str(value).lower(), ()) if operator in ("eq", "ne", "contains") and self._chance(50) else ()
        value = self._pick(twins) if twins else self._operand(operator, pool)
        self._last = (path, pool), operator, value
        if self._chance(8):
            path = self._pick((path[:1], (*path, "0"), (*path, self._pick(KEYS)), (path[0].swapcase(),), ("absent",)))
        return FilterCondition(self._field(path), self._pick(OPERATORS[operator]), value)

    def _operators(self, pool: Sequence[Any]) -> list[str]:
        operators = ["eq", "ne", "in", "nin", "exists", "is_null"]
        if self._bounds(pool):
            operators += ["gt", "ge", "lt", "le"]
        if self._world.contains:
            operators += ["contains", "contains"]
        if self._world.regex:
            operators.append("regex")
        return operators

    def _bounds(self, pool: Sequence[Any]) -> list[Any]:
        """The pool's values that a range takes."""
        numbers = [one for one in pool if isinstance(one, int | float) and not isinstance(one, bool)]
        return numbers + [one for one in pool if self._world.datetimes and _is_instant(one)]

    def _field(self, path: Path) -> str | tuple[str, ...]:
        needs_tuple = any("." in segment or not segment for segment in path)
        return path if needs_tuple or self._chance(15) else ".".join(path)

    def _operand(self, operator: str, pool: Sequence[Any]) -> Any:
        match operator:
            case "in" | "nin":
                values = [self._scalar(pool) for _ in range(self._pick((1, 2, 3, 4, 0)))]
                return tuple(values) if self._chance(15) else values
            case "gt" | "ge" | "lt" | "le":
                return self._bound(self._pick(self._bounds(pool)))
            case "contains":
                value = self._scalar(pool)
                return self._slice(value) if isinstance(value, str) else value
            case "exists" | "is_null":
                return self._pick((True, False, None))
            case "regex":
                return self._pick(PATTERNS)
        return self._scalar(pool)

    def _scalar(self, pool: Sequence[Any]) -> Any:
        if self._chance(92):
            return self._pick(pool)
        return self._pick((None, True, False, 0, "", self._pick(self._pick(GROUPS)), self._stranger()))

    def _slice(self, text: str) -> str:
        start = self._random.randrange(len(text) + 1)
        return text[start : start + 1 + self._random.randrange(4)] if self._chance(70) else text

    def _bound(self, value: Any) -> Any:
        """The value, or one beside it."""
        if isinstance(value, str):
            return self._pick(MOMENTS) if self._chance(40) else value
        if not self._chance(30):
            return value
        beside = [math.nextafter(value, math.inf), math.nextafter(value, -math.inf), float(value), float(value) + 0.5]
        if abs(value) < 2**62:
            beside += [int(value), int(value) + 1, int(value) - 1]
        return self._pick([one for one in beside if math.isfinite(one)])

    # --- ids and vectors ---

    def point_id(self) -> PointId:
        """An id the contract allows."""
        kind = self._random.randrange(10)
        if kind < 6:
            return self._pick(IDS)
        if kind < 8:
            return self._random.randrange(2**63) >> self._random.randrange(63)
        return self._text(at_least=1)

    def vector(self, dimension: int, *, zero: bool = False) -> list[float]:
        """A vector of float32 numbers of moderate size, on a coarse grid as often as not; all zero only if allowed."""
        if self._chance(50):
            numbers = [self._random.randrange(-16, 17) / 8 for _ in range(dimension)]
        else:
            scale = self._pick((1.0, 1.0, 0.1, 10.0))
            numbers = [scale * self._random.randrange(-(2**24), 2**24 + 1) / 2**24 for _ in range(dimension)]
        if not any(numbers) and not zero:
            numbers[0] = 1.0
        return list(struct.unpack(f"{dimension}f", struct.pack(f"{dimension}f", *numbers)))


def _put(payload: Payload, path: Path, value: Any) -> None:
    """Set the value at the path, unless something else stands in the way."""
    node: Any = payload
    for key in path[:-1]:
        node = node.setdefault(key, {})
        if not isinstance(node, dict):
            return
    node.setdefault(path[-1], value)


def _is_instant(value: object) -> bool:
    """Whether the contract takes the string as the operand of a range."""
    try:
        oracle.matches(FilterCondition("x", "ge", value), {"x": 0})
    except ValueError:
        return False
    return isinstance(value, str)


def make_world(random: Random, *, contains: bool, datetimes: bool, regex: bool) -> World:
    """Some families of fields, a few fields of each; for each field some values of a group, and some of another."""
    paths = [path for family in random.sample(FAMILIES, 4) for path in random.sample(family, min(3, len(family)))]
    fields = []
    for path in paths:
        main, other = random.choice(GROUPS), random.choice(GROUPS)
        fields.append((path, (*random.sample(main, min(5, len(main))), *random.sample(other, 2))))
    return World(tuple(fields), contains, datetimes, regex)
