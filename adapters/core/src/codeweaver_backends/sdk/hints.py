"""How to say what JSON, and so payloads, filters and ids, cannot: the end of a message about a value of such a type."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from datetime import date, time
from decimal import Decimal
from enum import Enum
from uuid import UUID

import numpy as np

__all__ = ["hint"]

_HINTS: tuple[tuple[type, str], ...] = (
    (Enum, "its value"),
    (np.ndarray, "its tolist()"),
    (np.generic, "its item()"),
    (UUID, "str() of it"),
    (date, "its isoformat()"),
    (time, "its isoformat()"),
    (Decimal, "float() or str() of it"),
    (AbstractSet, "a list"),
)


def hint(kind: type) -> str:
    """What to pass instead of a value of this type, ``; pass …``; empty if there is nothing to recommend."""
    return next((f"; pass {told}" for wrong, told in _HINTS if issubclass(kind, wrong)), "")
