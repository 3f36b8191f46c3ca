"""From a term to the index that stands for it in a sparse vector.

Indices are below 10^9, where the smallest of the engines' index types ends. A canonical string of at most nine digits
is the index it spells; every other term is its BLAKE2b hash of 8 bytes (RFC 7693; of its UTF-8, without key, salt or
personalisation), read as a big-endian integer, modulo 10^9. Two terms of one index are one term: among the 93,000 terms
of Python's standard library that happens to six pairs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from hashlib import blake2b
from itertools import chain
from typing import Final, TypeVar

from codeweaver_backends.sdk.hybrid.tokenizer import parts, words

__all__ = ["INDEX_LIMIT", "term_index", "text_indices"]

INDEX_LIMIT: Final = 1_000_000_000
"""Indices are integers of 0 to this, exclusive."""

_CANONICAL: Final = re.compile("0|[1-9][0-9]{0,8}")
_CACHE_SIZE: Final = 65_536
_CACHED_LENGTH: Final = 64

Value = TypeVar("Value")


class _Cache(dict[str, Value]):
    """What was computed for short strings. Emptied when full: what is frequent is soon there again."""

    def keep(self, key: str, value: Value) -> Value:
        if len(key) <= _CACHED_LENGTH:
            if len(self) >= _CACHE_SIZE:
                self.clear()
            self[key] = value
        return value


class _TermIndices(_Cache[int]):
    def __missing__(self, term: str) -> int:
        if _CANONICAL.fullmatch(term):
            return self.keep(term, int(term))
        return self.keep(term, int.from_bytes(blake2b(term.encode(), digest_size=8).digest()) % INDEX_LIMIT)


class _WordIndices(_Cache[tuple[int, ...]]):
    def __missing__(self, word: str) -> tuple[int, ...]:
        return self.keep(word, tuple(map(_TERMS.__getitem__, parts(word))))


_TERMS: Final = _TermIndices()
_WORDS: Final = _WordIndices()


def term_index(term: str) -> int:
    """The index of a term. ``UnicodeEncodeError`` for a lone surrogate."""
    return _TERMS[term]


def text_indices(text: str) -> Iterator[int]:
    """The indices of the terms of a text, each as often as it occurs."""
    return chain.from_iterable(map(_WORDS.__getitem__, words(text)))
