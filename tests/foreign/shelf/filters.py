"""Filters, read into one function from a payload to yes or no."""

import math
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from codeweaver.cw_types import FilterCondition, InvalidFilterError, LimitExceededError, SearchFilter, UnsupportedError

Test = Callable[[Any], bool]

MISSING = object()
DEPTH, CONDITIONS, VALUES, LENGTH = 32, 1_024, 4_096, 4_096

NAMES = {
    "==": "eq", "!=": "ne", ">": "gt", ">=": "ge", "gte": "ge", "<": "lt", "<=": "le", "lte": "le", "not_in": "nin",
}  # fmt: skip
KNOWN = ("eq", "ne", "in", "nin", "gt", "ge", "lt", "le", "contains", "exists", "is_null")


def compile_filter(search_filter: Any) -> Test:
    """The test that a filter stands for."""
    if search_filter is None:
        return lambda payload: True
    return _Compiler().read(search_filter, 1)


class _Compiler:
    def __init__(self) -> None:
        self.count = 0

    def read(self, item: Any, depth: int) -> Test:
        if isinstance(item, Mapping):
            item = _from_dict(item)
        if isinstance(item, FilterCondition):
            return self.condition(item)
        if not isinstance(item, SearchFilter):
            raise InvalidFilterError(f"a {type(item).__name__} is no filter")
        if depth > DEPTH:
            raise LimitExceededError(f"filters are nested at most {DEPTH} deep", limit="max_filter_depth")
        groups = [getattr(item, name) for name in ("must", "conditions", "should", "must_not")]
        for group in groups:
            if group is not None and not isinstance(group, (list, tuple)):
                raise InvalidFilterError("a group of a filter is a list")
        must, more, should, must_not = ([self.read(one, depth + 1) for one in group or ()] for group in groups)

        def test(payload: Any) -> bool:
            return (
                all(one(payload) for one in must)
                and all(one(payload) for one in more)
                and (not should or any(one(payload) for one in should))
                and not any(one(payload) for one in must_not)
            )

        return test

    def condition(self, condition: FilterCondition) -> Test:
        self.count += 1
        if self.count > CONDITIONS:
            raise LimitExceededError(f"a filter has at most {CONDITIONS} conditions", limit="max_filter_conditions")
        path = _path(condition.field)
        name = NAMES.get(condition.operator, condition.operator) if isinstance(condition.operator, str) else None
        if name == "regex":
            raise UnsupportedError("regular expressions are not supported", capability="supports_regex")
        if name not in KNOWN:
            raise InvalidFilterError(f"{condition.operator!r} is no operator; there are {', '.join(KNOWN)}")
        holds, expected = _holds(name, condition.value)
        return lambda payload: holds(_at(payload, path)) is expected


def _from_dict(item: Mapping[str, Any]) -> Any:
    cls: Any = FilterCondition if "field" in item or "operator" in item else SearchFilter
    try:
        return cls(**item)
    except TypeError:
        raise InvalidFilterError(f"these are not the keys of a {cls.__name__}: {', '.join(map(str, item))}") from None


def _path(field: Any) -> tuple[str, ...]:
    path = tuple(field.split(".")) if isinstance(field, str) else field
    if not isinstance(path, tuple) or not path or not all(isinstance(one, str) for one in path):
        raise InvalidFilterError("a field is a dotted string, or a tuple of keys")
    if isinstance(field, str) and "" in path:
        raise InvalidFilterError("a dotted field has no empty part; give a tuple for an empty key")
    for one in path:
        _encodable(one)
    return path


def _at(payload: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        if not isinstance(payload, dict) or key not in payload:
            return MISSING
        payload = payload[key]
    return payload


def _each(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _kind(value: Any) -> str:
    return "bool" if isinstance(value, bool) else "number" if isinstance(value, (int, float)) else type(value).__name__


def _same(one: Any, other: Any) -> bool:
    return _kind(one) == _kind(other) and one == other


def _encodable(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidFilterError("text must be encodable as UTF-8") from None


def _scalar(value: Any) -> Any:
    if value is not None and type(value) not in (bool, int, float, str):
        raise InvalidFilterError(f"a {type(value).__name__} is no operand")
    if type(value) is int and not -(2**63) <= value < 2**63:
        raise InvalidFilterError("an integer operand has 64 bits")
    if type(value) is float and not math.isfinite(value):
        raise InvalidFilterError("an operand is finite")
    if type(value) is str:
        _encodable(value)
    return value


def _holds(name: str, value: Any) -> tuple[Test, bool]:
    """A test of the value at a path, and the answer it has to give."""
    if name in ("eq", "ne", "in", "nin"):
        return _equal_to([value] if name in ("eq", "ne") else value), name in ("eq", "in")
    if name in ("gt", "ge", "lt", "le"):
        return _compared(name, value), True
    if name == "contains":
        return _containing(_scalar(value)), True
    if not (value is None or isinstance(value, bool)):
        raise InvalidFilterError(f"{name} takes True, False or nothing")
    if name == "exists":
        return (lambda found: found is not MISSING), value is not False
    return (lambda found: found is None), value is not False


def _equal_to(values: Any) -> Test:
    if not isinstance(values, (list, tuple)):
        raise InvalidFilterError("in and nin take a list")
    if len(values) > VALUES:
        raise LimitExceededError(f"in takes at most {VALUES} values", limit="max_in_values")
    operands = [_scalar(one) for one in values]
    return lambda found: any(_same(one, operand) for one in _each(found) for operand in operands)


def _compared(name: str, bound: Any) -> Test:
    if isinstance(bound, (str, datetime)):
        raise UnsupportedError("instants are not compared", capability="supports_datetime_ranges")
    if _kind(_scalar(bound)) != "number":
        raise InvalidFilterError(f"{name} takes a number")
    compare: Callable[[Any], bool] = {
        "gt": lambda one: one > bound,
        "ge": lambda one: one >= bound,
        "lt": lambda one: one < bound,
        "le": lambda one: one <= bound,
    }[name]
    return lambda found: any(_kind(one) == "number" and compare(one) for one in _each(found))


def _containing(operand: Any) -> Test:
    if isinstance(operand, str) and len(operand) > LENGTH:
        raise LimitExceededError(f"contains takes at most {LENGTH} characters", limit="max_contains_length")

    def test(found: Any) -> bool:
        if isinstance(found, str):
            return isinstance(operand, str) and operand in found
        return isinstance(found, list) and any(_same(one, operand) for one in found)

    return test
