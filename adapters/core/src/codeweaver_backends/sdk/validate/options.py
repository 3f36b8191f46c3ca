"""Keywords and small numbers: what every call has of them."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from codeweaver_backends.capabilities import Limits
from codeweaver_backends.errors import InvalidInputError, InvalidOptionError, LimitExceededError


def validate_options(options: Mapping[str, Any], allowed: Sequence[str], arguments: Sequence[str] = ()) -> None:
    """Refuse every keyword that is not allowed. ``arguments`` are the call's own, which may have been misspelt."""
    for name in options:
        if name not in allowed:
            known = f"; known are {', '.join([*arguments, *allowed])}" if allowed else ""
            raise InvalidOptionError(f"unknown option {name!r}{known}")


def flag(value: object, name: str) -> bool:
    """A bool, and nothing that is merely true."""
    if isinstance(value, bool):
        return value
    raise InvalidOptionError(f"{name} must be a bool, not a {type(value).__name__}")


def integer(value: object, name: str) -> int:
    """An int, or what numpy has for one; no bool, no float, no text."""
    if isinstance(value, bool | np.bool_):
        raise InvalidOptionError(f"{name} must be an integer, not a bool")
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise InvalidOptionError(f"{name} must be an integer, not a {type(value).__name__}") from None


def validate_limit(limit: object, limits: Limits, *, name: str = "limit") -> int:
    """``limit``: an integer of 0 to the declared maximum."""
    checked = integer(limit, name)
    if checked < 0:
        raise InvalidInputError(f"{name} must not be negative, it is {checked}")
    if checked > limits.max_limit:
        raise LimitExceededError(f"{name} must be at most {limits.max_limit}, not {checked}", limit="max_limit")
    return checked


def validate_batch_size(batch_size: object) -> int:
    """``batch_size``: a positive integer."""
    checked = integer(batch_size, "batch_size")
    if checked < 1:
        raise InvalidInputError(f"batch_size must be at least 1, it is {checked}")
    return checked
