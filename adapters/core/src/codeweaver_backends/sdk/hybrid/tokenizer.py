"""The one tokenizer: what the terms of a text are, in code, in prose and in scripts without spaces.

The text is brought to NFKC, and its runs of ``\\w`` (letters, digits, ``_``) are its words.

* Within a word each run of Han, kana or hangul gives its overlapping bigrams, one character alone itself: the usual
  treatment of scripts without spaces (Nie, Gao, Zhang and Zhou: *On the use of words and n-grams for Chinese
  information retrieval*, 2000).
* What else is in the word is an identifier. It is cut at ``_``, before an upper-case letter that follows a lower-case
  one or a digit, and before the last of several upper-case letters if a lower-case one follows: ``HTTPServer`` is
  ``http``, ``server``; ``CoreV1Api`` is ``core``, ``v1``, ``api``. The parts are lower-cased; where there are two or
  more, the whole, without ``_`` at its ends, is a term too (``httpserver``, ``snake_case``).

No stemming and no stop words. A combining mark that NFKC leaves ends a word. Python's Unicode tables decide what a
letter is: code points assigned after the version of an interpreter are no letters to it.
"""

from __future__ import annotations

import re
import unicodedata
from operator import add
from typing import Final

__all__ = ["parts", "tokens", "words"]

_CJK: Final = (
    "\u1100-\u11ff\ua960-\ua97f\uac00-\ud7ff"  # hangul
    "\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\U0001aff0-\U0001b16f"  # kana
    "\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003fffd"  # Han, with the signs that repeat it
)
_ASCII_WORD: Final = re.compile(r"\w+", re.ASCII)
_WORD: Final = re.compile(rf"[^\W{_CJK}]+")
_CJK_RUN: Final = re.compile(f"[{_CJK}]+")
_CUT: Final = re.compile(r"_+|(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


class _Shapes(dict[int, str]):
    """A letter's case as an ASCII character, for ``str.translate``: so that one expression cuts all scripts."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        if character.isupper():
            shape = "A"
        elif character.islower():
            shape = "a"
        elif character.isdecimal():
            shape = "0"
        else:
            shape = "_" if character == "_" else "."
        self[code] = shape
        return shape


_SHAPES: Final = _Shapes()


def words(text: str) -> list[str]:
    """The identifiers of a text as they are written, then the bigrams of its CJK runs; ``parts`` gives their terms."""
    if text.isascii():
        return _ASCII_WORD.findall(text)
    text = unicodedata.normalize("NFKC", text)
    found: list[str] = _WORD.findall(text)
    for run in _CJK_RUN.findall(text):
        found += map(add, run, run[1:]) if len(run) > 1 else (run,)
    return found


def parts(word: str) -> list[str]:
    """The terms of one of ``words``; none for a word of ``_`` alone."""
    if "_" not in word and word == word.lower():
        return [word]  # nothing to cut
    shape = word if word.isascii() else word.translate(_SHAPES)
    found, start = [], 0
    for cut in _CUT.finditer(shape):
        if cut.start() > start:
            found.append(word[start : cut.start()].lower())
        start = cut.end()
    if start < len(word):
        found.append(word[start:].lower())
    if len(found) > 1:
        found.append(word.strip("_").lower())
    return found


def tokens(text: str) -> list[str]:
    """Every term of a text, as often as it occurs, in no promised order."""
    return [term for word in words(text) for term in parts(word)]
