"""What is stored: reversible, ordered, and with nothing in it that an expression would interpret."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeweaver_backends.errors import LimitExceededError, UnsupportedError
from codeweaver_backends.sdk.hybrid.vectors import EMPTY_ROW, SparseRows, sparse_row
from codeweaver_backends.sdk.index.codes import decode_id
from codeweaver_backends.sdk.index.keys import INT64_MAX, INT64_MIN
from codeweaver_backends.sdk.requests import Batch, CollectionSettings, Slot
from codeweaver_backends.sdk.vectors import restored
from codeweaver_backends.types import DistanceMetric, PointId
from codeweaver_milvus.dialect import CODE, MARK, NO_HIGH, NO_LOW, compact_number, range_name
from codeweaver_milvus.schema import LITE, Schema, Traits, key_of, sparse_vector, traits_of

SERVER = traits_of("v2.3.5")
_INTERPRETED = set(map(chr, range(32))) | set('"\\%_')
_texts = st.text(st.characters(exclude_categories=["Cs"]))
_marked = st.text(st.sampled_from("ab\"'\\%_\n\x00\x7f\ue000\ue001\ue002\ue003\ue010\ue011"))
_any_text = _texts | _marked
_numbers = st.integers(INT64_MIN, INT64_MAX) | st.floats(allow_nan=False, allow_infinity=False)
_edges = st.sampled_from([0, -0.0, 1, 1.0, 2**53, 2**53 + 1, float(2**53), INT64_MAX, INT64_MIN, 2.0**63, 5e-324])
_scalars = st.none() | st.booleans() | _numbers | _any_text
_payloads = st.dictionaries(
    _any_text,
    st.recursive(
        _scalars,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_any_text, inner, max_size=3),
        max_leaves=5,
    ),
    max_size=4,
)


def _schema(
    traits: Traits, indexes: dict[str, str] | None = None, metric: DistanceMetric = DistanceMetric.COSINE
) -> Schema:
    return Schema.of(CollectionSettings("c", 2, metric, indexes or {}), traits, "0a1b2c3d")


def batch(payloads: Mapping[PointId, Mapping[str, Any]], vector: tuple[float, ...] = (3.0, 4.0)) -> Batch:
    """Points of these ids and payloads, all of one vector, as the template makes them."""
    vectors = np.array([vector] * len(payloads), dtype=np.float32)
    given_ = list(payloads.values())
    return Batch(list(payloads), vectors, given_, list(map(orjson.dumps, given_)))


@given(_any_text.filter(bool) | st.integers(0, INT64_MAX))
def test_ids_come_back_with_their_type(point_id: str | int) -> None:
    key = key_of(point_id)
    assert not _INTERPRETED & set(key)
    back = decode_id(key, CODE)
    assert (type(back), back) == (type(point_id), point_id)


@given(st.integers(1, 512), st.characters(exclude_categories=["Cs"]))
def test_the_longest_id_fits_its_column(length: int, character: str) -> None:
    assert len(key_of(character * length).encode()) <= 1 + 512 * 9


@given(_numbers | _edges, _numbers | _edges)
def test_number_keys_compare_as_numbers_do(one: float, other: float) -> None:
    first, second = compact_number(one), compact_number(other)
    assert (first < second, first == second) == (one < other, one == other)
    assert NO_HIGH < first < NO_LOW


@given(_any_text, _any_text)
def test_a_part_of_the_code_is_a_part_of_the_text(text: str, part: str) -> None:
    assert (CODE.encode(part) in CODE.encode(text)) == (part in text)


@settings(deadline=None)
@given(_payloads)
def test_rows_hold_nothing_that_is_interpreted(payload: dict[str, object]) -> None:
    schema = _schema(SERVER)
    [row] = schema.rows(batch({1: payload}))
    terms, ranges = row[schema.dialect.columns.terms], row[schema.dialect.columns.ranges]
    assert not _INTERPRETED & set("".join([*terms, *ranges, *ranges.values()]))
    assert not any(MARK in term for term in terms)
    assert all(len(term.encode()) <= 1_024 for term in terms)
    assert sum(len(f'"{name}":"{key}",'.encode()) for name, key in ranges.items()) <= 18 * len(str(payload))


@given(st.lists(_any_text, min_size=1, max_size=4).map(tuple), st.lists(_any_text, min_size=1, max_size=4).map(tuple))
def test_paths_have_spellings_of_their_own(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    spelling = LITE.dialect.spelling
    assert (spelling.path(one) == spelling.path(other)) == (one == other)
    names = [range_name(path, instant=False, high=True) for path in (one, other)]
    assert (names[0] == names[1]) == (one == other)


def test_a_row() -> None:
    schema = _schema(LITE, {"n": "integer", "s": "keyword"})
    [row] = schema.rows(batch({"id": {"n": [2, 10], "s": "x", "o": {"z": None}}}))
    columns = schema.dialect.columns
    number, text = columns.declared[("n",)], columns.declared[("s",)]
    path = LITE.dialect.spelling.path
    n, s, o, z = path(("n",)), path(("s",)), path(("o",)), path(("o", "z"))
    terms = [f"{n}L", f"{n}n2", f"{n}mn2", f"{n}N", f"{n}n10", f"{n}mn10", f"{s}sx", f"{s}S", f"{o}O", f"{z}Z"]
    assert row == {
        "id": "sid",
        "payload_json": '{"n":[2,10],"s":"x","o":{"z":null}}',
        schema.vector: [pytest.approx(0.6), pytest.approx(0.8)],
        "kept": "*5.0",
        columns.terms: f"{MARK}{MARK.join(terms)}{MARK}",
        number.values: f"{MARK}n2{MARK}n10{MARK}",
        number.low: compact_number(2),
        number.high: compact_number(10),
        text.values: f"{MARK}sx{MARK}",
        "<n": compact_number(2),
        ">n": compact_number(10),
        schema.slots[Slot.SPARSE]: {4_294_967_294: 1.0},
        schema.slots[Slot.TEXT]: {4_294_967_294: 1.0},
    }
    assert restored(row[schema.vector], row["kept"]) == pytest.approx([3, 4])


def test_only_a_cosines_vectors_are_changed() -> None:
    schema = _schema(LITE, metric=DistanceMetric.EUCLIDEAN)
    [row] = schema.rows(batch({"id": {}}))
    assert row[schema.vector] == [3, 4]
    assert "kept" not in row


def test_the_table_knows_the_versions() -> None:
    assert traits_of("milvus_lite-3.2.2") is LITE
    assert traits_of("v2.3.5-lite") is SERVER
    assert traits_of("2.6.4") is traits_of("v3.0.1-dev")
    versions = {"2.3.9": (False, False), "2.4": (True, False), "2.6.1": (True, False), "2.6.2": (True, True)}
    for version, expected in versions.items():
        traits = traits_of(version)
        assert (traits.capabilities.supports_hybrid_search, traits.partial_update) == expected, version
    with pytest.raises(UnsupportedError, match=r"the oldest is 2\.3"):
        traits_of("v2.2.16")


def test_what_the_server_cannot_hold_is_refused() -> None:
    with pytest.raises(LimitExceededError, match="facts"):
        _schema(traits_of("2.6.4")).check(batch({1: {}, 2: {"a": list(range(3_000))}}))
    numbers = {f"key{n}": 1e-300 / (n + 3) for n in range(2_000)}
    with pytest.raises(LimitExceededError, match="numbers"):
        _schema(SERVER).check(batch({1: {}, 2: numbers}))
    _schema(LITE).check(batch({1: numbers}))
    with pytest.raises(LimitExceededError, match="columns"):
        _schema(SERVER, {f"f{n}": "integer" for n in range(30)})


def test_sparse_vectors_have_columns_of_their_own_and_come_back() -> None:
    schema = _schema(LITE)
    given_ = [sparse_row({7: 0.5, "a": 2.0}), EMPTY_ROW]
    rows = schema.rows(dataclasses.replace(batch({1: {}, 2: {}}), sparse=SparseRows.of(given_)))
    stored = [row[schema.slots[Slot.SPARSE]] for row in rows]
    assert list(map(sparse_vector, stored)) == [given_[0].as_dict(), None]
    assert [row[schema.slots[Slot.TEXT]] for row in rows] == [{4_294_967_294: 1.0}] * 2
    assert set(schema.slots.values()) < set(schema.names) & set(schema.indexes)


def test_a_definition_belongs_to_one_incarnation() -> None:
    schema = _schema(LITE)
    properties = schema.properties() | schema.definition_properties(b'{"version":1}')
    found = Schema.described("c", {"properties": properties}, LITE)
    assert found is not None
    assert (found.definition, found.slots) == (b'{"version":1}', schema.slots)
    other = Schema.of(schema.settings, LITE)
    found = Schema.described("c", {"properties": properties | other.properties()}, LITE)
    assert found is not None
    assert found.definition is None


@given(st.dictionaries(st.sampled_from(["a", "b.c"]), st.sampled_from(["keyword", "integer", "datetime"])))
def test_a_schema_is_read_back_from_its_description(indexes: dict[str, str]) -> None:
    schema = _schema(SERVER, indexes)
    found = Schema.described("c", {"properties": schema.properties()}, SERVER)
    assert found is not None
    assert (found.settings, found.incarnation) == (schema.settings, schema.incarnation)
    assert found.dialect.columns == schema.dialect.columns


@pytest.mark.parametrize("properties", [{}, {"codeweaver": "no JSON"}, {"codeweaver": '{"mark": "another"}'}])
def test_what_others_made_is_no_collection_of_ours(properties: dict[str, str]) -> None:
    assert Schema.described("c", {"properties": properties}, SERVER) is None


def test_another_layout_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedError, match=r"'c' has layout 99"):
        Schema.described("c", {"properties": {"codeweaver": '{"layout": 99}'}}, SERVER)
