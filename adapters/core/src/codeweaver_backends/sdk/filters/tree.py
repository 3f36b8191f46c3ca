"""The filter tree: what a user's filter means, with nothing left to interpret.

Operators are canonical, operands typed, negation stands at the leaves only, groups are flat and constants folded. An
adapter translates one node at a time and never looks at a ``SearchFilter``. What folds to ``Always`` or ``Never`` needs
no engine at all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from codeweaver_backends.sdk.index.facts import Path
from codeweaver_backends.types import Scalar

__all__ = [
    "ALWAYS",
    "NEVER",
    "All",
    "Always",
    "AnyOf",
    "Contains",
    "Either",
    "Exists",
    "HasElement",
    "InstantRange",
    "IsNull",
    "Leaf",
    "Never",
    "Node",
    "Not",
    "NumberRange",
    "Order",
    "Regex",
    "all_of",
    "distinct",
    "either_of",
]

Order: TypeAlias = Literal["gt", "ge", "lt", "le"]


def _exact(values: Iterable[Scalar]) -> tuple[tuple[bool, Scalar], ...]:
    """The values as JSON tells them apart: True == 1 in Python, never in JSON."""
    return tuple((isinstance(value, bool), value) for value in values)


@dataclass(frozen=True, slots=True)
class Always:
    """Every point matches."""


@dataclass(frozen=True, slots=True)
class Never:
    """No point matches."""


@dataclass(frozen=True, slots=True, eq=False)
class AnyOf:
    """The value, or an element of the list, equals one of ``values`` (``eq`` and ``in``). Never empty, no duplicates.

    Equality is JSON's: bool, number and string never equal each other, ``1 == 1.0``, null equals null.
    """

    path: Path
    values: tuple[Scalar, ...]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AnyOf) and self.path == other.path and _exact(self.values) == _exact(other.values)

    def __hash__(self) -> int:
        return hash((AnyOf, self.path, self.values))


@dataclass(frozen=True, slots=True)
class NumberRange:
    """The number, or a number in the list, compares so with ``bound``, by exact value."""

    path: Path
    order: Order
    bound: int | float


@dataclass(frozen=True, slots=True)
class InstantRange:
    """The RFC 3339 date-time or date, or one in the list, compares so with ``bound``, in microseconds since 1970."""

    path: Path
    order: Order
    bound: int


@dataclass(frozen=True, slots=True)
class Contains:
    """``text`` is a literal substring of the string, or an element of the list."""

    path: Path
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class HasElement:
    """``value``, which is no string, is an element of the list (``contains`` with a number, a bool or null)."""

    path: Path
    value: int | float | bool | None

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, HasElement)
            and self.path == other.path
            and _exact((self.value,)) == _exact((other.value,))
        )

    def __hash__(self) -> int:
        return hash((HasElement, self.path, self.value))


@dataclass(frozen=True, slots=True)
class Exists:
    """The key is there, whatever its value."""

    path: Path


@dataclass(frozen=True, slots=True)
class IsNull:
    """The key is there and its value is null (not a list that holds null)."""

    path: Path


@dataclass(frozen=True, slots=True)
class Regex:
    """The pattern (RE2 syntax) is found in the string."""

    path: Path
    pattern: str


Leaf: TypeAlias = AnyOf | NumberRange | InstantRange | Contains | HasElement | Exists | IsNull | Regex


@dataclass(frozen=True, slots=True)
class Not:
    """The leaf does not match: so a point without the field does."""

    leaf: Leaf


@dataclass(frozen=True, slots=True)
class All:
    """Every part matches. At least two parts, none of them an ``All``."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Either:
    """At least one part matches. At least two parts, none of them an ``Either``."""

    parts: tuple[Node, ...]


Node: TypeAlias = Always | Never | Leaf | Not | All | Either

ALWAYS, NEVER = Always(), Never()


# --- groups ----------------------------------------------------------------------------------------------------------


def all_of(parts: Iterable[Node], widest: int | None) -> Node:
    """The conjunction, folded: flat, without constants, equalities of one path merged up to ``widest`` values.

    With ``None`` for ``widest`` nothing is merged.
    """
    flat: list[Node] = []
    for part in parts:
        if isinstance(part, Never):
            return NEVER
        if isinstance(part, All):
            flat.extend(part.parts)
        elif not isinstance(part, Always):
            flat.append(part)
    if widest is not None:
        flat = _merged(flat, widest, negated=True)
    if _opposed(flat):
        return NEVER
    return flat[0] if len(flat) == 1 else All(tuple(flat)) if flat else ALWAYS


def either_of(parts: Iterable[Node], widest: int | None) -> Node:
    """The disjunction, folded as ``all_of`` does."""
    flat: list[Node] = []
    for part in parts:
        if isinstance(part, Always):
            return ALWAYS
        if isinstance(part, Either):
            flat.extend(part.parts)
        elif not isinstance(part, Never):
            flat.append(part)
    if widest is not None:
        flat = _merged(flat, widest, negated=False)
    if _opposed(flat):
        return ALWAYS
    return flat[0] if len(flat) == 1 else Either(tuple(flat)) if flat else NEVER


def _opposed(parts: list[Node]) -> bool:
    """Whether a leaf and its negation stand beside each other: both never hold, and one of them always does.

    Qdrant 1.18.3 answered the first with every point that matches the leaf; no engine needs to be asked.
    """
    denied: set[Node] = {part.leaf for part in parts if isinstance(part, Not)}
    return bool(denied) and any(part in denied for part in parts)


def _merged(parts: list[Node], widest: int, *, negated: bool) -> list[Node]:
    """Fold the equalities of one path into one leaf: ``a=1 or a=2`` is ``a in [1, 2]``, and so for ``not … and not …``.

    A hundred alternatives are one look-up for an engine this way, instead of a hundred. No look-up grows wider than an
    ``in`` may be.
    """
    gathered: dict[Path, list[Scalar]] = {}
    rest: dict[Node, None] = {}
    for part in parts:
        leaf = part.leaf if negated and isinstance(part, Not) else part
        if isinstance(leaf, AnyOf) and isinstance(part, Not) == negated:
            gathered.setdefault(leaf.path, []).extend(leaf.values)
        else:
            rest.setdefault(part)
    equalities = [
        AnyOf(path, values[start : start + widest])
        for path, values in ((path, distinct(gathered_values)) for path, gathered_values in gathered.items())
        for start in range(0, len(values), widest)
    ]
    return [*(Not(leaf) if negated else leaf for leaf in equalities), *rest]


def distinct(values: Iterable[Scalar]) -> tuple[Scalar, ...]:
    """The values without repetitions, as JSON tells them apart."""
    unique = list(values)
    return tuple(dict(zip(_exact(unique), unique, strict=True)).values())
