"""Filters: contains, exists and is_null."""

from __future__ import annotations

import re
import unicodedata
from fnmatch import fnmatchcase

from codeweaver_backends.sdk.filters.evaluate import _ABSENT, _at, _values
from codeweaver_backends.sdk.filters.tree import AnyOf, Contains, Exists, HasElement, IsNull, Node
from codeweaver_backends.types import FilterCondition, FilterLike, Payload
from codeweaver_tools.defects.filter_tools import (
    Reworded,
    conditions,
)
from codeweaver_tools.defects.registry import plant
from codeweaver_tools.defects.rig import Rig


class _Texts(Rig):
    """A substring is looked for by another rule."""

    def found(self, needle: str, text: str) -> bool:
        return needle in text

    def leaf(self, node: Node, payload: Payload) -> bool:
        value = _at(payload, node.path) if isinstance(node, Contains) else None
        if isinstance(node, Contains) and isinstance(value, str):
            return self.found(node.text, value)
        return super().leaf(node, payload)


@plant("flt-contains-wildcards", "% and _ in a contains are wildcards.")
class _LikeWildcards(_Texts):
    def found(self, needle: str, text: str) -> bool:
        pattern = re.escape(needle).replace("%", ".*").replace("_", ".")
        return re.search(pattern, text, re.DOTALL) is not None


@plant("flt-contains-glob", "* and ? in a contains are wildcards.")
class _Glob(_Texts):
    def found(self, needle: str, text: str) -> bool:
        return fnmatchcase(text, f"*{needle.replace('[', '[[]')}*")


@plant("flt-contains-regex", "A contains is searched as a regular expression.")
class _Regex(_Texts):
    def found(self, needle: str, text: str) -> bool:
        try:
            return re.search(needle, text) is not None
        except re.error:
            return False


@plant("flt-contains-folded", "contains ignores case.")
class _ContainsFolded(_Texts):
    def found(self, needle: str, text: str) -> bool:
        return needle.lower() in text.lower()


@plant("flt-contains-words", "contains finds whole words only.")
class _ContainsWords(_Texts):
    def found(self, needle: str, text: str) -> bool:
        return needle in re.split(r"\W+", text)


@plant("flt-contains-prefix", "contains finds beginnings only.")
class _ContainsPrefix(_Texts):
    def found(self, needle: str, text: str) -> bool:
        return text.startswith(needle)


@plant("flt-contains-empty", "contains '' matches nothing.")
class _ContainsEmpty(_Texts):
    def found(self, needle: str, text: str) -> bool:
        return bool(needle) and needle in text


@plant("flt-contains-accents", "contains ignores Unicode's forms.")
class _ContainsAccents(_Texts):
    def found(self, needle: str, text: str) -> bool:
        return unicodedata.normalize("NFD", needle) in unicodedata.normalize("NFD", text)


@plant("flt-contains-short", "contains with fewer than three characters matches nothing, as a trigram index has it.")
class _ContainsShort(_Texts):
    def found(self, needle: str, text: str) -> bool:
        return (len(needle) > 2 or not needle) and needle in text


@plant("flt-contains-in-elements", "contains looks inside the texts of a list.")
class _InElements(Rig):
    def leaf(self, node: Node, payload: Payload) -> bool:
        value = _at(payload, node.path) if isinstance(node, Contains) else None
        inside = isinstance(value, list) and any(isinstance(one, str) and node.text in one for one in value)  # type: ignore[union-attr]
        return inside or super().leaf(node, payload)


@plant("flt-contains-list-blind", "contains does not look into lists.")
class _ListBlind(Rig):
    def leaf(self, node: Node, payload: Payload) -> bool:
        blind = isinstance(node, Contains | HasElement) and isinstance(_at(payload, node.path), list)
        return not blind and super().leaf(node, payload)


@plant("flt-contains-scalar", "contains with a number matches a field that equals it.")
class _ContainsScalar(Rig):
    def leaf(self, node: Node, payload: Payload) -> bool:
        if isinstance(node, HasElement):
            return super().leaf(AnyOf(node.path, (node.value,)), payload)
        return super().leaf(node, payload)


@plant("flt-contains-member-bool", "contains takes True for 1 in a list.")
class _MemberBool(Rig):
    def leaf(self, node: Node, payload: Payload) -> bool:
        if isinstance(node, HasElement):
            value = _at(payload, node.path)
            return isinstance(value, list) and node.value in value
        return super().leaf(node, payload)


@plant("flt-null-vs-missing", "exists does not count a null.")
class _NullVsMissing(Rig):
    def leaf(self, node: Node, payload: Payload) -> bool:
        null = isinstance(node, Exists) and _at(payload, node.path) is None
        return not null and super().leaf(node, payload)


@plant("flt-exists-empty", "exists does not count an empty list, object or text.")
class _ExistsEmpty(Rig):
    def leaf(self, node: Node, payload: Payload) -> bool:
        empty = isinstance(node, Exists) and _at(payload, node.path) in ([], {}, "")
        return not empty and super().leaf(node, payload)


@plant("flt-exists-false-ignored", "exists False means exists.", side="above")
class _ExistsFalse(Reworded):
    def reworded(self, one: FilterCondition) -> FilterLike | None:
        return FilterCondition(one.field, one.operator) if one.operator == "exists" else one


@plant("flt-null-is-missing", "is_null matches a missing field too.")
class _NullIsMissing(Rig):
    def leaf(self, node: Node, payload: Payload) -> bool:
        return (isinstance(node, IsNull) and _at(payload, node.path) is _ABSENT) or super().leaf(node, payload)


@plant("flt-null-in-list", "is_null matches a list that holds null.")
class _NullInList(Rig):
    def leaf(self, node: Node, payload: Payload) -> bool:
        return (isinstance(node, IsNull) and None in _values(payload, node.path)) or super().leaf(node, payload)


@plant("flt-null-empty", "is_null matches an empty list.")
class _NullEmpty(Rig):
    def leaf(self, node: Node, payload: Payload) -> bool:
        return (isinstance(node, IsNull) and _at(payload, node.path) == []) or super().leaf(node, payload)


@plant("flt-eq-null-missing", "eq null matches a missing field.")
class _EqNullMissing(Rig):
    def leaf(self, node: Node, payload: Payload) -> bool:
        missing = isinstance(node, AnyOf) and None in node.values and _at(payload, node.path) is _ABSENT
        return missing or super().leaf(node, payload)


@plant("flt-presence-operand", "exists takes 1 and 'true' for True.", side="above")
class _PresenceOperand(Rig):
    def given(self, search_filter: FilterLike | None) -> FilterLike | None:
        return conditions(
            search_filter,
            lambda one: (
                FilterCondition(one.field, one.operator, bool(one.value))
                if one.operator in ("exists", "is_null") and isinstance(one.value, int | str)
                else one
            ),
        )
