"""The filter tree: what a user's filter means, with nothing left to interpret.

``normalise`` reads a ``SearchFilter`` (or a condition, or plain dicts) once: operators are canonical, operands are
checked and typed, negation is pushed down to the leaves, groups are flattened, constants folded. An adapter translates
the result, one method per node, and never looks at a ``SearchFilter``. What folds to ``Always`` or ``Never`` needs no
engine at all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from datetime import datetime
from enum import Enum
from typing import Any, Final, Literal, TypeAlias

from codeweaver_backends.capabilities import BackendCapabilities
from codeweaver_backends.errors import InvalidFilterError, LimitExceededError, UnsupportedError
from codeweaver_backends.facts import INT64_MAX, INT64_MIN, Path, instant_of, parse_instant
from codeweaver_backends.types import FilterCondition, FilterLike, Scalar, SearchFilter

__all__ = [
    "OPERATORS",
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
    "normalise",
]

Order: TypeAlias = Literal["gt", "ge", "lt", "le"]

OPERATORS: Final = ("eq", "ne", "in", "nin", "gt", "ge", "lt", "le", "contains", "exists", "is_null", "regex")
"""The canonical operators. Aliases: ``==``, ``!=``, ``not_in``, ``>``, ``>=``, ``gte``, ``<``, ``<=``, ``lte``."""

_ALIASES: Final = {
    "==": "eq",
    "!=": "ne",
    "not_in": "nin",
    ">": "gt",
    ">=": "ge",
    "gte": "ge",
    "<": "lt",
    "<=": "le",
    "lte": "le",
}


@dataclass(frozen=True, slots=True)
class Always:
    """Every point matches."""


@dataclass(frozen=True, slots=True)
class Never:
    """No point matches."""


@dataclass(frozen=True, slots=True)
class AnyOf:
    """The value, or an element of the list, equals one of ``values`` (``eq`` and ``in``). Never empty, no duplicates.

    Equality is JSON's: bool, number and string never equal each other, ``1 == 1.0``, null equals null.
    """

    path: Path
    values: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class NumberRange:
    """The number, or a number in the list, compares so with ``bound``, by exact value."""

    path: Path
    order: Order
    bound: int | float


@dataclass(frozen=True, slots=True)
class InstantRange:
    """The RFC 3339 string, or one in the list, compares so with ``bound`` (microseconds since the epoch, UTC)."""

    path: Path
    order: Order
    bound: int


@dataclass(frozen=True, slots=True)
class Contains:
    """``text`` is a literal substring of the string, or an element of the list."""

    path: Path
    text: str


@dataclass(frozen=True, slots=True)
class HasElement:
    """``value``, which is no string, is an element of the list (``contains`` with a number, a bool or null)."""

    path: Path
    value: int | float | bool | None


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

_ALWAYS, _NEVER = Always(), Never()


def normalise(search_filter: FilterLike | None, capabilities: BackendCapabilities) -> Node:
    """Read a filter into its tree.

    Raises ``InvalidFilterError`` for what the contract does not allow, ``LimitExceededError`` for what passes a
    declared limit, ``UnsupportedError`` for an operator that ``capabilities`` does not claim.
    """
    if search_filter is None:
        return _ALWAYS
    return _Reader(capabilities).node(search_filter, depth=1, negated=False)


@dataclass(slots=True)
class _Reader:
    capabilities: BackendCapabilities
    conditions: int = dataclass_field(default=0)

    def node(self, item: object, depth: int, negated: bool) -> Node:
        item = _coerce(item)
        if isinstance(item, FilterCondition):
            return self._condition(item, negated)
        limits = self.capabilities.limits
        if depth > limits.max_filter_depth:
            raise LimitExceededError(
                f"search_filter is nested deeper than {limits.max_filter_depth} filters", limit="max_filter_depth"
            )
        inner, widest = depth + 1, limits.max_in_values
        must = [*_items("must", item.must), *_items("conditions", item.conditions)]
        should = _items("should", item.should)
        must_not = _items("must_not", item.must_not)
        # De Morgan, while reading: a negated filter is the either of its negated parts.
        parts = [self.node(part, inner, negated) for part in must]
        parts += [self.node(part, inner, not negated) for part in must_not]
        if should:
            alternatives = [self.node(part, inner, negated) for part in should]
            parts.append(_all(alternatives, widest) if negated else _either(alternatives, widest))
        return _either(parts, widest) if negated else _all(parts, widest)

    def _condition(self, condition: FilterCondition, negated: bool) -> Node:
        self.conditions += 1
        limit = self.capabilities.limits.max_filter_conditions
        if self.conditions > limit:
            raise LimitExceededError(f"search_filter has more than {limit} conditions", limit="max_filter_conditions")
        path = _path(condition.field)
        operator = _operator(condition.operator)
        leaf, affirmed = _READERS[operator](self.capabilities, path, operator, condition.value)
        if isinstance(leaf, Never):
            return _ALWAYS if affirmed == negated else _NEVER
        return leaf if affirmed != negated else Not(leaf)


def _coerce(item: object) -> FilterCondition | SearchFilter:
    if isinstance(item, FilterCondition | SearchFilter):
        return item
    if not isinstance(item, Mapping):
        raise InvalidFilterError(
            f"search_filter holds a {type(item).__name__}; allowed are SearchFilter, FilterCondition and dicts of them"
        )
    allowed: tuple[str, ...]
    cls: type[FilterCondition | SearchFilter]
    if "field" in item or "operator" in item:
        allowed, cls = ("field", "operator", "value"), FilterCondition
        missing = [key for key in ("field", "operator") if key not in item]
        if missing:
            raise InvalidFilterError(f"a filter condition lacks {' and '.join(map(repr, missing))}")
    else:
        allowed, cls = ("must", "should", "must_not", "conditions"), SearchFilter
    unknown = [key for key in item if key not in allowed]
    if unknown:
        raise InvalidFilterError(f"a filter has the unknown key {unknown[0]!r}; allowed are {', '.join(allowed)}")
    return cls(**item)


def _items(name: str, value: object) -> list[object]:
    if value is None:
        return []
    if not isinstance(value, list | tuple):
        raise InvalidFilterError(f"{name} must be a list of conditions and filters, not a {type(value).__name__}")
    return list(value)


def _path(field: object) -> Path:
    if isinstance(field, tuple):
        if not field or not all(type(segment) is str for segment in field):
            raise InvalidFilterError("a tuple field must hold one string or more")
        path: Path = field
    elif type(field) is str:
        path = tuple(field.split("."))
        if "" in path:
            raise InvalidFilterError(
                f"field {field!r} has an empty segment; spell it as a tuple of keys if that is meant"
            )
    else:
        raise InvalidFilterError(f"field must be a string or a tuple of strings, not a {type(field).__name__}")
    for segment in path:
        _encodable("field", segment)
    return path


def _operator(operator: object) -> str:
    if isinstance(operator, Enum):
        operator = operator.value
    if isinstance(operator, str):
        canonical = _ALIASES.get(operator, operator)
        if canonical in _READERS:
            return canonical
    raise InvalidFilterError(
        f"operator {operator!r} is unknown; allowed are {', '.join(OPERATORS)} and {' '.join(_ALIASES)}"
    )


# --- operands: each reader gives a leaf, and whether the operator affirms it -----------------------------------------


def _equality(capabilities: BackendCapabilities, path: Path, operator: str, value: object) -> tuple[Leaf | Never, bool]:
    if operator in ("eq", "ne"):
        return AnyOf(path, (_scalar(operator, value),)), operator == "eq"
    if not isinstance(value, list | tuple):
        raise InvalidFilterError(f"the value of {operator!r} must be a list or tuple, not a {type(value).__name__}")
    limit = capabilities.limits.max_in_values
    if len(value) > limit:
        raise LimitExceededError(f"{operator!r} takes at most {limit} values, not {len(value)}", limit="max_in_values")
    values = _distinct(_scalar(operator, element) for element in value)
    return (AnyOf(path, values) if values else _NEVER), operator == "in"


def _comparison(
    capabilities: BackendCapabilities, path: Path, operator: str, value: object
) -> tuple[Leaf | Never, bool]:
    order: Order = operator  # type: ignore[assignment]
    if isinstance(value, str | datetime) and not isinstance(value, Enum):
        instant = _instant(operator, value)
        if not capabilities.supports_datetime_ranges:
            raise UnsupportedError("ranges over datetimes are not supported", capability="supports_datetime_ranges")
        return InstantRange(path, order, instant), True
    number = _scalar(operator, value)
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise InvalidFilterError(
            f"the value of {operator!r} must be a number, an aware datetime or an RFC 3339 string with offset, "
            f"not a {type(value).__name__}"
        )
    return NumberRange(path, order, number), True


def _containment(
    capabilities: BackendCapabilities, path: Path, operator: str, value: object
) -> tuple[Leaf | Never, bool]:
    operand = _scalar(operator, value)
    if not capabilities.supports_contains:
        raise UnsupportedError("the operator 'contains' is not supported", capability="supports_contains")
    if not isinstance(operand, str):
        return HasElement(path, operand), True
    limit = capabilities.limits.max_contains_length
    if len(operand) > limit:
        raise LimitExceededError(f"'contains' takes at most {limit} characters", limit="max_contains_length")
    return Contains(path, operand), True


def _presence(capabilities: BackendCapabilities, path: Path, operator: str, value: object) -> tuple[Leaf | Never, bool]:
    if value is not None and not isinstance(value, bool):
        raise InvalidFilterError(
            f"the value of {operator!r} must be True, False or absent, not a {type(value).__name__}"
        )
    return (Exists(path) if operator == "exists" else IsNull(path)), value is not False


def _regex(capabilities: BackendCapabilities, path: Path, operator: str, value: object) -> tuple[Leaf | Never, bool]:
    if type(value) is not str:
        raise InvalidFilterError(f"the value of 'regex' must be a string, not a {type(value).__name__}")
    _encodable("regex", value)
    if not capabilities.supports_regex:
        raise UnsupportedError("the operator 'regex' is not supported", capability="supports_regex")
    return Regex(path, value), True


_READERS: Final = {
    "eq": _equality,
    "ne": _equality,
    "in": _equality,
    "nin": _equality,
    "gt": _comparison,
    "ge": _comparison,
    "lt": _comparison,
    "le": _comparison,
    "contains": _containment,
    "exists": _presence,
    "is_null": _presence,
    "regex": _regex,
}


def _scalar(operator: str, value: Any) -> Scalar:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str) and not isinstance(value, Enum):
        _encodable(operator, value)
        return str(value)
    if isinstance(value, int) and not isinstance(value, Enum):
        if not INT64_MIN <= value <= INT64_MAX:
            raise InvalidFilterError(f"the value of {operator!r} must be an integer of −2^63 … 2^63−1")
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidFilterError(f"the value of {operator!r} must be finite, not {value!r}")
        return float(value)
    raise InvalidFilterError(
        f"the value of {operator!r} must be a string, a number, a bool or None, not a {type(value).__name__}"
    )


def _instant(operator: str, value: str | datetime) -> int:
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise InvalidFilterError(f"the datetime of {operator!r} must be aware: give it a time zone")
        return instant_of(value)
    instant = parse_instant(value)
    if instant is None:
        raise InvalidFilterError(
            f"the string of {operator!r} must be an RFC 3339 date-time with offset, as 2024-05-01T12:00:00Z"
        )
    return instant


def _encodable(name: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidFilterError(f"the text of {name!r} holds a lone surrogate, which is no character") from None


def _distinct(values: Iterable[Scalar]) -> tuple[Scalar, ...]:
    # True == 1 in Python, never in JSON: bools are told apart by their type.
    return tuple({(isinstance(value, bool), value): value for value in values}.values())


# --- groups ----------------------------------------------------------------------------------------------------------


def _all(parts: Iterable[Node], widest: int) -> Node:
    flat: list[Node] = []
    for part in parts:
        if isinstance(part, Never):
            return _NEVER
        if isinstance(part, All):
            flat.extend(part.parts)
        elif not isinstance(part, Always):
            flat.append(part)
    flat = _merged(flat, widest, negated=True)
    if _opposed(flat):
        return _NEVER
    return flat[0] if len(flat) == 1 else All(tuple(flat)) if flat else _ALWAYS


def _either(parts: Iterable[Node], widest: int) -> Node:
    flat: list[Node] = []
    for part in parts:
        if isinstance(part, Always):
            return _ALWAYS
        if isinstance(part, Either):
            flat.extend(part.parts)
        elif not isinstance(part, Never):
            flat.append(part)
    flat = _merged(flat, widest, negated=False)
    if _opposed(flat):
        return _ALWAYS
    return flat[0] if len(flat) == 1 else Either(tuple(flat)) if flat else _NEVER


def _opposed(parts: list[Node]) -> bool:
    """Whether a leaf and its negation stand beside each other: both never hold, and one of them always does.

    Qdrant 1.18.3 answered the first with every point that matches the leaf; no engine needs to be asked.
    """
    denied = {repr(part.leaf) for part in parts if isinstance(part, Not)}
    return bool(denied) and any(repr(part) in denied for part in parts)


def _merged(parts: list[Node], widest: int, *, negated: bool) -> list[Node]:
    """Fold the equalities of one path into one leaf: ``a=1 or a=2`` is ``a in [1, 2]``, and so for ``not … and not …``.

    A hundred alternatives are one look-up for an engine this way, instead of a hundred. No look-up grows wider than an
    ``in`` may be.
    """
    gathered: dict[Path, list[Scalar]] = {}
    rest: dict[str, Node] = {}
    for part in parts:
        leaf = part.leaf if negated and isinstance(part, Not) else part
        if isinstance(leaf, AnyOf) and isinstance(part, Not) == negated:
            gathered.setdefault(leaf.path, []).extend(leaf.values)
        else:
            # By its text, because to Python AnyOf(path, (1,)) == AnyOf(path, (True,)).
            rest.setdefault(repr(part), part)
    equalities = [
        AnyOf(path, values[start : start + widest])
        for path, values in ((path, _distinct(gathered_values)) for path, gathered_values in gathered.items())
        for start in range(0, len(values), widest)
    ]
    return [*(Not(leaf) if negated else leaf for leaf in equalities), *rest.values()]
