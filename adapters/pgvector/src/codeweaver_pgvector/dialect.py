"""The filter tree as a condition in SQL over ``doc`` (jsonb), ``ts`` and the columns of declared fields.

Every key and operand is a bound parameter. What is not there is NULL in SQL, which counts as false where it is
affirmed; so a negation is spelt ``is not true``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from codeweaver_backends.sdk.filters.tree import (
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
from codeweaver_backends.sdk.index.codes import StringCode
from codeweaver_backends.sdk.index.facts import Path
from codeweaver_backends.sdk.index.keys import canonical_number
from codeweaver_backends.types import Scalar

__all__ = ["CODE", "ODD", "Condition", "DeclaredField", "column_of", "json_text", "nested_json", "path_key"]

CODE: Final = StringCode("\0", alphabet="\x01\x02\x03")
"""Keeps NUL out of every text; a substring of the code is a substring of the text."""
_WHOLE: Final = 1e16
"""From here on floats are whole numbers, and Python writes them with an exponent."""
ODD: Final[dict[str, Any]] = {"text": "\x02", "numeric": Decimal("NaN"), "bigint": 2**63 - 1}
"""What stands in a column where a payload holds something that the column cannot: no value of a payload is like it, and
it is the largest number."""
_KEYWORD: Final = 600
"""Characters that a column holds: as many as surely fit an entry of a B-tree."""
_SYMBOLS: Final = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
_FEW: Final = 8
"""Up to so many values an index may find each; beyond, PostgreSQL hashes them and looks each point's value up."""
_TYPES: Final = {"keyword": "text", "bool": "text", "integer": "numeric", "float": "numeric", "datetime": "bigint"}
_OPERANDS: Final[dict[str, tuple[type, ...]]] = {
    "keyword": (str,),
    "bool": (bool,),
    "integer": (int, float),
    "float": (int, float),
}
"""The operands of equality that a declared field's column can answer."""


# --- values as jsonb holds them --------------------------------------------------------------------------------------


def json_text(value: Any) -> str:
    """A JSON value as jsonb is to hold it: strings coded, large floats as the whole numbers they are."""
    return json.dumps(_coded(value), ensure_ascii=False, separators=(",", ":"))


def nested_json(path: Path, value: Any) -> str:
    """The object that holds ``value`` at ``path`` and nothing else, for containment."""
    for key in reversed(path):
        value = {key: value}
    return json_text(value)


def path_key(path: Path) -> str:
    """A path as one key of ``ts``."""
    return json_text(list(path))


def _coded(value: Any) -> Any:
    if isinstance(value, str):
        return CODE.encode(value)
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) >= _WHOLE else value
    if isinstance(value, dict):
        return {CODE.encode(key): _coded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_coded(inner) for inner in value]
    return value


# --- conditions ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DeclaredField:
    """A field of ``payload_indexes``, and the column that holds its values of the declared kind."""

    column: str
    kind: str

    @property
    def type(self) -> str:
        """The column's type."""
        return _TYPES[self.kind]

    @property
    def odd(self) -> str:
        """``ODD``, for the column, in SQL."""
        return {"text": "chr(2)", "numeric": "'NaN'::numeric", "bigint": "9223372036854775807"}[self.type]


def column_of(path: Path, declared: DeclaredField) -> str:
    """The value of a declared field's column, from the payload."""
    *parents, key = ("doc", *(_quoted(CODE.encode(key)) for key in path))
    parent = " -> ".join(parents)
    found, text = f"jsonb_typeof({parent} -> {key})", f"({parent} ->> {key})"
    match declared.kind:
        case "keyword":
            value, is_odd = f"when {found} = 'string' then left({text}, {_KEYWORD})", f"{found} <> 'null'"
        case "bool":
            value, is_odd = f"when {found} = 'boolean' then {text}", f"{found} <> 'null'"
        case "datetime":
            instant = f"(ts -> {_quoted(path_key(path))} ->> 0)::bigint"
            value, is_odd = f"when {found} = 'string' then {instant}", f"{found} = 'array'"
        case _:
            value, is_odd = f"when {found} = 'number' then {text}::numeric", f"{found} <> 'null'"
    return f"case {value} when {is_odd} then {declared.odd} end"


def _quoted(text: str) -> str:
    # A literal: a table's definition takes no parameters. Doubling is all that standard-conforming strings need.
    return "'" + text.replace("'", "''") + "'"


@dataclass(slots=True)
class Condition:
    """A condition under construction: its text comes from ``sql``, its parameters gather in ``values``."""

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
        declared = self.declared.get(leaf.path)
        by_column = self._by_column(leaf, declared) if declared else None
        return by_column or self._by_payload(leaf)

    # --- declared fields: by the column where it can tell, and where it is odd by the payload ---

    def _by_column(self, leaf: Leaf, declared: DeclaredField) -> str | None:
        match leaf, declared.kind:
            case AnyOf(_, values), kind if kind != "datetime" and None not in values:
                return self._by_equality(leaf, declared, [_operand(kind, one) for one in values if _is_of(kind, one)])
            case NumberRange(_, order, bound), "integer" | "float":
                return self._by_range(leaf, declared, order, _operand("float", bound))
            case InstantRange(_, order, bound), "datetime":
                return self._by_range(leaf, declared, order, bound)
        return None

    def _by_equality(self, leaf: Leaf, declared: DeclaredField, operands: list[Any]) -> str | None:
        column, type_ = declared.column, declared.type
        if type_ == "text" and any(len(operand) >= _KEYWORD for operand in operands):
            return None
        found = self.bind([*operands, ODD[type_]], f"{type_}[]")
        return f"({column} = any({found}) and ({column} <> {declared.odd} or {self._by_payload(leaf)}))"

    def _by_range(self, leaf: Leaf, declared: DeclaredField, order: str, bound: object) -> str:
        column, odd = declared.column, declared.odd
        found, by_payload = f"{column} {_SYMBOLS[order]} {self.bind(bound, declared.type)}", self._by_payload(leaf)
        if order in ("gt", "ge"):
            return f"({found} and ({column} <> {odd} or {by_payload}))"
        return f"({found} or ({column} = {odd} and {by_payload}))"

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
    return isinstance(value, _OPERANDS[kind]) and (kind == "bool" or not isinstance(value, bool))


def _operand(kind: str, value: Any) -> Any:
    """A value as the column of this kind holds it."""
    if kind == "keyword":
        return CODE.encode(value)
    return str(value).lower() if kind == "bool" else Decimal(canonical_number(value))
