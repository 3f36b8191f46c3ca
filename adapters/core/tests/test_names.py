"""Collection names in fewer characters: reversible, short enough, and nothing else decodes."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from codeweaver_backends.sdk.names import PREFIX, decode_name, encode_name

CHARACTERS = st.characters(exclude_categories=["Cs"])
NAMES = st.text(CHARACTERS, min_size=1, max_size=80).filter(lambda name: len(name.encode()) <= 80)


@given(NAMES)
@example("_")
@example("__")
@example("_5f")
@example("A")
@example("😀" * 20)
def test_names_come_back(name: str) -> None:
    code = encode_name(name)
    assert decode_name(code) == name
    assert re.fullmatch("[a-z0-9_]+", code)
    assert len(code) <= len(PREFIX) + 240


@given(NAMES, NAMES)
def test_no_two_names_have_one_code_even_where_case_is_folded(a: str, b: str) -> None:
    assert (encode_name(a).lower() == encode_name(b).lower()) == (a == b)


@given(st.text(st.sampled_from("cw_abf0159_A"), max_size=12))
def test_what_decodes_is_the_code_of_what_it_decodes_to(code: str) -> None:
    name = decode_name(code)
    assert name is None or encode_name(name) == code


@pytest.mark.parametrize(
    "code", ["other", "cw_A", "cw_a_", "cw__5", "cw_a_5f", "cw_a_61", "cw_a_ff", "cw_a_zz", "CW_a", "cw_-"]
)
def test_what_others_made_has_no_name(code: str) -> None:
    assert decode_name(code) is None


def test_a_prefix_of_ones_own() -> None:
    assert encode_name("a-b", "t1_") == "t1_a_2db"
    assert decode_name("t1_a_2db", "t1_") == "a-b"
    assert decode_name("cw_a", "t1_") is None
