"""Facts: keys that keep the order, one spelling per value, a code that keeps substrings."""

from __future__ import annotations

import math
import struct
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from codeweaver_backends.sdk.index.codes import StringCode, decode_id, digest, encode_id
from codeweaver_backends.sdk.index.facts import Fact, Kind, kind_of, leaves
from codeweaver_backends.sdk.index.keys import (
    INT64_MAX,
    INT64_MIN,
    canonical_number,
    instant_key,
    instant_of,
    number_key,
    number_pair,
    parse_instant,
    sortable_double,
)
from codeweaver_conformance.strategies import ids, payloads

INTEGERS = st.integers(INT64_MIN, INT64_MAX)
DOUBLES = st.floats(allow_nan=False, allow_infinity=False)
NUMBERS = INTEGERS | DOUBLES
NEIGHBOURS = st.one_of(
    NUMBERS.map(lambda number: (number, number)),
    INTEGERS.filter(lambda number: number < INT64_MAX).map(lambda number: (number, number + 1)),
    INTEGERS.map(lambda number: (number, float(number))),
    INTEGERS.map(lambda number: (number, math.nextafter(float(number), math.inf))),
    st.tuples(NUMBERS, NUMBERS),
)
EDGES = [
    *(
        0,
        0.0,
        -0.0,
        1,
        1.0,
        -1,
        5e-324,
        -5e-324,
        2.2250738585072014e-308,
        1.7976931348623157e308,
        -1.7976931348623157e308,
    ),
    *(sign * (2**power + step) for sign in (1, -1) for power in (52, 53, 54, 62) for step in (-1, 0, 1)),
    *(INT64_MIN, INT64_MIN + 1, INT64_MAX, INT64_MAX - 1, float(2**63), -float(2**63), 2.0**63 + 2048, 2.0**63 - 1024),
]


def sign(difference: bool, other: bool) -> int:
    return difference - other


# --- numbers ---------------------------------------------------------------------------------------------------------


@given(NEIGHBOURS)
@example((2**53 + 1, float(2**53)))
@example((INT64_MAX, float(2**63)))
@example((0, -0.0))
def test_number_keys_compare_as_numbers_do(pair: tuple[float, float]) -> None:
    a, b = pair
    one, other = number_key(a), number_key(b)
    assert sign(one > other, one < other) == sign(a > b, a < b)


def test_number_keys_of_edges_sort_as_the_numbers() -> None:
    for a in EDGES:
        for b in EDGES:
            assert (number_key(a) < number_key(b)) == (a < b), (a, b)
            assert (number_key(a) == number_key(b)) == (a == b), (a, b)


@given(NEIGHBOURS)
def test_number_pairs_compare_as_numbers_do(pair: tuple[float, float]) -> None:
    a, b = pair
    one, other = number_pair(a), number_pair(b)
    assert sign(one > other, one < other) == sign(a > b, a < b)
    assert -512 <= one[1] <= 512
    assert one[1] == 0 or abs(a) >= 2**53


@given(NUMBERS)
def test_number_keys_are_of_one_length(number: float) -> None:
    assert len(number_key(number)) == 19
    assert set(number_key(number)) <= set("0123456789abcdef")


@given(DOUBLES, DOUBLES)
def test_sortable_doubles_sort(a: float, b: float) -> None:
    assert (sortable_double(a) < sortable_double(b)) == (a < b)
    assert 0 <= sortable_double(a) < 2**64


@given(NEIGHBOURS)
def test_numbers_have_one_spelling_exactly_if_they_are_equal(pair: tuple[float, float]) -> None:
    a, b = pair
    assert (canonical_number(a) == canonical_number(b)) == (a == b)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1, "1"),
        (1.0, "1"),
        (-0.0, "0"),
        (0, "0"),
        (1.5, "1.5"),
        (2**53 + 1, "9007199254740993"),
        (1e16, "1" + "0" * 16),
    ],
)
def test_canonical_numbers(number: float, text: str) -> None:
    assert canonical_number(number) == text


@given(DOUBLES)
def test_canonical_numbers_are_exact(number: float) -> None:
    assert struct.pack("d", float(canonical_number(number)) + 0.0) == struct.pack("d", number + 0.0)


# --- instants --------------------------------------------------------------------------------------------------------

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ZONES = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: timezone(timedelta(minutes=minutes)))
MOMENTS = st.datetimes(timezones=ZONES)


@given(MOMENTS)
@example(datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=23, minutes=59))))
@example(datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=timezone(-timedelta(hours=23, minutes=59))))
def test_instants_are_those_of_datetime(moment: datetime) -> None:
    microseconds = (moment - EPOCH) // timedelta(microseconds=1)
    assert parse_instant(moment.isoformat()) == microseconds
    assert instant_of(moment) == microseconds


@given(MOMENTS, MOMENTS)
def test_instant_keys_compare_as_instants_do(a: datetime, b: datetime) -> None:
    one, other = instant_key(instant_of(a)), instant_key(instant_of(b))
    assert sign(one > other, one < other) == sign(a > b, a < b)
    assert len(one) == 16


@pytest.mark.parametrize(
    ("text", "microseconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01t00:00:01z", 1_000_000),
        ("1970-01-01T00:00:00.5Z", 500_000),
        ("1970-01-01T00:00:00.0000019Z", 1),
        ("1970-01-01T00:00:00.000000999999999999Z", 0),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1969-12-31T23:59:59.999999Z", -1),
        ("1970-01-01T00:00:00-00:00", 0),
        ("1970-01-01T00:00:01", 1_000_000),
        ("1970-01-01t00:00:00.0000019", 1),
        ("1970-01-02", 86_400_000_000),
        ("0001-01-01", -62_135_596_800_000_000),
    ],
)
def test_instants(text: str, microseconds: int) -> None:
    assert parse_instant(text) == microseconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2024-05",
        "2024-05-0",
        "2024-05-01T",
        "2024-05-01Z",
        "2024-05-01+02:00",
        "2023-02-29",
        "20240501--",
        "2024-05-01\n",
        "2024-05-01 12:00:00",
        "2024-05-01 12:00:00Z",
        "2024-05-01T12:00Z",
        "2024-05-01T24:00:00Z",
        "2024-05-01T12:60:00Z",
        "2024-05-01T12:00:60Z",
        "2024-05-01T12:00:00+24:00",
        "2024-05-01T12:00:00+00:60",
        "2024-05-01T12:00:00+0000",
        "2024-05-01T12:00:00.Z",
        "2024-05-01T12:00:00,5Z",
        "2023-02-29T12:00:00Z",
        "2024-00-01T12:00:00Z",
        "0000-01-01T12:00:00Z",
        "2024-05-01T12:00:00Z ",
        "2024-05-01T12:00:00Z\n",
        "٢٠٢٤-05-01T12:00:00Z",
        "2024-05-01T12:00:00.٥Z",
        "+2024-5-01T12:00:00Z",
    ],
)
def test_other_strings_are_no_instants(text: str) -> None:
    assert parse_instant(text) is None


def test_a_naive_datetime_is_no_instant() -> None:
    with pytest.raises(ValueError, match="naive"):
        instant_of(datetime(2024, 5, 1))  # noqa: DTZ001


# --- strings ---------------------------------------------------------------------------------------------------------

CODES = [
    StringCode("%_*?'\"\\\n\x00 ", alphabet="\x01\x02\x03"),
    StringCode("", alphabet="\ue000\ue001\ue002\ue003\ue004"),
    StringCode("-]^[&&~~||", alphabet="abc"),
    StringCode("".join(map(chr, range(128))), alphabet="0123456789"),
]
# Words of the codes, parts of words, and what they stand for, are likely in these.
LIKELY = "ab%_*'\\\n\x00\x01\x02\x03 0125c-]^[&é日\ue000\ue001\ue002"
TEXTS = st.text(st.sampled_from(LIKELY), max_size=8) | st.text(max_size=6)


@pytest.mark.parametrize("code", CODES)
@given(text=TEXTS)
def test_a_code_is_reversed(code: StringCode, text: str) -> None:
    assert code.decode(code.encode(text)) == text


@pytest.mark.parametrize("code", CODES)
@given(part=TEXTS, text=TEXTS, before=TEXTS)
def test_a_code_keeps_substrings_exactly(code: StringCode, part: str, text: str, before: str) -> None:
    for whole in (text, before + part + text, part[1:] + before + part[:-1]):
        assert (code.encode(part) in code.encode(whole)) == (part in whole)


@pytest.mark.parametrize("code", CODES)
@given(a=TEXTS, b=TEXTS)
def test_a_code_joins(code: StringCode, a: str, b: str) -> None:
    assert code.encode(a + b) == code.encode(a) + code.encode(b)


def test_nothing_reserved_is_left_in_a_code() -> None:
    reserved = "%_*?'\"\\\n\x00 "
    code = CODES[0].encode(f"a{reserved}\x01\x02\x03b")
    assert set(code) == set("ab\x01\x02\x03")
    assert CODES[0].encode("plain") == "plain"


@pytest.mark.parametrize("alphabet", ["", "\x01", "\x01\x02", "\x01\x02\x02", "\x01\x01\x02"])
def test_an_alphabet_has_three_different_characters_at_least(alphabet: str) -> None:
    with pytest.raises(ValueError, match="alphabet"):
        StringCode("%", alphabet=alphabet)


# --- ids and digests -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [None, *CODES])
@given(one=ids(), other=ids())
@example(one=5, other="5")
@example(one=0, other="i0")
def test_ids_come_back_and_are_told_apart(code: StringCode | None, one: int | str, other: int | str) -> None:
    decoded = decode_id(encode_id(one, code), code)
    assert (type(decoded), decoded) == (type(one), one)
    same = type(one) is type(other) and one == other
    assert (encode_id(one, code) == encode_id(other, code)) == same


@pytest.mark.parametrize("key", ["", "s", "i", "5", "i05", "i-1", "i+1", "i 1", "i1_0", "i٥", f"i{2**63}", "x1", "I1"])
def test_what_is_no_id_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="not the code"):
        decode_id(key)


def test_digests() -> None:
    digests = {digest(f"{number}é", size) for number in range(200) for size in (6, 18)}
    assert len(digests) == 400
    assert {len(one) for one in digests} == {8, 24}
    assert set("".join(digests)) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.")
    assert digest("a") == digest("a")


# --- leaves ----------------------------------------------------------------------------------------------------------


def test_leaves() -> None:
    payload: dict[str, Any] = {"a": {"b": None, "c.d": [1, True, "x", None, [2], {"e": 3}], "": {}}, "n": -0.5, "l": []}
    assert list(leaves(payload)) == [
        Fact(("a",), Kind.OBJECT, None, False),
        Fact(("a", "b"), Kind.NULL, None, False),
        Fact(("a", "c.d"), Kind.LIST, None, False),
        Fact(("a", "c.d"), Kind.NUMBER, 1, True),
        Fact(("a", "c.d"), Kind.BOOL, True, True),
        Fact(("a", "c.d"), Kind.STRING, "x", True),
        Fact(("a", "c.d"), Kind.NULL, None, True),
        Fact(("a", ""), Kind.OBJECT, None, False),
        Fact(("n",), Kind.NUMBER, -0.5, False),
        Fact(("l",), Kind.LIST, None, False),
    ]
    assert list(leaves({})) == []


@given(payloads())
def test_each_key_has_one_fact_of_its_own(payload: dict[str, Any]) -> None:
    def paths(value: dict[str, Any], prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
        found = []
        for key, inner in value.items():
            found.append((*prefix, key))
            found += paths(inner, (*prefix, key)) if isinstance(inner, dict) else []
        return found

    assert [fact.path for fact in leaves(payload) if not fact.element] == paths(payload)


def test_kinds() -> None:
    class Text(str): ...

    values: list[object] = [None, True, 1, 1.0, "a", Text("a"), [], (), {}]
    kinds = [
        Kind.NULL,
        Kind.BOOL,
        Kind.NUMBER,
        Kind.NUMBER,
        Kind.STRING,
        Kind.STRING,
        Kind.LIST,
        Kind.LIST,
        Kind.OBJECT,
    ]
    assert [kind_of(value) for value in values] == kinds
    with pytest.raises(TypeError, match="set"):
        kind_of(set())
