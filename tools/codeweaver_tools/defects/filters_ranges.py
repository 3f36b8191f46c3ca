"""Filters: ranges over numbers and instants that compare something else."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from codeweaver_backends.sdk.filters.evaluate import _COMPARE, _at, _values
from codeweaver_backends.sdk.filters.tree import InstantRange, Node, NumberRange
from codeweaver_backends.sdk.index.facts import Kind, kind_of
from codeweaver_backends.sdk.index.keys import parse_instant
from codeweaver_backends.types import FilterCondition, FilterLike, Payload
from codeweaver_tools.defects.filter_tools import (
    Reworded,
    conditions,
    spelt,
)
from codeweaver_tools.defects.registry import plant
from codeweaver_tools.defects.rig import Rig


@plant("flt-gt-as-ge", "gt means ge, and lt means le.", side="above")
class _GtAsGe(Reworded):
    def reworded(self, one: FilterCondition) -> FilterLike | None:
        return spelt(one, {"gt": "ge", ">": "ge", "lt": "le", "<": "le"}.get(one.operator, one.operator))


@plant("flt-le-as-lt", "le means lt.", side="above")
class _LeAsLt(Reworded):
    def reworded(self, one: FilterCondition) -> FilterLike | None:
        return spelt(one, {"le": "lt", "<=": "lt", "lte": "lt"}.get(one.operator, one.operator))


@plant("flt-alias-gte", "The alias gte means gt.", side="above")
class _AliasGte(Reworded):
    def reworded(self, one: FilterCondition) -> FilterLike | None:
        return spelt(one, "gt") if one.operator == "gte" else one


@plant("flt-alias-unknown", "The alias not_in is unknown to the adapter.", side="above")
class _AliasUnknown(Reworded):
    def reworded(self, one: FilterCondition) -> FilterLike | None:
        return spelt(one, "not in") if one.operator == "not_in" else one


class _Ranges(Rig):
    """Numbers are compared by another rule."""

    def within(self, one: Any, order: Any, bound: float) -> bool:
        return kind_of(one) is Kind.NUMBER and _COMPARE[order](one, bound)

    def leaf(self, node: Node, payload: Payload) -> bool:
        if isinstance(node, NumberRange):
            return any(self.within(one, node.order, node.bound) for one in _values(payload, node.path))
        return super().leaf(node, payload)


@plant("flt-range-rounded", "Ranges compare integers as doubles.")
class _RangeRounded(_Ranges):
    def within(self, one: Any, order: Any, bound: float) -> bool:
        return kind_of(one) is Kind.NUMBER and _COMPARE[order](float(one), float(bound))


@plant("flt-range-single", "Ranges compare in single precision.")
class _RangeSingle(_Ranges):
    def within(self, one: Any, order: Any, bound: float) -> bool:
        import numpy as np

        with np.errstate(over="ignore"):
            return kind_of(one) is Kind.NUMBER and bool(_COMPARE[order](np.float32(one), np.float32(bound)))


@plant("flt-range-integers", "Ranges cut their bound to an integer.")
class _RangeIntegers(_Ranges):
    def within(self, one: Any, order: Any, bound: float) -> bool:
        return super().within(one, order, int(bound))


@plant("flt-range-bools", "Ranges take True for 1.")
class _RangeBools(_Ranges):
    def within(self, one: Any, order: Any, bound: float) -> bool:
        return super().within(int(one) if isinstance(one, bool) else one, order, bound)


@plant("flt-range-texts", "Ranges take text that spells a number for the number.")
class _RangeTexts(_Ranges):
    def within(self, one: Any, order: Any, bound: float) -> bool:
        spelt = isinstance(one, str) and one.replace(".", "").isdecimal()
        return super().within(float(one) if spelt else one, order, bound)


@plant("flt-range-null", "Ranges take null for 0.")
class _RangeNull(_Ranges):
    def within(self, one: Any, order: Any, bound: float) -> bool:
        return super().within(0 if one is None else one, order, bound)


@plant("flt-range-lists", "Ranges do not look into lists.")
class _RangeLists(Rig):
    def leaf(self, node: Node, payload: Payload) -> bool:
        listed = isinstance(node, NumberRange) and isinstance(_at(payload, node.path), list)
        return not listed and super().leaf(node, payload)


@plant("flt-range-all-elements", "A range asks all elements of a list.")
class _RangeAllElements(_Ranges):
    def leaf(self, node: Node, payload: Payload) -> bool:
        if isinstance(node, NumberRange):
            values = _values(payload, node.path)
            return bool(values) and all(self.within(one, node.order, node.bound) for one in values)
        return super().leaf(node, payload)


@plant("flt-range-text-taken", "A range with a text that is no instant compares texts.", side="above")
class _RangeTextTaken(Rig):
    def given(self, search_filter: FilterLike | None) -> FilterLike | None:
        orders = ("gt", "ge", "lt", "le")
        return conditions(
            search_filter,
            lambda one: (
                None
                if one.operator in orders and isinstance(one.value, str) and parse_instant(one.value) is None
                else one
            ),
        )


# --- instants ---------------------------------------------------------------------------------------------------------


@plant("flt-datetime-range", "Ranges over instants match nothing.")
class _Datetime(Rig):
    def leaf(self, node: Node, payload: Payload) -> bool:
        return not isinstance(node, InstantRange) and super().leaf(node, payload)


class _Instants(Rig):
    """A stored text is another instant, or none."""

    def instant(self, text: str) -> int | None:
        return parse_instant(text)

    def leaf(self, node: Node, payload: Payload) -> bool:
        if not isinstance(node, InstantRange):
            return super().leaf(node, payload)
        found = (self.instant(one) for one in _values(payload, node.path) if isinstance(one, str))
        return any(one is not None and _COMPARE[node.order](one, node.bound) for one in found)


@plant("flt-datetime-local", "Instants are compared by their local text; the offset is ignored.")
class _DatetimeLocal(_Instants):
    def instant(self, text: str) -> int | None:
        return parse_instant(re.sub(r"[+-]\d\d:\d\d$", "Z", text))


@plant("flt-datetime-milliseconds", "Instants are compared to the millisecond.")
class _DatetimeMillis(_Instants):
    def instant(self, text: str) -> int | None:
        found = parse_instant(text)
        return None if found is None else found // 1_000 * 1_000


@plant("flt-datetime-rounded", "Digits beyond the microsecond are rounded.")
class _DatetimeRounded(_Instants):
    def instant(self, text: str) -> int | None:
        found, digits = parse_instant(text), re.search(r"\.\d{6}([5-9])", text)
        return found + 1 if found is not None and digits else found


_NAIVE = re.compile(r"\d{4}-\d\d-\d\d[Tt][0-9:.]+")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")


@plant("flt-datetime-naive-none", "A stored date-time without offset is no instant.")
class _DatetimeNaiveNone(_Instants):
    def instant(self, text: str) -> int | None:
        return None if _NAIVE.fullmatch(text) else parse_instant(text)


@plant("flt-datetime-naive-local", "A stored date-time without offset is taken for the time of one zone.")
class _DatetimeNaiveLocal(_Instants):
    def instant(self, text: str) -> int | None:
        return parse_instant(f"{text}+02:00" if _NAIVE.fullmatch(text) else text)


@plant("flt-datetime-date-none", "A stored date alone is no instant.")
class _DatetimeDateNone(_Instants):
    def instant(self, text: str) -> int | None:
        return None if _DATE.fullmatch(text) else parse_instant(text)


@plant("flt-datetime-date-end", "A date is its end.")
class _DatetimeDateEnd(_Instants):
    def instant(self, text: str) -> int | None:
        return parse_instant(f"{text}T23:59:59.999999" if _DATE.fullmatch(text) else text)


@plant("flt-datetime-date-listed", "Dates alone in lists are no instants.")
class _DatetimeDateListed(Rig):
    def leaf(self, node: Node, payload: Payload) -> bool:
        if isinstance(node, InstantRange) and isinstance(found := _at(payload, node.path), list):
            found = [one for one in found if isinstance(one, str) and not _DATE.fullmatch(one)]
            instants = (parse_instant(one) for one in found)
            return any(one is not None and _COMPARE[node.order](one, node.bound) for one in instants)
        return super().leaf(node, payload)


@plant("flt-datetime-lenient", "A blank is taken for the T, and minutes alone for a time.")
class _DatetimeLenient(_Instants):
    def instant(self, text: str) -> int | None:
        whole = re.sub(r"(T\d\d:\d\d)(?=[Zz+-]|$)", r"\1:00", re.sub(r"^(.{10}) ", r"\1T", text))
        return parse_instant(whole)


class _Operands(Rig):
    """A text to compare with is another one."""

    def operand(self, text: str) -> str:
        raise NotImplementedError

    def given(self, search_filter: FilterLike | None) -> FilterLike | None:
        return conditions(
            search_filter,
            lambda one: (
                FilterCondition(one.field, one.operator, self.operand(one.value))
                if one.operator in ("gt", "ge", "lt", "le") and isinstance(one.value, str)
                else one
            ),
        )


@plant("flt-datetime-operand-local", "An operand without offset is taken for the time of one zone.", side="above")
class _DatetimeOperandLocal(_Operands):
    def operand(self, text: str) -> str:
        return f"{text}-05:00" if _NAIVE.fullmatch(text) else text


@plant("flt-datetime-operand-refused", "An operand without offset is refused.", side="above")
class _DatetimeOperandRefused(_Operands):
    def operand(self, text: str) -> str:
        return "no instant" if _NAIVE.fullmatch(text) else text


@plant("flt-datetime-operand-date", "A date as an operand is its end.", side="above")
class _DatetimeOperandDate(_Operands):
    def operand(self, text: str) -> str:
        return f"{text}T23:59:59.999999Z" if _DATE.fullmatch(text) else text


@plant("flt-datetime-epoch", "Instants before 1970 are none.")
class _DatetimeEpoch(_Instants):
    def instant(self, text: str) -> int | None:
        found = parse_instant(text)
        return None if found is None or found < 0 else found


@plant("flt-datetime-leap", "The sixtieth second is taken for the next minute.")
class _DatetimeLeap(_Instants):
    def instant(self, text: str) -> int | None:
        return parse_instant(re.sub(r":60(?=[Zz.+-])", ":59.999999", text))


@plant("flt-datetime-lower", "Lower-case t and z are not understood.")
class _DatetimeLower(_Instants):
    def instant(self, text: str) -> int | None:
        return None if re.search("[tz]", text) else parse_instant(text)


@plant("flt-datetime-numbers", "Numbers are taken for seconds since 1970.")
class _DatetimeNumbers(Rig):
    def leaf(self, node: Node, payload: Payload) -> bool:
        if isinstance(node, InstantRange):
            numbers = [one for one in _values(payload, node.path) if type(one) is int and 0 < one < 2**32]
            if any(_COMPARE[node.order](one * 1_000_000, node.bound) for one in numbers):
                return True
        return super().leaf(node, payload)


@plant("flt-datetime-naive-taken", "A naive datetime operand is taken for local time.", side="above")
class _DatetimeNaive(Rig):
    def given(self, search_filter: FilterLike | None) -> FilterLike | None:
        return conditions(
            search_filter,
            lambda one: (
                FilterCondition(one.field, one.operator, one.value.astimezone())
                if isinstance(one.value, datetime) and one.value.tzinfo is None
                else one
            ),
        )
