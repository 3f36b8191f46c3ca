"""What cannot be said is refused with what to pass instead."""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import Any

import numpy as np
import pytest

from codeweaver_backends.capabilities import BackendCapabilities, Limits
from codeweaver_backends.errors import InvalidDimensionError, InvalidFilterError, InvalidIdError, InvalidPayloadError
from codeweaver_backends.sdk.filters.parse import parse_filter
from codeweaver_backends.sdk.payloads import encode_payload
from codeweaver_backends.sdk.requests import CollectionSettings
from codeweaver_backends.sdk.validate import validate_ids, validate_vector
from codeweaver_backends.types import DistanceMetric, FilterCondition

SETTINGS = CollectionSettings("c", 2, DistanceMetric.COSINE)


class Color(Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (np.float32(1), "a float32; pass its item()"),
        (np.int64(1), "a int64; pass its item()"),
        (np.bool_(True), "; pass its item()"),
        (np.array([1]), "a ndarray; pass its tolist()"),
        (datetime(2024, 5, 1, tzinfo=UTC), "a datetime; pass its isoformat()"),
        (date(2024, 5, 1), "a date; pass its isoformat()"),
        (time(12), "a time; pass its isoformat()"),
        (Decimal("1.5"), "a Decimal; pass float() or str() of it"),
        ({1}, "a set; pass a list"),
        (frozenset("a"), "a frozenset; pass a list"),
        (uuid.UUID(int=1), "a UUID; pass str() of it"),
        (Color.RED, "; pass its value"),
        (b"x", "a bytes"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_that_json_cannot_say(value: Any, told: str) -> None:
    for nested in (value, [value], {"y": value}):
        with pytest.raises(InvalidPayloadError) as refused:
            encode_payload({"x": nested}, Limits())
        assert str(refused.value).replace(", which JSON cannot say", "").endswith(told)
    for operator, operand in (("eq", value), ("in", [value]), ("contains", value)):
        with pytest.raises(InvalidFilterError) as wrong:
            parse_filter(FilterCondition("x", operator, operand), BackendCapabilities())
        assert str(wrong.value).endswith(told)
    if not isinstance(value, np.ndarray | set):  # these cannot be told apart from others, as ids are
        with pytest.raises(InvalidIdError) as no_id:
            validate_ids([value])
        assert str(no_id.value).endswith(told)


@pytest.mark.parametrize("operand", [{1}, np.array([1])], ids=["set", "array"])
def test_a_collection_that_is_no_list(operand: Any) -> None:
    with pytest.raises(InvalidFilterError, match=r"must be a list or tuple, not a .*; pass"):
        parse_filter(FilterCondition("x", "in", operand), BackendCapabilities())


def test_a_row_within_a_matrix() -> None:
    with pytest.raises(InvalidDimensionError, match="must have dimension 2, not 1; pass its only row"):
        validate_vector(np.ones((1, 2), np.float32), SETTINGS)
    with pytest.raises(InvalidDimensionError, match=r"must have dimension 2, not 1$"):
        validate_vector([1.0], SETTINGS)


def test_operators_are_offered_that_the_backend_has() -> None:
    for claims in (BackendCapabilities(), BackendCapabilities(supports_regex=True)):
        with pytest.raises(InvalidFilterError, match="allowed are eq") as refused:
            parse_filter(FilterCondition("x", "like", "y"), claims)
        assert ("regex" in str(refused.value)) == claims.supports_regex
