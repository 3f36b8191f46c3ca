"""Filters as Python's own comparisons: ``(F("lines") < 50) & (F("meta", "lang") == "py")``.

A comparison gives a ``FilterCondition``, and ``&``, ``|`` and ``~`` give a ``SearchFilter`` of them; both are what any
call takes as a filter. Nothing is checked here: a backend judges a filter, whoever wrote it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final, NoReturn, TypeAlias

from codeweaver_backends.types import FilterCondition, FilterLike, Scalar, SearchFilter

__all__ = ["Combination", "Condition", "F"]

Ordered: TypeAlias = float | str | datetime
"""What a range compares with: a number, an aware datetime, or an RFC 3339 date-time or date; UTC without offset."""

_NO_TRUTH: Final = (
    "a filter is neither true nor false. Combine filters by & | ~ instead of and, or, not, and write a range as two "
    'comparisons, each in parentheses: (F("lines") > 10) & (F("lines") < 50)'
)


class _Combinable:
    """What conditions and combinations have in common: ``&``, ``|`` and ``~``, also with filters written by hand."""

    __slots__ = ()

    def __and__(self, other: FilterLike) -> Combination:
        return _all_of(self, other)

    def __rand__(self, other: FilterLike) -> Combination:
        return _all_of(other, self)

    def __or__(self, other: FilterLike) -> Combination:
        return Combination(should=[*_alternatives(self), *_alternatives(other)])

    def __ror__(self, other: FilterLike) -> Combination:
        return Combination(should=[*_alternatives(other), *_alternatives(self)])

    def __invert__(self) -> Combination:
        return Combination(must_not=[self])  # type: ignore[list-item]  # each of the two subclasses is a filter

    def __bool__(self) -> NoReturn:
        raise TypeError(_NO_TRUTH)


class Condition(_Combinable, FilterCondition):
    """One test of one payload field, as ``F`` makes it."""

    __slots__ = ()


class Combination(_Combinable, SearchFilter):
    """Conditions that were combined."""

    __slots__ = ()


def _all_of(*parts: Any) -> Combination:
    # Taken apart where it says the same: a chain of & is then as deep as one, whatever depth a backend allows.
    must: list[FilterLike] = []
    must_not: list[FilterLike] = []
    for part in parts:
        if isinstance(part, Combination) and not part.should:
            must += part.must or ()
            must_not += part.must_not or ()
        else:
            must.append(part)
    return Combination(must=must or None, must_not=must_not or None)


def _alternatives(part: Any) -> list[FilterLike]:
    if isinstance(part, Combination) and part.should and not part.must and not part.must_not:
        return list(part.should)
    return [part]


class F:
    """A payload field, to be compared: ``F("lines") < 50``.

    One name is dotted into nested objects (``F("meta.lang")``); several spell the keys out, for keys that hold dots or
    are empty (``F("meta", "a.b")``), and a tuple does so for one key (``F(("a.b",))``).
    """

    __slots__ = ("field",)

    def __init__(self, name: str | tuple[str, ...], *keys: str) -> None:
        self.field = (name, *keys) if keys and isinstance(name, str) else name

    def __eq__(self, value: Scalar) -> Condition:  # type: ignore[override]
        return Condition(self.field, "eq", value)

    def __ne__(self, value: Scalar) -> Condition:  # type: ignore[override]
        return Condition(self.field, "ne", value)

    __hash__ = None  # type: ignore[assignment]  # == says nothing about two fields

    def __lt__(self, value: Ordered) -> Condition:
        return Condition(self.field, "lt", value)

    def __le__(self, value: Ordered) -> Condition:
        return Condition(self.field, "le", value)

    def __gt__(self, value: Ordered) -> Condition:
        return Condition(self.field, "gt", value)

    def __ge__(self, value: Ordered) -> Condition:
        return Condition(self.field, "ge", value)

    def is_in(self, values: Iterable[Scalar]) -> Condition:
        """The value is one of these."""
        return Condition(self.field, "in", _listed(values))

    def not_in(self, values: Iterable[Scalar]) -> Condition:
        """The negation of ``is_in``: also true where the field is missing."""
        return Condition(self.field, "nin", _listed(values))

    def contains(self, value: Scalar) -> Condition:
        """A string holds this text, or a list this element."""
        return Condition(self.field, "contains", value)

    def matches(self, pattern: str) -> Condition:
        """A string matches this regular expression (RE2), where the backend claims ``supports_regex``."""
        return Condition(self.field, "regex", pattern)

    def exists(self, expected: bool = True) -> Condition:
        """The field is there, whatever its value, ``null`` too."""
        return Condition(self.field, "exists", expected)

    def is_null(self, expected: bool = True) -> Condition:
        """The field's value is ``null``."""
        return Condition(self.field, "is_null", expected)

    def __repr__(self) -> str:
        keys = self.field if isinstance(self.field, tuple) and len(self.field) > 1 else (self.field,)
        return f"F({', '.join(map(repr, keys))})"

    def __bool__(self) -> NoReturn:
        raise TypeError(_NO_TRUTH)

    def _uncompared(self, other: object) -> NoReturn:
        raise TypeError(
            f"{self!r} is a field and no condition yet; & and | bind tighter than comparisons, so that each of these "
            'needs parentheses: (F("lines") < 50) & (F("lang") == "py")'
        )

    __and__ = __or__ = __rand__ = __ror__ = _uncompared


def _listed(values: Iterable[Scalar]) -> Any:
    return values if isinstance(values, str) else list(values)  # a string is a mistake, which the backend tells
