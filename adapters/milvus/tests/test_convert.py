"""Spellings: reversible, ordered, and with nothing in them that an expression would interpret."""

from __future__ import annotations

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeweaver_backends.sdk.index.keys import INT64_MAX, INT64_MIN
from codeweaver_milvus import convert

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


@given(_any_text.filter(bool) | st.integers(0, INT64_MAX))
def test_ids_come_back_with_their_type(point_id: str | int) -> None:
    key = convert.encode_id(point_id)
    assert not _INTERPRETED & set(key)
    back = convert.decode_id(key)
    assert (type(back), back) == (type(point_id), point_id)


@given(st.integers(1, 512), st.characters(exclude_categories=["Cs"]))
def test_the_longest_id_fits_its_column(length: int, character: str) -> None:
    assert len(convert.encode_id(character * length).encode()) <= 2 + 512 * 9


@given(_numbers | _edges, _numbers | _edges)
def test_number_keys_compare_as_numbers_do(one: float, other: float) -> None:
    first, second = convert.compact_number(one), convert.compact_number(other)
    assert (first < second, first == second) == (one < other, one == other)
    assert convert.NO_HIGH < first < convert.NO_LOW


@given(_any_text, _any_text)
def test_a_part_of_the_code_is_a_part_of_the_text(text: str, part: str) -> None:
    assert (convert.encode_text(part) in convert.encode_text(text)) == (part in text)


@given(_payloads)
def test_facts_hold_nothing_that_is_interpreted(payload: dict[str, object]) -> None:
    facts = convert.facts_of(payload)
    assert not _INTERPRETED & set("".join([*facts.tokens, *facts.ranges, *facts.ranges.values()]))
    assert not any(convert.MARK in token for token in facts.tokens)
    assert all(len(convert.shortened(token).encode()) <= 128 for token in facts.tokens)


@given(st.lists(_any_text, min_size=1, max_size=4).map(tuple), st.lists(_any_text, min_size=1, max_size=4).map(tuple))
def test_paths_have_spellings_of_their_own(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    assert (convert.path_code(one).prefix == convert.path_code(other).prefix) == (one == other)


def test_facts_of_a_payload() -> None:
    facts = convert.facts_of({"n": [2, 10], "s": "x", "o": {"z": None}}, {("n",)})
    sign, member = convert.EQUALS, convert.MEMBER
    inner = f"o{convert.path_code(('o', 'z')).prefix[1:-1]}"
    assert facts.tokens == [
        f"n{sign}L",
        f"n{sign}n2",
        f"n{sign}n2{member}",
        f"n{sign}N",
        f"n{sign}n10",
        f"n{sign}n10{member}",
        f"s{sign}sx",
        f"s{sign}S",
        f"o{sign}O",
        f"{inner}{sign}z",
        f"{inner}{sign}Z",
    ]
    assert facts.ranges == {"<n": convert.compact_number(2), ">n": convert.compact_number(10)}
    assert facts.declared == {("n",): ["n2", "n10"]}


@given(_payloads, st.sampled_from(["", "1.5", "1e-05", "2.0;AAAAAA==;AACAPw=="]))
def test_documents_tell_the_scale(payload: dict[str, object], scale: str) -> None:
    document = orjson.dumps(payload)
    text, found = convert.decode_document(convert.encode_document(document, scale))
    assert (orjson.loads(text), found) == (payload, scale)


_floats = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(st.lists(_floats, min_size=1, max_size=8).filter(any))
def test_vectors_of_length_one_come_back_as_given(values: list[float]) -> None:
    given_ = np.array([values], dtype=np.float32)
    unit, (scale,) = convert.normalised(given_)
    back = np.array(convert.restored(unit[0].tolist(), scale))
    assert np.linalg.norm(unit.astype(np.float64)) == pytest.approx(1, abs=1e-6)
    assert (np.abs(back - given_[0]) <= 1e-6 * np.abs(given_[0])).all()
    assert convert.restored(values, "") == values
