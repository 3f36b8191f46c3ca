"""Keys that keep an order: numbers and instants, spelt so that an engine's own comparison is exact for them."""

from __future__ import annotations

import re
import struct
from datetime import UTC, date, datetime
from typing import Final

__all__ = [
    "INT64_MAX",
    "INT64_MIN",
    "canonical_number",
    "instant_key",
    "instant_of",
    "number_key",
    "number_pair",
    "parse_instant",
    "sortable_double",
]

INT64_MIN: Final = -(2**63)
INT64_MAX: Final = 2**63 - 1


# --- numbers -----------------------------------------------------------------------------------------------------


def sortable_double(value: float) -> int:
    """The IEEE-754 bits of a finite double as an unsigned 64-bit integer that sorts as the double does; −0.0 is 0.0."""
    bits: int = struct.unpack(">Q", struct.pack(">d", value + 0.0))[0]
    return bits ^ 0xFFFFFFFFFFFFFFFF if bits >> 63 else bits | 0x8000000000000000


def number_pair(value: float) -> tuple[int, int]:
    """A pair that compares as the numbers do, exactly, for every int64 and every finite double.

    The first is the nearest double, sortable (unsigned, 64 bits), the second what an integer has beyond it: −512 … 512,
    and 0 for every number below 2^53.
    """
    nearest = float(value)
    return sortable_double(nearest), value - int(nearest) if isinstance(value, int) else 0


def number_key(value: float) -> str:
    """19 hex digits that compare as the numbers do, exactly, for every int64 and every finite double.

    16 digits for the first of ``number_pair`` and 3 for the second, with 2048 added to keep it positive. ``1`` and
    ``1.0`` have one key, as have 0 and −0.0.
    """
    bits, rest = number_pair(value)
    return f"{bits:016x}{rest + 2048:03x}"


def canonical_number(value: float) -> str:
    """One spelling per number: integral floats are spelt as the integer they equal."""
    if isinstance(value, float):
        if not value.is_integer():
            return repr(value)
        value = int(value)
    return str(int(value))


# --- instants ----------------------------------------------------------------------------------------------------

SHORTEST_INSTANT: Final = 10
"""The characters of a date alone."""
_RFC3339: Final = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})(?:[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?"
    r"(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))?)?"
)
_EPOCH: Final = date(1970, 1, 1).toordinal()
_OFFSET: Final = 2**62


def parse_instant(text: str) -> int | None:
    """Microseconds since 1970-01-01T00:00:00Z of an RFC 3339 date-time or date, or ``None`` if the string is neither.

    Without offset it is of UTC; a date is its midnight. Digits beyond the microsecond are cut. ``:60`` and ``24:00``
    are no instants.
    """
    if len(text) < SHORTEST_INSTANT or text[4] != "-":
        return None
    match = _RFC3339.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(match[i] or 0) for i in range(1, 7))
    offset_hour, offset_minute = int(match[9] or 0), int(match[10] or 0)
    if hour > 23 or minute > 59 or second > 59 or offset_hour > 23 or offset_minute > 59:
        return None
    try:
        days = date(year, month, day).toordinal() - _EPOCH
    except ValueError:
        return None
    offset = (offset_hour * 60 + offset_minute) * (-1 if match[8] == "-" else 1)
    seconds = days * 86_400 + hour * 3_600 + (minute - offset) * 60 + second
    fraction = int((match[7] or "")[:6].ljust(6, "0"))
    return seconds * 1_000_000 + fraction


def instant_of(moment: datetime) -> int:
    """Microseconds since 1970-01-01T00:00:00Z of an aware datetime."""
    offset = moment.utcoffset()
    if offset is None:
        raise ValueError("a naive datetime is no instant")
    delta = moment.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC) - offset
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def instant_key(microseconds: int) -> str:
    """16 hex digits that compare as instants do."""
    return f"{microseconds + _OFFSET:016x}"
