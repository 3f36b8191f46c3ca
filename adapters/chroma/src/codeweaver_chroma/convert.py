"""What a point is in Chroma: prefixed ids, exact JSON where no filter looks, facts as tokens, keys that compare.

A payload is stored whole, as JSON, where Chroma keeps a URI. What filters ask is stored beside it as metadata
(see ``codeweaver_backends.facts``): a list of *tokens*, each of them a path and one of

=============================  =========================================================================
``Z S N L O T``                presence: a null, string, number, list or object; an instant
                               (``N`` and ``T`` also for one in a list)
``z``, ``b1``, ``n5``, ``sx``  value, alone or in a list
``m`` and one of those         value in a list
=============================  =========================================================================

and *range keys*, one integer each: of a number or instant that stands alone, of the least and the greatest of a list.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final

import numpy as np
import orjson

from codeweaver_backends.sdk.index.facts import Kind, Path, leaves
from codeweaver_backends.sdk.index.keys import canonical_number, parse_instant, sortable_double
from codeweaver_backends.types import FloatMatrix, PointId, Scalar

__all__ = [
    "ALONE",
    "GREATEST",
    "INSTANT",
    "LEAST",
    "MEMBER",
    "NUMBER",
    "PRESENCE",
    "REMAINDER",
    "decode_document",
    "decode_id",
    "encode_document",
    "encode_id",
    "has_remainder",
    "metadata_of",
    "order_key",
    "path_code",
    "restored",
    "storable",
    "token",
    "value_code",
]

MEMBER: Final = "m"
PRESENCE: Final = ("S", "N", "L", "O", "Z", "b0", "b1")
"""Where something stands at a path, one of these does."""

ALONE, LEAST, GREATEST = "=", "<", ">"
"""What a range key is of: the first letter of its name."""
NUMBER, REMAINDER, INSTANT = "n", "r", "t"
"""What a range key holds: the second letter of its name."""

_LONG: Final = 120
"""Characters from which on a token is a digest."""
_LONGEST_PATH: Final = 64
_WHOLE: Final = 2.0**53
"""From here on a double stands for more than one integer."""


def _digest(text: str) -> str:
    return base64.b64encode(blake2b(text.encode(), digest_size=18).digest()).decode()


# --- ids ---------------------------------------------------------------------------------------------------------


def encode_id(point_id: PointId) -> str:
    """An id as Chroma's: ``i5`` and ``s5`` are two."""
    return f"s{point_id}" if isinstance(point_id, str) else f"i{point_id}"


def decode_id(key: str) -> PointId:
    """The id of a key that ``encode_id`` made."""
    return key[1:] if key[0] == "s" else int(key[1:])


# --- documents and vectors ---------------------------------------------------------------------------------------


def encode_document(document: bytes, given: str) -> str:
    """The JSON text, and before it the vector as it was given, where Chroma cannot give it back."""
    return given + document.decode()


def decode_document(text: str) -> tuple[str, str]:
    """The JSON text and the vector."""
    given, brace, rest = text.partition("{")
    return brace + rest, given


def storable(matrix: FloatMatrix) -> tuple[FloatMatrix, list[str]]:
    """The vectors of a cosine as Chroma can store them, and each one's ``restored`` form, mostly empty.

    Chroma divides by a norm that it computes in float32: vectors near the ends of float32's range would come out as
    nothing, and so would numbers far smaller than others beside them. Those vectors are normalised here and kept.
    """
    wide = matrix.astype(np.float64)
    norms = np.linalg.norm(wide, axis=1)
    least = np.min(np.abs(wide), axis=1, initial=np.inf, where=wide != 0)
    lost = np.flatnonzero((norms < 1e-6) | (norms > 1e6) | (least < 1e-25))
    given = [""] * len(matrix)
    if len(lost):
        matrix = matrix.copy()
        for row in lost.tolist():
            given[row] = base64.b64encode(matrix[row].tobytes()).decode()
            matrix[row] = (wide[row] / norms[row]).astype(np.float32)
    return matrix, given


def restored(vector: Iterable[float], given: str) -> list[float]:
    """The vector as it was given."""
    if given:
        kept: list[float] = np.frombuffer(base64.b64decode(given), dtype=np.float32).tolist()
        return kept
    as_list: list[float] = np.asarray(vector, dtype=np.float32).tolist()
    return as_list


# --- facts -------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=65_536)
def path_code(path: Path) -> str:
    """What the tokens and range keys of a field carry of it; JSON strings tell by themselves where they end."""
    code = orjson.dumps(path).decode()
    return code if len(code) <= _LONGEST_PATH else f"#{_digest(code)}"


def token(text: str) -> str:
    """A token of bounded length: itself, or a digest."""
    return text if len(text) <= _LONG else f"#{_digest(text)}"


def value_code(value: Scalar) -> str:
    """A scalar as it stands in a token."""
    if isinstance(value, str):
        return f"s{value}"
    if value is None:
        return "z"
    if isinstance(value, bool):
        return "b1" if value else "b0"
    return f"n{canonical_number(value)}"


def order_key(value: float) -> tuple[int, int]:
    """A pair that compares as numbers do, exactly: the nearest double, sortable, and what an integer has beyond it.

    The first is an int64. Below 2^53 the second is always 0.
    """
    nearest = float(value)
    return sortable_double(nearest) - 2**63, value - int(nearest) if isinstance(value, int) else 0


def has_remainder(key: int) -> bool:
    """Whether numbers of this key differ by more than it tells."""
    return not _LOWEST_WHOLE < key < _HIGHEST_WHOLE


_LOWEST_WHOLE, _HIGHEST_WHOLE = order_key(-_WHOLE)[0], order_key(_WHOLE)[0]


def metadata_of(payload: Mapping[str, Any], facts: str) -> dict[str, Any] | None:
    """The facts of a payload that core has accepted, its tokens under the key ``facts``; ``None`` if it has none."""
    tokens: list[str] = []
    ranges: dict[str, tuple[int, int]] = {}
    for path, kind, value, element in leaves(payload):
        code = path_code(path)
        if kind >= Kind.LIST:
            tokens.append(code + ("L" if kind is Kind.LIST else "O"))
            continue
        spelt = value_code(value)
        tokens.append(token(code + spelt))
        if element:
            tokens.append(token(code + MEMBER + spelt))
        elif kind is not Kind.BOOL:
            tokens.append(code + ("Z" if kind is Kind.NULL else "N" if kind is Kind.NUMBER else "S"))
        if kind is Kind.NUMBER:
            if element:
                tokens.append(code + "N")
            _extend(ranges, NUMBER + code, order_key(value), element=element)  # type: ignore[arg-type]
        elif kind is Kind.STRING and (moment := parse_instant(value)) is not None:  # type: ignore[arg-type]
            tokens.append(code + "T")
            _extend(ranges, INSTANT + code, (moment, 0), element=element)
    metadata: dict[str, Any] = {}
    if tokens:
        metadata[facts] = list(dict.fromkeys(tokens))
    for name, (key, remainder) in ranges.items():
        metadata[name] = key
        if name[1] == NUMBER and has_remainder(key):
            metadata[name[0] + REMAINDER + name[2:]] = remainder
    return metadata or None


def _extend(ranges: dict[str, tuple[int, int]], name: str, key: tuple[int, int], *, element: bool) -> None:
    if not element:
        ranges[ALONE + name] = key
        return
    least, greatest = LEAST + name, GREATEST + name
    ranges[least] = min(key, ranges.get(least, key))
    ranges[greatest] = max(key, ranges.get(greatest, key))
