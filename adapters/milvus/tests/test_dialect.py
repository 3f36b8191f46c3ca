"""Expressions, read by a reader of their own over rows that were never stored, select what the filter means."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeweaver_backends.sdk.filters.compile import compile_filter, resolve, untestable_leaves
from codeweaver_backends.sdk.filters.evaluate import matches
from codeweaver_backends.sdk.filters.parse import parse_filter
from codeweaver_backends.sdk.filters.tree import Never
from codeweaver_backends.sdk.index.keys import INT64_MAX, INT64_MIN
from codeweaver_backends.sdk.requests import Batch, CollectionSettings
from codeweaver_backends.types import DistanceMetric, FilterCondition, SearchFilter
from codeweaver_milvus.dialect import joined
from codeweaver_milvus.plugin import CAPABILITIES
from codeweaver_milvus.schema import LITE, Schema, Traits, key_of, traits_of

SERVER = traits_of("v2.3.5")
INDEXES = {"a": "keyword", "b": "integer", "c": "datetime", "a.b": "float", "d": "bool"}

_words = re.compile(r'"[^"]*"|[A-Za-z_$][\w$]*|==|!=|<=|>=|[()\[\],<>]')


class Reader:
    """The few forms of expression that the translator makes, evaluated over one row."""

    def __init__(self, expression: str, row: Mapping[str, Any], ranges: str) -> None:
        self._words = _words.findall(expression)
        self._at = 0
        self._row, self._ranges = row, ranges

    def read(self) -> bool:
        result = self._either()
        assert self._at == len(self._words), self._words[self._at :]
        return result

    def _next(self, *expected: str) -> str:
        word = self._words[self._at]
        assert not expected or word in expected, (word, expected)
        self._at += 1
        return word

    def _peek(self) -> str:
        return self._words[self._at] if self._at < len(self._words) else ""

    def _either(self) -> bool:
        result = self._all()
        while self._peek() == "or":
            self._next()
            result = self._all() or result
        return result

    def _all(self) -> bool:
        result = self._one()
        while self._peek() == "and":
            self._next()
            result = self._one() and result
        return result

    def _one(self) -> bool:
        word = self._next()
        if word == "not":
            return not self._one()
        if word == "(":
            result = self._either()
            self._next(")")
            return result
        if word.startswith("array_contains"):
            self._next("(")
            column = self._row[self._next()]
            self._next(",")
            wanted = self._texts() if word.endswith("any") else [self._text()]
            self._next(")")
            return any(one in column for one in wanted)
        return self._comparison(word)

    def _comparison(self, column: str) -> bool:
        if column == self._ranges:
            self._next("[")
            value = self._row.get(self._ranges, self._row).get(self._text())
            self._next("]")
        else:
            value = self._row[column]
        operator = self._next()
        if operator == "in":
            return value in self._texts()
        operand = self._text()
        if operator == "like":
            return re.fullmatch(".*".join(map(re.escape, operand.split("%"))), value, re.DOTALL) is not None
        compare = {"==": "__eq__", "!=": "__ne__", "<": "__lt__", "<=": "__le__", ">": "__gt__", ">=": "__ge__"}
        return value is not None and bool(getattr(value, compare[operator])(operand))

    def _text(self) -> str:
        return self._next()[1:-1]

    def _texts(self) -> list[str]:
        self._next("[")
        found = []
        while self._peek() != "]":
            found.append(self._text())
            if self._peek() == ",":
                self._next()
        self._next("]")
        return found


_keys = st.sampled_from(["a", "b", "c", "d", "x.y", "", '"', "%", "\ue001"])
_texts = st.sampled_from(
    ["", "a", "ab", "b", '"', "\\", "%", "_", "\n", "\x00", "é", "\ue000", "x" * 200, "2024-05-01T12:00:00Z"]
)
_numbers = st.sampled_from([0, 1, 1.0, -1, 2**53, 2**53 + 1, 0.1, INT64_MAX, INT64_MIN, 1e300]) | st.integers(-3, 3)
_scalars = st.none() | st.booleans() | _numbers | _texts
_values = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=2), max_leaves=4
)
_payloads = st.dictionaries(_keys, _values, max_size=5)
_fields = st.lists(_keys, min_size=1, max_size=2).map(tuple)
_instants = st.sampled_from(["2024-05-01T12:00:00Z", "2024-05-01T14:00:00.000001+02:00"])


@st.composite
def _conditions(draw: st.DrawFn) -> FilterCondition:
    kinds = ["eq", "ne", "in", "nin", "gt", "ge", "lt", "le", "contains", "exists", "is_null"]
    operator = draw(st.sampled_from(kinds))
    value: Any = draw(_scalars)
    if operator in ("in", "nin"):
        value = draw(st.lists(_scalars, max_size=4))
    elif operator in ("gt", "ge", "lt", "le"):
        value = draw(_numbers | _instants)
    elif operator in ("exists", "is_null"):
        value = draw(st.sampled_from([True, False, None]))
    return FilterCondition(draw(_fields), operator, value)


def _groups(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    parts = st.none() | st.lists(inner, max_size=3)
    return st.builds(SearchFilter, must=parts, should=parts, must_not=parts)


_filters = st.recursive(_conditions(), _groups, max_leaves=6)


def _schema(traits: Traits, indexes: Mapping[str, str]) -> Schema:
    return Schema.of(CollectionSettings("c", 2, DistanceMetric.COSINE, indexes), traits, "0a1b2c3d")


def _read(expression: str | None, row: Mapping[str, Any], schema: Schema) -> bool:
    return not expression or Reader(expression, row, schema.dialect.columns.ranges).read()


@pytest.mark.parametrize("indexes", [{}, INDEXES], ids=["undeclared", "declared"])
@pytest.mark.parametrize("traits", [LITE, SERVER], ids=["lite", "server"])
@settings(max_examples=150, deadline=None)
@given(payload=_payloads, search_filter=_filters)
def test_expressions_select_what_filters_mean(
    traits: Traits, indexes: dict[str, str], payload: dict[str, Any], search_filter: SearchFilter
) -> None:
    schema = _schema(traits, indexes)
    vectors = np.array([[3.0, 4.0]], dtype=np.float32)
    [row] = schema.rows(Batch(["the id"], vectors, [payload], [b"{}"]))
    node = parse_filter(search_filter, CAPABILITIES)

    async def read(expression: str | None) -> AsyncIterator[tuple[str, Mapping[str, Any]]]:
        if _read(expression, row, schema):
            yield key_of("the id"), payload

    resolved = asyncio.run(resolve(node, schema.dialect, read))
    if isinstance(node, Never):
        assert not matches(node, payload)
    else:
        assert _read(compile_filter(node, schema.dialect, resolved), row, schema) == matches(node, payload)


def test_a_substring_is_left_to_the_adapter_where_the_engine_cannot_find_it() -> None:
    condition = FilterCondition("a", "contains", "x")
    node = parse_filter(SearchFilter(must_not=[condition], should=[FilterCondition("b", "eq", 1)]), CAPABILITIES)
    server = _schema(SERVER, {}).dialect
    assert [type(leaf).__name__ for leaf in untestable_leaves(node, server)] == ["Contains"]
    assert not untestable_leaves(node, _schema(LITE, {}).dialect)
    with pytest.raises(LookupError):
        compile_filter(node, server)


def test_many_values_are_left_to_the_adapter_unless_declared() -> None:
    node = parse_filter(FilterCondition("a", "in", list(range(200))), CAPABILITIES)
    assert untestable_leaves(node, _schema(LITE, {}).dialect) == [node]
    assert not untestable_leaves(node, _schema(LITE, {"a": "integer"}).dialect)


def test_groups_become_balanced_trees() -> None:
    expression = joined("and", [f"p{n}" for n in range(1_000)])
    assert max(_depths(expression)) <= 10
    assert re.findall(r"p\d+", expression) == [f"p{n}" for n in range(1_000)]


def _depths(expression: str) -> Iterator[int]:
    depth = 0
    for character in expression:
        depth += (character == "(") - (character == ")")
        yield depth


def test_what_folds_never_needs_the_engine() -> None:
    assert compile_filter(parse_filter(None, CAPABILITIES), _schema(LITE, {}).dialect) is None
    assert isinstance(parse_filter(FilterCondition("a", "in", []), CAPABILITIES), Never)
