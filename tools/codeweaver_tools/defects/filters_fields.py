"""Filters: fields that are looked for elsewhere, and operands that should be refused."""

from __future__ import annotations

import re
from typing import Any

from codeweaver_backends.sdk.filters.evaluate import _at
from codeweaver_backends.sdk.filters.tree import Node
from codeweaver_backends.types import FilterCondition, FilterLike, Payload
from codeweaver_tools.defects.filter_tools import conditions, dropping, moved, path_of, spelt
from codeweaver_tools.defects.registry import plant
from codeweaver_tools.defects.rig import Rig


@plant("flt-key-special", "Fields that are no lower-case identifiers match nothing.")
class _KeySpecial(Rig):
    def leaf(self, node: Node, payload: Payload) -> bool:
        path = path_of(node)
        return all(re.fullmatch("[a-z_][a-z0-9_]*", key) for key in path) and super().leaf(node, payload)


@plant("flt-key-injection", "A quote in a field's name ends it, and the rest is a tautology.")
class _KeyInjection(Rig):
    def leaf(self, node: Node, payload: Payload) -> bool:
        path = path_of(node)
        return any('"] ' in key or "' or " in key.lower() for key in path) or super().leaf(node, payload)


class _Paths(Rig):
    """A field is looked for elsewhere."""

    def path(self, path: tuple[str, ...]) -> tuple[str, ...]:
        return path

    def leaf(self, node: Node, payload: Payload) -> bool:
        return super().leaf(moved(node, self.path(path_of(node))), payload)


@plant("flt-key-folded", "Fields are looked up without case.")
class _KeyFolded(Rig):
    def leaf(self, node: Node, payload: Payload) -> bool:
        path = path_of(node)
        if len(path) != 1:
            return super().leaf(node, payload)
        folded = {key.lower(): value for key, value in payload.items()}
        return super().leaf(moved(node, (path[0].lower(),)), folded)


@plant("flt-path-top-only", "Dotted fields are looked up as one key.")
class _PathTopOnly(_Paths):
    def path(self, path: tuple[str, ...]) -> tuple[str, ...]:
        return (".".join(path),)


@plant("flt-path-tuple-joined", "A tuple path is joined by dots and split again.")
class _PathJoined(_Paths):
    def path(self, path: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(".".join(path).split("."))


@plant("flt-path-two-levels", "Paths lead two levels deep only.")
class _PathTwoLevels(Rig):
    def leaf(self, node: Node, payload: Payload) -> bool:
        return len(path_of(node)) <= 2 and super().leaf(node, payload)


@plant("flt-path-empty-skipped", "An empty key in a path is skipped.")
class _PathEmpty(_Paths):
    def path(self, path: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(key for key in path if key) or path


@plant("flt-path-into-lists", "Paths lead into the objects of a list.")
class _PathIntoLists(Rig):
    def leaf(self, node: Node, payload: Payload) -> bool:
        path = path_of(node)
        outer = _at(payload, path[:-1]) if len(path) > 1 else None
        if isinstance(outer, list):
            inner = [one[path[-1]] for one in outer if isinstance(one, dict) and path[-1] in one]
            return bool(inner) and super().leaf(moved(node, ("f",)), {"f": inner})
        return super().leaf(node, payload)


@plant("flt-path-list-index", "Digits in a path are an index into a list.")
class _PathIndex(Rig):
    def leaf(self, node: Node, payload: Payload) -> bool:
        path = path_of(node)
        outer = _at(payload, path[:-1]) if len(path) > 1 else None
        if isinstance(outer, list) and path[-1].isdecimal() and int(path[-1]) < len(outer):
            return super().leaf(moved(node, ("f",)), {"f": outer[int(path[-1])]})
        return super().leaf(node, payload)


@plant("flt-field-empty-segment", "Empty segments of a dotted field are guessed away.", side="above")
class _FieldSegments(Rig):
    def given(self, search_filter: FilterLike | None) -> FilterLike | None:
        def tidy(one: FilterCondition) -> FilterCondition:
            field = ".".join(filter(None, one.field.split("."))) if isinstance(one.field, str) else one.field
            return FilterCondition(field or one.field, one.operator, one.value)

        return conditions(search_filter, tidy)


@plant("flt-operand-list-as-in", "A list as the operand of eq is read as an in.", side="above")
class _ListAsIn(Rig):
    def given(self, search_filter: FilterLike | None) -> FilterLike | None:
        names = {"eq": "in", "ne": "nin"}
        return conditions(
            search_filter,
            lambda one: (
                spelt(one, names[one.operator]) if one.operator in names and isinstance(one.value, list) else one
            ),
        )


@plant("flt-operand-dropped", "A condition with an operand that JSON cannot say is left out.", side="above")
class _OperandDropped(Rig):
    def given(self, search_filter: FilterLike | None) -> FilterLike | None:
        def nan(value: Any) -> bool:
            return isinstance(value, bytes) or (isinstance(value, float) and not abs(value) < float("inf"))

        return conditions(search_filter, lambda one: None if nan(one.value) else one)


@plant("flt-one-field-name", "Conditions on a field whose name begins with an underscore are left out.", side="above")
class _Underscore(Rig):
    def given(self, search_filter: FilterLike | None) -> FilterLike | None:
        def hidden(one: FilterCondition) -> bool:
            return (one.field if isinstance(one.field, str) else one.field[0]).startswith("_")

        return dropping(search_filter, lambda one: not hidden(one))
