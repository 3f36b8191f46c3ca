"""What a backend should answer: the contract read the plainest way, in plain Python.

The kit's expected values come from here. Of the suite only its nouns are imported (``codeweaver_backends.types``), none
of its logic, so that a fault in the core's normaliser, formulas or facts shows as a failing test and is not repeated by
the test. There is no cleverness and no speed here: each function is to be compared with the contract by eye.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from numbers import Real
from typing import Any, Final, Literal, TypeAlias

from codeweaver_backends.types import (
    DistanceMetric,
    FilterCondition,
    FilterLike,
    PointId,
    SearchFilter,
    SearchResult,
    VectorPoint,
)

__all__ = ["check_ranking", "json_equal", "matches", "rank", "score", "selected", "tolerance", "vector_of"]

Vector: TypeAlias = Iterable[Any]
"""Numbers: a list, a tuple, an array."""

# --- filters: contract, section 6 ------------------------------------------------------------------------------------

_ALIASES: Final = {
    "==": "eq",
    "!=": "ne",
    ">": "gt",
    ">=": "ge",
    "gte": "ge",
    "<": "lt",
    "<=": "le",
    "lte": "le",
    "not_in": "nin",
}


def matches(search_filter: FilterLike | None, payload: Mapping[str, Any] | None) -> bool:
    """Whether the filter selects a point with this payload (section 6).

    ``must`` and ``conditions`` all, ``should`` at least one, ``must_not`` none; an empty or absent list is no
    restriction. A point without payload has no fields. The filter must be one that the contract allows.
    """
    if search_filter is None:
        return True
    if isinstance(search_filter, Mapping):
        is_condition = "operator" in search_filter
        search_filter = FilterCondition(**search_filter) if is_condition else SearchFilter(**search_filter)
    if isinstance(search_filter, FilterCondition):
        return _holds(search_filter, payload or {})
    return (
        all(matches(part, payload) for part in search_filter.must or [])
        and all(matches(part, payload) for part in search_filter.conditions or [])
        and (not search_filter.should or any(matches(part, payload) for part in search_filter.should))
        and not any(matches(part, payload) for part in search_filter.must_not or [])
    )


def selected(points: Iterable[VectorPoint], search_filter: FilterLike | None) -> list[PointId]:
    """The ids of the points that the filter selects, in the order given."""
    return [point.id for point in points if matches(search_filter, point.payload)]


def _holds(condition: FilterCondition, payload: Mapping[str, Any]) -> bool:
    """One row of the table of operators in section 6."""
    present, value = _look_up(condition.field, payload)
    values = [] if not present else value if _is_list(value) else [value]
    operand = condition.value
    match _ALIASES.get(condition.operator, condition.operator):
        case "eq":
            return any(_equal(one, operand) for one in values)
        case "ne":
            return not any(_equal(one, operand) for one in values)
        case "in":
            return any(_equal(one, other) for one in values for other in operand)
        case "nin":
            return not any(_equal(one, other) for one in values for other in operand)
        case "gt" | "ge" | "lt" | "le" as order:
            return any(_compares(one, order, operand) for one in values)
        case "contains":
            if isinstance(value, str):
                return isinstance(operand, str) and operand in value
            return _is_list(value) and any(_equal(one, operand) for one in value)
        case "exists":
            return present is (operand is not False)
        case "is_null":
            return (present and value is None) is (operand is not False)
        case "regex":
            # RE2 itself is not needed for the patterns the kit asks: the two syntaxes agree on them.
            return isinstance(value, str) and re.search(operand, value) is not None
    raise ValueError(f"the contract knows no operator {condition.operator!r}")


def _look_up(field: str | tuple[str, ...], payload: Mapping[str, Any]) -> tuple[bool, Any]:
    """Whether the field is there, and its value: dotted into nested objects, never into lists; a tuple is the path."""
    value: Any = payload
    for key in field if isinstance(field, tuple) else field.split("."):
        if not isinstance(value, Mapping) or key not in value:
            return False, None
        value = value[key]
    return True, value


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _equal(one: object, operand: object) -> bool:
    """JSON equality with a scalar: bool, number, string and null never equal each other; 1 == 1.0, by exact value."""
    if isinstance(one, bool) or isinstance(operand, bool):
        return one is operand
    if _is_number(one) and _is_number(operand):
        return one == operand
    if isinstance(one, str) and isinstance(operand, str):
        return one == operand
    return one is None and operand is None


def _compares(one: object, order: Literal["gt", "ge", "lt", "le"], operand: object) -> bool:
    """Numbers with numbers, by exact value (Python's own comparison of int and float); instants with instants."""
    left: Any
    right: Any
    if _is_number(operand):
        if not _is_number(one):
            return False
        left, right = one, operand
    else:
        left, right = _instant(one), _instant(operand)
        if right is None:
            raise ValueError(f"the contract refuses {operand!r} as the operand of a range")
        if left is None:
            return False
    match order:
        case "gt":
            return bool(left > right)
        case "ge":
            return bool(left >= right)
        case "lt":
            return bool(left < right)
        case "le":
            return bool(left <= right)


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DATE_TIME: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d) (?: [Tt] (\d\d):(\d\d):(\d\d) (?: \.(\d+) )? (?: [Zz] | ([+-])(\d\d):(\d\d) )? )?",
    re.ASCII | re.VERBOSE,
)


def _instant(value: object) -> timedelta | None:
    """Time since the epoch, to the microsecond, of an aware datetime or an RFC 3339 date-time or date; else ``None``.

    A string without offset is of UTC, a date its midnight. Further digits are cut. ``datetime`` knows the calendar and
    the clock: no 29 February 2023, no ``:60``, no ``24:00``, no year 0.
    """
    if isinstance(value, datetime):
        return value - _EPOCH if value.utcoffset() is not None else None
    parts = _DATE_TIME.fullmatch(value) if isinstance(value, str) else None
    if parts is None:
        return None
    *numbers, fraction, sign, hours, minutes = parts.groups()
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    if offset >= timedelta(days=1) or int(minutes or 0) > 59:
        return None
    year, month, day, hour, minute, second = (int(one or 0) for one in numbers)
    microsecond = int(f"{fraction or ''}000000"[:6])
    zone = timezone(-offset if sign == "-" else offset)
    try:
        return datetime(year, month, day, hour, minute, second, microsecond, zone) - _EPOCH
    except ValueError:
        return None


# --- scores: contract, section 5 -------------------------------------------------------------------------------------


def score(metric: DistanceMetric, query: Vector, vector: Vector | None) -> float:
    """The contract's score (section 5), of the vectors as float32 (section 4), in float64 with exact sums."""
    q, x = _float32(query), _float32(vector)
    match metric:
        case DistanceMetric.DOT_PRODUCT:
            return _dot(q, x)
        case DistanceMetric.COSINE:
            return max(-1.0, min(1.0, _dot(q, x) / (_norm(q) * _norm(x))))
        case DistanceMetric.EUCLIDEAN:
            return 1.0 / (1.0 + math.sqrt(math.fsum((a - b) ** 2 for a, b in zip(q, x, strict=True))))
        case DistanceMetric.MANHATTAN:
            return 1.0 / (1.0 + math.fsum(abs(a - b) for a, b in zip(q, x, strict=True)))


def tolerance(metric: DistanceMetric, query: Vector, vector: Vector | None) -> float:
    """How far a score may be off (section 5): ``1e-5 · max(1, |s|)``, dot product scaled by the norms."""
    if metric is DistanceMetric.DOT_PRODUCT:
        return 1e-5 * max(1.0, _norm(_float32(query)) * _norm(_float32(vector)))
    return 1e-5  # the other metrics' scores are within [−1, 1]


def _float32(vector: Vector | None) -> list[float]:
    if vector is None:
        raise TypeError("the point has no vector: it was read without")
    numbers = [float(number) for number in vector]
    return list(struct.unpack(f"{len(numbers)}f", struct.pack(f"{len(numbers)}f", *numbers)))


def _dot(q: Sequence[float], x: Sequence[float]) -> float:
    return math.fsum(a * b for a, b in zip(q, x, strict=True))


def _norm(x: Sequence[float]) -> float:
    return math.sqrt(_dot(x, x))


# --- rankings: contract, sections 5 and 6 ----------------------------------------------------------------------------


def vector_of(point: VectorPoint) -> Vector:
    """The vector of a point that was given one."""
    if point.vector is None:
        raise ValueError(f"the point {point.id!r} has no vector")
    return point.vector


def rank(
    points: Iterable[VectorPoint],
    query: Vector,
    metric: DistanceMetric,
    limit: int | None = None,
    search_filter: FilterLike | None = None,
    threshold: float | None = None,
) -> list[tuple[PointId, float]]:
    """The ids and scores of an exact search: filter, score, keep what reaches the threshold, sort, cut."""
    query = list(query)
    found = [
        (point.id, score(metric, query, vector_of(point))) for point in points if matches(search_filter, point.payload)
    ]
    found = [(point_id, value) for point_id, value in found if threshold is None or value >= threshold]
    found.sort(key=lambda pair: -pair[1])
    return found if limit is None else found[:limit]


@dataclass(frozen=True, slots=True)
class _Expected:
    point: VectorPoint
    matches: bool
    score: float
    tolerance: float

    @property
    def at_least(self) -> float:
        return self.score - self.tolerance

    @property
    def at_most(self) -> float:
        return self.score + self.tolerance

    def __str__(self) -> str:
        return f"{self.point.id!r} (score {self.score:.9g} ± {self.tolerance:.1g})"


def check_ranking(
    got: Sequence[SearchResult],
    points: Iterable[VectorPoint],
    query: Vector,
    metric: DistanceMetric,
    limit: int = 10,
    search_filter: FilterLike | None = None,
    threshold: float | None = None,
) -> str | None:
    """``None`` if ``got`` is a right answer to this search over ``points``, else the first disagreement in words.

    Ties may come in any order, and at the cut any of the tied (section 5); scores nearer than their tolerances are
    tied, and near the threshold a point may be in or out. A point that was returned must have a *returned* score that
    reaches the threshold.
    """
    query = list(query)
    expected = {
        _key(point.id): _Expected(
            point,
            matches(search_filter, point.payload),
            score(metric, query, vector_of(point)),
            tolerance(metric, query, vector_of(point)),
        )
        for point in points
    }
    if len(got) > limit:
        return f"{len(got)} results came back, more than the limit of {limit}"
    return _wrong_hit(got, expected, threshold) or _wrong_omission(got, expected, limit, threshold)


def _key(point_id: object) -> tuple[type, object]:
    """``1``, ``True`` and ``1.0`` are one key of a dict, and no two of them one id."""
    return type(point_id), point_id


def _is_real(value: object) -> bool:
    """Python's numbers and numpy's; a wrong backend may give anything."""
    return isinstance(value, Real)


def _wrong_hit(
    got: Sequence[SearchResult], expected: Mapping[tuple[type, object], _Expected], threshold: float | None
) -> str | None:
    seen: set[tuple[type, object]] = set()
    for place, hit in enumerate(got):
        hit_is = f"result {place + 1} is {hit.id!r}"
        value = hit.score
        known = expected.get(_key(hit.id))
        if known is None:
            return f"{hit_is}, and no such point was stored"
        if _key(hit.id) in seen:
            return f"{hit_is}, which came before"
        if not known.matches:
            return f"{hit_is}, which the filter does not select: its payload is {known.point.payload!r}"
        if not _is_real(value):
            return f"{hit_is} with the score {value!r}, which is no number"
        if not abs(value - known.score) <= known.tolerance:  # so written, NaN is wrong too
            return f"{hit_is} with the score {value!r}; expected {known.score:.9g} ± {known.tolerance:.1g}"
        if threshold is not None and value < threshold:
            return f"{hit_is} with the score {value!r}, below the threshold of {threshold!r}"
        if place and value > got[place - 1].score:
            return f"{hit_is} with the score {value!r}, after one with {got[place - 1].score!r}: not best first"
        seen.add(_key(hit.id))
    return None


def _wrong_omission(
    got: Sequence[SearchResult],
    expected: Mapping[tuple[type, object], _Expected],
    limit: int,
    threshold: float | None,
) -> str | None:
    returned = {_key(hit.id) for hit in got}
    missing = [
        point
        for key, point in expected.items()
        if key not in returned and point.matches and (threshold is None or point.at_least >= threshold)
    ]
    if not missing or not limit:
        return None
    best = max(missing, key=lambda point: point.at_least)
    if len(got) < limit:
        return f"{best} is missing, while {len(got)} results came back for a limit of {limit}"
    worst = min((expected[_key(hit.id)] for hit in got), key=lambda point: point.at_most)
    if best.at_least > worst.at_most:
        return f"{best} is missing, while the worse {worst} came back"
    return None


# --- payloads: contract, section 3 -----------------------------------------------------------------------------------


def json_equal(one: object, other: object) -> bool:
    """Whether two JSON values are the same, types included: ``1``, ``1.0`` and ``True`` are three (section 3).

    Key order and the sign of −0.0 are not promised. A tuple is an array, as it is to JSON.
    """
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(json_equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(json_equal(a, b) for a, b in zip(one, other, strict=True))
    return type(one) is type(other) and one == other
