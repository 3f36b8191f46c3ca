"""Facts as tokens: how a payload is written into the one property that filters look at.

A token is a tag, the coded path, U+001E, and a value. The property is a list of whole, case-sensitive tokens, so that
looking a fact up is ``ContainsAny``. Numbers and instants also leave every prefix of an order-preserving key, so that a
range is a look-up of the prefixes that lie in it. See ``docs/decisions/0002-facts.md``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final

from codeweaver_backends.sdk.filters.tree import Order
from codeweaver_backends.sdk.index.codes import StringCode
from codeweaver_backends.sdk.index.facts import Kind, Path, leaves
from codeweaver_backends.sdk.index.keys import parse_instant, sortable_double

__all__ = [
    "ELEMENT",
    "EVERY",
    "PRESENT",
    "SCALAR",
    "Tags",
    "coded",
    "instant_key",
    "instant_terms",
    "number_key",
    "number_terms",
    "path_code",
    "payload_tokens",
    "scalar_token",
    "text_pattern",
    "window_token",
]

EVERY: Final = "."
"""The token that every point has: it stands beside every filter, and keeps deleted points out of negations."""

PRESENT: Final = "p"
_NUMBER_PREFIX: Final = "r"
_INSTANT: Final = "D"
_INSTANT_PREFIX: Final = "d"
_WINDOW: Final = "u"
_PATH_END: Final = "\x1e"
_TEXT_END: Final = "\x1d"
"""Ends every text, so that its own last character is never at the edge, where the engine trims white space."""
_LONGEST_PATH: Final = 40

Tags = Mapping[Kind, str]
SCALAR: Final[Tags] = {Kind.NULL: "z", Kind.BOOL: "b", Kind.NUMBER: "n", Kind.STRING: "s"}
ELEMENT: Final[Tags] = {Kind.NULL: "Z", Kind.BOOL: "B", Kind.NUMBER: "N", Kind.STRING: "S"}

_CODE: Final = StringCode("\n*?\x1d\x1e\x1f", alphabet="\x01\x02\x03\x04\x05")
"""``Like`` has wildcards without an escape, and its ``*`` does not pass a newline."""


@lru_cache(maxsize=4_096)
def path_code(path: Path) -> str:
    """The part of a token that names the path; long ones by a digest, for they are repeated in every token."""
    code = "\x1f".join(map(_CODE.encode, path))
    if len(code) > _LONGEST_PATH:
        code = "\x1d" + blake2b(code.encode(), digest_size=16).hexdigest()
    return code + _PATH_END


def coded(text: str) -> str:
    """A text in which nothing is left for the engine to interpret; parts of it are the codes of its parts."""
    return _CODE.encode(text)


def scalar_token(tags: Tags, path: str, kind: Kind, value: str | int | float | bool | None) -> str:
    """The token of a value under a path code: ``eq`` looks these up."""
    tag = tags[kind]
    if kind is Kind.STRING:
        return f"{tag}{path}{_CODE.encode(value)}{_TEXT_END}"  # type: ignore[arg-type]
    if kind is Kind.NUMBER:
        return f"{tag}{path}{number_key(value)}"  # type: ignore[arg-type]
    return f"{tag}{path}{int(value)}" if kind is Kind.BOOL else tag + path  # type: ignore[arg-type]


def text_pattern(path: str, text: str) -> str:
    """The ``Like`` pattern of the strings that contain a text."""
    return f"{SCALAR[Kind.STRING]}{path}*{coded(text)}{'*' if text else ''}{_TEXT_END}"


def window_token(bucket: int) -> str:
    """The token of all points whose UUID begins with these three hex digits: filtered scrolls go by them."""
    return f"{_WINDOW}{bucket:03x}"


def payload_tokens(payload: Mapping[str, Any], uuid: str) -> list[str]:
    """Every token of a point."""
    tokens = [EVERY, _WINDOW + uuid[:3]]
    for path, kind, value, element in leaves(payload):
        code = path_code(path)
        if not element:
            tokens.append(PRESENT + code)
        if kind is Kind.NUMBER:
            tokens += _number_tokens(code, value, element)
        elif kind < Kind.LIST:
            tokens.append(scalar_token(ELEMENT if element else SCALAR, code, kind, value))
            if kind is Kind.STRING:
                tokens += _instant_tokens(code, value)  # type: ignore[arg-type]
    return list(dict.fromkeys(tokens))


@lru_cache(maxsize=16_384)
def _number_tokens(path: str, value: float, element: bool) -> tuple[str, ...]:
    key = number_key(value)
    tag = (ELEMENT if element else SCALAR)[Kind.NUMBER]
    return (f"{tag}{path}{key}", *_prefixes(_NUMBER_PREFIX + path, key))


def _instant_tokens(path: str, text: str) -> tuple[str, ...]:
    instant = parse_instant(text)
    if instant is None:
        return ()
    key = instant_key(instant)
    return (f"{_INSTANT}{path}{key}", *_prefixes(_INSTANT_PREFIX + path, key))


def _prefixes(start: str, key: str) -> Iterator[str]:
    return (start + key[:length] for length in range(1, len(key) + 1))


# --- order -----------------------------------------------------------------------------------------------------------


def number_key(value: float) -> str:
    """Hex digits that compare as numbers do, exactly, for every int64 and every finite double, trailing zeros cut.

    16 digits for the double at or just below, 3 for what an integer has beyond it.
    """
    below, beyond = float(value), 0
    if isinstance(value, int):
        if int(below) > value:
            below = math.nextafter(below, -math.inf)
        beyond = value - int(below)
    return f"{sortable_double(below):016x}{beyond:03x}".rstrip("0")


def instant_key(microseconds: int) -> str:
    """Hex digits that compare as instants do, trailing zeros cut: ten for the second, five for the microsecond."""
    seconds, rest = divmod(microseconds, 1_000_000)
    return f"{seconds + 2**37:010x}{rest:05x}".rstrip("0")


def number_terms(path: str, order: Order, bound: float) -> list[str]:
    """The tokens of which a point has one exactly if one of its numbers at the path compares so with the bound."""
    exact = (SCALAR[Kind.NUMBER] + path, ELEMENT[Kind.NUMBER] + path)
    return list(_terms(order, number_key(bound), _NUMBER_PREFIX + path, exact))


def instant_terms(path: str, order: Order, bound: int) -> list[str]:
    """As ``number_terms``, for instants."""
    return list(_terms(order, instant_key(bound), _INSTANT_PREFIX + path, (_INSTANT + path,)))


def _terms(order: Order, key: str, prefix: str, exact: tuple[str, ...]) -> Iterator[str]:
    above = order in ("gt", "ge")
    for place, digit in enumerate(key):
        others = "0123456789abcdef"[int(digit, 16) + 1 :] if above else "0123456789abcdef"[: int(digit, 16)]
        for other in others:
            yield prefix + key[:place] + other
        # A key that ends here, where the bound goes on, is smaller than the bound.
        if not above and place and key[place - 1] != "0":
            for tag in exact:
                yield tag + key[:place]
    if order == "ge":
        yield prefix + key
    elif order == "gt":
        for other in "0123456789abcdef":
            yield prefix + key + other
    elif order == "le":
        for tag in exact:
            yield tag + key
