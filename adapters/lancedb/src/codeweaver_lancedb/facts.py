"""The text that filters look into: every fact of a payload as a token that delimits itself.

::

    TOK path END value END S|L

``value`` is a letter for its kind and the canonical spelling: ``s`` text, ``n`` number key, ``d`` instant key (beside
the ``s`` of the same string), ``b0`` ``b1``, ``z`` null, ``o`` an object, ``l`` a list. ``S`` stands alone, ``L`` in a
list. Path and text pass through a self-synchronising code, so that nothing in a payload can forge a token and a
substring of the code is a substring of the text.

There are two ways to the same text: :func:`facts` for one payload, and :func:`facts_column`, which works on whole
columns where the payloads of a batch are alike, several times faster.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from typing import Any, Final

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]

from codeweaver_backends.facts import Kind, Path, StringCode, instant_key, kind_of, number_key, parse_instant

__all__ = ["END", "TOK", "encode_text", "facts", "facts_column", "head", "scalar", "spell_path"]

TOK: Final = "\x1f"
END: Final = "\x1e"
_STEP: Final = "\x1d"
_DIGEST: Final = "\x1c"
_PATH_LIMIT: Final = 128
"""A longer path is spelt by its digest: every leaf repeats its path, and a payload of 1 MiB must not grow to 1 GiB."""
_COLUMN_ROWS: Final = 64
"""Payloads of one shape from which on columns are faster than rows."""

_CODE: Final = StringCode(
    "".join(chr(code) for code in range(32) if chr(code) not in "\t\n\r"),
    alphabet="\x0e\x0f\x10\x11\x12\x13\x14",
)
encode_text = _CODE.encode
"""Text as it stands in facts."""

_EXACT_INT: Final = 2**53


# --- one payload -----------------------------------------------------------------------------------------------------


def _child(parent: str | None, key: str) -> str:
    """The spelling of the path that leads from ``parent`` (``None`` at the top) to ``key``."""
    return _short_child(parent, key) if len(key) <= _PATH_LIMIT else _spell_child(parent, key)


def _spell_child(parent: str | None, key: str) -> str:
    path = encode_text(key) if parent is None else f"{parent}{_STEP}{encode_text(key)}"
    if len(path) <= _PATH_LIMIT:
        return path
    return _DIGEST + hashlib.blake2b(path.encode(), digest_size=16).hexdigest()


_short_child: Final = lru_cache(maxsize=8_192)(_spell_child)
_number_key: Final = lru_cache(maxsize=65_536)(number_key)


def spell_path(path: Path) -> str:
    """A path as it stands in facts."""
    spelt = None
    for key in path:
        spelt = _child(spelt, key)
    return spelt or ""


def head(path: str) -> str:
    """What every token of a spelt path begins with, and nothing else holds."""
    return f"{TOK}{path}{END}"


def scalar(value: Any) -> str:
    """A scalar as it stands in a token."""
    match kind_of(value):
        case Kind.STRING:
            return f"s{encode_text(value)}"
        case Kind.NUMBER:
            return f"n{_number_key(value)}"
        case Kind.BOOL:
            return "b1" if value else "b0"
        case _:
            return "z"


def facts(payload: Mapping[str, Any]) -> str:
    """The facts of one payload."""
    return "".join(chain.from_iterable(_tokens(_child(None, key), value) for key, value in payload.items()))


def _tokens(path: str, value: Any) -> Iterator[str]:
    start = head(path)
    kind = kind_of(value)
    if kind is Kind.OBJECT:
        yield f"{start}o{END}S"
        for key, inner in value.items():
            yield from _tokens(_child(path, key), inner)
    elif kind is Kind.LIST:
        yield f"{start}l{END}S"
        for element in value:
            yield from _scalar_tokens(start, element, "L")
    else:
        yield from _scalar_tokens(start, value, "S")


def _scalar_tokens(start: str, value: Any, place: str) -> Iterator[str]:
    kind = kind_of(value)
    if kind >= Kind.LIST:  # containers in a list have no facts
        return
    yield f"{start}{scalar(value)}{END}{place}"
    if kind is Kind.STRING and (instant := parse_instant(value)) is not None:
        yield f"{start}d{instant_key(instant)}{END}{place}"


# --- many payloads ---------------------------------------------------------------------------------------------------


def facts_column(payloads: Sequence[Mapping[str, Any]], documents: Sequence[bytes]) -> pa.Array:
    """The facts of each payload. ``documents`` are the payloads as JSON."""
    if len(payloads) < _COLUMN_ROWS or _has_controls(documents):
        return pa.array([facts(payload) for payload in payloads], pa.utf8())
    return _objects(None, payloads)


def _has_controls(documents: Sequence[bytes]) -> bool:
    """Whether any text needs the code. JSON escapes what the code escapes; a few more escapes look alike."""
    text = b"".join(documents)
    return b"\\" in text and any(escape in text for escape in (b"\\u00", b"\\b", b"\\f"))


def _objects(parent: str | None, objects: Sequence[Mapping[str, Any]]) -> pa.Array:
    """The facts of each object's fields. Objects with the same keys are worked on together."""
    keys = list(map(tuple, objects))
    if len(set(keys)) == 1:
        return _fields(parent, keys[0], objects)
    shapes: dict[tuple[str, ...], list[int]] = {}
    for row, shape in enumerate(keys):
        shapes.setdefault(shape, []).append(row)
    if len(shapes) * _COLUMN_ROWS > len(objects):
        return pa.array([_object(parent, fields) for fields in objects], pa.utf8())
    parts = [_fields(parent, shape, [objects[row] for row in rows]) for shape, rows in shapes.items()]
    order = np.fromiter(chain.from_iterable(shapes.values()), np.int64, len(objects))
    return pa.concat_arrays(parts).take(pa.array(np.argsort(order)))


def _object(parent: str | None, fields: Mapping[str, Any]) -> str:
    return "".join(chain.from_iterable(_tokens(_child(parent, key), value) for key, value in fields.items()))


def _fields(parent: str | None, keys: tuple[str, ...], objects: Sequence[Mapping[str, Any]]) -> pa.Array:
    if not keys:
        return pa.array([""] * len(objects), pa.utf8())
    return _join(*(_field(_child(parent, key), list(map(itemgetter(key), objects))) for key in keys))


def _field(path: str, values: list[Any]) -> pa.Array:
    """The facts of one field, from the values it has in each object."""
    kinds = set(map(type, values))
    if len(kinds) == 1 and (vectorised := _VECTORISED.get(kinds.pop())) is not None:
        column = vectorised(path, values)
        if column is not None:
            return column
    return pa.array(["".join(_tokens(path, value)) for value in values], pa.utf8())


def _texts(path: str, values: list[str]) -> pa.Array | None:
    texts = pa.array(values, pa.utf8())
    return None if _has_dates(texts) else _join(f"{head(path)}s", texts, f"{END}S")


def _has_dates(texts: pa.Array) -> bool:
    """Whether some text may be an instant, which has a token more."""
    return bool(pc.any(pc.match_like(texts, "____-__-__%")).as_py())


def _numbers(path: str, values: list[float]) -> pa.Array | None:
    if not -_EXACT_INT <= min(values) <= max(values) <= _EXACT_INT and type(values[0]) is int:
        return None  # beyond the doubles a key has a remainder
    bits = (np.array(values, np.float64) + 0.0).view(np.uint64)
    keys = np.where(bits >> np.uint64(63), ~bits, bits | np.uint64(1 << 63))
    offsets = np.arange(0, 16 * len(values) + 1, 16, dtype=np.int32)
    digits = keys.astype(">u8").tobytes().hex().encode()
    column = pa.StringArray.from_buffers(len(values), pa.py_buffer(offsets), pa.py_buffer(digits))
    return _join(f"{head(path)}n", column, f"800{END}S")


def _bools(path: str, values: list[bool]) -> pa.Array:
    start = head(path)
    tokens = (f"{start}b0{END}S", f"{start}b1{END}S")
    return pa.array([tokens[value] for value in values], pa.utf8())


def _lists(path: str, values: list[list[Any]]) -> pa.Array | None:
    elements = list(chain.from_iterable(values))
    if not set(map(type, elements)) <= {str}:
        return None
    texts = pa.array(elements, pa.utf8())
    if _has_dates(texts):
        return None
    offsets = np.zeros(len(values) + 1, np.int32)
    np.cumsum([len(value) for value in values], out=offsets[1:])
    start = head(path)
    lists = pa.ListArray.from_arrays(pa.array(offsets), _join(f"{start}s", texts, f"{END}L"))
    return _join(f"{start}l{END}S", pc.binary_join(lists, ""))


def _dicts(path: str, values: list[Mapping[str, Any]]) -> pa.Array:
    return _join(f"{head(path)}o{END}S", _objects(path, values))


def _join(*parts: pa.Array | str) -> pa.Array:
    return pc.binary_join_element_wise(*parts, "")


_VECTORISED: Final[dict[type, Callable[[str, list[Any]], pa.Array | None]]] = {
    str: _texts,
    int: _numbers,
    float: _numbers,
    bool: _bools,
    list: _lists,
    dict: _dicts,
}
