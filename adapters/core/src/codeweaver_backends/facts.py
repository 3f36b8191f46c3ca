"""Facts: what a filter can ask of a payload, as tokens that any engine can look up.

A payload is stored whole, as exact JSON that no filter touches. Beside it an engine keeps one fact per scalar leaf or
list element: its path, its kind, its canonical value, and whether it stood alone or in a list. Looking a fact up is
token membership, which every engine has and which is two-valued: a missing field, a null and a value of another type
are just absent tokens, so negation is plain negation. ``docs/decisions/0002-facts.md`` tells how that was found.

What an engine spells in its own dialect is built from four things here:

* ``leaves``: the facts of a payload;
* ``number_key`` and ``instant_key``: order-preserving, so that a range is exact for mixed ints and floats;
* ``canonical_number``: one spelling for ``1`` and ``1.0``;
* ``StringCode``: a self-synchronising code, so that a substring of the code is a substring of the value.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from enum import IntEnum
from typing import Any, Final, NamedTuple, TypeAlias

__all__ = [
    "INT64_MAX",
    "INT64_MIN",
    "Fact",
    "Kind",
    "Path",
    "StringCode",
    "canonical_number",
    "instant_key",
    "instant_of",
    "leaves",
    "number_key",
    "parse_instant",
    "sortable_double",
]

Path: TypeAlias = tuple[str, ...]
"""The keys that lead to a field, outermost first. Never into a list."""

INT64_MIN: Final = -(2**63)
INT64_MAX: Final = 2**63 - 1


class Kind(IntEnum):
    """What stands at a path, or in the list at a path."""

    NULL = 0
    BOOL = 1
    NUMBER = 2
    STRING = 3
    LIST = 4
    """A list stands here; its scalar elements have facts of their own. Its lists and objects have none."""
    OBJECT = 5
    """An object stands here; its fields have facts under longer paths."""


class Fact(NamedTuple):
    """``value`` is ``None`` for ``NULL``, ``LIST`` and ``OBJECT``; ``element`` is true inside a list."""

    path: Path
    kind: Kind
    value: str | int | float | bool | None
    element: bool


_KINDS: Final[dict[type, Kind]] = {
    str: Kind.STRING,
    int: Kind.NUMBER,
    float: Kind.NUMBER,
    bool: Kind.BOOL,
    type(None): Kind.NULL,
    dict: Kind.OBJECT,
    list: Kind.LIST,
    tuple: Kind.LIST,
}


def leaves(payload: Mapping[str, Any], prefix: Path = ()) -> Iterator[Fact]:
    """Every fact of a payload that ``codeweaver_backends.validate`` has accepted, parents before children."""
    # Every ingest passes here, and a Fact's own constructor would cost a third of it.
    fact, kinds = tuple.__new__, _KINDS
    for key, value in payload.items():
        path = (*prefix, key)
        kind = kinds.get(type(value))
        if kind is None:
            kind = kind_of(value)
        if kind < Kind.LIST:
            yield fact(Fact, (path, kind, value, False))
        elif kind is Kind.OBJECT:
            yield fact(Fact, (path, kind, None, False))
            yield from leaves(value, path)
        else:
            yield fact(Fact, (path, kind, None, False))
            for element in value:
                element_kind = kinds.get(type(element))
                if element_kind is None:
                    element_kind = kind_of(element)
                if element_kind < Kind.LIST:
                    yield fact(Fact, (path, element_kind, element, True))


def kind_of(value: object) -> Kind:
    """The kind of a JSON value; subclasses count as what they extend."""
    kind = _KINDS.get(type(value))
    if kind is not None:
        return kind
    for base, kind in _KINDS.items():
        if isinstance(value, base):
            return kind
    raise TypeError(f"not a JSON value: {type(value).__name__}")


# --- numbers -----------------------------------------------------------------------------------------------------


def sortable_double(value: float) -> int:
    """The IEEE-754 bits of a finite double as an unsigned 64-bit integer that sorts as the double does; −0.0 is 0.0."""
    bits: int = struct.unpack(">Q", struct.pack(">d", value + 0.0))[0]
    return bits ^ 0xFFFFFFFFFFFFFFFF if bits >> 63 else bits | 0x8000000000000000


def number_key(value: float) -> str:
    """19 hex digits that compare as the numbers do, exactly, for every int64 and every finite double.

    16 digits for the nearest double and 3 for what an integer has beyond it: ``int − int(float(int))`` lies within
    ±512 for 64-bit integers, and 2048 is added to keep it positive. ``1`` and ``1.0`` have one key, as have 0 and −0.0.
    """
    nearest = float(value)
    residual = value - int(nearest) if isinstance(value, int) else 0
    return f"{sortable_double(nearest):016x}{residual + 2048:03x}"


def canonical_number(value: float) -> str:
    """One spelling per number: integral floats are spelt as the integer they equal."""
    if isinstance(value, float):
        if not value.is_integer():
            return repr(value)
        value = int(value)
    return str(int(value))


# --- instants ----------------------------------------------------------------------------------------------------

_RFC3339: Final = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?"
    r"(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
)
_EPOCH: Final = date(1970, 1, 1).toordinal()
_OFFSET: Final = 2**62


def parse_instant(text: str) -> int | None:
    """Microseconds since 1970-01-01T00:00:00Z of an RFC 3339 string with offset, or ``None`` if it is none.

    Digits beyond the microsecond are cut. ``:60`` and ``24:00`` are no instants.
    """
    if len(text) < 20 or text[4] != "-":
        return None
    match = _RFC3339.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(match[i]) for i in range(1, 7))
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


# --- strings -----------------------------------------------------------------------------------------------------


class StringCode:
    """A self-synchronising code for the characters that an engine would interpret.

    Each of the ``reserved`` characters, and the ``escape`` character itself, becomes a word ``<escape><letter>`` whose
    letter stands for itself nowhere else in the code: letters come from ``alphabet``, a run of characters that are
    reserved too. So every character of the code tells whether it starts a word, continues one, or is plain, and
    therefore ``encode(a) in encode(b)`` exactly when ``a in b``. (Percent-encoding is no such code: ``%2`` + ``5``.)

    ``alphabet`` must be characters that the engine leaves alone; control or private-use characters, as a rule.
    """

    def __init__(self, reserved: str, *, alphabet: str) -> None:
        characters = list(dict.fromkeys(reserved + alphabet))
        digits = len(alphabet) - 1
        if digits < 2 or len(set(alphabet)) != len(alphabet):
            raise ValueError("alphabet needs an escape character and at least two digits, all of them different")
        width = 1
        while digits**width < len(characters):
            width += 1
        lead, letters = alphabet[0], alphabet[1:]
        self._words = {}
        for index, character in enumerate(characters):
            word, rest = "", index
            for _ in range(width):
                rest, digit = divmod(rest, digits)
                word += letters[digit]
            self._words[character] = lead + word
        self._table = str.maketrans(self._words)
        self._decode = {word: character for character, word in self._words.items()}
        self._word = re.compile(re.escape(lead) + f"[{re.escape(letters)}]{{{width}}}")
        self._hit = re.compile("[" + re.escape("".join(characters)) + "]")

    def encode(self, text: str) -> str:
        """The code of ``text``; the same string where nothing is reserved."""
        return text.translate(self._table) if self._hit.search(text) else text

    def decode(self, code: str) -> str:
        """The text of a code that ``encode`` made."""
        return self._word.sub(lambda match: self._decode[match[0]], code)
