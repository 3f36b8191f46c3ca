"""What a point is in Milvus: ids and texts in a safe spelling, facts as tokens, keys that compare as numbers do.

A payload is stored whole, as exact JSON in ``doc``. What filters ask is stored beside it as *tokens*
(see ``codeweaver_backends.facts``), each of them ``<path><EQUALS>`` and one of

=============================  =========================================================================
``Z B N S L O T``              presence: a null, bool, number, string, list or object; an instant
                               (``N`` and ``T`` also for one in a list)
``z``, ``b1``, ``n5``, ``sx``  value, alone or in a list
the same and ``MEMBER``        value in a list
=============================  =========================================================================

and as *range keys*: the least and the greatest number, and instant, at each path, as text in the same order.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np

from codeweaver_backends.errors import LimitExceededError
from codeweaver_backends.sdk.index.codes import StringCode
from codeweaver_backends.sdk.index.facts import Kind, Path, leaves
from codeweaver_backends.sdk.index.keys import canonical_number, instant_key, number_key, parse_instant
from codeweaver_backends.types import FloatMatrix, PointId, Scalar

__all__ = [
    "EQUALS",
    "MARK",
    "MEMBER",
    "NO_HIGH",
    "NO_LOW",
    "PRESENCE",
    "Facts",
    "PathCode",
    "compact_number",
    "decode_document",
    "decode_id",
    "encode_document",
    "encode_id",
    "encode_text",
    "facts_of",
    "normalised",
    "path_code",
    "range_name",
    "restored",
    "shortened",
    "value_code",
]

MARK: Final = "\ue000"
EQUALS: Final = "\ue001"
MEMBER: Final = "\ue002"
_INSIDE: Final = "\ue003"

PRESENCE: Final = "ZBNSLO"
"""Where something stands at a path, one of these does."""

NO_HIGH: Final = ""
NO_LOW: Final = "~"
"""Below and above every range key: what a declared field has where there is no number."""

_CONTROLS: Final = "".join(map(chr, (*range(32), *range(127, 160))))
_CODE: Final = StringCode(
    _CONTROLS + '"\\%_' + MARK + EQUALS + MEMBER + _INSIDE, alphabet="".join(map(chr, range(0xE010, 0xE01C)))
)
"""Neither a quote, a backslash, a wildcard nor a mark of ours ever reaches an expression from outside."""

encode_text = _CODE.encode

_LONG: Final = 128
"""UTF-8 bytes from which on a token is stored as a digest, where nobody looks for a part of it."""


def _digest(text: str, size: int) -> str:
    # Neither of the two extra letters is a wildcard.
    return base64.b64encode(hashlib.blake2b(text.encode(), digest_size=size).digest(), b"-.").decode().rstrip("=")


def shortened(token: str) -> str:
    """A token of bounded length: itself, or a digest of 18 bytes."""
    if len(token) * 3 <= _LONG or len(token.encode()) <= _LONG:
        return token
    return _digest(token, 18)


# --- ids ---------------------------------------------------------------------------------------------------------


def encode_id(point_id: PointId) -> str:
    """An id as the primary key: ``i:5`` and ``s:5`` are two, and neither needs escaping."""
    return f"s:{_CODE.encode(point_id)}" if isinstance(point_id, str) else f"i:{point_id}"


def decode_id(key: str) -> PointId:
    """The id of a primary key."""
    return _CODE.decode(key[2:]) if key[0] == "s" else int(key[2:])


# --- documents and vectors ---------------------------------------------------------------------------------------


def encode_document(document: bytes, scale: str) -> str:
    """The JSON text, and before it what ``restored`` needs."""
    return scale + document.decode()


def decode_document(text: str) -> tuple[str, str]:
    """The JSON text and the scale."""
    scale, brace, rest = text.partition("{")
    return brace + rest, scale


def normalised(matrix: FloatMatrix) -> tuple[FloatMatrix, list[str]]:
    """Rows of length 1, and the scale of each, which ``restored`` takes.

    The dot product of such rows is their cosine. It is more exact than the cosine of a server, which adds up squares in
    float32 (2e-5 off for 4,096 equal numbers, nothing at all near 1e±20), and spares Lite the norms of every search.
    """
    wide = matrix.astype(np.float64)
    norms = np.linalg.norm(wide, axis=1, keepdims=True)
    unit = (wide / norms).astype(np.float32)
    with np.errstate(over="ignore"):
        lost = np.abs((unit * norms).astype(np.float32) - wide) > 5e-7 * np.abs(wide)
    scales = [repr(norm) for norm in norms[:, 0].tolist()]
    # Beside numbers many orders of magnitude greater, small ones are lost: such are kept with the scale.
    for row in np.flatnonzero(lost.any(axis=1)).tolist():
        places = np.flatnonzero(lost[row]).astype(np.uint32)
        scales[row] += "".join(
            f";{base64.b64encode(part.tobytes()).decode()}" for part in (places, matrix[row, places])
        )
    return unit, scales


def restored(vector: Sequence[float], scale: str) -> list[float]:
    """The vector as it was given."""
    if not scale:
        return list(vector)
    norm, *kept = scale.split(";")
    given = (np.asarray(vector, dtype=np.float64) * float(norm)).astype(np.float32)
    if kept:
        places, values = map(base64.b64decode, kept)
        given[np.frombuffer(places, dtype=np.uint32)] = np.frombuffer(values, dtype=np.float32)
    as_list: list[float] = given.tolist()
    return as_list


# --- tokens ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PathCode:
    """The spellings of one field."""

    prefix: str
    """What its tokens start with."""
    key: str
    """What its range keys end with."""


@lru_cache(maxsize=65_536)
def path_code(path: Path) -> PathCode:
    """The spellings of a path; long ones are digests, since every leaf below them repeats them."""
    code = _INSIDE.join(map(_CODE.encode, path))
    if len(code.encode()) > _LONG:
        code = f"{_INSIDE}{_digest(code, 18)}"
    key = code if len(code) <= 8 and code.isascii() and code.isalnum() else _digest(code, 6)
    return PathCode(code + EQUALS, key)


def range_name(key: str, *, instant: bool, high: bool) -> str:
    """The name of the greatest or the least number or instant of a field."""
    return ("<>[]"[2 * instant + high]) + key


def value_code(value: Scalar) -> str:
    """A scalar as it stands in a token."""
    if isinstance(value, str):
        return f"s{_CODE.encode(value)}"
    if value is None:
        return "z"
    if isinstance(value, bool):
        return "b1" if value else "b0"
    return f"n{canonical_number(value)}"


def compact_number(value: float) -> str:
    """Core's key of a number without the zeros at the end of its double: the order is the same.

    What follows the double tells an integer's remainder below, at and above zero, with characters below every digit.
    """
    key = number_key(value)
    head, rest = key[:16].rstrip("0"), key[16:]
    return head + ("#" if rest == "800" else ("$" if rest > "800" else "!") + rest)


@dataclass(slots=True)
class Facts:
    """What filters can ask of one payload."""

    tokens: list[str]
    ranges: dict[str, str]
    declared: dict[Path, list[str]]
    """The value codes of the declared fields."""

    def _span(self, key: str, bound: str, *, instant: bool) -> None:
        low, high = range_name(key, instant=instant, high=False), range_name(key, instant=instant, high=True)
        known = self.ranges
        if low not in known or bound < known[low]:
            known[low] = bound
        if high not in known or bound > known[high]:
            known[high] = bound


def facts_of(payload: Mapping[str, Any], declared: Collection[Path] = ()) -> Facts:
    """The facts of a payload that core has accepted."""
    tokens: list[str] = []
    facts = Facts(tokens, {}, {})
    owners: dict[str, str] = {}
    for path, kind, value, element in leaves(payload):
        code = path_code(path)
        prefix = code.prefix
        if kind >= Kind.LIST:
            tokens.append(prefix + "ZBNSLO"[kind])
            continue
        spelt = value_code(value)
        tokens.append(prefix + spelt)
        if element:
            tokens.append(prefix + spelt + MEMBER)
        else:
            tokens.append(prefix + PRESENCE[kind])
        if path in declared:
            facts.declared.setdefault(path, []).append(spelt)
        bound, instant = _bound(kind, value)
        if bound is not None:
            if owners.setdefault(code.key, prefix) != prefix:
                raise LimitExceededError("two fields of the payload share a digest", limit="max_payload_bytes")
            if instant or element:
                tokens.append(prefix + ("T" if instant else "N"))
            facts._span(code.key, bound, instant=instant)
    facts.tokens = list(dict.fromkeys(tokens))
    return facts


def _bound(kind: Kind, value: Any) -> tuple[str | None, bool]:
    if kind is Kind.NUMBER:
        return compact_number(value), False
    if kind is Kind.STRING:
        moment = parse_instant(value)
        if moment is not None:
            return instant_key(moment), True
    return None, False
