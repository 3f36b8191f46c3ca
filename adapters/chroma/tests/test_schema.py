"""Spellings: reversible, ordered, and the vectors of a cosine as they were given."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from codeweaver_backends.sdk.index.keys import INT64_MAX, INT64_MIN
from codeweaver_chroma import convert

_texts = st.text(st.characters(exclude_categories=["Cs"]))
_numbers = st.integers(INT64_MIN, INT64_MAX) | st.floats(allow_nan=False, allow_infinity=False)
_edges = st.sampled_from(
    [
        0,
        -0.0,
        1,
        1.0,
        2**53,
        2**53 + 1,
        float(2**53),
        -(2**53) - 1,
        INT64_MAX,
        INT64_MAX - 1,
        INT64_MIN,
        2.0**63,
        5e-324,
    ]
)
_floats = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(_texts.filter(bool) | st.integers(0, INT64_MAX))
def test_ids_come_back_with_their_type(point_id: str | int) -> None:
    key = convert.encode_id(point_id)
    back = convert.decode_id(key)
    assert (type(back), back) == (type(point_id), point_id)


@given(_numbers | _edges, _numbers | _edges)
def test_order_keys_compare_as_numbers_do(one: float, other: float) -> None:
    first, second = convert.order_key(one), convert.order_key(other)
    assert (first < second, first == second) == (one < other, one == other)
    assert INT64_MIN <= first[0] <= INT64_MAX
    assert first[1] == 0 or convert.has_remainder(first[0])


@given(_numbers | _edges)
def test_numbers_of_one_key_differ_only_where_a_remainder_is_stored(number: float) -> None:
    assert convert.has_remainder(convert.order_key(number)[0]) == (abs(float(number)) >= 2**53)


@given(st.lists(_texts, min_size=1, max_size=3), st.lists(_texts, min_size=1, max_size=3), _texts, _texts)
def test_tokens_of_different_facts_differ(path: list[str], other: list[str], value: str, second: str) -> None:
    one = convert.token(convert.path_code(tuple(path)) + convert.value_code(value))
    two = convert.token(convert.path_code(tuple(other)) + convert.value_code(second))
    assert (one == two) == ((path, value) == (other, second))
    assert len(one) <= 120


@given(arrays(np.float32, (3, 4), elements=_floats).filter(lambda matrix: bool(matrix.any(axis=1).all())))
def test_vectors_of_a_cosine_are_storable_and_come_back(matrix: np.ndarray) -> None:
    before = matrix.copy()
    stored, given_ = convert.storable(matrix)
    assert np.array_equal(matrix, before)
    for row, kept, original in zip(stored, given_, before, strict=True):
        assert 1e-7 < np.linalg.norm(row.astype(np.float64)) < 1e7
        assert kept or np.array_equal(row, original)
        document = convert.encode_document(b'{"a":"{;}"}', kept)
        assert convert.decode_document(document) == ('{"a":"{;}"}', kept)
        assert convert.restored(row, kept) == original.tolist()


def test_the_facts_of_a_payload() -> None:
    payload = {"s": "x", "n": 1.5, "b": True, "z": None, "o": {"i": 2**53 + 1}, "l": [1, "x", None, [2], 3], "e": []}
    metadata = convert.metadata_of(payload, "f")
    assert metadata is not None
    assert sorted(metadata.pop("f")) == sorted(
        [
            *('["s"]sx', '["s"]S', '["n"]n1.5', '["n"]N', '["b"]b1', '["z"]z', '["z"]Z', '["o"]O'),
            *('["o","i"]n9007199254740993', '["o","i"]N', '["e"]L'),
            *('["l"]L', '["l"]n1', '["l"]mn1', '["l"]n3', '["l"]mn3', '["l"]N'),
            *('["l"]sx', '["l"]msx', '["l"]z', '["l"]mz'),
        ]
    )
    assert metadata == {
        '=n["n"]': convert.order_key(1.5)[0],
        '=n["o","i"]': convert.order_key(2**53)[0],
        '=r["o","i"]': 1,
        '<n["l"]': convert.order_key(1)[0],
        '>n["l"]': convert.order_key(3)[0],
    }
    assert convert.metadata_of({}, "f") is None
    assert len(convert.path_code(("x" * 100,))) == 25
