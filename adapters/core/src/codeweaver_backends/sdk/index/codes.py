"""Codes: a self-synchronising one for strings, one for ids, and digests."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import blake2b

from codeweaver_backends.sdk.index.keys import INT64_MAX
from codeweaver_backends.types import PointId

__all__ = ["StringCode", "decode_id", "digest", "encode_id"]


def digest(text: str, size: int = 18) -> str:
    """A digest of ``size`` bytes (1 … 64) as letters, digits, ``-`` and ``.``: 24 characters for 18 bytes.

    None of them has a meaning in an address, in a pattern of ``LIKE`` or in a quoted string.
    """
    return b64encode(blake2b(text.encode(), digest_size=size).digest(), b"-.").decode().rstrip("=")


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


# --- ids -------------------------------------------------------------------------------------------------------------


def encode_id(point_id: PointId, code: StringCode | None = None) -> str:
    """An id as a text that tells ``5`` (``i5``) from ``"5"`` (``s5``); the characters of a string in ``code``."""
    if isinstance(point_id, str):
        return "s" + (point_id if code is None else code.encode(point_id))
    return f"i{point_id}"


def decode_id(key: str, code: StringCode | None = None) -> PointId:
    """The id of what ``encode_id`` made; ``ValueError`` for anything else."""
    kind, text = key[:1], key[1:]
    if kind == "s" and text:
        return text if code is None else code.decode(text)
    if kind == "i" and text.isascii() and text.isdecimal():
        number = int(text)
        if number <= INT64_MAX and str(number) == text:
            return number
    raise ValueError("not the code of an id")
