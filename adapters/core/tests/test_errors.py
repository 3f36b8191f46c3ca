"""The error tree: as its module draws it, and what an error tells."""

from __future__ import annotations

import re

import pytest

from codeweaver_backends import errors
from codeweaver_backends.errors import (
    BackendClosedError,
    BackendConnectionError,
    BackendError,
    BackendTimeoutError,
    ConflictError,
    InvalidInputError,
    InvalidOptionError,
    LimitExceededError,
    RateLimitError,
    UnsupportedError,
)

CLASSES = [getattr(errors, name) for name in errors.__all__]


def test_the_tree_is_the_one_that_is_drawn() -> None:
    drawn: dict[str, str] = {}
    path = ["BackendError"]
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"    ((?:│   )*)[├└]── (\w+)", line):
            depth = len(match[1]) // 4
            path[depth + 1 :] = [match[2]]
            drawn[match[2]] = path[depth]
    assert drawn == {one.__name__: one.__bases__[0].__name__ for one in CLASSES if one is not BackendError}


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_is_below_the_base_and_is_documented(cls: type[BackendError]) -> None:
    assert issubclass(cls, BackendError)
    assert cls.__doc__
    assert str(cls("the message")) == "the message"


def test_errors_are_also_what_python_would_raise() -> None:
    assert issubclass(InvalidInputError, ValueError)
    assert issubclass(InvalidOptionError, TypeError)
    assert issubclass(BackendTimeoutError, TimeoutError)
    assert issubclass(BackendTimeoutError, BackendConnectionError)


def test_an_error_says_where_it_arose() -> None:
    error = BackendError("no", backend="memory", operation="search_vectors", collection="c")
    assert str(error) == "memory search_vectors on 'c': no"
    assert str(BackendError("no", collection="c")) == "'c': no"
    assert str(BackendError("no", backend="memory")) == "memory: no"


def test_an_error_names_what_was_not_written() -> None:
    error = BackendError("no", ids=[1, "1", "a", "b", "c", "d", "e"])
    assert str(error) == "no (not written: 1, '1', 'a', 'b', 'c' and 2 more)"
    assert error.ids == (1, "1", "a", "b", "c", "d", "e")
    unknown = BackendTimeoutError("no", ids=["a"], state_unknown=True)
    assert str(unknown) == "no (state unknown of 'a')"


def test_what_an_error_adds() -> None:
    assert LimitExceededError("no", limit="max_limit").limit == "max_limit"
    assert UnsupportedError("no", capability="supports_scan", backend="x").capability == "supports_scan"
    assert RateLimitError("no", retry_after=1.5).retry_after == 1.5
    assert RateLimitError().retry_after is None


def test_what_may_be_tried_again() -> None:
    retryable = {one for one in CLASSES if one.retryable}
    assert retryable == {BackendConnectionError, BackendTimeoutError, RateLimitError, ConflictError}
    assert not BackendClosedError.retryable
