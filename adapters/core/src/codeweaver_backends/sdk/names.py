"""Collection names on engines that allow fewer characters than the contract does."""

from __future__ import annotations

import re

__all__ = ["PREFIX", "decode_name", "encode_name"]

PREFIX = "cw_"
"""What is ours on a shared server: a name without it was made by others and is left alone."""

_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789")
_WORD = re.compile(r"__|_([0-9a-f]{2})|[a-z0-9]")


def encode_name(name: str, prefix: str = PREFIX) -> str:
    """A name in ``[a-z0-9_]``, at most ``len(prefix) + 240`` characters, that ``decode_name`` reverses.

    Lower-case letters and digits stay, ``_`` is doubled, every other UTF-8 byte becomes ``_`` and two hex digits. Upper
    case is coded too: some engines keep collections as files, and some file systems fold case.
    """
    code = "".join(chr(byte) if byte in _PLAIN else "__" if byte == 0x5F else f"_{byte:02x}" for byte in name.encode())
    return prefix + code


def decode_name(code: str, prefix: str = PREFIX) -> str | None:
    """The name of a code, or ``None`` for what ``encode_name`` never makes."""
    if not code.startswith(prefix):
        return None
    data, position = bytearray(), len(prefix)
    while position < len(code):
        match = _WORD.match(code, position)
        if match is None:
            return None
        word = match[0]
        data.append(0x5F if word == "__" else int(match[1], 16) if match[1] else ord(word))
        position = match.end()
    try:
        name = data.decode()
    except UnicodeDecodeError:
        return None
    return name if encode_name(name, prefix) == code else None
