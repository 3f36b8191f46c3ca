"""What is stored: rows that give back what they were made of, and keys that keep an order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from codeweaver_backends.errors import UnsupportedError
from codeweaver_backends.sdk.index.keys import INT64_MAX, INT64_MIN
from codeweaver_backends.sdk.requests import Batch, CollectionSettings
from codeweaver_backends.sdk.vectors import restored
from codeweaver_backends.types import DistanceMetric
from codeweaver_chroma.dialect import SPELLING, has_remainder, order_key
from codeweaver_chroma.schema import LAYOUT, Collection, _metadatas, creation, engine_name, rows_of, split_uri

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


@given(_numbers | _edges, _numbers | _edges)
def test_order_keys_compare_as_numbers_do(one: float, other: float) -> None:
    first, second = order_key(one), order_key(other)
    assert (first < second, first == second) == (one < other, one == other)
    assert INT64_MIN <= first[0] <= INT64_MAX
    assert first[1] == 0 or has_remainder(first[0])


@given(_numbers | _edges)
def test_numbers_of_one_key_differ_only_where_a_remainder_is_stored(number: float) -> None:
    assert has_remainder(order_key(number)[0]) == (abs(float(number)) >= 2**53)


@given(st.lists(_texts, min_size=1, max_size=3), st.lists(_texts, min_size=1, max_size=3), _texts, _texts)
def test_terms_of_different_facts_differ(path: list[str], other: list[str], value: str, second: str) -> None:
    one = SPELLING.equal(tuple(path), value)
    two = SPELLING.equal(tuple(other), second)
    assert (one == two) == ((path, value) == (other, second))
    assert not any(SPELLING.separator in term for term in one)


@given(arrays(np.float32, (3, 4), elements=_floats).filter(lambda matrix: bool(matrix.any(axis=1).all())))
def test_vectors_of_a_cosine_are_storable_and_come_back(matrix: np.ndarray) -> None:
    before = matrix.copy()
    collection = Collection(CollectionSettings("c", 4, DistanceMetric.COSINE), "id", "f")
    rows = rows_of(collection, Batch(["a", 2, "b"], matrix, [{"a": "{;}"}] * 3, [b'{"a":"{;}"}'] * 3))
    assert np.array_equal(matrix, before)
    assert rows.keys == ["sa", "i2", "sb"]
    for row, uri, original in zip(rows.vectors, rows.uris, before, strict=True):
        assert abs(np.linalg.norm(row.astype(np.float64)) - 1) < 1e-6
        kept, payload_json = split_uri(uri)
        assert payload_json == '{"a":"{;}"}'
        assert restored(row, kept) == pytest.approx(original.tolist(), rel=1e-6, abs=0)


def test_the_metadata_of_a_payload() -> None:
    payload = {"s": "x", "n": 1.5, "b": True, "z": None, "o": {"i": 2**53 + 1}, "l": [1, "x", None, [2], 3], "e": []}
    [metadata] = _metadatas([payload], "f")
    assert sorted(metadata.pop("f")) == sorted(
        [
            *("s\x1esx", "s\x1eS", "n\x1en1.5", "n\x1eN", "b\x1eb1", "z\x1eZ", "o\x1eO", "e\x1eL"),
            *("o\x1di\x1en9007199254740993", "o\x1di\x1eN"),
            *("l\x1eL", "l\x1en1", "l\x1en3", "l\x1eN", "l\x1esx", "l\x1ez"),
        ]
    )
    whole = order_key(2**53)[0]
    assert metadata == {
        "<nn\x1e": order_key(1.5)[0],
        ">nn\x1e": order_key(1.5)[0],
        "<no\x1di\x1e": whole,
        ">no\x1di\x1e": whole,
        "<ro\x1di\x1e": 1,
        ">ro\x1di\x1e": 1,
        "<nl\x1e": order_key(1)[0],
        ">nl\x1e": order_key(3)[0],
    }
    assert _metadatas([{}], "f") == [{"f": None}]


def test_settings_come_back_and_another_layout_is_refused() -> None:
    settings = CollectionSettings("C ü", 3, DistanceMetric.DOT_PRODUCT, {"a": "keyword"})
    metadata, _, terms_key = creation(settings)
    found = {"id": "1", "name": engine_name("C ü"), "metadata": metadata}
    assert Collection.read(found) == Collection(settings, "1", terms_key)
    later = {"codeweaver": settings.to_json(LAYOUT + 1, terms_key="f")}
    with pytest.raises(UnsupportedError, match="newer version"):
        Collection.read({**found, "metadata": later})
    assert Collection.read({**found, "metadata": None}) is None
    assert Collection.read({**found, "name": "docs"}) is None
