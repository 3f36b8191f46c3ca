"""Filters to SQL, without a server: nothing of the user's gets into a statement."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeweaver_backends.sdk.filters.parse import parse_filter
from codeweaver_backends.sdk.filters.tree import Always, AnyOf, Never, Not
from codeweaver_backends.types import FilterLike, SearchFilter
from codeweaver_conformance import strategies
from codeweaver_pgvector.dialect import ODD, Condition, DeclaredField, column_of
from codeweaver_pgvector.plugin import CAPABILITIES

KINDS = ("keyword", "integer", "float", "bool", "datetime")
OURS = """
and or not is true false null case when then else end exists select from where in any as element doc ts jsonb_typeof
jsonb_path_exists jsonb_array_elements strpos collate C strict type x array string number text jsonb numeric bigint
boolean NaN chr left f0 f1 f2 f3 f4 f5 f6 f7 f8
"""
WORDS = set(OURS.split())
declared = st.lists(st.sampled_from((*KINDS, None)), min_size=len(strategies.WORLD.fields)).map(
    lambda kinds: {
        path: DeclaredField(f"f{at}", kind)
        for at, ((path, _), kind) in enumerate(zip(strategies.WORLD.fields, kinds, strict=False))
        if kind
    }
)


@settings(deadline=None, max_examples=400)
@given(strategies.filters(), declared)
def test_only_our_own_words_are_in_a_statement(search_filter: FilterLike, fields: dict[Any, DeclaredField]) -> None:
    condition = Condition(fields, ["the query"])
    sql = condition.sql(parse_filter(search_filter, CAPABILITIES))
    assert set(re.findall(r"[A-Za-z_]\w*", sql)) <= WORDS
    assert set(re.findall(r"'([^']*)'", sql)) <= {"array", "string", "number", "NaN", "{}"} | {
        test for test in re.findall(r"'(strict [^']*)'", sql) if re.fullmatch(r"strict \$\[\*\] \? \([^']+\)", test)
    }
    assert sql.count("(") == sql.count(")")
    numbers = {int(number) for number in re.findall(r"\$(\d+)::", sql)}
    assert numbers == set(range(2, len(condition.values) + 1))
    assert all("\0" not in str(value) for value in condition.values)


@pytest.mark.parametrize(("node", "sql"), [(Always(), "true"), (Never(), "false")])
def test_what_is_decided_needs_no_look(node: Any, sql: str) -> None:
    condition = Condition({})
    assert (condition.sql(node), condition.values) == (sql, [])


def test_a_negation_takes_what_is_missing() -> None:
    assert Condition({}).sql(Not(AnyOf(("a",), (1,)))) == "(doc @> any($1::jsonb[])) is not true"


def test_an_empty_filter_is_no_restriction() -> None:
    assert Condition({}).sql(parse_filter(SearchFilter(), CAPABILITIES)) == "true"


def test_operands_are_spelt_by_exact_value() -> None:
    condition = Condition({})
    condition.sql(AnyOf(("a", "b.c"), (1e23, True, None, "\0")))
    assert condition.values == [
        [
            '{"a":{"b.c":99999999999999991611392}}',
            '{"a":{"b.c":[99999999999999991611392]}}',
            '{"a":{"b.c":true}}',
            '{"a":{"b.c":[true]}}',
            '{"a":{"b.c":null}}',
            '{"a":{"b.c":[null]}}',
            '{"a":{"b.c":"\\u0001\\u0002\\u0002"}}',
            '{"a":{"b.c":["\\u0001\\u0002\\u0002"]}}',
        ]
    ]


def test_many_values_are_one_list() -> None:
    condition = Condition({})
    sql = condition.sql(AnyOf(("a",), tuple(range(9))))
    assert set(re.findall(r"[A-Za-z_]\w*", sql)) <= WORDS
    assert condition.values[-1] == [str(n) for n in range(9)]


def test_odd_values_are_looked_for_beside_the_others() -> None:
    condition = Condition({("a",): DeclaredField("f0", "keyword")})
    sql = condition.sql(AnyOf(("a",), ("x", 1)))
    assert sql == "(f0 = any($1::text[]) and (f0 <> chr(2) or doc @> any($2::jsonb[])))"
    assert condition.values[0] == ["x", ODD["text"]]


def test_texts_that_a_column_cuts_are_looked_up_in_the_payload() -> None:
    condition = Condition({("a",): DeclaredField("f0", "keyword")})
    assert condition.sql(AnyOf(("a",), ("x" * 599,))).startswith("(f0 = ")
    assert condition.sql(AnyOf(("a",), ("x" * 600, "y"))).startswith("doc @> ")


@given(st.lists(st.text(min_size=1), min_size=1).map(tuple), st.sampled_from(KINDS))
def test_definitions_quote_what_they_name(path: tuple[str, ...], kind: str) -> None:
    sql = column_of(path, DeclaredField("f0", kind))
    assert "\0" not in sql
    outside = re.sub(r"'(?:[^']|'')*'", "", sql)
    assert "'" not in outside
    assert set(re.findall(r"[A-Za-z_]\w*", outside)) <= WORDS
