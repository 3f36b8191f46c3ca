"""Conditions, evaluated as Chroma does over metadata that were never stored, select what the filter means."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeweaver_backends.errors import LimitExceededError, UnsupportedError
from codeweaver_backends.sdk.filters.compile import candidates, compile_filter, untestable_leaves
from codeweaver_backends.sdk.filters.evaluate import matches
from codeweaver_backends.sdk.filters.parse import parse_filter
from codeweaver_backends.sdk.filters.tree import Always, Never
from codeweaver_backends.sdk.index.keys import INT64_MAX, INT64_MIN
from codeweaver_backends.types import FilterCondition, SearchFilter
from codeweaver_chroma.dialect import ChromaDialect
from codeweaver_chroma.plugin import CAPABILITIES
from codeweaver_chroma.schema import _metadatas

DIALECT = ChromaDialect("f")
_COMPARE = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
    "$eq": operator.eq,
    "$ne": operator.ne,
}


def holds(where: Any, metadata: Mapping[str, Any]) -> bool:
    """What Chroma answers: a comparison with a key that is not there is false, and so is its opposite."""
    if where is None:
        return True
    [(key, test)] = where.items()
    if key in ("$and", "$or"):
        assert 2 <= len(test) <= 100
        return (all if key == "$and" else any)(holds(part, metadata) for part in test)
    [(sign, operand)] = test.items()
    if sign == "$contains":
        return operand in metadata.get(key, ())
    if sign == "$not_contains":
        return operand not in metadata.get(key, ())
    assert isinstance(operand, int)
    assert INT64_MIN <= operand <= INT64_MAX
    return key in metadata and _COMPARE[sign](metadata[key], operand)


_fields = st.sampled_from(["a", "b", "a.b", "c"])
_edges = st.sampled_from([0, 1, 1.0, 2**53, 2**53 + 1, float(2**53), -(2**53) - 1, INT64_MAX, INT64_MIN, 2.0**63, 0.5])
_instants = st.sampled_from(["2024-01-01T00:00:00Z", "2024-01-01T01:00:00+01:00", "2024-01-01T00:00:00.000001Z"])
_scalars = st.none() | st.booleans() | _edges | st.integers(-3, 3) | _instants | st.sampled_from(["", "x", "xy", "é"])
_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2),
    max_leaves=5,
)
_payloads = st.dictionaries(st.sampled_from(["a", "b", "c"]), _values, max_size=3)
_conditions = st.one_of(
    st.builds(FilterCondition, _fields, st.sampled_from(["eq", "ne", "contains"]), _scalars),
    st.builds(FilterCondition, _fields, st.sampled_from(["in", "nin"]), st.lists(_scalars, max_size=4)),
    st.builds(FilterCondition, _fields, st.sampled_from(["gt", "ge", "lt", "le"]), _edges | _instants),
    st.builds(FilterCondition, _fields, st.sampled_from(["exists", "is_null"]), st.booleans()),
)
_filters = st.recursive(
    _conditions,
    lambda inner: st.builds(
        SearchFilter,
        must=st.lists(inner, max_size=3),
        should=st.lists(inner, max_size=3),
        must_not=st.lists(inner, max_size=3),
    ),
    max_leaves=6,
)


def metadata_of(payload: Mapping[str, Any], before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What Chroma has of a point, perhaps of one that replaced another."""
    [old], [new] = _metadatas([before or {}], "f"), _metadatas([payload], "f")
    return {key: value for key, value in {**old, **new}.items() if value is not None}


@settings(max_examples=300)
@given(_filters, st.lists(_payloads, min_size=1, max_size=5), _payloads)
def test_conditions_mean_what_filters_mean(
    search_filter: Any, payloads: list[dict[str, Any]], before: dict[str, Any]
) -> None:
    node = parse_filter(search_filter, CAPABILITIES)
    if isinstance(node, Always | Never) or untestable_leaves(node, DIALECT):
        return
    where = compile_filter(node, DIALECT)
    for payload in payloads:
        assert holds(where, metadata_of(payload)) == matches(node, payload), payload
        assert holds(where, metadata_of(payload, before)) == matches(node, payload), (payload, before)


@settings(max_examples=300)
@given(_filters, _payloads)
def test_the_candidates_of_a_filter_are_all_that_can_match(search_filter: Any, payload: dict[str, Any]) -> None:
    node = parse_filter(search_filter, CAPABILITIES)
    wide = candidates(node, DIALECT)
    if isinstance(wide, Never):
        assert not matches(node, payload)
    elif matches(node, payload):
        assert holds(compile_filter(wide, DIALECT), metadata_of(payload))


def test_wide_groups_are_split() -> None:
    node = parse_filter(FilterCondition("a", "in", list(range(256))), CAPABILITIES)
    where = compile_filter(node, DIALECT)
    assert holds(where, metadata_of({"a": 255}))
    assert not holds(where, metadata_of({"a": 256}))


def test_what_is_not_claimed_is_refused() -> None:
    with pytest.raises(UnsupportedError):
        parse_filter(FilterCondition("a", "regex", "x"), CAPABILITIES)
    with pytest.raises(LimitExceededError):
        parse_filter(FilterCondition("a", "in", list(range(257))), CAPABILITIES)
