"""Filters: eq, ne, in and nin by another notion of equality."""

from __future__ import annotations

import dataclasses
import unicodedata
from typing import Any

from codeweaver_backends.sdk.filters.evaluate import _at, _values
from codeweaver_backends.sdk.filters.tree import AnyOf, Node
from codeweaver_backends.sdk.index.facts import Kind, kind_of
from codeweaver_backends.types import FilterCondition, FilterLike, Payload
from codeweaver_tools.defects.filter_tools import (
    Reworded,
    conditions,
    spelt,
)
from codeweaver_tools.defects.registry import plant
from codeweaver_tools.defects.rig import Rig


@plant("flt-nin-broken", "nin is no restriction.", side="above")
class _NinBroken(Reworded):
    def reworded(self, one: FilterCondition) -> FilterLike | None:
        return None if one.operator in ("nin", "not_in") else one


@plant("flt-nin-as-in", "nin is translated as in.", side="above")
class _NinAsIn(Reworded):
    def reworded(self, one: FilterCondition) -> FilterLike | None:
        return spelt(one, "in") if one.operator in ("nin", "not_in") else one


@plant("flt-ne-needs-field", "ne matches only points that have the field, as SQL does.", side="above")
class _NeNeedsField(Reworded):
    def reworded(self, one: FilterCondition) -> FilterLike | None:
        if one.operator not in ("ne", "!=", "nin", "not_in"):
            return one
        return {"must": [one, FilterCondition(one.field, "exists", True)]}


@plant("flt-ne-drops-null", "ne does not match a null.", side="above")
class _NeDropsNull(Reworded):
    def reworded(self, one: FilterCondition) -> FilterLike | None:
        if one.operator not in ("ne", "!=") or one.value is None:
            return one
        return {"must": [one], "must_not": [FilterCondition(one.field, "is_null", True)]}


@plant("flt-in-empty-all", "in [] matches everything.", side="above")
class _InEmptyAll(Reworded):
    def reworded(self, one: FilterCondition) -> FilterLike | None:
        return None if one.operator == "in" and not one.value else one


@plant("flt-nin-empty-nothing", "nin [] matches nothing.", side="above")
class _NinEmptyNothing(Reworded):
    def reworded(self, one: FilterCondition) -> FilterLike | None:
        return spelt(one, "in") if one.operator in ("nin", "not_in") and not one.value else one


@plant("flt-in-first-type", "An in takes the values that have the type of the first.", side="above")
class _InFirstType(Reworded):
    def reworded(self, one: FilterCondition) -> FilterLike | None:
        if one.operator != "in" or not one.value:
            return one
        return FilterCondition(one.field, "in", [value for value in one.value if type(value) is type(one.value[0])])


@plant("flt-in-string-split", "The bare string of an in is read as its letters.", side="above")
class _InStringSplit(Rig):
    def given(self, search_filter: FilterLike | None) -> FilterLike | None:
        return conditions(
            search_filter,
            lambda one: (
                FilterCondition(one.field, one.operator, list(one.value))
                if one.operator in ("in", "nin") and isinstance(one.value, str)
                else one
            ),
        )


@plant("flt-falsy-value-ignored", "A condition whose value is 0, False or empty is no condition.", side="above")
class _FalsyIgnored(Reworded):
    def reworded(self, one: FilterCondition) -> FilterLike | None:
        named = one.operator in ("eq", "ne", "gt", "ge", "lt", "le", "contains")
        return None if named and not one.value and one.value is not None else one


class _Equality(Rig):
    """Two values are equal by another rule."""

    def same(self, one: Any, other: Any) -> bool:
        return kind_of(one) is kind_of(other) and one == other

    def leaf(self, node: Node, payload: Payload) -> bool:
        if isinstance(node, AnyOf):
            return any(self.same(one, value) for one in _values(payload, node.path) for value in node.values)
        return super().leaf(node, payload)


@plant("flt-bool-is-number", "True equals 1, and False equals 0.")
class _BoolIsNumber(_Equality):
    def same(self, one: Any, other: Any) -> bool:
        return bool(one == other)


@plant("flt-types-by-text", "Values are equal if their texts are.")
class _TypesByText(_Equality):
    def same(self, one: Any, other: Any) -> bool:
        return kind_of(one) < Kind.LIST and str(one) == str(other)


@plant("flt-number-text", "A number equals the text that spells it.")
class _NumberText(_Equality):
    def same(self, one: Any, other: Any) -> bool:
        mixed = {kind_of(one), kind_of(other)} == {Kind.NUMBER, Kind.STRING}
        return str(one) == str(other) if mixed else super().same(one, other)


@plant("flt-int-is-not-float", "1 and 1.0 are different.")
class _IntIsNotFloat(_Equality):
    def same(self, one: Any, other: Any) -> bool:
        return type(one) is type(other) and super().same(one, other)


@plant("flt-eq-folded", "Text is compared without case.")
class _EqFolded(_Equality):
    def same(self, one: Any, other: Any) -> bool:
        text = isinstance(one, str) and isinstance(other, str)
        return one.lower() == other.lower() if text else super().same(one, other)


@plant("flt-eq-accents", "Text is compared in Unicode's composed form.")
class _EqAccents(_Equality):
    def same(self, one: Any, other: Any) -> bool:
        text = isinstance(one, str) and isinstance(other, str)
        return (
            unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other)
            if text
            else super().same(one, other)
        )


@plant("flt-eq-trimmed", "Text is compared without blanks at its ends.")
class _EqTrimmed(_Equality):
    def same(self, one: Any, other: Any) -> bool:
        text = isinstance(one, str) and isinstance(other, str)
        return one.strip(" ") == other.strip(" ") if text else super().same(one, other)


@plant("flt-eq-tokens", "Text is equal if it holds the operand as a word, as a text index finds it.")
class _EqTokens(_Equality):
    def same(self, one: Any, other: Any) -> bool:
        text = isinstance(one, str) and isinstance(other, str) and other
        return other in one.split() or one == other if text else super().same(one, other)


@plant("flt-eq-tolerance", "Numbers are equal within a tolerance.")
class _EqTolerance(_Equality):
    def same(self, one: Any, other: Any) -> bool:
        numbers = kind_of(one) is kind_of(other) is Kind.NUMBER
        return abs(float(one) - float(other)) < 1e-9 if numbers else super().same(one, other)


@plant("flt-eq-double", "Integers are compared as doubles: 2^53 equals 2^53 + 1.")
class _EqDouble(_Equality):
    def same(self, one: Any, other: Any) -> bool:
        numbers = kind_of(one) is kind_of(other) is Kind.NUMBER
        return float(one) == float(other) if numbers else super().same(one, other)


@plant("flt-eq-long-prefix", "Text is compared by its first 16 characters.")
class _EqPrefix(_Equality):
    def same(self, one: Any, other: Any) -> bool:
        text = isinstance(one, str) and isinstance(other, str)
        return one[:16] == other[:16] if text else super().same(one, other)


@plant("flt-value-injection", "A quote in a value ends the literal, and the rest is a tautology.")
class _ValueInjection(_Equality):
    def same(self, one: Any, other: Any) -> bool:
        return (isinstance(other, str) and " or " in other.lower() and "'" in other) or super().same(one, other)


@plant("flt-value-quote-fails", "A value that ends with a backslash breaks the engine's query.")
class _QuoteFails(_Equality):
    def same(self, one: Any, other: Any) -> bool:
        if isinstance(other, str) and other.endswith("\\"):
            raise RuntimeError("unterminated string literal")
        return super().same(one, other)


@plant("flt-value-escaped", "A quote in a value is escaped twice, and never found.")
class _Escaped(_Equality):
    def same(self, one: Any, other: Any) -> bool:
        return super().same(one, other.replace("'", "''") if isinstance(other, str) else other)


@plant("flt-value-nul-cut", "A value ends at its first NUL.")
class _NulCut(_Equality):
    def same(self, one: Any, other: Any) -> bool:
        text = isinstance(one, str) and isinstance(other, str)
        return one.partition("\0")[0] == other.partition("\0")[0] if text else super().same(one, other)


@plant("flt-list-elements", "eq does not look into lists.")
class _ListElements(Rig):
    def leaf(self, node: Node, payload: Payload) -> bool:
        return not (isinstance(node, AnyOf) and isinstance(_at(payload, node.path), list)) and super().leaf(
            node, payload
        )


@plant("flt-list-first-element", "eq looks at the first element of a list.")
class _ListFirst(Rig):
    def leaf(self, node: Node, payload: Payload) -> bool:
        if isinstance(node, AnyOf) and isinstance(_at(payload, node.path), list):
            first = _at(payload, node.path)[:1]
            return super().leaf(dataclasses.replace(node, path=("f",)), {"f": first})
        return super().leaf(node, payload)


@plant("flt-list-nested", "eq looks into lists of lists.")
class _ListNested(Rig):
    def leaf(self, node: Node, payload: Payload) -> bool:
        value = _at(payload, node.path) if isinstance(node, AnyOf) else None
        if isinstance(node, AnyOf) and isinstance(value, list) and any(isinstance(one, list) for one in value):
            flat = [inner for one in value for inner in (one if isinstance(one, list) else [one])]
            return super().leaf(dataclasses.replace(node, path=("f",)), {"f": flat})
        return super().leaf(node, payload)
