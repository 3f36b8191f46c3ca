"""The filter tree as a condition in SQL over ``doc`` (jsonb), ``ts`` and the columns of declared fields.

Every key and operand is a bound parameter. What is not there is NULL in SQL, which counts as false where it is
affirmed; so a negation is spelt ``is not true``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from codeweaver_backends.facts import Path, canonical_number
from codeweaver_backends.filters import (
    All,
    Always,
    AnyOf,
    Contains,
    Either,
    Exists,
    HasElement,
    InstantRange,
    IsNull,
    Leaf,
    Never,
    Node,
    Not,
    NumberRange,
)
from codeweaver_backends.types import Scalar
from codeweaver_pgvector.convert import CODE, json_text, nested_json, path_key

__all__ = ["KEYWORD_LENGTH", "Condition", "DeclaredField"]

KEYWORD_LENGTH: Final = 600
"""Characters that the column of a declared keyword holds: as many as surely fit an entry of a B-tree."""

_SYMBOLS: Final = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
_FEW: Final = 8
"""Up to so many values an index may find each; beyond, PostgreSQL hashes them and looks each point's value up."""
_KINDS: Final[dict[str, tuple[type, ...]]] = {
    "keyword": (str,),
    "integer": (int, float),
    "float": (int, float),
    "bool": (bool,),
    "datetime": (),
}
"""The operands of equality that a declared field's column can answer."""


@dataclass(frozen=True, slots=True)
class DeclaredField:
    """A field of ``payload_indexes``: values of its type stand in ``column``; where another does, ``odd`` is true."""

    column: str
    kind: str


@dataclass(slots=True)
class Condition:
    """A condition under construction: its text comes from :meth:`sql`, its parameters gather in ``values``."""

    declared: Mapping[Path, DeclaredField]
    values: list[Any] = field(default_factory=list)

    def bind(self, value: object, kind: str) -> str:
        """A parameter."""
        self.values.append(value)
        return f"${len(self.values)}::{kind}"

    def sql(self, node: Node) -> str:
        """The condition of a node."""
        match node:
            case Always():
                return "true"
            case Never():
                return "false"
            case All(parts):
                return "(" + " and ".join(self.sql(part) for part in parts) + ")"
            case Either(parts):
                return "(" + " or ".join(self.sql(part) for part in parts) + ")"
            case Not(leaf):
                return f"({self._leaf(leaf)}) is not true"
            case leaf:
                return self._leaf(leaf)

    def _leaf(self, leaf: Leaf) -> str:
        """By the declared field's column where it can tell; rows of another type there are looked into."""
        declared = self.declared.get(leaf.path)
        by_column = self._by_column(leaf, declared) if declared else None
        if by_column is None:
            return self._by_payload(leaf)
        # "is true" keeps the planner from considering the index over payloads, which is not needed here.
        return f"({by_column} or (odd and ({self._by_payload(leaf)}) is true))"

    # --- declared fields ---

    def _by_column(self, leaf: Leaf, declared: DeclaredField) -> str | None:
        match leaf, declared.kind:
            case AnyOf(_, values), kind if None not in values:
                return self._column_equals(declared, [value for value in values if _is_of(kind, value)])
            case NumberRange(_, order, bound), "integer" | "float":
                return f"{declared.column} {_SYMBOLS[order]} {self.bind(_number(bound), 'numeric')}"
            case InstantRange(_, order, bound), "datetime":
                return f"{declared.column} {_SYMBOLS[order]} {self.bind(bound, 'bigint')}"
        return None

    def _column_equals(self, declared: DeclaredField, values: list[Any]) -> str | None:
        if declared.kind == "datetime":
            return None
        operands: list[Any]
        if declared.kind == "keyword":
            kind, operands = "text", [CODE.encode(value) for value in values]
            if any(len(operand) >= KEYWORD_LENGTH for operand in operands):
                return None
        elif declared.kind == "bool":
            kind, operands = "boolean", values
        else:
            kind, operands = "numeric", [_number(value) for value in values]
        if len(operands) == 1:
            return f"{declared.column} = {self.bind(operands[0], kind)}"
        return f"{declared.column} = any({self.bind(operands, kind + '[]')})"

    # --- undeclared fields ---

    def _by_payload(self, leaf: Leaf) -> str:
        match leaf:
            case AnyOf(path, values):
                return self._equals(path, values)
            case NumberRange(path, order, bound):
                return self._number_range(path, _SYMBOLS[order], json_text(bound))
            case InstantRange(path, order, bound):
                instants = f"ts -> {self.bind(path_key(path), 'text')}"
                return self._some_element(instants, f"@ {_SYMBOLS[order]} $x", str(bound))
            case Contains(path, text):
                return self._contains(path, text)
            case HasElement(path, value):
                return f"doc @> {self.bind(nested_json(path, [value]), 'jsonb')}"
            case Exists(path):
                return f"{self._value(path)} is not null"
            case IsNull(path):
                return f"doc @> {self.bind(nested_json(path, None), 'jsonb')}"
        raise TypeError(f"not a leaf that is claimed: {type(leaf).__name__}")

    def _value(self, path: Path) -> str:
        # Key by key: a path in one operator would step into lists.
        return "(" + " -> ".join(["doc", *(self.bind(CODE.encode(key), "text") for key in path)]) + ")"

    def _equals(self, path: Path, values: tuple[Scalar, ...]) -> str:
        if len(values) <= _FEW:
            alternatives = [nested_json(path, one) for value in values for one in (value, [value])]
            return f"doc @> any({self.bind(alternatives, 'jsonb[]')})"
        value = self._value(path)
        operands = self.bind([json_text(one) for one in values], "jsonb[]")
        return (
            f"(case jsonb_typeof({value}) when 'array' then exists"
            f" (select from jsonb_array_elements({value}) as element where element = any({operands}))"
            f" else {value} = any({operands}) end)"
        )

    def _number_range(self, path: Path, symbol: str, bound: str) -> str:
        value = self._value(path)
        elements = self._some_element(value, f'@.type() == "number" && @ {symbol} $x', bound)
        return (
            f"(case jsonb_typeof({value}) when 'number' then {value} {symbol} {self.bind(bound, 'jsonb')}"
            f" when 'array' then {elements} else false end)"
        )

    def _some_element(self, array: str, test: str, bound: str) -> str:
        # Strict: otherwise the lists of a list would be unwrapped, too.
        operand = self.bind(f'{{"x":{bound}}}', "jsonb")
        return f"jsonb_path_exists({array}, 'strict $[*] ? ({test})', {operand})"

    def _contains(self, path: Path, text: str) -> str:
        value = self._value(path)
        found = f"strpos(({value} #>> '{{}}') collate \"C\", {self.bind(CODE.encode(text), 'text')}) > 0"
        element = self.bind(json_text([text]), "jsonb")
        return (
            f"(case jsonb_typeof({value}) when 'string' then {found}"
            f" when 'array' then {value} @> {element} else false end)"
        )


def _is_of(kind: str, value: Scalar) -> bool:
    return isinstance(value, _KINDS[kind]) and (kind == "bool" or not isinstance(value, bool))


def _number(value: float) -> Decimal:
    return Decimal(canonical_number(value))
