"""The door: everything the contract refuses raises its own error, names the argument, and shows no value."""

from __future__ import annotations

import array
import collections
import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum, IntEnum
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeweaver_backends.capabilities import BackendCapabilities, Limits
from codeweaver_backends.errors import (
    BackendError,
    InvalidDimensionError,
    InvalidFilterError,
    InvalidIdError,
    InvalidInputError,
    InvalidNameError,
    InvalidOptionError,
    InvalidPayloadError,
    InvalidVectorError,
    LimitExceededError,
    UnsupportedError,
)
from codeweaver_backends.sdk.cursors import cursor_after, position_of
from codeweaver_backends.sdk.filters.tree import Always
from codeweaver_backends.sdk.index.keys import INT64_MAX
from codeweaver_backends.sdk.payloads import decode_payload, encode_payload
from codeweaver_backends.sdk.requests import Batch, CollectionSettings, Projection
from codeweaver_backends.sdk.validate import (
    validate_columns,
    validate_create,
    validate_ids,
    validate_limit,
    validate_name,
    validate_options,
    validate_page,
    validate_points,
    validate_projection,
    validate_query,
    validate_vector,
)
from codeweaver_backends.sdk.vector_index import VectorIndex
from codeweaver_backends.types import DistanceMetric, PointId, SearchFilter, VectorPoint
from codeweaver_conformance import oracle
from codeweaver_conformance.strategies import ids, payloads, vectors

ALL = BackendCapabilities(
    supported_distance_metrics=list(DistanceMetric),
    supports_payload_indexes=True,
    payload_index_types=["keyword", "integer"],
    supports_hybrid_search=True,
)
MODEST = BackendCapabilities()
COSINE = CollectionSettings("c", 2, DistanceMetric.COSINE)
DOT = CollectionSettings("c", 2, DistanceMetric.DOT_PRODUCT)
SECRET = "s3cr3t"  # noqa: S105


class Color(Enum):
    RED = SECRET


class Level(IntEnum):
    LOW = 1


class Text(str):
    """A string that is none of ours."""


def batch_of(points: Any, settings: CollectionSettings, capabilities: BackendCapabilities) -> Batch:
    return validate_points(points, capabilities).on(settings)


def columns_of(
    ids: Any, vectors: Any, payloads: Any, settings: CollectionSettings, capabilities: BackendCapabilities
) -> Batch:
    return validate_columns(ids, vectors, payloads, capabilities).on(settings)


def refuses(error: type[BackendError], words: str, call: Callable[[], object]) -> BackendError:
    """The call raises exactly this error, which names what is wrong and shows no value."""
    with pytest.raises(BackendError) as raised:
        call()
    assert type(raised.value) is error
    assert words in str(raised.value)
    assert SECRET not in str(raised.value)
    return raised.value


# --- collections: contract, section 8 --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a", "A b/ü.-_%", "...", "é" * 40, "a" * 80, " ", "\u2028", "😀" * 20])
def test_names_are_kept(name: str) -> None:
    assert validate_name(name) == name


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "1 to 80 bytes"),
        ("é" * 41, "1 to 80 bytes of UTF-8, not 82"),
        (".", "'.'"),
        ("..", "'..'"),
        (f"{SECRET}\n", "control"),
        (f"{SECRET}\x00", "control"),
        (f"{SECRET}\x7f", "control"),
        (f"{SECRET}\x85", "control"),
        (f"{SECRET}\ud800", "surrogate"),
        (None, "collection name must be a string, not a NoneType"),
        (7, "not a int"),
        (SECRET.encode(), "not a bytes"),
        (Text("a"), "not a Text"),
    ],
)
def test_other_names_are_refused(name: Any, words: str) -> None:
    refuses(InvalidNameError, words, lambda: validate_name(name))
    refuses(InvalidNameError, words, lambda: validate_create(name, 2, DistanceMetric.COSINE, {}, ALL))


def test_settings_of_a_collection() -> None:
    indexes = {"a.b": "keyword", "n": "integer"}
    _, settings = validate_create("x", np.int64(3), DistanceMetric.EUCLIDEAN, {"payload_indexes": indexes}, ALL)
    assert settings == CollectionSettings("x", 3, DistanceMetric.EUCLIDEAN, indexes, VectorIndex())
    assert type(settings.dimension) is int
    assert validate_create("x", 1, DistanceMetric.COSINE, {"payload_indexes": None}, MODEST)[1].payload_indexes == {}
    assert validate_create("x", 1, DistanceMetric.COSINE, {"payload_indexes": {}}, MODEST)[1].payload_indexes == {}
    assert validate_create("x", 4_096, DistanceMetric.COSINE, {}, MODEST)[1].dimension == 4_096


@pytest.mark.parametrize(
    ("error", "words", "arguments"),
    [
        (InvalidDimensionError, "dimension must be at least 1", (0, DistanceMetric.COSINE, {})),
        (InvalidDimensionError, "dimension must be at least 1", (-2, DistanceMetric.COSINE, {})),
        (InvalidDimensionError, "dimension must be at most 4096", (4_097, DistanceMetric.COSINE, {})),
        (InvalidOptionError, "dimension must be an integer, not a bool", (True, DistanceMetric.COSINE, {})),
        (InvalidOptionError, "dimension must be an integer, not a float", (2.0, DistanceMetric.COSINE, {})),
        (InvalidOptionError, "dimension must be an integer, not a str", ("2", DistanceMetric.COSINE, {})),
        (InvalidOptionError, "distance_metric must be a DistanceMetric or one of", (2, SECRET, {})),
        (InvalidOptionError, "distance_metric must be a DistanceMetric", (2, None, {})),
        (InvalidOptionError, "unknown option 'shards'", (2, DistanceMetric.COSINE, {"shards": SECRET})),
        (
            InvalidOptionError,
            "payload_indexes must be a dict",
            (2, DistanceMetric.COSINE, {"payload_indexes": [SECRET]}),
        ),
        (InvalidOptionError, "'a' must be one of", (2, DistanceMetric.COSINE, {"payload_indexes": {"a": SECRET}})),
        (InvalidOptionError, "dotted path", (2, DistanceMetric.COSINE, {"payload_indexes": {"": "keyword"}})),
        (InvalidOptionError, "dotted path", (2, DistanceMetric.COSINE, {"payload_indexes": {1: "keyword"}})),
        (InvalidOptionError, "lone surrogate", (2, DistanceMetric.COSINE, {"payload_indexes": {"\ud800": "keyword"}})),
    ],
)
def test_wrong_settings_are_refused(error: type[BackendError], words: str, arguments: tuple[Any, Any, Any]) -> None:
    refuses(error, words, lambda: validate_create("x", *arguments, ALL))


def test_what_is_not_claimed_is_unsupported() -> None:
    raised = refuses(
        UnsupportedError, "MANHATTAN", lambda: validate_create("x", 2, DistanceMetric.MANHATTAN, {}, MODEST)
    )
    assert raised.capability == "supported_distance_metrics"  # type: ignore[attr-defined]
    options = {"payload_indexes": {"a": "keyword"}}
    refuses(
        UnsupportedError, "payload indexes", lambda: validate_create("x", 2, DistanceMetric.COSINE, options, MODEST)
    )
    point = VectorPoint("a", [1, 0], None, {"term": 1.0})
    refuses(UnsupportedError, "sparse", lambda: batch_of([point], COSINE, MODEST))
    assert len(batch_of([point], COSINE, ALL)) == 1


def test_unknown_options_are_invalid_input_and_a_type_error() -> None:
    refuses(
        InvalidOptionError, "unknown option 'ef'; known are a, b", lambda: validate_options({"ef": SECRET}, ("a", "b"))
    )
    with pytest.raises(TypeError):
        validate_options({"ef": 1}, ())
    validate_options({"a": 1}, ("a",))


# --- ids: section 2 --------------------------------------------------------------------------------------------------

UUID = uuid.UUID("6f9619ff-8b86-d011-b42d-00cf4fc964ff")


@given(st.lists(ids()))
def test_ids_are_kept_repeated_ones_dropped(given_ids: list[Any]) -> None:
    checked = validate_ids(given_ids)
    assert [(type(one), one) for one in checked] == [*dict.fromkeys((type(one), one) for one in given_ids)]


@pytest.mark.parametrize(
    ("point_id", "words"),
    [
        (True, "not a bool"),
        (1.0, "not a float"),
        (-1, "integer of 0 … 2^63−1"),
        (2**63, "integer of 0 … 2^63−1"),
        ("", "1 to 512 characters, not 0"),
        (SECRET + "x" * 507, "1 to 512 characters, not 513"),
        (f"{SECRET}\ud800", "lone surrogate"),
        (None, "not a NoneType"),
        (UUID, "not a UUID; pass str() of it"),
        (np.int64(7), "not a int64; pass its item()"),
        (np.uint8(7), "not a uint8; pass its item()"),
        (SECRET.encode(), "not a bytes"),
        ([SECRET], "not a list"),
        (Text(SECRET), "not a Text"),
        (Color.RED, "not a Color"),
        (Level.LOW, "not a Level"),
    ],
)
def test_other_ids_are_refused_wherever_they_stand(point_id: Any, words: str) -> None:
    refuses(InvalidIdError, words, lambda: validate_ids(["ok", point_id]))
    refuses(InvalidIdError, "position 1", lambda: validate_ids(["ok", point_id]))
    points = [VectorPoint("ok", [1, 0]), VectorPoint(point_id, [1, 0])]
    refuses(InvalidIdError, words, lambda: batch_of(points, COSINE, ALL))
    matrix = np.ones((2, 2), np.float32)
    refuses(InvalidIdError, words, lambda: columns_of(["ok", point_id], matrix, None, COSINE, ALL))


@pytest.mark.parametrize("given_ids", [SECRET, SECRET.encode(), None, {SECRET: 1}, 7])
def test_ids_are_a_list(given_ids: Any) -> None:
    refuses(InvalidIdError, "ids must be", lambda: validate_ids(given_ids))
    refuses(InvalidIdError, "ids must be", lambda: columns_of(given_ids, np.ones((1, 2)), None, COSINE, ALL))


# --- payloads: section 3 ---------------------------------------------------------------------------------------------


@given(payloads())
def test_payloads_come_back_exactly(payload: dict[str, Any]) -> None:
    document = encode_payload(payload, Limits())
    assert oracle.json_equal(decode_payload(document), payload)
    assert oracle.json_equal(json.loads(document), payload)


@pytest.mark.parametrize("payload", [None, {}, MappingProxyType({}), collections.OrderedDict(), collections.UserDict()])
def test_no_payload_is_an_empty_one(payload: Any) -> None:
    assert encode_payload(payload, Limits()) == b"{}"


@pytest.mark.parametrize(
    ("payload", "document"),
    [
        (MappingProxyType({"a": 1}), b'{"a":1}'),
        (collections.OrderedDict(a=(1, 2)), b'{"a":[1,2]}'),
        ({"a": Text("x")}, b'{"a":"x"}'),
        (
            {"a": [2**63 - 1, -(2**63), 1.0, -0.0, True]},
            b'{"a":[9223372036854775807,-9223372036854775808,1.0,-0.0,true]}',
        ),
        ({"": {"a.b": "\x00"}}, b'{"":{"a.b":"\\u0000"}}'),
    ],
)
def test_what_python_says_of_the_same_json(payload: Any, document: bytes) -> None:
    assert encode_payload(payload, Limits()) == document


NO_JSON: list[tuple[Any, str]] = [
    (float("nan"), "nan"),
    (float("inf"), "inf"),
    (2**63, "integer outside"),
    (-(2**63) - 1, "integer outside"),
    (SECRET.encode(), "a bytes"),
    (bytearray(SECRET.encode()), "a bytearray"),
    ({SECRET}, "a set"),
    (Decimal(1), "a Decimal"),
    (datetime(2024, 5, 1, tzinfo=UTC), "a datetime"),
    (UUID, "a UUID"),
    (Color.RED, "an Enum"),
    (Level.LOW, "an Enum"),
    (np.int64(1), "a int64"),
    (np.float64(1), "float64"),
    (np.ones(2), "a ndarray"),
    (object(), "a object"),
    (f"{SECRET}\ud800", "surrogates"),
    ({1: SECRET}, "key of type int"),
    ({None: SECRET}, "key of type NoneType"),
    ({"\ud800": SECRET}, "surrogates"),
]


@pytest.mark.parametrize(("value", "words"), NO_JSON)
def test_what_json_cannot_say_is_refused_wherever_it_stands(value: Any, words: str) -> None:
    for payload in ({"k": value}, {"k": {"l": value}}, {"k": [SECRET, {"l": [value]}]}):
        raised = refuses(InvalidPayloadError, words, lambda payload=payload: encode_payload(payload, Limits()))  # type: ignore[misc]
        assert "payload" in str(raised)
    point = VectorPoint("the-id", [1, 0], {"k": value})
    refuses(InvalidPayloadError, "point 'the-id': payload", lambda: batch_of([point], COSINE, ALL))


@pytest.mark.parametrize(("value", "words"), NO_JSON)
def test_what_json_cannot_say_is_refused_among_many_alike(value: Any, words: str) -> None:
    for good, bad in ((1, value), ("a", value), (value, value), (["a"], [value]), (["a"], ["a", value])):
        points = [VectorPoint(0, [1, 0], {"k": good}), VectorPoint(1, [1, 0], {"k": bad})]
        refuses(InvalidPayloadError, words, lambda points=points: batch_of(points, COSINE, ALL))  # type: ignore[misc]


@given(st.lists(payloads(), min_size=1, max_size=3), st.integers(1, 3))
def test_payloads_of_a_batch_are_written_as_each_alone(some: list[dict[str, Any]], times: int) -> None:
    points = [VectorPoint(row, [1, 0], payload) for row, payload in enumerate(some * times)]
    assert batch_of(points, COSINE, ALL).payload_json == [encode_payload(one.payload, ALL.limits) for one in points]


@pytest.mark.parametrize("payload", [[SECRET], [], SECRET, "", 0, False, np.ones(2), {SECRET}])
def test_payloads_are_objects(payload: Any) -> None:
    refuses(InvalidPayloadError, "payload must be a dict or None", lambda: encode_payload(payload, Limits()))


def test_sizes_of_payloads() -> None:
    limits = Limits(max_payload_bytes=16_384, max_payload_depth=16)
    assert len(encode_payload({"a": "x" * (16_384 - 8)}, limits)) == 16_384
    raised = refuses(LimitExceededError, "16385 bytes", lambda: encode_payload({"a": "x" * (16_384 - 7)}, limits))
    assert raised.limit == "max_payload_bytes"  # type: ignore[attr-defined]
    nested: Any = 1
    for _ in range(16):
        deepest, nested = nested, {"a": nested}
    encode_payload(nested, limits)
    assert deepest
    refuses(LimitExceededError, "too deeply", lambda: encode_payload({"a": [deepest, nested]}, limits))
    endless: list[Any] = []
    endless.append(endless)
    refuses(LimitExceededError, "too deeply", lambda: encode_payload({"a": endless}, limits))


@pytest.mark.parametrize(
    ("value", "checked", "projected"),
    [
        (True, True, {"a": 1, "b": 2}),
        (False, False, None),
        ([], (), {}),
        (["b", "c"], ("b", "c"), {"b": 2}),
        (("a",), ("a",), {"a": 1}),
    ],
)
def test_with_payload(value: Any, checked: Any, projected: dict[str, int] | None) -> None:
    assert validate_projection(value, False).payload == checked
    assert validate_projection(value, False).payload_of(b'{"a":1,"b":2}') == projected


@pytest.mark.parametrize("value", [None, 1, SECRET, [1], {SECRET}])
def test_wrong_with_payload_is_refused(value: Any) -> None:
    refuses(InvalidOptionError, "with_payload must be", lambda: validate_projection(value, False).payload)


# --- vectors: section 4 ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "vector",
    [
        [3, 4],
        (3.0, 4.0),
        range(3, 5),
        array.array("d", [3, 4]),
        array.array("i", [3, 4]),
        np.array([3, 4]),
        np.array([3, 4], np.float16),
        np.array([3, 4], np.uint8),
        np.array([3, 0, 4, 0], np.float64)[::2],
        [np.float32(3), np.int64(4)],
        collections.deque([3, 4]),
    ],
)
def test_vectors_of_every_kind_become_float32(vector: Any) -> None:
    checked = validate_vector(vector, COSINE)
    assert checked.dtype == np.float32
    assert checked.tolist() == [3.0, 4.0]
    batch = batch_of([VectorPoint(1, vector)], COSINE, ALL)
    assert batch.vectors.tolist() == [[3.0, 4.0]]
    assert batch.vectors.flags.c_contiguous


@given(vectors(2))
def test_float32_numbers_are_kept(vector: list[float]) -> None:
    assert validate_vector(vector, COSINE).tolist() == vector


BAD_VECTORS: list[tuple[type[BackendError], str, Any]] = [
    (InvalidDimensionError, "must have dimension 2, not 0", []),
    (InvalidDimensionError, "must have dimension 2, not 1", [1]),
    (InvalidDimensionError, "must have dimension 2, not 3", (1, 2, 3)),
    (InvalidDimensionError, "must have dimension 2, not 3", np.ones(3)),
    (InvalidDimensionError, "must have dimension 2, not 1", np.ones((1, 2))),
    (InvalidDimensionError, "must have dimension 2, not 6", SECRET),
    (InvalidVectorError, "must be a sequence of 2 numbers, not a NoneType", None),
    (InvalidVectorError, "must be a sequence of 2 numbers, not a int", 7),
    (InvalidVectorError, "must be a sequence of 2 numbers, not a generator", (x for x in (1, 2))),
    (InvalidVectorError, "must hold numbers only", ["1", "2"]),
    (InvalidVectorError, "must hold numbers only", "12"),
    (InvalidVectorError, "must hold numbers only", b"12"),
    (InvalidVectorError, "must hold numbers only", bytearray(b"12")),
    (InvalidVectorError, "must hold numbers only", [SECRET, 1]),
    (InvalidVectorError, "must hold numbers only", [None, 1]),
    (InvalidVectorError, "must hold numbers only", [1 + 1j, 1]),
    (InvalidVectorError, "must hold numbers only", [[1], [2]]),
    (InvalidVectorError, "must hold numbers only", {1, 2}),
    (InvalidVectorError, "must hold numbers only", {0: 1, 1: 2}),
    (InvalidVectorError, "must hold numbers only", np.array(["1", "2"])),
    (InvalidVectorError, "must hold numbers only", np.array([True, False])),
    (InvalidVectorError, "must hold numbers only", np.ones((2, 1))),
    (InvalidVectorError, "must hold numbers only", np.array([None, 1])),
    (InvalidVectorError, "must hold numbers only", [10**400, 1]),
    (InvalidVectorError, "must hold finite", [float("nan"), 1]),
    (InvalidVectorError, "must hold finite", [float("-inf"), 1]),
    (InvalidVectorError, "must hold finite", [1e39, 1]),
    (InvalidVectorError, "must hold finite", np.array([1e300, 1])),
]


@pytest.mark.parametrize(("error", "words", "vector"), BAD_VECTORS)
@pytest.mark.parametrize("settings", [COSINE, DOT])
def test_other_vectors_are_refused(error: type[BackendError], words: str, vector: Any, settings: Any) -> None:
    refuses(error, f"query_vector {words}", lambda: validate_vector(vector, settings))
    points = [VectorPoint("first", [1, 0]), VectorPoint("the-id", vector)]
    refuses(error, f"vector of point 'the-id' {words}", lambda: batch_of(points, settings, ALL))


@pytest.mark.parametrize("zero", [[0, 0], (0.0, -0.0), np.zeros(2), [1e-60, 0.0]])
def test_zero_has_no_cosine(zero: Any) -> None:
    refuses(InvalidVectorError, "query_vector must not be zero", lambda: validate_vector(zero, COSINE))
    points = [VectorPoint("the-id", zero)]
    refuses(InvalidVectorError, "'the-id' must not be zero", lambda: batch_of(points, COSINE, ALL))
    assert validate_vector(zero, DOT).tolist() == [0.0, 0.0]
    assert batch_of(points, DOT, ALL).vectors.tolist() == [[0.0, 0.0]]


# --- batches: section 9 ----------------------------------------------------------------------------------------------


def test_of_equal_ids_the_last_wins() -> None:
    points = [
        VectorPoint("a", [1, 0], {"n": 1}),
        VectorPoint(1, [2, 0], {"n": 2}),
        VectorPoint("1", [3, 0], {"n": 3}),
        VectorPoint("a", [4, 0], {"n": 4}),
        VectorPoint(1, [5, 0]),
    ]
    batch = batch_of(points, COSINE, ALL)
    assert batch.ids == ["1", "a", 1]
    assert batch.vectors.tolist() == [[3, 0], [4, 0], [5, 0]]
    assert batch.payload_json == [b'{"n":3}', b'{"n":4}', b"{}"]
    assert batch.payloads == [{"n": 3}, {"n": 4}, {}]
    columns = columns_of(
        [point.id for point in points],
        np.array([point.vector for point in points]),
        [point.payload for point in points],
        COSINE,
        ALL,
    )
    assert (columns.ids, columns.payload_json) == (batch.ids, batch.payload_json)
    assert columns.vectors.tolist() == batch.vectors.tolist()


def test_batches_are_cut_into_chunks() -> None:
    batch = batch_of([VectorPoint(n, [n + 1, 0], {"n": n}) for n in range(5)], COSINE, ALL)
    chunks = list(batch.split(2))
    assert [chunk.ids for chunk in chunks] == [[0, 1], [2, 3], [4]]
    assert [chunk.payload_json for chunk in chunks] == [
        [b'{"n":0}', b'{"n":1}'],
        [b'{"n":2}', b'{"n":3}'],
        [b'{"n":4}'],
    ]
    assert [chunk.vectors.shape for chunk in chunks] == [(2, 2), (2, 2), (1, 2)]
    assert list(batch_of([], COSINE, ALL).split(2)) == []


@pytest.mark.parametrize("points", [None, 7, SECRET, b"x", {SECRET: 1}, VectorPoint(SECRET, [1, 0])])
def test_a_batch_is_a_list_of_points(points: Any) -> None:
    refuses(InvalidOptionError, "vectors must be a list of VectorPoint", lambda: batch_of(points, COSINE, ALL))


@pytest.mark.parametrize("item", [None, SECRET, {"id": SECRET, "vector": [1, 0]}, (SECRET, [1, 0])])
def test_a_batch_holds_points_only(item: Any) -> None:
    points = [VectorPoint("a", [1, 0]), item]
    refuses(InvalidOptionError, "vectors must hold VectorPoint", lambda: batch_of(points, COSINE, ALL))


@pytest.mark.parametrize(
    ("error", "words", "matrix", "contents"),
    [
        (InvalidVectorError, "vectors must be a numpy matrix of numbers, not a list", [[1, 0], [0, 1]], None),
        (InvalidVectorError, "vectors must be a numpy matrix of numbers", np.array([["1", "2"], ["3", "4"]]), None),
        (InvalidVectorError, "vectors must have shape (2, dimension), not (4,)", np.ones(4), None),
        (InvalidVectorError, "vectors must have shape (2, dimension), not (3, 2)", np.ones((3, 2)), None),
        (InvalidDimensionError, "vectors must have dimension 2, not 3", np.ones((2, 3)), None),
        (InvalidVectorError, "point 'b' must hold finite", np.array([[1, 0], [np.nan, 0]]), None),
        (InvalidVectorError, "point 'b' must hold finite", np.array([[1, 0], [1e300, 0]]), None),
        (InvalidVectorError, "point 'b' must not be zero", np.array([[1, 0], [0, 0]]), None),
        (InvalidOptionError, "payloads must have one entry per id: 2, not 1", np.ones((2, 2)), [{}]),
        (InvalidOptionError, "payloads must be a sequence of dicts, not a dict", np.ones((2, 2)), {SECRET: 1}),
        (InvalidOptionError, "payloads must be a sequence of dicts, not a str", np.ones((2, 2)), "{}"),
        (InvalidPayloadError, "point 'b': payload", np.ones((2, 2)), [{}, {"a": SECRET.encode()}]),
    ],
)
def test_wrong_columns_are_refused(error: type[BackendError], words: str, matrix: Any, contents: Any) -> None:
    refuses(error, words, lambda: columns_of(["a", "b"], matrix, contents, COSINE, ALL))


# --- searches --------------------------------------------------------------------------------------------------------


def query(**changes: Any) -> Any:
    """``validate_query`` with one argument changed."""
    named = {"query_vector": [1, 0], "limit": 10, "search_filter": None, "score_threshold": None}
    arguments: Any = {name: changes.pop(name, value) for name, value in named.items()}
    return validate_query(**arguments, options=changes, capabilities=MODEST).on(COSINE)


def test_a_query() -> None:
    checked = query(limit=np.int32(3), score_threshold=np.float32(0.5), with_payload=["a"], with_vectors=True)
    assert (checked.limit, checked.threshold, checked.projection) == (3, 0.5, Projection(("a",), True))
    assert type(checked.limit) is int
    assert type(checked.threshold) is float
    plain = query()
    assert (plain.limit, plain.threshold, plain.projection) == (10, None, Projection())
    assert plain.filter == Always()
    assert query(score_threshold=0).threshold == 0.0


@pytest.mark.parametrize(
    ("error", "words", "change"),
    [
        (InvalidInputError, "limit must not be negative", {"limit": -1}),
        (LimitExceededError, "limit must be at most 10000, not 10001", {"limit": 10_001}),
        (InvalidOptionError, "limit must be an integer, not a bool", {"limit": True}),
        (InvalidOptionError, "limit must be an integer, not a bool", {"limit": np.True_}),
        (InvalidOptionError, "limit must be an integer, not a float", {"limit": 10.0}),
        (InvalidOptionError, "limit must be an integer, not a str", {"limit": SECRET}),
        (InvalidOptionError, "limit must be an integer, not a NoneType", {"limit": None}),
        (InvalidInputError, "score_threshold must be finite", {"score_threshold": float("nan")}),
        (InvalidInputError, "score_threshold must be finite", {"score_threshold": float("-inf")}),
        (InvalidInputError, "score_threshold must be finite", {"score_threshold": 10**400}),
        (InvalidOptionError, "score_threshold must be a number, not a bool", {"score_threshold": True}),
        (InvalidOptionError, "score_threshold must be a number, not a str", {"score_threshold": SECRET}),
        (InvalidOptionError, "unknown option 'ef'", {"ef": SECRET}),
        (InvalidOptionError, "with_vectors must be a bool, not a int", {"with_vectors": 1}),
        (InvalidOptionError, "with_payload must be", {"with_payload": SECRET}),
        (InvalidFilterError, "search_filter holds a str", {"search_filter": SECRET}),
        (InvalidVectorError, "query_vector", {"query_vector": [float("nan"), 0]}),
    ],
)
def test_wrong_queries_are_refused(error: type[BackendError], words: str, change: dict[str, Any]) -> None:
    refuses(error, words, lambda: query(**change))


def test_a_limit_is_judged_by_the_declared_maximum() -> None:
    assert validate_limit(0, Limits()) == 0
    assert validate_limit(2_000, Limits(max_limit=2_000)) == 2_000
    raised = refuses(LimitExceededError, "limit", lambda: validate_limit(2_001, Limits(max_limit=2_000)))
    assert raised.limit == "max_limit"  # type: ignore[attr-defined]


def page(**changes: Any) -> Any:
    """``validate_page`` with one argument changed."""
    named = {"cursor": None, "limit": 5, "search_filter": None, "with_payload": True, "with_vectors": False}
    arguments: Any = named | changes
    projection = validate_projection(arguments.pop("with_payload"), arguments.pop("with_vectors"))
    return validate_page(**arguments, projection=projection, capabilities=ALL)


def test_a_page() -> None:
    checked = page(cursor="x", search_filter=SearchFilter(), with_payload=["a"], with_vectors=True)
    assert (checked.cursor, checked.limit, checked.filter) == ("x", 5, Always())
    assert checked.projection == Projection(("a",), True)


@pytest.mark.parametrize(
    ("error", "words", "change"),
    [
        (InvalidInputError, "limit of a page must be at least 1", {"limit": 0}),
        (InvalidInputError, "limit must not be negative", {"limit": -1}),
        (InvalidOptionError, "limit must be an integer", {"limit": 1.5}),
        (InvalidOptionError, "cursor must be None or what the last page gave", {"cursor": ""}),
        (InvalidOptionError, "cursor must be None or what the last page gave", {"cursor": 3}),
        (InvalidOptionError, "with_vectors must be a bool", {"with_vectors": None}),
        (InvalidOptionError, "with_payload must be", {"with_payload": None}),
        (InvalidFilterError, "search_filter holds a int", {"search_filter": 1}),
    ],
)
def test_wrong_pages_are_refused(error: type[BackendError], words: str, change: dict[str, Any]) -> None:
    refuses(error, words, lambda: page(**change))


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=512) | st.integers(0, INT64_MAX))
def test_a_cursor_tells_the_id_it_was_made_of(point_id: PointId) -> None:
    found = position_of(cursor_after(point_id))
    assert (type(found), found) == (type(point_id), point_id)


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "1",
        "after:",
        "after:x",
        "after:-1",
        "after:01",
        "after:1 ",
        'after:""',
        "after:1.5",
        "after:true",
        f"after:{2**63}",
        "after:[1]",
        'after:"a" ',
        'after:"\\u0061"',
        f'after:"{"a" * 513}"',
        "AFTER:1",
        "after:after:1",
    ],
)
def test_a_cursor_that_was_never_given_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidOptionError, match="cursor must be"):
        position_of(cursor)


def test_the_first_page_has_no_position() -> None:
    assert position_of(None) is None
