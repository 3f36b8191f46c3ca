"""From a user's filter to its tree, read once: aliases, operands, limits, negation pushed down to the leaves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from datetime import datetime
from enum import Enum
from typing import Any, Final

from codeweaver_backends.capabilities import BackendCapabilities
from codeweaver_backends.errors import InvalidFilterError, LimitExceededError, UnsupportedError
from codeweaver_backends.sdk.filters.tree import (
    ALWAYS,
    NEVER,
    AnyOf,
    Contains,
    Exists,
    HasElement,
    InstantRange,
    IsNull,
    Leaf,
    Never,
    Node,
    Not,
    NumberRange,
    Order,
    Regex,
    all_of,
    distinct,
    either_of,
)
from codeweaver_backends.sdk.hints import hint
from codeweaver_backends.sdk.index.facts import Path
from codeweaver_backends.sdk.index.keys import INT64_MAX, INT64_MIN, instant_of, parse_instant
from codeweaver_backends.types import FilterCondition, FilterLike, Scalar, SearchFilter

__all__ = ["OPERATORS", "parse_filter"]

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


def parse_filter(search_filter: FilterLike | None, capabilities: BackendCapabilities) -> Node:
    """Read a filter into its tree.

    Raises ``InvalidFilterError`` for what the contract does not allow, ``LimitExceededError`` for what passes a
    declared limit, ``UnsupportedError`` for an operator that ``capabilities`` does not claim.
    """
    if search_filter is None:
        return ALWAYS
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
            parts.append(all_of(alternatives, widest) if negated else either_of(alternatives, widest))
        return either_of(parts, widest) if negated else all_of(parts, widest)

    def _condition(self, condition: FilterCondition, negated: bool) -> Node:
        self.conditions += 1
        limit = self.capabilities.limits.max_filter_conditions
        if self.conditions > limit:
            raise LimitExceededError(f"search_filter has more than {limit} conditions", limit="max_filter_conditions")
        path = _path(condition.field)
        operator = _operator(condition.operator, self.capabilities)
        leaf, affirmed = _READERS[operator](self.capabilities, path, operator, condition.value)
        if isinstance(leaf, Never):
            return ALWAYS if affirmed == negated else NEVER
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


def _operator(operator: object, capabilities: BackendCapabilities) -> str:
    if isinstance(operator, Enum):
        operator = operator.value
    if isinstance(operator, str):
        canonical = _ALIASES.get(operator, operator)
        if canonical in _READERS:
            return canonical
    known = (name for name in OPERATORS if name != "regex" or capabilities.supports_regex)
    raise InvalidFilterError(
        f"operator {operator!r} is unknown; allowed are {', '.join(known)} and {' '.join(_ALIASES)}"
    )


# --- operands: each reader gives a leaf, and whether the operator affirms it -----------------------------------------


def _equality(capabilities: BackendCapabilities, path: Path, operator: str, value: object) -> tuple[Leaf | Never, bool]:
    if operator in ("eq", "ne"):
        return AnyOf(path, (_scalar(operator, value),)), operator == "eq"
    if not isinstance(value, list | tuple):
        kind = type(value)
        raise InvalidFilterError(
            f"the value of {operator!r} must be a list or tuple, not a {kind.__name__}{hint(kind)}"
        )
    limit = capabilities.limits.max_in_values
    if len(value) > limit:
        raise LimitExceededError(f"{operator!r} takes at most {limit} values, not {len(value)}", limit="max_in_values")
    values = distinct(_scalar(operator, element) for element in value)
    return (AnyOf(path, values) if values else NEVER), operator == "in"


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
            f"the value of {operator!r} must be a number, an aware datetime or an RFC 3339 date-time or date, "
            f"not a {type(value).__name__}{hint(type(value))}"
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
            f"the value of {operator!r} must be True, False or absent, not a {type(value).__name__}{hint(type(value))}"
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
        f"{hint(type(value))}"
    )


def _instant(operator: str, value: str | datetime) -> int:
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise InvalidFilterError(
                f"the datetime of {operator!r} must be aware: give it a time zone, or its text, which is read as UTC"
            )
        return instant_of(value)
    instant = parse_instant(value)
    if instant is None:
        raise InvalidFilterError(
            f"the string of {operator!r} must be an RFC 3339 date-time or date, as 2024-05-01T12:00:00Z or 2024-05-01"
        )
    return instant


def _encodable(name: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidFilterError(f"the text of {name!r} holds a lone surrogate, which is no character") from None
