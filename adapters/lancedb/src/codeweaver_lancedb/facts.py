"""The text that filters look into: every fact of a payload as a token that delimits itself.

::

    TOK path END value END S|L

``value`` is a letter for its kind and the canonical spelling: ``s`` text, ``n`` number key, ``d`` instant key (beside
the ``s`` of the same string), ``b0`` ``b1``, ``z`` null, ``o`` an object, ``l`` a list. ``S`` stands alone, ``L`` in a
list. Path and text pass through a self-synchronising code, so that nothing in a payload can forge a token and a
substring of the code is a substring of the text.

There are two ways to the same text: ``facts`` for one payload, and ``facts_of_many``, which works on whole
columns where the payloads of a batch are alike, several times faster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate, chain
from operator import itemgetter
from typing import Any, Final, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from codeweaver_backends.sdk.index.codes import StringCode
from codeweaver_backends.sdk.index.facts import Kind, Path, kind_of
from codeweaver_backends.sdk.index.keys import instant_key, number_key, parse_instant
from codeweaver_backends.sdk.index.terms import Spelling, path_speller

__all__ = ["END", "SPELLING", "TOK", "encode_text", "facts", "facts_of_many", "head"]

TOK: Final = "\x1f"
END: Final = "\x1e"
_STEP: Final = "\x1d"
_DIGEST: Final = "\x1c"
_PATH_LIMIT: Final = 128
"""A longer path is spelt by its digest: every leaf repeats its path, and a payload of 1 MiB must not grow to 1 GiB."""
_COLUMN_ROWS: Final = 16
"""Payloads of one shape from which on columns are faster than rows."""

_CODE: Final = StringCode(
    "".join(chr(code) for code in range(32) if chr(code) not in "\t\n\r"),
    alphabet="\x0e\x0f\x10\x11\x12\x13\x14",
)
encode_text = _CODE.encode
"""Text as it stands in facts."""

SPELLING: Final = Spelling(
    path_speller(encode_text, step=_STEP, end=END, mark=_DIGEST, longest=_PATH_LIMIT),
    text=encode_text,
    number=lru_cache(maxsize=65_536)(number_key),
)
"""How paths and values stand in a token."""

_EXACT_INT: Final = 2**53


# --- one payload -----------------------------------------------------------------------------------------------------


def head(path: Path) -> str:
    """What every token of a path begins with, and nothing else holds."""
    return TOK + SPELLING.path(path)


def facts(payload: Mapping[str, Any]) -> str:
    """The facts of one payload."""
    return _object((), payload)


def _object(prefix: Path, fields: Mapping[str, Any]) -> str:
    return "".join([_field((*prefix, key), value) for key, value in fields.items()])


def _field(path: Path, value: Any) -> str:
    start, kind = head(path), kind_of(value)
    if kind is Kind.OBJECT:
        return f"{start}o{END}S{_object(path, value)}"
    if kind is Kind.LIST:  # containers in a list have no facts
        scalars = [_scalar(start, one, "L") for one in value if kind_of(one) < Kind.LIST]
        return f"{start}l{END}S{''.join(scalars)}"
    return _scalar(start, value, "S")


def _scalar(start: str, value: Any, place: str) -> str:
    token = f"{start}{SPELLING.value(value)}{END}{place}"
    if isinstance(value, str) and _is_dated(value) and (instant := parse_instant(value)) is not None:
        return f"{token}{start}d{instant_key(instant)}{END}{place}"
    return token


def _is_dated(text: str) -> bool:
    return text[4:5] == "-" == text[7:8]


# --- many payloads ---------------------------------------------------------------------------------------------------


def facts_of_many(payloads: Sequence[Mapping[str, Any]], payload_json: Sequence[bytes]) -> pa.Array:
    """The facts of each payload. ``payload_json`` are the payloads as JSON."""
    text = b"".join(payload_json)
    if _has_controls(text):
        return _text_array(map(facts, payloads))
    return _Columns(has_instants=_has_instants(text)).objects((), payloads)


def _text_array(texts: Iterable[str]) -> pa.Array:
    return pa.array(texts, pa.utf8())


def _has_controls(text: bytes) -> bool:
    """Whether some string needs the code. JSON escapes what the code escapes; a few more escapes look alike."""
    return b"\\" in text and any(escape in text for escape in (b"\\u00", b"\\b", b"\\f"))


def _has_instants(text: bytes) -> bool:
    """Whether some string may be an instant, which has a token more: somewhere stands ``-??-``."""
    codes = np.frombuffer(text, np.uint8)
    return bool(((codes[:-3] == ord("-")) & (codes[3:] == ord("-"))).any())


_Column: TypeAlias = tuple[str, pa.Array, str]
"""A text of each row, and what stands before and after it in every row."""


class _Columns:
    """Works on the values of one field together, for objects that have the same keys."""

    def __init__(self, *, has_instants: bool) -> None:
        self._has_instants = has_instants
        self._of_kind: Mapping[type, Callable[[Path, list[Any]], _Column | None]] = {
            str: self._texts,
            int: self._numbers,
            float: self._numbers,
            bool: self._bools,
            list: self._lists,
            dict: self._dicts,
        }

    def objects(self, prefix: Path, objects: Sequence[Mapping[str, Any]]) -> pa.Array:
        """The facts of each object's fields."""
        shapes = set(map(tuple, objects))
        if len(shapes) == 1:
            return self._alike(prefix, shapes.pop(), objects)
        rows_of: dict[tuple[str, ...], list[int]] = {}
        for row, shape in enumerate(map(tuple, objects)):
            rows_of.setdefault(shape, []).append(row)
        found = [self._alike(prefix, shape, [objects[row] for row in rows]) for shape, rows in rows_of.items()]
        places = np.argsort(np.fromiter(chain.from_iterable(rows_of.values()), np.int64, len(objects)))
        return pa.concat_arrays(found).take(pa.array(places)) if found else _text_array(())

    def _alike(self, prefix: Path, keys: tuple[str, ...], objects: Sequence[Mapping[str, Any]]) -> pa.Array:
        if len(objects) < _COLUMN_ROWS or not keys:
            return _text_array([_object(prefix, fields) for fields in objects])
        parts: list[str | pa.Array] = []
        between = ""
        for key in keys:
            before, texts, after = self._column((*prefix, key), list(map(itemgetter(key), objects)))
            parts += (between + before, texts)
            between = after
        return _concatenated(*parts, between)

    def _column(self, path: Path, values: list[Any]) -> _Column:
        kinds = set(map(type, values))
        of_kind = self._of_kind.get(kinds.pop()) if len(kinds) == 1 else None
        column = of_kind(path, values) if of_kind is not None else None
        return column or ("", _text_array([_field(path, value) for value in values]), "")

    def _texts(self, path: Path, values: list[str]) -> _Column | None:
        if self._has_instants and any(map(_is_dated, values)):
            return None
        return f"{head(path)}s", _text_array(values), f"{END}S"

    def _numbers(self, path: Path, values: list[float]) -> _Column | None:
        if type(values[0]) is int and not -_EXACT_INT <= min(values) <= max(values) <= _EXACT_INT:
            return None  # beyond the integers that doubles tell apart, a key has a remainder
        bits = (np.array(values, np.float64) + 0.0).view(np.uint64)
        keys = np.where(bits >> np.uint64(63), ~bits, bits | np.uint64(1 << 63))
        digits = keys.astype(">u8").tobytes().hex().encode()
        offsets = np.arange(0, len(digits) + 1, 16, dtype=np.int32)
        texts = pa.StringArray.from_buffers(len(values), pa.py_buffer(offsets), pa.py_buffer(digits))
        return f"{head(path)}n", texts, f"800{END}S"

    def _bools(self, path: Path, values: list[bool]) -> _Column:
        return f"{head(path)}b", pc.if_else(pa.array(values), "1", "0"), f"{END}S"

    def _lists(self, path: Path, values: list[list[Any]]) -> _Column | None:
        elements = list(chain.from_iterable(values))
        if not set(map(type, elements)) <= {str} or (self._has_instants and any(map(_is_dated, elements))):
            return None
        tokens = _concatenated(f"{head(path)}s", _text_array(elements), f"{END}L")
        offsets = pa.array(accumulate(map(len, values), initial=0), pa.int32())
        return f"{head(path)}l{END}S", pc.binary_join(pa.ListArray.from_arrays(offsets, tokens), ""), ""

    def _dicts(self, path: Path, values: list[Mapping[str, Any]]) -> _Column:
        return f"{head(path)}o{END}S", self.objects(path, values), ""


def _concatenated(*parts: str | pa.Array) -> pa.Array:
    """Row by row one text of all parts; a string is a part of every row."""
    return pc.binary_join_element_wise(*parts, "")
